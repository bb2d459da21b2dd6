/** What a cipher suite is: an AEAD with a 24-byte nonce and a 16-byte tag, bound to one 32-byte key. */
import type { SuiteName } from './record-format.ts';

export type CipherProviderName = 'node' | 'noble';

/** An AEAD under one key. Not shared between threads. */
export interface BoundCipher {
  /**
   * Encrypts `plaintext` (any length) and writes ciphertext ‖ tag to the start of `out` (at least 16 bytes longer).
   * `nonce` 24 bytes, never used before under this key; `associated` any length. No argument is kept.
   */
  seal(nonce: Uint8Array, associated: Uint8Array, plaintext: Uint8Array, out: Uint8Array): void;
  /**
   * Verifies and decrypts ciphertext ‖ tag. Returns the plaintext in fresh memory of this thread, which the caller
   * owns, or undefined when the tag does not verify: then nothing of the plaintext is released.
   */
  open(nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** Zeroes the key bytes held. The cipher is of no further use. */
  destroy(): void;
}

/** One suite as one library provides it. All providers of a suite agree byte for byte. */
export interface CipherProvider {
  readonly suite: SuiteName;
  readonly provider: CipherProviderName;
  /** @param key 32 bytes, copied. */
  bind(key: Uint8Array): BoundCipher;
}
