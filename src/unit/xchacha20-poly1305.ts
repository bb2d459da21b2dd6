/**
 * XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): ChaCha20-Poly1305 (RFC 8439) with 24-byte nonces.
 * HChaCha20 makes a subkey from the key and the first 16 nonce bytes. The nonce under it is four zero bytes
 * and the last 8 nonce bytes.
 */
import { createCipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { viewOf } from '../base/bytes.ts';
import { openWithNode, sealWithNode } from './node-aead.ts';
import type { BoundCipher, CipherProvider } from './suite.ts';

const FRONT_BYTES = 16;
// "expand 32-byte k", the first row of the ChaCha state.
const SIGMA = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/**
 * Returns the HChaCha20 subkey, 32 bytes. `node:crypto` has only the ChaCha20 block function. It does the
 * same 20 rounds and then adds its input state. Subtracting the input rows that are known (the constants and
 * the row of the nonce) gives the output of HChaCha20.
 */
function hchacha20(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  const front = nonce.subarray(0, FRONT_BYTES);
  const block = createCipheriv('chacha20', key, front).update(new Uint8Array(64));
  const blockView = viewOf(block);
  const frontView = viewOf(front);
  const subkey = new Uint8Array(32);
  const subkeyView = viewOf(subkey);
  for (const [word, constant] of SIGMA.entries()) {
    subkeyView.setUint32(4 * word, blockView.getUint32(4 * word, true) - constant, true);
    const last = blockView.getUint32(48 + 4 * word, true) - frontView.getUint32(4 * word, true);
    subkeyView.setUint32(16 + 4 * word, last, true);
  }
  block.fill(0);
  return subkey;
}

export const xchachaNode: CipherProvider = {
  suite: 'xchacha20-poly1305',
  provider: 'node',
  bind(key): BoundCipher {
    const ownKey = new Uint8Array(key);
    const lastFront = Buffer.alloc(FRONT_BYTES);
    let lastSubkey: KeyObject | undefined;
    const subkeyFor = (nonce: Uint8Array): KeyObject => {
      const front = nonce.subarray(0, FRONT_BYTES);
      if (lastSubkey === undefined || lastFront.compare(front) !== 0) {
        const subkey = hchacha20(ownKey, nonce);
        lastSubkey = createSecretKey(subkey);
        lastFront.set(front);
        subkey.fill(0);
      }
      return lastSubkey;
    };
    const shortNonce = (nonce: Uint8Array): Uint8Array => {
      const short = new Uint8Array(12);
      short.set(nonce.subarray(FRONT_BYTES), 4);
      return short;
    };
    return {
      seal(nonce, associated, plaintext, out) {
        sealWithNode('chacha20-poly1305', subkeyFor(nonce), shortNonce(nonce), associated, plaintext, out);
      },
      open(nonce, associated, sealed) {
        return openWithNode('chacha20-poly1305', subkeyFor(nonce), shortNonce(nonce), associated, sealed);
      },
      destroy() {
        ownKey.fill(0);
        lastSubkey = undefined;
      },
    };
  },
};
