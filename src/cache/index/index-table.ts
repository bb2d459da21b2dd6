/**
 * The index: a flat table in shared memory that says where each unit lies. These are pure functions on it,
 * for any thread.
 *
 * A unit's entry is in one of two buckets of eight entries, which the first two words of its fingerprint
 * choose. So entries never move, a removal leaves nothing behind, and a look-up reads at most 512 bytes.
 *
 *   word  entry, 32 bytes
 *      0  fingerprint, third word
 *      1  fingerprint, fourth word
 *      2  tag, bytes 0 to 3
 *      3  tag, bytes 4 to 7          the other 8 are compared in the record itself
 *      4  zone id; 0 for a free entry
 *      5  offset in the zone, in granules of 64 bytes
 *      6  length in bytes (25 bits) | hits so far, up to 3 (2 bits) << 25 | ENTRY_* << 27
 *      7  version (20 bits), odd while the entry is being written | volume number (12 bits) << 20
 *
 * One thread writes, any thread reads. A reader loads the version, reads the entry, and loads the version
 * again; when the two differ or are odd, it starts over.
 *
 * What was read is only a hint. A reader may see two entries mixed: when the version has gone round, or on a
 * processor that reorders more than x86 does, as the other words are not atomic. So the zone's slot says
 * whether the zone is there, and the record's own length and tag decide.
 */
import { requireArgument } from '../../base/errors.ts';

export const ENTRY_WORDS = 8;
export const BUCKET_ENTRIES = 8;
export const BUCKET_WORDS: number = BUCKET_ENTRIES * ENTRY_WORDS;
/** At this load an insert practically never finds both buckets full. */
const LOAD_MAX = 0.75;

/** Reclaim must copy this unit before it gives its zone up. */
export const ENTRY_PINNED = 1;
/** The unit is not on the server yet. */
export const ENTRY_DIRTY = 2;

export const GRANULE_BYTES = 64;
export const HITS_MAX = 3;
export const VOLUME_NUMBER_MAX = 0xfff;
const LENGTH_MASK = 0x1ff_ffff;
const HITS_SHIFT = 25;
const FLAGS_SHIFT = 27;
const VERSION_MASK = 0xf_ffff;

/** Four words that stand for volume, object and index of a unit; see `fingerprints.ts`. */
export interface Fingerprint {
  first: number;
  second: number;
  third: number;
  fourth: number;
}

export interface Location {
  readonly zoneId: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export interface Entry extends Location {
  /** The first 8 bytes of the tag. */
  readonly tagLow: number;
  readonly tagHigh: number;
  readonly hits: number;
  readonly flags: number;
  readonly volumeNumber: number;
}

export interface IndexTable {
  /** Shared memory: give `words.buffer` to other threads. */
  readonly words: Uint32Array<SharedArrayBuffer>;
  readonly bucketCount: number;
}

/** Returns an empty table with room for `unitsMax` units. */
export function createTable(unitsMax: number): IndexTable {
  const bucketCount = Math.max(16, Math.ceil(unitsMax / LOAD_MAX / BUCKET_ENTRIES));
  const lengthBytes = bucketCount * BUCKET_WORDS * 4;
  requireArgument(lengthBytes < 2 ** 33, `an index of ${unitsMax} units needs too much memory`);
  return { words: new Uint32Array(new SharedArrayBuffer(lengthBytes)), bucketCount };
}

function bucketAt({ bucketCount }: IndexTable, hash: number): number {
  return Math.floor(((hash >>> 0) * bucketCount) / 0x1_0000_0000) * BUCKET_WORDS;
}

function findIn(words: Uint32Array, bucket: number, third: number, fourth: number): number {
  for (let at = bucket; at < bucket + BUCKET_WORDS; at += ENTRY_WORDS) {
    if (words[at] === third && words[at + 1] === fourth && words[at + 4] !== 0) return at;
  }
  return -1;
}

/** Returns the word at which the unit's entry starts; -1 when there is none. */
export function findEntry(table: IndexTable, { first, second, third, fourth }: Fingerprint): number {
  const { words } = table;
  const at = findIn(words, bucketAt(table, first), third, fourth);
  return at >= 0 ? at : findIn(words, bucketAt(table, second), third, fourth);
}

const READ_TRIES_MAX = 64;

/**
 * Returns a consistent copy of the entry at `at`; undefined when it is free or another unit's by now. Safe
 * while another thread writes.
 */
export function readEntry(
  { words }: IndexTable,
  at: number,
  { third, fourth }: Fingerprint,
): Entry | undefined {
  for (let tries = 0; tries < READ_TRIES_MAX; tries += 1) {
    const before = Atomics.load(words, at + 7);
    const isSame = words[at] === third && words[at + 1] === fourth;
    const entry = decode(words, at, before);
    if ((before & 1) === 0 && Atomics.load(words, at + 7) === before) {
      return isSame && entry.zoneId !== 0 ? entry : undefined;
    }
  }
  return undefined;
}

function decode(words: Uint32Array, at: number, last: number): Entry {
  const packed = words[at + 6] ?? 0;
  return {
    tagLow: words[at + 2] ?? 0,
    tagHigh: words[at + 3] ?? 0,
    zoneId: words[at + 4] ?? 0,
    offsetBytes: (words[at + 5] ?? 0) * GRANULE_BYTES,
    lengthBytes: packed & LENGTH_MASK,
    hits: (packed >>> HITS_SHIFT) & HITS_MAX,
    flags: packed >>> FLAGS_SHIFT,
    volumeNumber: last >>> 20,
  };
}

/** Returns the entry at `at`. The writing thread only. */
export function entryAt({ words }: IndexTable, at: number): Entry {
  return decode(words, at, words[at + 7] ?? 0);
}

/**
 * Counts a hit, on any thread. Nothing but the count ever changes.
 *
 * - Of two hits at once, one may get lost.
 * - A hit on an entry that was replaced meanwhile is not counted, or counts for a unit of the same length.
 * - A count in a free entry means nothing.
 */
export function countHit({ words }: IndexTable, at: number): void {
  const packed = words[at + 6] ?? 0;
  if (((packed >>> HITS_SHIFT) & HITS_MAX) === HITS_MAX) return;
  Atomics.compareExchange(words, at + 6, packed, packed + (1 << HITS_SHIFT));
}

/** Writes an entry at `at`. The writing thread only. */
export function writeEntry(
  table: IndexTable,
  at: number,
  { third, fourth }: Fingerprint,
  entry: Entry,
): void {
  const { words } = table;
  const version = beginWrite(words, at);
  words[at] = third;
  words[at + 1] = fourth;
  words[at + 2] = entry.tagLow;
  words[at + 3] = entry.tagHigh;
  words[at + 4] = entry.zoneId;
  words[at + 5] = entry.offsetBytes / GRANULE_BYTES;
  words[at + 6] = entry.lengthBytes | (entry.hits << HITS_SHIFT) | (entry.flags << FLAGS_SHIFT);
  Atomics.store(words, at + 7, ((entry.volumeNumber << 20) | ((version + 1) & VERSION_MASK)) >>> 0);
}

/** Frees an entry. The writing thread only. */
export function clearEntry({ words }: IndexTable, at: number): void {
  const version = beginWrite(words, at);
  words.fill(0, at, at + 7);
  Atomics.store(words, at + 7, (version + 1) & VERSION_MASK);
}

/** Makes the version odd, and returns it. */
function beginWrite(words: Uint32Array, at: number): number {
  const word = words[at + 7] ?? 0;
  const version = ((word & VERSION_MASK) | 1) & VERSION_MASK;
  Atomics.store(words, at + 7, ((word & ~VERSION_MASK) | version) >>> 0);
  return version;
}

/**
 * Returns where an entry for this unit may go; -1 when there is no place. In this order:
 *
 * 1. the unit's own entry
 * 2. a free entry, or one whose zone `isDead`, in the emptier bucket
 * 3. the entry with the fewest hits that is neither pinned nor dirty
 */
export function placeFor(
  table: IndexTable,
  fingerprint: Fingerprint,
  isDead: (zoneId: number) => boolean,
): number {
  const own = findEntry(table, fingerprint);
  if (own >= 0) return own;
  const left = survey(table, bucketAt(table, fingerprint.first), isDead);
  const right = survey(table, bucketAt(table, fingerprint.second), isDead);
  if (left.free >= 0 && left.freeCount >= right.freeCount) return left.free;
  if (right.free >= 0) return right.free;
  return left.coldestHits <= right.coldestHits ? left.coldest : right.coldest;
}

function survey(
  table: IndexTable,
  bucket: number,
  isDead: (zoneId: number) => boolean,
): { free: number; freeCount: number; coldest: number; coldestHits: number } {
  const { words } = table;
  const found = { free: -1, freeCount: 0, coldest: -1, coldestHits: HITS_MAX + 1 };
  for (let at = bucket; at < bucket + BUCKET_WORDS; at += ENTRY_WORDS) {
    const zoneId = words[at + 4] ?? 0;
    if (zoneId === 0 || isDead(zoneId)) {
      found.free = at;
      found.freeCount += 1;
      continue;
    }
    const packed = words[at + 6] ?? 0;
    const hits = (packed >>> HITS_SHIFT) & HITS_MAX;
    if (packed >>> FLAGS_SHIFT !== 0 || hits >= found.coldestHits) continue;
    found.coldest = at;
    found.coldestHits = hits;
  }
  return found;
}

/** Sums over all entries of a table. */
export interface TableSums {
  readonly count: number;
  /** By the lower 16 bits of the zone id. */
  readonly zoneBytes: Float64Array;
  /** By volume number. */
  readonly volumeBytes: Float64Array;
}

/**
 * Frees entries whose zone `isDead`, and adds up the others. Makes no object per entry: there may be
 * millions.
 */
export function sumEntries(table: IndexTable, isDead: (zoneId: number) => boolean): TableSums {
  const { words } = table;
  const zoneBytes = new Float64Array(0x1_0000);
  const volumeBytes = new Float64Array(VOLUME_NUMBER_MAX + 1);
  let count = 0;
  for (let at = 0; at < words.length; at += ENTRY_WORDS) {
    const zoneId = words[at + 4] ?? 0;
    if (zoneId === 0) continue;
    if (isDead(zoneId)) {
      clearEntry(table, at);
      continue;
    }
    const lengthBytes = (words[at + 6] ?? 0) & LENGTH_MASK;
    const slot = zoneId & 0xffff;
    const volumeNumber = (words[at + 7] ?? 0) >>> 20;
    zoneBytes[slot] = (zoneBytes[slot] ?? 0) + lengthBytes;
    volumeBytes[volumeNumber] = (volumeBytes[volumeNumber] ?? 0) + lengthBytes;
    count += 1;
  }
  return { count, zoneBytes, volumeBytes };
}

/** An entry, as {@link volumeEntries} shows it. */
export interface VolumeEntry {
  readonly at: number;
  readonly zoneId: number;
  readonly lengthBytes: number;
  readonly hits: number;
}

/** Shows a volume's entries between two words of the table, except pinned and dirty ones. */
export function volumeEntries(
  { words }: IndexTable,
  volumeNumber: number,
  from: number,
  to: number,
  action: (entry: VolumeEntry) => void,
): void {
  for (let at = from; at < Math.min(to, words.length); at += ENTRY_WORDS) {
    const zoneId = words[at + 4] ?? 0;
    if (zoneId === 0 || (words[at + 7] ?? 0) >>> 20 !== volumeNumber) continue;
    const packed = words[at + 6] ?? 0;
    if (packed >>> FLAGS_SHIFT !== 0) continue;
    action({ at, zoneId, lengthBytes: packed & LENGTH_MASK, hits: (packed >>> HITS_SHIFT) & HITS_MAX });
  }
}

/** Takes one hit off. The writing thread only. */
export function coolEntry({ words }: IndexTable, at: number): void {
  const packed = words[at + 6] ?? 0;
  if (((packed >>> HITS_SHIFT) & HITS_MAX) === 0) return;
  Atomics.compareExchange(words, at + 6, packed, packed - (1 << HITS_SHIFT));
}

/** Yields the word at which each entry in use starts. Entries may come and go meanwhile. */
export function* usedEntries({ words }: IndexTable): Generator<number> {
  for (let at = 0; at < words.length; at += ENTRY_WORDS) if (words[at + 4] !== 0) yield at;
}
