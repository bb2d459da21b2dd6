/** The work of a bare thread on one unit: compress and encrypt, and back. No format, no padding, no key table. */
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

/** What a unit becomes. */
export interface BareSealed {
  readonly nonce: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly tag: Uint8Array;
}

export const BARE_NONCE_BYTES = 12;
export const BARE_TAG_BYTES = 16;

/** Seals and opens units of `unitBytes` with a key of its own. */
export class BareWorker {
  readonly #key = createSecretKey(randomBytes(32));
  readonly #associated = new Uint8Array(64);
  readonly #compressOptions: Parameters<typeof zstdCompressSync>[1];
  readonly #decompressOptions: Parameters<typeof zstdDecompressSync>[1];

  constructor(unitBytes: number) {
    const chunkSize = unitBytes + (unitBytes >>> 8) + 512;
    this.#compressOptions = { chunkSize, params: { [constants.ZSTD_c_compressionLevel]: 1 } };
    this.#decompressOptions = { chunkSize: unitBytes + 64, maxOutputLength: unitBytes };
  }

  seal(plain: Uint8Array): BareSealed {
    const nonce = randomBytes(BARE_NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: BARE_TAG_BYTES });
    cipher.setAAD(this.#associated);
    const ciphertext = cipher.update(zstdCompressSync(plain, this.#compressOptions));
    cipher.final();
    return { nonce, ciphertext, tag: cipher.getAuthTag() };
  }

  open({ nonce, ciphertext, tag }: BareSealed): Uint8Array {
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: BARE_TAG_BYTES });
    decipher.setAAD(this.#associated);
    decipher.setAuthTag(tag);
    const payload = decipher.update(ciphertext);
    decipher.final();
    return zstdDecompressSync(payload, this.#decompressOptions);
  }
}
