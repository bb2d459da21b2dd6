/**
 * The interface to a server: named objects, written whole and read in ranges. A store knows nothing of files,
 * encryption keys or volumes. `docs/STORES.md` explains how to write one, and `store-contract.ts` tests
 * any store against the rules.
 *
 * Rules for every operation
 *   1. It settles only when the store no longer touches the caller's memory (`parts`, `into`), also when
 *      aborted.
 *   2. When aborted it rejects with the signal's reason. A change that was aborted may have happened.
 *   3. All its other errors are NetsealErrors. The code says what the caller can do:
 *      EINVAL        the call is wrong; nothing was sent
 *      EUNSUPPORTED  the store lacks a declared capability, such as conditions; nothing was sent
 *      EMISSING      no object has this key
 *      ECONFLICT     a condition did not hold; nothing was changed
 *      EUNAVAILABLE  it did not happen, and may be repeated
 *      EUNCERTAIN    the answer was lost: a change may or may not have happened, or may happen yet
 *      EDENIED, EFULL, EIO, EFORMAT (the store itself is damaged)
 *                    repeating does not help; nothing was changed
 *      ECLOSED       used after close
 */
import {
  requireBytes,
  requireInteger,
  requireList,
  requireMethods,
  requireObject,
  requireOptions,
  requireText,
  shownValue,
} from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';

/**
 * Names one content of one key; no other content of that key ever has the same version. Compare for equality
 * only.
 */
export type Version = string;

export interface StoreCapabilities {
  /** `atomic`: of any number of writers with `ifAbsent`, in any processes, exactly one succeeds. */
  readonly createIfAbsent: 'atomic' | 'none';
  /** `atomic`: a put with `ifMatch` is a compare-and-swap. */
  readonly replaceIfMatch: 'atomic' | 'none';
  /** Readers see the whole old object or the whole new one, also when the writer dies. */
  readonly atomicPut: boolean;
  /** A ranged get costs about as much as its range is long. Otherwise the store fetches more and cuts it. */
  readonly rangedGet: boolean;
  /** `parts` and `into` may be views of shared memory at no extra cost. Otherwise the store copies. */
  readonly sharedMemory: boolean;
  /** A list that starts after a change was acknowledged shows it. */
  readonly listIsConsistent: boolean;
  /** The entries of {@link ObjectStore.list} hold versions. */
  readonly listHasVersions: boolean;
  /**
   * {@link ObjectStore.now} reads the clock that `modifiedAtMs` comes from. Otherwise it reads this
   * machine's.
   */
  readonly serverClock: boolean;
  /** Size of the largest object that the store takes. */
  readonly objectBytesMax: number;
  /** Length of the longest page that a list gives; a higher `limit` counts as this one. */
  readonly listEntriesMax: number;
}

/** A range that begins at `offsetBytes` and has at most `lengthBytes` bytes. */
export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface GetOptions extends CallOptions {
  /** Default: from 0 to the end of the object, or of `into`. */
  readonly range?: ByteRange | undefined;
  /**
   * Where the bytes go: memory of the caller's, shared or not, at least as long as `range`. Undefined content
   * after a failure.
   */
  readonly into?: Uint8Array | undefined;
  /** ECONFLICT unless this is the current version. */
  readonly ifMatch?: Version | undefined;
}

export interface GetResult {
  /**
   * The part of the object that lies in the range: shorter, or empty, where the object ends. A view of `into`
   * if given.
   */
  readonly bytes: Uint8Array;
  readonly version: Version;
  /** Of the whole object. */
  readonly sizeBytes: number;
}

export type PutCondition = { readonly ifAbsent: true } | { readonly ifMatch: Version };

export interface PutOptions extends CallOptions {
  readonly condition?: PutCondition | undefined;
  /**
   * The bytes hold a random nonce, so no other writer ever writes the same. After a lost answer, reading the
   * object then tells whether this put has happened; see `retry.ts`.
   */
  readonly bytesAreUnique?: boolean | undefined;
}

export interface ObjectStat {
  readonly version: Version;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
}

export interface ListOptions extends CallOptions {
  /** Only keys that begin with these characters, which need not end at a `/`. Default: all keys. */
  readonly prefix?: string | undefined;
  /** Only keys that come after this one. */
  readonly after?: string | undefined;
  /** How many entries to give at most; at least 1. */
  readonly limit: number;
}

export interface ListEntry {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly version?: Version | undefined;
}

export interface ListPage {
  /** Ascending by the bytes of their keys. May be fewer than `limit` although more follow: see `next`. */
  readonly entries: readonly ListEntry[];
  /** The `after` of the next page; undefined when this is the last one. */
  readonly next?: string | undefined;
}

/** See the rules at the top of this file. Any number of calls may run at once. */
export interface ObjectStore extends AsyncDisposable {
  /** Names the store in messages. Never holds secrets. */
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  /**
   * The folder of this machine that the store keeps its objects in; undefined for a store that is elsewhere.
   * Copies leave it out, and refuse it as their target.
   */
  readonly localFolder?: string | undefined;

  /** Reads one version of an object. EMISSING, ECONFLICT (`ifMatch`). */
  get(key: string, options?: GetOptions): Promise<GetResult>;

  /**
   * Writes a whole object: the parts, one after another. It is durable when the call resolves.
   *
   * The store only reads the parts. They must not change until the call has settled. ECONFLICT when the
   * condition does not hold; `ifMatch` does not hold for a missing object.
   */
  put(key: string, parts: readonly Uint8Array[], options?: PutOptions): Promise<{ version: Version }>;

  /** Returns what is known of an object without reading it. EMISSING. */
  stat(key: string, options?: CallOptions): Promise<ObjectStat>;

  /**
   * Removes an object; resolves as well when there is none. Takes no condition: too many servers ignore it.
   */
  delete(key: string, options?: CallOptions): Promise<void>;

  /**
   * Returns one page of the keys. A key that exists from the first page to the last is in exactly one of
   * them. A key that comes or goes meanwhile may be in one or in none. Objects without a valid key (see
   * {@link checkKey}) are skipped.
   */
  list(options: ListOptions): Promise<ListPage>;

  /**
   * Returns the time in ms since 1970, by the clock that `modifiedAtMs` comes from (see {@link
   * StoreCapabilities}).
   */
  now(options?: CallOptions): Promise<number>;

  /** Waits until running calls have ended. Later calls fail with ECLOSED. May be called again. */
  close(): Promise<void>;
}

const STORE_METHODS = ['get', 'put', 'stat', 'delete', 'list', 'now', 'close'] as const;

/** Throws EINVAL unless the argument called `name` is a store, of any kind. */
export function requireStore(name: string, value: unknown): asserts value is ObjectStore {
  requireMethods(name, value, STORE_METHODS);
  requireObject(`${name}.capabilities`, Reflect.get(value, 'capabilities'));
}

/** Length of the longest key, in bytes of UTF-8. */
export const KEY_BYTES_MAX = 1024;

/** Says why `key` is not valid; undefined when it is. */
export function keyProblem(key: unknown): string | undefined {
  if (typeof key !== 'string') return 'it is no string';
  if (key.length === 0) return 'it is empty';
  if (!key.isWellFormed()) return 'it is not Unicode';
  if (key.length > KEY_BYTES_MAX || Buffer.byteLength(key) > KEY_BYTES_MAX) {
    return `it is longer than ${KEY_BYTES_MAX} bytes`;
  }
  if (key.includes('\0')) return 'it holds a NUL';
  for (const segment of key.split('/')) {
    if (segment === '') return 'it has an empty segment';
    // URL parsers would resolve such a segment before the request is sent.
    if (segment === '.' || segment === '..') return 'it has a segment "." or ".."';
  }
  return undefined;
}

/**
 * Throws EINVAL unless `key` can name an object in any store: 1 to 1024 bytes of UTF-8 without NUL, in
 * segments divided by `/`, none of them empty, `.` or `..`. One key may look like a folder of another: `a`
 * and `a/b` are two objects.
 */
export function checkKey(key: string): void {
  const problem = keyProblem(key);
  requireArgument(problem === undefined, `not a key: ${problem}: ${shownValue(key)}`);
}

/** Orders keys by their bytes in UTF-8, which differs from JavaScript's order beyond U+FFFF. */
export function compareKeys(left: string, right: string): number {
  if (left === right) return 0;
  const shorter = Math.min(left.length, right.length);
  for (let at = 0; at < shorter; at += 1) {
    const a = left.charCodeAt(at);
    const b = right.charCodeAt(at);
    if (a !== b) return isSurrogate(a) === isSurrogate(b) ? a - b : isSurrogate(a) ? 1 : -1;
  }
  return left.length - right.length;
}

/** Surrogates encode the characters above U+FFFF, which sort after all others in UTF-8. */
function isSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xd800 && codeUnit < 0xe000;
}

/** Returns the range that a get asks for. EINVAL when it is no range, or does not fit into `into`. */
export function rangeOf(options: GetOptions): ByteRange {
  requireOptions('options', options);
  const { range, into, ifMatch } = options;
  if (into !== undefined) requireBytes('options.into', into);
  if (ifMatch !== undefined) requireText('options.ifMatch', ifMatch);
  if (range === undefined) {
    return { offsetBytes: 0, lengthBytes: into?.byteLength ?? Number.MAX_SAFE_INTEGER };
  }
  requireObject('options.range', range);
  const { offsetBytes, lengthBytes } = range;
  requireInteger('range.offsetBytes', offsetBytes);
  requireInteger('range.lengthBytes', lengthBytes);
  requireArgument(
    into === undefined || into.byteLength >= lengthBytes,
    `a range of ${lengthBytes} bytes does not fit into ${into?.byteLength}`,
  );
  return range;
}

/** Returns how many bytes of an object of `sizeBytes` lie in a range. */
export function coveredBytes({ offsetBytes, lengthBytes }: ByteRange, sizeBytes: number): number {
  return Math.max(0, Math.min(lengthBytes, sizeBytes - offsetBytes));
}

/**
 * Returns the length of the page that a list asks for, at most the store's longest. EINVAL for a limit below
 * 1.
 */
export function pageLimit(options: ListOptions, listEntriesMax: number): number {
  requireObject('options', options);
  requireOptions('options', options);
  const { limit, prefix, after } = options;
  if (prefix !== undefined) requireText('options.prefix', prefix);
  if (after !== undefined) requireText('options.after', after);
  requireInteger('options.limit', limit, 1);
  return Math.min(limit, listEntriesMax);
}

/** Throws EUNSUPPORTED unless the store supports the condition. */
export function requireCondition(store: ObjectStore, condition: PutCondition | undefined): void {
  if (condition === undefined) return;
  const { createIfAbsent, replaceIfMatch } = store.capabilities;
  if (('ifAbsent' in condition ? createIfAbsent : replaceIfMatch) === 'none') {
    throw new NetsealError('EUNSUPPORTED', `${store.name} has no atomic conditions`);
  }
}

/** Throws EINVAL unless these can be the parts and options of a put. */
export function checkPut(parts: readonly Uint8Array[], options: PutOptions): void {
  requireList('parts', parts);
  for (const part of parts) requireBytes('a part', part);
  requireOptions('options', options);
  const { condition } = options;
  if (condition === undefined) return;
  requireObject('options.condition', condition);
  if ('ifMatch' in condition) requireText('condition.ifMatch', condition.ifMatch);
  else
    requireArgument(condition.ifAbsent === true, 'a condition is ifAbsent: true, or ifMatch and a version');
}

export function totalBytes(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

export function missingError(store: string, key: string): NetsealError {
  return new NetsealError('EMISSING', `${store}: no such object: ${key}`, { path: key });
}

export function conflictError(store: string, key: string): NetsealError {
  return new NetsealError('ECONFLICT', `${store}: the condition does not hold: ${key}`, { path: key });
}

export function closedError(store: string): NetsealError {
  return new NetsealError('ECLOSED', `${store} is closed`);
}
