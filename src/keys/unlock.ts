/** Creating and unlocking volume headers: what applications call. */
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
  /** Which Argon2: by default native where this Node has it, else portable. */
  readonly argon2?: Argon2ProviderName | Argon2Provider;
  /** The time that new slots are stamped with, in ms since 1970; the system's by default. */
  readonly nowMs?: () => number;
}

export interface CreateOptions extends HeaderOptions {
  /** 1 to 16. */
  readonly slots: readonly NewSlot[];
  /** At most 4,096 bytes, sealed within the header; empty by default. */
  readonly settings?: Uint8Array;
}

export interface UnlockOptions extends HeaderOptions {
  /** Try only this slot (hexadecimal). */
  readonly slotId?: string;
}

/** Options as every operation of a header needs them. */
export function headerContext(
  { argon2, nowMs = Date.now }: HeaderOptions,
  entropy: HeaderEntropy,
): HeaderContext {
  return { argon2: selectArgon2(argon2), nowMs, entropy };
}

/**
 * A fresh volume: random id, a random key of epoch 1, generation 1, and the given slots. The caller stores `bytes` and
 * destroys `keyring` when done. EINVAL when a label, secret, cost or settings will not do.
 */
export async function createVolumeHeader(options: CreateOptions): Promise<VolumeHeader> {
  const { slots, settings = new Uint8Array(0) } = options;
  return createHeader(slots, settings, headerContext(options, SYSTEM_ENTROPY));
}

/**
 * Unlocks one whole header with the first of the secrets that opens a slot, tried in the order given. Costs one Argon2 run
 * for each passphrase and passphrase slot tried, one after the other; the header's bounds are checked before the first.
 *
 * EFORMAT, ETRUNCATED: not a header. EUNSUPPORTED: of a newer netseal, or made with test randomness. EKEY: no secret opens
 * a slot. EAUTH: one does, and the header is not what was written. What a callback throws comes through as it is.
 */
export async function unlockVolumeHeader(
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  options: UnlockOptions = {},
): Promise<VolumeHeader> {
  return unlockHeader(bytes, secrets, options.slotId, headerContext(options, SYSTEM_ENTROPY));
}

/** The same under any entropy; only test entropy opens headers that were made with test randomness. */
export async function unlockHeader(
  bytes: Uint8Array,
  secrets: Secret | readonly Secret[],
  slotId: string | undefined,
  context: HeaderContext,
): Promise<VolumeHeader> {
  // A copy, so that nobody changes between check and use what is being awaited on. Longer ones fail to decode anyway.
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

/** The slots to try. EKEY when there is no such slot, EUNSUPPORTED when only a newer netseal knows its type. */
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

/** Says what was tried and what there is, and nothing about the secrets themselves. */
function noSlotOpens(
  { slots }: HeaderFields,
  tried: readonly KnownSlot[],
  secrets: readonly Secret[],
): NetsealError {
  const types = [...new Set(secrets.map(secret => secret.type))];
  const counts = types.map(type => `${tried.filter(slot => slot.type === type).length} ${type}`);
  const present = [...new Set(slots.map(slot => slot.type))].join(', ');
  return new NetsealError(
    'EKEY',
    `no slot opens: tried ${counts.join(', ')} of ${slots.length} slots (here: ${present}); check the secret, or use another's`,
  );
}
