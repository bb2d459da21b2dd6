/**
 * A driver of unstorage over a volume (`netseal/unstorage`): sealed storage for Nitro, Nuxt and whatever else speaks
 * unstorage. The default export is what their configuration names by `driver: 'netseal/unstorage'`.
 *
 *   - An item is an object of `volumeStore`: `a:b` has the key `a/b`. `a` and `a:b` may both exist.
 *   - Raw items are stored as the bytes that they are. Raw values that are no bytes are refused: EINVAL.
 *   - Everything else that a value may be, unstorage turns into text before, and back.
 *   - There is no `watch`: the volume does not tell what other clients change. unstorage tells its own changes anyway.
 *   - Options of single calls, such as `ttl`, have no effect.
 */
import { readFile, realpath } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { requireFlag, requireObject, requireText } from './base/arguments.ts';
import { codeOf, NetsealError, requireArgument } from './base/errors.ts';
import { inParallel } from './base/in-parallel.ts';
import { openCache } from './cache/open.ts';
import type { NewSecret } from './keys/secret.ts';
import { openStoreUrl } from './server/adapters/open-url.ts';
import { canonicalStoreUrl, isStoreUrl } from './server/adapters/store-url.ts';
import type { UnstorageDriver, UnstorageMeta } from './server/adapters/unstorage-driver.ts';
import { DirectoryStore } from './server/directory-store.ts';
import { listAll } from './server/list-all.ts';
import type { ObjectStore } from './server/store.ts';
import { wrapStore } from './server/wrap.ts';
import { createVolume, openVolume } from './volume/open.ts';
import { openStateFolder } from './volume/state/state-folder.ts';
import type { Volume } from './volume/volume.ts';
import { volumeStore } from './volume/volume-store.ts';

export type { UnstorageDriver, UnstorageMeta };

/** Where the items are kept. Name a `volume` that is open, or a `store`, whose volume is opened with the first call. */
export interface VolumeDriverOptions {
  /** An open volume. It stays the caller's: disposing of the driver leaves it open. */
  readonly volume?: Volume;
  /** A folder, a file:// URL, or the URL of a store elsewhere (docs/STORES.md). */
  readonly store?: string;
  /** A file whose bytes are the secret. Default: what NETSEAL_KEY_FILE names. */
  readonly keyFile?: string;
  /**
   * A file whose first line is the passphrase. Default: what NETSEAL_PASSPHRASE_FILE names; and if nothing is named at
   * all, NETSEAL_PASSPHRASE itself. A passphrase is no option: options end up in what a build writes.
   */
  readonly passphraseFile?: string;
  /** Makes the volume if there is none, with this secret. Default: false. */
  readonly create?: boolean;
  /** The folder of a local cache, made if there is none. Only one process at a time has it. Default: none. */
  readonly cache?: string;
  /** A folder for what this client remembers of stores, against servers that show old data. Default: none. */
  readonly state?: string;
  /** The folder of the volume that holds the items. Default: `/unstorage`. */
  readonly prefix?: string;
}

const PREFIX_DEFAULT = '/unstorage';
const DELETES_AT_ONCE = 32;

/** What a driver works on, and how it is ended. */
interface Opened {
  readonly store: ObjectStore;
  close(): Promise<void>;
}

/**
 * Returns a driver over a volume. Its calls reject with what `volumeStore` and `openVolume` throw; a failure to open is
 * tried again with the next call.
 *
 * @throws EINVAL unless the options name a volume or a store.
 */
export default function volumeDriver(options: VolumeDriverOptions): UnstorageDriver {
  checkOptions(options);
  let opening: Promise<Opened> | undefined;
  const opened = async (): Promise<ObjectStore> => {
    opening ??= open(options);
    const now = opening;
    try {
      return (await now).store;
    } catch (error) {
      if (opening === now) opening = undefined;
      throw error;
    }
  };
  return {
    name: 'netseal',
    hasItem: async key => (await unlessMissing((await opened()).stat(keyOf(key)))) !== undefined,
    getItem: async key => {
      const found = await unlessMissing((await opened()).get(keyOf(key)));
      return found === undefined ? null : textOf(found.bytes);
    },
    getItemRaw: async key => {
      const found = await unlessMissing((await opened()).get(keyOf(key)));
      return found === undefined ? null : bytesOf(found.bytes);
    },
    setItem: async (key, value) => {
      requireText('value', value);
      await (await opened()).put(keyOf(key), [Buffer.from(value)]);
    },
    setItemRaw: async (key, value) => {
      const bytes = bytesOf(value);
      await (await opened()).put(keyOf(key), [bytes]);
    },
    removeItem: async key => await (await opened()).delete(keyOf(key)),
    getMeta: async key => {
      const found = await unlessMissing((await opened()).stat(keyOf(key)));
      return found === undefined ? null : { mtime: new Date(found.modifiedAtMs), size: found.sizeBytes };
    },
    getKeys: async base => (await keysBelow(await opened(), base)).map(key => key.replaceAll('/', ':')),
    clear: async base => {
      const store = await opened();
      await inParallel(await keysBelow(store, base), DELETES_AT_ONCE, key => store.delete(key));
    },
    dispose: async () => {
      const ending = opening;
      opening = undefined;
      // What was never opened has nothing to close.
      await (await ending?.catch(() => undefined))?.close();
    },
  };
}

function checkOptions(options: VolumeDriverOptions): void {
  requireObject('options', options);
  const { volume, store, create } = options;
  requireArgument(
    (volume === undefined) !== (store === undefined),
    'netseal/unstorage needs a store (a folder or a URL), or an open volume',
  );
  requireFlag('options.create', create);
  for (const name of ['store', 'keyFile', 'passphraseFile', 'cache', 'state', 'prefix'] as const) {
    const value = options[name];
    if (value !== undefined) requireText(`options.${name}`, value);
  }
  // Checks both.
  if (volume !== undefined) storeOf(volume, options);
}

function storeOf(volume: Volume, { prefix = PREFIX_DEFAULT }: VolumeDriverOptions): ObjectStore {
  return volumeStore(volume, { prefix, name: 'netseal' });
}

async function open(options: VolumeDriverOptions): Promise<Opened> {
  const { volume, store: text } = options;
  if (volume !== undefined) {
    const store = storeOf(volume, options);
    return { store, close: () => store.close() };
  }
  const closers: (() => Promise<unknown>)[] = [];
  const close = async (): Promise<void> => {
    for (let next = closers.pop(); next !== undefined; next = closers.pop()) await next();
  };
  try {
    const own = await openOwn(text ?? '', options, closers);
    return { store: storeOf(own, options), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens a volume. What is to be closed goes to `closers`, the last one first. */
async function openOwn(
  text: string,
  options: VolumeDriverOptions,
  closers: (() => Promise<unknown>)[],
): Promise<Volume> {
  const { create = false, state: stateFolder, cache: cacheFolder } = options;
  const secret = await secretOf(options);
  const { inner, name } = await openStore(text, create);
  const store = wrapStore(inner, { retry: {}, limit: { concurrency: 32 } });
  closers.push(() => store.close());
  const state = stateFolder === undefined ? undefined : await openStateFolder(stateFolder, await name());
  if (state !== undefined) closers.push(() => state.close());
  const slots = [{ label: 'unstorage', secret }];
  const key = { secrets: secret, slots };
  const cache = cacheFolder === undefined ? undefined : await openCache(cacheFolder, {}, { key });
  if (cache !== undefined) closers.push(() => cache.close());
  const components = {
    store,
    secrets: secret,
    ...(state === undefined ? {} : { state }),
    ...(cache === undefined ? {} : { cache }),
  };
  const volume = await openVolume(components).catch(async error => {
    if (codeOf(error) !== 'ENOENT') throw error;
    if (!create) {
      const advice = 'make one with "netseal init", or set the option create';
      throw new NetsealError('ENOENT', `no volume in ${text}: ${advice}`, { cause: error });
    }
    await createVolume({ store, slots, ...(state === undefined ? {} : { state }) }).catch(failure => {
      // Another process has made it meanwhile.
      if (codeOf(failure) !== 'EEXIST') throw failure;
    });
    return await openVolume(components);
  });
  closers.push(() => volume.close());
  return volume;
}

/** Opens a store. Its canonical name is known once its folder is there. */
async function openStore(
  text: string,
  create: boolean,
): Promise<{ readonly inner: ObjectStore; name(): Promise<string> }> {
  if (isStoreUrl(text)) {
    return { inner: await openStoreUrl(text), name: async () => canonicalStoreUrl(text) };
  }
  const folder = text.startsWith('file:') ? fileURLToPath(text) : text;
  const inner = await DirectoryStore.open(folder, { create });
  return { inner, name: async () => `file://${await realpath(folder)}` };
}

async function secretOf({ keyFile, passphraseFile }: VolumeDriverOptions): Promise<NewSecret> {
  requireArgument(
    keyFile === undefined || passphraseFile === undefined,
    'give keyFile or passphraseFile, not both',
  );
  const isNamed = keyFile !== undefined || passphraseFile !== undefined;
  const { NETSEAL_KEY_FILE, NETSEAL_PASSPHRASE_FILE, NETSEAL_PASSPHRASE } = process.env;
  const keyPath = isNamed ? keyFile : NETSEAL_KEY_FILE;
  const passphrasePath = isNamed ? passphraseFile : NETSEAL_PASSPHRASE_FILE;
  if (keyPath) return { type: 'key-file', contents: await readFile(keyPath) };
  const text = passphrasePath ? await readFile(passphrasePath, 'utf8') : NETSEAL_PASSPHRASE;
  const [passphrase = ''] = (text ?? '').split(/\r?\n/);
  requireArgument(
    passphrase !== '',
    'no secret for netseal/unstorage: name a keyFile or a passphraseFile, or set NETSEAL_KEY_FILE or NETSEAL_PASSPHRASE',
  );
  return { type: 'passphrase', passphrase };
}

function keyOf(key: string): string {
  requireText('key', key);
  return key.replaceAll(':', '/');
}

/** Returns the keys below a base, which ends in `:`. unstorage gives none for all keys. */
async function keysBelow(store: ObjectStore, base: string | undefined): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of listAll(store, keyOf(base ?? ''))) keys.push(key);
  return keys;
}

async function unlessMissing<Value>(answer: Promise<Value>): Promise<Value | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (codeOf(error) === 'EMISSING') return undefined;
    throw error;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

/** Returns a raw value as bytes. EINVAL for anything else: unstorage would not get it back. */
function bytesOf(value: unknown): Buffer {
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return Buffer.from(value);
  if (typeof value === 'string') return Buffer.from(value);
  throw new NetsealError('EINVAL', 'a raw item is bytes or text: store anything else with setItem');
}
