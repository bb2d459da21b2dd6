/** Both suites by `@noble/ciphers`: the portable providers. Tests compare the fast providers with them. */
import { ecb, gcm } from '@noble/ciphers/aes.js';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import type { BoundCipher, CipherProvider } from './suite.ts';
import { SubkeyCache, XAES_FRONT_BYTES } from './xaes-256-gcm.ts';

export const xaesNoble: CipherProvider = {
  suite: 'xaes-256-gcm',
  provider: 'noble',
  bind(key): BoundCipher {
    const ownKey = new Uint8Array(key);
    const subkeys = new SubkeyCache<Uint8Array>(
      blocks => ecb(ownKey, { disablePadding: true }).encrypt(blocks),
      subkey => subkey,
    );
    return {
      seal(nonce, associated, plaintext, out) {
        out.set(gcm(subkeys.get(nonce), nonce.slice(XAES_FRONT_BYTES), associated).encrypt(plaintext), 0);
      },
      open(nonce, associated, sealed) {
        const cipher = gcm(subkeys.get(nonce), nonce.slice(XAES_FRONT_BYTES), associated);
        return openWithNoble(() => cipher.decrypt(sealed));
      },
      destroy() {
        subkeys.destroy();
        ownKey.fill(0);
      },
    };
  },
};

export const xchachaNoble: CipherProvider = {
  suite: 'xchacha20-poly1305',
  provider: 'noble',
  bind(key): BoundCipher {
    const ownKey = new Uint8Array(key);
    return {
      seal(nonce, associated, plaintext, out) {
        out.set(xchacha20poly1305(ownKey, nonce, associated).encrypt(plaintext), 0);
      },
      open(nonce, associated, sealed) {
        return openWithNoble(() => xchacha20poly1305(ownKey, nonce, associated).decrypt(sealed));
      },
      destroy() {
        ownKey.fill(0);
      },
    };
  },
};

/**
 * Returns the plaintext, or undefined when noble reports a wrong tag. Any other failure is a bug and is
 * thrown.
 */
function openWithNoble(decrypt: () => Uint8Array): Uint8Array | undefined {
  try {
    return decrypt();
  } catch (error) {
    if (error instanceof Error && error.message.endsWith('invalid tag')) return undefined;
    throw error;
  }
}
