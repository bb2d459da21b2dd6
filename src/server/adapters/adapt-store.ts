/**
 * A store over somebody's storage client: `adaptStore` adds what the client lacks. Each object has a header in front
 * (`object-frame.ts`), so that no two puts store the same bytes, and what was cut short is found out.
 *
 * The version of an object is the client's etag, or for clients without etags the random version in the header. Such
 * a client reads whole objects only: a range and the header of another request might be of two puts.
 *
 * A conditional put whose answer was lost is sent again. It can happen only once, as the first to arrive makes the
 * condition false for the other; after a conflict, the header of the object tells whether it was this put.
 */
import {
  requireFlag,
  requireInteger,
  requireMethods,
  requireOptions,
  requireText,
} from '../../base/arguments.ts';
import { copyBytes } from '../../base/bytes.ts';
import type { CallOptions } from '../../base/call-options.ts';
import { type ErrorCode, isNetsealError, NetsealError, requireArgument } from '../../base/errors.ts';
import { Gate } from '../gate.ts';
import { newHeader, OBJECT_HEADER_BYTES, type ObjectHeader, readHeader } from '../object-frame.ts';
import {
  checkKey,
  checkPut,
  compareKeys,
  conflictError,
  coveredBytes,
  type GetOptions,
  type GetResult,
  keyProblem,
  type ListEntry,
  type ListOptions,
  type ListPage,
  missingError,
  type ObjectStat,
  type ObjectStore,
  type PutCondition,
  type PutOptions,
  pageLimit,
  rangeOf,
  requireCondition,
  type StoreCapabilities,
  totalBytes,
  type Version,
} from '../store.ts';
import { type ClientCall, clientError } from './client-errors.ts';
import type {
  ClientEntry,
  ClientObject,
  ClientPutOptions,
  ObjectBody,
  StorageClient,
} from './storage-client.ts';

const CONCURRENCY_DEFAULT = 64;
const OBJECT_BYTES_MAX_DEFAULT: number = 2 ** 31;
const LIST_ENTRIES_MAX_DEFAULT = 1000;
/** How often a conditional put is sent whose answer is lost. */
const PUTS_MAX = 3;

/**
 * Returns a store over a client. Closing it closes the client.
 *
 * Throws EINVAL when the client lacks a function, or declares what contradicts itself.
 */
export function adaptStore(client: StorageClient): ObjectStore {
  requireMethods('client', client, ['get', 'put', 'delete']);
  requireText('client.name', client.name);
  for (const name of ['etags', 'ranges', 'atomicPut', 'sharedMemory', 'listIsConsistent'] as const) {
    const value = client[name];
    if (value !== undefined) requireFlag(`client.${name}`, value);
  }
  for (const name of ['objectBytesMax', 'listEntriesMax', 'concurrency'] as const) {
    const value = client[name];
    if (value !== undefined) requireInteger(`client.${name}`, value, 1);
  }
  const { conditions = 'none', etags = false, ranges = false } = client;
  requireArgument(
    conditions === 'none' || conditions === 'atomic',
    `client.conditions is "none" or "atomic", not ${conditions}`,
  );
  requireArgument(conditions === 'none' || etags, 'a client with conditions has etags');
  requireArgument(!ranges || etags, 'a client with ranges has etags');
  return new AdaptedStore(client);
}

/** An object, or a part of it, as the client has answered. */
interface Found {
  readonly bytes: Uint8Array;
  readonly version: Version;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
}

class AdaptedStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #client: StorageClient;
  readonly #gate: Gate;
  #closing: Promise<void> | undefined;

  constructor(client: StorageClient) {
    this.#client = client;
    this.name = client.name;
    this.#gate = new Gate(client.name, client.concurrency ?? CONCURRENCY_DEFAULT);
    const conditions = client.conditions ?? 'none';
    this.capabilities = {
      createIfAbsent: conditions,
      replaceIfMatch: conditions,
      atomicPut: client.atomicPut ?? false,
      rangedGet: client.ranges ?? false,
      sharedMemory: client.sharedMemory ?? false,
      listIsConsistent: client.listIsConsistent ?? true,
      listHasVersions: client.etags ?? false,
      serverClock: client.now !== undefined,
      objectBytesMax: (client.objectBytesMax ?? OBJECT_BYTES_MAX_DEFAULT) - OBJECT_HEADER_BYTES,
      listEntriesMax: client.listEntriesMax ?? LIST_ENTRIES_MAX_DEFAULT,
    };
  }

  async get(key: string, options: GetOptions = {}): Promise<GetResult> {
    checkKey(key);
    const range = rangeOf(options);
    const { signal, into, ifMatch } = options;
    return await this.#run(key, 'read', signal, async () => {
      const isPart = this.capabilities.rangedGet && (options.range !== undefined || into !== undefined);
      const found = isPart
        ? await this.#readPart(key, range.offsetBytes, range.lengthBytes, into, signal)
        : await this.#readWhole(key, signal);
      const { version, sizeBytes } = found;
      if (ifMatch !== undefined && ifMatch !== version) throw conflictError(this.name, key);
      const lengthBytes = coveredBytes(range, sizeBytes);
      const bytes = isPart
        ? found.bytes.subarray(0, lengthBytes)
        : found.bytes.subarray(range.offsetBytes, range.offsetBytes + lengthBytes);
      if (bytes.byteLength !== lengthBytes) throw this.#damagedError(key);
      if (into === undefined) return { bytes, version, sizeBytes };
      const target = into.subarray(0, lengthBytes);
      if (bytes.buffer !== into.buffer || bytes.byteOffset !== target.byteOffset) copyBytes(bytes, target);
      return { bytes: target, version, sizeBytes };
    });
  }

  async put(
    key: string,
    parts: readonly Uint8Array[],
    options: PutOptions = {},
  ): Promise<{ version: Version }> {
    checkKey(key);
    checkPut(parts, options);
    requireOptions('options', options);
    const { condition, signal } = options;
    requireCondition(this, condition);
    const lengthBytes = totalBytes(parts);
    requireArgument(
      lengthBytes <= this.capabilities.objectBytesMax,
      `${this.name}: an object cannot have ${lengthBytes} bytes`,
    );
    return await this.#run(key, 'change', signal, async () => {
      const header = newHeader(lengthBytes);
      const given = this.capabilities.sharedMemory ? parts : parts.map(unshared);
      const body = bodyOf([header.bytes, ...given]);
      if (condition === undefined)
        return { version: await this.#send(key, body, header.version, { signal }) };
      return { version: await this.#putIf(key, body, header.version, condition, signal) };
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    checkKey(key);
    requireOptions('options', options);
    const { signal } = options;
    return await this.#run(key, 'read', signal, async () => {
      const { etags, stat } = this.#client;
      if (stat === undefined || etags !== true) {
        const { version, sizeBytes, modifiedAtMs } = await this.#readWhole(key, signal);
        return { version, sizeBytes, modifiedAtMs };
      }
      const found = await this.#client.stat?.(key, { signal });
      if (found === undefined || found === null) throw missingError(this.name, key);
      return {
        version: this.#etagOf(found.etag, key),
        sizeBytes: this.#sizeOf(found.totalBytes, key),
        modifiedAtMs: this.#timeOf(found.modifiedAtMs),
      };
    });
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    requireOptions('options', options);
    const { signal } = options;
    await this.#run(key, 'change', signal, async () => {
      try {
        await this.#client.delete(key, { signal });
      } catch (error) {
        if (this.#errorOf(key, 'change', error, signal).code !== 'EMISSING') throw error;
      }
    });
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = pageLimit(options, this.capabilities.listEntriesMax);
    const { prefix = '', after, signal } = options;
    return await this.#run(prefix, 'read', signal, async () => {
      if (this.#client.listPage !== undefined) {
        const { entries, isTruncated } = await this.#client.listPage({ prefix, after, limit, signal });
        const next = isTruncated ? entries.at(-1)?.key : undefined;
        const shown = entries.flatMap(entry => this.#entryOf(entry));
        return next === undefined ? { entries: shown } : { entries: shown, next };
      }
      const all = await this.#listAll(prefix, after, signal);
      const page = all.slice(0, limit);
      return all.length > limit ? { entries: page, next: page.at(-1)?.key } : { entries: page };
    });
  }

  async now(options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    const { signal } = options;
    return await this.#run(
      '',
      'read',
      signal,
      async () => (await this.#client.now?.({ signal })) ?? Date.now(),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#gate.close().then(() => this.#client.close?.());
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run<Result>(
    key: string,
    call: ClientCall,
    signal: AbortSignal | undefined,
    action: () => Promise<Result>,
  ): Promise<Result> {
    try {
      return await this.#gate.run(action, signal);
    } catch (error) {
      // Libraries throw errors of their own for an abort.
      if (signal?.aborted === true) throw signal.reason;
      throw this.#errorOf(key, call, error, signal);
    }
  }

  #errorOf(key: string, call: ClientCall, error: unknown, signal: AbortSignal | undefined): NetsealError {
    if (signal?.aborted === true && error === signal.reason) return clientError(this.name, key, call, error);
    const code = isNetsealError(error) ? undefined : this.#client.errorCode?.(error, call);
    return clientError(this.name, key, call, error, code);
  }

  /** Sends a put. Returns the version of the object. */
  async #send(key: string, body: ObjectBody, version: Version, options: ClientPutOptions): Promise<Version> {
    const answer: unknown = await this.#client.put(key, body, options);
    if (this.#client.etags !== true) return version;
    const etag = typeof answer === 'object' && answer !== null ? Reflect.get(answer, 'etag') : undefined;
    return this.#etagOf(etag, key);
  }

  async #putIf(
    key: string,
    body: ObjectBody,
    version: Version,
    condition: PutCondition,
    signal: AbortSignal | undefined,
  ): Promise<Version> {
    const options = 'ifAbsent' in condition ? { ifAbsent: true as const } : { ifMatch: condition.ifMatch };
    let lostAnswer: unknown;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#send(key, body, version, { ...options, signal });
      } catch (error) {
        signal?.throwIfAborted();
        const { code } = this.#errorOf(key, 'change', error, signal);
        const isConflict = refuses(condition, code);
        if (isConflict && lostAnswer === undefined) throw conflictError(this.name, key);
        if (isConflict) return await this.#settle(key, version, lostAnswer, signal);
        if (code === 'EUNCERTAIN') lostAnswer = error;
        if (code !== 'EUNCERTAIN' || attempt === PUTS_MAX) throw lostAnswer ?? error;
      }
    }
  }

  /** Finds out whether a put whose answer was lost is what is there. EUNCERTAIN when it is not: it may have been. */
  async #settle(
    key: string,
    version: Version,
    lostAnswer: unknown,
    signal: AbortSignal | undefined,
  ): Promise<Version> {
    const { header, etag } = await this.#readHeader(key, signal);
    if (header?.version === version) return this.#etagOf(etag, key);
    throw lostAnswer;
  }

  async #readHeader(
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly header: ObjectHeader | undefined; readonly etag: string | undefined }> {
    const range = { offsetBytes: 0, lengthBytes: OBJECT_HEADER_BYTES };
    const found = await this.#client.get(key, this.capabilities.rangedGet ? { range, signal } : { signal });
    if (found === undefined || found === null) return { header: undefined, etag: undefined };
    const { bytes, etag, totalBytes: total = bytes.byteLength } = objectOf(found);
    return { header: readHeader(bytes.subarray(0, OBJECT_HEADER_BYTES), total), etag };
  }

  /** Reads an object with its header. */
  async #readWhole(key: string, signal: AbortSignal | undefined): Promise<Found> {
    const found = await this.#client.get(key, { signal });
    if (found === undefined || found === null) throw missingError(this.name, key);
    const { bytes, etag, modifiedAtMs } = objectOf(found);
    const header = readHeader(bytes, bytes.byteLength);
    if (header === undefined) throw this.#damagedError(key);
    const version = this.#client.etags === true ? this.#etagOf(etag, key) : header.version;
    return {
      bytes: bytes.subarray(OBJECT_HEADER_BYTES),
      version,
      sizeBytes: header.sizeBytes,
      modifiedAtMs: this.#timeOf(modifiedAtMs),
    };
  }

  /** Reads a range without the header. */
  async #readPart(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    into: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Found> {
    const isToEnd = lengthBytes >= this.capabilities.objectBytesMax;
    const range = {
      offsetBytes: OBJECT_HEADER_BYTES + offsetBytes,
      lengthBytes: isToEnd ? undefined : Math.max(1, lengthBytes),
    };
    const target =
      into !== undefined && !isToEnd && lengthBytes > 0 ? into.subarray(0, lengthBytes) : undefined;
    const found = await this.#client.get(key, { range, into: target, signal });
    if (found === undefined || found === null) throw missingError(this.name, key);
    const { bytes, etag, totalBytes: total, modifiedAtMs } = objectOf(found);
    return {
      bytes,
      version: this.#etagOf(etag, key),
      sizeBytes: this.#sizeOf(total, key),
      modifiedAtMs: this.#timeOf(modifiedAtMs),
    };
  }

  async #listAll(
    prefix: string,
    after: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<ListEntry[]> {
    const listing = this.#client.list?.(prefix, { signal });
    if (listing === undefined) throw new NetsealError('EUNSUPPORTED', `${this.name} cannot list its objects`);
    const all: ListEntry[] = [];
    for await (const entry of Symbol.asyncIterator in listing ? listing : await listing) {
      const isWanted =
        entry.key.startsWith(prefix) && (after === undefined || compareKeys(entry.key, after) > 0);
      if (isWanted) all.push(...this.#entryOf(entry));
    }
    return all.sort((one, other) => compareKeys(one.key, other.key));
  }

  /** Returns an entry for what can be an object of this store: a key, and room for a header. */
  #entryOf({ key, totalBytes: total, modifiedAtMs, etag }: ClientEntry): ListEntry[] {
    if (keyProblem(key) !== undefined || total < OBJECT_HEADER_BYTES) return [];
    const version = this.#client.etags === true && etag !== undefined ? { version: bareEtag(etag) } : {};
    const sizeBytes = total - OBJECT_HEADER_BYTES;
    return [{ key, sizeBytes, modifiedAtMs: this.#timeOf(modifiedAtMs), ...version }];
  }

  #etagOf(etag: unknown, key: string): Version {
    if (typeof etag === 'string' && etag !== '') return bareEtag(etag);
    throw new NetsealError('EIO', `${this.name}: the server tells no version (ETag): ${key}`, { path: key });
  }

  #sizeOf(total: number | undefined, key: string): number {
    if (total === undefined || total < OBJECT_HEADER_BYTES) throw this.#damagedError(key);
    return total - OBJECT_HEADER_BYTES;
  }

  /** What has no time counts as new. */
  #timeOf(modifiedAtMs: number | undefined): number {
    return modifiedAtMs === undefined || !Number.isFinite(modifiedAtMs)
      ? Date.now()
      : Math.floor(modifiedAtMs);
  }

  #damagedError(key: string): NetsealError {
    const problem = 'not an object of this store, or not all of it';
    return new NetsealError('EFORMAT', `${this.name}: ${problem}: ${key}`, { path: key });
  }
}

/** True when a condition did not hold. A swap of what is gone does not find it. */
function refuses(condition: PutCondition, code: ErrorCode): boolean {
  return code === 'ECONFLICT' || (code === 'EMISSING' && 'ifMatch' in condition);
}

/** Servers write etags in quotes, some of their libraries without. */
function bareEtag(etag: string): string {
  return etag.replace(/^"(.*)"$/, '$1');
}

function objectOf(found: Uint8Array | ClientObject): ClientObject {
  return found instanceof Uint8Array ? { bytes: found } : found;
}

function unshared(part: Uint8Array): Uint8Array {
  if (part.buffer instanceof ArrayBuffer) return part;
  const copy = new Uint8Array(part.byteLength);
  copyBytes(part, copy);
  return copy;
}

function bodyOf(parts: readonly Uint8Array[]): ObjectBody {
  return {
    parts,
    lengthBytes: totalBytes(parts),
    bytes: () => {
      const [only] = parts;
      return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
    },
  };
}
