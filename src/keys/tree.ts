/**
 * The key tree. HKDF-SHA256 (RFC 5869) derives every key from an epoch key, under a label that names its
 * purpose. `docs/FORMAT.md`, "Key derivation", is the specification. Pure: bytes in, bytes out.
 *
 *   epoch key ── "record" kind suite object id ──▶ record key (32) ‖ commitment (32)
 *             └─ purposes of the volume header: see header-seal.ts
 *
 * A slot's wrapping key is not in this tree: slot.ts derives it from the slot secret.
 */
import { createSecretKey, hkdfSync } from 'node:crypto';
import { concatBytes, utf8 } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';

/** The length of every symmetric key and every commitment. */
export const KEY_BYTES = 32;

const LABEL = 'netseal/1/';

/**
 * A key and the commitment to it. With the commitment published, no other key can be passed off as this one.
 */
export interface CommittedKey {
  /** 32 bytes, secret; the caller owns them and zeroes them when done. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** 32 bytes, not secret. */
  readonly commitment: Uint8Array<ArrayBuffer>;
}

/**
 * Returns HKDF-SHA256(inputKey, salt, "netseal/1/" purpose 0x00 context, 64), split into a key and its
 * commitment. Purposes are fixed words, so derivations for two purposes never have the same info string.
 */
export function deriveCommittedKey(
  inputKey: Uint8Array,
  salt: Uint8Array,
  purpose: string,
  ...context: readonly Uint8Array[]
): CommittedKey {
  const info = concatBytes(utf8(`${LABEL}${purpose}\0`), ...context);
  // Imported first, because with a raw key Node takes twice as long.
  const derived = new Uint8Array(hkdfSync('sha256', createSecretKey(inputKey), salt, info, 2 * KEY_BYTES));
  const result = { key: derived.slice(0, KEY_BYTES), commitment: derived.slice(KEY_BYTES) };
  derived.fill(0);
  return result;
}

/**
 * Derives the key for all records of one object that are of one kind and under one suite. Throws EINVAL when
 * a length is not as below.
 *
 * @param epochKey 32 bytes.
 * @param volumeId 16 bytes, the salt.
 * @param kind, suite one byte each: the values of the record header.
 * @param objectId 16 bytes.
 */
export function deriveRecordKey(
  epochKey: Uint8Array,
  volumeId: Uint8Array,
  kind: number,
  suite: number,
  objectId: Uint8Array,
): CommittedKey {
  requireArgument(
    epochKey.byteLength === KEY_BYTES,
    `epoch key must be 32 bytes, not ${epochKey.byteLength}`,
  );
  requireArgument(volumeId.byteLength === ID_BYTES, `volume id must be 16 bytes, not ${volumeId.byteLength}`);
  requireArgument(objectId.byteLength === ID_BYTES, `object id must be 16 bytes, not ${objectId.byteLength}`);
  return deriveCommittedKey(epochKey, volumeId, 'record', Uint8Array.of(kind, suite), objectId);
}
