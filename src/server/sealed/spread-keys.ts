/**
 * Wraps the store of a volume whose keys have the scheme `hex2`. Callers use the volume's own keys; the
 * wrapper translates them to the keys in the store (`object-keys.ts`).
 */
import type { CallOptions } from '../../base/call-options.ts';
import type {
  GetOptions,
  GetResult,
  ListOptions,
  ListPage,
  ObjectStat,
  ObjectStore,
  PutOptions,
  StoreCapabilities,
  Version,
} from '../store.ts';
import { type KeyScheme, keyOfStored, storedKey } from './object-keys.ts';

/**
 * Returns `store` as a volume of this scheme sees it. A list takes whole prefixes only (`s/`, never `s/ab`).
 * Its `after` must be the `next` of an earlier page: both are keys of the store. Objects with keys that are
 * not the volume's are left out.
 */
export function withKeyScheme(store: ObjectStore, scheme: KeyScheme): ObjectStore {
  return scheme === 'flat' ? store : new SpreadKeysStore(store, scheme);
}

class SpreadKeysStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly localFolder: string | undefined;
  readonly #inner: ObjectStore;
  readonly #scheme: KeyScheme;

  constructor(inner: ObjectStore, scheme: KeyScheme) {
    this.name = inner.name;
    this.capabilities = inner.capabilities;
    this.localFolder = inner.localFolder;
    this.#inner = inner;
    this.#scheme = scheme;
  }

  get(key: string, options?: GetOptions): Promise<GetResult> {
    return this.#inner.get(this.#stored(key), options);
  }

  put(key: string, parts: readonly Uint8Array[], options?: PutOptions): Promise<{ version: Version }> {
    return this.#inner.put(this.#stored(key), parts, options);
  }

  stat(key: string, options?: CallOptions): Promise<ObjectStat> {
    return this.#inner.stat(this.#stored(key), options);
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    return this.#inner.delete(this.#stored(key), options);
  }

  async list(options: ListOptions): Promise<ListPage> {
    const page = await this.#inner.list(options);
    const entries = page.entries.flatMap(entry => {
      const key = keyOfStored(entry.key, this.#scheme);
      return key === undefined ? [] : [{ ...entry, key }];
    });
    return { ...page, entries };
  }

  now(options?: CallOptions): Promise<number> {
    return this.#inner.now(options);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stored(key: string): string {
    return storedKey(key, this.#scheme);
  }
}
