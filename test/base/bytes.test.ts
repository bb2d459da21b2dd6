import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  concatBytes,
  copyBytes,
  discard,
  equalBytes,
  fromHex,
  getU64,
  isAllZero,
  lengthWithoutZeros,
  setU64,
  toHex,
  utf8,
  viewOf,
} from '../../src/base/bytes.ts';
import { checkProperty, shareAtOddOffset } from '../support/property.ts';

const bytes = fc.uint8Array({ maxLength: 300 });

it('hexadecimal and back', () => {
  checkProperty(bytes, value => expect(fromHex(toHex(value))).toEqual(value));
  expect(toHex(Uint8Array.of(0, 15, 255))).toBe('000fff');
  expect(toHex(shareAtOddOffset(Uint8Array.of(1, 2), 3))).toBe('0102');
  const made = fromHex('00ff');
  expect(made.buffer.byteLength).toBe(2);
});

it('u64 and back, up to 2^53', () => {
  const view = new DataView(new ArrayBuffer(16));
  const edges = [0, 1, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 52, 2 ** 53 - 1];
  checkProperty(
    fc.maxSafeNat(),
    value => {
      setU64(view, 3, value);
      expect(getU64(view, 3)).toBe(value);
      expect(view.getBigUint64(3, true)).toBe(BigInt(value));
    },
    { examples: edges },
  );
  for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    view.setBigUint64(0, value, true);
    expect(getU64(view, 0)).toBeUndefined();
  }
  expect(() => setU64(view, 9, 0)).toThrow(RangeError);
});

it('equal means the same length and bytes, in any memory', () => {
  checkProperty(fc.tuple(bytes, bytes), ([left, right]) => {
    expect(equalBytes(left, right)).toBe(toHex(left) === toHex(right));
    expect(equalBytes(left, shareAtOddOffset(left, 1))).toBe(true);
  });
});

describe('all zero', () => {
  it.each([0, 1, 65_535, 65_536, 65_537, 200_000])('%i bytes', lengthBytes => {
    const zeros = shareAtOddOffset(new Uint8Array(lengthBytes), 7, 1);
    zeros[lengthBytes] = 1;
    const value = zeros.subarray(0, lengthBytes);
    expect(isAllZero(value)).toBe(true);
    expect(lengthWithoutZeros(value)).toBe(0);
    for (const at of [0, 1, 65_535, 65_536, 65_537, lengthBytes - 1]) {
      if (at < 0 || at >= lengthBytes) continue;
      value[at] = 128;
      expect(isAllZero(value)).toBe(false);
      expect(lengthWithoutZeros(value)).toBe(at + 1);
      value[at] = 0;
    }
  });
});

it('joining copies', () => {
  const part = Uint8Array.of(1, 2);
  const joined = concatBytes(part, new Uint8Array(0), shareAtOddOffset(Uint8Array.of(3), 1));
  part.fill(9);
  expect([...joined]).toEqual([1, 2, 3]);
  expect(concatBytes().byteLength).toBe(0);
});

describe('copyBytes', () => {
  const lengths = fc.oneof(fc.nat(40), fc.integer({ min: 500, max: 530 }), fc.nat(70_000));

  it('copies as set does, whatever the alignment, lengths and kinds of memory', () => {
    checkProperty(
      fc.tuple(lengths, fc.nat(16), fc.nat(16), fc.boolean()),
      ([length, skew, offset, isShared]) => {
        const source = shareAtOddOffset(
          Uint8Array.from({ length }, (_, at) => at * 7 + 1),
          skew,
        );
        const memory = isShared ? new SharedArrayBuffer(length + 64) : new ArrayBuffer(length + 64);
        const target = new Uint8Array(memory).fill(9).subarray(3);
        const wanted = Uint8Array.from(target);
        wanted.set(source, offset);
        copyBytes(source, target, offset);
        expect(Buffer.compare(target, wanted)).toBe(0);
      },
    );
  });

  it.each([3, 5000])('of %d bytes needs room for all of them, and changes nothing without', length => {
    const target = new Uint8Array(length + 1);
    expect(() => copyBytes(new Uint8Array(length).fill(1), target, 2)).toThrow(
      expect.objectContaining({ code: 'EBUG' }),
    );
    expect(target.every(byte => byte === 0)).toBe(true);
  });
});

it('a view shares memory and starts at zero', () => {
  const whole = Uint8Array.of(1, 2, 3, 4);
  const view = viewOf(whole.subarray(1, 3));
  expect(view.byteLength).toBe(2);
  view.setUint8(0, 9);
  expect(whole[1]).toBe(9);
});

it('UTF-8', () => {
  expect([...utf8('é€')]).toEqual([0xc3, 0xa9, 0xe2, 0x82, 0xac]);
});

describe('discard', () => {
  it('empties a large buffer, and is content with an empty one', () => {
    const large = new Uint8Array(65_536);
    discard(large.subarray(5, 10));
    expect(large.byteLength).toBe(0);
    discard(large);
    expect(large.buffer.detached).toBe(true);
  });

  it('leaves small, shared and pooled memory alone', () => {
    const small = new Uint8Array(100);
    const shared = new Uint8Array(new SharedArrayBuffer(65_536));
    const usual = Buffer.poolSize;
    Buffer.poolSize = 2 ** 20;
    try {
      // Past what is left of the old pool.
      const pooled = Array.from({ length: 4 }, () => Buffer.allocUnsafe(30_000));
      expect(pooled.some(buffer => buffer.buffer.byteLength >= 2 ** 20)).toBe(true);
      for (const kept of [small, shared, ...pooled]) {
        const { byteLength } = kept;
        discard(kept);
        expect(kept.byteLength).toBe(byteLength);
      }
    } finally {
      Buffer.poolSize = usual;
    }
  });
});
