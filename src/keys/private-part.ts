/**
 * The plaintext of the header's private part: what only a member of the volume may read. It is sealed as a whole, and
 * padded so that its length tells little.
 *
 *   offset  size  field
 *        0     2  record count, equal to the header's slot count
 *        2     2  settings length, 0 to 4,096
 *        4     4  reserved, 0
 *        8     -  one record a slot, in the slots' order: created at, in ms since 1970: u64, label length L: u8, label[L]
 *        -     -  settings
 *        -     -  zeros up to a multiple of 256
 */
import { concatBytes, getU64, isAllZero, setU64, utf8, viewOf } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { PRIVATE_GRANULE_BYTES } from './header-format.ts';

export const LABEL_BYTES_MAX = 64;
export const SETTINGS_BYTES_MAX = 4096;

const FIXED_BYTES = 8;
const RECORD_FIXED_BYTES = 9;

/** What a volume's members know about a slot. */
export interface SlotRecord {
  /** 1 to 64 bytes of UTF-8 without control characters. */
  readonly label: string;
  readonly createdAtMs: number;
}

export interface PrivatePart {
  readonly records: readonly SlotRecord[];
  readonly settings: Uint8Array<ArrayBuffer>;
}

/** Throws EINVAL unless a label can be stored and printed. */
export function checkLabel(label: string): void {
  requireArgument(
    label.isWellFormed() && !/\p{Cc}/u.test(label),
    'a slot label must be text without controls',
  );
  const lengthBytes = utf8(label).byteLength;
  requireArgument(
    lengthBytes >= 1 && lengthBytes <= LABEL_BYTES_MAX,
    `a slot label must be 1 to ${LABEL_BYTES_MAX} bytes of UTF-8, not ${lengthBytes}`,
  );
}

/** Throws EINVAL unless settings fit. */
export function checkSettings(settings: Uint8Array): void {
  requireArgument(
    settings.byteLength <= SETTINGS_BYTES_MAX,
    `settings must be at most ${SETTINGS_BYTES_MAX} bytes, not ${settings.byteLength}`,
  );
}

/** The padded plaintext; the caller owns it. */
export function encodePrivatePart({ records, settings }: PrivatePart): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(FIXED_BYTES);
  viewOf(fixed).setUint16(0, records.length, true);
  viewOf(fixed).setUint16(2, settings.byteLength, true);
  const content = concatBytes(fixed, ...records.map(encodeRecord), settings);
  const padded = new Uint8Array(roundUp(content.byteLength, PRIVATE_GRANULE_BYTES));
  padded.set(content);
  content.fill(0);
  return padded;
}

function encodeRecord({ label, createdAtMs }: SlotRecord): Uint8Array<ArrayBuffer> {
  const labelBytes = utf8(label);
  const bytes = new Uint8Array(RECORD_FIXED_BYTES + labelBytes.byteLength);
  setU64(viewOf(bytes), 0, createdAtMs);
  bytes[8] = labelBytes.byteLength;
  bytes.set(labelBytes, RECORD_FIXED_BYTES);
  return bytes;
}

/** Decodes an authenticated plaintext of a header with `slotCount` slots; copies what it keeps. EFORMAT. */
export function decodePrivatePart(bytes: Uint8Array, slotCount: number): PrivatePart {
  const view = viewOf(bytes);
  const settingsBytes = view.getUint16(2, true);
  if (view.getUint16(0, true) !== slotCount || settingsBytes > SETTINGS_BYTES_MAX) throw malformed();
  if (view.getUint32(4, true) !== 0) throw malformed();
  const records: SlotRecord[] = [];
  let offset = FIXED_BYTES;
  while (records.length < slotCount) {
    if (offset + RECORD_FIXED_BYTES > bytes.byteLength) throw malformed();
    const createdAtMs = getU64(view, offset);
    const labelEnd = offset + RECORD_FIXED_BYTES + view.getUint8(offset + 8);
    if (createdAtMs === undefined || labelEnd > bytes.byteLength) throw malformed();
    records.push({ createdAtMs, label: decodeLabel(bytes.subarray(offset + RECORD_FIXED_BYTES, labelEnd)) });
    offset = labelEnd;
  }
  const settingsEnd = offset + settingsBytes;
  if (roundUp(settingsEnd, PRIVATE_GRANULE_BYTES) !== bytes.byteLength) throw malformed();
  if (!isAllZero(bytes.subarray(settingsEnd))) throw malformed();
  return { records, settings: new Uint8Array(bytes.subarray(offset, settingsEnd)) };
}

function decodeLabel(bytes: Uint8Array): string {
  try {
    const label = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    checkLabel(label);
    return label;
  } catch {
    throw malformed();
  }
}

function malformed(): NetsealError {
  return new NetsealError('EFORMAT', 'volume header: its private part is malformed');
}
