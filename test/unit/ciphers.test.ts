/** The two providers of each suite against each other, and what they promise about memory. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomBytes } from '../../src/base/random.ts';
import { SUITE_IDS, type SuiteName } from '../../src/unit/record-format.ts';
import { checkProperty, contents, shareAtOddOffset } from '../support/property.ts';
import { NATIVE, PORTABLE } from '../support/providers.ts';

const SUITES = Object.keys(SUITE_IDS) as SuiteName[];
const offset = fc.integer({ min: 0, max: 17 });
const bytes24 = fc.uint8Array({ minLength: 24, maxLength: 24 });
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });

describe.each(SUITES)('%s', name => {
  const node = NATIVE.suite(name);
  const noble = PORTABLE.suite(name);

  it('both providers make the same bytes and open each other, in shared memory at any offset', () => {
    checkProperty(
      fc.record({
        key: bytes32,
        nonce: bytes24,
        associated: fc.uint8Array({ maxLength: 100 }),
        plain: contents(0, 70_000),
        offset,
      }),
      ({ key, nonce, associated, plain, offset }) => {
        const made = [node, noble].map(provider => {
          const cipher = provider.bind(key);
          const sharedPlain = shareAtOddOffset(plain, offset);
          const out = shareAtOddOffset(new Uint8Array(plain.byteLength + 16), offset, 3);
          cipher.seal(
            shareAtOddOffset(nonce, offset),
            shareAtOddOffset(associated, offset),
            sharedPlain,
            out,
          );
          expect(Buffer.compare(sharedPlain, plain)).toBe(0);
          expect([...out.subarray(-3)]).toEqual([0, 0, 0]);
          return out.subarray(0, plain.byteLength + 16);
        });
        const [byNode, byNoble] = made as [Uint8Array, Uint8Array];
        expect(Buffer.compare(byNode, byNoble)).toBe(0);
        for (const provider of [node, noble]) {
          const before = byNode.slice();
          const opened = provider.bind(key).open(nonce, associated, byNode);
          expect(opened).toBeDefined();
          expect(Buffer.compare(opened!, plain)).toBe(0);
          expect(Buffer.compare(byNode, before)).toBe(0);
        }
      },
      { weight: 2 },
    );
  });

  describe.each([node, noble])('by $provider', provider => {
    it('opens to memory of its own, which the caller may discard', () => {
      const cipher = provider.bind(new Uint8Array(32));
      const nonce = new Uint8Array(24);
      for (const lengthBytes of [0, 1, 15, 16, 17, 100, 4096, 70_000]) {
        const plain = randomBytes(lengthBytes);
        const sealed = new Uint8Array(lengthBytes + 16);
        cipher.seal(nonce, nonce, plain, sealed);
        const kept = sealed.slice();
        const opened = cipher.open(nonce, nonce, sealed)!;
        expect(opened.byteLength).toBe(lengthBytes);
        expect(opened.buffer).not.toBe(sealed.buffer);
        opened.fill(0);
        expect(sealed).toEqual(kept);
      }
    });

    it('tells keys, nonces and associated data apart by any single bit', () => {
      const key = new Uint8Array(32);
      const nonce = new Uint8Array(24);
      const associated = new Uint8Array(64);
      const sealed = new Uint8Array(5 + 16);
      provider.bind(key).seal(nonce, associated, new Uint8Array(5), sealed);
      const tries = (bytes: Uint8Array, open: () => Uint8Array | undefined) => {
        for (let bit = 0; bit < 8 * bytes.byteLength; bit += 1) {
          bytes[bit >> 3]! ^= 1 << (bit & 7);
          expect(open()).toBeUndefined();
          bytes[bit >> 3]! ^= 1 << (bit & 7);
          expect(open()).toBeDefined();
        }
      };
      // The same objects changed in place: a cache that kept a reference instead of a copy would be fooled.
      const cipher = provider.bind(key);
      tries(nonce, () => cipher.open(nonce, associated, sealed));
      tries(associated, () => cipher.open(nonce, associated, sealed));
      tries(key, () => provider.bind(key).open(nonce, associated, sealed));
    });

    it('a cached subkey never outlives its nonce', () => {
      const key = randomBytes(32);
      const cipher = provider.bind(key);
      checkProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 2 })), { minLength: 2 }),
        changes => {
          const nonce = new Uint8Array(24);
          for (const [at, value] of changes) {
            nonce[at] = value;
            const [reused, fresh] = [cipher, (at & 1 ? node : noble).bind(key)].map(each => {
              const sealed = new Uint8Array(3 + 16);
              each.seal(nonce, key, new Uint8Array(3), sealed);
              return sealed;
            });
            expect(reused).toEqual(fresh);
          }
        },
      );
    });

    it('keeps a copy of its key, and is bound to it', () => {
      const key = randomBytes(32);
      const cipher = provider.bind(key);
      const [before, after] = [new Uint8Array(32), new Uint8Array(32)];
      cipher.seal(new Uint8Array(24), key, new Uint8Array(16), before);
      const associated = key.slice();
      key.fill(0);
      cipher.seal(new Uint8Array(24).fill(0), associated, new Uint8Array(16), after);
      expect(after).toEqual(before);
    });

    it('a fault that is not a wrong tag is thrown', () => {
      const cipher = provider.bind(new Uint8Array(32));
      expect(() =>
        cipher.open(new Uint8Array(24), new Uint8Array(0), 'no bytes' as unknown as Uint8Array),
      ).toThrow();
      expect(() => cipher.open(new Uint8Array(24), new Uint8Array(0), new Uint8Array(15))).toThrow();
      expect(() =>
        provider
          .bind(new Uint8Array(31))
          .seal(new Uint8Array(24), new Uint8Array(0), new Uint8Array(1), new Uint8Array(17)),
      ).toThrow();
    });
  });
});
