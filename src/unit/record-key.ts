/** The key for one object's records of one kind, under one suite and epoch, with a cipher bound to it. */
import { NetsealError, requireArgument } from '../base/errors.ts';
import { deriveRecordKey } from '../keys/tree.ts';
import { RECORD_KINDS, type RecordKind, SUITE_IDS, type SuiteName } from './record-format.ts';
import type { BoundCipher, CipherProvider } from './suite.ts';

/** Names the key that a record is sealed under. `docs/FORMAT.md`, "Key derivation", explains it. */
export interface RecordKeyName {
  /** 16 bytes. */
  readonly volumeId: Uint8Array;
  /** 16 bytes. */
  readonly objectId: Uint8Array;
  readonly kind: RecordKind;
  readonly suite: SuiteName;
  /** From 1. */
  readonly epoch: number;
}

/**
 * A derived key and its cipher. One thread uses it, and zeroes it with {@link RecordKey.destroy} when done.
 */
export class RecordKey implements RecordKeyName {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly kind: RecordKind;
  readonly suite: SuiteName;
  readonly epoch: number;
  /** The value that commits to this key: 32 bytes, not secret. A stream header stores it. */
  readonly commitment: Uint8Array;
  readonly #cipher: BoundCipher;
  #destroyed = false;

  /**
   * Derives the key and binds a cipher to it. Throws EINVAL when an id, the epoch or the epoch key is not as
   * below.
   *
   * @param name its ids (16 bytes) are copied; its epoch is an integer from 1 to 2^32 - 1.
   * @param epochKey 32 bytes, not kept.
   * @param provider a provider of `name.suite`.
   */
  constructor(name: RecordKeyName, epochKey: Uint8Array, provider: CipherProvider) {
    requireArgument(
      Number.isInteger(name.epoch) && name.epoch >= 1 && name.epoch <= 0xffff_ffff,
      `epoch must be an integer from 1 to 2^32 - 1, not ${name.epoch}`,
    );
    this.volumeId = new Uint8Array(name.volumeId);
    this.objectId = new Uint8Array(name.objectId);
    this.kind = name.kind;
    this.suite = name.suite;
    this.epoch = name.epoch;
    const derived = deriveRecordKey(
      epochKey,
      name.volumeId,
      RECORD_KINDS[name.kind],
      SUITE_IDS[name.suite],
      name.objectId,
    );
    this.commitment = derived.commitment;
    this.#cipher = provider.bind(derived.key);
    derived.key.fill(0);
  }

  /** The bound cipher. Throws ECLOSED after destroy, because a zeroed key must never seal anything. */
  get cipher(): BoundCipher {
    if (this.#destroyed) throw new NetsealError('ECLOSED', `the key of ${this.kind} records was destroyed`);
    return this.#cipher;
  }

  /** Zeroes the key. Calling it again does nothing. */
  destroy(): void {
    this.#destroyed = true;
    this.#cipher.destroy();
  }
}
