/**
 * The bytes of a sealed record. `docs/FORMAT.md`, "Sealed record", is the specification, and the tables here
 * are the same as there. This file does arithmetic and field access only; nothing in it encrypts. Integers
 * are little-endian.
 */
import { shownValue } from '../base/arguments.ts';
import { setU64, viewOf } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB, UNIT_BYTES_MAX, unitSizeToLog2 } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { PADDING_BYTES_END, paddedBytes, type RecordPadding } from './padding.ts';

/** "nSrc" */
export const RECORD_MAGIC = 0x6372536e;
export const RECORD_VERSION = 1;

/** Kinds of record. Their numbers are stored: add new ones at the end, and never reuse one. */
export const RECORD_KINDS = {
  unit: 1,
  streamUnit: 2,
  mapPage: 3,
  directoryLeaf: 4,
  inode: 5,
  segmentFooter: 6,
  journalRecord: 7,
  cacheIndex: 8,
  gcCandidates: 9,
  head: 10,
  pack: 11,
} as const;
export type RecordKind = keyof typeof RECORD_KINDS;

/** Throws EINVAL unless `kind` is one of {@link RECORD_KINDS}. */
export function checkKind(kind: string): asserts kind is RecordKind {
  requireArgument(Object.hasOwn(RECORD_KINDS, kind), `unknown kind of record ${shownValue(kind)}`);
}

/** Cipher suites. Their numbers are stored. */
export const SUITE_IDS = { 'xaes-256-gcm': 1, 'xchacha20-poly1305': 2 } as const;
export type SuiteName = keyof typeof SUITE_IDS;
export const SUITE_DEFAULT: SuiteName = 'xaes-256-gcm';

/** Reads the name of a suite. Throws EINVAL for any other text. */
export function parseSuite(text: string): SuiteName {
  requireArgument(
    Object.hasOwn(SUITE_IDS, text),
    `unknown cipher ${shownValue(text)}: use ${Object.keys(SUITE_IDS).join(' or ')}`,
  );
  return text as SuiteName;
}

/** Codecs. Their numbers are stored inside the ciphertext. */
export const CODEC_IDS = { stored: 0, zstd: 1, deflate: 2 } as const;
export type CodecName = keyof typeof CODEC_IDS;

/** Header flag: this record is the last of its stream. Only stream units have it. */
export const FLAG_LAST = 0x01;

export const KIND_NAMES: ReadonlyMap<number, RecordKind> = namesById(RECORD_KINDS);
export const SUITE_NAMES: ReadonlyMap<number, SuiteName> = namesById(SUITE_IDS);
export const CODEC_NAMES: ReadonlyMap<number, CodecName> = namesById(CODEC_IDS);

function namesById<Name extends string>(ids: Readonly<Record<Name, number>>): ReadonlyMap<number, Name> {
  return new Map((Object.keys(ids) as Name[]).map(name => [ids[name], name]));
}

export const HEADER_BYTES = 16;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;
export const INNER_HEADER_BYTES = 16;
export const ASSOCIATED_BYTES = 64;
/** The bytes that sealing adds to a padded payload: 72. */
export const RECORD_OVERHEAD_BYTES: number = HEADER_BYTES + NONCE_BYTES + INNER_HEADER_BYTES + TAG_BYTES;
/** The length of the longest record. */
export const RECORD_BYTES_MAX: number = UNIT_BYTES_MAX + RECORD_OVERHEAD_BYTES;

/** The longest plain content of a pack, 1 MiB. The shortest is 1 byte. */
export const PACK_BYTES_MAX: number = MIB;

/** Returns the longest plain content of a record: the unit size, if it has one. */
export function plainBytesMaxOf(kind: RecordKind, unitSizeBytes: number): number {
  if (kind === 'pack') return PACK_BYTES_MAX;
  return unitSizeBytes === 0 ? UNIT_BYTES_MAX : unitSizeBytes;
}

/** Returns the length of the record for a payload of `payloadBytes`, with its padding. */
export function payloadToSealedBytes(payloadBytes: number, padding: RecordPadding): number {
  return RECORD_OVERHEAD_BYTES + paddedBytes(payloadBytes, padding);
}

/** Returns the authentication tag of a whole record: a view of its last 16 bytes. */
export function recordTag(record: Uint8Array): Uint8Array {
  return record.subarray(record.byteLength - TAG_BYTES);
}

/**
 * The header, which is stored in the clear, and what follows it in a record.
 *
 *   offset  size  field
 *        0     4  magic "nSrc"
 *        4     1  version, 1
 *        5     1  kind
 *        6     1  suite
 *        7     1  flags; unknown bits are zero
 *        8     4  epoch, from 1
 *       12     4  sealedLength: the length of the whole record, from header to tag
 *       16    24  nonce              (here the header has ended)
 *       40     n  ciphertext         (inner header, payload, zero padding)
 *     40+n    16  tag
 */
export interface RecordHeader {
  readonly kind: number;
  readonly suite: SuiteName;
  readonly flags: number;
  readonly epoch: number;
  readonly sealedLengthBytes: number;
}

/**
 * Writes a header into the first 16 bytes of `out`. Throws EINVAL for flags that {@link decodeHeader} would
 * refuse.
 */
export function encodeHeader(out: DataView, kind: RecordKind, header: Omit<RecordHeader, 'kind'>): void {
  requireArgument(
    areFlagsKnown(RECORD_KINDS[kind], header.flags),
    `${kind} cannot have flags 0x${header.flags.toString(16)}`,
  );
  out.setUint32(0, RECORD_MAGIC, true);
  out.setUint8(4, RECORD_VERSION);
  out.setUint8(5, RECORD_KINDS[kind]);
  out.setUint8(6, SUITE_IDS[header.suite]);
  out.setUint8(7, header.flags);
  out.setUint32(8, header.epoch, true);
  out.setUint32(12, header.sealedLengthBytes, true);
}

/**
 * Reads the header at the start of `record` and checks that the whole record is there. Other bytes may follow
 * it.
 *
 * Throws what {@link peekHeader} throws, and ETRUNCATED when `record` is shorter than the header says.
 */
export function decodeHeader(record: Uint8Array): RecordHeader {
  const header = peekHeader(record);
  if (header.sealedLengthBytes > record.byteLength) {
    throw new NetsealError(
      'ETRUNCATED',
      `sealed record: ${record.byteLength} of ${header.sealedLengthBytes} bytes`,
    );
  }
  return header;
}

/**
 * Reads the header from the first 16 bytes of a record; the rest need not be there yet. Readers learn from it
 * how long the record is. Nothing that it returns is authentic.
 *
 * Throws EFORMAT (not a record, or an impossible length), EUNSUPPORTED (a newer version, an unknown suite or
 * flag) or ETRUNCATED (fewer than 16 bytes).
 */
export function peekHeader(record: Uint8Array): RecordHeader {
  if (record.byteLength < HEADER_BYTES) {
    throw new NetsealError('ETRUNCATED', `sealed record: ${record.byteLength} bytes, less than its header`);
  }
  const view = viewOf(record);
  if (view.getUint32(0, true) !== RECORD_MAGIC) {
    throw new NetsealError('EFORMAT', 'not a sealed record: wrong magic');
  }
  const version = view.getUint8(4);
  if (version !== RECORD_VERSION) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `sealed record of version ${version}; this netseal knows ${RECORD_VERSION}`,
    );
  }
  const kind = view.getUint8(5);
  const flags = view.getUint8(7);
  if (!areFlagsKnown(kind, flags)) {
    // A format with more flags has another version, so here a flag is damage.
    throw new NetsealError('EFORMAT', `sealed record with impossible flags 0x${flags.toString(16)}: damaged`);
  }
  const sealedLengthBytes = view.getUint32(12, true);
  if (sealedLengthBytes < RECORD_OVERHEAD_BYTES || sealedLengthBytes > RECORD_BYTES_MAX) {
    throw new NetsealError('EFORMAT', `sealed record of impossible length ${sealedLengthBytes}`);
  }
  return {
    kind,
    suite: suiteOfId(view.getUint8(6)),
    flags,
    epoch: view.getUint32(8, true),
    sealedLengthBytes,
  };
}

function areFlagsKnown(kind: number, flags: number): boolean {
  const known = kind === RECORD_KINDS.streamUnit ? FLAG_LAST : 0;
  return (flags & ~known) === 0;
}

/** Returns the suite that has this stored number. Throws EUNSUPPORTED when there is none. */
export function suiteOfId(id: number): SuiteName {
  const name = SUITE_NAMES.get(id);
  if (name === undefined) throw new NetsealError('EUNSUPPORTED', `unknown cipher suite ${id}`);
  return name;
}

/** Where a record belongs within its object. A record opens only with the place that it was sealed with. */
export interface RecordPlace {
  /** The unit index, page number or other number within the object: a safe integer from 0. */
  readonly index: number;
  /** log2 of the unit size for units and stream units, 12 to 24; 0 for other kinds. */
  readonly unitSizeLog2: number;
}

/** Throws EINVAL unless the place can be written into the associated data exactly. */
export function checkPlace(place: RecordPlace): void {
  requireArgument(
    Number.isSafeInteger(place.index) && place.index >= 0,
    `index must be an integer from 0 to 2^53 - 1, not ${place.index}`,
  );
  if (place.unitSizeLog2 !== 0) unitSizeToLog2(2 ** place.unitSizeLog2);
}

/**
 * Writes the associated data into `out` (64 bytes). The header is copied from the first 16 bytes of `record`.
 *
 *   offset  size  field
 *        0    16  header
 *       16    16  volume id
 *       32    16  object id
 *       48     8  index
 *       56     1  log2 unit size
 *       57     7  zero
 */
export function encodeAssociated(
  out: DataView,
  record: Uint8Array,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  place: RecordPlace,
): void {
  const bytes = new Uint8Array(out.buffer, out.byteOffset, ASSOCIATED_BYTES);
  bytes.set(record.subarray(0, HEADER_BYTES), 0);
  bytes.set(volumeId, HEADER_BYTES);
  bytes.set(objectId, HEADER_BYTES + ID_BYTES);
  setU64(out, 48, place.index);
  bytes.fill(0, 56);
  out.setUint8(56, place.unitSizeLog2);
}

/**
 * The inner header: the first 16 bytes of the plaintext. The payload and zero padding follow it.
 *
 *   offset  size  field
 *        0     1  codec
 *        1     3  zero
 *        4     4  plainLength
 *        8     4  payloadLength
 *       12     4  zero
 */
export interface InnerHeader {
  readonly codec: CodecName;
  readonly plainBytes: number;
  readonly payloadBytes: number;
}

/** Writes an inner header into the first 16 bytes of `out`. */
export function encodeInnerHeader(out: DataView, inner: InnerHeader): void {
  out.setUint32(0, CODEC_IDS[inner.codec], true);
  out.setUint32(4, inner.plainBytes, true);
  out.setUint32(8, inner.payloadBytes, true);
  out.setUint32(12, 0, true);
}

/**
 * Reads the inner header of an authenticated plaintext. Checks its lengths against the plaintext's and
 * `plainBytesMax`.
 *
 * Throws EUNSUPPORTED (unknown codec) or EFORMAT. As the plaintext is authentic, whoever sealed such a record
 * had the key.
 */
export function decodeInnerHeader(plaintext: Uint8Array, plainBytesMax: number): InnerHeader {
  const view = viewOf(plaintext);
  const codecId = view.getUint8(0);
  const codec = CODEC_NAMES.get(codecId);
  if (codec === undefined)
    throw new NetsealError('EUNSUPPORTED', `sealed record with unknown codec ${codecId}`);
  const plainBytes = view.getUint32(4, true);
  const payloadBytes = view.getUint32(8, true);
  const haveBytes = plaintext.byteLength - INNER_HEADER_BYTES;
  if ((view.getUint32(0, true) | view.getUint32(12, true)) >>> 0 !== codecId) {
    throw new NetsealError('EFORMAT', 'inner header: reserved bytes are not zero');
  }
  if (plainBytes > plainBytesMax) {
    throw new NetsealError('EFORMAT', `inner header: plain length ${plainBytes} exceeds ${plainBytesMax}`);
  }
  if (payloadBytes > haveBytes || haveBytes - payloadBytes >= PADDING_BYTES_END) {
    throw new NetsealError('EFORMAT', `inner header: payload of ${payloadBytes} in ${haveBytes} bytes`);
  }
  if (codec === 'stored' ? payloadBytes !== plainBytes : payloadBytes >= plainBytes) {
    throw new NetsealError(
      'EFORMAT',
      `inner header: ${codec} payload of ${payloadBytes} for ${plainBytes} bytes`,
    );
  }
  return { codec, plainBytes, payloadBytes };
}
