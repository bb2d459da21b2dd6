/**
 * XAES-256-GCM (C2SP, https://c2sp.org/XAES-256-GCM): AES-256-GCM with 24-byte nonces. The key and the first
 * 12 nonce bytes give a subkey, which is two blocks of AES-CMAC. The last 12 bytes are the nonce for GCM. The
 * last subkey is kept, so that it is derived once for each nonce run.
 */
import { createCipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { openWithNode, sealWithNode } from './node-aead.ts';
import type { BoundCipher, CipherProvider } from './suite.ts';

/** The length of the front of the nonce, which the subkey depends on. */
export const XAES_FRONT_BYTES = 12;
const BLOCK_BYTES = 16;

/** Encrypts whole blocks with AES-256 alone (ECB). */
export type BlockEncrypt = (blocks: Uint8Array) => Uint8Array;

/** Returns K1 of CMAC: the encrypted zero block, doubled in GF(2^128). */
function deriveK1(encrypt: BlockEncrypt): Uint8Array {
  const zeroBlock = encrypt(new Uint8Array(BLOCK_BYTES));
  const k1 = new Uint8Array(BLOCK_BYTES);
  let carry = 0;
  for (let at = BLOCK_BYTES - 1; at >= 0; at -= 1) {
    const byte = zeroBlock[at] ?? 0;
    k1[at] = (byte << 1) | carry;
    carry = byte >> 7;
  }
  // The top bit is secret, so the code must not branch on it.
  k1[BLOCK_BYTES - 1] = (k1[BLOCK_BYTES - 1] ?? 0) ^ (0x87 & -carry);
  return k1;
}

/** Returns the two blocks M1 xor K1 and M2 xor K1. Encrypted, they are the subkey. */
function subkeyInput(k1: Uint8Array, nonce: Uint8Array): Uint8Array {
  const blocks = new Uint8Array(2 * BLOCK_BYTES);
  for (let block = 0; block < 2; block += 1) {
    const at = block * BLOCK_BYTES;
    blocks.set([0, block + 1, 0x58, 0], at);
    blocks.set(nonce.subarray(0, XAES_FRONT_BYTES), at + 4);
    for (let index = 0; index < BLOCK_BYTES; index += 1) {
      blocks[at + index] = (blocks[at + index] ?? 0) ^ (k1[index] ?? 0);
    }
  }
  return blocks;
}

/** Derives subkeys and keeps the last one, together with the front of its nonce. */
export class SubkeyCache<Subkey> {
  readonly #k1: Uint8Array;
  readonly #encrypt: BlockEncrypt;
  readonly #import: (subkey: Uint8Array) => Subkey;
  readonly #front = Buffer.alloc(XAES_FRONT_BYTES);
  #subkey: Subkey | undefined;

  constructor(encrypt: BlockEncrypt, importSubkey: (subkey: Uint8Array) => Subkey) {
    this.#k1 = deriveK1(encrypt);
    this.#encrypt = encrypt;
    this.#import = importSubkey;
  }

  get(nonce: Uint8Array): Subkey {
    const front = nonce.subarray(0, XAES_FRONT_BYTES);
    if (this.#subkey === undefined || this.#front.compare(front) !== 0) {
      this.#forget();
      this.#subkey = this.#import(this.#encrypt(subkeyInput(this.#k1, nonce)));
      this.#front.set(front);
    }
    return this.#subkey;
  }

  /**
   * Drops the subkey. One in plain memory is zeroed here; OpenSSL zeroes its own when the last reference
   * goes.
   */
  #forget(): void {
    if (this.#subkey instanceof Uint8Array) this.#subkey.fill(0);
    this.#subkey = undefined;
  }

  destroy(): void {
    this.#forget();
    this.#k1.fill(0);
  }
}

export const xaesNode: CipherProvider = {
  suite: 'xaes-256-gcm',
  provider: 'node',
  bind(key): BoundCipher {
    // One cipher object encrypts any number of blocks, because ECB keeps no state between them. The key is
    // imported first, because a raw key costs Node 8 µs more.
    const blockCipher = createCipheriv('aes-256-ecb', createSecretKey(key), null).setAutoPadding(false);
    const subkeys = new SubkeyCache<KeyObject>(
      blocks => blockCipher.update(blocks),
      subkey => {
        const imported = createSecretKey(subkey);
        subkey.fill(0);
        return imported;
      },
    );
    return {
      seal(nonce, associated, plaintext, out) {
        sealWithNode(
          'aes-256-gcm',
          subkeys.get(nonce),
          nonce.subarray(XAES_FRONT_BYTES),
          associated,
          plaintext,
          out,
        );
      },
      open(nonce, associated, sealed) {
        return openWithNode(
          'aes-256-gcm',
          subkeys.get(nonce),
          nonce.subarray(XAES_FRONT_BYTES),
          associated,
          sealed,
        );
      },
      destroy() {
        subkeys.destroy();
      },
    };
  },
};
