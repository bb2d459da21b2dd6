/** Sealing: one plain unit in, one sealed record out. Compress, pad, encrypt, in that order. */
import { discard, viewOf } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { checkBlockSize, roundUp, UNIT_BYTES_MAX } from '../base/geometry.ts';
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
  type RecordPlace,
} from './record-format.ts';
import type { RecordKey } from './record-key.ts';

/** How to seal; the same for many records. */
export interface SealSetting {
  readonly codec: CodecSetting;
  /** The stored payload is padded to a multiple of this; a power of two from 1 to 64 KiB. */
  readonly blockSizeBytes: number;
}

/** The room that a sealed record of `plainBytes` needs at most: incompressible data is stored as it is. */
export function sealedBytesMax(plainBytes: number, blockSizeBytes: number): number {
  return payloadToSealedBytes(plainBytes, blockSizeBytes);
}

/** Seals records, one at a time. Belongs to one thread; keeps a scratch buffer of the largest plaintext so far. */
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

  /** Call between batches: see {@link NonceSource}. */
  startRun(): void {
    this.#nonces.startRun();
  }

  /**
   * Seals `plain` into the start of `out` and returns the sealed length.
   *
   * @param plain 0 bytes to the unit size of `place`, or 16 MiB where that is 0; only read. May be shared memory that nobody writes meanwhile.
   * @param out at least `sealedBytesMax(plain.byteLength, blockSizeBytes)` long, not overlapping `plain`; may be
   *   shared memory. Its last 16 written bytes are the authentication tag.
   * @param flags {@link FLAG_LAST} or 0.
   * Throws EINVAL when a size, the place or a flag is out of range; then `out` is unchanged.
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
    const unitBytesMax = place.unitSizeLog2 === 0 ? UNIT_BYTES_MAX : 2 ** place.unitSizeLog2;
    requireArgument(
      plain.byteLength <= unitBytesMax,
      `cannot seal ${plain.byteLength} bytes where at most ${unitBytesMax} belong`,
    );
    // A reader refuses what is longer than a unit of whole blocks, and padding of a whole block of 64 KiB.
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

  /** Compresses, unless that saves less than one block of what is stored. */
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

  /** Inner header ‖ payload ‖ zero padding, contiguous in private memory that nobody else can change. */
  #layOut(codec: CodecName, plainBytes: number, payload: Uint8Array, blockSizeBytes: number): Uint8Array {
    const payloadEnd = INNER_HEADER_BYTES + payload.byteLength;
    const end = INNER_HEADER_BYTES + roundUp(payload.byteLength, blockSizeBytes);
    if (this.#scratch.byteLength < end) this.#scratch = new Uint8Array(end);
    const plaintext = this.#scratch.subarray(0, end);
    encodeInnerHeader(viewOf(plaintext), { codec, plainBytes, payloadBytes: payload.byteLength });
    plaintext.set(payload, INNER_HEADER_BYTES);
    plaintext.fill(0, payloadEnd);
    return plaintext;
  }
}
