/**
 * A store over any driver of unstorage. A driver has no conditions, so only one client may write: two that do undo each
 * other's work unnoticed.
 *
 * The key `a/b` is the item `a:b`. unstorage takes some characters of keys for signs, and drivers over files cannot hold
 * both `a` and `a:b`: so the parts of keys are written as in a directory store, `a` and `a+:b`.
 *
 * A list reads every object: drivers tell neither sizes nor times in the same way.
 */
import { requireMethods, requireObject, requireText } from '../../base/arguments.ts';
import { utf8, viewOf } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { KeyNames } from '../key-names.ts';
import type { ObjectStore } from '../store.ts';
import { adaptStore } from './adapt-store.ts';
import type { ClientEntry, ClientObject, ObjectBody, StorageClient } from './storage-client.ts';
import type { UnstorageDriver } from './unstorage-driver.ts';

export interface UnstorageStoreOptions {
  /** Names the store in messages. Default: the driver's name. */
  readonly name?: string;
}

/**
 * Returns a store over a driver. Closing it disposes of the driver. It declares no conditions, so a volume can live
 * there only under a lease.
 *
 * @throws EINVAL for what is no driver, EUNSUPPORTED for one that cannot write or has no raw items.
 */
export function unstorageStore(driver: UnstorageDriver, options: UnstorageStoreOptions = {}): ObjectStore {
  requireMethods('driver', driver, ['hasItem', 'getItem', 'getKeys']);
  requireObject('options', options);
  const { name = driver.name ?? 'unstorage' } = options;
  requireText('options.name', name);
  const { getItemRaw, setItemRaw, removeItem } = driver;
  if (getItemRaw === undefined || setItemRaw === undefined || removeItem === undefined) {
    throw new NetsealError('EUNSUPPORTED', `${name}: the driver does not write, or has no raw items`);
  }
  return adaptStore(new DriverClient(driver, name));
}

/** Drivers over files refuse names that end in `..`, and leave `.git` and `node_modules` out of lists. */
const NAMES: KeyNames = new KeyNames('a-z0-9@=,-');
/** How many bytes the time of a put takes in front of an object: a float64. Not all drivers keep times. */
const TIME_BYTES = 8;

class DriverClient implements StorageClient {
  readonly name: string;
  readonly conditions = 'none';
  readonly #driver: UnstorageDriver;
  /** The last call of each key that is under way. Most drivers write in place: a reader would see half of it. */
  readonly #running = new Map<string, Promise<unknown>>();

  constructor(driver: UnstorageDriver, name: string) {
    this.#driver = driver;
    this.name = name;
  }

  async get(key: string): Promise<ClientObject | undefined> {
    return await this.#inTurn(key, () => this.#read(key, itemOf(key)));
  }

  async put(key: string, { parts }: ObjectBody): Promise<void> {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeDoubleLE(Date.now());
    const bytes = Buffer.concat([time, ...parts]);
    await this.#inTurn(key, async () => await this.#driver.setItemRaw?.(itemOf(key), bytes, {}));
  }

  async delete(key: string): Promise<void> {
    await this.#inTurn(key, async () => throwIfError(await this.#driver.removeItem?.(itemOf(key), {})));
  }

  async *list(prefix: string): AsyncGenerator<ClientEntry> {
    for (const item of await this.#driver.getKeys('', {})) {
      const parts = item.split(/[:/]/);
      const key = NAMES.pathToKey({ folders: parts.slice(0, -1), file: parts.at(-1) ?? '' });
      if (key === undefined || !key.startsWith(prefix)) continue;
      const found = await this.#inTurn(key, () => this.#read(key, item));
      // Otherwise it was removed meanwhile.
      if (found !== undefined) {
        yield { key, totalBytes: found.bytes.byteLength, modifiedAtMs: found.modifiedAtMs };
      }
    }
  }

  async close(): Promise<void> {
    await this.#driver.dispose?.();
  }

  async #read(key: string, item: string): Promise<ClientObject | undefined> {
    const value = throwIfError(await this.#driver.getItemRaw?.(item, {}));
    if (value === null || value === undefined) return undefined;
    const bytes = this.#bytesOf(key, value);
    if (bytes.byteLength < TIME_BYTES) return { bytes: new Uint8Array(0) };
    const modifiedAtMs = viewOf(bytes).getFloat64(0, true);
    return { bytes: bytes.subarray(TIME_BYTES), modifiedAtMs };
  }

  /** Returns a copy: some drivers give the memory that they keep. */
  #bytesOf(key: string, value: unknown): Uint8Array {
    if (value instanceof Uint8Array) return new Uint8Array(value);
    if (value instanceof ArrayBuffer) return new Uint8Array(value.slice(0));
    if (typeof value === 'string') return utf8(value);
    throw new NetsealError('EFORMAT', `${this.name}: the driver gives no bytes: ${key}`, { path: key });
  }

  async #inTurn<Result>(key: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#running.get(key);
    const result = before === undefined ? work() : before.then(work);
    const ended = result.then(
      () => undefined,
      () => undefined,
    );
    this.#running.set(key, ended);
    try {
      return await result;
    } finally {
      if (this.#running.get(key) === ended) this.#running.delete(key);
    }
  }
}

function itemOf(key: string): string {
  const { folders, file } = NAMES.keyToPath(key);
  return [...folders, file].join(':');
}

/** Some drivers resolve with what failed. */
function throwIfError<Value>(value: Value): Value {
  if (value instanceof Error) throw value;
  return value;
}
