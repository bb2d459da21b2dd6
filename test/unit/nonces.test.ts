import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex, viewOf } from '../../src/base/bytes.ts';
import type { RandomFill } from '../../src/base/random.ts';
import { NonceSource } from '../../src/unit/nonces.ts';
import { checkProperty } from '../support/property.ts';

const RUN_LENGTH_MAX = 1024;

/** Randomness that is counted: draw number n is made of the bytes n. */
function countedRandom(): { random: RandomFill; draws: () => number } {
  let draws = 0;
  const random: RandomFill = target => {
    expect(target.byteLength).toBe(24);
    draws += 1;
    target.fill(draws);
  };
  return { random, draws: () => draws };
}

function take(source: NonceSource, count: number): string[] {
  return Array.from({ length: count }, () => {
    const nonce = new Uint8Array(24);
    source.next(nonce);
    return toHex(nonce);
  });
}

it('a run shares its first 20 bytes and counts in the last 4', () => {
  const { random, draws } = countedRandom();
  expect(take(new NonceSource(random), 3)).toEqual([
    `${'01'.repeat(20)}01010101`,
    `${'01'.repeat(20)}02010101`,
    `${'01'.repeat(20)}03010101`,
  ]);
  expect(draws()).toBe(1);
});

it('a run ends after 1024 nonces', () => {
  const { random, draws } = countedRandom();
  const source = new NonceSource(random);
  take(source, RUN_LENGTH_MAX);
  expect(draws()).toBe(1);
  expect(take(source, 1)).toEqual(['02'.repeat(24)]);
  take(source, RUN_LENGTH_MAX - 1);
  expect(draws()).toBe(2);
  take(source, 1);
  expect(draws()).toBe(3);
});

it('startRun draws afresh', () => {
  const { random, draws } = countedRandom();
  const source = new NonceSource(random);
  take(source, 5);
  source.startRun();
  source.startRun();
  expect(draws()).toBe(1);
  expect(take(source, 1)).toEqual(['02'.repeat(24)]);
});

it('the counter wraps without touching the rest', () => {
  const source = new NonceSource(target => target.fill(0xff));
  expect(take(source, 3)).toEqual([
    'ff'.repeat(24),
    `${'ff'.repeat(20)}00000000`,
    `${'ff'.repeat(20)}01000000`,
  ]);
});

it('writes 24 bytes and keeps no hold on where it wrote them', () => {
  const { random } = countedRandom();
  const source = new NonceSource(random);
  const out = new Uint8Array(30).fill(9);
  source.next(out);
  expect(toHex(out)).toBe('01'.repeat(24) + '09'.repeat(6));
  out.fill(0);
  expect(take(source, 1)).toEqual([`${'01'.repeat(20)}02010101`]);
});

/** What is done with a source: a number of nonces is taken, or a run is started. */
type Step = number | 'start';

/** Does the steps and returns how many of the nonces had been taken before. */
function countRepeats(source: NonceSource, steps: readonly Step[]): number {
  const seen = new Set<string>();
  let taken = 0;
  for (const step of steps) {
    if (step === 'start') {
      source.startRun();
      continue;
    }
    for (const nonce of take(source, step)) seen.add(nonce);
    taken += step;
  }
  return taken - seen.size;
}

describe('nonces never repeat', () => {
  it('however runs are started, with a random source as bad as can be allowed', () => {
    const steps: fc.Arbitrary<Step[]> = fc.array(
      fc.oneof(fc.constant('start' as const), fc.integer({ min: 1, max: 1500 })),
      { maxLength: 12 },
    );
    checkProperty(steps, steps => {
      // Fresh runs differ in one byte of the front only; their counters all start at the same value.
      let run = 0;
      const source = new NonceSource(target => {
        target.fill(0xff);
        viewOf(target).setUint16(0, run++, true);
      });
      expect(countRepeats(source, steps)).toBe(0);
    });
  });

  it('from the system', () => {
    const source = new NonceSource();
    const nonces = [...take(source, 5000), ...take(new NonceSource(), 5000)];
    expect(new Set(nonces).size).toBe(10_000);
    // 5000 nonces are 5 runs: 10 fronts in all.
    expect(new Set(nonces.map(nonce => nonce.slice(0, 40))).size).toBe(10);
  });

  it('canary: the same check finds the repeats of a random source that always draws the same', () => {
    const stuck = new NonceSource(target => target.fill(1));
    // Nine nonces are taken, and only four of them differ.
    expect(countRepeats(stuck, [3, 'start', 2, 'start', 4])).toBe(5);
  });
});
