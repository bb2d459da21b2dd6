/** The unlocked keys of one volume: its id and the key of every epoch. */
import { requireBytes, requireInteger, shownValue } from '../base/arguments.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes, systemRandom } from '../base/random.ts';
import { KEY_BYTES } from './tree.ts';

/** The most epochs that a volume header holds. Their numbers start at 1. */
export const EPOCHS_MAX = 256;

function requireMap(epochKeys: unknown): void {
  requireArgument(epochKeys instanceof Map, `epochKeys must be a Map, not ${shownValue(epochKeys)}`);
}

/**
 * Holds copies of a volume's epoch keys, and zeroes them in {@link Keyring.destroy}. New records are sealed
 * under the newest epoch. Keys of older epochs only open records.
 */
export class Keyring {
  /** 16 bytes; do not change them. */
  readonly volumeId: Uint8Array<ArrayBuffer>;
  readonly #epochKeys: ReadonlyMap<number, Uint8Array<ArrayBuffer>>;
  readonly newestEpoch: number;
  #destroyed = false;

  /**
   * Copies the id and the keys. Throws EINVAL when one of them is not as below.
   *
   * @param volumeId 16 bytes.
   * @param epochKeys 1 to {@link EPOCHS_MAX} entries: epoch number (1 to 2^32 - 1) to 32-byte key.
   */
  constructor(volumeId: Uint8Array, epochKeys: ReadonlyMap<number, Uint8Array>) {
    requireBytes('volumeId', volumeId, ID_BYTES);
    requireMap(epochKeys);
    requireArgument(
      epochKeys.size >= 1 && epochKeys.size <= EPOCHS_MAX,
      `a keyring holds 1 to ${EPOCHS_MAX} epochs, not ${epochKeys.size}`,
    );
    const copies = new Map<number, Uint8Array<ArrayBuffer>>();
    for (const [epoch, key] of epochKeys) {
      requireInteger('epoch', epoch, 1, 0xffff_ffff);
      requireBytes('epoch key', key, KEY_BYTES);
      copies.set(epoch, new Uint8Array(key));
    }
    this.volumeId = new Uint8Array(volumeId);
    this.#epochKeys = copies;
    this.newestEpoch = Math.max(...copies.keys());
  }

  /** Makes the keyring of a new volume: a random id, and a random key for epoch 1. */
  static create(): Keyring {
    const key = randomBytes(KEY_BYTES, systemRandom);
    const keyring = new Keyring(randomBytes(ID_BYTES, systemRandom), new Map([[1, key]]));
    key.fill(0);
    return keyring;
  }

  /** The numbers of the epochs in this keyring, ascending. */
  get epochs(): number[] {
    return [...this.#epochKeys.keys()].sort((left, right) => left - right);
  }

  /**
   * Returns the 32-byte key of an epoch. The keyring owns it: copy it if it must outlive the keyring.
   *
   * Throws EKEY when the keyring has no such epoch, ECLOSED after destroy.
   */
  epochKey(epoch: number): Uint8Array<ArrayBuffer> {
    // Damaged bytes may say 0: then no key fits, and no argument of a program is wrong.
    requireInteger('epoch', epoch, 0, 0xffff_ffff);
    if (this.#destroyed) throw new NetsealError('ECLOSED', 'the keyring was destroyed');
    const key = this.#epochKeys.get(epoch);
    if (key === undefined) {
      const why =
        epoch > this.newestEpoch
          ? 'its keys have been changed since they were read: open it again'
          : `this keyring holds ${this.epochs.join(', ')}`;
      throw new NetsealError('EKEY', `no key for epoch ${epoch}; ${why}`);
    }
    return key;
  }

  /** Zeroes every key. After that the keyring gives out none. Calling it again does nothing. */
  destroy(): void {
    this.#destroyed = true;
    for (const key of this.#epochKeys.values()) key.fill(0);
  }

  [Symbol.dispose](): void {
    this.destroy();
  }
}
