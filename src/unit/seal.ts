/** Seals one plain unit into one sealed record. The steps are, in this order: compress, pad, encrypt. */
import { requireInteger } from '../base/arguments.ts';
import { copyBytes, discard, viewOf } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { UNIT_BYTES_MAX } from '../base/geometry.ts';
import type { CodecSetting } from './codec.ts';
import type { NonceSource } from './nonces.ts';
import { checkPadding, type Padding, paddedBytes, type RecordPadding, savesEnough } from './padding.ts';
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
  RECORD_OVERHEAD_BYTES,
  type RecordPlace,
} from './record-format.ts';
import type { RecordKey } from './record-key.ts';

/** Settings that many records share. */
export interface SealSetting {
  readonly codec: CodecSetting;
  /** A size is at most the unit size. */
  readonly padding: RecordPadding;
}

/**
 * Returns the length of the longest record that `plainBytes` can become. Incompressible data is stored as it
 * is. EINVAL for more than 16 MiB, or a padding that does not exist.
 */
export function sealedBytesMax(plainBytes: number, padding: Padding): number {
  requireInteger('plainBytes', plainBytes, 0, UNIT_BYTES_MAX);
  checkPadding(padding, UNIT_BYTES_MAX);
  return payloadToSealedBytes(plainBytes, padding);
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
   * @param out at least as long as the record of a payload of this length, not overlapping `plain`. It may be
   *   shared memory.
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
    const { padding } = setting;
    checkPlace(place);
    const unitBytesMax = plainBytesMaxOf(key.kind, place.unitSizeLog2 === 0 ? 0 : 2 ** place.unitSizeLog2);
    requireArgument(
      plain.byteLength <= unitBytesMax,
      `cannot seal ${plain.byteLength} bytes where at most ${unitBytesMax} belong`,
    );
    // Readers refuse a payload that is padded beyond the unit size.
    if (padding !== 'control') checkPadding(padding, unitBytesMax);
    requireArgument(
      out.byteLength >= payloadToSealedBytes(plain.byteLength, padding),
      `sealing ${plain.byteLength} bytes needs more room than ${out.byteLength}`,
    );
    const { codec, payload } = this.#encode(plain, setting);
    const plaintext = this.#layOut(codec, plain.byteLength, payload, padding);
    if (payload !== plain) discard(payload);

    const sealedLengthBytes = RECORD_OVERHEAD_BYTES - INNER_HEADER_BYTES + plaintext.byteLength;
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

  /** Compresses `plain`. Returns it as it is (`stored`) when compression would save too little. */
  #encode(plain: Uint8Array, setting: SealSetting): { codec: CodecName; payload: Uint8Array } {
    const { codec, level } = setting.codec;
    const { padding } = setting;
    const isHopeless = !savesEnough(1, plain.byteLength, padding);
    if (codec === 'stored' || isHopeless) return { codec: 'stored', payload: plain };
    const payload = this.#providers.codec(codec).compress(plain, level);
    if (savesEnough(payload.byteLength, plain.byteLength, padding)) return { codec, payload };
    discard(payload);
    return { codec: 'stored', payload: plain };
  }

  /** Writes inner header ‖ payload ‖ zero padding to the scratch buffer, which no other thread can change. */
  #layOut(codec: CodecName, plainBytes: number, payload: Uint8Array, padding: RecordPadding): Uint8Array {
    const payloadEnd = INNER_HEADER_BYTES + payload.byteLength;
    const end = INNER_HEADER_BYTES + paddedBytes(payload.byteLength, padding);
    if (this.#scratch.byteLength < end) this.#scratch = new Uint8Array(end);
    const plaintext = this.#scratch.subarray(0, end);
    encodeInnerHeader(viewOf(plaintext), { codec, plainBytes, payloadBytes: payload.byteLength });
    copyBytes(payload, plaintext, INNER_HEADER_BYTES);
    plaintext.fill(0, payloadEnd);
    return plaintext;
  }
}
