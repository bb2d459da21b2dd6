/** Heads of clients that keep no state: gc takes over what they tell, and nobody misses them. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { putHeadObject, readHeadObject } from '../../src/server/sealed/head-object.ts';
import { HEAD_PREFIX } from '../../src/server/sealed/object-keys.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { mergeHeads } from '../../src/volume/history/heads.ts';
import { memoryState } from '../../src/volume/state/client-state.ts';
import { HeadMemory } from '../../src/volume/state/head-memory.ts';
import { DAY_MS, errorOf, HOUR_MS, headOf, restore, snapshot, TestClock } from './heads-support.ts';
import { hashOf, idOf } from './mark-values.ts';
import {
  aroundStore,
  bytesOf,
  type Client,
  type ClientOptions,
  makeObjectFolder as makeFolder,
  TestVolume,
  writeFile,
} from './support.ts';

const SOME = bytesOf(1, 100);

let clock: TestClock;
let store: ObjectStore;
let shared: TestVolume;

beforeEach(async () => {
  clock = new TestClock();
  store = new MemoryStore({}, clock);
  shared = await TestVolume.create({}, store);
});

afterEach(() => shared.close());

async function client(options: ClientOptions = {}): Promise<Client> {
  return await shared.client({ nowMs: clock.now, ...options });
}

/** A job that keeps no state: writes a file, and ends. Returns its id. */
async function job(path: string): Promise<string> {
  const { volume, state } = await client({ state: memoryState() });
  await writeFile(volume, path, SOME);
  await volume.close();
  return state.heads.clientId;
}

async function headsThere(): Promise<string[]> {
  return [...(await snapshot(store, HEAD_PREFIX)).keys()].map(key => key.slice(HEAD_PREFIX.length)).sort();
}

describe('gc and the heads of clients that keep no state', () => {
  it('takes over their marks and deletes them a day after they were written, and nobody misses them', async () => {
    const keeper = await client();
    const folder = await makeFolder(keeper.volume, '/folder');
    const old = await snapshot(store, 'i/');
    const gone = await job('/folder/a');
    const watcher = await client();
    await mergeHeads(watcher.volume.session);
    expect(watcher.state.heads.heads.get(gone)).toMatchObject({ isEphemeral: true });

    clock.pass(DAY_MS - HOUR_MS);
    await collectGarbage(keeper.volume);
    expect(await headsThere()).toEqual([gone]);
    clock.pass(2 * HOUR_MS);
    const young = await job('/folder/b');
    await collectGarbage(keeper.volume);
    expect(await headsThere()).toEqual([keeper.state.heads.clientId, young].sort());
    expect((await headOf(keeper, store)).isEphemeral).toBe(false);
    expect((await headOf(keeper, store)).marks.map(({ id }) => id)).toContain(folder.key);

    const merged = await mergeHeads(watcher.volume.session);
    expect([merged.problems, merged.forks]).toEqual([[], []]);
    expect(watcher.state.heads.heads.has(gone)).toBe(false);

    // What the job has seen, a fresh client still hears of.
    await store.delete(HEAD_PREFIX + young);
    await restore(store, old, 'i/');
    const fresh = await client({ state: memoryState() });
    expect((await errorOf(fresh.volume.find('/folder/a')))?.code).toBe('EROLLBACK');
  });

  it('leaves the heads of others where they are', async () => {
    const lasting = await client();
    await writeFile(lasting.volume, '/a', SOME);
    await lasting.volume.close();
    clock.pass(30 * DAY_MS);
    const keeper = await client();
    await collectGarbage(keeper.volume);
    expect(await headsThere()).toEqual([lasting.state.heads.clientId]);
  });

  it('leaves what only a newer netseal may change, and takes over what has something to ignore', async () => {
    const keeper = await client();
    const { control } = keeper.volume.session.sealing;
    const value = Uint8Array.of(1);
    const mark = { id: idOf(9), version: 3, hash: hashOf(9) };
    const plain = { isEphemeral: true, version: 1, writtenAtMs: clock.ms, sessions: [], marks: [mark] };
    const ignorable = { ...plain, extensions: [{ tag: 4, value }] };
    const readOnly = { ...plain, extensions: [{ tag: 5, value }] };
    for (const [at, head] of [plain, ignorable, readOnly].entries()) {
      await putHeadObject({ store, control }, idOf(at + 1), head, { ifAbsent: true });
    }
    clock.pass(2 * DAY_MS);
    await collectGarbage(keeper.volume);
    expect(await headsThere()).toEqual([idOf(3), keeper.state.heads.clientId].sort());
    const { head } = await readHeadObject({ store, control }, keeper.state.heads.clientId);
    expect(head).toMatchObject({ marks: expect.arrayContaining([mark]) });
  });

  it('deletes none of them in a dry run, nor while its own head cannot be written', async () => {
    const gone = await job('/a');
    clock.pass(2 * DAY_MS);
    const keeper = await client({
      around: inner =>
        aroundStore(inner, async call => {
          const isHead = call.operation === 'put' && call.key.startsWith(HEAD_PREFIX);
          if (isHead) throw new NetsealError('EDENIED', 'no');
          return await call.send();
        }),
    });
    await collectGarbage(keeper.volume, { dryRun: true });
    const { failures } = await collectGarbage(keeper.volume);
    expect(failures.map(({ key, error }) => [key, error.code])).toEqual([
      [HEAD_PREFIX + keeper.state.heads.clientId, 'EDENIED'],
    ]);
    expect(await headsThere()).toEqual([gone]);
  });

  it('takes as many at a time as one head has room for, the oldest first', async () => {
    const keeper = await client();
    const { control } = keeper.volume.session.sealing;
    for (const number of [1, 2, 3]) {
      const marks = Array.from({ length: 2000 }, (_, at) => {
        const id = idOf(number * 10_000 + at);
        return { id, version: 1, hash: hashOf(at) };
      });
      const head = { isEphemeral: true, version: 1, writtenAtMs: clock.ms, sessions: [], marks };
      await putHeadObject({ store, control }, idOf(number), head, { ifAbsent: true });
      clock.pass(1);
    }
    clock.pass(2 * DAY_MS);
    await collectGarbage(keeper.volume);
    const { clientId } = keeper.state.heads;
    expect(await headsThere()).toEqual([idOf(3), clientId].sort());
    const told = new Set((await headOf(keeper, store)).marks.map(({ id }) => id));
    for (const number of [1, 2]) {
      for (let at = 0; at < 2000; at += 1) expect(told.has(idOf(number * 10_000 + at))).toBe(true);
    }
    await collectGarbage(keeper.volume);
    expect(await headsThere()).toEqual([clientId]);
    expect((await headOf(keeper, store)).marks.map(({ id }) => id)).toContain(idOf(30_000));
  });
});

describe('a client that keeps no state', () => {
  it('writes on when its head was taken meanwhile, and reports nothing', async () => {
    const problems: string[] = [];
    const state = memoryState();
    const living = await client({ state, onProblem: ({ message }) => problems.push(message) });
    await writeFile(living.volume, '/a', SOME);
    await living.volume.close();
    const first = state.heads.clientId;
    await store.delete(HEAD_PREFIX + first);
    const again = await client({ state, onProblem: ({ message }) => problems.push(message) });
    await writeFile(again.volume, '/b', SOME);
    await again.volume.close();
    expect(problems).toEqual([]);
    expect(await headsThere()).toEqual([first]);
    expect((await headOf(again, store)).version).toBe(2);
  });

  it('takes a new id when it has not written its head for half a day, before gc may take that head', () => {
    const hours = (count: number): number => count * HOUR_MS;
    for (const [memory, longMs] of [
      [HeadMemory.ephemeral(0), hours(12)],
      [HeadMemory.fresh(0), 60 * DAY_MS],
    ] as const) {
      const first = memory.clientId;
      memory.noteWritten(hours(1));
      memory.renewId(hours(1) + longMs - 1);
      expect(memory.clientId).toBe(first);
      memory.renewId(hours(1) + longMs);
      expect(memory.clientId).not.toBe(first);
      expect(memory.writtenAtMs).toBeUndefined();
    }
  });
});
