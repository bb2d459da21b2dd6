import { describe, expect, it } from 'vitest';
import { Waiters } from '../../src/base/waiters.ts';

/** Something of which `free` is left; who waits takes a number of it. */
function scarce(free: number): { waiters: Waiters<number, number>; giveBack: (count: number) => void } {
  let left = free;
  const waiters = new Waiters((wanted: number) => {
    if (wanted > left) return undefined;
    left -= wanted;
    return wanted;
  });
  return {
    waiters,
    giveBack: count => {
      left += count;
      waiters.serve();
    },
  };
}

describe('waiters', () => {
  it('serve in order of arrival: a small request does not overtake a large one', async () => {
    const { waiters, giveBack } = scarce(1);
    const served: string[] = [];
    const large = waiters.wait(3).then(() => served.push('large'));
    const small = waiters.wait(1).then(() => served.push('small'));
    expect(waiters.tryNow(1)).toBeUndefined();
    giveBack(1);
    await Promise.resolve();
    expect(waiters.count).toBe(2);
    giveBack(1);
    await large;
    expect(served).toEqual(['large']);
    giveBack(1);
    await small;
    expect(served).toEqual(['large', 'small']);
    expect(waiters.count).toBe(0);
  });

  it('grant at once what is free while nobody waits', () => {
    const { waiters } = scarce(1);
    expect(waiters.tryNow(1)).toBe(1);
    expect(waiters.tryNow(1)).toBeUndefined();
  });

  it('let one leave from the middle, by its signal, with the reason of the signal', async () => {
    const { waiters, giveBack } = scarce(0);
    const abort = new AbortController();
    const first = waiters.wait(1);
    const second = waiters.wait(1, abort.signal);
    const third = waiters.wait(1);
    abort.abort('given up');
    await expect(second).rejects.toBe('given up');
    giveBack(2);
    expect(await Promise.all([first, third])).toEqual([1, 1]);
  });

  it('serve those behind one that gives up', async () => {
    const { waiters } = scarce(1);
    const abort = new AbortController();
    const large = waiters.wait(2, abort.signal);
    const small = waiters.wait(1);
    abort.abort('given up');
    await expect(large).rejects.toBe('given up');
    expect(await small).toBe(1);
  });

  it('do not let a signal take back what was granted, nor leave a listener on it', async () => {
    const { waiters, giveBack } = scarce(0);
    const abort = new AbortController();
    const granted = waiters.wait(1, abort.signal);
    giveBack(1);
    abort.abort('too late');
    expect(await granted).toBe(1);
    expect(waiters.tryNow(1)).toBeUndefined();
  });

  it('reject at once by a signal that has aborted, and hold nobody up', async () => {
    const { waiters, giveBack } = scarce(0);
    await expect(waiters.wait(1, AbortSignal.abort('before'))).rejects.toBe('before');
    expect(waiters.count).toBe(0);
    giveBack(1);
    expect(waiters.tryNow(1)).toBe(1);
  });

  it('all fail with the same error, and are gone', async () => {
    const { waiters, giveBack } = scarce(0);
    const failed = [waiters.wait(1), waiters.wait(1)];
    waiters.failAll('closed');
    expect(await Promise.allSettled(failed)).toEqual([
      { status: 'rejected', reason: 'closed' },
      { status: 'rejected', reason: 'closed' },
    ]);
    giveBack(1);
    expect(waiters.tryNow(1)).toBe(1);
  });
});
