/**
 * The format of a zone's file: units, then a sealed list of them, then a trailer that says where the list is.
 * A zone gets list and trailer when it is full.
 *
 *   units        sealed records as they came, each at a multiple of 64 bytes
 *   footer       a sealed record, kind cacheIndex, object id = the zone's name, index 0
 *   trailer      16 bytes: offset of the footer in granules u32, its length u32, zeros
 *
 * The footer's content, little-endian:
 *
 *    0   4  version, 2
 *    4   4  queue: ZONE_QUEUES
 *    8   8  sequence: grows from each zone to the next
 *   16   4  zone id
 *   20   4  object count O
 *   24   4  entry count E
 *   28   4  zero
 *   32      O objects:  volume id[16], object id[16], prefix[16] that the units were stored under
 *                       (see `fingerprints.ts`)
 *           E entries:  object u32, offset in granules u32, unit index u64, length u32, CRC-32 u32, tag[16]
 */
import { getU64, setU32, setU64, viewOf } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { type CacheFile, readFully } from '../base/files.ts';
import { Seals } from '../base/seals.ts';
import type { Prefix } from '../index/fingerprints.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';

/** The numbers are on the disk: only add to them. */
export const ZONE_QUEUES = { small: 1, main: 2, pinned: 3, dirty: 4 } as const;
export type ZoneQueue = keyof typeof ZONE_QUEUES;

export const TRAILER_BYTES = 16;
const LIST_HEADER_BYTES = 32;
const OBJECT_BYTES = 48;
const VERSION = 2;
const ENTRY_BYTES = 40;
/** A zone is full when it has this many units, so that its list fits a record. */
export const ZONE_UNITS_MAX = 180_000;
const FOOTER_BYTES_MAX: number = LIST_HEADER_BYTES + ZONE_UNITS_MAX * (OBJECT_BYTES + ENTRY_BYTES);

/** The length of a list of so many units of so many objects, before it is sealed. */
export function listBytes(unitCount: number, objectCount: number): number {
  return LIST_HEADER_BYTES + unitCount * ENTRY_BYTES + objectCount * OBJECT_BYTES;
}

export interface ZoneListHeader {
  readonly queue: ZoneQueue;
  readonly sequence: number;
  readonly id: number;
}

/** One unit of a zone, as the zone's list has it. */
export interface ZoneEntry {
  /** 16 bytes each, views of the list. */
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  /**
   * The position of the unit's object in this list. An object that was invalidated meanwhile has two
   * positions.
   */
  readonly objectNumber: number;
  readonly index: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly crc32: number;
  readonly tag: Uint8Array;
}

/** The list of a zone that is being written. */
export class ZoneList {
  readonly #objects = new Map<string, { readonly number: number; readonly prefix: Prefix }>();
  #objectCount = 0;
  #objectBytes = new Uint8Array(OBJECT_BYTES * 16);
  #entryBytes = new Uint8Array(ENTRY_BYTES * 64);
  #entryCount = 0;

  get count(): number {
    return this.#entryCount;
  }

  /** The length of footer and trailer if so many more units were added. */
  endBytes(unitCount: number): number {
    const bytes = listBytes(this.#entryCount + unitCount, this.#objectCount + unitCount);
    return Seals.sealedBytes(bytes) + TRAILER_BYTES;
  }

  /**
   * Adds a unit.
   *
   * @param key a string that stands for its two ids.
   * @param prefix what the unit is found by.
   */
  add(key: string, prefix: Prefix, entry: Omit<ZoneEntry, 'objectNumber'>): void {
    const objectNumber = this.#objectNumber(key, prefix, entry.volumeId, entry.objectId);
    const at = this.#entryCount * ENTRY_BYTES;
    if (at === this.#entryBytes.byteLength) this.#entryBytes = grown(this.#entryBytes);
    const view = viewOf(this.#entryBytes);
    setU32(view, at, objectNumber);
    setU32(view, at + 4, entry.offsetBytes / GRANULE_BYTES);
    setU64(view, at + 8, entry.index);
    setU32(view, at + 16, entry.lengthBytes);
    setU32(view, at + 20, entry.crc32);
    this.#entryBytes.set(entry.tag, at + 24);
    this.#entryCount += 1;
  }

  /** EINVAL for a number that the format cannot hold; no zone has the id 0. */
  encode({ queue, sequence, id }: ZoneListHeader): Uint8Array<ArrayBuffer> {
    requireArgument(id !== 0, 'a zone cannot have the id 0');
    const objectsEnd = LIST_HEADER_BYTES + this.#objectCount * OBJECT_BYTES;
    const bytes = new Uint8Array(objectsEnd + this.#entryCount * ENTRY_BYTES);
    const view = viewOf(bytes);
    setU32(view, 0, VERSION);
    setU32(view, 4, ZONE_QUEUES[queue]);
    setU64(view, 8, sequence);
    setU32(view, 16, id);
    setU32(view, 20, this.#objectCount);
    setU32(view, 24, this.#entryCount);
    bytes.set(this.#objectBytes.subarray(0, this.#objectCount * OBJECT_BYTES), LIST_HEADER_BYTES);
    bytes.set(this.#entryBytes.subarray(0, this.#entryCount * ENTRY_BYTES), objectsEnd);
    return bytes;
  }

  #objectNumber(key: string, prefix: Prefix, volumeId: Uint8Array, objectId: Uint8Array): number {
    const known = this.#objects.get(key);
    if (known?.prefix === prefix) return known.number;
    const number = this.#objectCount;
    const at = number * OBJECT_BYTES;
    if (at === this.#objectBytes.byteLength) this.#objectBytes = grown(this.#objectBytes);
    this.#objectBytes.set(volumeId, at);
    this.#objectBytes.set(objectId, at + 16);
    const view = viewOf(this.#objectBytes);
    for (const [word, value] of prefix.entries()) setU32(view, at + 32 + 4 * word, value);
    this.#objects.set(key, { number, prefix });
    this.#objectCount += 1;
    return number;
  }
}

function grown(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(2 * bytes.byteLength);
  larger.set(bytes);
  return larger;
}

/** A decoded list. */
export interface DecodedList {
  readonly header: ZoneListHeader;
  readonly count: number;
  entry(at: number): ZoneEntry;
  /** The prefix that an object's units were found by when they were stored. */
  prefix(objectNumber: number): Prefix;
}

/** Decodes what {@link ZoneList.encode} made; entries are views of `bytes`. EFORMAT. */
export function decodeList(bytes: Uint8Array): DecodedList {
  const view = viewOf(bytes);
  if (bytes.byteLength < LIST_HEADER_BYTES || view.getUint32(0, true) !== VERSION) throw malformed();
  const number = view.getUint32(4, true);
  const queue = (Object.keys(ZONE_QUEUES) as ZoneQueue[]).find(name => ZONE_QUEUES[name] === number);
  const sequence = getU64(view, 8);
  const id = view.getUint32(16, true);
  const objectCount = view.getUint32(20, true);
  const count = view.getUint32(24, true);
  const entriesAt = LIST_HEADER_BYTES + objectCount * OBJECT_BYTES;
  if (queue === undefined || sequence === undefined || id === 0) throw malformed();
  if (entriesAt + count * ENTRY_BYTES !== bytes.byteLength) throw malformed();
  return {
    header: { queue, sequence, id },
    count,
    prefix: number => {
      const at = LIST_HEADER_BYTES + number * OBJECT_BYTES + 32;
      return Uint32Array.from({ length: 4 }, (_, word) => view.getUint32(at + 4 * word, true));
    },
    entry: position => {
      const at = entriesAt + position * ENTRY_BYTES;
      const objectNumber = view.getUint32(at, true);
      const index = getU64(view, at + 8);
      if (objectNumber >= objectCount || index === undefined) throw malformed();
      const objectAt = LIST_HEADER_BYTES + objectNumber * OBJECT_BYTES;
      return {
        volumeId: bytes.subarray(objectAt, objectAt + 16),
        objectId: bytes.subarray(objectAt + 16, objectAt + 32),
        objectNumber,
        index,
        offsetBytes: view.getUint32(at + 4, true) * GRANULE_BYTES,
        lengthBytes: view.getUint32(at + 16, true),
        crc32: view.getUint32(at + 20, true),
        tag: bytes.subarray(at + 24, at + 40),
      };
    },
  };
}

function malformed(): NetsealError {
  return new NetsealError('EFORMAT', 'the list of a zone of the cache is malformed');
}

/** Returns footer and trailer, to be written at `offsetBytes`, a multiple of the granule. */
export function encodeFooter(
  seals: Seals,
  name: Uint8Array,
  list: Uint8Array,
  offsetBytes: number,
): Uint8Array[] {
  const footer = seals.seal('cacheIndex', name, 0, list);
  const trailer = new Uint8Array(TRAILER_BYTES);
  setU32(viewOf(trailer), 0, offsetBytes / GRANULE_BYTES);
  setU32(viewOf(trailer), 4, footer.byteLength);
  return [footer, trailer];
}

/**
 * Reads a zone's list. EFORMAT, EAUTH or another code of damage when the list is damaged, or the zone has
 * none because its writer died before it was full. System errors as they come.
 */
export async function readFooter(
  seals: Seals,
  file: CacheFile,
  name: Uint8Array,
): Promise<{ readonly list: DecodedList; readonly dataBytes: number; readonly fileBytes: number }> {
  const fileBytes = await file.size();
  if (fileBytes < TRAILER_BYTES) throw malformed();
  const trailer = new Uint8Array(TRAILER_BYTES);
  await readFully(file, trailer, fileBytes - TRAILER_BYTES);
  const dataBytes = viewOf(trailer).getUint32(0, true) * GRANULE_BYTES;
  const footerBytes = viewOf(trailer).getUint32(4, true);
  const isPossible =
    dataBytes + footerBytes + TRAILER_BYTES === fileBytes &&
    footerBytes <= Seals.sealedBytes(FOOTER_BYTES_MAX);
  if (!isPossible) throw malformed();
  const footer = new Uint8Array(footerBytes);
  await readFully(file, footer, dataBytes);
  return { list: decodeList(seals.open('cacheIndex', name, 0, footer)), dataBytes, fileBytes };
}
