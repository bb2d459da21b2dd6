/**
 * Seals and opens records one at a time, on the calling thread, with keys that it derives from a keyring. For
 * small records, which are not worth a trip to a worker. One thread uses it.
 */
import { toByteString } from '../base/bytes.ts';
import { type Id, idBytes } from '../base/ids.ts';
import type { Keyring } from '../keys/keyring.ts';
import { NonceSource } from './nonces.ts';
import { Opener } from './open.ts';
import type { Providers } from './providers.ts';
import { payloadToSealedBytes, type RecordHeader, type RecordKind, type SuiteName } from './record-format.ts';
import { RecordKey } from './record-key.ts';
import { Sealer, type SealSetting } from './seal.ts';

/** The place that a record is sealed for. It opens at no other. */
export interface RecordAddress {
  readonly kind: RecordKind;
  /**
   * 16 bytes, or their hexadecimal digits. Neither is converted while the object's key is among the kept
   * ones.
   */
  readonly objectId: Uint8Array | Id;
  readonly index: number;
}

export interface RecordSealerSettings extends SealSetting {
  readonly suite: SuiteName;
  /** How many derived keys are kept. Deriving one costs more than sealing a small record. */
  readonly keysMax: number;
}

export class RecordSealer {
  readonly #providers: Providers;
  readonly #settings: RecordSealerSettings;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  /** By object, kind, suite and epoch; the least recently used comes first. */
  readonly #keys = new Map<string, RecordKey>();
  #latestKey: RecordKey | undefined;
  #keyring: Keyring;

  /** @param keyring stays the caller's, who destroys it after this. */
  constructor(keyring: Keyring, providers: Providers, settings: RecordSealerSettings) {
    this.#keyring = keyring;
    this.#providers = providers;
    this.#settings = settings;
    this.#sealer = new Sealer(providers, new NonceSource());
    this.#opener = new Opener(providers);
  }

  get keyring(): Keyring {
    return this.#keyring;
  }

  /** Seals with another keyring from now on. Zeroes the keys that were derived from the old one. */
  replaceKeyring(keyring: Keyring): void {
    this.#dropKeys();
    this.#keyring = keyring;
  }

  /**
   * Seals under the newest epoch.
   *
   * @param plain at most 16 MiB, otherwise EINVAL.
   * @returns the record: a view of new memory that the caller owns. The memory may be longer than the record,
   *   by what compression saved.
   */
  seal(address: RecordAddress, plain: Uint8Array): Uint8Array<ArrayBuffer> {
    const key = this.#key(address, this.#settings.suite, this.#keyring.newestEpoch);
    const out = new Uint8Array(payloadToSealedBytes(plain.byteLength, this.#settings.padding));
    this.#sealer.startRun();
    const place = { index: address.index, unitSizeLog2: 0 };
    const lengthBytes = this.#sealer.seal(key, place, this.#settings, plain, out);
    return out.subarray(0, lengthBytes);
  }

  /**
   * Opens one whole record into the start of `out`. Throws what {@link Opener.open} throws.
   *
   * @param header the record's own, decoded.
   * @returns how many bytes of `out` are the content.
   */
  open(
    address: RecordAddress,
    header: RecordHeader,
    record: Uint8Array,
    out: Uint8Array,
    expectedTag?: Uint8Array,
  ): number {
    const key = this.#key(address, header.suite, header.epoch);
    const place = { index: address.index, unitSizeLog2: 0 };
    return this.#opener.open(header, key, place, record, out, expectedTag).plainBytes;
  }

  /** Zeroes the derived keys. */
  destroy(): void {
    this.#dropKeys();
    this.#sealer.wipe();
  }

  #key({ kind, objectId }: RecordAddress, suite: SuiteName, epoch: number): RecordKey {
    const isHex = typeof objectId === 'string';
    const name = `${kind} ${suite} ${epoch} ${isHex ? objectId : toByteString(objectId)}`;
    const known = this.#keys.get(name);
    if (known !== undefined) {
      if (known !== this.#latestKey) this.#putLast(name, known);
      return known;
    }
    const { volumeId } = this.#keyring;
    const epochKey = this.#keyring.epochKey(epoch);
    const provider = this.#providers.suite(suite);
    const idAsBytes = isHex ? idBytes(objectId) : objectId;
    const key = new RecordKey({ volumeId, objectId: idAsBytes, kind, suite, epoch }, epochKey, provider);
    this.#putLast(name, key);
    for (const [oldName, old] of this.#keys) {
      if (this.#keys.size <= this.#settings.keysMax) break;
      old.destroy();
      this.#keys.delete(oldName);
    }
    return key;
  }

  #putLast(name: string, key: RecordKey): void {
    this.#keys.delete(name);
    this.#keys.set(name, key);
    this.#latestKey = key;
  }

  #dropKeys(): void {
    for (const key of this.#keys.values()) key.destroy();
    this.#keys.clear();
    this.#latestKey = undefined;
  }
}
