import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireArgument } from '../../src/base/errors.ts';
import { isPowerOfTwo, roundUp, sizeToUnitCount, unitSizeToLog2 } from '../../src/base/geometry.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

const log2 = fc.integer({ min: 0, max: 24 });

it('powers of two, and nothing next to them', () => {
  for (let exponent = 0; exponent < 53; exponent += 1) {
    expect(isPowerOfTwo(2 ** exponent)).toBe(true);
    if (exponent > 1) {
      expect(isPowerOfTwo(2 ** exponent - 1)).toBe(false);
      expect(isPowerOfTwo(2 ** exponent + 1)).toBe(false);
    }
  }
  for (const value of [0, -1, -2, 0.5, 1.5, 3, 2 ** 53, Number.POSITIVE_INFINITY, Number.NaN]) {
    expect(isPowerOfTwo(value)).toBe(false);
  }
});

describe('rounding up', () => {
  it('is the next multiple, exact below 2^53', () => {
    checkProperty(
      fc.tuple(fc.maxSafeNat(), log2),
      ([value, exponent]) => {
        const granule = 2 ** exponent;
        const wanted = ((BigInt(value) + BigInt(granule) - 1n) / BigInt(granule)) * BigInt(granule);
        if (wanted <= 2n ** 53n) expect(BigInt(roundUp(value, granule))).toBe(wanted);
      },
      {
        examples: [
          [0, 12],
          [1, 0],
          [4095, 12],
          [4096, 12],
          [4097, 12],
          [2 ** 53 - 1, 0],
          [2 ** 53 - 4096, 12],
        ],
      },
    );
  });

  it('twice is once', () => {
    checkProperty(fc.tuple(fc.integer({ min: 0, max: 2 ** 40 }), log2), ([value, exponent]) => {
      const once = roundUp(value, 2 ** exponent);
      expect(roundUp(once, 2 ** exponent)).toBe(once);
      expect(once - value).toBeGreaterThanOrEqual(0);
      expect(once - value).toBeLessThan(2 ** exponent);
    });
  });
});

it('unit sizes and their log2 are inverse', () => {
  for (let exponent = 12; exponent <= 24; exponent += 1) expect(unitSizeToLog2(2 ** exponent)).toBe(exponent);
  for (const size of [0, 1, 2048, 4095, 4097, 6144, 2 ** 25, 2 ** 24 + 1, -4096, 4096.5, Number.NaN]) {
    expect(
      errorCodeOf(() => unitSizeToLog2(size)),
      String(size),
    ).toBe('EINVAL');
  }
});

it('units of a file', () => {
  expect(sizeToUnitCount(0, 4096)).toBe(0);
  checkProperty(
    fc.tuple(fc.maxSafeNat(), fc.integer({ min: 12, max: 24 })),
    ([size, exponent]) => {
      const count = BigInt(sizeToUnitCount(size, 2 ** exponent));
      const unit = 2n ** BigInt(exponent);
      expect(count * unit >= BigInt(size)).toBe(true);
      expect((count - 1n) * unit < BigInt(size)).toBe(true);
    },
    {
      examples: [
        [1, 12],
        [4096, 12],
        [4097, 12],
        [2 ** 53 - 1, 12],
      ],
    },
  );
});

it('requireArgument', () => {
  requireArgument(true, 'fine');
  expect(errorCodeOf(() => requireArgument(false, 'not fine'))).toBe('EINVAL');
});
