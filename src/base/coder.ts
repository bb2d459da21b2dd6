/**
 * Reads and writes small structures: bytes, little-endian integers, variable-length integers. Pure.
 *
 * A varint is a number from 0 to 2^53 - 1 in base 128. The lowest seven bits come first. Every byte but the
 * last has its top bit set. A varint takes the fewest bytes that hold its number; a longer one is refused.
 */
import { viewOf } from './bytes.ts';
import { NetsealError, requireArgument } from './errors.ts';

const START_BYTES = 256;
/** The length of 2^53 - 1 as a varint. */
const VARINT_BYTES_MAX = 8;

/** Returns how many bytes {@link ByteWriter.varint} writes for `value`. */
export function varintBytes(value: number): number {
  let count = 1;
  for (let rest = value; rest >= 0x80; rest /= 0x80) count += 1;
  return count;
}

/** Writes values one after another, into memory of its own that grows as needed. */
const UPPER_CASE = /[A-F]/;

export class ByteWriter {
  #bytes: Buffer<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  constructor(startBytes: number = START_BYTES) {
    this.#bytes = allocate(startBytes);
    this.#view = viewOf(this.#bytes);
  }

  get lengthBytes(): number {
    return this.#length;
  }

  /** Everything written so far: a view that is valid until the next write. */
  get written(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#bytes.buffer, 0, this.#length);
  }

  u8(value: number): void {
    this.#grow(1);
    this.#bytes[this.#length] = value;
    this.#length += 1;
  }

  u32(value: number): void {
    this.#grow(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  i64(value: bigint): void {
    this.#grow(8);
    this.#view.setBigInt64(this.#length, value, true);
    this.#length += 8;
  }

  /** Writes a varint. EINVAL unless `value` is a safe integer and at least 0. */
  varint(value: number): void {
    // Not requireArgument: it would build the message each time.
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new NetsealError('EINVAL', `not a length or count: ${value}`);
    }
    this.#grow(VARINT_BYTES_MAX);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length] = (rest % 0x80) | 0x80;
      this.#length += 1;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length] = rest;
    this.#length += 1;
  }

  /** Writes the bytes without their length: the reader must know it. */
  raw(bytes: Uint8Array): void {
    this.#grow(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  /** Writes the length as a varint, then the bytes. */
  sized(bytes: Uint8Array): void {
    this.varint(bytes.byteLength);
    this.raw(bytes);
  }

  /**
   * Writes a byte string (one character a byte) from its character `start` on, without its length. EINVAL for
   * a character above 255.
   */
  rawLatin1(text: string, start: number = 0): void {
    this.#grow(text.length - start);
    for (let at = start; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code > 0xff) throw new NetsealError('EINVAL', 'a byte string has a character above 255');
      this.#bytes[this.#length + at - start] = code;
    }
    this.#length += text.length - start;
  }

  /** Writes the length of a byte string as a varint, then the string. */
  sizedLatin1(text: string): void {
    this.varint(text.length);
    this.rawLatin1(text);
  }

  /**
   * Writes the `lengthBytes` bytes that `hex` stands for. EINVAL unless these are exactly so many digits in
   * lower case. Upper case is refused because a decoder gives back lower case.
   */
  rawHex(hex: string, lengthBytes: number): void {
    this.#grow(lengthBytes);
    const isWhole =
      hex.length === 2 * lengthBytes &&
      this.#bytes.write(hex, this.#length, lengthBytes, 'hex') === lengthBytes;
    requireArgument(isWhole && !UPPER_CASE.test(hex), 'not lower-case hexadecimal of the right length');
    this.#length += lengthBytes;
  }

  #grow(moreBytes: number): void {
    const needed = this.#length + moreBytes;
    if (needed <= this.#bytes.byteLength) return;
    const larger = allocate(Math.max(needed, 2 * this.#bytes.byteLength));
    larger.set(this.written);
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

/**
 * Allocates a Buffer, which can read and write hexadecimal. Never from Node's pool: no other buffer shares
 * its memory.
 */
function allocate(lengthBytes: number): Buffer<ArrayBuffer> {
  return Buffer.from(new ArrayBuffer(lengthBytes));
}

/**
 * Reads values in the order in which they were written. Every method throws EFORMAT when the bytes are not
 * what they should be.
 */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #what: string;
  #offset = 0;

  /**
   * @param bytes not copied: they must not change while they are read.
   * @param what names the structure in messages, such as `inode`.
   */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = viewOf(bytes);
    this.#what = what;
  }

  get offsetBytes(): number {
    return this.#offset;
  }

  get restBytes(): number {
    return this.#bytes.byteLength - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  /**
   * @param max larger values are EFORMAT, so that a forged count cannot make the caller allocate too much.
   */
  varint(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    let scale = 1;
    for (let count = 1; ; count += 1) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && count > 1) throw this.error('a number is longer than it needs to be');
        break;
      }
      if (count === VARINT_BYTES_MAX) throw this.error('a number is too large');
      scale *= 0x80;
    }
    if (value > max) throw this.error(`${value} where at most ${max} is allowed`);
    return value;
  }

  /** Returns a copy of the next `lengthBytes` bytes. */
  raw(lengthBytes: number): Uint8Array<ArrayBuffer> {
    const offset = this.#take(lengthBytes);
    // Not slice, which for a Buffer is a view.
    return new Uint8Array(this.#bytes.subarray(offset, offset + lengthBytes));
  }

  /** Returns a copy of the bytes that {@link ByteWriter.sized} wrote. */
  sized(maxBytes: number): Uint8Array<ArrayBuffer> {
    return this.raw(this.varint(maxBytes));
  }

  latin1(lengthBytes: number): string {
    const offset = this.#take(lengthBytes);
    return this.#bytes.toString('latin1', offset, offset + lengthBytes);
  }

  sizedLatin1(maxBytes: number): string {
    return this.latin1(this.varint(maxBytes));
  }

  hex(lengthBytes: number): string {
    const offset = this.#take(lengthBytes);
    return this.#bytes.toString('hex', offset, offset + lengthBytes);
  }

  /** Throws EFORMAT unless all bytes were read. */
  end(): void {
    if (this.restBytes !== 0) throw this.error(`${this.restBytes} bytes too many`);
  }

  error(problem: string): NetsealError {
    return new NetsealError('EFORMAT', `${this.#what}: ${problem} (at byte ${this.#offset})`);
  }

  /** Returns EUNSUPPORTED for bytes that a newer netseal may write, and this one does not know. */
  unsupported(feature: string): NetsealError {
    return new NetsealError(
      'EUNSUPPORTED',
      `${this.#what}: ${feature} is not known to this netseal: use a newer one`,
    );
  }

  #take(lengthBytes: number): number {
    const offset = this.#offset;
    if (lengthBytes > this.restBytes) throw this.error(`${lengthBytes} bytes wanted, ${this.restBytes} left`);
    this.#offset += lengthBytes;
    return offset;
  }
}
