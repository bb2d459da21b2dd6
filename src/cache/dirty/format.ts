/**
 * The format of a dirty zone: batches one after another. Each batch begins at a multiple of 64 bytes (a
 * granule).
 *
 *   batch header   sealed record, kind journalRecord, object id = zone's name, index = offset in granules
 *   units          sealed records as they came, each at a multiple of 64 bytes
 *
 * The content of a batch header, little-endian:
 *
 *    0   4  version, 1
 *    4   4  unit count U
 *    8   8  batch id: a later batch has a higher one
 *   16   8  when it was appended, milliseconds since 1970
 *   24   4  payload length P
 *   28   4  length of the batch with its header, in granules
 *   32   4  how much of the zone was synced when this was written, in granules
 *   36   4  1 for an end mark: no batch, but the end of a zone to which nothing more is written; otherwise 0
 *   40      U units:  volume id[16], object id[16], index u64, tag[16],
 *                     offset in the batch in granules u32, length u32, CRC-32 u32, zero u32
 *           payload[P]
 */
import { getU64, setU32, setU64, viewOf } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { roundUp } from '../../base/geometry.ts';
import { Seals } from '../base/seals.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';

const BATCH_HEADER_BYTES = 40;
const UNIT_BYTES = 72;
export const PAYLOAD_BYTES_MAX: number = 64 * 1024;
export const BATCH_UNITS_MAX = 65_536;

export interface DirtyUnitPlace {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly index: number;
  readonly tag: Uint8Array;
  readonly lengthBytes: number;
  /** From the beginning of the batch. */
  readonly offsetBytes: number;
  readonly crc32: number;
}

export interface BatchHeader {
  readonly batchId: number;
  /** When it was appended, in ms since 1970, by the clock of that time. */
  readonly appendedMs: number;
  readonly isEndMark: boolean;
  readonly units: readonly DirtyUnitPlace[];
  readonly payload: Uint8Array;
  /** The length of the batch with its header. */
  readonly lengthBytes: number;
  /** How much of the zone was synced when the header was written. */
  readonly syncedBytes: number;
}

/** Returns how long a batch header is with its padding. */
export function batchHeaderBytes(unitCount: number, payloadBytes: number): number {
  return roundUp(
    Seals.sealedBytes(BATCH_HEADER_BYTES + unitCount * UNIT_BYTES + payloadBytes),
    GRANULE_BYTES,
  );
}

/**
 * Seals a batch header, and pads it to {@link batchHeaderBytes}. EINVAL for a unit that does not lie in the
 * batch, and for a number that the format cannot hold.
 *
 * @param positionBytes where it lies in the zone.
 */
export function encodeBatchHeader(
  seals: Seals,
  name: Uint8Array,
  positionBytes: number,
  header: BatchHeader,
): Uint8Array<ArrayBuffer> {
  const { units, payload, batchId } = header;
  const plain = new Uint8Array(BATCH_HEADER_BYTES + units.length * UNIT_BYTES + payload.byteLength);
  const view = viewOf(plain);
  setU32(view, 0, 1);
  setU32(view, 4, units.length);
  setU64(view, 8, batchId);
  setU64(view, 16, header.appendedMs);
  setU32(view, 24, payload.byteLength);
  setU32(view, 28, header.lengthBytes / GRANULE_BYTES);
  setU32(view, 32, header.syncedBytes / GRANULE_BYTES);
  setU32(view, 36, header.isEndMark ? 1 : 0);
  for (const [position, unit] of units.entries()) {
    const at = BATCH_HEADER_BYTES + position * UNIT_BYTES;
    requireArgument(
      unit.offsetBytes + unit.lengthBytes <= header.lengthBytes,
      'a unit of a dirty batch lies beyond its end',
    );
    plain.set(unit.volumeId, at);
    plain.set(unit.objectId, at + 16);
    setU64(view, at + 32, unit.index);
    plain.set(unit.tag, at + 40);
    setU32(view, at + 56, unit.offsetBytes / GRANULE_BYTES);
    setU32(view, at + 60, unit.lengthBytes);
    setU32(view, at + 64, unit.crc32);
  }
  plain.set(payload, BATCH_HEADER_BYTES + units.length * UNIT_BYTES);
  const sealed = seals.seal('journalRecord', name, positionBytes / GRANULE_BYTES, plain);
  const padded = new Uint8Array(batchHeaderBytes(units.length, payload.byteLength));
  padded.set(sealed);
  return padded;
}

/**
 * Opens a batch header. EAUTH, EFORMAT or another code of damage.
 *
 * @param sealed may go on past the header.
 */
export function decodeBatchHeader(
  seals: Seals,
  name: Uint8Array,
  positionBytes: number,
  sealed: Uint8Array,
): BatchHeader {
  const plain = seals.open('journalRecord', name, positionBytes / GRANULE_BYTES, sealed);
  const view = viewOf(plain);
  if (plain.byteLength < BATCH_HEADER_BYTES || view.getUint32(0, true) !== 1) throw malformed();
  const unitCount = view.getUint32(4, true);
  const batchId = getU64(view, 8);
  const appendedMs = getU64(view, 16);
  const payloadBytes = view.getUint32(24, true);
  const payloadAt = BATCH_HEADER_BYTES + unitCount * UNIT_BYTES;
  if (batchId === undefined || appendedMs === undefined || payloadAt + payloadBytes !== plain.byteLength)
    throw malformed();
  const lengthBytes = view.getUint32(28, true) * GRANULE_BYTES;
  const units = Array.from({ length: unitCount }, (_, position) => {
    const at = BATCH_HEADER_BYTES + position * UNIT_BYTES;
    const index = getU64(view, at + 32);
    const offsetBytes = view.getUint32(at + 56, true) * GRANULE_BYTES;
    const unitBytes = view.getUint32(at + 60, true);
    if (index === undefined || offsetBytes + unitBytes > lengthBytes) throw malformed();
    return {
      volumeId: plain.slice(at, at + 16),
      objectId: plain.slice(at + 16, at + 32),
      index,
      tag: plain.slice(at + 40, at + 56),
      offsetBytes,
      lengthBytes: unitBytes,
      crc32: view.getUint32(at + 64, true),
    };
  });
  return {
    batchId,
    appendedMs,
    isEndMark: view.getUint32(36, true) === 1,
    units,
    payload: plain.slice(payloadAt),
    lengthBytes,
    syncedBytes: view.getUint32(32, true) * GRANULE_BYTES,
  };
}

function malformed(): NetsealError {
  return new NetsealError('EFORMAT', 'the header of a dirty batch is malformed');
}
