/** An AEAD of `node:crypto` with 12-byte nonces. The fast providers of both suites are built on it. */
import { type CipherGCMTypes, createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { copyBytes, discard } from '../base/bytes.ts';
import { TAG_BYTES } from './record-format.ts';

type NodeAead = CipherGCMTypes | 'chacha20-poly1305';

// Without this option, older Nodes accept tags as short as four bytes.
const TAG_OPTION = { authTagLength: TAG_BYTES };

/** Encrypts `plaintext` and writes ciphertext ‖ tag to the start of `out`. `nonce` is 12 bytes. */
export function sealWithNode(
  algorithm: NodeAead,
  key: KeyObject,
  nonce: Uint8Array,
  associated: Uint8Array,
  plaintext: Uint8Array,
  out: Uint8Array,
): void {
  const cipher = createCipheriv(algorithm as CipherGCMTypes, key, nonce, TAG_OPTION);
  cipher.setAAD(associated);
  const ciphertext = cipher.update(plaintext);
  copyBytes(ciphertext, out);
  discard(ciphertext);
  cipher.final();
  out.set(cipher.getAuthTag(), plaintext.byteLength);
}

/**
 * Decrypts `sealed` (ciphertext ‖ tag) and returns the verified plaintext in new memory, or undefined when
 * the tag is wrong. The bytes that `update` returns are unverified; they leave this function only after
 * `final`.
 */
export function openWithNode(
  algorithm: NodeAead,
  key: KeyObject,
  nonce: Uint8Array,
  associated: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv(algorithm as CipherGCMTypes, key, nonce, TAG_OPTION);
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(sealed.byteLength - TAG_BYTES));
  const plaintext = decipher.update(sealed.subarray(0, sealed.byteLength - TAG_BYTES));
  try {
    decipher.final();
    return plaintext;
  } catch {
    // final() throws for a wrong tag, and for nothing else.
    plaintext.fill(0);
    return undefined;
  }
}
