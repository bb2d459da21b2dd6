/**
 * Wraps small secrets with AES-256-GCM, each under a key that is used once. The nonce is always twelve zero
 * bytes. That is sound because every call of {@link wrap} draws a new 32-byte salt and derives from it a key
 * for this one message. No other file uses the cipher in this way, so nothing can seal twice under one key.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { concatBytes, equalBytes } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { type RandomFill, randomBytes } from '../base/random.ts';
import { deriveCommittedKey } from './tree.ts';

export const WRAP_SALT_BYTES = 32;
export const WRAP_TAG_BYTES = 16;

const CIPHER = 'aes-256-gcm';
const ZERO_NONCE = new Uint8Array(12);
const OPTIONS = { authTagLength: WRAP_TAG_BYTES } as const;

/** What a wrapping key is derived for. `docs/FORMAT.md`, "Derivations", lists the purposes. */
export interface WrapPurpose {
  readonly purpose: string;
  readonly context: readonly Uint8Array[];
  /** Authenticated together with the message, but not stored with it. */
  readonly associatedData: Uint8Array;
}

export interface Wrapped {
  /** 32 bytes. */
  readonly salt: Uint8Array<ArrayBuffer>;
  /** 32 bytes. They commit to the input key, salt, purpose and context. */
  readonly commitment: Uint8Array<ArrayBuffer>;
  /** The ciphertext, as long as the message, and a tag of 16 bytes. */
  readonly sealed: Uint8Array<ArrayBuffer>;
}

/** Seals `message` under a key derived from `inputKey` and a new random salt. The caller owns the results. */
export function wrap(
  inputKey: Uint8Array,
  { purpose, context, associatedData }: WrapPurpose,
  message: Uint8Array,
  random: RandomFill,
): Wrapped {
  const salt = randomBytes(WRAP_SALT_BYTES, random);
  const { key, commitment } = deriveCommittedKey(inputKey, salt, purpose, ...context);
  const cipher = createCipheriv(CIPHER, key, ZERO_NONCE, OPTIONS);
  key.fill(0);
  cipher.setAAD(associatedData);
  const sealed = concatBytes(cipher.update(message), cipher.final(), cipher.getAuthTag());
  return { salt, commitment, sealed };
}

/**
 * Opens what {@link wrap} sealed. Returns the message, which the caller owns and zeroes. Throws EAUTH when
 * the sealed bytes do not verify.
 */
export function unwrap(
  inputKey: Uint8Array,
  { purpose, context, associatedData }: WrapPurpose,
  wrapped: Pick<Wrapped, 'salt' | 'sealed'>,
): Uint8Array<ArrayBuffer> {
  const { key } = deriveCommittedKey(inputKey, wrapped.salt, purpose, ...context);
  return open(key, wrapped.sealed, associatedData, purpose);
}

/**
 * Does what {@link unwrap} does, but compares the commitment before it decrypts. Returns undefined when the
 * commitment belongs to another key.
 */
export function unwrapIfCommitted(
  inputKey: Uint8Array,
  { purpose, context, associatedData }: WrapPurpose,
  wrapped: Wrapped,
): Uint8Array<ArrayBuffer> | undefined {
  const { key, commitment } = deriveCommittedKey(inputKey, wrapped.salt, purpose, ...context);
  if (!equalBytes(commitment, wrapped.commitment)) {
    key.fill(0);
    return undefined;
  }
  return open(key, wrapped.sealed, associatedData, purpose);
}

/** Decrypts and verifies, and zeroes `key`. Unverified plaintext never leaves this function. */
function open(
  key: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
  purpose: string,
): Uint8Array<ArrayBuffer> {
  const tagOffset = sealed.byteLength - WRAP_TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, key, ZERO_NONCE, OPTIONS);
  key.fill(0);
  decipher.setAAD(associatedData);
  decipher.setAuthTag(sealed.subarray(tagOffset));
  const message = decipher.update(sealed.subarray(0, tagOffset));
  try {
    decipher.final();
    return new Uint8Array(message);
  } catch {
    throw new NetsealError('EAUTH', `volume header: the wrapped ${purpose} does not verify`);
  } finally {
    message.fill(0);
  }
}
