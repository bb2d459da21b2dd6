/**
 * The plaintext of the header's private part, which only members of the volume can read. It is sealed as a
 * whole and padded, so that its length tells little.
 *
 *   offset  size  field
 *        0     2  entry count, equal to the header's slot count
 *        2     2  settings length, 0 to 4,096
 *        4     4  reserved, 0
 *        8     -  an entry for each slot, in order:
 *                 created at, in ms since 1970: u64, label length L: u8, label[L]
 *        -     -  settings
 *        -     -  zeros up to a multiple of 256
 */
import { requireBytes, requireText } from '../base/arguments.ts';
import { concatBytes, getU64, isAllZero, setU64, utf8, viewOf } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { PRIVATE_GRANULE_BYTES } from './header-format.ts';

export const LABEL_BYTES_MAX = 64;
export const SETTINGS_BYTES_MAX = 4096;

const FIXED_BYTES = 8;
const ENTRY_FIXED_BYTES = 9;

/** What members of the volume can read about a slot. */
export interface SlotEntry {
  /** 1 to 64 bytes of UTF-8 without control characters. */
  readonly label: string;
  readonly createdAtMs: number;
}

export interface PrivatePart {
  readonly entries: readonly SlotEntry[];
  readonly settings: Uint8Array<ArrayBuffer>;
}

/** Throws EINVAL unless `label` is 1 to 64 bytes of UTF-8 without control characters. */
export function checkLabel(label: string): void {
  requireText('a label', label);
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

/** The latest time that a date can express, in ms since 1970: 275,760 AD. */
const TIME_MS_MAX = 8_640_000_000_000_000;

/**
 * Returns the time of a clock as a slot stores it: whole ms since 1970. Throws EINVAL for a time that no slot
 * can store. Called before anything is made: a header with such a time could not be opened any more.
 */
export function slotTimeMs(nowMs: number): number {
  const timeMs = Math.floor(nowMs);
  requireArgument(
    timeMs >= 0 && timeMs <= TIME_MS_MAX,
    `this machine's clock says ${describeTime(timeMs)}, and a slot needs a time after 1970: set the clock`,
  );
  return timeMs;
}

function describeTime(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? `${timeMs} ms` : date.toISOString();
}

/** Throws EINVAL unless settings are at most 4,096 bytes long. */
export function checkSettings(settings: Uint8Array): void {
  requireBytes('settings', settings);
  requireArgument(
    settings.byteLength <= SETTINGS_BYTES_MAX,
    `settings must be at most ${SETTINGS_BYTES_MAX} bytes, not ${settings.byteLength}`,
  );
}

/** Returns the padded plaintext, which the caller owns and zeroes. */
export function encodePrivatePart({ entries, settings }: PrivatePart): Uint8Array<ArrayBuffer> {
  const fixed = new Uint8Array(FIXED_BYTES);
  viewOf(fixed).setUint16(0, entries.length, true);
  viewOf(fixed).setUint16(2, settings.byteLength, true);
  const content = concatBytes(fixed, ...entries.map(encodeEntry), settings);
  const padded = new Uint8Array(roundUp(content.byteLength, PRIVATE_GRANULE_BYTES));
  padded.set(content);
  content.fill(0);
  return padded;
}

function encodeEntry({ label, createdAtMs }: SlotEntry): Uint8Array<ArrayBuffer> {
  const labelBytes = utf8(label);
  const bytes = new Uint8Array(ENTRY_FIXED_BYTES + labelBytes.byteLength);
  setU64(viewOf(bytes), 0, createdAtMs);
  bytes[8] = labelBytes.byteLength;
  bytes.set(labelBytes, ENTRY_FIXED_BYTES);
  return bytes;
}

/**
 * Decodes the authenticated plaintext of a header with `slotCount` slots. Every field is a copy. Throws
 * EFORMAT.
 */
export function decodePrivatePart(bytes: Uint8Array, slotCount: number): PrivatePart {
  const view = viewOf(bytes);
  const settingsBytes = view.getUint16(2, true);
  if (view.getUint16(0, true) !== slotCount || settingsBytes > SETTINGS_BYTES_MAX) throw malformed();
  if (view.getUint32(4, true) !== 0) throw malformed();
  const entries: SlotEntry[] = [];
  let offset = FIXED_BYTES;
  while (entries.length < slotCount) {
    if (offset + ENTRY_FIXED_BYTES > bytes.byteLength) throw malformed();
    const createdAtMs = getU64(view, offset);
    const labelEnd = offset + ENTRY_FIXED_BYTES + view.getUint8(offset + 8);
    if (createdAtMs === undefined || labelEnd > bytes.byteLength) throw malformed();
    entries.push({ createdAtMs, label: decodeLabel(bytes.subarray(offset + ENTRY_FIXED_BYTES, labelEnd)) });
    offset = labelEnd;
  }
  const settingsEnd = offset + settingsBytes;
  if (roundUp(settingsEnd, PRIVATE_GRANULE_BYTES) !== bytes.byteLength) throw malformed();
  if (!isAllZero(bytes.subarray(settingsEnd))) throw malformed();
  return { entries, settings: new Uint8Array(bytes.subarray(offset, settingsEnd)) };
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
