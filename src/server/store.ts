/**
 * What netseal asks of a server: named objects, written whole and read in ranges. A store knows nothing of files, keys
 * or encryption. `docs/STORES.md` is the page for whoever writes one; `test/server/contract.ts` holds every store to it.
 *
 * Rules for every operation
 *   1. It settles only when the store has truly ended with the caller's memory (`parts`, `into`), also when aborted.
 *   2. An abort rejects with the signal's reason. A change that was aborted may have happened.
 *   3. Everything else that it throws is a NetsealError, chosen by what the caller would do:
 *      EINVAL        the call is wrong; nothing was sent
 *      EUNSUPPORTED  the store lacks a declared capability, such as conditions; nothing was sent
 *      EMISSING      no object has this key
 *      ECONFLICT     a condition did not hold; nothing was changed
 *      EUNAVAILABLE  it did not happen, and may be repeated
 *      EUNCERTAIN    the answer was lost: a change may or may not have happened, or may happen yet
 *      EDENIED, EFULL, EIO, EFORMAT (the store itself is damaged)   repeating does not help; nothing was changed
 *      ECLOSED       used after close
 */
import type { CallOptions } from '../base/call-options.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';

/** Names one content of one key. Compare for equality only. No other content of the key has had it, or will. */
export type Version = string;

export interface StoreCapabilities {
  /** `ifAbsent`: of any number of writers, in any processes, exactly one succeeds. */
  readonly createIfAbsent: 'atomic' | 'none';
  /** `ifMatch` on put: an atomic compare-and-swap. */
  readonly replaceIfMatch: 'atomic' | 'none';
  /** Readers see the old or the new object whole, whatever happens to the writer. */
  readonly atomicPut: boolean;
  /** A ranged get costs about what its range does. Otherwise the store fetches more and cuts it. */
  readonly rangedGet: boolean;
  /** `parts` and `into` may be views of shared memory at no extra cost. Otherwise the store copies. */
  readonly sharedMemory: boolean;
  /** A list that starts after a change was acknowledged shows it. */
  readonly listIsConsistent: boolean;
  /** `list` tells versions. */
  readonly listHasVersions: boolean;
  /** {@link ObjectStore.now} is the clock that `modifiedAtMs` is taken from. Otherwise it is this machine's. */
  readonly serverClock: boolean;
  /** The largest object. */
  readonly objectBytesMax: number;
  /** The longest page of a list; longer ones are cut to it. */
  readonly listEntriesMax: number;
}

/** Bytes from `offsetBytes`, at most `lengthBytes` of them. */
export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface GetOptions extends CallOptions {
  /** Default: from 0, as many as there are or as `into` holds. */
  readonly range?: ByteRange | undefined;
  /** The caller's memory, shared or not, at least as long as `range`. Its content is undefined after a failure. */
  readonly into?: Uint8Array | undefined;
  /** ECONFLICT unless this is the current version. */
  readonly ifMatch?: Version | undefined;
}

export interface GetResult {
  /** What the range covers of the object: shorter, perhaps empty, where the object ends. A view of `into` if given. */
  readonly bytes: Uint8Array;
  readonly version: Version;
  /** Of the whole object. */
  readonly sizeBytes: number;
}

export type PutCondition = { readonly ifAbsent: true } | { readonly ifMatch: Version };

export interface PutOptions extends CallOptions {
  readonly condition?: PutCondition | undefined;
  /**
   * Nobody else ever writes these same bytes, as they hold a random nonce. Says that a lost answer may be settled by
   * looking whether they are there; see `retry.ts`.
   */
  readonly bytesAreUnique?: boolean | undefined;
}

export interface ObjectStat {
  readonly version: Version;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
}

export interface ListOptions extends CallOptions {
  /** Keys that begin with these characters; need not end at a `/`. Default: all. */
  readonly prefix?: string | undefined;
  /** Only keys above this one. */
  readonly after?: string | undefined;
  /** At least 1. */
  readonly limit: number;
}

export interface ListEntry {
  readonly key: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly version?: Version | undefined;
}

export interface ListPage {
  /** Ascending by the bytes of their keys. May be fewer than asked for while there are more: see `next`. */
  readonly entries: readonly ListEntry[];
  /** Where to go on, as `after`; undefined at the end. */
  readonly next?: string | undefined;
}

/** See the rules at the top of this file. Any number of calls may run at once. */
export interface ObjectStore extends AsyncDisposable {
  /** For messages; never holds secrets. */
  readonly name: string;
  readonly capabilities: StoreCapabilities;

  /** Reads one version of an object. EMISSING, ECONFLICT (`ifMatch`). */
  get(key: string, options?: GetOptions): Promise<GetResult>;

  /**
   * Writes an object whole: the parts, one after another. They are only read, and must hold still until the call has
   * settled. Durable when it resolves. ECONFLICT when the condition does not hold (`ifMatch` of a missing object, too).
   */
  put(key: string, parts: readonly Uint8Array[], options?: PutOptions): Promise<{ version: Version }>;

  /** EMISSING. */
  stat(key: string, options?: CallOptions): Promise<ObjectStat>;

  /** Resolves as well when there is nothing. There is no conditional delete: too many servers ignore the condition. */
  delete(key: string, options?: CallOptions): Promise<void>;

  /**
   * A page of the keys. Keys that are there from the first page to the last are in exactly one; those that come or go
   * meanwhile may be missing or shown. Skips what has no valid key (see {@link checkKey}).
   */
  list(options: ListOptions): Promise<ListPage>;

  /** The time, in ms since 1970, by the clock that `modifiedAtMs` comes from. */
  now(options?: CallOptions): Promise<number>;

  /** Lets running calls end; later ones fail with ECLOSED. May be called again. */
  close(): Promise<void>;
}

/** In bytes of UTF-8. */
export const KEY_BYTES_MAX = 1024;

/** Why `key` is no valid key; undefined when it is one. */
export function keyProblem(key: string): string | undefined {
  if (key.length === 0) return 'it is empty';
  if (!key.isWellFormed()) return 'it is not Unicode';
  if (key.length > KEY_BYTES_MAX || Buffer.byteLength(key) > KEY_BYTES_MAX) {
    return `it is longer than ${KEY_BYTES_MAX} bytes`;
  }
  if (key.includes('\0')) return 'it holds a NUL';
  for (const segment of key.split('/')) {
    if (segment === '') return 'it has an empty segment';
    // URL parsers resolve them before a request is sent.
    if (segment === '.' || segment === '..') return 'it has a segment "." or ".."';
  }
  return undefined;
}

/**
 * EINVAL unless `key` can name an object in any store: 1 to 1024 bytes of UTF-8 without NUL, in segments divided by `/`,
 * none of them empty, `.` or `..`. One key may be a "folder" of another: `a` and `a/b` are two objects.
 */
export function checkKey(key: string): void {
  const problem = keyProblem(key);
  requireArgument(problem === undefined, `not a key: ${problem}: ${JSON.stringify(key).slice(0, 200)}`);
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

/** Surrogates stand for what sorts above everything else. */
function isSurrogate(codeUnit: number): boolean {
  return codeUnit >= 0xd800 && codeUnit < 0xe000;
}

/** The range that a get asks for, checked: EINVAL when it makes no sense or `into` is too small for it. */
export function rangeOf({ range, into }: GetOptions): ByteRange {
  if (range === undefined) {
    return { offsetBytes: 0, lengthBytes: into?.byteLength ?? Number.MAX_SAFE_INTEGER };
  }
  const { offsetBytes, lengthBytes } = range;
  requireArgument(
    Number.isSafeInteger(offsetBytes) &&
      offsetBytes >= 0 &&
      Number.isSafeInteger(lengthBytes) &&
      lengthBytes >= 0,
    `not a range: ${lengthBytes} bytes from ${offsetBytes}`,
  );
  requireArgument(
    into === undefined || into.byteLength >= lengthBytes,
    `a range of ${lengthBytes} bytes does not fit into ${into?.byteLength}`,
  );
  return range;
}

/** How many bytes a range covers of an object of `sizeBytes`. */
export function coveredBytes({ offsetBytes, lengthBytes }: ByteRange, sizeBytes: number): number {
  return Math.max(0, Math.min(lengthBytes, sizeBytes - offsetBytes));
}

/** The checked size of a page: at most what the store can do. */
export function pageLimit({ limit }: ListOptions, listEntriesMax: number): number {
  requireArgument(
    Number.isSafeInteger(limit) && limit > 0,
    `a list must ask for at least 1 key, not ${limit}`,
  );
  return Math.min(limit, listEntriesMax);
}

/** EUNSUPPORTED unless the store can hold to the condition. */
export function requireCondition(store: ObjectStore, condition: PutCondition | undefined): void {
  if (condition === undefined) return;
  const { createIfAbsent, replaceIfMatch } = store.capabilities;
  if (('ifAbsent' in condition ? createIfAbsent : replaceIfMatch) === 'none') {
    throw new NetsealError('EUNSUPPORTED', `${store.name} has no atomic conditions`);
  }
}

export function totalBytes(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

export function missingError(store: string, key: string): NetsealError {
  return new NetsealError('EMISSING', `${store}: no such object: ${key}`);
}

export function conflictError(store: string, key: string): NetsealError {
  return new NetsealError('ECONFLICT', `${store}: the condition does not hold: ${key}`);
}

export function closedError(store: string): NetsealError {
  return new NetsealError('ECLOSED', `${store} is closed`);
}
