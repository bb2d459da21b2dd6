import { describe, expect, it } from 'vitest';
import { POLICIES, type PolicyName } from '../../bench/hit-ratio/policies.ts';
import { tracesOf } from '../../bench/hit-ratio/traces.ts';

/** `+` for a hit, `-` for a miss. */
function play(name: PolicyName, unitCount: number, accesses: readonly number[]): string {
  const policy = POLICIES[name](unitCount);
  return accesses.map(unit => (policy.access(unit) ? '+' : '-')).join('');
}

const ONE_TO_TEN = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

describe('reference policies', () => {
  it('FIFO drops what came first, asked for or not', () => {
    expect(play('FIFO', 3, [1, 2, 3, 1, 4, 1, 2, 3])).toBe('---+----');
  });

  it('LRU drops what was asked for longest ago', () => {
    expect(play('LRU', 3, [1, 2, 3, 1, 4, 1, 2, 3])).toBe('---+-+--');
  });

  it('S3-FIFO promotes what was accessed twice more, and makes ghosts of the rest', () => {
    // 1 (two hits) goes to the main queue, 2 (one hit) leaves a ghost in its place.
    expect(play('S3-FIFO', 10, [...ONE_TO_TEN, 1, 1, 2, 11, 1, 2])).toBe('----------+++-+-');
  });

  it('S3-FIFO takes what has a ghost to the main queue at once', () => {
    // 11 drops 1; 1 comes back to the main queue and drops 2; what comes once then drops 3 to 10 and 11,
    // never 1.
    const accesses = [...ONE_TO_TEN, 11, 1, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 1, 2];
    expect(play('S3-FIFO', 10, accesses)).toBe(`${'-'.repeat(22)}+-`);
  });

  it('S3-FIFO forgets ghosts beyond nine tenths of the units', () => {
    // 1 to 10 are dropped one after the other: then 1 is the ghost too many, 2 is not.
    const flood = [...ONE_TO_TEN, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];
    const late = [21, 22, 23, 24, 25, 26, 27, 28, 29, 30];
    // Back in the small queue, 1 goes again; back in the main queue, 2 stays.
    expect(play('S3-FIFO', 10, [...flood, 1, ...late, 1])).toBe('-'.repeat(32));
    expect(play('S3-FIFO', 10, [...flood, 2, ...late, 2])).toBe(`${'-'.repeat(31)}+`);
  });

  it('S3-FIFO puts back what was hit in the main queue, with one hit less', () => {
    const thrice = [...ONE_TO_TEN, ...ONE_TO_TEN, ...ONE_TO_TEN];
    const misses = '-'.repeat(10);
    const hits = '+'.repeat(20);
    // For 11 all ten go to the main queue, which is one too many: 1 falls out. For 12 it is 11 that goes
    // there, and 2 that falls out.
    expect(play('S3-FIFO', 10, [...thrice, 11, 11, 11, 12, 3, 2])).toBe(`${misses}${hits}-++-+-`);
    // Hit once more, 2 goes round, and 3 falls out in its place.
    expect(play('S3-FIFO', 10, [...thrice, 11, 11, 11, 2, 12, 2, 3])).toBe(`${misses}${hits}-+++-+-`);
    // Having gone round, 2 has no hit left: when 4 to 11 have fallen out after it, so has 2.
    const later = [12, 13, 14, 15, 16, 17, 18, 19, 20].flatMap(unit => [unit, unit, unit]);
    expect(play('S3-FIFO', 10, [...thrice, 11, 11, 11, 2, ...later, 21, 2]).slice(-2)).toBe('--');
  });

  it('gives the published picture on the traces: fewer misses than LRU, and on a loop far fewer', () => {
    const [mix, scan, loop] = tracesOf(3000).map(({ accesses }) => {
      const misses = (name: PolicyName): number => play(name, 2100, accesses).replaceAll('+', '').length;
      return misses('S3-FIFO') / misses('LRU');
    });
    expect(mix).toBeLessThan(1);
    expect(scan).toBeLessThan(0.9);
    expect(loop).toBeLessThan(0.7);
  });
});
