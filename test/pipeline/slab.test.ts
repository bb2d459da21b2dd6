import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type Lease, Slab } from '../../src/pipeline/slab.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { nextTurn, rejectionCode } from './support.ts';

const GRANULE = 64;
const GRANULES = 24;

type Step =
  | { readonly do: 'reserve'; readonly bytes: number }
  | {
      readonly do: 'hold' | 'unhold' | 'release' | 'abort' | 'keep';
      readonly pick: number;
      readonly bits: number;
    }
  | { readonly do: 'close' };

const picked = (...names: ('hold' | 'unhold' | 'release' | 'abort' | 'keep')[]) =>
  fc.record({ do: fc.constantFrom(...names), pick: fc.nat(), bits: fc.nat(2 ** GRANULES - 1) });
const reserving = fc.record({
  do: fc.constant('reserve' as const),
  bytes: fc.integer({ min: 1, max: GRANULES * GRANULE }),
});
const smallReserving = fc.record({
  do: fc.constant('reserve' as const),
  bytes: fc.integer({ min: 1, max: 5 * GRANULE }),
});
const steps: fc.Arbitrary<Step[]> = fc
  .tuple(
    fc.array(
      fc.oneof(
        { weight: 4, arbitrary: smallReserving },
        { weight: 1, arbitrary: reserving },
        { weight: 4, arbitrary: picked('release') },
        { weight: 4, arbitrary: picked('hold', 'unhold', 'abort', 'keep') },
      ),
      { maxLength: 60 },
    ),
    fc.option(fc.nat(60)),
  )
  .map(([list, closeAt]) =>
    closeAt === null ? list : [...list.slice(0, closeAt), { do: 'close' as const }, ...list.slice(closeAt)],
  );

/** One caller, as the model sees it beside the real thing. */
interface Caller {
  readonly granules: number;
  readonly abort: AbortController;
  /** Which granules it owns; undefined while it waits. */
  owned: Set<number> | undefined;
  holds: number;
  readonly unholds: (() => void)[];
  released: boolean;
  outcome: 'waiting' | 'lent' | 'aborted' | 'closed';
  real: Lease | { readonly error: unknown } | undefined;
}

function sorted(granules: Iterable<number> = []): number[] {
  return [...granules].sort((left, right) => left - right);
}

/** A slab as plain as it gets: who owns each granule, and a list of who waits. */
class Model {
  readonly owner: (Caller | undefined)[] = Array.from({ length: GRANULES });
  readonly queue: Caller[] = [];
  closed = false;

  reserve(caller: Caller): void {
    if (this.closed) caller.outcome = 'closed';
    else this.queue.push(caller);
    this.serve();
  }

  serve(): void {
    for (let first = this.queue[0]; first !== undefined; first = this.queue[0]) {
      const at = this.firstFit(first.granules);
      if (at === undefined) return;
      this.queue.shift();
      first.owned = new Set(Array.from({ length: first.granules }, (_, i) => at + i));
      first.outcome = 'lent';
      for (const granule of first.owned) this.owner[granule] = first;
    }
  }

  firstFit(granules: number): number | undefined {
    for (let at = 0; at + granules <= GRANULES; at += 1) {
      if (this.owner.slice(at, at + granules).every(owner => owner === undefined)) return at;
    }
    return undefined;
  }

  /** One stretch after another, and after each the next in the queue gets its chance. */
  free(caller: Caller, granules: readonly number[]): void {
    for (const [at, granule] of granules.entries()) {
      expect(this.owner[granule]).toBe(caller);
      this.owner[granule] = undefined;
      caller.owned?.delete(granule);
      if (granules[at + 1] !== granule + 1) this.serve();
    }
  }

  freeIfDone(caller: Caller): void {
    if (caller.released && caller.holds === 0) this.free(caller, sorted(caller.owned));
  }

  get usedBytes(): number {
    return this.owner.filter(owner => owner !== undefined).length * GRANULE;
  }
}

class Checker {
  readonly slab = new Slab('test', GRANULES * GRANULE);
  readonly model = new Model();
  readonly callers: Caller[] = [];

  async apply(step: Step): Promise<void> {
    if (step.do === 'reserve') this.reserve(step.bytes);
    else if (step.do === 'close') this.close();
    else if (step.do === 'abort') this.abort(step.pick);
    else this.useLease(step.do, step.pick, step.bits);
    await nextTurn();
    this.compare();
  }

  reserve(bytes: number): void {
    const caller: Caller = {
      granules: Math.ceil(bytes / GRANULE),
      abort: new AbortController(),
      owned: undefined,
      holds: 0,
      unholds: [],
      released: false,
      outcome: 'waiting',
      real: undefined,
    };
    this.callers.push(caller);
    this.slab.reserve(bytes, caller.abort.signal).then(
      lease => {
        caller.real = lease;
      },
      error => {
        caller.real = { error };
      },
    );
    this.model.reserve(caller);
  }

  close(): void {
    this.slab.close();
    this.model.closed = true;
    for (const caller of this.model.queue.splice(0)) caller.outcome = 'closed';
  }

  abort(pick: number): void {
    const waiting = this.model.queue;
    const caller = waiting[pick % Math.max(1, waiting.length)];
    if (caller === undefined) return;
    waiting.splice(waiting.indexOf(caller), 1);
    caller.outcome = 'aborted';
    caller.abort.abort(caller);
    this.model.serve();
  }

  useLease(what: 'hold' | 'unhold' | 'release' | 'keep', pick: number, bits: number): void {
    const lent = this.callers.filter(
      ({ outcome, released, holds }) => outcome === 'lent' && (!released || holds > 0),
    );
    const caller = lent[pick % Math.max(1, lent.length)];
    if (caller === undefined) return;
    const lease = caller.real as Lease;
    if (what === 'hold') {
      caller.unholds.push(lease.hold());
      caller.holds += 1;
    } else if (what === 'unhold' && caller.holds > 0) {
      const unhold = caller.unholds.pop();
      unhold?.();
      // Once more does nothing.
      unhold?.();
      caller.holds -= 1;
      this.model.freeIfDone(caller);
    } else if (what === 'release') {
      lease.release();
      // Once more does nothing.
      lease.release();
      caller.released = true;
      this.model.freeIfDone(caller);
    } else if (what === 'keep' && !caller.released && caller.holds === 0) {
      this.keep(caller, lease, bits);
    }
  }

  /** Keeps some of the granules that are still owned; of each, only a few bytes in the middle are named. */
  keep(caller: Caller, lease: Lease, bits: number): void {
    const owned = sorted(caller.owned);
    const kept = owned.filter(granule => (bits & (1 << granule)) !== 0);
    lease.keepOnly(kept.map(granule => ({ offset: granule * GRANULE + 20, length: 7 })));
    this.model.free(
      caller,
      owned.filter(granule => !kept.includes(granule)),
    );
  }

  compare(): void {
    expect(this.slab.usedBytes).toBe(this.model.usedBytes);
    expect(this.slab.waiterCount).toBe(this.model.queue.length);
    for (const caller of this.callers) this.compareCaller(caller);
  }

  compareCaller({ outcome, real, owned, released, abort, granules }: Caller): void {
    if (outcome === 'waiting') expect(real).toBeUndefined();
    else if (outcome === 'aborted') expect((real as { error: unknown }).error).toBe(abort.signal.reason);
    else if (outcome === 'closed') expect(real).toMatchObject({ error: { code: 'ECLOSED' } });
    else if (!released && owned !== undefined) {
      const lease = real as Lease;
      expect(lease.offsetBytes % GRANULE).toBe(0);
      expect(Math.ceil(lease.lengthBytes / GRANULE)).toBe(granules);
      for (const granule of owned) {
        expect(granule * GRANULE).toBeGreaterThanOrEqual(lease.offsetBytes);
        expect(granule * GRANULE).toBeLessThan(lease.offsetBytes + lease.lengthBytes);
      }
      expect(lease.bytes.byteOffset).toBe(lease.offsetBytes);
    }
  }
}

describe('slab', () => {
  it('lends, queues, quarantines and frees exactly as a plain model does, and ends as one free range', async () => {
    await checkAsyncProperty(
      steps,
      async list => {
        const checker = new Checker();
        for (const step of list) await checker.apply(step);
        // Whatever happened, when everyone is done everything is free again, in one piece.
        while (checker.model.usedBytes > 0 || checker.model.queue.length > 0) {
          await checker.apply({ do: 'release', pick: 0, bits: 0 });
          await checker.apply({ do: 'unhold', pick: 0, bits: 0 });
        }
        expect(checker.slab.usedBytes).toBe(0);
        if (!checker.model.closed) {
          const whole = await checker.slab.reserve(checker.slab.budgetBytes);
          expect(whole.offsetBytes).toBe(0);
        }
      },
      4,
    );
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 4097, 2 ** 53])(
    'reserve(%d) of a budget of 4096 is EINVAL at once, even behind others that wait',
    async lengthBytes => {
      const slab = new Slab('test', 4096);
      const first = await slab.reserve(4096);
      const second = slab.reserve(1);
      expect(await rejectionCode(slab.reserve(lengthBytes))).toBe('EINVAL');
      expect(slab.waiterCount).toBe(1);
      first.release();
      (await second).release();
      expect(slab.usedBytes).toBe(0);
    },
  );

  it.each([0, -1, 0.5, Number.NaN, 2 ** 32, 2 ** 53])('a budget of %d is EINVAL', budgetBytes => {
    expect(errorCodeOf(() => new Slab('test', budgetBytes))).toBe('EINVAL');
  });

  it('a budget that the system does not give is EINVAL', () => {
    const cause = new RangeError('Array buffer allocation failed');
    vi.stubGlobal(
      'SharedArrayBuffer',
      class {
        constructor() {
          throw cause;
        }
      },
    );
    try {
      expect(() => new Slab('test', 2 ** 31)).toThrow(expect.objectContaining({ code: 'EINVAL', cause }));
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it('the whole budget can be lent, also when it is no multiple of the granule', async () => {
    const slab = new Slab('test', 1000);
    const lease = await slab.reserve(slab.budgetBytes);
    expect(lease.lengthBytes).toBe(1024);
  });

  it('a released lease gives out no memory and takes no hold', async () => {
    const slab = new Slab('test', 4096);
    const lease = await slab.reserve(100);
    lease.release();
    expect(errorCodeOf(() => lease.bytes)).toBe('ECLOSED');
    expect(errorCodeOf(() => lease.hold())).toBe('ECLOSED');
    expect(errorCodeOf(() => lease.keepOnly([]))).toBe('ECLOSED');
    expect(lease.isOf(slab)).toBe(false);
  });

  it("ending one's own hold twice does not end another's", async () => {
    const slab = new Slab('test', 4096);
    const lease = await slab.reserve(100);
    const unholdMine = lease.hold();
    const unholdTheirs = lease.hold();
    lease.release();
    unholdMine();
    unholdMine();
    expect(slab.usedBytes).toBe(128);
    unholdTheirs();
    expect(slab.usedBytes).toBe(0);
  });

  it('trimming what is held is a fault of ours', async () => {
    const slab = new Slab('test', 4096);
    const lease = await slab.reserve(100);
    lease.hold();
    expect(errorCodeOf(() => lease.keepOnly([]))).toBe('EBUG');
    expect(slab.usedBytes).toBe(128);
  });

  it('a lease that is released while held may be held once more by who holds it, and is freed once', async () => {
    const slab = new Slab('test', 4096);
    const lease = await slab.reserve(100);
    const unholdFirst = lease.hold();
    lease.release();
    const unholdSecond = lease.hold();
    unholdFirst();
    expect(slab.usedBytes).toBe(128);
    unholdSecond();
    expect(slab.usedBytes).toBe(0);
    expect(errorCodeOf(() => lease.hold())).toBe('ECLOSED');
  });

  it('an aborted signal rejects before anything is taken', async () => {
    const slab = new Slab('test', 4096);
    const reason = new Error('no');
    await expect(slab.reserve(100, AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(slab.usedBytes).toBe(0);
  });

  it('when the first in the queue gives up, those behind it are served at once', async () => {
    const slab = new Slab('test', 4096);
    const lent = await slab.reserve(2048);
    const abort = new AbortController();
    const large = slab.reserve(4096, abort.signal);
    const small = [slab.reserve(1024), slab.reserve(1024), slab.reserve(64)];
    abort.abort(abort);
    await expect(large).rejects.toBe(abort);
    const [first, second] = await Promise.all(small.slice(0, 2));
    expect(slab.waiterCount).toBe(1);
    lent.release();
    for (const lease of [first, second, await small[2]]) lease?.release();
    expect(slab.usedBytes).toBe(0);
  });

  it('ten thousand waiters are served in order', async () => {
    const slab = new Slab('test', 640);
    const order: number[] = [];
    const all = Array.from({ length: 10_000 }, async (_, at) => {
      const lease = await slab.reserve(1 + ((at * 37) % 640));
      order.push(at);
      lease.release();
    });
    await Promise.all(all);
    expect(order).toEqual(order.map((_, at) => at));
    expect(slab.usedBytes).toBe(0);
  });
});
