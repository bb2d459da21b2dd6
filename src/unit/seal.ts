/** Seals one plain unit into one sealed record. The steps are, in this order: compress, pad, encrypt. */
import { requireInteger } from '../base/arguments.ts';
import { copyBytes, discard, viewOf } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { BLOCK_BYTES_MAX, checkBlockSize, roundUp, UNIT_BYTES_MAX } from '../base/geometry.ts';
import type { CodecSetting } from './codec.ts';
import type { NonceSource } from './nonces.ts';
import type { Providers } from './providers.ts';
import {
  ASSOCIATED_BYTES,
  type CodecName,
  checkPlace,
  encodeAssociated,
  encodeHeader,
  encodeInnerHeader,
  HEADER_BYTES,
  INNER_HEADER_BYTES,
  NONCE_BYTES,
  payloadToSealedBytes,
  plainBytesMaxOf,
  type RecordPlace,
} from './record-format.ts';
import type { RecordKey } from './record-key.ts';

/** Settings that many records share. */
export interface SealSetting {
  readonly codec: CodecSetting;
  /**
   * The payload is padded to a multiple of this: a power of two from 1 byte to 64 KiB, at most the unit size.
   */
  readonly blockSizeBytes: number;
}

/**
 * Returns the length of the longest record that `plainBytes` can become. Incompressible data is stored as it
 * is. EINVAL for more than 16 MiB, or a block size that does not exist.
 */
export function sealedBytesMax(plainBytes: number, blockSizeBytes: number): number {
  requireInteger('plainBytes', plainBytes, 0, UNIT_BYTES_MAX);
  checkBlockSize(blockSizeBytes, BLOCK_BYTES_MAX);
  return payloadToSealedBytes(plainBytes, blockSizeBytes);
}

/**
 * Seals records, one at a time. One thread uses it. It keeps a scratch buffer as long as the longest
 * plaintext so far.
 */
export class Sealer {
  readonly #providers: Providers;
  readonly #nonces: NonceSource;
  readonly #associated = new Uint8Array(ASSOCIATED_BYTES);
  readonly #associatedView: DataView = viewOf(this.#associated);
  #scratch = new Uint8Array(0);

  constructor(providers: Providers, nonces: NonceSource) {
    this.#providers = providers;
    this.#nonces = nonces;
  }

  /** Ends the current nonce run; see {@link NonceSource}. Call it between batches. */
  startRun(): void {
    this.#nonces.startRun();
  }

  /**
   * Seals `plain` into the start of `out` and returns the length of the record. Its last 16 bytes are the
   * tag.
   *
   * Throws EINVAL when a size, the place or a flag is out of range. Then `out` is unchanged.
   *
   * @param key the key for the object, kind, epoch and suite of the record.
   * @param plain 0 bytes to the unit size of `place`; to 1 MiB for packs, to 16 MiB for other kinds without
   *   one. It is only read, and may be shared memory that does not change meanwhile.
   * @param out at least `sealedBytesMax(plain.byteLength, blockSizeBytes)` long, not overlapping `plain`. It
   *   may be shared memory.
   * @param flags `FLAG_LAST` or 0.
   */
  seal(
    key: RecordKey,
    place: RecordPlace,
    setting: SealSetting,
    plain: Uint8Array,
    out: Uint8Array,
    flags = 0,
  ): number {
    const { blockSizeBytes } = setting;
    checkPlace(place);
    const unitBytesMax = plainBytesMaxOf(key.kind, place.unitSizeLog2 === 0 ? 0 : 2 ** place.unitSizeLog2);
    requireArgument(
      plain.byteLength <= unitBytesMax,
      `cannot seal ${plain.byteLength} bytes where at most ${unitBytesMax} belong`,
    );
    // Readers refuse a payload that is padded beyond the unit size, and padding of 64 KiB or more.
    checkBlockSize(blockSizeBytes, unitBytesMax);
    requireArgument(
      out.byteLength >= sealedBytesMax(plain.byteLength, blockSizeBytes),
      `sealing ${plain.byteLength} bytes needs more room than ${out.byteLength}`,
    );
    const { codec, payload } = this.#encode(plain, setting);
    const plaintext = this.#layOut(codec, plain.byteLength, payload, blockSizeBytes);
    if (payload !== plain) discard(payload);

    const sealedLengthBytes = payloadToSealedBytes(plaintext.byteLength - INNER_HEADER_BYTES, 1);
    const { suite, epoch } = key;
    encodeHeader(viewOf(out), key.kind, { suite, flags, epoch, sealedLengthBytes });
    const nonce = out.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    this.#nonces.next(nonce);
    encodeAssociated(this.#associatedView, out, key.volumeId, key.objectId, place);
    key.cipher.seal(nonce, this.#associated, plaintext, out.subarray(HEADER_BYTES + NONCE_BYTES));
    return sealedLengthBytes;
  }

  /** Zeroes the scratch buffer. The sealer stays usable. */
  wipe(): void {
    this.#scratch.fill(0);
    this.#scratch = new Uint8Array(0);
  }

  /** Compresses `plain`. Returns it as it is (`stored`) when compression would save less than one block. */
  #encode(plain: Uint8Array, setting: SealSetting): { codec: CodecName; payload: Uint8Array } {
    const { codec, level } = setting.codec;
    const { blockSizeBytes } = setting;
    const worthBytes = roundUp(plain.byteLength, blockSizeBytes) - blockSizeBytes;
    if (codec === 'stored' || worthBytes <= 0) return { codec: 'stored', payload: plain };
    const payload = this.#providers.codec(codec).compress(plain, level);
    if (roundUp(payload.byteLength, blockSizeBytes) <= worthBytes) return { codec, payload };
    discard(payload);
    return { codec: 'stored', payload: plain };
  }

  /** Writes inner header ‖ payload ‖ zero padding to the scratch buffer, which no other thread can change. */
  #layOut(codec: CodecName, plainBytes: number, payload: Uint8Array, blockSizeBytes: number): Uint8Array {
    const payloadEnd = INNER_HEADER_BYTES + payload.byteLength;
    const end = INNER_HEADER_BYTES + roundUp(payload.byteLength, blockSizeBytes);
    if (this.#scratch.byteLength < end) this.#scratch = new Uint8Array(end);
    const plaintext = this.#scratch.subarray(0, end);
    encodeInnerHeader(viewOf(plaintext), { codec, plainBytes, payloadBytes: payload.byteLength });
    copyBytes(payload, plaintext, INNER_HEADER_BYTES);
    plaintext.fill(0, payloadEnd);
    return plaintext;
  }
}
