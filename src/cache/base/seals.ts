import type { Keyring } from '../../keys/keyring.ts';
import { deriveCommittedKey } from '../../keys/tree.ts';
import { NonceSource } from '../../unit/nonces.ts';
import { Opener } from '../../unit/open.ts';
import type { Providers } from '../../unit/providers.ts';
import {
  decodeHeader,
  payloadToSealedBytes,
  type RecordHeader,
  type RecordKind,
  SUITE_DEFAULT,
  type SuiteName,
} from '../../unit/record-format.ts';
import { RecordKey } from '../../unit/record-key.ts';
import { Sealer } from '../../unit/seal.ts';

const SETTING = { codec: { codec: 'stored', level: 0 }, blockSizeBytes: 64 } as const;
const KEYS_MAX = 64;

/** Kinds of records that a cache makes. */
export type CacheKind = Extract<RecordKind, 'cacheIndex' | 'journalRecord'>;

export class Seals {
  readonly #providers: Providers;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #keys = new Map<string, RecordKey>();
  #keyring: Keyring;

  /** @param keyring still the caller's, who destroys it last. */
  constructor(keyring: Keyring, providers: Providers) {
    this.#keyring = keyring;
    this.#providers = providers;
    this.#sealer = new Sealer(providers, new NonceSource());
    this.#opener = new Opener(providers);
  }

  get cacheId(): Uint8Array {
    return this.#keyring.volumeId;
  }

  /** Records of later ones are of a header that is not the one that was opened. */
  get newestEpoch(): number {
    return this.#keyring.newestEpoch;
  }

  /** What fingerprints are made with; the same in every epoch. 32 bytes, the caller's. */
  fingerprintKey(): Uint8Array<ArrayBuffer> {
    const [oldest = 1] = this.#keyring.epochs;
    return deriveCommittedKey(this.#keyring.epochKey(oldest), this.cacheId, 'cache/fingerprints').key;
  }

  /** The next epoch's keys, which hold the older ones as well. */
  replaceKeyring(keyring: Keyring): void {
    this.#dropKeys();
    this.#keyring = keyring;
  }

  /** What {@link seal} makes of so many bytes. */
  static sealedBytes(plainBytes: number): number {
    return payloadToSealedBytes(plainBytes, SETTING.blockSizeBytes);
  }

  /** A record that the caller owns. @param objectId 16 bytes. @param plain at most 16 MiB. */
  seal(kind: CacheKind, objectId: Uint8Array, index: number, plain: Uint8Array): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(Seals.sealedBytes(plain.byteLength));
    this.#sealer.startRun();
    const key = this.#key(kind, objectId, this.#keyring.newestEpoch, SUITE_DEFAULT);
    const lengthBytes = this.#sealer.seal(key, { index, unitSizeLog2: 0 }, SETTING, plain, out);
    return out.subarray(0, lengthBytes);
  }

  /**
   * The content of a record, which the caller owns. Throws what an opener throws: EAUTH, EFORMAT, ETRUNCATED, EKEY.
   *
   * @param record may go on past the record's end.
   * @param into where to put it; the result is a view of it then.
   */
  open(
    kind: CacheKind,
    objectId: Uint8Array,
    index: number,
    record: Uint8Array,
    into?: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> {
    const header: RecordHeader = decodeHeader(record);
    const key = this.#key(kind, objectId, header.epoch, header.suite);
    const out = into ?? new Uint8Array(header.sealedLengthBytes);
    const exact = record.subarray(0, header.sealedLengthBytes);
    const { plainBytes } = this.#opener.open(header, key, { index, unitSizeLog2: 0 }, exact, out);
    return out.subarray(0, plainBytes);
  }

  destroy(): void {
    this.#dropKeys();
    this.#sealer.wipe();
  }

  #key(kind: CacheKind, objectId: Uint8Array, epoch: number, suite: SuiteName): RecordKey {
    const name = `${kind}/${epoch}/${suite}/${Buffer.from(objectId).toString('latin1')}`;
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const { volumeId } = this.#keyring;
    const epochKey = this.#keyring.epochKey(epoch);
    const key = new RecordKey(
      { volumeId, objectId, kind, suite, epoch },
      epochKey,
      this.#providers.suite(suite),
    );
    if (this.#keys.size >= KEYS_MAX) {
      const [oldest] = this.#keys;
      oldest?.[1].destroy();
      if (oldest !== undefined) this.#keys.delete(oldest[0]);
    }
    this.#keys.set(name, key);
    return key;
  }

  #dropKeys(): void {
    for (const key of this.#keys.values()) key.destroy();
    this.#keys.clear();
  }
}
