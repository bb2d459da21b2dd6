/**
 * The plaintext of the header's private part, which only members of the volume can read. It is sealed as a
 * whole and padded, so that its length tells little.
 *
 *   offset  size  field
 *        0     2  entry count, equal to the header's slot count
 *        2     2  settings length, 0 to 4,096
 *        4     2  count of dropped epochs D, 0 to 128
 *        6     2  reserved, 0
 *        8     -  an entry for each slot, in order:
 *                 created at, in ms since 1970: u64, label length L: u8, label[L]
 *        -     -  settings
 *        -    36  D dropped epochs, ascending: number u32, trace[32]
 *        -     -  zeros up to a multiple of 256
 *
 * The trace of an epoch shows that the header's author knew its key, or was told by one who did. Nothing can
 * be opened with it.
 */
import { requireBytes, requireText } from '../base/arguments.ts';
import { concatBytes, getU64, isAllZero, setU32, setU64, utf8, viewOf } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { PRIVATE_GRANULE_BYTES } from './header-format.ts';
import { KEY_BYTES } from './tree.ts';

export const LABEL_BYTES_MAX = 64;
export const SETTINGS_BYTES_MAX = 4096;
/** Beyond so many, the oldest dropped epochs are forgotten. */
export const DROPPED_EPOCHS_MAX = 128;

const FIXED_BYTES = 8;
const ENTRY_FIXED_BYTES = 9;
const DROPPED_EPOCH_BYTES: number = 4 + KEY_BYTES;

/** What members of the volume can read about a slot. */
export interface SlotEntry {
  /** 1 to 64 bytes of UTF-8 without control characters. */
  readonly label: string;
  readonly createdAtMs: number;
}

/** An epoch whose key the header does not hold any more. */
export interface DroppedEpoch {
  readonly epoch: number;
  /** 32 bytes; see `epochTrace`. */
  readonly trace: Uint8Array<ArrayBuffer>;
}

export interface PrivatePart {
  readonly entries: readonly SlotEntry[];
  readonly settings: Uint8Array<ArrayBuffer>;
  /** Ascending. */
  readonly droppedEpochs: readonly DroppedEpoch[];
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

/** Returns the padded plaintext, which the caller owns and zeroes. EINVAL for dropped epochs out of order. */
export function encodePrivatePart(part: PrivatePart): Uint8Array<ArrayBuffer> {
  const { entries, settings, droppedEpochs } = part;
  const numbers = droppedEpochs.map(({ epoch }) => epoch);
  requireArgument(
    numbers.length <= DROPPED_EPOCHS_MAX && numbers.every((epoch, at) => epoch > (numbers[at - 1] ?? 0)),
    `at most ${DROPPED_EPOCHS_MAX} dropped epochs, ascending`,
  );
  const fixed = new Uint8Array(FIXED_BYTES);
  viewOf(fixed).setUint16(0, entries.length, true);
  viewOf(fixed).setUint16(2, settings.byteLength, true);
  viewOf(fixed).setUint16(4, droppedEpochs.length, true);
  const content = concatBytes(
    fixed,
    ...entries.map(encodeEntry),
    settings,
    ...droppedEpochs.map(encodeDroppedEpoch),
  );
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

function encodeDroppedEpoch({ epoch, trace }: DroppedEpoch): Uint8Array<ArrayBuffer> {
  const number = new Uint8Array(4);
  setU32(viewOf(number), 0, epoch);
  return concatBytes(number, trace);
}

/**
 * Decodes the authenticated plaintext of a header with `slotCount` slots. Every field is a copy. Throws
 * EFORMAT.
 */
export function decodePrivatePart(bytes: Uint8Array, slotCount: number): PrivatePart {
  const view = viewOf(bytes);
  const settingsBytes = view.getUint16(2, true);
  if (view.getUint16(0, true) !== slotCount || settingsBytes > SETTINGS_BYTES_MAX) throw malformed();
  const droppedCount = view.getUint16(4, true);
  if (droppedCount > DROPPED_EPOCHS_MAX || view.getUint16(6, true) !== 0) throw malformed();
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
  const end = settingsEnd + droppedCount * DROPPED_EPOCH_BYTES;
  if (roundUp(end, PRIVATE_GRANULE_BYTES) !== bytes.byteLength) throw malformed();
  if (!isAllZero(bytes.subarray(end))) throw malformed();
  const settings = new Uint8Array(bytes.subarray(offset, settingsEnd));
  return { entries, settings, droppedEpochs: decodeDroppedEpochs(bytes, settingsEnd, end) };
}

function decodeDroppedEpochs(bytes: Uint8Array, start: number, end: number): DroppedEpoch[] {
  const dropped: DroppedEpoch[] = [];
  for (let offset = start; offset < end; offset += DROPPED_EPOCH_BYTES) {
    const epoch = viewOf(bytes).getUint32(offset, true);
    if (epoch <= (dropped.at(-1)?.epoch ?? 0)) throw malformed();
    dropped.push({ epoch, trace: new Uint8Array(bytes.subarray(offset + 4, offset + DROPPED_EPOCH_BYTES)) });
  }
  return dropped;
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
