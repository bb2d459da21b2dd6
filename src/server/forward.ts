/**
 * The base of all wrappers: a store that passes every call through one function on its way to another store.
 */
import { requireObject, requireOptions } from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import {
  checkPut,
  coveredBytes,
  type GetOptions,
  type GetResult,
  type ListOptions,
  type ListPage,
  type ObjectStat,
  type ObjectStore,
  type PutOptions,
  rangeOf,
  type StoreCapabilities,
  totalBytes,
  type Version,
} from './store.ts';

export type StoreOperation = 'get' | 'put' | 'stat' | 'delete' | 'list' | 'now';

/** One call on its way. */
export interface StoreCall<Result> {
  readonly operation: StoreOperation;
  /** The key; for a list, its prefix. */
  readonly key: string;
  readonly signal: AbortSignal | undefined;
  /** Object bytes that the request carries. */
  readonly sentBytes: number;
  /** Returns how many object bytes an answer carries. */
  receivedBytes(result: Result): number;
  /** Sends the call to the inner store. May be called more than once. */
  send(): Promise<Result>;
  /** Says why an answer cannot be complete; undefined when it can. */
  problemOf(result: Result): string | undefined;
  /** The arguments of a put; undefined for all other operations. */
  readonly put: { readonly parts: readonly Uint8Array[]; readonly options: PutOptions } | undefined;
}

export type Around = <Result>(call: StoreCall<Result>) => Promise<Result>;

const NOTHING = { sentBytes: 0, put: undefined, receivedBytes: () => 0, problemOf: () => undefined };

/**
 * A store that calls `around` for every call to `inner`. Its `close` calls `beforeClose`, then closes
 * `inner`.
 */
export class ForwardingStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly localFolder: string | undefined;
  readonly #inner: ObjectStore;
  readonly #around: Around;
  readonly #beforeClose: () => Promise<void>;

  constructor(inner: ObjectStore, around: Around, beforeClose: () => Promise<void> = async () => undefined) {
    this.name = inner.name;
    this.capabilities = inner.capabilities;
    this.localFolder = inner.localFolder;
    this.#inner = inner;
    this.#around = around;
    this.#beforeClose = beforeClose;
  }

  async get(key: string, options: GetOptions = {}): Promise<GetResult> {
    requireOptions('options', options);
    return await this.#around({
      ...NOTHING,
      operation: 'get',
      key,
      signal: options.signal,
      receivedBytes: result => result.bytes.byteLength,
      problemOf: result => shortAnswer(options, result),
      send: () => this.#inner.get(key, options),
    });
  }

  async put(
    key: string,
    parts: readonly Uint8Array[],
    options: PutOptions = {},
  ): Promise<{ version: Version }> {
    checkPut(parts, options);
    return await this.#around({
      ...NOTHING,
      operation: 'put',
      key,
      signal: options.signal,
      sentBytes: totalBytes(parts),
      put: { parts, options },
      send: () => this.#inner.put(key, parts, options),
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    requireOptions('options', options);
    const send = (): Promise<ObjectStat> => this.#inner.stat(key, options);
    return await this.#around({ ...NOTHING, operation: 'stat', key, signal: options.signal, send });
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    requireOptions('options', options);
    const send = (): Promise<void> => this.#inner.delete(key, options);
    return await this.#around({ ...NOTHING, operation: 'delete', key, signal: options.signal, send });
  }

  async list(options: ListOptions): Promise<ListPage> {
    requireObject('options', options);
    requireOptions('options', options);
    const send = (): Promise<ListPage> => this.#inner.list(options);
    const { prefix: key = '', signal } = options;
    return await this.#around({ ...NOTHING, operation: 'list', key, signal, send });
  }

  async now(options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    const send = (): Promise<number> => this.#inner.now(options);
    return await this.#around({ ...NOTHING, operation: 'now', key: '', signal: options.signal, send });
  }

  async close(): Promise<void> {
    await this.#beforeClose();
    await this.#inner.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Returns a problem when an answer to a get is too short: the connection broke and the client did not notice.
 */
function shortAnswer(options: GetOptions, { bytes, sizeBytes }: GetResult): string | undefined {
  const expected = coveredBytes(rangeOf(options), sizeBytes);
  return bytes.byteLength === expected ? undefined : `${bytes.byteLength} bytes came of ${expected}`;
}
