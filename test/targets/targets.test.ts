/**
 * Benches must not rot: in `npm run test:long` every target and the demo run at their small size, which checks results
 * and measures nothing.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { contest } from '../../bench/contest.ts';
import { isMet } from '../../bench/target.ts';
import { TARGETS } from '../../bench/targets.ts';
import { IS_LONG } from '../support/soak.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

function run(script: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [`${root}bench/${script}`, ...args], { encoding: 'utf8', cwd: root });
}

it('targets have ids of their own', () => {
  expect(new Set(TARGETS.map(({ id }) => id)).size).toBe(TARGETS.length);
});

it.runIf(IS_LONG).each(TARGETS)('$id: right results on little data', async target => {
  const measurements = await target.measure('small');
  expect(measurements.length).toBeGreaterThan(0);
  for (const { measured, bound, what, unit } of measurements) {
    // A difference of two times that were each measured once may be anything.
    expect(Number.isFinite(measured) && (measured > 0 || unit === 'ms'), what).toBe(true);
    expect(bound).toBeGreaterThan(0);
  }
});

describe('npm run targets', () => {
  it('names the targets that there are when asked for another', () => {
    const { status, stderr, stdout } = run('targets.ts', 'no-such-target');
    expect(status).toBe(2);
    expect(stdout).toBe('');
    for (const { id } of TARGETS) expect(stderr).toContain(id);
  });
});

it('a target is met on the right side of its bound only', () => {
  const ratio = { what: '', bound: 0.9, sense: '>=', unit: 'x', detail: '' } as const;
  expect(isMet({ ...ratio, measured: 0.9 })).toBe(true);
  expect(isMet({ ...ratio, measured: 0.89 })).toBe(false);
  const size = { ...ratio, bound: 200, sense: '<=', unit: 'MiB' } as const;
  expect(isMet({ ...size, measured: 200 })).toBe(true);
  expect(isMet({ ...size, measured: 201 })).toBe(false);
});

it('contenders take turns, the first of one round last in the next', async () => {
  const order: string[] = [];
  const contender = (name: string) => ({
    name,
    run: async () => {
      order.push(name);
    },
  });
  await contest([contender('a'), contender('b')], 2);
  const warmUp = ['a', 'b'];
  const firstRound = ['a', 'b'];
  const secondRound = ['b', 'a'];
  expect(order).toEqual([...warmUp, ...firstRound, ...secondRound]);
});

it.runIf(IS_LONG)(
  'the demo goes through on a small folder, and says what it found',
  () => {
    const { status, stdout, stderr } = run('demo.ts', `${root}test`);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    for (const text of [
      '$ npx netseal init $D/store',
      'no damage found',
      'in use: ',
      'same content',
      ': all of it',
      ' failed',
      '(exit code 3)',
      'Everything was as it should be.',
    ]) {
      expect(stdout).toContain(text);
    }
    expect(stdout).toMatch(/damaged (unit|pack), .*\n {2}\/tree\/.*: bytes \d+ to \d+/);
  },
  240_000,
);
