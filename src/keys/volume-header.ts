/**
 * An unlocked volume header and what can be done with it. A header never changes: each operation returns the next one,
 * whose generation is one higher, and the caller replaces the stored bytes (by compare-and-swap where clients share it).
 *
 *   createVolumeHeader ──▶ VolumeHeader ──addSlot, removeSlot, withSettings──▶ VolumeHeader (same keyring)
 *   unlockVolumeHeader ──▶      │
 *                               └──────────────rekey──────────────────────────▶ VolumeHeader (new keyring)
 */
import { toHex } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { FLAG_TEST_RANDOMNESS, type HeaderFields, SLOTS_MAX } from './header-format.ts';
import { openKeyring, type SealedHeader, sealHeader, wrapOlderEpochs } from './header-seal.ts';
import { describeSlot, type SlotDescription } from './inspect.ts';
import { EPOCHS_MAX, Keyring } from './keyring.ts';
import { buildSlot, checkNewSlots, type HeaderContext, type NewSlot } from './new-slot.ts';
import { checkSettings, type PrivatePart, type SlotRecord } from './private-part.ts';
import { rewrapSlots } from './rekey.ts';
import { listSecrets, type Secret } from './secret.ts';
import type { KnownSlot, Slot } from './slot-format.ts';
import { KEY_BYTES } from './tree.ts';

/** A slot as a member of the volume sees it. */
export type SlotInfo = SlotDescription & SlotRecord;

export interface RekeyOptions {
  /** Keep no slots but these (hexadecimal). */
  readonly slotIds?: readonly string[];
}

/** An authenticated, unlocked header. Made by `createVolumeHeader` and `unlockVolumeHeader` only. */
export class VolumeHeader {
  /** The header to store; do not change it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * The keys of every epoch. Shared with the headers that addSlot, removeSlot and withSettings return: destroy it once, when
   * the last of them is done with.
   */
  readonly keyring: Keyring;
  /** Hexadecimal. */
  readonly volumeId: string;
  readonly generation: number;
  /** The newest epoch. */
  readonly epoch: number;
  /** In the order of the header. */
  readonly slots: readonly SlotInfo[];
  /** At most 4,096 bytes that the volume layer keeps here; do not change them. */
  readonly settings: Uint8Array<ArrayBuffer>;
  /** The slots whose secret was presented, hexadecimal: the one that unlocked it, and those made or kept since. */
  readonly openedSlotIds: readonly string[];
  /** Made with test randomness: not to be trusted with anything. */
  readonly isTest: boolean;
  readonly #fields: HeaderFields;
  readonly #context: HeaderContext;

  /**
   * @internal
   * @param keyring the header's now.
   */
  constructor(
    { bytes, fields }: SealedHeader,
    privatePart: PrivatePart,
    keyring: Keyring,
    openedSlotIds: readonly string[],
    context: HeaderContext,
  ) {
    this.bytes = bytes;
    this.keyring = keyring;
    this.volumeId = toHex(fields.volumeId);
    this.generation = fields.generation;
    this.epoch = fields.epoch;
    this.slots = fields.slots.flatMap((slot, index) => {
      const record = privatePart.records[index];
      return record === undefined ? [] : [{ ...describeSlot(slot), ...record }];
    });
    this.settings = privatePart.settings;
    this.openedSlotIds = openedSlotIds;
    this.isTest = (fields.flags & FLAG_TEST_RANDOMNESS) !== 0;
    this.#fields = fields;
    this.#context = context;
  }

  /** The epochs that the header holds with the commitment to each one's key, hexadecimal; ascending. */
  get epochCommitments(): ReadonlyMap<number, string> {
    const { olderEpochs, epoch, epochCommitment } = this.#fields;
    return new Map(
      [...olderEpochs, { epoch, commitment: epochCommitment }].map(each => [
        each.epoch,
        toHex(each.commitment),
      ]),
    );
  }

  /**
   * The next header, with one slot more; the other slots stay as they are, byte for byte. EINVAL when there is no room, or
   * the label, secret or Argon2 cost will not do; EUNSUPPORTED when this machine cannot run that Argon2.
   */
  async addSlot(newSlot: NewSlot): Promise<VolumeHeader> {
    const fields = this.#fields;
    requireArgument(fields.slots.length < SLOTS_MAX, `the header has ${SLOTS_MAX} slots already: remove one`);
    checkNewSlots([newSlot], fields.slots, this.#context);
    const slot = await buildSlot(newSlot, fields, this.keyring.epochKey(fields.epoch), this.#context);
    const record = { label: newSlot.label, createdAtMs: this.#context.nowMs() };
    const openedSlotIds = [...this.openedSlotIds, toHex(slot.id)];
    return this.#next([...fields.slots, slot], [...this.#records, record], this.settings, openedSlotIds);
  }

  /**
   * The next header, without one slot. This is not revocation: whoever knows its secret and has a copy of an older header
   * can still read everything, until {@link rekey} and re-sealing. EINVAL for an unknown
   * id, or when no slot of a type known here would be left.
   */
  removeSlot(slotId: string): VolumeHeader {
    const { slots } = this.#fields;
    const index = slots.findIndex(slot => toHex(slot.id) === slotId);
    requireArgument(index >= 0, `the header has no slot ${slotId}`);
    const isOpenable = slots.some((slot, other) => other !== index && slot.type !== 'unknown');
    requireArgument(isOpenable, 'the last slot cannot be removed: nothing would open the volume');
    return this.#next(
      slots.toSpliced(index, 1),
      this.#records.toSpliced(index, 1),
      this.settings,
      this.openedSlotIds.filter(id => id !== slotId),
    );
  }

  /** The next header, with other settings (copied; at most 4,096 bytes, else EINVAL). */
  withSettings(settings: Uint8Array): VolumeHeader {
    checkSettings(settings);
    return this.#next(this.#fields.slots, this.#records, new Uint8Array(settings), this.openedSlotIds);
  }

  /**
   * The next header, with a new epoch: a fresh random key, under which new records are sealed. Keeps only the slots that
   * the given secrets open; older epochs' keys are wrapped under the new one. The new header has a keyring of its own.
   *
   * One callback, or one passphrase in two slots, may open more than was meant: to shut out one holder among several,
   * name the slots to keep in `slotIds`. EKEY, and nothing changed, when a secret opens no slot, or a named slot is opened
   * by no secret; EINVAL without secrets, for an unknown id, or after 256 epochs.
   */
  async rekey(secrets: Secret | readonly Secret[], { slotIds }: RekeyOptions = {}): Promise<VolumeHeader> {
    const fields = this.#fields;
    const epoch = fields.epoch + 1;
    const epochCount = fields.olderEpochs.length + 1;
    requireArgument(
      epochCount < EPOCHS_MAX && epoch <= 0xffff_ffff,
      'the header has no room for another epoch',
    );
    const newKey = randomBytes(KEY_BYTES, this.#context.entropy.fill);
    try {
      const kept = await rewrapSlots(fields, listSecrets(secrets), slotIds, epoch, newKey, this.#context);
      const { fill } = this.#context.entropy;
      const privatePart = {
        records: this.#records.filter((_, index) => kept[index] !== undefined),
        settings: this.settings,
      };
      const slots = kept.filter(slot => slot !== undefined);
      const olderEpochs = wrapOlderEpochs(this.keyring, epoch, newKey, fill);
      const content = { ...fields, ...this.#mark(), epoch, slots, olderEpochs };
      const sealed = sealHeader(content, privatePart, newKey, fill);
      const ids = slots.map(slot => toHex(slot.id));
      return new VolumeHeader(sealed, privatePart, openKeyring(sealed.fields, newKey), ids, this.#context);
    } finally {
      newKey.fill(0);
    }
  }

  get #records(): SlotRecord[] {
    return this.slots.map(({ label, createdAtMs }) => ({ label, createdAtMs }));
  }

  /** The next generation. Test randomness leaves a mark that stays. */
  #mark(): { generation: number; flags: number } {
    const { generation, flags } = this.#fields;
    requireArgument(generation < Number.MAX_SAFE_INTEGER, 'the header has reached its last generation');
    return {
      generation: generation + 1,
      flags: this.#context.entropy.isTest ? flags | FLAG_TEST_RANDOMNESS : flags,
    };
  }

  #next(
    slots: readonly Slot[],
    records: readonly SlotRecord[],
    settings: Uint8Array<ArrayBuffer>,
    openedSlotIds: readonly string[],
  ): VolumeHeader {
    const fields = this.#fields;
    const privatePart = { records, settings };
    const sealed = sealHeader(
      { ...fields, ...this.#mark(), slots },
      privatePart,
      this.keyring.epochKey(fields.epoch),
      this.#context.entropy.fill,
    );
    return new VolumeHeader(sealed, privatePart, this.keyring, openedSlotIds, this.#context);
  }
}

/** A fresh volume: random id, random key of epoch 1, generation 1. */
export async function createHeader(
  newSlots: readonly NewSlot[],
  settings: Uint8Array,
  context: HeaderContext,
): Promise<VolumeHeader> {
  requireArgument(
    newSlots.length >= 1 && newSlots.length <= SLOTS_MAX,
    `a header has 1 to ${SLOTS_MAX} slots, not ${newSlots.length}`,
  );
  checkSettings(settings);
  checkNewSlots(newSlots, [], context);
  const { fill, isTest } = context.entropy;
  const epochKey = randomBytes(KEY_BYTES, fill);
  try {
    const volumeId = randomBytes(ID_BYTES, fill);
    const records = newSlots.map(({ label }) => ({ label, createdAtMs: context.nowMs() }));
    const slots: KnownSlot[] = [];
    for (const newSlot of newSlots) {
      slots.push(await buildSlot(newSlot, { volumeId, epoch: 1 }, epochKey, context));
    }
    const privatePart = { records, settings: new Uint8Array(settings) };
    const flags = isTest ? FLAG_TEST_RANDOMNESS : 0;
    const content = { flags, generation: 1, volumeId, epoch: 1, slots, olderEpochs: [] };
    const sealed = sealHeader(content, privatePart, epochKey, fill);
    const keyring = new Keyring(volumeId, new Map([[1, epochKey]]));
    return new VolumeHeader(
      sealed,
      privatePart,
      keyring,
      slots.map(slot => toHex(slot.id)),
      context,
    );
  } finally {
    epochKey.fill(0);
  }
}
