/** Holes that are smaller than units: a unit that lies across the border of one holds zeros. */

/** What file systems allocate, or a multiple of it. */
const PAGE_BYTES = 4096;
/** Shorter ones are written: one call more costs as much. */
const HOLE_BYTES_MIN: number = 4 * PAGE_BYTES;
const ZEROS = Buffer.alloc(PAGE_BYTES);

/** A stretch of a unit that is worth writing. */
export interface DataPart {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/**
 * The parts of a unit that hold data. Quick where there are no zeros: it looks at one byte a page.
 *
 * @param offsetBytes of the unit in its file; a multiple of 4096.
 */
export function dataParts(bytes: Uint8Array, offsetBytes: number): DataPart[] {
  const { byteLength } = bytes;
  const parts: DataPart[] = [];
  let start = 0;
  for (let at = 0; at < byteLength; ) {
    const end = zerosEnd(bytes, at);
    if (end - at >= HOLE_BYTES_MIN || (end === byteLength && end > at)) {
      if (at > start) parts.push({ offsetBytes: offsetBytes + start, bytes: bytes.subarray(start, at) });
      start = end;
    }
    at = Math.max(end, at + PAGE_BYTES);
  }
  if (start < byteLength) parts.push({ offsetBytes: offsetBytes + start, bytes: bytes.subarray(start) });
  return parts;
}

/** Where the pages of zeros end that begin here. */
function zerosEnd(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.byteLength && bytes[at] === 0) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    if (ZEROS.compare(page, 0, page.byteLength, 0, page.byteLength) !== 0) break;
    at += page.byteLength;
  }
  return at;
}
