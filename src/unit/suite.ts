/** The interface of a cipher suite: an AEAD with 32-byte keys, 24-byte nonces and 16-byte tags. */
import type { SuiteName } from './record-format.ts';

export type CipherProviderName = 'node' | 'noble';

/** An AEAD with one key. One thread uses it. */
export interface BoundCipher {
  /**
   * Encrypts `plaintext` and writes ciphertext ‖ tag to the start of `out`. No argument is kept.
   *
   * @param nonce 24 bytes that were never used with this key before.
   * @param associated any length.
   * @param plaintext any length.
   * @param out at least 16 bytes longer than `plaintext`.
   */
  seal(nonce: Uint8Array, associated: Uint8Array, plaintext: Uint8Array, out: Uint8Array): void;
  /**
   * Decrypts and verifies `sealed` (ciphertext ‖ tag). Returns the plaintext in new memory that is not shared
   * and that the caller owns. Returns undefined when the tag does not verify; then no byte of plaintext gets
   * out.
   */
  open(nonce: Uint8Array, associated: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
  /** Zeroes the key. The cipher must not be used after that. */
  destroy(): void;
}

/** One suite by one library. All providers of a suite agree byte for byte. */
export interface CipherProvider {
  readonly suite: SuiteName;
  readonly provider: CipherProviderName;
  /** @param key 32 bytes, copied. */
  bind(key: Uint8Array): BoundCipher;
}
