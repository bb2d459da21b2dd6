/**
 * The key table: shared memory through which epoch keys reach the workers, once for each key. Every worker
 * maps it when it starts, so a worker that replaces a dead one finds all keys as well.
 *
 *   - The main thread writes entries. Workers derive record keys from them and keep the derived keys.
 *   - Removing a keyring zeroes its entries and raises the table's generation. A worker that sees another
 *     generation drops every key that it has derived.
 *
 *   offset  size  field
 *        0     4  generation (atomic)
 *        4    60  zero
 *   64 + 64 i     entry i
 *      +  0     4  handle, 0 for a free entry (atomic; written last, cleared first)
 *      +  4     4  epoch
 *      +  8     8  zero
 *      + 16    16  volume id
 *      + 32    32  epoch key
 */
import { NetsealError } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import type { Keyring } from '../keys/keyring.ts';
import { deriveRecordKey, KEY_BYTES } from '../keys/tree.ts';
import type { Providers } from '../unit/providers.ts';
import { RECORD_KINDS, type RecordKind, SUITE_IDS, type SuiteName } from '../unit/record-format.ts';
import { RecordKey } from '../unit/record-key.ts';

const ENTRY_BYTES = 64;
const ENTRY_COUNT = 1024;

/** Names a keyring that was added to a pipeline. */
export interface KeyHandle {
  /** A number from 1, never used twice in a process. */
  readonly id: number;
  /** The keyring's newest epoch when it was added. After a rekey, add the new keyring. */
  readonly newestEpoch: number;
  /** 16 bytes. */
  readonly volumeId: Uint8Array;
}

/** Shared by all tables of the process, so that a handle of one pipeline never names keys of another. */
let lastHandleId = 0;

/** Returns the index of the 32-bit word that entry `entry` starts at. */
function entryWord(entry: number): number {
  return ((entry + 1) * ENTRY_BYTES) / 4;
}

/** The main thread's side of the table: adds and removes keys. */
export class KeyTable {
  readonly memory: SharedArrayBuffer = new SharedArrayBuffer((ENTRY_COUNT + 1) * ENTRY_BYTES);
  readonly #words = new Int32Array(this.memory);
  readonly #bytes = new Uint8Array(this.memory);

  /** Copies every epoch of `keyring` into the table. EINVAL when the table is full; then nothing is added. */
  add(keyring: Keyring): KeyHandle {
    const { epochs, newestEpoch, volumeId } = keyring;
    const free: number[] = [];
    for (let entry = 0; entry < ENTRY_COUNT && free.length < epochs.length; entry += 1) {
      if (this.#words[entryWord(entry)] === 0) free.push(entry);
    }
    if (free.length < epochs.length) {
      throw new NetsealError(
        'EINVAL',
        `a pipeline holds at most ${ENTRY_COUNT} epoch keys; remove a keyring first`,
      );
    }
    lastHandleId += 1;
    const id = lastHandleId;
    for (const [at, epoch] of epochs.entries()) {
      const word = entryWord(free[at] ?? 0);
      this.#words[word + 1] = epoch;
      this.#bytes.set(volumeId, word * 4 + 16);
      this.#bytes.set(keyring.epochKey(epoch), word * 4 + 32);
      Atomics.store(this.#words, word, id);
    }
    return { id, newestEpoch, volumeId: new Uint8Array(volumeId) };
  }

  /**
   * Returns the 32-byte commitment to the key of an object's records. EKEY when the handle has no such epoch.
   */
  commitment(query: KeyQuery): Uint8Array {
    const at = findEntry(this.#words, query.handleId, query.epoch) * 4;
    const epochKey = this.#bytes.slice(at + 32, at + 32 + KEY_BYTES);
    try {
      const derived = deriveRecordKey(
        epochKey,
        this.#bytes.slice(at + 16, at + 16 + ID_BYTES),
        RECORD_KINDS[query.kind],
        SUITE_IDS[query.suite],
        query.objectId,
      );
      derived.key.fill(0);
      return derived.commitment;
    } finally {
      epochKey.fill(0);
    }
  }

  /**
   * Zeroes the entries of a handle. Units in flight under it may fail with EKEY. An unknown handle does
   * nothing.
   */
  remove(handle: KeyHandle): void {
    for (let entry = 0; entry < ENTRY_COUNT; entry += 1) {
      const word = entryWord(entry);
      if (this.#words[word] !== handle.id) continue;
      Atomics.store(this.#words, word, 0);
      this.#bytes.fill(0, word * 4 + 4, word * 4 + ENTRY_BYTES);
    }
    Atomics.add(this.#words, 0, 1);
  }

  /** Zeroes all entries. */
  destroy(): void {
    this.#bytes.fill(0, ENTRY_BYTES);
    Atomics.add(this.#words, 0, 1);
  }
}

/** Says which key of a volume a record is sealed under. */
export interface RecordQuery {
  /** From 1. */
  readonly epoch: number;
  readonly kind: RecordKind;
  readonly suite: SuiteName;
  /** 16 bytes. */
  readonly objectId: Uint8Array;
}

/** A {@link RecordQuery} with the handle of the volume's keyring. */
export interface KeyQuery extends RecordQuery {
  readonly handleId: number;
}

/**
 * How many derived keys one thread keeps. Deriving and binding a file's key takes some 10 µs. The cache is
 * small so that the keys of one-unit files die young: with 512 keys, putting 10,000 small files took a fifth
 * more processor time, spent on garbage collection.
 */
const CACHE_SIZE = 32;

/**
 * A worker's side of the table: finds epoch keys, derives record keys and keeps the {@link CACHE_SIZE}
 * newest.
 */
export class KeyReader {
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #providers: Providers;
  readonly #cache = new Map<string, RecordKey>();
  #generation: number;

  constructor(memory: SharedArrayBuffer, providers: Providers) {
    this.#words = new Int32Array(memory);
    this.#bytes = new Uint8Array(memory);
    this.#providers = providers;
    this.#generation = Atomics.load(this.#words, 0);
  }

  /**
   * Drops all derived keys when a keyring has been removed since the last call. Call it once for each job.
   */
  refresh(): void {
    const generation = Atomics.load(this.#words, 0);
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.clear();
  }

  /** Zeroes and drops all derived keys. */
  clear(): void {
    for (const key of this.#cache.values()) key.destroy();
    this.#cache.clear();
  }

  /**
   * Returns the key for a record. The reader owns it: use it before the next call and do not keep it. EKEY
   * when the handle has no such epoch.
   */
  get(query: KeyQuery): RecordKey {
    const name = cacheName(query);
    const cached = this.#cache.get(name);
    if (cached !== undefined) return cached;
    const key = this.#derive(query);
    if (this.#cache.size >= CACHE_SIZE) this.#dropOldest();
    this.#cache.set(name, key);
    return key;
  }

  #derive(query: KeyQuery): RecordKey {
    const word = findEntry(this.#words, query.handleId, query.epoch);
    const at = word * 4;
    const volumeId = this.#bytes.slice(at + 16, at + 16 + ID_BYTES);
    const epochKey = this.#bytes.slice(at + 32, at + 32 + KEY_BYTES);
    try {
      // The entry may have been removed while it was copied; then the copy may be half zero.
      if (Atomics.load(this.#words, word) !== query.handleId) throw noSuchKey(query.epoch);
      return new RecordKey({ volumeId, ...query }, epochKey, this.#providers.suite(query.suite));
    } finally {
      epochKey.fill(0);
    }
  }

  #dropOldest(): void {
    const [oldest] = this.#cache;
    if (oldest === undefined) return;
    const [name, key] = oldest;
    key.destroy();
    this.#cache.delete(name);
  }
}

/** Returns the index of the word at which the entry of a handle and epoch starts. EKEY when there is none. */
function findEntry(words: Int32Array, handleId: number, epoch: number): number {
  // Handle 0 would find a free entry, whose key is all zero.
  for (let entry = 0; entry < ENTRY_COUNT && handleId !== 0; entry += 1) {
    const word = entryWord(entry);
    if (Atomics.load(words, word) === handleId && (words[word + 1] ?? 0) >>> 0 === epoch) return word;
  }
  throw noSuchKey(epoch);
}

function noSuchKey(epoch: number): NetsealError {
  return new NetsealError('EKEY', `no key for epoch ${epoch}: this volume's header does not have it`);
}

function cacheName(query: KeyQuery): string {
  const id = Buffer.from(query.objectId.buffer, query.objectId.byteOffset, ID_BYTES).toString('latin1');
  return `${query.handleId}/${query.epoch}/${query.kind}/${query.suite}/${id}`;
}
