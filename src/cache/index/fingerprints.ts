/**
 * Fingerprints: keyed hashes that stand for volume, object and index of a unit. Without the key, neither what
 * a cache keeps in the clear nor how it behaves tells an id.
 *
 *   prefix      = HMAC-SHA256(key, "object" ‖ volume id ‖ object id ‖ generations of both), first 16 bytes
 *   fingerprint = a permutation of (prefix ^ unit index)
 *
 * An invalidation changes a generation, and with it every fingerprint of the object or volume. So its units
 * are not found any more, at once and at no cost.
 *
 * Two units of one object never share a fingerprint. Two units of different objects practically never do; if
 * they did, one would replace the other and the tag would tell them apart.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { setU64, viewOf } from '../../base/bytes.ts';
import type { Fingerprint } from './index-table.ts';

/** The four words that fingerprints of an object's units begin from, in its present generation. */
export type Prefix = Uint32Array;

export class Fingerprinter {
  readonly #key: KeyObject;
  readonly #input: Uint8Array<ArrayBuffer> = new Uint8Array(57);
  readonly #view: DataView = viewOf(this.#input);

  /** Copies the key, 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  /** Returns the prefix of an object. Generations are below 2^53. */
  prefix(
    volumeId: Uint8Array,
    objectId: Uint8Array,
    volumeGeneration: number,
    objectGeneration: number,
  ): Prefix {
    this.#input[0] = 1;
    this.#input.set(volumeId, 1);
    this.#input.set(objectId, 17);
    setU64(this.#view, 33, volumeGeneration);
    setU64(this.#view, 41, objectGeneration);
    const digest = createHmac('sha256', this.#key).update(this.#input).digest();
    const words = new Uint32Array(4);
    for (let at = 0; at < 4; at += 1) words[at] = digest.readUInt32LE(4 * at);
    return words;
  }

  /**
   * Returns 16 bytes that stand for `parts` in a database. The same parts under another `what` have another
   * name.
   */
  name(what: string, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
    const hmac = createHmac('sha256', this.#key).update(`${what}\0`);
    for (const part of parts) hmac.update(part);
    return new Uint8Array(hmac.digest().subarray(0, 16));
  }
}

export function equalPrefixes(left: Prefix, right: Prefix): boolean {
  return left === right || left.every((word, at) => word === right[at]);
}

/**
 * Writes the fingerprint of a unit into `out`, which it returns. Two double rounds of ChaCha's quarter round.
 */
export function fingerprintOf(prefix: Prefix, index: number, out: Fingerprint): Fingerprint {
  let a = (prefix[0] ?? 0) ^ (index >>> 0);
  let b = (prefix[1] ?? 0) ^ (Math.floor(index / 0x1_0000_0000) | 0);
  let c = prefix[2] ?? 0;
  let d = prefix[3] ?? 0;
  for (let round = 0; round < 4; round += 1) {
    a = (a + b) | 0;
    d ^= a;
    d = (d << 16) | (d >>> 16);
    c = (c + d) | 0;
    b ^= c;
    b = (b << 12) | (b >>> 20);
    a = (a + b) | 0;
    d ^= a;
    d = (d << 8) | (d >>> 24);
    c = (c + d) | 0;
    b ^= c;
    b = (b << 7) | (b >>> 25);
  }
  out.first = a >>> 0;
  out.second = b >>> 0;
  out.third = c >>> 0;
  out.fourth = d >>> 0;
  return out;
}

export function newFingerprint(): Fingerprint {
  return { first: 0, second: 0, third: 0, fourth: 0 };
}
