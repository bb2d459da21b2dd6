/** Probing: what stores really do is found out. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ForwardingStore } from '../../src/server/forward.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { probeStore } from '../../src/server/probe.ts';
import type { ObjectStore, PutOptions } from '../../src/server/store.ts';

const QUICK = { largeBytes: 100_000 };

/** A store whose put is another. Everything else is that of `inner`. */
function withPut(inner: ObjectStore, put: ObjectStore['put']): ObjectStore {
  return new Proxy(inner, {
    get: (target, name) => {
      if (name === 'put') return put;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

describe('a store that does what it declares', () => {
  it('is atomic', async () => {
    const store = new MemoryStore();
    const report = await probeStore(store, QUICK);
    expect(report).toMatchObject({ createIfAbsent: 'atomic', replaceIfMatch: 'atomic', isSound: true });
    expect(report.checks.every(({ holds }) => holds)).toBe(true);
    expect(Math.abs(report.clockAheadMs ?? Number.NaN)).toBeLessThan(60_000);
    expect((await store.list({ limit: 10 })).entries).toEqual([]);
  });

  it('is not tried for what it does not declare', async () => {
    const none = { createIfAbsent: 'none', replaceIfMatch: 'none', serverClock: false } as const;
    const report = await probeStore(new MemoryStore({ capabilities: none }), QUICK);
    expect(report).toMatchObject({ ...{ createIfAbsent: 'none', replaceIfMatch: 'none' }, isSound: true });
    expect(report.clockAheadMs).toBeUndefined();
  });
});

describe('a store', () => {
  it('that ignores conditions is found out', async () => {
    const inner = new MemoryStore();
    const store = withPut(inner, async (key, parts) => await inner.put(key, parts));
    const report = await probeStore(store, QUICK);
    expect(report).toMatchObject({ createIfAbsent: 'none', replaceIfMatch: 'none', isSound: true });
    const problems = report.checks.flatMap(({ problem = [] }) => problem);
    expect(problems).toContain('the object was replaced');
    expect(problems).toContain('8 were told that they did');
  });

  it('that compares first and writes later is found out', async () => {
    const inner = new MemoryStore();
    const store = withPut(inner, async (key, parts, options: PutOptions = {}) => {
      const { condition } = options;
      const present = await inner.stat(key).catch(() => undefined);
      if (condition !== undefined) {
        const holds =
          'ifAbsent' in condition ? present === undefined : present?.version === condition.ifMatch;
        // Whoever asks about what is there gets the right answer.
        if (!holds) return await inner.put(key, parts, options);
      }
      await nextTurn();
      return await inner.put(key, parts);
    });
    const report = await probeStore(store, QUICK);
    expect(report).toMatchObject({ createIfAbsent: 'none', replaceIfMatch: 'none', isSound: true });
    expect(
      report.checks.filter(({ what }) => what.startsWith('nothing is created')).every(({ holds }) => holds),
    ).toBe(true);
  });

  it('that refuses and writes all the same is found out', async () => {
    const inner = new MemoryStore();
    const store = withPut(inner, async (key, parts, options: PutOptions = {}) => {
      const ends = await Promise.allSettled([inner.put(key, parts, options)]);
      if (ends[0]?.status === 'rejected') await inner.put(key, parts);
      if (ends[0]?.status === 'rejected') throw ends[0].reason;
      return await inner.put(key, parts);
    });
    expect(await probeStore(store, QUICK)).toMatchObject({ createIfAbsent: 'none', replaceIfMatch: 'none' });
  });

  it('that gives back other bytes is not sound', async () => {
    const inner = new MemoryStore();
    const store = new ForwardingStore(
      inner,
      async call => {
        const result = await call.send();
        if (call.operation === 'get') (result as { bytes: Uint8Array }).bytes.fill(0, 50);
        return result;
      },
      async () => undefined,
    );
    const { isSound, checks } = await probeStore(store, QUICK);
    expect(isSound).toBe(false);
    expect(checks[0]).toMatchObject({ holds: false, problem: 'other bytes came back' });
  });
});

it('a probe of a store that cannot be asked fails as it does, and so does one that is aborted', async () => {
  const store = new MemoryStore();
  const reason = new Error('enough');
  await expect(probeStore(store, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await store.close();
  await expect(probeStore(store)).rejects.toMatchObject({ code: 'ECLOSED' });
});
