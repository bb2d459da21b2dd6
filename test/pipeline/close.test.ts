/** The end of a pipeline: nothing hangs, nothing stays, everything says ECLOSED. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { IS_LONG } from '../support/soak.ts';
import { ORDER } from './fixtures/orders.ts';
import { expectIdle, mixedBytes, nextTurn, OBJECT_ID, rejectionCode, sealAll, testIf } from './support.ts';
import { finish, liveThreads, openWith, send } from './workers.ts';

const SLAB_BYTES = 1 * MIB;
/** Of these, only one fits a slab. */
const LARGE = 600_000;

function watchEnd(closing: Promise<void>): { readonly done: boolean } {
  const state = { done: false };
  void closing.then(() => {
    state.done = true;
  });
  return state;
}

describe.each([0, 1, 2])('closing a pipeline of %d workers', workers => {
  async function expectClosed(pipeline: Pipeline): Promise<void> {
    expect(liveThreads()).toEqual([]);
    expectIdle(pipeline);
    expect(await rejectionCode(pipeline.reservePlain(1))).toBe('ECLOSED');
    expect(await rejectionCode(pipeline.reserveSealed(1))).toBe('ECLOSED');
    expect(() => pipeline.addKeyring(Keyring.create())).toThrow(expect.objectContaining({ code: 'ECLOSED' }));
  }

  it('that is idle, twice, ends the threads; every later call is ECLOSED', async () => {
    const { pipeline, keys } = await openWith('light', { workers });
    const plain = await pipeline.reservePlain(1000);
    const sealed = await pipeline.reserveSealed(1000);
    expect(liveThreads()).toHaveLength(workers);
    const closing = pipeline.close();
    expect(pipeline.close()).toBe(closing);
    await closing;
    await pipeline[Symbol.asyncDispose]();
    const unit = {
      objectId: OBJECT_ID,
      kind: 'unit',
      index: 0,
      unitSizeBytes: 4096,
      offsetBytes: 0,
      lengthBytes: 1000,
    } as const;
    expect(await rejectionCode(pipeline.seal({ keys, from: plain, units: [unit] }))).toBe('ECLOSED');
    expect(await rejectionCode(pipeline.open({ keys, from: sealed, units: [unit] }))).toBe('ECLOSED');
    expect(() =>
      pipeline.keyCommitment(keys, { epoch: 1, kind: 'unit', suite: 'xaes-256-gcm', objectId: OBJECT_ID }),
    ).toThrow(expect.objectContaining({ code: 'ECLOSED' }));
    pipeline.removeKeyring(keys);
    // Leases that callers hold stay readable, and go back as ever.
    expect(plain.bytes).toHaveLength(1000);
    plain.release();
    sealed.release();
    await expectClosed(pipeline);
  });

  it('with batches still held leaves them readable', async () => {
    const { pipeline, keys } = await openWith('light', { workers });
    const { from, sealing } = await send(pipeline, keys, 1);
    const { units, release } = await sealing;
    await pipeline.close();
    expect(units[0]?.bytes.byteLength).toBeGreaterThanOrEqual(1000);
    release.call(await sealing);
    from.release();
    await expectClosed(pipeline);
  });

  it('with callers waiting for input and output memory fails them with ECLOSED', async () => {
    const { pipeline, keys } = await openWith('light', { workers, memoryBytes: 4 * SLAB_BYTES });
    const first = await send(pipeline, keys, 1, LARGE);
    const batch = await first.sealing;
    const [plain, sealed] = [await pipeline.reservePlain(1000), await pipeline.reserveSealed(SLAB_BYTES)];
    const unit = {
      objectId: OBJECT_ID,
      kind: 'unit',
      index: 0,
      unitSizeBytes: MIB,
      offsetBytes: 0,
      lengthBytes: LARGE,
    } as const;
    const waiting = [
      pipeline.seal({ keys, from: first.from, units: [unit] }),
      pipeline.reservePlain(SLAB_BYTES),
      pipeline.reserveSealed(1),
    ];
    const codes = waiting.map(rejectionCode);
    await nextTurn();
    expect(pipeline.memory.reduce((sum, { waiterCount }) => sum + waiterCount, 0)).toBe(3);
    await pipeline.close();
    expect(await Promise.all(codes)).toEqual(['ECLOSED', 'ECLOSED', 'ECLOSED']);
    for (const each of [first.from, batch, plain, sealed]) each.release();
    await expectClosed(pipeline);
  });

  it('at once after opening, and while a hundred calls are on their way', async () => {
    const { pipeline } = await openWith('light', { workers });
    await pipeline.close();
    await expectClosed(pipeline);
    const busy = await openWith('light', { workers });
    const all = Array.from({ length: 100 }, (_, at) =>
      sealAll(busy.pipeline, busy.keys, [{ bytes: mixedBytes(9000, at) }]),
    );
    const settled = Promise.allSettled(all);
    await all[0];
    await busy.pipeline.close();
    const results = await settled;
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'ECLOSED' });
    expect(results.at(-1)?.status).toBe('rejected');
    await expectClosed(busy.pipeline);
  });

  testIf(workers > 0, 'waits for what a worker has, and fails what is queued', async () => {
    const { pipeline, keys } = await openWith('light', { workers });
    const running = [];
    for (let at = 0; at < workers; at += 1) {
      const sent = await send(pipeline, keys, ORDER.waitThenWork);
      await sent.begun();
      running.push(sent);
    }
    const behind = [];
    for (let at = 0; at < workers; at += 1) behind.push(await send(pipeline, keys, at));
    const queued = [];
    for (let at = 0; at < 5; at += 1) queued.push(rejectionCode(finish(await send(pipeline, keys, at))));
    await nextTurn();
    const closing = pipeline.close();
    const end = watchEnd(closing);
    expect(await Promise.all(queued)).toEqual(Array.from({ length: 5 }, () => 'ECLOSED'));
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    expect(end.done).toBe(false);
    for (const { go } of running) go();
    expect(await Promise.all([...running, ...behind].map(finish))).toEqual(
      Array.from({ length: 2 * workers }, () => 'done'),
    );
    await closing;
    await expectClosed(pipeline);
  });

  testIf(workers > 0, 'while a worker dies, with and without work', async () => {
    for (let round = 0; round < 4; round += 1) {
      const { pipeline, keys } = await openWith('light', { workers });
      const sent = await send(pipeline, keys, round % 2 === 0 ? ORDER.exit : ORDER.throwLater);
      const code = rejectionCode(finish(sent));
      const [thread] = liveThreads();
      if (round > 0) void thread?.terminate();
      if (round === 3) await new Promise(resolve => thread?.once('exit', resolve));
      await pipeline.close();
      expect(['EWORKER', 'ECLOSED']).toContain(await code);
      await expectClosed(pipeline);
    }
  });

  testIf(workers > 0, 'just after an idle worker died starts no thread in its place', async () => {
    for (let round = 0; round < 4; round += 1) {
      const { pipeline } = await openWith('light', { workers });
      const [thread] = liveThreads();
      thread?.emit('error', new Error('as a thread reports that it is about to end'));
      await pipeline.close();
      await nextTurn();
      await expectClosed(pipeline);
    }
  });
});

it('pipelines side by side do not touch each other', async () => {
  const [first, second] = await Promise.all([openPipeline({ workers: 1 }), openPipeline({ workers: 1 })]);
  const keys = second.addKeyring(Keyring.create());
  const sealing = Array.from({ length: 10 }, (_, at) =>
    sealAll(second, keys, [{ bytes: mixedBytes(9000, at) }]),
  );
  await first.close();
  expect((await Promise.all(sealing)).flat()).toHaveLength(10);
  await second.close();
  expect(liveThreads()).toEqual([]);
});

describe('a program ends by itself', () => {
  const run = promisify(execFile);
  const child = fileURLToPath(new URL('fixtures/child.ts', import.meta.url));
  it.runIf(IS_LONG).concurrent.each([
    ['neverCloses', 2, ''],
    ['failsToOpen', 2, 'EWORKER\n'],
    ['losesAWorker', 1, 'EWORKER\n'],
    ['abortsAndLeaves', 2, 'left\n'],
    ['leavesAWaiter', 1, ''],
    ['closesWhileBusy', 2, 'true\n'],
  ])('that %s, with %d workers', async (scenario, workers, printed) => {
    const { stdout } = await run(process.execPath, [child, scenario, String(workers)], { timeout: 60_000 });
    expect(stdout).toBe(`${printed}end\n`);
  });
});
