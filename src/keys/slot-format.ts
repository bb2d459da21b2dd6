/**
 * The bytes of one slot: encoding and decoding, without cryptography. Integers are little-endian. Offsets
 * count from the start of the slot.
 *
 *   offset  size  field
 *   -- the envelope --
 *        0     2  slot length, 24 to 1,536
 *        2     2  type: 1 passphrase, 2 key file, 3 raw key, 4 callback
 *        4     4  reserved, 0
 *        8    16  slot id
 *   -- slots of the types above go on as follows; the rest of any other slot is kept as it is --
 *       24    32  wrap salt
 *       56    32  commitment to the wrapping key
 *       88    32  the newest epoch's key, wrapped
 *      120    16  tag
 *      136     -  parameters
 *
 * The parameters. Offsets count from their start:
 *
 *   type       offset  size  field
 *   passphrase      0     4  Argon2's memory in KiB
 *                   4     4  passes
 *                   8     4  lanes
 *                  12     4  reserved, 0
 *                  16    32  Argon2's salt
 *   key file        -     -  nothing
 *   raw key         -     -  nothing
 *   callback        0     2  provider length N
 *                   2     2  blob length B
 *                   4     N  provider
 *                 4+N     B  blob
 */
import { concatBytes, toHex, viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { ARGON2_SALT_BYTES, type Argon2Parameters, argon2CostFault } from './argon2.ts';
import { KEY_BYTES } from './tree.ts';
import { WRAP_SALT_BYTES, WRAP_TAG_BYTES, type Wrapped } from './wrap.ts';

export const SLOT_BYTES_MAX = 1536;
export const PROVIDER_BYTES_MAX = 64;
export const BLOB_BYTES_MAX = 1024;

const ENVELOPE_BYTES = 24;
const PARAMETERS_OFFSET = 136;
const PASSPHRASE_PARAMETERS_BYTES = 48;

/** Slot types. Their numbers are stored. */
export const SLOT_TYPES = { passphrase: 1, 'key-file': 2, 'raw-key': 3, callback: 4 } as const;
export type KnownSlotType = keyof typeof SLOT_TYPES;

/** The values that a slot of each type stores in the clear, besides its id. */
export type SlotParameters =
  | { readonly type: 'passphrase'; readonly argon2: Argon2Parameters }
  | { readonly type: 'key-file' }
  | { readonly type: 'raw-key' }
  | { readonly type: 'callback'; readonly provider: string; readonly blob: Uint8Array<ArrayBuffer> };

interface SlotBase {
  readonly typeNumber: number;
  /** 16 bytes. */
  readonly id: Uint8Array<ArrayBuffer>;
  /** The whole slot as it is in the header. A rewritten header contains the same bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export type KnownSlot = SlotBase & SlotParameters & { readonly wrapped: Wrapped };
export type UnknownSlot = SlotBase & { readonly type: 'unknown' };
export type Slot = KnownSlot | UnknownSlot;

function malformed(message: string): NetsealError {
  return new NetsealError('EFORMAT', `volume header: ${message}`);
}

/**
 * True for 1 to 64 printable ASCII characters without spaces. So a hostile header cannot put control codes in
 * output.
 */
export function isProviderName(name: string): boolean {
  return /^[!-~]{1,64}$/.test(name);
}

function encodeParameters(parameters: SlotParameters): Uint8Array<ArrayBuffer> {
  if (parameters.type === 'passphrase') {
    const { memoryKiB, passes, lanes, salt } = parameters.argon2;
    const bytes = new Uint8Array(PASSPHRASE_PARAMETERS_BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, memoryKiB, true);
    view.setUint32(4, passes, true);
    view.setUint32(8, lanes, true);
    bytes.set(salt, 16);
    return bytes;
  }
  if (parameters.type === 'callback') {
    const provider = Buffer.from(parameters.provider, 'latin1');
    const lengths = new Uint8Array(4);
    viewOf(lengths).setUint16(0, provider.byteLength, true);
    viewOf(lengths).setUint16(2, parameters.blob.byteLength, true);
    return concatBytes(lengths, provider, parameters.blob);
  }
  return new Uint8Array(0);
}

/** Returns the parts of a slot that its wrapping authenticates: the envelope and the parameters. */
export function slotIdentity(id: Uint8Array, parameters: SlotParameters): Uint8Array<ArrayBuffer> {
  const encoded = encodeParameters(parameters);
  const envelope = new Uint8Array(ENVELOPE_BYTES);
  const view = viewOf(envelope);
  view.setUint16(0, PARAMETERS_OFFSET + encoded.byteLength, true);
  view.setUint16(2, SLOT_TYPES[parameters.type], true);
  envelope.set(id, 8);
  return concatBytes(envelope, encoded);
}

/** Makes a slot from its parts, and keeps references to them. */
export function encodeSlot(
  id: Uint8Array<ArrayBuffer>,
  parameters: SlotParameters,
  wrapped: Wrapped,
): KnownSlot {
  const identity = slotIdentity(id, parameters);
  const bytes = concatBytes(
    identity.subarray(0, ENVELOPE_BYTES),
    wrapped.salt,
    wrapped.commitment,
    wrapped.sealed,
    identity.subarray(ENVELOPE_BYTES),
  );
  return { ...parameters, typeNumber: SLOT_TYPES[parameters.type], id, bytes, wrapped };
}

/**
 * Decodes the slot at `offset` of a header. It must end at or before `end`. Every field is a copy. Throws
 * EFORMAT.
 */
export function decodeSlot(header: Uint8Array, offset: number, end: number): Slot {
  if (end - offset < ENVELOPE_BYTES) throw malformed('the slots overrun their space');
  const lengthBytes = viewOf(header).getUint16(offset, true);
  if (lengthBytes < ENVELOPE_BYTES || lengthBytes > SLOT_BYTES_MAX || lengthBytes > end - offset) {
    throw malformed(`a slot of ${lengthBytes} bytes is impossible here`);
  }
  const bytes = new Uint8Array(header.subarray(offset, offset + lengthBytes));
  const view = viewOf(bytes);
  const typeNumber = view.getUint16(2, true);
  if (view.getUint32(4, true) !== 0) throw malformed('reserved bytes of a slot are not zero');
  const base = { typeNumber, id: bytes.slice(8, 8 + ID_BYTES), bytes };
  const type = slotTypeOf(typeNumber);
  if (type === undefined) return { ...base, type: 'unknown' };
  if (lengthBytes < PARAMETERS_OFFSET) throw malformed(`a ${type} slot of ${lengthBytes} bytes is too short`);
  const wrapped = {
    salt: bytes.slice(ENVELOPE_BYTES, ENVELOPE_BYTES + WRAP_SALT_BYTES),
    commitment: bytes.slice(56, 56 + KEY_BYTES),
    sealed: bytes.slice(88, 88 + KEY_BYTES + WRAP_TAG_BYTES),
  };
  return { ...base, ...decodeParameters(type, bytes.subarray(PARAMETERS_OFFSET), toHex(base.id)), wrapped };
}

function slotTypeOf(typeNumber: number): KnownSlotType | undefined {
  switch (typeNumber) {
    case SLOT_TYPES.passphrase:
      return 'passphrase';
    case SLOT_TYPES['key-file']:
      return 'key-file';
    case SLOT_TYPES['raw-key']:
      return 'raw-key';
    case SLOT_TYPES.callback:
      return 'callback';
    default:
      return undefined;
  }
}

function decodeParameters(type: KnownSlotType, bytes: Uint8Array, slotId: string): SlotParameters {
  switch (type) {
    case 'passphrase':
      return { type, argon2: decodeArgon2(bytes, slotId) };
    case 'callback':
      return { type, ...decodeCallback(bytes, slotId) };
    default:
      if (bytes.byteLength !== 0)
        throw malformed(`slot ${slotId} has parameters that its type does not have`);
      return { type };
  }
}

function decodeArgon2(bytes: Uint8Array, slotId: string): Argon2Parameters {
  if (bytes.byteLength !== PASSPHRASE_PARAMETERS_BYTES) {
    throw malformed(`slot ${slotId} has ${bytes.byteLength} bytes of Argon2 parameters`);
  }
  const view = viewOf(bytes);
  const argon2 = {
    memoryKiB: view.getUint32(0, true),
    passes: view.getUint32(4, true),
    lanes: view.getUint32(8, true),
    salt: new Uint8Array(bytes.subarray(16, 16 + ARGON2_SALT_BYTES)),
  };
  if (view.getUint32(12, true) !== 0) throw malformed(`reserved bytes of slot ${slotId} are not zero`);
  const fault = argon2CostFault(argon2);
  if (fault !== undefined) throw malformed(`slot ${slotId}: ${fault}`);
  return argon2;
}

function decodeCallback(
  bytes: Uint8Array,
  slotId: string,
): { provider: string; blob: Uint8Array<ArrayBuffer> } {
  if (bytes.byteLength < 4) throw malformed(`slot ${slotId} ends within its parameters`);
  const view = viewOf(bytes);
  const providerBytes = view.getUint16(0, true);
  const blobBytes = view.getUint16(2, true);
  if (providerBytes > PROVIDER_BYTES_MAX || blobBytes > BLOB_BYTES_MAX) {
    throw malformed(`slot ${slotId}: its provider or blob is too long`);
  }
  if (bytes.byteLength !== 4 + providerBytes + blobBytes) {
    throw malformed(`slot ${slotId}: its provider and blob do not fill it`);
  }
  const provider = Buffer.from(bytes.subarray(4, 4 + providerBytes)).toString('latin1');
  if (!isProviderName(provider)) throw malformed(`slot ${slotId}: its provider is not printable ASCII`);
  return { provider, blob: new Uint8Array(bytes.subarray(4 + providerBytes)) };
}
