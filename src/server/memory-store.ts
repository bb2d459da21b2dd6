/** A store in this process's memory: for tests, and for data that may end with the process. */

import { randomUUID } from 'node:crypto';
import { requireMethods, requireObject, requireOptions, requireText } from '../base/arguments.ts';
import { copyBytes } from '../base/bytes.ts';
import type { CallOptions } from '../base/call-options.ts';
import { NetsealError } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import {
  checkKey,
  checkPut,
  closedError,
  compareKeys,
  conflictError,
  coveredBytes,
  type GetOptions,
  type GetResult,
  type ListOptions,
  type ListPage,
  missingError,
  type ObjectStat,
  type ObjectStore,
  type PutOptions,
  pageLimit,
  rangeOf,
  requireCondition,
  type StoreCapabilities,
  totalBytes,
  type Version,
} from './store.ts';

interface StoredObject {
  readonly bytes: Uint8Array;
  readonly version: Version;
  readonly modifiedAtMs: number;
}

export interface MemoryStoreSettings {
  readonly name?: string;
  /**
   * Replace capabilities, so that a test can have a store without conditions, or with puts that tear under
   * faults.
   */
  readonly capabilities?: Partial<StoreCapabilities>;
}

export class MemoryStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #scheduler: Pick<Scheduler, 'now'>;
  readonly #objects = new Map<string, StoredObject>();
  /** Makes versions unique among stores: an object may be deleted in one and restored from another. */
  readonly #versionPrefix = randomUUID();
  #versionCount = 0;
  #sortedKeys: string[] | undefined;
  #closed = false;

  constructor(settings: MemoryStoreSettings = {}, scheduler: Pick<Scheduler, 'now'> = systemScheduler) {
    requireObject('settings', settings);
    if (settings.name !== undefined) requireText('settings.name', settings.name);
    if (settings.capabilities !== undefined) requireObject('settings.capabilities', settings.capabilities);
    requireMethods('scheduler', scheduler, ['now']);
    this.name = settings.name ?? 'memory';
    this.#scheduler = scheduler;
    this.capabilities = {
      createIfAbsent: 'atomic',
      replaceIfMatch: 'atomic',
      atomicPut: true,
      rangedGet: true,
      sharedMemory: true,
      listIsConsistent: true,
      listHasVersions: true,
      serverClock: true,
      objectBytesMax: 2 ** 31,
      listEntriesMax: 100_000,
      ...settings.capabilities,
    };
  }

  async get(key: string, options: GetOptions = {}): Promise<GetResult> {
    checkKey(key);
    const range = rangeOf(options);
    this.#begin(options.signal);
    const object = this.#find(key);
    if (options.ifMatch !== undefined && options.ifMatch !== object.version)
      throw conflictError(this.name, key);
    const sizeBytes = object.bytes.byteLength;
    const lengthBytes = coveredBytes(range, sizeBytes);
    const bytes = options.into?.subarray(0, lengthBytes) ?? new Uint8Array(lengthBytes);
    copyBytes(object.bytes.subarray(range.offsetBytes, range.offsetBytes + lengthBytes), bytes);
    return { bytes, version: object.version, sizeBytes };
  }

  async put(
    key: string,
    parts: readonly Uint8Array[],
    options: PutOptions = {},
  ): Promise<{ version: Version }> {
    checkKey(key);
    checkPut(parts, options);
    const { condition } = options;
    requireCondition(this, condition);
    this.#begin(options.signal);
    const sizeBytes = totalBytes(parts);
    if (sizeBytes > this.capabilities.objectBytesMax) {
      throw new NetsealError('EINVAL', `${this.name}: an object cannot have ${sizeBytes} bytes`);
    }
    const present = this.#objects.get(key);
    const holds =
      condition === undefined ||
      ('ifAbsent' in condition ? present === undefined : present?.version === condition.ifMatch);
    if (!holds) throw conflictError(this.name, key);
    const bytes = new Uint8Array(sizeBytes);
    let offset = 0;
    for (const part of parts) {
      copyBytes(part, bytes, offset);
      offset += part.byteLength;
    }
    this.#versionCount += 1;
    const version = `${this.#versionPrefix}-${this.#versionCount}`;
    this.#objects.set(key, { bytes, version, modifiedAtMs: this.#scheduler.now() });
    if (present === undefined) this.#sortedKeys = undefined;
    return { version };
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    checkKey(key);
    requireOptions('options', options);
    this.#begin(options.signal);
    const { version, bytes, modifiedAtMs } = this.#find(key);
    return { version, sizeBytes: bytes.byteLength, modifiedAtMs };
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    requireOptions('options', options);
    this.#begin(options.signal);
    if (this.#objects.delete(key)) this.#sortedKeys = undefined;
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = pageLimit(options, this.capabilities.listEntriesMax);
    this.#begin(options.signal);
    const { prefix = '', after } = options;
    this.#sortedKeys ??= [...this.#objects.keys()].sort(compareKeys);
    const keys = this.#sortedKeys.filter(
      key => key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0),
    );
    const page = keys.slice(0, limit);
    const entries = page.map(key => {
      const { bytes, version, modifiedAtMs } = this.#find(key);
      return { key, sizeBytes: bytes.byteLength, version, modifiedAtMs };
    });
    return keys.length > limit ? { entries, next: page.at(-1) } : { entries };
  }

  async now(options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    this.#begin(options.signal);
    return this.#scheduler.now();
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #begin(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (this.#closed) throw closedError(this.name);
  }

  #find(key: string): StoredObject {
    const object = this.#objects.get(key);
    if (object === undefined) throw missingError(this.name, key);
    return object;
  }
}
