import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import { listAll, rejectionOf, text, textOf } from '../../src/server/contract/support.ts';
import {
  type Fault,
  type FaultKind,
  type FaultPlan,
  faultyStore,
  seededFaults,
} from '../../src/server/faults.ts';
import { Gate } from '../../src/server/gate.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { type MeterEvent, StoreMeter } from '../../src/server/meter.ts';
import type { ObjectStore, PutCondition } from '../../src/server/store.ts';
import { wrapStore } from '../../src/server/wrap.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { VirtualTime } from './virtual-time.ts';

const ALWAYS: Chance = () => 0.999;

/** The n-th request meets the n-th fault. */
function script(...faults: (FaultKind | Fault | undefined)[]): FaultPlan {
  return ({ index }) => {
    const fault = faults[index];
    return typeof fault === 'string' ? { kind: fault } : fault;
  };
}

/** A memory store behind retry and these faults, in virtual time. */
function failing(faults: FaultPlan, retry = {}) {
  const time = new VirtualTime();
  const inner = new MemoryStore({ name: 'inner' }, time);
  const meter = new StoreMeter(undefined, time);
  const store = wrapStore(inner, { retry }, { faults, meter, scheduler: time, chance: ALWAYS });
  return { time, inner, meter, store };
}

describe('retry', () => {
  it('repeats what did not happen, with pauses that double up to a limit and are left to chance', async () => {
    const refused = Array<FaultKind>(7).fill('refused');
    const { time, store, meter } = failing(script(...refused), {
      attemptsMax: 8,
      pauseMs: 100,
      pauseMsMax: 1000,
    });
    await time.run(store.put('x', [text('1')]));
    expect(meter.snapshot().put).toMatchObject({ requestCount: 8, failureCount: 7 });
    expect(time.sleptMs.map(Math.round)).toEqual([100, 200, 400, 799, 999, 999, 999]);
  });

  it('gives up after so many attempts, with the last error', async () => {
    const { time, store, meter } = failing(() => ({ kind: 'refused' }), { attemptsMax: 3 });
    expect(await time.run(rejectionOf(store.get('x')))).toBe('EUNAVAILABLE');
    expect(meter.requestCount).toBe(3);
  });

  it('repeats no error that would come again', async () => {
    const { time, store, meter } = failing(script());
    expect(await time.run(rejectionOf(store.get('x')))).toBe('EMISSING');
    expect(await time.run(rejectionOf(store.put('x', [], { condition: { ifMatch: '?' } })))).toBe(
      'ECONFLICT',
    );
    expect(meter.requestCount).toBe(2);
  });

  it('all calls together keep to one budget, which success earns back', async () => {
    let down = true;
    const { time, store, meter } = failing(() => (down ? { kind: 'refused' } : undefined), { budget: 5 });
    const calls = Promise.all(Array.from({ length: 20 }, () => rejectionOf(store.now())));
    await time.run(calls);
    expect(meter.requestCount).toBe(25);
    down = false;
    for (let at = 0; at < 10; at += 1) await time.run(store.now());
    down = true;
    await time.run(rejectionOf(store.now()));
    expect(meter.requestCount).toBe(25 + 10 + 2);
  });

  it('a get that broke off is fetched again', async () => {
    const { time, inner, store, meter } = failing(script('short', 'short'));
    await inner.put('x', [text('0123456789')]);
    const found = await time.run(store.get('x', { range: { offsetBytes: 2, lengthBytes: 5 } }));
    expect(textOf(found.bytes)).toBe('23456');
    expect(meter.snapshot().get.requestCount).toBe(3);
  });

  it('puts and deletes without a condition are repeated after a lost answer', async () => {
    const { time, inner, store } = failing(script('lost', 'dropped', undefined, 'lost', 'dropped'));
    const { version } = await time.run(store.put('x', [text('1')]));
    expect(await inner.get('x')).toMatchObject({ version });
    await time.run(store.delete('x'));
    expect(await rejectionOf(inner.get('x'))).toBe('EMISSING');
  });

  it('a conditional put of ordinary bytes is not repeated after a lost answer', async () => {
    for (const kind of ['lost', 'dropped'] as const) {
      const { time, store, meter } = failing(script(kind));
      const put = store.put('x', [text('1')], { condition: { ifAbsent: true } });
      expect(await time.run(rejectionOf(put))).toBe('EUNCERTAIN');
      expect(meter.requestCount).toBe(1);
    }
  });

  it('one of unique bytes succeeds after any number of lost answers, and its effect happens once', async () => {
    for (const faults of [
      ['lost'],
      ['dropped'],
      ['dropped', 'lost'],
      ['lost', 'vague', 'lost', 'refused'],
    ] as const) {
      const { time, inner, store } = failing(script(...faults));
      const options = { condition: { ifAbsent: true }, bytesAreUnique: true } as const;
      const { version } = await time.run(store.put('x', [text('mi'), text('ne')], options));
      const found = await inner.get('x');
      expect([textOf(found.bytes), found.version]).toEqual(['mine', version]);
      // Versions count the changes of a memory store.
      expect(version.split('-').at(-1)).toBe('1');
    }
  });

  it('one that finds other bytes afterwards does not claim them, nor a loss', async () => {
    for (const other of ['theirs', 'mine and more', 'min']) {
      const { time, inner, store } = failing(script('dropped'));
      const condition: PutCondition = { ifAbsent: true };
      const put = store.put('x', [text('mine')], { condition, bytesAreUnique: true });
      await turn();
      await inner.put('x', [text(other)]);
      expect(await time.run(rejectionOf(put))).toBe('EUNCERTAIN');
      expect(textOf((await inner.get('x')).bytes)).toBe(other);
    }
  });

  it('after a lost answer, giving up always says that it may have happened', async () => {
    const refused = Array<FaultKind>(20).fill('refused');
    const { time, store } = failing(script('lost', ...refused));
    expect(await time.run(rejectionOf(store.put('x', [])))).toBe('EUNCERTAIN');
  });

  it('an abort ends a pause with its reason; close ends it with the last error', async () => {
    const never = { now: () => 0, sleep: (_: number, signal?: AbortSignal) => waitForAbort(signal) };
    const make = (): ObjectStore =>
      wrapStore(new MemoryStore(), { retry: {} }, { faults: () => ({ kind: 'refused' }), scheduler: never });
    const stop = new AbortController();
    const reason = new Error('enough');
    const get = expect(make().get('x', { signal: stop.signal })).rejects.toBe(reason);
    await turn();
    stop.abort(reason);
    await get;
    const store = make();
    const code = rejectionOf(store.get('x'));
    await turn();
    await store.close();
    expect(await code).toBe('EUNAVAILABLE');
  });

  it('counters by compare-and-swap under every fault are exact where the store answers for them', async () => {
    const kinds: FaultKind[] = ['refused', 'lost', 'dropped', 'late', 'vague', 'short', 'slow'];
    for (let seed = SEED; seed < SEED + soakSize(30, 1000); seed += 1) {
      const one = await countWithFaults(seed, kinds);
      expect(one.wins, `NETSEAL_SEED=${seed}`).toBeLessThanOrEqual(one.applied);
      expect(one.applied, `NETSEAL_SEED=${seed}`).toBeLessThanOrEqual(one.wins + one.doubts);
      // One seed replays a run.
      expect(await countWithFaults(seed, kinds)).toEqual(one);
    }
  });
});

/** Clients that append their unique names to one object by compare-and-swap; each name must be there at most once. */
async function countWithFaults(seed: number, kinds: FaultKind[]) {
  const time = new VirtualTime();
  const inner = new MemoryStore({}, time);
  const components = {
    faults: seededFaults(seed, 0.4, kinds, 300),
    scheduler: time,
    chance: seededChance(seed),
  };
  const store = wrapStore(inner, { retry: { attemptsMax: 4 }, limit: { concurrency: 2 } }, components);
  await inner.put('x', [text('')]);
  const won: string[] = [];
  const doubtful: string[] = [];
  const client = async (id: string): Promise<void> => {
    for (let round = 0; round < 6; round += 1) {
      const name = `${id}${round};`;
      try {
        const { bytes, version } = await store.get('x');
        const condition = { ifMatch: version };
        await store.put('x', [bytes, text(name)], { condition, bytesAreUnique: true });
        won.push(name);
      } catch (error) {
        if (!(error instanceof NetsealError)) throw error;
        if (error.code === 'EUNCERTAIN') doubtful.push(name);
      }
    }
  };
  await time.run(Promise.all(['a', 'b', 'c'].map(client)));
  const applied = appliedNames(textOf((await inner.get('x')).bytes), won, doubtful);
  await store.close();
  return { wins: won.length, doubts: doubtful.length, applied, endMs: time.now() };
}

function appliedNames(content: string, won: string[], doubtful: string[]): number {
  const names = content.split(';').slice(0, -1);
  expect(new Set(names).size).toBe(names.length);
  for (const name of won) expect(names).toContain(name.slice(0, -1));
  for (const name of names) expect([...won, ...doubtful]).toContain(`${name};`);
  return names.length;
}

function waitForAbort(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason));
  });
}

describe('the limit', () => {
  it('lets so many through, keeps order, and refuses whom the queue cannot hold', async () => {
    const gate = new Gate('gate', 2, 3);
    const order: number[] = [];
    const enders: (() => void)[] = [];
    const enter = (id: number): Promise<void> =>
      gate.run(async () => {
        order.push(id);
        await new Promise<void>(resolve => enders.push(resolve));
      });
    const all = [0, 1, 2, 3, 4].map(enter);
    expect([gate.insideCount, gate.waiterCount]).toEqual([2, 3]);
    expect(await rejectionOf(enter(5))).toBe('EUNAVAILABLE');
    for (let at = 0; at < 5; at += 1) {
      await turn();
      enders[at]?.();
    }
    await Promise.all(all);
    expect(order).toEqual([0, 1, 2, 3, 4]);
    expect([gate.insideCount, gate.waiterCount]).toEqual([0, 0]);
  });

  it('who is aborted while waiting leaves the queue, and its place is not lost', async () => {
    const gate = new Gate('gate', 1);
    let end: () => void = () => undefined;
    const first = gate.run(() => new Promise<void>(resolve => (end = resolve)));
    const stop = new AbortController();
    const second = gate.run(async () => 'second', stop.signal);
    const third = gate.run(async () => 'third');
    const reason = new Error('enough');
    stop.abort(reason);
    await expect(second).rejects.toBe(reason);
    end();
    await first;
    expect(await third).toBe('third');
  });

  it('close fails who waits and waits for who is inside', async () => {
    const gate = new Gate('gate', 1);
    let end: () => void = () => undefined;
    const first = gate.run(() => new Promise<void>(resolve => (end = resolve)));
    const waiting = rejectionOf(gate.run(async () => 1));
    const closing = gate.close();
    expect(await waiting).toBe('ECLOSED');
    end();
    await Promise.all([first, closing]);
    expect(await rejectionOf(gate.run(async () => 1))).toBe('ECLOSED');
  });

  it('a call that pauses for a retry holds no place', async () => {
    const time = new VirtualTime();
    const limits = { retry: {}, limit: { concurrency: 1 } };
    const faults = script('refused');
    const store = wrapStore(new MemoryStore(), limits, { faults, scheduler: time, chance: ALWAYS });
    const slow = store.put('x', []);
    await store.put('y', []);
    expect((await store.list({ limit: 9 })).entries.map(entry => entry.key)).toEqual(['y']);
    await time.run(slow);
  });
});

describe('the meter', () => {
  it('counts requests, failures and bytes by operation, and tells of each', async () => {
    const events: MeterEvent[] = [];
    const meter = new StoreMeter(event => events.push(event));
    const store = meter.wrap(new MemoryStore());
    await store.put('x', [text('abc'), text('de')]);
    await store.get('x', { range: { offsetBytes: 1, lengthBytes: 2 } });
    await rejectionOf(store.get('y'));
    const { put, get, list } = meter.snapshot();
    expect(put).toMatchObject({ requestCount: 1, sentBytes: 5, receivedBytes: 0, runningCount: 0 });
    expect(get).toMatchObject({ requestCount: 2, failureCount: 1, receivedBytes: 2 });
    expect(list.requestCount).toBe(0);
    expect(events.map(({ operation, key }) => `${operation} ${key}`)).toEqual(['put x', 'get x', 'get y']);
    expect(events[2]?.error).toMatchObject({ code: 'EMISSING' });
  });

  it('tells how many requests had to wait for one another', async () => {
    const time = new VirtualTime();
    const meter = new StoreMeter(undefined, time);
    const faults: FaultPlan = () => ({ kind: 'slow', delayMs: 10 });
    const store = wrapStore(new MemoryStore(), {}, { meter, faults, scheduler: time });
    await time.run(Promise.all([store.put('a', []), store.put('b', []), store.put('c', [])]));
    expect([meter.requestCount, meter.roundTripCount]).toEqual([3, 1]);
    await time.run(store.stat('a'));
    expect(meter.roundTripCount).toBe(2);
    meter.resetRoundTrips();
    await time.run(store.stat('a').then(() => Promise.all([store.stat('b'), store.stat('c')])));
    expect(meter.roundTripCount).toBe(2);
  });
});

describe('faults', () => {
  it('a torn put leaves its beginning, and only where puts can tear', async () => {
    const plan = script({ kind: 'torn', share: 0.5 });
    const inner = new MemoryStore({ capabilities: { atomicPut: false } });
    expect(await rejectionOf(faultyStore(inner, plan).put('x', [text('0123'), text('4567')]))).toBe(
      'EUNCERTAIN',
    );
    expect(textOf((await inner.get('x')).bytes)).toBe('0123');
    expect(await rejectionOf(faultyStore(new MemoryStore(), plan).put('x', []))).toBe('EINVAL');
  });

  it('a late put happens afterwards, with the bytes of then', async () => {
    const time = new VirtualTime();
    const inner = new MemoryStore({}, time);
    const store = faultyStore(inner, script({ kind: 'late', delayMs: 50 }), { scheduler: time });
    const bytes = text('then');
    const code = rejectionOf(store.put('x', [bytes]));
    expect(await code).toBe('EUNCERTAIN');
    bytes.fill(0);
    expect(await rejectionOf(inner.get('x'))).toBe('EMISSING');
    await time.run(Promise.resolve());
    expect(textOf((await inner.get('x')).bytes)).toBe('then');
  });

  it('a stale list lacks what is new and shows what is gone, in order and in pages', async () => {
    const inner = new MemoryStore({ capabilities: { listIsConsistent: false } });
    const store = faultyStore(inner, ({ operation }) =>
      operation === 'list' ? { kind: 'stale' } : undefined,
    );
    await inner.put('b', [text('old')]);
    await inner.put('d', []);
    await store.put('a', []);
    await store.delete('b');
    await store.put('c', []);
    expect((await listAll(store)).map(entry => entry.key)).toEqual(['b', 'd']);
    expect((await listAll(store, 1)).map(entry => entry.key)).toEqual(['b', 'd']);
    expect((await listAll(inner)).map(entry => entry.key)).toEqual(['a', 'c', 'd']);
  });

  it('a plan of one seed is the same plan, and hits about as often as it says', () => {
    const kinds: FaultKind[] = ['refused', 'lost', 'slow'];
    const [one, same, other] = [7, 7, 8].map(seed => {
      const plan = seededFaults(seed, 0.3, kinds);
      return Array.from({ length: 2000 }, (_, index) => plan({ index, operation: 'put', key: 'x' }));
    });
    expect(one).toEqual(same);
    expect(one).not.toEqual(other);
    const hits = one?.filter(fault => fault !== undefined).length ?? 0;
    expect(hits / 2000).toBeGreaterThan(0.25);
    expect(hits / 2000).toBeLessThan(0.35);
  });
});
