/**
 * The snapshot of the index: a copy of the table, sealed in pieces. When a cache is opened, the index is made
 * from the snapshot and from the footers of zones that have filled since.
 *
 * A snapshot may be old, and units may come and go while it is taken. So its entries are hints, as those of
 * the index are: the unit's record decides.
 *
 *   16 random bytes, the object id of its records
 *   records of kind cacheIndex, numbered from 0 on:
 *     0       u32 version 2, u32 bucket count, u32 zone count R, u32 zero,
 *             R zones: name[16], id u32, queue u32, sequence u64, length of the file u64
 *     1...    u32 number of the piece, u32 zero, 256 KiB of the table (less at its end);
 *             pieces that are all zero are left out
 *     last    u32 2^32 - 1, u32 zero: a snapshot without it was cut short
 */
import { getU64, isAllZero, setU32, setU64, viewOf } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';
import { randomBytes } from '../../base/random.ts';
import { HEADER_BYTES, peekHeader } from '../../unit/record-format.ts';
import { type CacheFile, type CacheFiles, readFully, writeFully } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import type { IndexTable } from '../index/index-table.ts';
import { ZONE_QUEUES, type ZoneQueue } from './zone-format.ts';
import type { Zone } from './zones.ts';

export const SNAPSHOT_PATH = 'index';
/** Where the next snapshot is written. It is renamed when it is complete. */
export const SNAPSHOT_ASIDE_PATH = 'index.new';
const ID_BYTES = 16;
const ZONES_HEADER_BYTES = 16;
const ZONE_BYTES = 40;
/** Reading a snapshot takes a few buffers of this length, and no more memory. */
const PIECE_BYTES = 256 * KIB;
const VERSION = 2;
const PIECE_HEADER_BYTES = 8;
const LAST_PIECE = 0xffff_ffff;

export interface SnapshotZone {
  readonly name: Uint8Array<ArrayBuffer>;
  readonly id: number;
  readonly queue: ZoneQueue;
  readonly sequence: number;
  readonly fileBytes: number;
}

/**
 * Writes a snapshot and replaces the old one with it. System errors as they come; then the old one is
 * unchanged.
 */
export async function writeSnapshot(
  files: CacheFiles,
  seals: Seals,
  table: IndexTable,
  zones: readonly Zone[],
): Promise<void> {
  const id = randomBytes(ID_BYTES);
  try {
    const file = await files.open(SNAPSHOT_ASIDE_PATH, 'create');
    try {
      await writeRecords(file, seals, id, table, zones);
      // Without a sync, a power cut could tear the snapshot, and the next open would have to read every zone.
      await file.sync();
    } finally {
      await file.close();
    }
    await files.rename(SNAPSHOT_ASIDE_PATH, SNAPSHOT_PATH);
  } catch (error) {
    // On a full disk, half a snapshot takes room that others need.
    await files.remove(SNAPSHOT_ASIDE_PATH).catch(() => undefined);
    throw error;
  }
}

async function writeRecords(
  file: CacheFile,
  seals: Seals,
  id: Uint8Array,
  table: IndexTable,
  zones: readonly Zone[],
): Promise<void> {
  const bytes = new Uint8Array(table.words.buffer);
  let position = 0;
  let number = 0;
  const write = async (parts: readonly Uint8Array[]): Promise<void> => {
    await writeFully(file, parts, position);
    position += parts.reduce((sum, part) => sum + part.byteLength, 0);
  };
  await write([id, seals.seal('cacheIndex', id, number, encodeZones(table, zones))]);
  const piece = new Uint8Array(PIECE_HEADER_BYTES + PIECE_BYTES);
  for (let from = 0; from < bytes.byteLength; from += PIECE_BYTES) {
    const content = bytes.subarray(from, from + PIECE_BYTES);
    if (isAllZero(content)) continue;
    setU32(viewOf(piece), 0, from / PIECE_BYTES);
    piece.set(content, PIECE_HEADER_BYTES);
    number += 1;
    const plain = piece.subarray(0, PIECE_HEADER_BYTES + content.byteLength);
    await write([seals.seal('cacheIndex', id, number, plain)]);
  }
  setU32(viewOf(piece), 0, LAST_PIECE);
  await write([seals.seal('cacheIndex', id, number + 1, piece.subarray(0, PIECE_HEADER_BYTES))]);
}

function encodeZones({ bucketCount }: IndexTable, zones: readonly Zone[]): Uint8Array {
  const bytes = new Uint8Array(ZONES_HEADER_BYTES + zones.length * ZONE_BYTES);
  const view = viewOf(bytes);
  setU32(view, 0, VERSION);
  setU32(view, 4, bucketCount);
  setU32(view, 8, zones.length);
  for (const [position, zone] of zones.entries()) {
    const at = ZONES_HEADER_BYTES + position * ZONE_BYTES;
    bytes.set(zone.name, at);
    setU32(view, at + 16, zone.id);
    setU32(view, at + 20, ZONE_QUEUES[zone.queue]);
    setU64(view, at + 24, zone.sequence);
    setU64(view, at + 32, zone.fileBytes);
  }
  return bytes;
}

/**
 * Reads the snapshot into an empty table. EFORMAT, EAUTH or another code of damage when the snapshot is
 * damaged; then the table holds a part of it. System errors as they come, ENOENT when there is no snapshot.
 *
 * @returns the zones that the snapshot knows; undefined when it is of a table of another size.
 */
export async function readSnapshot(
  files: CacheFiles,
  seals: Seals,
  table: IndexTable,
): Promise<readonly SnapshotZone[] | undefined> {
  const file = await files.open(SNAPSHOT_PATH, 'read');
  try {
    const reader = new RecordReader(file, seals);
    const zones = decodeZones(await reader.start(), table.bucketCount);
    if (zones === undefined) return undefined;
    const bytes = new Uint8Array(table.words.buffer);
    for (;;) {
      const piece = await reader.next();
      const view = viewOf(piece);
      const number = view.getUint32(0, true);
      if (number === LAST_PIECE) return zones;
      const from = number * PIECE_BYTES;
      const content = piece.subarray(PIECE_HEADER_BYTES);
      if (from + content.byteLength > bytes.byteLength) throw malformed();
      bytes.set(content, from);
    }
  } finally {
    await file.close();
  }
}

function decodeZones(bytes: Uint8Array, bucketCount: number): SnapshotZone[] | undefined {
  const view = viewOf(bytes);
  if (bytes.byteLength < ZONES_HEADER_BYTES || view.getUint32(0, true) !== VERSION) throw malformed();
  const count = view.getUint32(8, true);
  if (bytes.byteLength !== ZONES_HEADER_BYTES + count * ZONE_BYTES) throw malformed();
  if (view.getUint32(4, true) !== bucketCount) return undefined;
  return Array.from({ length: count }, (_, position) => {
    const at = ZONES_HEADER_BYTES + position * ZONE_BYTES;
    const number = view.getUint32(at + 20, true);
    const queue = (Object.keys(ZONE_QUEUES) as ZoneQueue[]).find(name => ZONE_QUEUES[name] === number);
    const sequence = getU64(view, at + 24);
    const fileBytes = getU64(view, at + 32);
    if (queue === undefined || sequence === undefined || fileBytes === undefined) throw malformed();
    const id = view.getUint32(at + 16, true);
    return { name: new Uint8Array(bytes.slice(at, at + 16)), id, queue, sequence, fileBytes };
  });
}

/** Reads the records of a snapshot one after another, into the same two buffers. */
class RecordReader {
  readonly #file: CacheFile;
  readonly #seals: Seals;
  #id = new Uint8Array(ID_BYTES);
  #record = new Uint8Array(0);
  #plain = new Uint8Array(0);
  #position = ID_BYTES;
  #number = 0;

  constructor(file: CacheFile, seals: Seals) {
    this.#file = file;
    this.#seals = seals;
  }

  async start(): Promise<Uint8Array> {
    await readFully(this.#file, this.#id, 0);
    return this.next();
  }

  /** Returns the content of the next record. It is overwritten by the next call. */
  async next(): Promise<Uint8Array> {
    const header = new Uint8Array(HEADER_BYTES);
    await readFully(this.#file, header, this.#position);
    const lengthBytes = peekHeader(header).sealedLengthBytes;
    if (this.#record.byteLength < lengthBytes) {
      this.#record = new Uint8Array(lengthBytes);
      this.#plain = new Uint8Array(lengthBytes);
    }
    const record = this.#record.subarray(0, lengthBytes);
    await readFully(this.#file, record, this.#position);
    const plain = this.#seals.open('cacheIndex', this.#id, this.#number, record, this.#plain);
    if (plain.byteLength < PIECE_HEADER_BYTES) throw malformed();
    this.#number += 1;
    this.#position += lengthBytes;
    return plain;
  }
}

function malformed(): NetsealError {
  return new NetsealError('EFORMAT', 'the snapshot of the cache index is malformed');
}
