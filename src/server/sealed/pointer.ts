/** Where a sealed record lies, and which version of it is meant. Pure. */
import type { ByteReader, ByteWriter } from '../../base/coder.ts';
import { ID_BYTES } from '../../keys/tree.ts';
import { RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, TAG_BYTES } from '../../unit/record-format.ts';
import type { Id } from './ids.ts';

/** Under which place a record was sealed. */
export interface Origin {
  readonly objectId: Id;
  readonly index: number;
}

export interface Pointer {
  readonly segment: Id;
  readonly offsetBytes: number;
  /** Of the sealed record. */
  readonly lengthBytes: number;
  /** 16 bytes: the record's authentication tag. */
  readonly tag: Uint8Array;
  /** Only where it differs from where the pointer stands: clones, stashes, conflict variants. */
  readonly origin?: Origin | undefined;
}

/** No segment is longer. */
export const SEGMENT_BYTES_MAX: number = 2 ** 32 - 1;
/** How many segments one node may name. */
const SEGMENTS_PER_NODE_MAX = 0xffff;

/** True when both name the same bytes. */
export function isSamePointer(left: Pointer, right: Pointer): boolean {
  return (
    left.segment === right.segment &&
    left.offsetBytes === right.offsetBytes &&
    left.lengthBytes === right.lengthBytes &&
    Buffer.compare(left.tag, right.tag) === 0
  );
}

/** The segments that the pointers of one node name, each once. */
export class SegmentTable {
  readonly #numbers = new Map<Id, number>();

  numberOf(segment: Id): number {
    const known = this.#numbers.get(segment);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(segment, number);
    return number;
  }

  encode(out: ByteWriter): void {
    out.varint(this.#numbers.size);
    for (const segment of this.#numbers.keys()) out.rawHex(segment);
  }

  static decode(input: ByteReader): readonly Id[] {
    const count = input.varint(Math.min(SEGMENTS_PER_NODE_MAX, Math.floor(input.restBytes / ID_BYTES)));
    return Array.from({ length: count }, () => input.hex(ID_BYTES));
  }
}

/**
 * Writes a pointer; its segment goes into `table`.
 *
 *   varint  segment: its number in the node's table, times two; plus one when an origin follows
 *   varint  offset
 *   varint  length
 *   16      tag
 *   16      origin's object id           (if so)
 *   varint  origin's index               (if so)
 */
export function encodePointer(out: ByteWriter, pointer: Pointer, table: SegmentTable): void {
  const { origin } = pointer;
  out.varint(table.numberOf(pointer.segment) * 2 + (origin === undefined ? 0 : 1));
  out.varint(pointer.offsetBytes);
  out.varint(pointer.lengthBytes);
  out.raw(pointer.tag);
  if (origin !== undefined) {
    out.rawHex(origin.objectId);
    out.varint(origin.index);
  }
}

/** EFORMAT for a pointer that no segment could satisfy. */
export function decodePointer(input: ByteReader, segments: readonly Id[]): Pointer {
  const word = input.varint(2 * SEGMENTS_PER_NODE_MAX + 1);
  const segment = segments[word >> 1];
  if (segment === undefined) throw input.error(`no segment of number ${word >> 1}`);
  const offsetBytes = input.varint(SEGMENT_BYTES_MAX);
  const lengthBytes = input.varint(RECORD_BYTES_MAX);
  if (lengthBytes < RECORD_OVERHEAD_BYTES || offsetBytes + lengthBytes > SEGMENT_BYTES_MAX) {
    throw input.error(`an impossible record of ${lengthBytes} bytes at ${offsetBytes}`);
  }
  const tag = input.raw(TAG_BYTES);
  if ((word & 1) === 0) return { segment, offsetBytes, lengthBytes, tag };
  const origin = { objectId: input.hex(ID_BYTES), index: input.varint() };
  return { segment, offsetBytes, lengthBytes, tag, origin };
}
