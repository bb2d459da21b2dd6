/** How long the ghosts of dropped units are remembered. */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { Ghosts } from '../../src/cache/index/ghosts.ts';
import type { Fingerprint } from '../../src/cache/index/index-table.ts';

const ROOM = 32_768;

function fingerprints(count: number, seed: number): Fingerprint[] {
  const chance = seededChance(seed);
  const word = () => Math.floor(chance() * 2 ** 32);
  return Array.from({ length: count }, () => ({
    first: word(),
    second: word(),
    third: word(),
    fourth: word(),
  }));
}

function takenOf(ghosts: Ghosts, units: readonly Fingerprint[], unitCount: number): number {
  return units.filter(unit => ghosts.take(unit, unitCount)).length;
}

describe('ghosts', () => {
  it('are taken once, and nothing else is', () => {
    const ghosts = new Ghosts(ROOM);
    const dropped = fingerprints(1000, 1);
    for (const unit of dropped) ghosts.add(unit);
    expect(takenOf(ghosts, fingerprints(10_000, 2), ROOM)).toBe(0);
    expect(takenOf(ghosts, dropped, ROOM)).toBe(1000);
    expect(takenOf(ghosts, dropped, ROOM)).toBe(0);
  });

  it('count while no more units were dropped since than the cache holds, whatever room there is', () => {
    for (const unitCount of [1000, 4000, 16_000]) {
      const ghosts = new Ghosts(ROOM);
      const dropped = fingerprints(30_000, unitCount);
      for (const unit of dropped) ghosts.add(unit);
      const [old, young] = [dropped.slice(0, -1.1 * unitCount), dropped.slice(-0.9 * unitCount)];
      expect(takenOf(ghosts, old, unitCount) / old.length).toBeLessThan(0.05);
      expect(takenOf(ghosts, young, unitCount) / young.length).toBeGreaterThan(0.6);
    }
  });

  it('of long ago do not become young again when times come round', () => {
    const ghosts = new Ghosts(ROOM);
    const old = fingerprints(2000, 3);
    for (const unit of old) ghosts.add(unit);
    for (const unit of fingerprints(4 * ROOM, 4)) ghosts.add(unit);
    expect(takenOf(ghosts, old, ROOM)).toBeLessThan(20);
  });
});
