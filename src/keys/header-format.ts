/**
 * The bytes of the volume header: encoding and decoding, without cryptography. `docs/FORMAT.md`, "Volume
 * header", is the specification. Integers are little-endian.
 *
 *   offset  size  field
 *        0     4  magic "nShd"
 *        4     1  version, 1
 *        5     1  slot count S, 1 to 16
 *        6     2  older epoch count E, 0 to 255
 *        8     4  flags: bit 0 for test randomness; the rest 0
 *       12     4  total length, MAC included
 *       16     8  generation, 1 to 2^53 - 1
 *       24    16  volume id
 *       40     4  newest epoch, 1 to 2^32 - 1
 *       44     4  private part length P: 48 plus a multiple of 256, 304 to 10,032
 *       48    32  commitment to the newest epoch's key
 *       80     -  S slots, each 24 to 1,536 bytes (slot-format.ts)
 *        -   116  E older epochs, ascending: number 4, commitment 32, wrap salt 32, wrapped key 32, tag 16
 *        -     P  private part: salt 32, ciphertext, tag 16
 *        -    32  HMAC-SHA256 over everything before it
 */
import { requireBytes } from '../base/arguments.ts';
import { concatBytes, getU64, setU32, setU64, toHex, viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { ARGON2_WORK_KIB_MAX, argon2WorkKiB } from './argon2.ts';
import { EPOCHS_MAX } from './keyring.ts';
import { decodeSlot, type Slot } from './slot-format.ts';
import { KEY_BYTES } from './tree.ts';
import { WRAP_SALT_BYTES, WRAP_TAG_BYTES } from './wrap.ts';

export const HEADER_VERSION = 1;
/** The flag of headers that were made with test randomness. */
export const FLAG_TEST_RANDOMNESS = 1;
export const SLOTS_MAX = 16;
/** The length that no header exceeds. A header at all its other limits is shorter. */
export const HEADER_BYTES_MAX: number = 64 * 1024;
/** The first bytes of a header, enough to tell its length. */
export const HEADER_PREFIX_BYTES = 16;
export const MAC_BYTES = 32;
/** The plaintext of the private part is padded to a multiple of this. */
export const PRIVATE_GRANULE_BYTES = 256;
export const PRIVATE_PLAIN_BYTES_MAX: number = 39 * PRIVATE_GRANULE_BYTES;

const MAGIC = Uint8Array.of(0x6e, 0x53, 0x68, 0x64);
const FIXED_BYTES = 80;
const OLDER_EPOCH_BYTES = 116;
const PRIVATE_OVERHEAD_BYTES: number = WRAP_SALT_BYTES + WRAP_TAG_BYTES;

export interface OlderEpoch {
  readonly epoch: number;
  readonly commitment: Uint8Array<ArrayBuffer>;
  readonly salt: Uint8Array<ArrayBuffer>;
  /** The epoch's key, wrapped under the newest epoch's. */
  readonly sealed: Uint8Array<ArrayBuffer>;
}

/** The fields of a header, without its lengths and its MAC. */
export interface HeaderFields {
  readonly flags: number;
  readonly generation: number;
  readonly volumeId: Uint8Array<ArrayBuffer>;
  readonly epoch: number;
  readonly epochCommitment: Uint8Array<ArrayBuffer>;
  readonly slots: readonly Slot[];
  readonly olderEpochs: readonly OlderEpoch[];
  readonly privatePart: { readonly salt: Uint8Array<ArrayBuffer>; readonly sealed: Uint8Array<ArrayBuffer> };
}

function malformed(message: string): NetsealError {
  return new NetsealError('EFORMAT', `volume header: ${message}`);
}

/**
 * Returns the header's bytes, which the caller owns. The MAC at their end is left zero. EINVAL for numbers
 * that do not fit. What `decodeHeader` refuses besides is not checked here: `sealHeader` reads it back.
 */
export function encodeHeader(fields: HeaderFields): Uint8Array<ArrayBuffer> {
  const { privatePart } = fields;
  const fixed = new Uint8Array(FIXED_BYTES);
  const bytes = concatBytes(
    fixed,
    ...fields.slots.map(slot => slot.bytes),
    ...fields.olderEpochs.map(encodeOlderEpoch),
    privatePart.salt,
    privatePart.sealed,
    new Uint8Array(MAC_BYTES),
  );
  const view = viewOf(bytes);
  bytes.set(MAGIC, 0);
  bytes[4] = HEADER_VERSION;
  bytes[5] = fields.slots.length;
  view.setUint16(6, fields.olderEpochs.length, true);
  setU32(view, 8, fields.flags);
  setU32(view, 12, bytes.byteLength);
  setU64(view, 16, fields.generation);
  bytes.set(fields.volumeId, 24);
  setU32(view, 40, fields.epoch);
  setU32(view, 44, privatePart.salt.byteLength + privatePart.sealed.byteLength);
  bytes.set(fields.epochCommitment, 48);
  return bytes;
}

function encodeOlderEpoch({ epoch, commitment, salt, sealed }: OlderEpoch): Uint8Array<ArrayBuffer> {
  const number = new Uint8Array(4);
  setU32(viewOf(number), 0, epoch);
  return concatBytes(number, commitment, salt, sealed);
}

/**
 * Returns the length of a header in bytes, from its first 16 bytes. Undefined when fewer are given. Nothing
 * is authenticated.
 *
 * Throws EFORMAT when the bytes are not the start of a header, EUNSUPPORTED when it is of another version.
 */
export function volumeHeaderLength(prefix: Uint8Array): number | undefined {
  requireBytes('bytes of a header', prefix);
  for (const [index, byte] of MAGIC.entries()) {
    if (index < prefix.byteLength && prefix[index] !== byte)
      throw malformed('not made by netseal: it does not start with "nShd"');
  }
  const version = prefix[4];
  if (version !== undefined && version !== HEADER_VERSION) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `volume header: version ${version}, and this netseal reads version ${HEADER_VERSION}`,
    );
  }
  if (prefix.byteLength < HEADER_PREFIX_BYTES) return undefined;
  const totalBytes = viewOf(prefix).getUint32(12, true);
  if (totalBytes < FIXED_BYTES || totalBytes > HEADER_BYTES_MAX) {
    throw malformed(`a length of ${totalBytes} bytes is impossible`);
  }
  return totalBytes;
}

/**
 * Decodes one whole header, after which no bytes may follow. Every field is a copy. Allocates no more than
 * the header's length, which is at most 64 KiB.
 *
 * Throws EFORMAT (not a header, or bytes after it), ETRUNCATED or EUNSUPPORTED (a newer version).
 */
export function decodeHeader(bytes: Uint8Array): HeaderFields {
  const totalBytes = volumeHeaderLength(bytes);
  if (totalBytes === undefined || bytes.byteLength < totalBytes) {
    throw new NetsealError('ETRUNCATED', `volume header: it ends after ${bytes.byteLength} bytes`);
  }
  if (bytes.byteLength > totalBytes) throw malformed('bytes follow its end');
  const view = viewOf(bytes);
  const flags = view.getUint32(8, true);
  if ((flags & ~FLAG_TEST_RANDOMNESS) !== 0) {
    // A format with more flags has another version, so here a flag is damage.
    throw malformed(`impossible flags 0x${flags.toString(16)}: it is damaged`);
  }
  const slotCount = bytes[5] ?? 0;
  if (slotCount < 1 || slotCount > SLOTS_MAX)
    throw malformed(`${slotCount} slots; 1 to ${SLOTS_MAX} are allowed`);
  const olderCount = view.getUint16(6, true);
  if (olderCount >= EPOCHS_MAX) throw malformed(`${olderCount} older epochs; ${EPOCHS_MAX - 1} are allowed`);
  const generation = getU64(view, 16);
  if (generation === undefined || generation < 1) throw malformed('the generation is out of range');
  const epoch = view.getUint32(40, true);
  if (epoch < 1) throw malformed('the newest epoch is 0');
  const privateBytes = checkPrivateLength(view.getUint32(44, true));

  const slotsEnd = totalBytes - MAC_BYTES - privateBytes - olderCount * OLDER_EPOCH_BYTES;
  const slots = decodeSlots(bytes, slotCount, slotsEnd);
  const olderEpochs = decodeOlderEpochs(bytes, slotsEnd, olderCount, epoch);
  const privateOffset = slotsEnd + olderCount * OLDER_EPOCH_BYTES;
  return {
    flags,
    generation,
    volumeId: copy(bytes, 24, ID_BYTES),
    epoch,
    epochCommitment: copy(bytes, 48, KEY_BYTES),
    slots,
    olderEpochs,
    privatePart: {
      salt: copy(bytes, privateOffset, WRAP_SALT_BYTES),
      sealed: copy(bytes, privateOffset + WRAP_SALT_BYTES, privateBytes - WRAP_SALT_BYTES),
    },
  };
}

function copy(bytes: Uint8Array, offset: number, lengthBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.subarray(offset, offset + lengthBytes));
}

function checkPrivateLength(privateBytes: number): number {
  const plainBytes = privateBytes - PRIVATE_OVERHEAD_BYTES;
  if (
    plainBytes < PRIVATE_GRANULE_BYTES ||
    plainBytes > PRIVATE_PLAIN_BYTES_MAX ||
    plainBytes % PRIVATE_GRANULE_BYTES !== 0
  ) {
    throw malformed(`a private part of ${privateBytes} bytes is impossible`);
  }
  return privateBytes;
}

/**
 * Decodes the slots, which must fill the bytes up to `end`. Their ids must differ, and their cost has a
 * limit.
 */
function decodeSlots(bytes: Uint8Array, count: number, end: number): Slot[] {
  const slots: Slot[] = [];
  const ids = new Set<string>();
  let workKiB = 0;
  let offset = FIXED_BYTES;
  while (slots.length < count) {
    const slot = decodeSlot(bytes, offset, end);
    const id = toHex(slot.id);
    if (ids.has(id)) throw malformed(`two slots have the id ${id}`);
    ids.add(id);
    if (slot.type === 'passphrase') workKiB += argon2WorkKiB(slot.argon2);
    slots.push(slot);
    offset += slot.bytes.byteLength;
  }
  if (offset !== end) throw malformed('the parts do not add up to its length');
  if (workKiB > ARGON2_WORK_KIB_MAX) {
    throw malformed(
      `its passphrase slots ask for ${workKiB} KiB times passes of Argon2; ${ARGON2_WORK_KIB_MAX} are allowed`,
    );
  }
  return slots;
}

function decodeOlderEpochs(bytes: Uint8Array, start: number, count: number, newest: number): OlderEpoch[] {
  const view = viewOf(bytes);
  const olderEpochs: OlderEpoch[] = [];
  let previous = 0;
  for (let index = 0; index < count; index++) {
    const offset = start + index * OLDER_EPOCH_BYTES;
    const epoch = view.getUint32(offset, true);
    if (epoch <= previous || epoch >= newest) throw malformed(`epoch ${epoch} is out of order`);
    previous = epoch;
    olderEpochs.push({
      epoch,
      commitment: copy(bytes, offset + 4, KEY_BYTES),
      salt: copy(bytes, offset + 36, WRAP_SALT_BYTES),
      sealed: copy(bytes, offset + 68, KEY_BYTES + WRAP_TAG_BYTES),
    });
  }
  return olderEpochs;
}
