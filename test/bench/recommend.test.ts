import { describe, expect, it } from 'vitest';
import { recommend, TOLERANCE, WORKLOAD_WEIGHTS, WORKLOADS } from '../../src/bench/recommend.ts';
import { type Figures, setting, summary } from './fixtures.ts';

const KIB = 1024;
const EVEN: Figures = { read: 10, overwrite: 10, sequentialRead: 10, sequentialWrite: 10, stored: 1000 };

const standard = setting();
const small = setting({ unitSizeBytes: 64 * KIB });
const large = setting({ unitSizeBytes: 1024 * KIB });
const slow = setting({ codec: { codec: 'zstd', level: 9 } });

function entry(of: typeof standard, changes: Partial<Figures> = {}) {
  return { setting: of, summary: summary({ ...EVEN, ...changes }) };
}

it('weights add up to one', () => {
  for (const workload of WORKLOADS) {
    const sum = Object.values(WORKLOAD_WEIGHTS[workload]).reduce((total, weight) => total + weight, 0);
    expect(sum).toBeCloseTo(1);
  }
});

it('equal settings: the default wins', () => {
  for (const workload of WORKLOADS) {
    const { winner } = recommend([entry(small), entry(slow), entry(standard), entry(large)], workload);
    expect(winner.setting).toBe(standard);
    expect(winner.score).toBe(1);
  }
});

it('equal settings without the default: less codec, then smaller units', () => {
  expect(recommend([entry(large), entry(slow), entry(small)], 'mixed').winner.setting).toBe(small);
});

describe('tolerance', () => {
  // A random read counts 0.4: a score of 1 + TOLERANCE is a read that is slower by (1 + TOLERANCE) ^ 2.5.
  const edge = (1 + TOLERANCE) ** 2.5;

  it('a default just inside stays', () => {
    const result = recommend([entry(standard, { read: 10 * (edge - 0.001) }), entry(small)], 'random');
    expect(result.winner.setting).toBe(standard);
    expect(result.ranking[0]?.setting).toBe(small);
    expect(result.whyNotBest).toBe(
      'Not the best score: 64 KiB units, zstd:1 has 1.00, this one 1.05, 5.0% worse. Scores within 5% count as ' +
        'equal, because repeated measurements easily differ that much; of those, this one is the default.',
    );
    expect(result.reasons[0]).toBe(result.whyNotBest);
    expect(result.alternatives.map(({ role, setting: of }) => [role, of])).toEqual([['best score', small]]);
  });

  it('a default just outside does not', () => {
    const result = recommend([entry(standard, { read: 10 * (edge + 0.001) }), entry(small)], 'random');
    expect(result.winner.setting).toBe(small);
    expect(result.whyNotBest).toBeUndefined();
    expect(result.reasons[0]).toBe('It has the best score, 1.00, with no other setting within 5% of it.');
    expect(result.alternatives.map(({ role }) => role)).toEqual(['default']);
  });
});

describe('workloads', () => {
  // Small units: quick accesses, more to store and slower transfers. Large units the other way round.
  const results = [
    entry(small, { read: 5, overwrite: 5, sequentialRead: 14, sequentialWrite: 14 }),
    entry(standard),
    entry(large, { read: 40, overwrite: 40, sequentialRead: 5, sequentialWrite: 5 }),
  ];

  it('random takes small units, sequential takes large ones', () => {
    expect(recommend(results, 'random').winner.setting).toBe(small);
    expect(recommend(results, 'sequential').winner.setting).toBe(large);
  });

  it('sequential does not look at random accesses, nor random at long transfers', () => {
    const { winner } = recommend(
      [entry(standard, { read: 1e6 }), entry(small, { stored: 2000 })],
      'sequential',
    );
    expect(winner.setting).toBe(standard);
    const other = recommend(
      [entry(standard, { sequentialRead: 1e6 }), entry(small, { stored: 2000 })],
      'random',
    );
    expect(other.winner.setting).toBe(standard);
  });

  it('the score is the weighted geometric mean over the best', () => {
    const { ranking } = recommend([entry(standard), entry(small, { read: 20, stored: 4000 })], 'random');
    expect(ranking[1]?.score).toBeCloseTo(2 ** 0.4 * 4 ** 0.2);
  });
});

describe('reasons', () => {
  it('name the default, the runner-up and the neighbours once each', () => {
    const results = [
      entry(small, { read: 9, stored: 1300 }),
      entry(standard, { stored: 1500 }),
      entry(large, { read: 5, overwrite: 5 }),
    ];
    const { winner, alternatives } = recommend(results, 'random');
    expect(winner.setting).toBe(large);
    expect(alternatives.map(({ role }) => role)).toEqual(['default', 'runner-up']);
    expect(alternatives[0]?.text).toContain(
      '256 KiB units, zstd:1 (default): random read 10 ms instead of 5 ms',
    );
    expect(alternatives[0]?.text).toContain('stores 50% more');
  });

  it('say when the default was not measured', () => {
    expect(recommend([entry(small)], 'mixed').reasons.join(' ')).toContain('was not in this sweep');
  });

  it('a lone setting has no alternatives', () => {
    expect(recommend([entry(standard)], 'mixed').alternatives).toEqual([]);
  });
});

it('data that is all holes does not break the score', () => {
  const nothing = { read: 0, overwrite: 0, sequentialRead: 0, sequentialWrite: 0, stored: 0 };
  const { winner } = recommend([entry(small, nothing), entry(standard, nothing)], 'mixed');
  expect(winner).toMatchObject({ setting: standard, score: 1 });
});

it('nothing to choose from', () => {
  expect(() => recommend([], 'mixed')).toThrow(expect.objectContaining({ code: 'EINVAL' }));
});
