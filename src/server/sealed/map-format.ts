/**
 * Extent maps: which sealed record holds a unit. The root (256 slots) lies in the inode. Map pages (1,024
 * slots) are records of their own. `docs/LAYOUT.md`, "Extent maps", is the specification. Pure.
 *
 *   varint  number of slots that follow
 *   -- each, ascending --
 *   varint  how many slots are left out between the previous one and this (for the first: before it)
 *   -       pointer; into a pack only at level 0, where slots are units
 */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import type { MapSlots } from './inode.ts';
import { decodeFramed, encodeFramed } from './node-frame.ts';
import {
  decodePointer,
  decodeWholePointer,
  encodePointer,
  encodeWholePointer,
  isSlicePointer,
  POINTER_BYTES_MIN,
  type Pointer,
  pointerBytes,
  type SegmentList,
  type SegmentTable,
} from './pointer.ts';

/** Slots of a map page, and of the root. */
export const PAGE_SLOTS = 1024;
export const ROOT_SLOTS = 256;
/**
 * The greatest depth: its root covers the most units that a file can have, 2^53 - 1 bytes in units of 4 KiB.
 */
export const MAP_DEPTH_MAX = 4;
const UNIT_COUNT_MAX: number = 2 ** 41;

const SLOT_BYTES_MIN = 1 + POINTER_BYTES_MIN;
/** Each level adds this to the index of its pages. No level can have so many pages. */
const LEVEL_STRIDE: number = 2 ** 44;

/** Returns how many units one slot of a root of `depth` covers: 1 for depth 0. */
export function unitsPerSlot(depth: number): number {
  return PAGE_SLOTS ** depth;
}

/** Returns the least depth whose root covers `unitCount` units. EINVAL for more than 2^41. */
export function depthFor(unitCount: number): number {
  requireArgument(unitCount >= 0 && unitCount <= UNIT_COUNT_MAX, `a file cannot have ${unitCount} units`);
  let depth = 0;
  while (ROOT_SLOTS * unitsPerSlot(depth) < unitCount) depth += 1;
  return depth;
}

/**
 * Returns the index that a map page is sealed under. The slots of level 0 are units. EINVAL for an impossible
 * page.
 */
export function pageIndex(level: number, page: number): number {
  requireArgument(
    Number.isInteger(level) && level >= 0 && level < MAP_DEPTH_MAX,
    `map pages have levels 0 to ${MAP_DEPTH_MAX - 1}, not ${level}`,
  );
  requireArgument(
    Number.isInteger(page) && page >= 0 && page < UNIT_COUNT_MAX / unitsPerSlot(level + 1),
    `no map page ${page} at level ${level}`,
  );
  return level * LEVEL_STRIDE + page;
}

/** Writes the slots of a node of a level. EINVAL unless they ascend strictly. */
export function encodeMapSlotsInto(
  out: ByteWriter,
  slots: MapSlots,
  table: SegmentTable,
  level: number,
): void {
  const encode = level === 0 ? encodePointer : encodeWholePointer;
  out.varint(slots.length);
  let next = 0;
  for (const { slot, pointer } of slots) {
    if (slot < next) throw new NetsealError('EINVAL', `map slot ${slot} does not come after ${next - 1}`);
    out.varint(slot - next);
    encode(out, pointer, table);
    next = slot + 1;
  }
}

/** Reads the slots of a node of a level. EFORMAT for a slot that is not below `slotCount`. */
export function decodeMapSlotsFrom(
  input: ByteReader,
  segments: SegmentList,
  level: number,
  slotCount: number,
): MapSlots {
  const decode = level === 0 ? decodePointer : decodeWholePointer;
  const count = input.varint(Math.min(slotCount, Math.floor(input.restBytes / SLOT_BYTES_MIN)));
  const slots = [];
  let next = 0;
  for (let at = 0; at < count; at += 1) {
    const slot = next + input.varint(slotCount);
    if (slot >= slotCount) throw input.error(`no map slot ${slot} among ${slotCount}`);
    slots.push({ slot, pointer: decode(input, segments) });
    next = slot + 1;
  }
  return slots;
}

/**
 * Returns an upper bound for the bytes that `slots` add to a node.
 *
 * @param before the node's previous pointer into a pack, if there is one.
 */
export function mapSlotsBytes(slots: MapSlots, before?: Pointer): number {
  let bytes = varintBytes(slots.length);
  let last = before;
  for (const { pointer } of slots) {
    bytes += 2 + pointerBytes(pointer, last);
    if (isSlicePointer(pointer)) last = pointer;
  }
  return bytes;
}

/**
 * Encodes the plaintext of a map page, by default of level 0. EINVAL unless the slots ascend strictly and are
 * below {@link PAGE_SLOTS}.
 */
export function encodeMapPage(slots: MapSlots, level: number = 0): Uint8Array<ArrayBuffer> {
  requireArgument((slots.at(-1)?.slot ?? 0) < PAGE_SLOTS, 'a map page has 1,024 slots');
  return encodeFramed((out, table) => encodeMapSlotsInto(out, slots, table, level));
}

/** Decodes the plaintext of a map page, by default of level 0. Throws EFORMAT or EUNSUPPORTED. */
export function decodeMapPage(bytes: Uint8Array, level: number = 0): MapSlots {
  return decodeFramed(bytes, 'map page', (input, segments) =>
    decodeMapSlotsFrom(input, segments, level, PAGE_SLOTS),
  );
}
