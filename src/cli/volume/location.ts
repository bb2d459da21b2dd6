/**
 * Where a volume is, and what in it: `STORE` or `STORE:/path`. STORE is a folder or a file:// URL.
 *
 *   backup            the folder backup
 *   backup:/docs/a    /docs/a in the volume there
 *   file:///mnt/x:/a  the same with a URL, in which a folder's name may hold "%3A/"
 */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isNetsealError, NetsealError, requireArgument, systemCodeOf } from '../../base/errors.ts';
import type { ObjectStore } from '../../server/store.ts';

export interface Location {
  readonly storeText: string;
  /** Begins with `/`; undefined when none was given. */
  readonly path: string | undefined;
}

export interface OpenStoreOptions {
  /** Make the store if there is none. Default: false. */
  readonly create?: boolean;
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const KNOWN = 'a folder, or a file:// URL';
/** Below what the store itself allows. */
const REQUESTS_AT_ONCE = 32;
/** All that a directory store has in its folder. */
const STORE_NAMES: ReadonlySet<string> = new Set(['objects', 'partial', 'lock']);

/** Splits at the first ":/" behind the scheme; a ":" at the end counts as no path. EINVAL when no store is left. */
export function parseLocation(text: string): Location {
  const schemeLength = SCHEME.exec(text)?.[0].length ?? 0;
  const at = text.indexOf(':/', schemeLength);
  const storeText = at === -1 ? text.replace(/(?<=.):$/, '') : text.slice(0, at);
  requireArgument(
    storeText.length > schemeLength,
    `no store in ${JSON.stringify(text)}: write STORE or STORE:/path, where STORE is ${KNOWN}`,
  );
  return { storeText, path: at === -1 ? undefined : text.slice(at + 1) };
}

/**
 * Opens the store with retries and a limit. ENOENT when there is none and it is not to be made, or no folder to make it
 * in; EEXIST when something else is in the way; EINVAL for what is no store's name.
 */
export async function openStoreAt(storeText: string, options: OpenStoreOptions = {}): Promise<ObjectStore> {
  const path = storePath(storeText);
  const { create = false } = options;
  if (create) await checkFree(path, storeText);
  const { DirectoryStore, wrapStore } = await import('../lib/modules-store.ts');
  try {
    const store = await DirectoryStore.open(path, { create });
    return wrapStore(store, { retry: {}, limit: { concurrency: REQUESTS_AT_ONCE } });
  } catch (cause) {
    const isNone =
      isNetsealError(cause) && (cause.code === 'EMISSING' || systemCodeOf(cause.cause) === 'ENOTDIR');
    if (!isNone) throw cause;
    throw new NetsealError('ENOENT', `no volume in ${storeText}; make one with "netseal init"`, { cause });
  }
}

/** The one name of a store that is there, however it was written. System errors. */
export async function canonicalStoreName(storeText: string): Promise<string> {
  return `file://${await realpath(storePath(storeText))}`;
}

function storePath(storeText: string): string {
  const scheme = SCHEME.exec(storeText)?.[0].toLowerCase();
  if (scheme === undefined) return storeText;
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

/** A new store takes an empty folder, or one that is a store already: never one that holds anything else. */
async function checkFree(path: string, storeText: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(path);
  } catch (cause) {
    if (systemCodeOf(cause) === 'ENOTDIR') {
      throw new NetsealError('EEXIST', `${storeText} is no folder: name another one`, { cause });
    }
    if (systemCodeOf(cause) !== 'ENOENT') throw cause;
    await checkParent(path, storeText);
    return;
  }
  if (names.every(name => STORE_NAMES.has(name))) return;
  throw new NetsealError('EEXIST', `${storeText} holds other files: name an empty folder, or a new one`);
}

async function checkParent(path: string, storeText: string): Promise<void> {
  // A symbolic link to nothing.
  const isThere = await lstat(path).then(
    () => true,
    () => false,
  );
  if (isThere) throw new NetsealError('EEXIST', `${storeText} leads nowhere: name another folder`);
  try {
    await stat(dirname(path));
  } catch (cause) {
    if (systemCodeOf(cause) !== 'ENOENT') throw cause;
    throw new NetsealError('ENOENT', `cannot make ${storeText}: there is no folder ${dirname(path)}`, {
      cause,
    });
  }
}
