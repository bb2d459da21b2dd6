/** Sessions that live long: when heads are written, and what gc learns from them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { HEAD_PREFIX } from '../../src/server/sealed/object-keys.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { dropOldHeads, mergeHeads, protectedSinceMs } from '../../src/volume/history/heads.ts';
import { HEAD_PERIOD_MS, type HeadTimer } from '../../src/volume/history/history.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, snapshot, TestClock } from './heads-support.ts';
import {
  aroundStore,
  bytesOf,
  type Client,
  type ClientOptions,
  quiet,
  TestVolume,
  writeFile,
} from './support.ts';

const SOME = bytesOf(1, 10_000);

let clock: TestClock;
let store: ObjectStore;
let shared: TestVolume;
let ticks: (() => void)[];

beforeEach(async () => {
  clock = new TestClock();
  store = new MemoryStore({}, clock);
  shared = await TestVolume.create({}, store);
  ticks = [];
});

afterEach(() => shared.close());

const timer: HeadTimer = (periodMs, tick) => {
  expect(periodMs).toBe(HEAD_PERIOD_MS);
  ticks.push(tick);
  return () => {
    ticks = ticks.filter(other => other !== tick);
  };
};

function client(options: ClientOptions = {}): Promise<Client> {
  return shared.client({ nowMs: clock.now, headTimer: timer, ...options });
}

async function tick(): Promise<void> {
  for (const run of ticks) run();
  await quiet(40);
}

async function headVersions(): Promise<number> {
  return (await snapshot(store, HEAD_PREFIX)).size;
}

/** What gc, a client of its own, is told. */
async function protectedSince(nowMs: () => number = clock.now): Promise<number | undefined> {
  const gc = await client({ nowMs, headTimer: () => () => undefined });
  return await protectedSinceMs(gc.volume.session);
}

describe('a session that lives on', () => {
  it('writes its head while it commits, and not while it does nothing', async () => {
    const one = await client();
    await tick();
    expect(await headVersions()).toBe(0);
    await writeFile(one.volume, '/a', SOME);
    expect(await headVersions()).toBe(0);
    await tick();
    expect(await headVersions()).toBe(1);
    const puts = one.meter.snapshot().put.requestCount;
    await tick();
    expect(one.meter.snapshot().put.requestCount).toBe(puts);
    await one.volume.close();
    expect(one.meter.snapshot().put.requestCount).toBe(puts);
    expect(ticks).toEqual([]);
  });

  it('reads the heads of others, and ends with what that brings to light', async () => {
    const one = await client();
    const two = await client();
    await writeFile(two.volume, '/a', SOME);
    await two.volume.close();
    await tick();
    const root = one.volume.settings.rootId;
    expect(one.state.marks.get(root)).toEqual(two.state.marks.get(root));
  });

  it('does not begin before the last time has ended', async () => {
    let holding: (() => void) | undefined;
    let isHeld = false;
    const around = (inner: ObjectStore): ObjectStore =>
      aroundStore(inner, async call => {
        if (isHeld && call.operation === 'list') {
          await new Promise<void>(resolve => {
            holding = resolve;
          });
        }
        return await call.send();
      });
    const one = await client({ around });
    await writeFile(one.volume, '/a', SOME);
    isHeld = true;
    const before = one.meter.snapshot().list.requestCount;
    await tick();
    await tick();
    isHeld = false;
    holding?.();
    await quiet(40);
    expect(one.meter.snapshot().list.requestCount).toBe(before + 1);
    await tick();
    expect(one.meter.snapshot().list.requestCount).toBe(before + 2);
  });

  it('goes on when heads cannot be written, says so once, and writes when it can', async () => {
    let isDenied = true;
    const around = (inner: ObjectStore): ObjectStore =>
      aroundStore(inner, async call => {
        if (isDenied && call.operation === 'put' && call.key.startsWith(HEAD_PREFIX)) {
          throw new NetsealError('EDENIED', 'no heads here');
        }
        return await call.send();
      });
    const problems: string[] = [];
    const one = await client({ around, onProblem: ({ code }) => problems.push(code) });
    await writeFile(one.volume, '/a', SOME);
    await tick();
    await tick();
    expect(problems).toEqual(['EDENIED']);
    isDenied = false;
    await one.volume.close();
    expect(await headVersions()).toBe(1);
  });
});

describe('files that are open', () => {
  it('are protected from the time on when they were opened', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    expect(await protectedSince()).toBeUndefined();
    const openedAtMs = clock.ms;
    const writer = await one.volume.openWriter('/a');
    clock.pass(3 * DAY_MS);
    const later = await one.volume.openWriter('/a');
    await tick();
    const sinceMs = (await protectedSince()) ?? 0;
    expect(sinceMs).toBeLessThanOrEqual(openedAtMs);
    expect(sinceMs).toBeGreaterThan(openedAtMs - 5 * MINUTE_MS);
    await writer.close();
    await tick();
    expect(await protectedSince()).toBeGreaterThan(openedAtMs + 2 * DAY_MS);
    await later.abort();
    await tick();
    expect(await protectedSince()).toBeUndefined();
  });

  it('count while they are read', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    const openedAtMs = clock.ms;
    const reader = await one.volume.openFile('/a');
    clock.pass(DAY_MS);
    const pieces = reader.pieces(0, SOME.byteLength);
    await pieces.next();
    await tick();
    expect(await protectedSince()).toBeLessThanOrEqual(openedAtMs);
    await pieces.return(undefined);
    await tick();
    expect(await protectedSince()).toBeUndefined();
  });

  it('of one session do not end with those of another process of the client', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    const openedAtMs = clock.ms;
    const writer = await one.volume.openWriter('/a');
    await tick();
    const two = await client({ state: one.state });
    await (await two.volume.openWriter('/a')).abort();
    await writeFile(two.volume, '/b', SOME);
    await two.volume.close();
    expect(await protectedSince()).toBeLessThanOrEqual(openedAtMs);
    await writer.abort();
    await one.volume.close();
    expect(await protectedSince()).toBeUndefined();
  });

  it('are forgotten an hour after their session was last heard of', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    await one.volume.openWriter('/a');
    await tick();
    ticks = [];
    clock.pass(59 * MINUTE_MS);
    expect(await protectedSince()).toBeDefined();
    clock.pass(2 * MINUTE_MS);
    expect(await protectedSince()).toBeUndefined();
    // Another process of that client keeps the head young, but not the session.
    const two = await client({ state: one.state });
    await writeFile(two.volume, '/b', SOME);
    await two.volume.close();
    expect(await protectedSince()).toBeUndefined();
  });

  it('stay protected when the clock of the server runs ahead', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    await one.volume.openWriter('/a');
    const openedAtMs = clock.ms;
    await tick();
    clock.pass(2 * DAY_MS);
    expect(await protectedSince(() => openedAtMs + MINUTE_MS)).toBeLessThanOrEqual(openedAtMs);
  });
});

describe('clients that are gone', () => {
  it('lose their heads after 90 days, and come back under another name', async () => {
    const gone = await client();
    await writeFile(gone.volume, '/a', SOME);
    await gone.volume.close();
    const name = gone.state.heads.clientId;
    clock.pass(89 * DAY_MS);
    const here = await client();
    await writeFile(here.volume, '/b', SOME);
    await here.volume.close();
    const gc = await client();
    expect(await dropOldHeads(gc.volume.session)).toEqual([]);
    clock.pass(2 * DAY_MS);
    expect(await dropOldHeads(gc.volume.session, { dryRun: true })).toEqual([name]);
    expect(await headVersions()).toBe(2);
    expect(await dropOldHeads(gc.volume.session)).toEqual([name]);
    expect([...(await snapshot(store, HEAD_PREFIX)).keys()]).toEqual([
      HEAD_PREFIX + here.state.heads.clientId,
    ]);
    const problems: NetsealError[] = [];
    const back = await client({ state: gone.state, onProblem: problem => problems.push(problem) });
    await writeFile(back.volume, '/c', SOME);
    await back.volume.close();
    expect(problems).toEqual([]);
    expect(back.state.heads.clientId).not.toBe(name);
    expect((await mergeHeads(gc.volume.session)).problems).toEqual([]);
  });

  it('keep them as long as the clock of gc says so', async () => {
    const one = await client();
    await writeFile(one.volume, '/a', SOME);
    await one.volume.close();
    const nowMs = clock.ms + HOUR_MS;
    clock.pass(1000 * DAY_MS);
    const gc = await client({ nowMs: () => nowMs });
    expect(await dropOldHeads(gc.volume.session)).toEqual([]);
  });
});
