/** Makes slots from new secrets. Also defines the context that all operations on a header share. */
import { requireBytes, requireList, requireObject } from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { type RandomFill, randomBytes, systemRandom } from '../base/random.ts';
import {
  ARGON2_COST_DEFAULT,
  ARGON2_SALT_BYTES,
  ARGON2_WORK_KIB_MAX,
  type Argon2Provider,
  argon2CostFault,
  argon2CostWeakness,
  argon2WorkKiB,
} from './argon2.ts';
import { checkLabel } from './private-part.ts';
import { checkSecret, type NewSecret, secretToSlotSecret } from './secret.ts';
import { makeSlot, type SlotBinding } from './slot.ts';
import {
  BLOB_BYTES_MAX,
  isProviderName,
  type KnownSlot,
  type Slot,
  type SlotParameters,
} from './slot-format.ts';

/**
 * The source of a header's random bytes. It is fixed when the header is created or unlocked. Not for
 * applications.
 */
export interface HeaderEntropy {
  readonly fill: RandomFill;
  /** True for test randomness. Every header made with it gets the flag that says so. */
  readonly isTest: boolean;
}

export const SYSTEM_ENTROPY: HeaderEntropy = { fill: systemRandom, isTest: false };

/** What all operations on a header need from outside. */
export interface HeaderContext {
  readonly entropy: HeaderEntropy;
  readonly argon2: Argon2Provider;
  /** The time in ms since 1970, for the creation time of new slots. */
  readonly nowMs: () => number;
}

export interface NewSlot {
  /** A name for people: 1 to 64 bytes of UTF-8 without control characters. It is sealed within the header. */
  readonly label: string;
  readonly secret: NewSecret;
}

/**
 * Throws EINVAL unless all new slots can be made beside the given ones. Does so before Argon2 runs for any of
 * them.
 */
export function checkNewSlots(
  newSlots: readonly NewSlot[],
  slots: readonly Slot[],
  { entropy }: HeaderContext,
): void {
  let workKiB = 0;
  for (const slot of slots) if (slot.type === 'passphrase') workKiB += argon2WorkKiB(slot.argon2);
  requireList('slots', newSlots);
  for (const newSlot of newSlots) {
    requireObject('a slot', newSlot);
    const { label, secret } = newSlot;
    checkLabel(label);
    checkSecret(secret);
    if (secret.type === 'passphrase') {
      const cost = secret.cost ?? ARGON2_COST_DEFAULT;
      const fault = argon2CostFault(cost) ?? (entropy.isTest ? undefined : argon2CostWeakness(cost));
      requireArgument(fault === undefined, fault ?? '');
      workKiB += argon2WorkKiB(cost);
    }
    if (secret.type === 'callback') {
      requireArgument(
        isProviderName(secret.provider),
        'a provider name must be 1 to 64 printable ASCII characters',
      );
      requireBytes('a blob', secret.blob);
      const { byteLength } = secret.blob;
      requireArgument(byteLength <= BLOB_BYTES_MAX, `a blob must be at most 1 KiB, not ${byteLength} bytes`);
    }
  }
  requireArgument(
    workKiB <= ARGON2_WORK_KIB_MAX,
    `the passphrase slots together may ask for ${ARGON2_WORK_KIB_MAX} KiB times passes of Argon2, not ${workKiB}`,
  );
}

/** Makes a slot with a random id for a checked secret. */
export async function buildSlot(
  { secret }: NewSlot,
  { volumeId, epoch }: SlotBinding,
  epochKey: Uint8Array,
  { entropy, argon2 }: HeaderContext,
): Promise<KnownSlot> {
  const id = randomBytes(ID_BYTES, entropy.fill);
  const parameters = newParameters(secret, entropy.fill);
  const slotSecret = await secretToSlotSecret(secret, parameters, { id, volumeId }, argon2);
  requireArgument(slotSecret !== undefined, 'the key callback declined its own provider and blob');
  const slot = makeSlot(id, parameters, { volumeId, epoch }, slotSecret, epochKey, entropy.fill);
  slotSecret.fill(0);
  return slot;
}

function newParameters(secret: NewSecret, random: RandomFill): SlotParameters {
  switch (secret.type) {
    case 'passphrase': {
      const { memoryKiB, passes, lanes } = secret.cost ?? ARGON2_COST_DEFAULT;
      return {
        type: 'passphrase',
        argon2: { memoryKiB, passes, lanes, salt: randomBytes(ARGON2_SALT_BYTES, random) },
      };
    }
    case 'callback':
      return { type: 'callback', provider: secret.provider, blob: new Uint8Array(secret.blob) };
    default:
      return { type: secret.type };
  }
}
