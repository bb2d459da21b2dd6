import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DrainLoop } from '../../src/base/drain-loop.ts';

function makeLoop(): { queue: number[]; done: number[]; loop: DrainLoop; loops: () => number } {
  const queue: number[] = [];
  const done: number[] = [];
  let loops = 0;
  const loop = new DrainLoop(
    () => queue.length > 0,
    async () => {
      loops += 1;
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        await turn();
        done.push(next);
      }
    },
  );
  return { queue, done, loop, loops: () => loops };
}

describe('a drain loop', () => {
  it('works off what is added while it drains, in one loop and in order', async () => {
    const { queue, done, loop, loops } = makeLoop();
    for (const each of [1, 2, 3]) {
      queue.push(each);
      loop.start();
    }
    await loop.idle();
    expect(done).toEqual([1, 2, 3]);
    expect(loops()).toBe(1);
  });

  it('begins again for what is added after its last look at the queue', async () => {
    const { queue, done, loop, loops } = makeLoop();
    // Nothing is there when it looks; the entry comes before the loop has settled.
    loop.start();
    queue.push(1);
    loop.start();
    await loop.idle();
    expect(done).toEqual([1]);
    expect(loops()).toBe(2);
  });

  it('is idle from the beginning', async () => {
    const { loop, loops } = makeLoop();
    await loop.idle();
    expect(loops()).toBe(0);
  });
});
