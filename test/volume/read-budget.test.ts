/** How much readers may hold at once. */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { ReadBudget } from '../../src/volume/session/read-budget.ts';
import { SEED } from '../support/soak.ts';
import { quiet } from './support.ts';

describe('a read budget', () => {
  it('grants no more than there is, in the order of asking, and everything in the end', async () => {
    const chance = seededChance(SEED);
    const budget = new ReadBudget(100);
    let used = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 300 }, async (_, at) => {
        const bytes = 1 + Math.floor(chance() * 99);
        await budget.acquire(bytes);
        order.push(at);
        used += bytes;
        expect(used).toBeLessThanOrEqual(100);
        await quiet(Math.floor(chance() * 3));
        used -= bytes;
        budget.release(bytes);
      }),
    );
    expect(order).toEqual([...order].sort((left, right) => left - right));
    expect(order.length).toBe(300);
  });

  it('grants more than there is to one that is alone', async () => {
    const budget = new ReadBudget(100);
    await budget.acquire(10);
    let isGranted = false;
    const large = budget.acquire(500).then(() => {
      isGranted = true;
    });
    await quiet();
    expect(isGranted).toBe(false);
    budget.release(10);
    await large;
    expect(budget.tryAcquire(1)).toBe(false);
    budget.release(500);
    expect(budget.tryAcquire(1)).toBe(true);
  });

  it('lets readers ahead have three quarters of it, and only while nobody waits', async () => {
    const budget = new ReadBudget(100);
    expect(budget.tryAcquire(75)).toBe(true);
    expect(budget.tryAcquire(1)).toBe(false);
    await budget.acquire(25);
    const waiting = budget.acquire(1);
    expect(budget.tryAcquire(0)).toBe(false);
    budget.release(50);
    await waiting;
    expect(budget.tryAcquire(10)).toBe(true);
  });

  it('forgets who was aborted, and serves who stood behind', async () => {
    const budget = new ReadBudget(100);
    await budget.acquire(90);
    const abort = new AbortController();
    const first = budget.acquire(50, abort.signal);
    const second = budget.acquire(10);
    abort.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    await second;
    await expect(budget.acquire(1, abort.signal)).rejects.toThrow('enough');
    budget.release(100);
    await budget.acquire(100);
  });
});
