/**
 * The bytes of a sealed stream: a stream header, then records of stream units in order. The last record has a
 * flag that says so. `docs/FORMAT.md`, "Sealed stream", is the specification. Pure.
 */
import { concatBytes, viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { UNIT_BYTES_MAX, UNIT_BYTES_MIN } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { KEY_BYTES } from '../keys/tree.ts';
import { SUITE_IDS, type SuiteName, suiteOfId } from '../unit/record-format.ts';

/** "nSst" */
const STREAM_MAGIC = 0x7473536e;
const STREAM_VERSION = 1;
export const STREAM_HEADER_BYTES: number = 16 + 2 * ID_BYTES + KEY_BYTES;

/**
 * The stream header, 80 bytes:
 *
 *   offset  size  field
 *        0     4  magic "nSst"
 *        4     1  version, 1
 *        5     1  suite
 *        6     1  log2 unit size
 *        7     1  zero
 *        8     4  epoch
 *       12     4  zero
 *       16    16  volume id
 *       32    16  object id, random and used by this stream only
 *       48    32  commitment to the key of the stream's units
 *
 * Nothing in the header is authentic by itself. But suite, unit size, epoch and ids all enter the key or the
 * associated data of every unit, so a changed header opens nothing.
 */
export interface StreamHeader {
  readonly suite: SuiteName;
  readonly unitSizeBytes: number;
  readonly epoch: number;
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly commitment: Uint8Array;
}

/** Returns the 80 bytes of a stream header, which the caller owns. */
export function encodeStreamHeader(header: StreamHeader): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(16);
  const view = viewOf(fixed);
  view.setUint32(0, STREAM_MAGIC, true);
  view.setUint8(4, STREAM_VERSION);
  view.setUint8(5, SUITE_IDS[header.suite]);
  view.setUint8(6, Math.log2(header.unitSizeBytes));
  view.setUint32(8, header.epoch, true);
  return concatBytes(fixed, header.volumeId, header.objectId, header.commitment);
}

/**
 * Reads a stream header from 80 bytes. Throws EFORMAT (no stream) or EUNSUPPORTED (newer version, unknown
 * suite).
 */
export function decodeStreamHeader(bytes: Uint8Array): StreamHeader {
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== STREAM_MAGIC)
    throw new NetsealError('EFORMAT', 'not a sealed stream: wrong magic');
  const version = view.getUint8(4);
  if (version !== STREAM_VERSION) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `sealed stream of version ${version}; this netseal knows ${STREAM_VERSION}`,
    );
  }
  const suite = suiteOfId(view.getUint8(5));
  const unitSizeBytes = 2 ** view.getUint8(6);
  if (unitSizeBytes < UNIT_BYTES_MIN || unitSizeBytes > UNIT_BYTES_MAX) {
    throw new NetsealError('EFORMAT', `sealed stream with a unit size of 2^${view.getUint8(6)} bytes`);
  }
  if (view.getUint8(7) !== 0 || view.getUint32(12, true) !== 0) {
    throw new NetsealError('EFORMAT', 'sealed stream: reserved bytes are not zero');
  }
  return {
    suite,
    unitSizeBytes,
    epoch: view.getUint32(8, true),
    volumeId: bytes.slice(16, 32),
    objectId: bytes.slice(32, 48),
    commitment: bytes.slice(48, STREAM_HEADER_BYTES),
  };
}
