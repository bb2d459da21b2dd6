/**
 * Locations: `STORE` names a store, and `STORE:/path` a path in its volume. STORE is a folder, a file:// URL,
 * or the URL of a store elsewhere.
 *
 *   backup            the folder backup
 *   backup:/docs/a    /docs/a in the volume there
 *   file:///mnt/x:/a  the same with a URL; a folder's name may hold ":/" there, as "%3A/"
 *   s3://bucket/x?endpoint=http://host:7480:/a
 *                     a store that is elsewhere: a ":/" before another "/" belongs to its URL
 *   photos:/a         /a in the volume of the remote photos (`remotes.ts`), also where a folder photos is
 *   :/docs/a          /docs/a in the volume of the store that NETSEAL_STORE names
 */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNetsealError, NetsealError, requireArgument, systemCodeOf } from '../../base/errors.ts';
import { canonicalStoreUrl, isStoreUrl, STORE_URLS } from '../../server/adapters/store-url.ts';
import type { ObjectStore } from '../../server/store.ts';
import { showName } from '../../transfer/local-names.ts';
import { environment } from '../lib/given-text.ts';
import { loadStore, loadStoreUrls } from '../lib/lazy.ts';
import { findRemote } from './remotes.ts';

export interface Location {
  readonly storeText: string;
  /** Begins with `/`; undefined when none was given. */
  readonly path: string | undefined;
}

export interface OpenStoreOptions {
  /** Makes the store if there is none. Default: false. */
  readonly create?: boolean;
  /** The rate to keep to, in bytes a second. Default: none. */
  readonly bwlimit?: number | undefined;
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const KNOWN = `a folder, a file:// URL, or a URL that begins with ${STORE_URLS}`;
/** Where the path begins behind the URL of a store elsewhere. */
const PATH_OF_URL = /:\/(?!\/)/;
/** How many requests a command makes at the same time. The store itself allows more. */
const REQUESTS_AT_ONCE = 32;
/** Everything that a directory store has in its folder. */
const STORE_NAMES: ReadonlySet<string> = new Set(['objects', 'partial', 'lock']);

/** A colon in the first part of a path, as other programs name remote places: `s3:bucket`, `host:folder`. */
const REMOTE = /^[^/]*:/;
const WINDOWS_DRIVE = /^[a-z]:[\\/]/i;

/**
 * Splits at the first ":/" after the scheme. A ":" at the end means that there is no path. Text that begins
 * with ":" is about the store that `NETSEAL_STORE` names. EINVAL when there is no store.
 */
export function parseLocation(text: string): Location {
  if (!text.startsWith(':')) return splitLocation(text);
  const storeText = (environment('NETSEAL_STORE') ?? '').replace(/(?<=.):$/, '');
  requireArgument(storeText !== '', `no store in ${JSON.stringify(text)}: name one, or set NETSEAL_STORE`);
  const { path } = splitLocation(storeText);
  requireArgument(path === undefined, `NETSEAL_STORE names a store, not a path in one: ${storeText}`);
  return { ...splitLocation(`x${text}`), storeText };
}

function splitLocation(text: string): Location {
  const schemeLength = SCHEME.exec(text)?.[0].length ?? 0;
  const at = isStoreUrl(text) ? text.search(PATH_OF_URL) : text.indexOf(':/', schemeLength);
  const storeText = at === -1 ? text.replace(/(?<=.):$/, '') : text.slice(0, at);
  requireArgument(
    storeText.length > schemeLength,
    `no store in ${JSON.stringify(text)}: write STORE or STORE:/path, where STORE is ${KNOWN}`,
  );
  return { storeText, path: at === -1 ? undefined : text.slice(at + 1) };
}

/**
 * Reads the store of a command that works on a whole volume. EINVAL when the text names a path.
 *
 * @param command the command's name, for the message.
 */
export function parseStore(text: string, command: string): Location {
  const location = parseLocation(text);
  requireArgument(
    location.path === undefined,
    `${command} works on a whole volume: name only the store, not ${text}`,
  );
  return location;
}

/**
 * Opens the store, with retries and a limit of concurrent requests. A store that is elsewhere gets no request
 * yet.
 *
 * - ENOENT: there is no store and `create` is not set, or there is no folder to make it in.
 * - EEXIST: something else is in the way of a new store.
 * - EINVAL: the text cannot name a store.
 */
export async function openStoreAt(given: string, options: OpenStoreOptions = {}): Promise<ObjectStore> {
  const storeText = storeOf(given);
  const { create = false, bwlimit } = options;
  const throttle = bwlimit === undefined ? {} : { throttle: { bytesPerSecond: bwlimit } };
  const wrapping = { retry: {}, limit: { concurrency: REQUESTS_AT_ONCE }, ...throttle };
  if (isStoreUrl(storeText)) {
    const [{ openStoreUrl }, { wrapStore }] = await Promise.all([loadStoreUrls(), loadStore()]);
    return wrapStore(await openStoreUrl(storeText), wrapping);
  }
  const path = storePath(storeText);
  if (create) await checkFree(path, storeText);
  const { DirectoryStore, wrapStore } = await loadStore();
  try {
    return wrapStore(await DirectoryStore.open(path, { create }), wrapping);
  } catch (cause) {
    const isNone =
      isNetsealError(cause) && (cause.code === 'EMISSING' || systemCodeOf(cause.cause) === 'ENOTDIR');
    if (!isNone) throw cause;
    throw new NetsealError('ENOENT', `no volume in ${storeText}; make one with "netseal init"`, { cause });
  }
}

/**
 * Returns the one name of an existing store, however it was written. Rejects with a system error when there
 * is none.
 */
export async function canonicalStoreName(given: string): Promise<string> {
  const storeText = storeOf(given);
  if (isStoreUrl(storeText)) return canonicalStoreUrl(storeText);
  const path = await realpath(storePath(storeText), { encoding: 'buffer' });
  // Bytes that are not UTF-8 stay apart.
  return `file://${showName(path.toString('latin1'))}`;
}

/**
 * Returns the path of the folder that the text names; undefined for a store elsewhere. EINVAL when it names
 * neither.
 */
export function localStorePath(given: string): string | undefined {
  const storeText = storeOf(given);
  return isStoreUrl(storeText) ? undefined : storePath(storeText);
}

/** Returns the store of a remote; any other text as it is. */
function storeOf(storeText: string): string {
  return findRemote(storeText)?.store ?? storeText;
}

/** Returns the path of the folder that the text names. EINVAL when it names none. */
function storePath(storeText: string): string {
  const scheme = SCHEME.exec(storeText)?.[0].toLowerCase();
  if (scheme === undefined) {
    const isDrive = process.platform === 'win32' && WINDOWS_DRIVE.test(storeText);
    requireArgument(
      isDrive || !REMOTE.test(storeText),
      `not a store: ${storeText}; use ${KNOWN}, and ./${storeText} for a folder of that name`,
    );
    return storeText;
  }
  const url = scheme === 'file://' && URL.canParse(storeText) ? new URL(storeText) : undefined;
  requireArgument(
    url !== undefined && url.search === '' && url.hash === '',
    `not a store: ${storeText}; use ${KNOWN} (with "?" as %3F, "#" as %23, ":/" as %3A/)`,
  );
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new NetsealError('EINVAL', `not a store: ${storeText}; use ${KNOWN} of this machine`, { cause });
  }
}

/**
 * Checks that a store may be made here: in a new or empty folder, or in one that already is a store. EEXIST,
 * ENOENT.
 */
async function checkFree(path: string, storeText: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(path);
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOTDIR') {
      throw new NetsealError('EEXIST', `${storeText} is not a folder: name another one`, { cause });
    }
    if (systemCodeOf(cause) !== 'ENOENT') throw cause;
    await checkParent(path, storeText);
    return;
  }
  if (names.every(name => STORE_NAMES.has(name))) return;
  throw new NetsealError('EEXIST', `${storeText} holds other files: name an empty folder, or a new one`);
}

async function checkParent(path: string, storeText: string): Promise<void> {
  // True for a symbolic link to nothing.
  const isThere = await lstat(path).then(
    () => true,
    () => false,
  );
  if (isThere)
    throw new NetsealError('EEXIST', `${storeText} is a link that leads nowhere: name another folder`);
  try {
    await stat(dirname(path));
  } catch (cause) {
    if (systemCodeOf(cause) !== 'ENOENT') throw cause;
    throw new NetsealError('ENOENT', `cannot make ${storeText}: the folder ${dirname(path)} does not exist`);
  }
}
