/** Creates and unlocks volume headers. Applications call these functions. */
import { requireBytes, requireCallback, requireObject, requireText } from '../base/arguments.ts';
import { toHex } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { type Argon2Provider, type Argon2ProviderName, selectArgon2 } from './argon2.ts';
import { decodeHeader, FLAG_TEST_RANDOMNESS, HEADER_BYTES_MAX, type HeaderFields } from './header-format.ts';
import { openKeyring, openPrivatePart, verifyHeader } from './header-seal.ts';
import { type HeaderContext, type HeaderEntropy, type NewSlot, SYSTEM_ENTROPY } from './new-slot.ts';
import { listSecrets, type Secret } from './secret.ts';
import { openSlot } from './slot.ts';
import type { KnownSlot } from './slot-format.ts';
import { createHeader, VolumeHeader } from './volume-header.ts';

export interface HeaderOptions {
  /** The Argon2 to use. Default: native where this Node has it, else portable. */
  readonly argon2?: Argon2ProviderName | Argon2Provider;
  /** Returns the time in ms since 1970, for the creation time of new slots. Default: the system's time. */
  readonly nowMs?: () => number;
}

export interface CreateOptions extends HeaderOptions {
  /** 1 to 16 slots. */
  readonly slots: readonly NewSlot[];
  /** At most 4,096 bytes, which are sealed within the header. Default: empty. */
  readonly settings?: Uint8Array;
}

export interface UnlockOptions extends HeaderOptions {
  /** Try only this slot (hexadecimal). */
  readonly slotId?: string;
}

/** Returns the context of a header's operations. */
export function headerContext(options: HeaderOptions, entropy: HeaderEntropy): HeaderContext {
  requireObject('options', options);
  const { argon2, nowMs = Date.now } = options;
  requireCallback('options.nowMs', nowMs);
  return { argon2: selectArgon2(argon2), nowMs, entropy };
}

/**
 * Makes the header of a new volume: a random id, a random key for epoch 1, generation 1, and the given slots.
 * The caller stores the header's `bytes`, and destroys its `keyring` when done.
 *
 * Rejects with EINVAL when a label, secret, cost or the settings are out of range, EUNSUPPORTED when Argon2
 * is missing or fails on this machine.
 */
export async function createVolumeHeader(options: CreateOptions): Promise<VolumeHeader> {
  requireObject('options', options);
  const { slots, settings = new Uint8Array(0) } = options;
  return createHeader(slots, settings, headerContext(options, SYSTEM_ENTROPY));
}

/**
 * Unlocks one whole header. Tries the secrets in the given order and uses the first that opens a slot. Each
 * passphrase costs one Argon2 derivation for each passphrase slot it is tried on, one after the other. The
 * bounds of the header are checked before the first derivation.
 *
 * Rejects with one of these codes, or with the error that a callback throws:
 *
 *   EINVAL       a secret or option is not valid
 *   EFORMAT      `bytes` are not a header, or more follow it
 *   ETRUNCATED   the header is cut short
 *   EUNSUPPORTED a newer netseal made it, it was made with test randomness, or Argon2 is missing or fails
 *                on this machine
 *   EKEY         no secret opens a slot
 *   EAUTH        a secret opens a slot, but the header was damaged or changed
 */
export async function unlockVolumeHeader(
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  options: UnlockOptions = {},
): Promise<VolumeHeader> {
  requireBytes('bytes', bytes);
  requireObject('options', options);
  if (options.slotId !== undefined) requireText('options.slotId', options.slotId);
  return unlockHeader(bytes, secrets, options.slotId, headerContext(options, SYSTEM_ENTROPY));
}

/**
 * Unlocks a header with any context. Only a context with test randomness opens headers that were made with
 * it.
 */
export async function unlockHeader(
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  slotId: string | undefined,
  context: HeaderContext,
): Promise<VolumeHeader> {
  // Copied, so that the caller cannot change the bytes between their check and their use. Longer input fails
  // to decode.
  const header = new Uint8Array(bytes.subarray(0, HEADER_BYTES_MAX + 1));
  const fields = decodeHeader(header);
  if ((fields.flags & FLAG_TEST_RANDOMNESS) !== 0 && !context.entropy.isTest) {
    throw new NetsealError(
      'EUNSUPPORTED',
      'this volume was made with test randomness: anyone could know its keys. Only netseal/testing opens it',
    );
  }
  const list = listSecrets(secrets);
  const candidates = candidateSlots(fields, slotId);
  for (const secret of list) {
    for (const slot of candidates) {
      const opened = await openSlot(slot, secret, fields, context.argon2);
      if (opened === undefined) continue;
      const { epochKey, slotSecret } = opened;
      slotSecret.fill(0);
      try {
        verifyHeader(header, fields, epochKey);
        const privatePart = openPrivatePart(fields, epochKey);
        const keyring = openKeyring(fields, epochKey);
        return new VolumeHeader({ bytes: header, fields }, privatePart, keyring, [toHex(slot.id)], context);
      } finally {
        epochKey.fill(0);
      }
    }
  }
  throw noSlotOpens(fields, candidates, list);
}

/**
 * Returns the slots to try. Throws EKEY when there is none, EUNSUPPORTED when only a newer netseal knows
 * their types.
 */
function candidateSlots({ slots }: HeaderFields, slotId: string | undefined): KnownSlot[] {
  const named = slotId === undefined ? slots : slots.filter(slot => toHex(slot.id) === slotId);
  if (named.length === 0) throw new NetsealError('EKEY', `the volume header has no slot ${slotId}`);
  const known = named.filter(slot => slot.type !== 'unknown');
  if (known.length === 0) {
    const types = [...new Set(named.map(slot => slot.typeNumber))].join(', ');
    throw new NetsealError('EUNSUPPORTED', `only a newer netseal can open slots of type ${types}`);
  }
  return known;
}

/** Returns a kind of secret as people call it: `key-file` is a key file. */
function nameOf(type: string): string {
  return type.replace('-', ' ');
}

/**
 * Returns the error that says what was tried and what there is. It says nothing about the secrets themselves.
 */
function noSlotOpens(
  { slots }: HeaderFields,
  tried: readonly KnownSlot[],
  secrets: readonly Secret[],
): NetsealError {
  const given = [...new Set(secrets.map(secret => secret.type))];
  const others = [...new Set(slots.map(slot => slot.type))].filter(type => !given.some(it => it === type));
  const isTried = tried.some(slot => given.some(type => type === slot.type));
  const advice = others.length === 0 ? '' : `; other slots take: ${others.map(nameOf).join(', ')}`;
  return new NetsealError(
    'EKEY',
    `wrong ${given.map(nameOf).join(', wrong ')}${isTried ? '' : ': no slot takes one'}${advice}`,
  );
}
