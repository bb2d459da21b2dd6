/** Pointers: where a sealed record lies, and which version of it. Pure. */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import {
  PACK_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_OVERHEAD_BYTES,
  TAG_BYTES,
} from '../../unit/record-format.ts';
import { areNamedIn, type Extension } from './extensions.ts';

/** The place that a record was sealed for. */
export interface Origin {
  readonly objectId: Id;
  readonly index: number;
}

/** The part of a pack that a unit begins with. The unit's other bytes are zeros. */
export interface PackSlice {
  /** The pack's record is sealed for this object, index 0. */
  readonly packId: Id;
  /** Plain length of the whole pack: 1 byte to 1 MiB. */
  readonly packBytes: number;
  /** Where the part begins, in the plain pack. */
  readonly startBytes: number;
  /** From 1. The part ends within the pack. */
  readonly lengthBytes: number;
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
  /** Given when the record is a pack. Such a pointer has no origin. */
  readonly slice?: PackSlice | undefined;
}

/** A pointer into a pack. */
export interface SlicePointer extends Pointer {
  readonly slice: PackSlice;
}

/** Length of the longest segment. */
export const SEGMENT_BYTES_MAX: number = 2 ** 32 - 1;
/** The most segments that one node names. */
const SEGMENTS_PER_NODE_MAX = 0xffff;

/** True when both pointers name the same bytes; in a pack, the same slice of it. */
export function isSamePointer(left: Pointer, right: Pointer): boolean {
  return isSameRecord(left, right) && isSameSlice(left.slice, right.slice);
}

function isSameSlice(left: PackSlice | undefined, right: PackSlice | undefined): boolean {
  return (
    left?.packId === right?.packId &&
    left?.packBytes === right?.packBytes &&
    left?.startBytes === right?.startBytes &&
    left?.lengthBytes === right?.lengthBytes
  );
}

function isSameRecord(left: Pointer, right: Pointer): boolean {
  return (
    left.segment === right.segment &&
    left.offsetBytes === right.offsetBytes &&
    left.lengthBytes === right.lengthBytes &&
    (left.tag === right.tag || Buffer.compare(left.tag, right.tag) === 0)
  );
}

/** True when both pointers have slices of one pack. */
export function isSamePack(left: SlicePointer, right: SlicePointer): boolean {
  return (
    isSameRecord(left, right) &&
    left.slice.packId === right.slice.packId &&
    left.slice.packBytes === right.slice.packBytes
  );
}

export function isSlicePointer(pointer: Pointer): pointer is SlicePointer {
  return pointer.slice !== undefined;
}

/**
 * Returns a text that names the record of a pointer. It holds the tag: what was kept for one pointer must not
 * be given for another that names the same place.
 */
export function recordKey({ segment, offsetBytes, tag }: Pointer): string {
  return `${segment} ${offsetBytes} ${Buffer.from(tag.buffer, tag.byteOffset, tag.byteLength).toString('latin1')}`;
}

/** Returns how many sealed bytes a unit takes: of a pack its share, rounded up. */
export function storedBytesOf({ lengthBytes, slice }: Pointer): number {
  return slice === undefined ? lengthBytes : Math.ceil((lengthBytes * slice.lengthBytes) / slice.packBytes);
}

/**
 * The segments of a node, each once: those that pointers name, in the order of first use, then those that
 * only extensions name, ascending. For encoding.
 */
export class SegmentTable {
  /** The latest pointer into a pack. The next one into the same pack is written by it. */
  lastSlice: SlicePointer | undefined;
  readonly #numbers = new Map<Id, number>();
  readonly #named = new Set<Id>();
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

  /** Enters segments that extensions name. EINVAL for a segment whose id is in no extension. */
  keepNamed(items: readonly Extension[], segments: readonly Id[]): void {
    for (const segment of segments) {
      requireArgument(areNamedIn(items, segment), `no extension names segment ${segment}`);
      this.#named.add(segment);
    }
  }

  /** Writes the number of segments as a varint, then their ids of 16 bytes. EINVAL for too many. */
  encode(out: ByteWriter): void {
    const only = [...this.#named].filter(segment => !this.#numbers.has(segment)).sort();
    const count = this.#numbers.size + only.length;
    requireArgument(count <= SEGMENTS_PER_NODE_MAX, `a node cannot name ${count} segments`);
    out.varint(count);
    for (const segment of [...this.#numbers.keys(), ...only]) out.rawHex(segment, ID_BYTES);
  }
}

/** The decoded {@link SegmentTable} of a node. */
export class SegmentList {
  /** The latest pointer into a pack. */
  lastSlice: SlicePointer | undefined;
  readonly #ids: readonly Id[];
  readonly #ends: number[] = [];
  readonly #named = new Set<Id>();

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

  /** Returns the segments whose ids the values of extensions have, ascending. */
  namedIn(items: readonly Extension[]): Id[] {
    const named = this.#ids.filter(id => areNamedIn(items, id)).sort();
    for (const id of named) this.#named.add(id);
    return named;
  }

  /** True when pointers name the first segments, and extensions the others, which ascend. */
  get isUsedUp(): boolean {
    const others = this.#ids.slice(this.#ends.length);
    return others.every((id, at) => this.#named.has(id) && (at === 0 || id > (others[at - 1] ?? '')));
  }
}

/** The forms of a pointer: the lowest three bits of its first varint. */
const FORM_OWN = 0;
const FORM_ORIGIN = 1;
const FORM_PACK = 2;
const FORM_SAME_PACK = 3;
const FORM_COUNT = 8;

/**
 * Writes a pointer and enters its segment in `table`. EINVAL for a pointer that {@link decodePointer} would
 * refuse.
 *
 *   varint  eight times the segment's number in the node's table, plus the form
 *   -- forms 0 (the place of the pointer), 1 (an origin), 2 (a pack) --
 *   varint  distance: the offset minus the end of the node's previous pointer of these forms into this
 *           segment (0 for the first), as `encodeSigned` writes it
 *   varint  length
 *   16      tag
 *   -- form 1 --
 *   16      origin's object id
 *   varint  origin's index
 *   -- form 2 --
 *   16      pack id
 *   varint  plain length of the pack
 *   varint  start of the slice
 *   varint  length of the slice
 *   -- form 3 (the pack of the node's previous pointer into a pack); the first varint is 3 --
 *   signed  start of the slice minus the end of the previous pointer's slice
 *   varint  length of the slice
 */
export function encodePointer(out: ByteWriter, pointer: Pointer, table: SegmentTable): void {
  const { origin } = pointer;
  if (!isSlicePointer(pointer)) {
    encodePlace(out, pointer, origin === undefined ? FORM_OWN : FORM_ORIGIN, table);
    if (origin === undefined) return;
    out.rawHex(origin.objectId, ID_BYTES);
    out.varint(origin.index);
    return;
  }
  const last = table.lastSlice;
  const problem = sliceProblem(pointer.slice);
  if (origin !== undefined || problem !== undefined) {
    throw new NetsealError('EINVAL', `an impossible pointer: ${problem ?? 'a pack with an origin'}`);
  }
  table.lastSlice = pointer;
  if (last !== undefined && isSameRecord(last, pointer)) {
    if (!isSamePack(last, pointer)) {
      throw new NetsealError('EINVAL', 'an impossible pointer: its record was another pack just before');
    }
    out.varint(FORM_SAME_PACK);
    encodeSigned(out, pointer.slice.startBytes - endOfSlice(last));
    out.varint(pointer.slice.lengthBytes);
    return;
  }
  encodePlace(out, pointer, FORM_PACK, table);
  out.rawHex(pointer.slice.packId, ID_BYTES);
  out.varint(pointer.slice.packBytes);
  out.varint(pointer.slice.startBytes);
  out.varint(pointer.slice.lengthBytes);
}

/** Writes a pointer to a whole record, as {@link encodePointer} does. EINVAL for one into a pack. */
export function encodeWholePointer(out: ByteWriter, pointer: Pointer, table: SegmentTable): void {
  if (isSlicePointer(pointer)) throw new NetsealError('EINVAL', 'an impossible pointer: a node in a pack');
  encodePointer(out, pointer, table);
}

/** Reads a pointer. EFORMAT when no segment could hold such a record; EUNSUPPORTED for an unknown form. */
export function decodePointer(input: ByteReader, segments: SegmentList): Pointer {
  const word = input.varint(FORM_COUNT * SEGMENTS_PER_NODE_MAX + FORM_COUNT - 1);
  const form = word % FORM_COUNT;
  if (form > FORM_SAME_PACK) {
    throw new NetsealError('EUNSUPPORTED', `a pointer of form ${form}; this netseal knows ${FORM_SAME_PACK}`);
  }
  const number = (word - form) / FORM_COUNT;
  if (form === FORM_SAME_PACK) {
    if (number !== 0) throw input.error('a segment number where none belongs');
    return decodeSamePack(input, segments);
  }
  const place = decodePlace(input, number, segments);
  if (form === FORM_OWN) return place;
  if (form === FORM_ORIGIN) {
    return { ...place, origin: { objectId: input.hex(ID_BYTES), index: input.varint() } };
  }
  if (segments.lastSlice !== undefined && isSameRecord(segments.lastSlice, place)) {
    throw input.error('a pack is named again that need not be');
  }
  const slice = {
    packId: input.hex(ID_BYTES),
    packBytes: input.varint(PACK_BYTES_MAX),
    startBytes: input.varint(PACK_BYTES_MAX),
    lengthBytes: input.varint(PACK_BYTES_MAX),
  };
  return noteSlice(input, segments, { ...place, slice });
}

/** Reads what {@link encodeWholePointer} wrote. EFORMAT also for a pointer into a pack. */
export function decodeWholePointer(input: ByteReader, segments: SegmentList): Pointer {
  const pointer = decodePointer(input, segments);
  if (isSlicePointer(pointer)) throw input.error('a node in a pack');
  return pointer;
}

function decodeSamePack(input: ByteReader, segments: SegmentList): Pointer {
  const last = segments.lastSlice;
  if (last === undefined) throw input.error('no pack was named before');
  const startBytes = endOfSlice(last) + decodeSigned(input, PACK_BYTES_MAX);
  const slice = { ...last.slice, startBytes, lengthBytes: input.varint(PACK_BYTES_MAX) };
  return noteSlice(input, segments, { ...last, slice });
}

function noteSlice(input: ByteReader, segments: SegmentList, pointer: SlicePointer): Pointer {
  const problem = sliceProblem(pointer.slice);
  if (problem !== undefined) throw input.error(problem);
  segments.lastSlice = pointer;
  return pointer;
}

function endOfSlice({ slice }: SlicePointer): number {
  return slice.startBytes + slice.lengthBytes;
}

/** Says what is wrong with a slice; undefined when nothing is. */
function sliceProblem({ packBytes, startBytes, lengthBytes }: PackSlice): string | undefined {
  const areWhole = [packBytes, startBytes, lengthBytes].every(Number.isInteger);
  const isWithin = startBytes >= 0 && lengthBytes >= 1 && startBytes + lengthBytes <= packBytes;
  return areWhole && isWithin && packBytes <= PACK_BYTES_MAX
    ? undefined
    : `${lengthBytes} bytes at ${startBytes} of a pack of ${packBytes}`;
}

function encodePlace(
  out: ByteWriter,
  { segment, offsetBytes, lengthBytes, tag }: Pointer,
  form: number,
  table: SegmentTable,
): void {
  if (!isPossible(offsetBytes, lengthBytes) || tag.byteLength !== TAG_BYTES) {
    throw new NetsealError('EINVAL', `an impossible pointer: ${lengthBytes} bytes at ${offsetBytes}`);
  }
  const number = table.numberOf(segment);
  out.varint(number * FORM_COUNT + form);
  encodeSigned(out, offsetBytes - table.swapEnd(number, offsetBytes + lengthBytes));
  out.varint(lengthBytes);
  out.raw(tag);
}

function decodePlace(input: ByteReader, number: number, segments: SegmentList): Pointer {
  const segment = segments.use(number);
  if (segment === undefined) throw input.error(`no segment of number ${number}, or not yet`);
  const offsetBytes = segments.endOf(number) + decodeSigned(input, SEGMENT_BYTES_MAX);
  const lengthBytes = input.varint(RECORD_BYTES_MAX);
  if (!isPossible(offsetBytes, lengthBytes)) {
    throw input.error(`an impossible record of ${lengthBytes} bytes at ${offsetBytes}`);
  }
  segments.setEnd(number, offsetBytes + lengthBytes);
  return { segment, offsetBytes, lengthBytes, tag: input.raw(TAG_BYTES) };
}

/** Writes 2 n for a number n from 0 on, and -2 n - 1 for one below: a varint. */
function encodeSigned(out: ByteWriter, value: number): void {
  out.varint(value >= 0 ? 2 * value : -2 * value - 1);
}

/** Reads what {@link encodeSigned} wrote. EFORMAT for a number beyond `max`, either way. */
function decodeSigned(input: ByteReader, max: number): number {
  const folded = input.varint(2 * max);
  return folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2;
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

/** The shortest pointer to a whole record: number 1, distance 1, length 1, tag 16; no origin. */
export const WHOLE_POINTER_BYTES_MIN: number = 3 + TAG_BYTES;
/** The shortest pointer: form 3, a byte each for form, start and length. */
export const POINTER_BYTES_MIN = 3;

/** The longest plain lengths within a pack, as varints. */
const PACK_VARINT_BYTES: number = varintBytes(2 * PACK_BYTES_MAX);

/**
 * Returns an upper bound for the bytes that a pointer adds to a node, with its segment's id in the table.
 *
 * @param before the previous pointer into a pack, if the node has one.
 */
export function pointerBytes(pointer: Pointer, before?: Pointer): number {
  const { slice, origin } = pointer;
  if (slice !== undefined && before !== undefined && isSameRecord(before, pointer)) {
    return 1 + 2 * PACK_VARINT_BYTES;
  }
  // Three bytes for the number, five for the distance.
  const placeBytes = ID_BYTES + 3 + 5 + varintBytes(pointer.lengthBytes) + TAG_BYTES;
  const originBytes = origin === undefined ? 0 : ID_BYTES + varintBytes(origin.index);
  return placeBytes + originBytes + (slice === undefined ? 0 : ID_BYTES + 3 * PACK_VARINT_BYTES);
}
