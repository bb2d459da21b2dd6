/** Small operations on byte arrays. None of them keeps a reference to its arguments. */
import { timingSafeEqual } from 'node:crypto';
import { isMarkedAsUntransferable } from 'node:worker_threads';
import { NetsealError } from './errors.ts';

/**
 * Compares two arrays in time that depends only on their lengths. Arrays of different lengths are unequal.
 */
export function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.byteLength === right.byteLength && timingSafeEqual(left, right);
}

const ZERO_PAGE = new Uint8Array(64 * 1024);

/** True when every byte is zero; true for the empty array. */
export function isAllZero(bytes: Uint8Array): boolean {
  for (let offset = 0; offset < bytes.byteLength; offset += ZERO_PAGE.byteLength) {
    const chunk = bytes.subarray(offset, offset + ZERO_PAGE.byteLength);
    if (Buffer.compare(chunk, ZERO_PAGE.subarray(0, chunk.byteLength)) !== 0) return false;
  }
  return true;
}

/** Returns how long the bytes are without the zeros at their end: 0 when all are zeros. */
export function lengthWithoutZeros(bytes: Uint8Array): number {
  let end = bytes.byteLength;
  for (let step = ZERO_PAGE.byteLength; step >= 1; step /= 16) {
    while (end > 0 && isAllZero(bytes.subarray(Math.max(0, end - step), end))) end = Math.max(0, end - step);
  }
  return end;
}

/** Returns a view of the same memory. Its offsets count from the first of `bytes`. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reads a little-endian u32 without the cost of making a view. Bytes beyond the end count as 0. */
export function u32At(bytes: Uint8Array, offset: number): number {
  const low = (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
  return (low | ((bytes[offset + 2] ?? 0) << 16) | ((bytes[offset + 3] ?? 0) << 24)) >>> 0;
}

/** Writes a whole number from 0 to 2^32 - 1 as a little-endian u32. EINVAL for any other. */
export function setU32(view: DataView, offset: number, value: number): void {
  if (value >>> 0 !== value) {
    throw new NetsealError('EINVAL', `not a whole number from 0 to 2^32 - 1: ${value}`);
  }
  view.setUint32(offset, value, true);
}

/**
 * Writes a whole number from 0 to 2^53 - 1 as a little-endian u64. EINVAL for any other: {@link getU64} would
 * give back another number, or none.
 */
export function setU64(view: DataView, offset: number, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new NetsealError('EINVAL', `not a whole number from 0 to 2^53 - 1: ${value}`);
  }
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** Reads a little-endian u64; undefined when it is 2^53 or more. */
export function getU64(view: DataView, offset: number): number | undefined {
  const value = view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Returns the bytes as lower-case hexadecimal digits. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}

/** Returns the bytes that hexadecimal digits stand for. The caller owns them. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

/**
 * A string with one character a byte. As the key of a map it takes a third of the time that hexadecimal
 * digits take.
 */
export function toByteString(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** The inverse of {@link toByteString}. */
export function fromByteString(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** Returns a string's bytes in UTF-8. The caller owns them. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/**
 * Copies all of `source` into `target`, from `offset` on. The two must not overlap. Either may be shared
 * memory that nothing else changes meanwhile. EBUG when there is no room; then nothing is changed.
 *
 * `TypedArray.set` is slow on shared memory: V8 copies word by word, and byte by byte where the two are not
 * aligned alike. `Buffer.copy` is, too, in some versions of Node. `Buffer.fill` copies as the C library does.
 * Measured by `npm run targets -- copy-bytes`, 256 KiB at a time, on an EPYC, in GB/s:
 *
 *                          Node 24.21                        Node 22.18
 *                 copyBytes    set    Buffer.copy   copyBytes    set    Buffer.copy
 *   aligned alike        21   17.5           16.5          28     21             27
 *   not                  23    3.2            3.2          23    2.9             22
 */
export function copyBytes(source: Uint8Array, target: Uint8Array, offset: number = 0): void {
  const { byteLength } = source;
  if (byteLength > target.byteLength - offset) {
    const room = target.byteLength - offset;
    throw new NetsealError('EBUG', `${byteLength} bytes are copied to where ${room} have room`);
  }
  // A native call costs more than it saves on a few bytes.
  if (byteLength < NATIVE_COPY_BYTES_MIN) target.set(source, offset);
  else Buffer.prototype.fill.call(target, source, offset, offset + byteLength);
}

const NATIVE_COPY_BYTES_MIN = 512;

/**
 * Copies a part of `source` as {@link copyBytes} does, without making a view of it. For calls that are made a
 * million times a second. It checks only that both arrays are long enough.
 */
export function copyRange(
  source: Uint8Array,
  sourceOffset: number,
  target: Uint8Array,
  targetOffset: number,
  lengthBytes: number,
): void {
  if (sourceOffset === 0 && lengthBytes === source.byteLength) copyBytes(source, target, targetOffset);
  else Buffer.prototype.copy.call(source, target, targetOffset, sourceOffset, sourceOffset + lengthBytes);
}

/** Joins the parts in a new array that the caller owns. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    copyBytes(part, joined, offset);
    offset += part.byteLength;
  }
  return joined;
}

/**
 * Frees the memory under `bytes` at once, without waiting for a garbage collection: a worker that makes
 * several short-lived buffers for each unit would otherwise hold tens of MiB of garbage.
 *
 * The caller must own the whole underlying buffer, which is empty afterwards. Small buffers, Node's buffer
 * pool and shared memory are left alone.
 */
export function discard(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < DISCARD_BYTES_MIN || buffer.detached) return;
  // Node marks its own pool as untransferable. The size would not tell: a program may set Buffer.poolSize at
  // any time.
  if (!isMarkedAsUntransferable(buffer)) buffer.transfer(0);
}

const DISCARD_BYTES_MIN = 16 * 1024;
