/**
 * Makes and opens key slots. A slot wraps the newest epoch's key:
 *
 *   wrapping key ‖ commitment = HKDF-SHA256(slot secret, wrap salt,
 *                                           "netseal/1/slot" 0x00 volume id ‖ slot id ‖ type:u16)
 *   wrapped key               = AES-256-GCM(wrapping key, the epoch's key,
 *                                           associated data = volume id ‖ epoch:u32 ‖ envelope ‖ parameters)
 *
 * Envelope and parameters are parts of the slot, see `slot-format.ts`. The slot secret is what a passphrase,
 * key file, raw key or callback becomes, see `secret.ts`.
 *
 * The associated data contains the epoch. So somebody who knew an older epoch's key cannot present an older
 * slot as one of a newer epoch.
 */
import { concatBytes, equalBytes, viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import type { RandomFill } from '../base/random.ts';
import type { Argon2Provider } from './argon2.ts';
import { type Secret, secretToSlotSecret } from './secret.ts';
import {
  decodeSlot,
  encodeSlot,
  type KnownSlot,
  SLOT_TYPES,
  type SlotParameters,
  slotIdentity,
} from './slot-format.ts';
import { unwrapIfCommitted, type WrapPurpose, wrap } from './wrap.ts';

/** The volume and epoch that a slot is bound to. */
export interface SlotBinding {
  readonly volumeId: Uint8Array;
  /** The epoch whose key it wraps. */
  readonly epoch: number;
}

export function u32Bytes(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  viewOf(bytes).setUint32(0, value, true);
  return bytes;
}

function purposeOf(
  id: Uint8Array,
  parameters: SlotParameters,
  { volumeId, epoch }: SlotBinding,
): WrapPurpose {
  return {
    purpose: 'slot',
    context: [volumeId, id, Uint8Array.of(SLOT_TYPES[parameters.type], 0)],
    associatedData: concatBytes(volumeId, u32Bytes(epoch), slotIdentity(id, parameters)),
  };
}

/**
 * Makes a slot: wraps `epochKey` under a key derived from `slotSecret` and a new random salt. The slot is
 * decoded and opened again before it is returned. EBUG when it does not give back the key.
 */
export function makeSlot(
  id: Uint8Array<ArrayBuffer>,
  parameters: SlotParameters,
  binding: SlotBinding,
  slotSecret: Uint8Array,
  epochKey: Uint8Array,
  random: RandomFill,
): KnownSlot {
  const slot = encodeSlot(
    id,
    parameters,
    wrap(slotSecret, purposeOf(id, parameters, binding), epochKey, random),
  );
  const read = decodeSlot(slot.bytes, 0, slot.bytes.byteLength);
  const opened =
    read.type === 'unknown'
      ? undefined
      : unwrapIfCommitted(slotSecret, purposeOf(read.id, read, binding), read.wrapped);
  const isSame = opened !== undefined && equalBytes(opened, epochKey);
  opened?.fill(0);
  if (!isSame) throw new NetsealError('EBUG', 'volume header: a slot was made that does not open');
  return slot;
}

export interface OpenedSlot {
  /** 32 bytes each. The caller owns both and zeroes them. */
  readonly epochKey: Uint8Array<ArrayBuffer>;
  readonly slotSecret: Uint8Array<ArrayBuffer>;
}

/**
 * Tries one secret on one slot. Undefined when the secret does not open it: it is of another type, its
 * callback returns null, or the slot commits to another key.
 *
 * Throws EAUTH when the commitment matches, but the slot was changed or was made for another volume or epoch.
 */
export async function openSlot(
  slot: KnownSlot,
  secret: Secret,
  binding: SlotBinding,
  argon2: Argon2Provider,
): Promise<OpenedSlot | undefined> {
  const place = { id: slot.id, volumeId: binding.volumeId };
  const slotSecret = await secretToSlotSecret(secret, slot, place, argon2);
  if (slotSecret === undefined) return undefined;
  let epochKey: Uint8Array<ArrayBuffer> | undefined;
  try {
    epochKey = unwrapIfCommitted(slotSecret, purposeOf(slot.id, slot, binding), slot.wrapped);
  } finally {
    if (epochKey === undefined) slotSecret.fill(0);
  }
  return epochKey === undefined ? undefined : { epochKey, slotSecret };
}
