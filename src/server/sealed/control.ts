/**
 * Seals and opens control records (inodes, leaves, map pages, footers, ...) on the calling thread. They are few and small, so
 * a trip to a worker would cost more than the work; and they need none of the pipeline's memory, so that an upload
 * which needs its footer never waits for units that wait for that upload.
 */
import { codeOf } from '../../base/errors.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { Keyring } from '../../keys/keyring.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import { NonceSource } from '../../unit/nonces.ts';
import { Opener } from '../../unit/open.ts';
import { chooseProviders, type ProviderSettings, type Providers } from '../../unit/providers.ts';
import { decodeHeader, type RecordKind, recordTag, type SuiteName } from '../../unit/record-format.ts';
import { RecordKey } from '../../unit/record-key.ts';
import { Sealer, sealedBytesMax } from '../../unit/seal.ts';

/** What control records are padded to: hides small differences, and costs little. */
export const CONTROL_BLOCK_BYTES = 256;

/** The place that a control record is sealed for. */
export interface ControlAt {
  readonly kind: Exclude<RecordKind, 'unit' | 'streamUnit'>;
  readonly objectId: Id;
  readonly index: number;
}

export interface SealedRecord {
  /** The caller's own. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** 16 bytes of the caller's own. */
  readonly tag: Uint8Array<ArrayBuffer>;
}

export interface ControlSettings {
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly providers?: ProviderSettings | undefined;
}

/** Derived keys that are kept. */
const KEYS_MAX = 512;

export class ControlSealer {
  readonly #keyring: Keyring;
  readonly #settings: ControlSettings;
  readonly #providers: Providers;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  /** By place and epoch; least recently used first. */
  readonly #keys = new Map<string, RecordKey>();

  /** @param keyring stays the caller's; must outlive this. EUNSUPPORTED when a provider is missing. */
  static async create(keyring: Keyring, settings: ControlSettings): Promise<ControlSealer> {
    return new ControlSealer(keyring, settings, await chooseProviders(settings.providers ?? {}));
  }

  private constructor(keyring: Keyring, settings: ControlSettings, providers: Providers) {
    this.#keyring = keyring;
    this.#settings = settings;
    this.#providers = providers;
    this.#sealer = new Sealer(providers, new NonceSource());
    this.#opener = new Opener(providers);
  }

  /** Seals under the newest epoch. EINVAL when `plain` is longer than 16 MiB. */
  seal(at: ControlAt, plain: Uint8Array): SealedRecord {
    const { suite, codec } = this.#settings;
    const key = this.#key(at, suite, this.#keyring.newestEpoch);
    const out = new Uint8Array(sealedBytesMax(plain.byteLength, CONTROL_BLOCK_BYTES));
    this.#sealer.startRun();
    const place = { index: at.index, unitSizeLog2: 0 };
    const setting = { codec, blockSizeBytes: CONTROL_BLOCK_BYTES };
    const bytes = out.slice(0, this.#sealer.seal(key, place, setting, plain, out));
    return { bytes, tag: recordTag(bytes).slice() };
  }

  /**
   * Opens one whole record.
   *
   * @param plainBytesMax longer content is EFORMAT.
   * @returns plain bytes of the caller's own. Throws EAUTH, EFORMAT, ETRUNCATED, EUNSUPPORTED, EKEY.
   */
  open(
    at: ControlAt,
    sealed: Uint8Array,
    plainBytesMax: number,
    expectedTag?: Uint8Array,
  ): Uint8Array<ArrayBuffer> {
    const header = decodeHeader(sealed);
    const key = this.#key(at, header.suite, header.epoch);
    // The record says how much it holds only once it is open; most hold little more than they are long.
    for (let roomBytes = Math.min(plainBytesMax, 8 * sealed.byteLength); ; roomBytes = plainBytesMax) {
      const out = new Uint8Array(roomBytes);
      try {
        const place = { index: at.index, unitSizeLog2: 0 };
        const { plainBytes } = this.#opener.open(header, key, place, sealed, out, expectedTag);
        return out.subarray(0, plainBytes);
      } catch (error) {
        const isTooSmall = codeOf(error) === 'EFORMAT';
        if (!isTooSmall || roomBytes === plainBytesMax) throw error;
      }
    }
  }

  /** Zeroes what was derived. */
  destroy(): void {
    for (const key of this.#keys.values()) key.destroy();
    this.#keys.clear();
    this.#sealer.wipe();
  }

  #key({ kind, objectId }: ControlAt, suite: SuiteName, epoch: number): RecordKey {
    const name = `${kind} ${suite} ${epoch} ${objectId}`;
    const known = this.#keys.get(name);
    if (known !== undefined) {
      this.#keys.delete(name);
      this.#keys.set(name, known);
      return known;
    }
    const { volumeId } = this.#keyring;
    const key = new RecordKey(
      { volumeId, objectId: idBytes(objectId), kind, suite, epoch },
      this.#keyring.epochKey(epoch),
      this.#providers.suite(suite),
    );
    this.#keys.set(name, key);
    for (const [oldName, old] of this.#keys) {
      if (this.#keys.size <= KEYS_MAX) break;
      old.destroy();
      this.#keys.delete(oldName);
    }
    return key;
  }
}
