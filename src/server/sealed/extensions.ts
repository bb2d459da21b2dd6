/**
 * Extensions: what a newer netseal has added to an inode or a head, and this one does not know.
 * `docs/LAYOUT.md`, "Extensions", is the specification. Pure.
 *
 *   varint  count, from 1
 *   -- each, ascending by tag --
 *   varint  tag: the lowest two bits are the class, see below
 *   sized   value
 *
 *   class 0  who does not know it ignores it
 *   class 1  who does not know it may read, and must change nothing
 *   class 2  who does not know it must not read
 *   class 3  invalid
 *
 * An extension that is not known is kept byte for byte when the rest changes. It may name segments, by their
 * ids in its value: the frame lists them then, although no pointer leads there (`pointer.ts`).
 */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';

export interface Extension {
  readonly tag: number;
  readonly value: Uint8Array;
}

/** At least one extension. */
export interface Extensions {
  /** Ascending by tag. */
  readonly items: readonly Extension[];
  /** The segments that the frame lists and that a value names; ascending. */
  readonly segments: readonly Id[];
}

/** The most bytes that all extensions of one inode or head take, with their count. */
export const EXTENSIONS_BYTES_MAX = 4096;

const CLASS_COUNT = 4;
const READ_ONLY = 1;
const REFUSED = 2;
/** The shortest extension: one byte each of tag and length. */
const EXTENSION_BYTES_MIN = 2;

/** Writes extensions. EINVAL for those that {@link decodeExtensions} would refuse, or for none. */
export function encodeExtensions(out: ByteWriter, items: readonly Extension[]): void {
  const before = out.lengthBytes;
  requireArgument(items.length > 0, 'no extensions, although some are announced');
  out.varint(items.length);
  let previous = -1;
  for (const { tag, value } of items) {
    requireArgument(tag > previous, 'extensions must be ascending by tag');
    requireArgument(tag % CLASS_COUNT < REFUSED, `an extension of tag ${tag} is not for this netseal`);
    out.varint(tag);
    out.sized(value);
    previous = tag;
  }
  requireArgument(out.lengthBytes - before <= EXTENSIONS_BYTES_MAX, 'the extensions are too long');
}

/** Reads extensions. Throws EFORMAT, or EUNSUPPORTED for one of class 2. */
export function decodeExtensions(input: ByteReader): readonly Extension[] {
  const start = input.offsetBytes;
  const count = input.varint(Math.floor(input.restBytes / EXTENSION_BYTES_MIN));
  if (count === 0) throw input.error('extensions announced, and none there');
  const items: Extension[] = [];
  let previous = -1;
  for (let at = 0; at < count; at += 1) {
    const tag = input.varint();
    if (tag <= previous) throw input.error('extensions out of order');
    if (tag % CLASS_COUNT > REFUSED) throw input.error(`an extension of the impossible tag ${tag}`);
    if (tag % CLASS_COUNT === REFUSED) throw input.unsupported(`extension ${tag}`);
    items.push({ tag, value: input.sized(EXTENSIONS_BYTES_MAX) });
    previous = tag;
  }
  if (input.offsetBytes - start > EXTENSIONS_BYTES_MAX) throw input.error('the extensions are too long');
  return items;
}

/** Returns an upper bound for the bytes that extensions add to a node. */
export function extensionsBytes({ items, segments }: Extensions): number {
  let bytes = varintBytes(items.length) + ID_BYTES * segments.length;
  for (const { tag, value } of items) {
    bytes += varintBytes(tag) + varintBytes(value.byteLength) + value.byteLength;
  }
  return bytes;
}

/** True when some value has these bytes. */
export function areNamedIn(items: readonly Extension[], id: Id): boolean {
  const bytes = Buffer.from(id, 'hex');
  return items.some(({ value }) => Buffer.from(value.buffer, value.byteOffset, value.length).includes(bytes));
}

/**
 * Returns the first extension that forbids changes by a netseal that does not know it; undefined for none.
 */
export function forbidsChange(items: readonly Extension[] | undefined): Extension | undefined {
  return items?.find(({ tag }) => tag % CLASS_COUNT === READ_ONLY);
}

/** Throws EUNSUPPORTED when an extension {@link forbidsChange}. */
export function requireChangeable(what: string, items: readonly Extension[] | undefined): void {
  const forbids = forbidsChange(items);
  if (forbids === undefined) return;
  throw new NetsealError(
    'EUNSUPPORTED',
    `${what}: only a newer netseal, which knows extension ${forbids.tag}, can change it`,
  );
}
