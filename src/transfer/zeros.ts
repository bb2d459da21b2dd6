/** Finds holes smaller than a unit: zeros within a unit that need not be written to a local file. */

/** The size that file systems allocate, or a multiple of it. */
const PAGE_BYTES = 4096;
/** Shorter holes are written: leaving them out would cost one more call. */
const HOLE_BYTES_MIN: number = 4 * PAGE_BYTES;
const ZEROS = Buffer.alloc(PAGE_BYTES);

/** A stretch of a unit that is worth writing. */
export interface DataPart {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/**
 * Returns the parts of a unit that hold data. Fast where there are no zeros: it looks at one byte of each
 * page.
 *
 * @param offsetBytes where the unit lies in its file; a multiple of 4096.
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

/** Returns where the pages of zeros that begin at `from` end. */
function zerosEnd(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.byteLength && bytes[at] === 0) {
    const page = bytes.subarray(at, at + PAGE_BYTES);
    if (ZEROS.compare(page, 0, page.byteLength, 0, page.byteLength) !== 0) break;
    at += page.byteLength;
  }
  return at;
}
