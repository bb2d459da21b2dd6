/** Checks by which a read tells a record from other bytes. That it is sound, only opening it can tell. */
import { u32At } from '../../base/bytes.ts';
import { RECORD_MAGIC, TAG_BYTES } from '../../unit/record-format.ts';

/** Whether bytes begin as a record of just this length. */
export function isWholeRecord(bytes: Uint8Array): boolean {
  if (bytes.byteLength < 2 * TAG_BYTES) return false;
  return u32At(bytes, 0) === RECORD_MAGIC && u32At(bytes, 12) === bytes.byteLength;
}

/** Whether a record of at least 16 bytes ends with this tag. */
export function endsWithTag(record: Uint8Array, tag: Uint8Array): boolean {
  const from = record.byteLength - TAG_BYTES;
  for (let at = 0; at < TAG_BYTES; at += 1) if (record[from + at] !== tag[at]) return false;
  return true;
}
