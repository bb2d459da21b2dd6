/**
 * An unlocked volume header and its operations. A header never changes. Each operation returns the next
 * header, whose generation is one higher, and the caller replaces the stored bytes. Where clients share the
 * header, it does so by compare-and-swap.
 *
 *   createVolumeHeader ──▶ VolumeHeader ──addSlot, removeSlot, withSettings──▶ VolumeHeader (same keyring)
 *   unlockVolumeHeader ──▶      │
 *                               └───────────rekey, dropEpochs─────────────────▶ VolumeHeader (new keyring)
 */
import { createHash } from 'node:crypto';
import { requireList, requireObject, requireText } from '../base/arguments.ts';
import { toHex } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { FLAG_TEST_RANDOMNESS, type HeaderFields, SLOTS_MAX } from './header-format.ts';
import { epochTrace, openKeyring, type SealedHeader, sealHeader, wrapOlderEpochs } from './header-seal.ts';
import { describeSlot, type SlotDescription } from './inspect.ts';
import { EPOCHS_MAX, Keyring } from './keyring.ts';
import { buildSlot, checkNewSlots, type HeaderContext, type NewSlot } from './new-slot.ts';
import {
  checkSettings,
  DROPPED_EPOCHS_MAX,
  type DroppedEpoch,
  type PrivatePart,
  type SlotEntry,
  slotTimeMs,
} from './private-part.ts';
import { rewrapSlots } from './rekey.ts';
import { listSecrets, type Secret } from './secret.ts';
import type { KnownSlot, Slot } from './slot-format.ts';
import { KEY_BYTES } from './tree.ts';

/** A slot as members of the volume see it. */
export type SlotInfo = SlotDescription & SlotEntry;

export interface RekeyOptions {
  /** Ids (hexadecimal) of the slots to keep. Default: every slot that a secret opens. */
  readonly slotIds?: readonly string[];
}

/** An authenticated, unlocked header. `createVolumeHeader` and `unlockVolumeHeader` make it. */
export class VolumeHeader {
  /** The header to store; do not change it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * The keys of all epochs. The headers that addSlot, removeSlot and withSettings return share this keyring.
   * Destroy it once, when the last of them is no longer used.
   */
  readonly keyring: Keyring;
  /** Hexadecimal. */
  readonly volumeId: string;
  readonly generation: number;
  /** The newest epoch. */
  readonly epoch: number;
  /** The slots, in the order of the header. */
  readonly slots: readonly SlotInfo[];
  /** At most 4,096 bytes, which the volume layer defines; do not change them. */
  readonly settings: Uint8Array<ArrayBuffer>;
  /**
   * Ids (hexadecimal) of the slots whose secret was presented: the one that unlocked the header, and those
   * made since.
   */
  readonly openedSlotIds: readonly string[];
  /**
   * SHA-256 (hexadecimal) of the newest epoch's trace. Pins keep it, and compare it once the epoch is
   * dropped.
   */
  readonly epochTraceHash: string;
  /** True when the header was made with test randomness. Trust it with nothing. */
  readonly isTest: boolean;
  readonly #fields: HeaderFields;
  readonly #droppedEpochs: readonly DroppedEpoch[];
  readonly #context: HeaderContext;

  /**
   * @internal
   * @param keyring belongs to the header from now on.
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
      const entry = privatePart.entries[index];
      return entry === undefined ? [] : [{ ...describeSlot(slot), ...entry }];
    });
    this.settings = privatePart.settings;
    this.openedSlotIds = openedSlotIds;
    const trace = epochTrace(keyring.epochKey(fields.epoch), fields.volumeId, fields.epoch);
    this.epochTraceHash = hashOf(trace);
    trace.fill(0);
    this.isTest = (fields.flags & FLAG_TEST_RANDOMNESS) !== 0;
    this.#fields = fields;
    this.#droppedEpochs = privatePart.droppedEpochs;
    this.#context = context;
  }

  /** The epochs of the header, ascending, each with the commitment to its key (hexadecimal). */
  get epochCommitments(): ReadonlyMap<number, string> {
    const { olderEpochs, epoch, epochCommitment } = this.#fields;
    return new Map(
      [...olderEpochs, { epoch, commitment: epochCommitment }].map(each => [
        each.epoch,
        toHex(each.commitment),
      ]),
    );
  }

  /** The latest epochs that were dropped, ascending, each with SHA-256 of its trace (hexadecimal). */
  get droppedEpochs(): ReadonlyMap<number, string> {
    return new Map(this.#droppedEpochs.map(({ epoch, trace }) => [epoch, hashOf(trace)]));
  }

  /**
   * Returns the next header, with one more slot. The other slots keep their bytes.
   *
   * Rejects with EINVAL when there are 16 slots already, or the label, secret, Argon2 cost or the clock is
   * out of range. Rejects with EUNSUPPORTED when Argon2 fails on this machine.
   */
  async addSlot(newSlot: NewSlot): Promise<VolumeHeader> {
    const fields = this.#fields;
    requireArgument(fields.slots.length < SLOTS_MAX, `the header has ${SLOTS_MAX} slots already: remove one`);
    checkNewSlots([newSlot], fields.slots, this.#context);
    const createdAtMs = slotTimeMs(this.#context.nowMs());
    const slot = await buildSlot(newSlot, fields, this.keyring.epochKey(fields.epoch), this.#context);
    const entry = { label: newSlot.label, createdAtMs };
    const openedSlotIds = [...this.openedSlotIds, toHex(slot.id)];
    return this.#next([...fields.slots, slot], [...this.#entries, entry], this.settings, openedSlotIds);
  }

  /**
   * Returns the next header, without one slot. This does not revoke the slot's secret: with it and a copy of
   * an older header, everything can still be read. Only {@link rekey} followed by sealing all data again ends
   * that.
   *
   * Throws EINVAL for an unknown id, or when no slot would be left that this netseal can open.
   */
  removeSlot(slotId: string): VolumeHeader {
    requireText('slotId', slotId);
    const { slots } = this.#fields;
    const index = slots.findIndex(slot => toHex(slot.id) === slotId);
    requireArgument(index >= 0, `the header has no slot ${slotId}`);
    const isOpenable = slots.some((slot, other) => other !== index && slot.type !== 'unknown');
    requireArgument(isOpenable, 'the last slot cannot be removed: nothing would open the volume');
    return this.#next(
      slots.toSpliced(index, 1),
      this.#entries.toSpliced(index, 1),
      this.settings,
      this.openedSlotIds.filter(id => id !== slotId),
    );
  }

  /**
   * Returns the next header, with other settings. They are copied. Throws EINVAL when they exceed 4,096
   * bytes.
   */
  withSettings(settings: Uint8Array): VolumeHeader {
    checkSettings(settings);
    return this.#next(this.#fields.slots, this.#entries, new Uint8Array(settings), this.openedSlotIds);
  }

  /**
   * Returns the next header, with a new epoch: a new random key, under which new records are sealed.
   *
   *   - Only slots that the given secrets open are kept. One callback, or one passphrase used in two slots,
   *     may open more slots than you mean to keep. To shut out one holder, name the slots to keep in
   *     `slotIds`.
   *   - The keys of older epochs are wrapped under the new key.
   *   - The new header has a keyring of its own.
   *
   * Rejects with EKEY when a secret opens no slot to keep, or no secret opens a named slot. Rejects with
   * EINVAL without secrets, for an unknown slot id, or after 256 epochs. In each case nothing has changed.
   */
  async rekey(secrets: Secret | readonly Secret[], options: RekeyOptions = {}): Promise<VolumeHeader> {
    requireObject('options', options);
    const { slotIds } = options;
    if (slotIds !== undefined) requireList('options.slotIds', slotIds);
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
        entries: this.#entries.filter((_, index) => kept[index] !== undefined),
        settings: this.settings,
        droppedEpochs: this.#droppedEpochs,
      };
      const slots = kept.filter(slot => slot !== undefined);
      const olderEpochs = wrapOlderEpochs(this.keyring, epoch, newKey, fill);
      const content = { ...fields, ...this.#nextGeneration(), epoch, slots, olderEpochs };
      const sealed = sealHeader(content, privatePart, newKey, fill);
      const ids = slots.map(slot => toHex(slot.id));
      return new VolumeHeader(sealed, privatePart, openKeyring(sealed.fields, newKey), ids, this.#context);
    } finally {
      newKey.fill(0);
    }
  }

  /**
   * Returns the next header, without the keys of some older epochs. What is still sealed under them can never
   * be opened again, so the caller makes sure that nothing is. The header keeps traces of the latest 128
   * dropped epochs. By such a trace, a client whose pin is of a dropped epoch knows that this header is later
   * than the pinned one. The new header has a keyring of its own.
   *
   * Throws EINVAL for the newest epoch, and for one that the header does not have. Then nothing has changed.
   */
  dropEpochs(epochs: readonly number[]): VolumeHeader {
    requireList('epochs', epochs);
    const fields = this.#fields;
    requireArgument(
      !epochs.includes(fields.epoch),
      `epoch ${fields.epoch} is the newest: it seals what comes`,
    );
    const known = new Set(fields.olderEpochs.map(({ epoch }) => epoch));
    for (const epoch of epochs) requireArgument(known.has(epoch), `the header has no epoch ${epoch}`);
    const olderEpochs = fields.olderEpochs.filter(({ epoch }) => !epochs.includes(epoch));
    const { volumeId } = fields;
    const dropped = [...new Set(epochs)].map(epoch => ({
      epoch,
      trace: epochTrace(this.keyring.epochKey(epoch), volumeId, epoch),
    }));
    const droppedEpochs = [...this.#droppedEpochs, ...dropped]
      .sort((left, right) => left.epoch - right.epoch)
      .slice(-DROPPED_EPOCHS_MAX);
    const privatePart = { entries: this.#entries, settings: this.settings, droppedEpochs };
    const newestKey = this.keyring.epochKey(fields.epoch);
    const content = { ...fields, ...this.#nextGeneration(), olderEpochs };
    const sealed = sealHeader(content, privatePart, newestKey, this.#context.entropy.fill);
    const keyring = openKeyring(sealed.fields, newestKey);
    return new VolumeHeader(sealed, privatePart, keyring, this.openedSlotIds, this.#context);
  }

  get #entries(): SlotEntry[] {
    return this.slots.map(({ label, createdAtMs }) => ({ label, createdAtMs }));
  }

  /** Returns the next generation and its flags. The flag for test randomness is never taken away. */
  #nextGeneration(): { generation: number; flags: number } {
    const { generation, flags } = this.#fields;
    requireArgument(generation < Number.MAX_SAFE_INTEGER, 'the header has reached its last generation');
    return {
      generation: generation + 1,
      flags: this.#context.entropy.isTest ? flags | FLAG_TEST_RANDOMNESS : flags,
    };
  }

  #next(
    slots: readonly Slot[],
    entries: readonly SlotEntry[],
    settings: Uint8Array<ArrayBuffer>,
    openedSlotIds: readonly string[],
  ): VolumeHeader {
    const fields = this.#fields;
    const privatePart = { entries, settings, droppedEpochs: this.#droppedEpochs };
    const sealed = sealHeader(
      { ...fields, ...this.#nextGeneration(), slots },
      privatePart,
      this.keyring.epochKey(fields.epoch),
      this.#context.entropy.fill,
    );
    return new VolumeHeader(sealed, privatePart, this.keyring, openedSlotIds, this.#context);
  }
}

/**
 * Makes the header of a new volume: a random id, a random key for epoch 1, generation 1. Rejects with EINVAL.
 */
export async function createHeader(
  newSlots: readonly NewSlot[],
  settings: Uint8Array,
  context: HeaderContext,
): Promise<VolumeHeader> {
  requireList('slots', newSlots);
  requireArgument(
    newSlots.length >= 1 && newSlots.length <= SLOTS_MAX,
    `a header has 1 to ${SLOTS_MAX} slots, not ${newSlots.length}`,
  );
  checkSettings(settings);
  checkNewSlots(newSlots, [], context);
  const entries = newSlots.map(({ label }) => ({ label, createdAtMs: slotTimeMs(context.nowMs()) }));
  const { fill, isTest } = context.entropy;
  const epochKey = randomBytes(KEY_BYTES, fill);
  try {
    const volumeId = randomBytes(ID_BYTES, fill);
    const slots: KnownSlot[] = [];
    for (const newSlot of newSlots) {
      slots.push(await buildSlot(newSlot, { volumeId, epoch: 1 }, epochKey, context));
    }
    const privatePart = { entries, settings: new Uint8Array(settings), droppedEpochs: [] };
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

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
