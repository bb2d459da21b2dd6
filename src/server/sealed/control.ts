/**
 * Seals and opens control records (inodes, leaves, map pages, footers, ...) on the calling thread. They are few and small, so
 * a trip to a worker would cost more than the work; and they need none of the pipeline's memory, so that an upload
 * which needs its footer never waits for units that wait for that upload.
 */
import { codeOf } from '../../base/errors.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { Keyring } from '../../keys/keyring.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import { chooseProviders, type ProviderSettings, type Providers } from '../../unit/providers.ts';
import { decodeHeader, type RecordKind, recordTag, type SuiteName } from '../../unit/record-format.ts';
import { type RecordAddress, RecordSealer } from '../../unit/record-sealer.ts';

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
  readonly #sealer: RecordSealer;

  /** @param keyring stays the caller's; must outlive this. EUNSUPPORTED when a provider is missing. */
  static async create(keyring: Keyring, settings: ControlSettings): Promise<ControlSealer> {
    return new ControlSealer(keyring, settings, await chooseProviders(settings.providers ?? {}));
  }

  private constructor(keyring: Keyring, { suite, codec }: ControlSettings, providers: Providers) {
    const blockSizeBytes = CONTROL_BLOCK_BYTES;
    this.#sealer = new RecordSealer(keyring, providers, { suite, codec, blockSizeBytes, keysMax: KEYS_MAX });
  }

  /** Seals under the newest epoch. EINVAL when `plain` is longer than 16 MiB. */
  seal(at: ControlAt, plain: Uint8Array): SealedRecord {
    // Content that compresses well leaves most of the sealer's memory unused.
    const bytes = this.#sealer.seal(addressOf(at), plain).slice();
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
    const address = addressOf(at);
    // The record says how much it holds only once it is open; most hold little more than they are long.
    for (let roomBytes = Math.min(plainBytesMax, 8 * sealed.byteLength); ; roomBytes = plainBytesMax) {
      const out = new Uint8Array(roomBytes);
      try {
        const plainBytes = this.#sealer.open(address, header, sealed, out, expectedTag);
        return out.subarray(0, plainBytes);
      } catch (error) {
        const isTooSmall = codeOf(error) === 'EFORMAT';
        if (!isTooSmall || roomBytes === plainBytesMax) throw error;
      }
    }
  }

  /** Zeroes what was derived. */
  destroy(): void {
    this.#sealer.destroy();
  }
}

function addressOf({ kind, objectId, index }: ControlAt): RecordAddress {
  return { kind, objectId: idBytes(objectId), index };
}
