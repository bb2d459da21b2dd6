/**
 * How payloads are padded, so that a record's length tells little of what is in it. The rule stands here
 * only; `docs/FORMAT.md`, "Padding", is the specification. Pure.
 *
 *   padding   a payload of n bytes becomes
 *   padme     Padmé(n), and at least 256 bytes: up to 12 % more, and power-of-two lengths nothing
 *   none      n bytes
 *   a size    the next multiple of it
 *   control   the larger of Padmé(n) and the next multiple of 256
 *
 * Readers need no padding: a record says how long its payload is.
 */
import { shownValue } from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import { isPowerOfTwo, KIB, roundUp } from '../base/geometry.ts';

/** What users choose for units: a rule by its name, or a size in bytes that payloads become multiples of. */
export type Padding = 'padme' | 'none' | number;

/**
 * All paddings. `control` is that of control records (inodes, nodes, footers, ...), whatever users choose.
 */
export type RecordPadding = Padding | 'control';

export const PADDING_DEFAULT: Padding = 'padme';
/** The largest size that payloads can become multiples of. */
export const PADDING_SIZE_BYTES_MAX: number = 64 * KIB;
/** Every padding adds less than this: Padmé up to 262,143 bytes between 8 and 16 MiB. */
export const PADDING_BYTES_END: number = 256 * KIB;
/** Padmé alone would tell short payloads almost exactly, so no payload is padded to less. */
const PADME_BYTES_MIN = 256;
/** Control records are padded to a multiple of this, while Padmé's own steps are smaller. */
const CONTROL_STEP_BYTES = 256;

/**
 * Throws EINVAL unless this is a {@link Padding}: `padme`, `none`, or a power of two from 2 bytes to 64 KiB
 * that is at most the unit size.
 */
export function checkPadding(padding: Padding, unitSizeBytes: number): void {
  if (padding === 'padme' || padding === 'none') return;
  requireArgument(
    isPowerOfTwo(padding) && padding >= 2 && padding <= PADDING_SIZE_BYTES_MAX,
    `padding must be padme, none, or a power of two from 2 bytes to 64 KiB, not ${shownValue(padding)}`,
  );
  requireArgument(
    padding <= unitSizeBytes,
    `units of ${unitSizeBytes} bytes cannot be padded to multiples of ${padding}`,
  );
}

/**
 * Returns Padmé of a length, from 0 to 2^32 - 1 bytes, as "Reducing Metadata Leakage from Encrypted Files and
 * Communication with PURBs" (PoPETs 2019) defines it: the exponent of the length keeps all its bits, and the
 * mantissa as many bits as the exponent has.
 */
export function padme(lengthBytes: number): number {
  if (lengthBytes < 2) return lengthBytes;
  const exponent = 31 - Math.clz32(lengthBytes);
  const mantissaBits = 32 - Math.clz32(exponent);
  return roundUp(lengthBytes, 2 ** (exponent - mantissaBits));
}

/** Returns how long a payload of so many bytes is with its padding. Never less, and never less for more. */
export function paddedBytes(payloadBytes: number, padding: RecordPadding): number {
  if (padding === 'padme') return Math.max(PADME_BYTES_MIN, padme(payloadBytes));
  if (padding === 'none') return payloadBytes;
  if (padding === 'control') return Math.max(roundUp(payloadBytes, CONTROL_STEP_BYTES), padme(payloadBytes));
  return roundUp(payloadBytes, padding);
}

/**
 * True when content of `plainBytes` is to be stored as a compressed payload of `payloadBytes`: when that
 * takes at least a 32nd less, both with their padding. A compressed payload is then shorter than the content.
 */
export function savesEnough(payloadBytes: number, plainBytes: number, padding: RecordPadding): boolean {
  return 32 * paddedBytes(payloadBytes, padding) <= 31 * paddedBytes(plainBytes, padding);
}

/** Returns the longest padded payload that any padding makes of content of so many bytes, or a bit more. */
export function paddedBytesMax(plainBytes: number): number {
  return roundUp(plainBytes, PADDING_BYTES_END);
}
