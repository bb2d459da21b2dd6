/**
 * The key table: how keys reach workers once. A block of shared memory that every worker maps when it starts, so that
 * a worker started later, in place of one that died, finds all keys too. The main thread writes entries; workers
 * derive record keys from them and keep the derived ones. Destroying an entry zeroes it and moves the table's
 * generation on, upon which workers drop what they derived.
 *
 *   offset  size  field
 *        0     4  generation (atomic)
 *        4    60  zero
 *   64 + 64 i     entry i
 *      +  0     4  handle: 0 for a free entry (atomic; written last, cleared first)
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

/** Names a keyring that a pipeline knows. */
export interface KeyHandle {
  /** From 1; never used again after {@link KeyTable.remove}. */
  readonly id: number;
  /** As the keyring was when it was added: after a rekey, add the new one. */
  readonly newestEpoch: number;
  /** 16 bytes. */
  readonly volumeId: Uint8Array;
}

/** One count for all tables of the process, so that a handle of one pipeline never names another's keys. */
let lastHandleId = 0;

function entryWord(entry: number): number {
  return ((entry + 1) * ENTRY_BYTES) / 4;
}

/** The main thread's side. */
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

  /** What commits to the key of an object's records; 32 bytes. EKEY when the handle has no such epoch. */
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

  /** Zeroes the entries of a handle. Units in flight under it fail with EKEY. Unknown handles are ignored. */
  remove(handle: KeyHandle): void {
    for (let entry = 0; entry < ENTRY_COUNT; entry += 1) {
      const word = entryWord(entry);
      if (this.#words[word] !== handle.id) continue;
      Atomics.store(this.#words, word, 0);
      this.#bytes.fill(0, word * 4 + 4, word * 4 + ENTRY_BYTES);
    }
    Atomics.add(this.#words, 0, 1);
  }

  /** Zeroes everything. */
  destroy(): void {
    this.#bytes.fill(0, ENTRY_BYTES);
    Atomics.add(this.#words, 0, 1);
  }
}

/** Which of a volume's keys a record is under. */
export interface RecordQuery {
  /** From 1. */
  readonly epoch: number;
  readonly kind: RecordKind;
  readonly suite: SuiteName;
  /** 16 bytes. */
  readonly objectId: Uint8Array;
}

/** The same, of a volume that the table knows. */
export interface KeyQuery extends RecordQuery {
  readonly handleId: number;
}

/**
 * Derived keys kept by one thread. A file's key takes some 10 µs to derive and bind. Few, so that those of files of one unit die
 * young: with 512 of them, putting 10,000 small files took a fifth more of the processors, in garbage collection.
 */
const CACHE_SIZE = 32;

/** A worker's side: finds an epoch key, derives record keys, keeps the latest. */
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

  /** Call once a job: drops what was derived from keys that have been removed. */
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
   * The key for a record, still owned by this reader: not to be kept beyond the next call. EKEY when the handle has
   * no such epoch.
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
      // Removed while it was copied: the copy may be half zero.
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

/** The word at which the entry of a handle's epoch starts. EKEY when there is none. */
function findEntry(words: Int32Array, handleId: number, epoch: number): number {
  // 0 marks a free entry: its key is all zero.
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
