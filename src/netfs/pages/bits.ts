/** Sets of granules of one block, a bit for each. Pure. */
import { GRANULE_BYTES } from './pages.ts';

const GRANULE_LOG2: number = Math.log2(GRANULE_BYTES);

/** Returns how many bits of a 16-bit set are set. */
export function countBits(set: number): number {
  const pairs = set - ((set >>> 1) & 0x5555);
  const fours = (pairs & 0x3333) + ((pairs >>> 2) & 0x3333);
  const eights = (fours + (fours >>> 4)) & 0x0f0f;
  return (eights + (eights >>> 8)) & 0x1f;
}

/** Returns the number of the lowest bit of a set that is not empty. */
export function lowestBit(set: number): number {
  return 31 - Math.clz32(set & -set);
}

/** Returns the granules that the bytes [start, end) of a block touch; `end` is above `start`. */
export function touchedBy(start: number, end: number): number {
  return (2 << ((end - 1) >>> GRANULE_LOG2)) - (1 << (start >>> GRANULE_LOG2));
}

/** Returns the granules that lie wholly in the bytes [start, end) of a block. */
export function coveredBy(start: number, end: number): number {
  const first = (start + GRANULE_BYTES - 1) >>> GRANULE_LOG2;
  const last = end >>> GRANULE_LOG2;
  return last > first ? (1 << last) - (1 << first) : 0;
}

/** Returns how many of `wanted` bytes from `start` on lie in granules of the set, without a gap. */
export function bytesIn(set: number, start: number, wanted: number): number {
  const first = start >>> GRANULE_LOG2;
  const missing = (~set & 0xffff) >>> first;
  if (missing === 0) return wanted;
  return Math.max(0, Math.min(wanted, ((first + lowestBit(missing)) << GRANULE_LOG2) - start));
}
