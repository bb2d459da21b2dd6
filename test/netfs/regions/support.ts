/** One file of tiny units, and what a test does with it. */

import type { Flush } from '../../../src/netfs/regions/region.ts';
import { Regions } from '../../../src/netfs/regions/regions.ts';
import type { Receipt } from '../../../src/netfs/server.ts';

export const UNIT = 16;

/** Regions of a file of `sizeBytes`, which check themselves after every step. */
export function regionsOf(sizeBytes: number): Regions {
  return new Regions({ unitSizeBytes: UNIT, committed: { version: 'v1', sizeBytes }, isChecked: true });
}

/** A receipt whose tag holds `number`. */
export function receipt(number: number): Receipt {
  const tag = new Uint8Array(16);
  new DataView(tag.buffer).setUint32(0, number);
  return { tag, lengthBytes: UNIT };
}

/** The number in a receipt's tag. */
export function numberOf({ tag }: Receipt): number {
  return new DataView(tag.buffer).getUint32(0);
}

/** Writes a range from begin to end; it must not have to wait. */
export function write(regions: Regions, fromBytes: number, toBytes: number): void {
  const writer = regions.reserve('ordinary', fromBytes, toBytes);
  regions.dirtied(writer, toBytes);
  regions.end(writer);
}

/** Truncates; it must not have to wait. */
export function truncate(regions: Regions, sizeBytes: number): void {
  regions.truncate(regions.reserve('truncate', sizeBytes));
}

/** Flushes a unit until its record is placed. */
export function place(regions: Regions, unit: number, number: number): Flush {
  const flush = regions.beginFlush(unit);
  regions.placed(flush, receipt(number));
  return flush;
}

/** The dirty spans of a unit as pairs. */
export function spansOf(regions: Regions, unit: number): number[][] {
  return [...(regions.dirtyRegion(unit)?.spans ?? [])].map(({ fromBytes, toBytes }) => [fromBytes, toBytes]);
}
