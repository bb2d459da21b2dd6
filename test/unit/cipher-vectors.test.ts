/** The known answers that standards publish, under both providers of each suite and under the primitives below them. */
import { createSecretKey } from 'node:crypto';
import { gcm } from '@noble/ciphers/aes.js';
import { chacha20poly1305, hchacha } from '@noble/ciphers/chacha.js';
import { shake128 } from '@noble/hashes/sha3.js';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex, viewOf } from '../../src/base/bytes.ts';
import { openWithNode, sealWithNode } from '../../src/unit/node-aead.ts';
import { type AccumulatedCase, type CipherCase, readCases } from '../../vectors/case.ts';
import { NATIVE, PORTABLE } from '../support/providers.ts';
import { soakSize } from '../support/soak.ts';

const ALL = readCases<CipherCase | AccumulatedCase>('ciphers');

function casesOf(...algorithms: CipherCase['algorithm'][]): [string, CipherCase][] {
  return [...ALL].filter((entry): entry is [string, CipherCase] =>
    (algorithms as string[]).includes(entry[1].algorithm),
  );
}

const PROVIDERS = [
  { name: 'node', suite: NATIVE.suite },
  { name: 'noble', suite: PORTABLE.suite },
];

describe.each(PROVIDERS)('suites by $name', ({ name, suite }) => {
  it.each(casesOf('xaes-256-gcm', 'xchacha20-poly1305'))('%s', (_file, known) => {
    const provider = suite(known.algorithm as 'xaes-256-gcm');
    expect(provider.provider).toBe(name);
    const cipher = provider.bind(fromHex(known.key));
    const nonce = fromHex(known.nonce);
    const associated = fromHex(known.associated);
    const sealed = new Uint8Array(known.sealed.length / 2);
    cipher.seal(nonce, associated, fromHex(known.plaintext), sealed);
    expect(toHex(sealed)).toBe(known.sealed);
    const opened = cipher.open(nonce, associated, sealed);
    expect(opened && toHex(opened)).toBe(known.plaintext);
    for (let at = 0; at < sealed.byteLength; at += 1) {
      const flipped = sealed.slice();
      flipped[at]! ^= 0x10;
      expect(cipher.open(nonce, associated, flipped)).toBeUndefined();
    }
  });

  const accumulated = ALL.get('xaes-256-gcm-accumulated') as AccumulatedCase;
  const countMax = soakSize(10_000, 100_000);
  const counts = Object.keys(accumulated.results).filter(count => Number(count) <= countMax);
  it.each(counts)('accumulated XAES-256-GCM, %s iterations', count => {
    expect(accumulate(Number(count), suite('xaes-256-gcm'))).toBe(accumulated.results[count]);
  });
});

function accumulate(iterations: number, provider: ReturnType<typeof NATIVE.suite>): string {
  const source = shake128.create({});
  const hash = shake128.create({});
  const read = (lengthBytes: number) => source.xof(lengthBytes);
  for (let iteration = 0; iteration < iterations; iteration += 1) {
    const key = read(32);
    const nonce = read(24);
    const plaintext = read(read(1)[0]!);
    const associated = read(read(1)[0]!);
    const cipher = provider.bind(key);
    const sealed = new Uint8Array(plaintext.byteLength + 16);
    cipher.seal(nonce, associated, plaintext, sealed);
    hash.update(sealed);
    const opened = cipher.open(nonce, associated, sealed);
    if (opened === undefined || Buffer.compare(opened, plaintext) !== 0)
      expect.fail(`iteration ${iteration}`);
    cipher.destroy();
  }
  return toHex(hash.xof(32));
}

it.each(casesOf('aes-256-gcm', 'chacha20-poly1305'))('%s by the primitives', (_file, known) => {
  const [key, nonce, associated, plaintext] = [known.key, known.nonce, known.associated, known.plaintext].map(
    fromHex,
  ) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  const algorithm = known.algorithm as 'aes-256-gcm';
  const keyObject = createSecretKey(key);
  const sealed = new Uint8Array(known.sealed.length / 2);
  sealWithNode(algorithm, keyObject, nonce, associated, plaintext, sealed);
  expect(toHex(sealed)).toBe(known.sealed);
  expect(openWithNode(algorithm, keyObject, nonce, associated, sealed)).toEqual(Buffer.from(plaintext));

  const noble = known.algorithm === 'aes-256-gcm' ? gcm : chacha20poly1305;
  expect(toHex(noble(key, nonce, associated).encrypt(plaintext))).toBe(known.sealed);
  expect(toHex(noble(key, nonce, associated).decrypt(sealed))).toBe(known.plaintext);
});

it('openWithNode gives nothing for a wrong tag of any length', () => {
  const key = createSecretKey(new Uint8Array(32));
  const [nonce, none] = [new Uint8Array(12), new Uint8Array(0)];
  for (const algorithm of ['aes-256-gcm', 'chacha20-poly1305'] as const) {
    const sealed = new Uint8Array(100 + 16);
    sealWithNode(algorithm, key, nonce, none, new Uint8Array(100), sealed);
    for (let at = 0; at < sealed.byteLength; at += 1) {
      const flipped = sealed.slice();
      flipped[at]! ^= 1;
      expect(openWithNode(algorithm, key, nonce, none, flipped)).toBeUndefined();
    }
    // A tag of four bytes would be right with probability 2^-32, and cut from the right one always.
    for (const lengthBytes of [0, 4, 12, 15]) {
      expect(() => openWithNode(algorithm, key, nonce, none, sealed.subarray(0, lengthBytes))).toThrow();
    }
  }
});

it.each(casesOf('hchacha20'))('%s', (_file, known) => {
  const words = (bytes: Uint8Array) =>
    Uint32Array.from({ length: bytes.byteLength / 4 }, (_, word) => viewOf(bytes).getUint32(4 * word, true));
  const sigma = words(Buffer.from('expand 32-byte k'));
  const subkey = new Uint32Array(8);
  hchacha(sigma, words(fromHex(known.key)), words(fromHex(known.nonce)), subkey);
  expect(subkey).toEqual(words(fromHex(known.sealed)));

  // The node provider keeps its HChaCha20 to itself; what it seals under the front of a nonce shows the subkey.
  const nonce = new Uint8Array(24);
  nonce.set(fromHex(known.nonce));
  const sealed = new Uint8Array(64 + 16);
  NATIVE.suite('xchacha20-poly1305').bind(fromHex(known.key)).seal(nonce, nonce, new Uint8Array(64), sealed);
  const inner = chacha20poly1305(fromHex(known.sealed), new Uint8Array(12), nonce);
  expect(toHex(sealed)).toBe(toHex(inner.encrypt(new Uint8Array(64))));
});
