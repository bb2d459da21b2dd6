/** Values with one number in them that no encoder expects, for the rule that decoders give back what encoders accept. */
import fc from 'fast-check';
import { expect } from 'vitest';
import { isNetsealError } from '../../src/base/errors.ts';
import { checkProperty } from './property.ts';

const WILD_NUMBERS = [
  0,
  -1,
  0.5,
  1.5,
  255.5,
  -(2 ** 31),
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 60,
  Number.NaN,
  Number.POSITIVE_INFINITY,
];
const WILD_BIGINTS = [2n ** 63n - 1n, 2n ** 63n, -(2n ** 63n), -(2n ** 63n) - 1n, 2n ** 64n, -1n];

/** Returns copies of the values in which one number, or one bigint, was replaced. Arrays of bytes stay. */
export function wild<Value>(values: fc.Arbitrary<Value>): fc.Arbitrary<Value> {
  return fc.tuple(values, fc.nat(), fc.nat()).map(([value, which, what]) => {
    const count = countNumbers(value);
    if (count === 0) return value;
    const state = { left: which % count, what };
    return replaceNumber(value, state) as Value;
  });
}

function countNumbers(value: unknown): number {
  if (typeof value === 'number' || typeof value === 'bigint') return 1;
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 0;
  return Object.values(value).reduce((sum: number, part) => sum + countNumbers(part), 0);
}

function replaceNumber(value: unknown, state: { left: number; what: number }): unknown {
  if (typeof value === 'number' || typeof value === 'bigint') {
    state.left -= 1;
    if (state.left !== -1) return value;
    return typeof value === 'number'
      ? WILD_NUMBERS[state.what % WILD_NUMBERS.length]
      : WILD_BIGINTS[state.what % WILD_BIGINTS.length];
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(part => replaceNumber(part, state));
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, replaceNumber(part, state)]));
}

/**
 * Fails unless `giveBack`, which encodes and decodes, gives back each value or throws EINVAL. Of the values as they are it
 * must give back all.
 */
export function checkGivesBack<Value>(
  values: fc.Arbitrary<Value>,
  giveBack: (value: Value) => unknown,
  examples: readonly NoInfer<Value>[] = [],
): void {
  checkProperty(values, value => expect(giveBack(value)).toEqual(value));
  checkProperty(
    wild(values),
    value => {
      let given: unknown;
      try {
        given = giveBack(value);
      } catch (error) {
        if (isNetsealError(error) && error.code === 'EINVAL') return;
        throw error;
      }
      expect(given).toEqual(value);
    },
    { examples },
  );
}
