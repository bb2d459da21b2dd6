/** Chooses the slots that stay after a rekey, and wraps the new epoch's key for them. */
import { toHex } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import type { HeaderFields } from './header-format.ts';
import type { HeaderContext } from './new-slot.ts';
import type { Secret } from './secret.ts';
import { makeSlot, openSlot } from './slot.ts';
import type { KnownSlot } from './slot-format.ts';

/**
 * Returns, for each slot in order, the slot that replaces it under `newEpoch`. Undefined for slots that no
 * secret opens and slots that `slotIds` does not name. A passphrase slot keeps its Argon2 salt, so one
 * derivation both opens the old slot and wraps for the new one. Its wrap salt is new.
 *
 * Throws EKEY when a secret opens no slot to keep, or a named slot is opened by no secret. Throws EINVAL when
 * a named slot does not exist.
 */
export async function rewrapSlots(
  fields: HeaderFields,
  secrets: readonly Secret[],
  slotIds: readonly string[] | undefined,
  newEpoch: number,
  newKey: Uint8Array,
  { argon2, entropy }: HeaderContext,
): Promise<(KnownSlot | undefined)[]> {
  const { slots, volumeId } = fields;
  const ids = slots.map(slot => toHex(slot.id));
  for (const id of slotIds ?? []) requireArgument(ids.includes(id), `the header has no slot ${id}`);
  const kept: (KnownSlot | undefined)[] = slots.map(() => undefined);
  for (const [order, secret] of secrets.entries()) {
    let openedCount = 0;
    for (const [index, slot] of slots.entries()) {
      if (slot.type === 'unknown' || slotIds?.includes(ids[index] ?? '') === false) continue;
      const opened = await openSlot(slot, secret, fields, argon2);
      if (opened === undefined) continue;
      openedCount += 1;
      opened.epochKey.fill(0);
      kept[index] = makeSlot(
        slot.id,
        slot,
        { volumeId, epoch: newEpoch },
        opened.slotSecret,
        newKey,
        entropy.fill,
      );
      opened.slotSecret.fill(0);
    }
    if (openedCount === 0) {
      const place = `secret ${order + 1} of ${secrets.length} (${secret.type})`;
      throw new NetsealError(
        'EKEY',
        `${place} opens no slot to keep, so nothing was changed: correct it or leave it out`,
      );
    }
  }
  for (const [index, id] of ids.entries()) {
    if (slotIds?.includes(id) !== true || kept[index] !== undefined) continue;
    throw new NetsealError('EKEY', `no secret opens slot ${id}, so nothing was changed`);
  }
  return kept;
}
