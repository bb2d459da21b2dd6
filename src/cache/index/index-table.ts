/**
 * The index: which unit lies where, as a flat table in shared memory. Pure functions over arrays, for any thread.
 *
 * Every unit has two buckets of eight entries, named by the first two words of its fingerprint, and lies in one of them. So
 * nothing ever moves within the table, a removal leaves no mark, and a look-up reads at most 512 bytes.
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
 * One thread writes, any thread reads: a reader takes the version, reads, and takes the version again; it begins anew when
 * the two differ or are odd. The words between are not atomic: on processors that reorder more than x86 does, a reader may see two
 * entries mixed, as it may after the version has gone round. What was read is a hint all the same: the zone's slot says whether
 * the zone is there, and the record's own length and tag decide.
 */
import { requireArgument } from '../../base/errors.ts';

export const ENTRY_WORDS = 8;
export const BUCKET_ENTRIES = 8;
export const BUCKET_WORDS: number = BUCKET_ENTRIES * ENTRY_WORDS;
/** At this load an insert practically never finds both buckets full. */
const LOAD_MAX = 0.75;

/** Zones of which the unit must not be lost, though reclaim would. */
export const ENTRY_PINNED = 1;
/** Not on the server yet. */
export const ENTRY_DIRTY = 2;

export const GRANULE_BYTES = 64;
export const HITS_MAX = 3;
export const VOLUME_NUMBER_MAX = 0xfff;
const LENGTH_MASK = 0x1ff_ffff;
const HITS_SHIFT = 25;
const FLAGS_SHIFT = 27;
const VERSION_MASK = 0xf_ffff;

/** Four words of a keyed hash of a unit's place. */
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
  /** All of it is shared memory: give `words.buffer` to other threads. */
  readonly words: Uint32Array<SharedArrayBuffer>;
  readonly bucketCount: number;
}

/** A table in which `unitsMax` units find room. */
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

/** The word at which the unit's entry starts; -1 when there is none. */
export function findEntry(table: IndexTable, { first, second, third, fourth }: Fingerprint): number {
  const { words } = table;
  const at = findIn(words, bucketAt(table, first), third, fourth);
  return at >= 0 ? at : findIn(words, bucketAt(table, second), third, fourth);
}

const READ_TRIES_MAX = 64;

/**
 * A consistent copy of the entry at `at`; undefined when it is free or belongs to another unit by now. Safe while another
 * thread writes.
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

/** The entry at `at`, for the thread that writes. */
export function entryAt({ words }: IndexTable, at: number): Entry {
  return decode(words, at, words[at + 7] ?? 0);
}

/**
 * Counts a hit. Any thread; when two do so at once, one may get lost. When the entry was replaced meanwhile, the hit is not counted, or
 * is another unit's of the same length; nothing but the count of hits ever changes. In a free entry it means nothing.
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
 * Where a new entry for this unit may go: its own entry, a free one or one that `isDead`, in the emptier bucket; else the one
 * that was hit least and is neither pinned nor dirty. -1 when there is none.
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

/** What the entries of a table add up to. */
export interface TableSums {
  readonly count: number;
  /** By the lower 16 bits of the zone id. */
  readonly zoneBytes: Float64Array;
  /** By volume number. */
  readonly volumeBytes: Float64Array;
}

/** Frees entries of zones that are dead, and adds up the others. No object for any of them: there may be millions. */
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

/** A volume's entry as {@link volumeEntries} finds it. */
export interface VolumeEntry {
  readonly at: number;
  readonly zoneId: number;
  readonly lengthBytes: number;
  readonly hits: number;
}

/** A volume's clean units that are not in pinned zones, between two words of the table. */
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

/** Takes a hit off. The writing thread only. */
export function coolEntry({ words }: IndexTable, at: number): void {
  const packed = words[at + 6] ?? 0;
  if (((packed >>> HITS_SHIFT) & HITS_MAX) === 0) return;
  Atomics.compareExchange(words, at + 6, packed, packed - (1 << HITS_SHIFT));
}

/** The word of every entry in use. Entries may come and go meanwhile. */
export function* usedEntries({ words }: IndexTable): Generator<number> {
  for (let at = 0; at < words.length; at += ENTRY_WORDS) if (words[at + 4] !== 0) yield at;
}
