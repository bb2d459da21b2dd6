/**
 * Opens one sealed record to one plain unit. The steps are, in this order: check, decrypt, verify,
 * decompress.
 */
import { copyBytes, discard, equalBytes, isAllZero, viewOf } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { paddedBytesMax } from './padding.ts';
import type { Providers } from './providers.ts';
import {
  ASSOCIATED_BYTES,
  decodeInnerHeader,
  encodeAssociated,
  HEADER_BYTES,
  INNER_HEADER_BYTES,
  NONCE_BYTES,
  RECORD_KINDS,
  RECORD_OVERHEAD_BYTES,
  type RecordHeader,
  type RecordPlace,
  recordTag,
} from './record-format.ts';
import type { RecordKey } from './record-key.ts';

/** What an opened record says about itself. All of it is authentic. */
export interface OpenedRecord {
  /** The number of bytes written to the start of the caller's buffer. */
  readonly plainBytes: number;
  readonly flags: number;
}

/** Opens records, one at a time. One thread uses it. */
export class Opener {
  readonly #providers: Providers;
  readonly #associated = new Uint8Array(ASSOCIATED_BYTES);
  readonly #associatedView: DataView = viewOf(this.#associated);

  constructor(providers: Providers) {
    this.#providers = providers;
  }

  /**
   * Opens `record` into the start of `out`.
   *
   * Throws EAUTH (damaged, moved, replayed, or not the expected version), EFORMAT or EUNSUPPORTED, and EBUG
   * when `key` is not the key that `header` names. Then `out` is unchanged.
   *
   * @param header the result of `decodeHeader(record)`. It names the epoch and suite of the key.
   * @param key the key for this object, kind, epoch and suite.
   * @param record exactly one record. It is only read, and may be shared memory that does not change
   *   meanwhile.
   * @param out exactly as long as the longest plain content that this place may have: the unit size, for
   *   units. It may be shared memory. Nothing is written to it before the tag has been verified and the
   *   content decoded.
   * @param expectedTag the tag of the version that this must be, 16 bytes. Callers have it from an extent
   *   map.
   */
  open(
    header: RecordHeader,
    key: RecordKey,
    place: RecordPlace,
    record: Uint8Array,
    out: Uint8Array,
    expectedTag?: Uint8Array,
  ): OpenedRecord {
    checkHeader(header, key, place, record, out);
    if (expectedTag !== undefined) checkTag(record, expectedTag);
    encodeAssociated(this.#associatedView, record, key.volumeId, key.objectId, place);
    const nonce = record.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const plaintext = key.cipher.open(nonce, this.#associated, record.subarray(HEADER_BYTES + NONCE_BYTES));
    if (plaintext === undefined) {
      throw new NetsealError(
        'EAUTH',
        `${key.kind} ${place.index}: authentication failed; damaged, moved or forged, or sealed under another key`,
      );
    }
    try {
      return { plainBytes: this.#decode(plaintext, out), flags: header.flags };
    } finally {
      discard(plaintext);
    }
  }

  #decode(plaintext: Uint8Array, out: Uint8Array): number {
    const { codec, plainBytes, payloadBytes } = decodeInnerHeader(plaintext, out.byteLength);
    const payload = plaintext.subarray(INNER_HEADER_BYTES, INNER_HEADER_BYTES + payloadBytes);
    if (!isAllZero(plaintext.subarray(INNER_HEADER_BYTES + payloadBytes))) {
      throw new NetsealError('EFORMAT', 'padding is not zero');
    }
    if (codec === 'stored') {
      copyBytes(payload, out);
    } else {
      const plain = this.#providers.codec(codec).decompress(payload, plainBytes);
      copyBytes(plain, out);
      discard(plain);
    }
    return plainBytes;
  }
}

function checkHeader(
  header: RecordHeader,
  key: RecordKey,
  place: RecordPlace,
  record: Uint8Array,
  out: Uint8Array,
): void {
  if (header.kind !== RECORD_KINDS[key.kind]) {
    throw new NetsealError('EAUTH', `record of kind ${header.kind} where ${key.kind} belongs`);
  }
  if (header.epoch !== key.epoch || header.suite !== key.suite) {
    throw new NetsealError('EBUG', `key of epoch ${key.epoch}, ${key.suite} for a record of ${header.epoch}`);
  }
  if (record.byteLength !== header.sealedLengthBytes) {
    throw new NetsealError(
      'EFORMAT',
      `${record.byteLength} bytes where a record says that it has ${header.sealedLengthBytes}`,
    );
  }
  // Padding may make a payload longer than its content, but a unit's payload is never longer than the unit
  // size.
  const anyBytesMax = paddedBytesMax(out.byteLength);
  const payloadBytesMax =
    place.unitSizeLog2 === 0 ? anyBytesMax : Math.min(anyBytesMax, 2 ** place.unitSizeLog2);
  if (header.sealedLengthBytes > payloadBytesMax + RECORD_OVERHEAD_BYTES) {
    throw new NetsealError(
      'EFORMAT',
      `record of ${header.sealedLengthBytes} bytes is too long for content of at most ${out.byteLength}`,
    );
  }
}

function checkTag(record: Uint8Array, expectedTag: Uint8Array): void {
  if (!equalBytes(recordTag(record), expectedTag)) {
    throw new NetsealError('EAUTH', 'record is not the expected version: its tag differs');
  }
}
