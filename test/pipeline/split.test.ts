import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { splitIntoJobs } from '../../src/pipeline/split.ts';
import { checkProperty } from '../support/property.ts';

const JOB_BYTES_MIN = 128 * KIB;
const JOB_BYTES_MAX = 1 * MIB;
const sizes = fc.oneof(
  fc.constantFrom(0, 1, 72, 4 * KIB, 64 * KIB, 128 * KIB, 128 * KIB + 1, 1 * MIB, 1 * MIB + 1, 16 * MIB),
  fc.nat(2 * MIB),
);
const requests = fc.tuple(
  fc.oneof(
    fc.array(sizes, { maxLength: 40 }),
    // Runs of one size, as readers and writers of whole units make them.
    fc
      .tuple(sizes, fc.integer({ min: 1, max: 4096 }))
      .map(([size, count]) => Array.from({ length: count }, () => size)),
  ),
  fc.integer({ min: 0, max: 64 }),
);

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

it('spans cover all units in order, none empty, none cut', () => {
  checkProperty(requests, ([unitBytes, workers]) => {
    let next = 0;
    for (const { from, to } of splitIntoJobs(unitBytes, workers)) {
      expect(from).toBe(next);
      expect(to).toBeGreaterThan(from);
      next = to;
    }
    expect(next).toBe(unitBytes.length);
  });
});

it('a job of several units is within 1 MiB and no larger than a share; two jobs in a row would be too large as one', () => {
  checkProperty(requests, ([unitBytes, workers]) => {
    const share = Math.max(JOB_BYTES_MIN, Math.ceil(sum(unitBytes) / Math.max(1, workers)));
    const bound = Math.min(JOB_BYTES_MAX, share);
    const spans = splitIntoJobs(unitBytes, workers);
    for (const [at, { from, to }] of spans.entries()) {
      const bytes = sum(unitBytes.slice(from, to));
      if (to - from > 1) expect(bytes).toBeLessThanOrEqual(bound);
      const next = spans[at + 1];
      if (next !== undefined) expect(bytes + (unitBytes[next.from] ?? 0)).toBeGreaterThan(bound);
    }
  });
});

it('a small request is one job, a large one keeps all workers busy', () => {
  expect(splitIntoJobs([4096], 8)).toEqual([{ from: 0, to: 1 }]);
  expect(
    splitIntoJobs(
      Array.from({ length: 32 }, () => 4096),
      8,
    ),
  ).toEqual([{ from: 0, to: 32 }]);
  expect(splitIntoJobs([256 * KIB, 256 * KIB], 2)).toHaveLength(2);
  expect(
    splitIntoJobs(
      Array.from({ length: 32 }, () => 256 * KIB),
      2,
    ),
  ).toHaveLength(8);
  expect(splitIntoJobs([], 2)).toEqual([]);
});
