/**
 * Seals and opens control records (inodes, leaves, map pages, footers, ...) on the calling thread.
 *
 * - They are few and small: a trip to a worker would cost more than the work.
 * - They need none of the pipeline's memory. Otherwise an upload that needs its footer could wait for memory
 *   that is held by units which wait for that very upload.
 */
import { codeOf } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Keyring } from '../../keys/keyring.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import { chooseProviders, type ProviderSettings, type Providers } from '../../unit/providers.ts';
import { decodeHeader, type RecordKind, recordTag, type SuiteName } from '../../unit/record-format.ts';
import { RecordSealer } from '../../unit/record-sealer.ts';

/** The place that a control record is sealed for: it opens for no other. */
export interface ControlAt {
  readonly kind: Exclude<RecordKind, 'unit' | 'streamUnit'>;
  readonly objectId: Id;
  readonly index: number;
}

export interface SealedRecord {
  /** The caller owns the bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** 16 bytes. The caller owns them. */
  readonly tag: Uint8Array<ArrayBuffer>;
}

export interface ControlSettings {
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly providers?: ProviderSettings | undefined;
}

/** How many derived keys are kept. */
const KEYS_MAX = 512;

export class ControlSealer {
  readonly #sealer: RecordSealer;

  /**
   * Makes a sealer. EUNSUPPORTED when a provider is missing.
   *
   * @param keyring the caller keeps it, and must not destroy it before this.
   */
  static async create(keyring: Keyring, settings: ControlSettings): Promise<ControlSealer> {
    return new ControlSealer(keyring, settings, await chooseProviders(settings.providers ?? {}));
  }

  /** The epoch that everything is sealed under. */
  get newestEpoch(): number {
    return this.#sealer.keyring.newestEpoch;
  }

  /** The epochs whose records can be opened, ascending. */
  get epochs(): readonly number[] {
    return this.#sealer.keyring.epochs;
  }

  /** Records of earlier epochs cannot be opened any more. */
  get oldestEpoch(): number {
    return this.epochs[0] ?? this.newestEpoch;
  }

  private constructor(keyring: Keyring, { suite, codec }: ControlSettings, providers: Providers) {
    const padding = 'control';
    this.#sealer = new RecordSealer(keyring, providers, { suite, codec, padding, keysMax: KEYS_MAX });
  }

  /** Seals under the newest epoch. EINVAL when `plain` is longer than 16 MiB. */
  seal(at: ControlAt, plain: Uint8Array): SealedRecord {
    // A copy: content that compresses well would otherwise hold on to much more memory than it fills.
    const bytes = this.#sealer.seal(at, plain).slice();
    return { bytes, tag: recordTag(bytes).slice() };
  }

  /**
   * Opens one whole record.
   *
   * Throws EAUTH, EFORMAT, ETRUNCATED, EUNSUPPORTED, EKEY.
   *
   * @param plainBytesMax longer content is EFORMAT.
   * @returns the plain bytes, which the caller owns.
   */
  open(
    at: ControlAt,
    sealed: Uint8Array,
    plainBytesMax: number,
    expectedTag?: Uint8Array,
  ): Uint8Array<ArrayBuffer> {
    const header = decodeHeader(sealed);
    // The plain length is known only after opening. Most records hold little more than their sealed length,
    // so a small buffer is tried first.
    for (let roomBytes = Math.min(plainBytesMax, 8 * sealed.byteLength); ; roomBytes = plainBytesMax) {
      const out = new Uint8Array(roomBytes);
      try {
        const plainBytes = this.#sealer.open(at, header, sealed, out, expectedTag);
        return out.subarray(0, plainBytes);
      } catch (error) {
        const isTooSmall = codeOf(error) === 'EFORMAT';
        if (!isTooSmall || roomBytes === plainBytesMax) throw error;
      }
    }
  }

  /** Zeroes the derived keys. */
  destroy(): void {
    this.#sealer.destroy();
  }
}
