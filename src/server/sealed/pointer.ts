/** Pointers: where a sealed record lies, and which version of it. Pure. */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import { RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, TAG_BYTES } from '../../unit/record-format.ts';

/** The place that a record was sealed for. */
export interface Origin {
  readonly objectId: Id;
  readonly index: number;
}

export interface Pointer {
  readonly segment: Id;
  readonly offsetBytes: number;
  /** Length of the sealed record. */
  readonly lengthBytes: number;
  /** 16 bytes: the record's authentication tag. */
  readonly tag: Uint8Array;
  /** Given only where it differs from the place of the pointer: in clones, stashes and conflict variants. */
  readonly origin?: Origin | undefined;
}

/** Length of the longest segment. */
export const SEGMENT_BYTES_MAX: number = 2 ** 32 - 1;
/** The most segments that one node names. */
const SEGMENTS_PER_NODE_MAX = 0xffff;

/** True when both pointers name the same bytes. */
export function isSamePointer(left: Pointer, right: Pointer): boolean {
  return (
    left.segment === right.segment &&
    left.offsetBytes === right.offsetBytes &&
    left.lengthBytes === right.lengthBytes &&
    Buffer.compare(left.tag, right.tag) === 0
  );
}

/** The segments that a node's pointers name, each once, in the order of first use. For encoding. */
export class SegmentTable {
  readonly #numbers = new Map<Id, number>();
  /** For each segment, by its number: where the latest pointer into it ends. */
  readonly #ends: number[] = [];

  numberOf(segment: Id): number {
    const known = this.#numbers.get(segment);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    if (number === SEGMENTS_PER_NODE_MAX) {
      throw new NetsealError('EINVAL', `a node cannot name more than ${SEGMENTS_PER_NODE_MAX} segments`);
    }
    this.#numbers.set(segment, number);
    this.#ends.push(0);
    return number;
  }

  /** Notes where the latest pointer into a segment ends. Returns where the one before it ended. */
  swapEnd(number: number, endBytes: number): number {
    const before = this.#ends[number] ?? 0;
    this.#ends[number] = endBytes;
    return before;
  }

  /** Writes the number of segments as a varint, then their ids of 16 bytes. */
  encode(out: ByteWriter): void {
    out.varint(this.#numbers.size);
    for (const segment of this.#numbers.keys()) out.rawHex(segment, ID_BYTES);
  }
}

/** The decoded {@link SegmentTable} of a node. */
export class SegmentList {
  readonly #ids: readonly Id[];
  readonly #ends: number[] = [];

  private constructor(ids: readonly Id[]) {
    this.#ids = ids;
  }

  /** Reads a table. EFORMAT when it names a segment twice. */
  static decode(input: ByteReader): SegmentList {
    const count = input.varint(Math.min(SEGMENTS_PER_NODE_MAX, Math.floor(input.restBytes / ID_BYTES)));
    const ids = Array.from({ length: count }, () => input.hex(ID_BYTES));
    if (new Set(ids).size !== count) throw input.error('a segment is listed twice');
    return new SegmentList(ids);
  }

  /**
   * Returns the segment of a number. Undefined when there is none, or when an earlier segment has not been
   * used yet.
   */
  use(number: number): Id | undefined {
    const id = this.#ids[number];
    if (id === undefined || number > this.#ends.length) return undefined;
    if (number === this.#ends.length) this.#ends.push(0);
    return id;
  }

  endOf(number: number): number {
    return this.#ends[number] ?? 0;
  }

  setEnd(number: number, endBytes: number): void {
    this.#ends[number] = endBytes;
  }

  get isUsedUp(): boolean {
    return this.#ends.length === this.#ids.length;
  }
}

/**
 * Writes a pointer and enters its segment in `table`. EINVAL for a pointer that {@link decodePointer} would
 * refuse.
 *
 *   varint  twice the segment's number in the node's table, plus one when an origin follows
 *   varint  distance d: the offset minus the end of the node's previous pointer into this segment (0 for the
 *           first). Written as 2d when d is 0 or more, as -2d - 1 when it is negative
 *   varint  length
 *   16      tag
 *   16      origin's object id           (if so)
 *   varint  origin's index               (if so)
 */
export function encodePointer(out: ByteWriter, pointer: Pointer, table: SegmentTable): void {
  const { origin, offsetBytes, lengthBytes, tag } = pointer;
  if (!isPossible(offsetBytes, lengthBytes) || tag.byteLength !== TAG_BYTES) {
    throw new NetsealError('EINVAL', `an impossible pointer: ${lengthBytes} bytes at ${offsetBytes}`);
  }
  const number = table.numberOf(pointer.segment);
  out.varint(number * 2 + (origin === undefined ? 0 : 1));
  const distance = offsetBytes - table.swapEnd(number, offsetBytes + lengthBytes);
  out.varint(distance >= 0 ? 2 * distance : -2 * distance - 1);
  out.varint(lengthBytes);
  out.raw(tag);
  if (origin !== undefined) {
    out.rawHex(origin.objectId, ID_BYTES);
    out.varint(origin.index);
  }
}

/** Reads a pointer. EFORMAT when no segment could hold such a record. */
export function decodePointer(input: ByteReader, segments: SegmentList): Pointer {
  const word = input.varint(2 * SEGMENTS_PER_NODE_MAX + 1);
  const number = word >> 1;
  const segment = segments.use(number);
  if (segment === undefined) throw input.error(`no segment of number ${number}, or not yet`);
  const folded = input.varint(2 * SEGMENT_BYTES_MAX);
  const distance = folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2;
  const offsetBytes = segments.endOf(number) + distance;
  const lengthBytes = input.varint(RECORD_BYTES_MAX);
  if (!isPossible(offsetBytes, lengthBytes)) {
    throw input.error(`an impossible record of ${lengthBytes} bytes at ${offsetBytes}`);
  }
  segments.setEnd(number, offsetBytes + lengthBytes);
  const tag = input.raw(TAG_BYTES);
  if ((word & 1) === 0) return { segment, offsetBytes, lengthBytes, tag };
  const origin = { objectId: input.hex(ID_BYTES), index: input.varint() };
  return { segment, offsetBytes, lengthBytes, tag, origin };
}

function isPossible(offsetBytes: number, lengthBytes: number): boolean {
  return (
    Number.isInteger(offsetBytes) &&
    Number.isInteger(lengthBytes) &&
    offsetBytes >= 0 &&
    lengthBytes >= RECORD_OVERHEAD_BYTES &&
    lengthBytes <= RECORD_BYTES_MAX &&
    offsetBytes + lengthBytes <= SEGMENT_BYTES_MAX
  );
}

/** The shortest pointer: number 1, distance 1, length 1, tag 16; no origin. */
export const POINTER_BYTES_MIN: number = 3 + TAG_BYTES;

/** Returns an upper bound for the bytes that a pointer adds to a node, with its segment's id in the table. */
export function pointerBytes(pointer: Pointer): number {
  const originBytes = pointer.origin === undefined ? 0 : ID_BYTES + varintBytes(pointer.origin.index);
  // Three bytes for the number, five for the distance.
  return ID_BYTES + 3 + 5 + varintBytes(pointer.lengthBytes) + TAG_BYTES + originBytes;
}
