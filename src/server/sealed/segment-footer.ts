/** Reads the footer of a segment in the store. */
import { NetsealError } from '../../base/errors.ts';
import { KIB, UNIT_BYTES_MAX } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import { segmentKey } from './object-keys.ts';
import type { Sealing } from './sealing.ts';
import { decodeFooter, decodeTrailer, type SegmentEntry, TRAILER_BYTES } from './segment-format.ts';

/** The first request asks for so much of the segment's end: most footers fit. */
const TAIL_BYTES: number = 64 * KIB;

/**
 * Returns the records of a segment, in order, as its footer lists them. Throws EMISSING, ETRUNCATED, EFORMAT,
 * EAUTH, EKEY, EUNSUPPORTED, and the store's other errors.
 *
 * @param sizeBytes length of the whole segment.
 */
export async function readSegmentFooter(
  { store, control }: Pick<Sealing, 'store' | 'control'>,
  id: Id,
  sizeBytes: number,
  signal?: AbortSignal,
): Promise<SegmentEntry[]> {
  const tail = async (lengthBytes: number): Promise<Uint8Array> => {
    const offsetBytes = Math.max(0, sizeBytes - lengthBytes);
    const range = { offsetBytes, lengthBytes: sizeBytes - offsetBytes };
    const { bytes } = await store.get(segmentKey(id), { range, signal });
    if (bytes.byteLength < range.lengthBytes) {
      throw new NetsealError('ETRUNCATED', `segment ${id}: shorter than ${sizeBytes} bytes`);
    }
    return bytes;
  };
  let bytes = await tail(TAIL_BYTES);
  const { footerOffsetBytes, footerBytes } = decodeTrailer(bytes, sizeBytes);
  if (footerBytes + TRAILER_BYTES > bytes.byteLength) bytes = await tail(footerBytes + TRAILER_BYTES);
  const from = bytes.byteLength - TRAILER_BYTES - footerBytes;
  const sealed = bytes.subarray(from, from + footerBytes);
  const at = { kind: 'segmentFooter', objectId: id, index: 0 } as const;
  return decodeFooter(control.open(at, sealed, UNIT_BYTES_MAX), footerOffsetBytes);
}
