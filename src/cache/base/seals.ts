/**
 * Seals what is the cache's own: footers of zones, the snapshot of the index, headers of dirty batches, rows
 * of the database. They are records as `docs/FORMAT.md` has them, under the cache's keys. No two of them are
 * sealed for the same place.
 */
import type { Keyring } from '../../keys/keyring.ts';
import { deriveCommittedKey } from '../../keys/tree.ts';
import type { Providers } from '../../unit/providers.ts';
import {
  decodeHeader,
  payloadToSealedBytes,
  type RecordKind,
  SUITE_DEFAULT,
} from '../../unit/record-format.ts';
import { RecordSealer } from '../../unit/record-sealer.ts';

/** What records of the cache's own are padded to: they are small, and only their kind shows. */
const PADDING_BYTES = 64;
const KEYS_MAX = 64;

/** Kinds of records that a cache makes. */
export type CacheKind = Extract<RecordKind, 'cacheIndex' | 'journalRecord'>;

export class Seals {
  readonly #sealer: RecordSealer;

  /** @param keyring stays the caller's, who destroys it after this. */
  constructor(keyring: Keyring, providers: Providers) {
    this.#sealer = new RecordSealer(keyring, providers, {
      suite: SUITE_DEFAULT,
      codec: { codec: 'stored', level: 0 },
      padding: PADDING_BYTES,
      keysMax: KEYS_MAX,
    });
  }

  get cacheId(): Uint8Array {
    return this.#sealer.keyring.volumeId;
  }

  /** A record of a later epoch was sealed under a header that has since been replaced by an older one. */
  get newestEpoch(): number {
    return this.#sealer.keyring.newestEpoch;
  }

  /** The key that fingerprints are made with; the same in every epoch. 32 bytes, the caller's. */
  fingerprintKey(): Uint8Array<ArrayBuffer> {
    const { keyring } = this.#sealer;
    const [oldest = 1] = keyring.epochs;
    return deriveCommittedKey(keyring.epochKey(oldest), this.cacheId, 'cache/fingerprints').key;
  }

  /** Seals with the next epoch's keys from now on. The new keyring holds the older keys as well. */
  replaceKeyring(keyring: Keyring): void {
    this.#sealer.replaceKeyring(keyring);
  }

  /** The length that {@link seal} makes of so many bytes. */
  static sealedBytes(plainBytes: number): number {
    return payloadToSealedBytes(plainBytes, PADDING_BYTES);
  }

  /** Returns a record that the caller owns. @param objectId 16 bytes. @param plain at most 16 MiB. */
  seal(kind: CacheKind, objectId: Uint8Array, index: number, plain: Uint8Array): Uint8Array<ArrayBuffer> {
    return this.#sealer.seal({ kind, objectId, index }, plain);
  }

  /**
   * Returns the content of a record, which the caller owns. Throws EAUTH, EFORMAT, ETRUNCATED, EUNSUPPORTED,
   * EKEY.
   *
   * @param record may go on past the record's end.
   * @param into where to put the content; the result is then a view of it.
   */
  open(
    kind: CacheKind,
    objectId: Uint8Array,
    index: number,
    record: Uint8Array,
    into?: Uint8Array<ArrayBuffer>,
  ): Uint8Array<ArrayBuffer> {
    const header = decodeHeader(record);
    const out = into ?? new Uint8Array(header.sealedLengthBytes);
    const exact = record.subarray(0, header.sealedLengthBytes);
    const plainBytes = this.#sealer.open({ kind, objectId, index }, header, exact, out);
    return out.subarray(0, plainBytes);
  }

  /** Zeroes what was derived from the keyring. */
  destroy(): void {
    this.#sealer.destroy();
  }
}
