/** Calls that are given up, at every stage of their lives. */
import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/geometry.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import type { Pipeline } from '../../src/pipeline/pipeline.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { ORDER } from './fixtures/orders.ts';
import { expectIdle, mixedBytes, nextTurn, OBJECT_ID, openAll, sealAll, testIf, until } from './support.ts';
import { finish, openWith, send } from './workers.ts';

const MEMORY_BYTES = 8 * MIB;
const SLAB_BYTES = MEMORY_BYTES / 4;
const REASON = new Error('changed my mind');
const BLOCKED = 4096;
/** Of these, two and a half fit a slab. */
const LARGE = 800_000;

function usedOf(pipeline: Pipeline, name: string): number {
  return pipeline.memory.find(slab => slab.name === name)?.usedBytes ?? Number.NaN;
}

function waitersOf(pipeline: Pipeline, name: string): number {
  return pipeline.memory.find(slab => slab.name === name)?.waiterCount ?? Number.NaN;
}

/** A request that fills half of the job slab. */
async function sendMany(pipeline: Pipeline, keys: KeyHandle, firstIndex: number, signal?: AbortSignal) {
  const from = await pipeline.reservePlain(BLOCKED + 8);
  from.bytes.fill(0);
  const gate = new Int32Array(from.bytes.buffer, from.offsetBytes, 2);
  const place = { objectId: OBJECT_ID, kind: 'unit', unitSizeBytes: 4096 } as const;
  const first = { ...place, index: firstIndex, offsetBytes: 0, lengthBytes: 8 };
  const rest = Array.from({ length: BLOCKED - 1 }, (_, at) => ({
    ...place,
    index: at,
    offsetBytes: 8 + at,
    lengthBytes: 1,
  }));
  const codec = parseCodec('stored');
  const sealing = pipeline.seal({ keys, from, units: [first, ...rest], padding: 'none', codec }, { signal });
  const go = (): void => {
    Atomics.store(gate, 1, 1);
    Atomics.notify(gate, 1);
  };
  return { from, sealing, go };
}

describe.each([0, 1, 2])('with %d workers, a call that is given up', workers => {
  let pipeline: Pipeline;
  let keys: KeyHandle;
  let abort: AbortController;
  const warnings: Error[] = [];
  const note = (warning: Error): unknown => warnings.push(warning);

  beforeEach(async () => {
    ({ pipeline, keys } = await openWith('chaos', { workers, memoryBytes: MEMORY_BYTES }));
    abort = new AbortController();
    warnings.length = 0;
    process.on('warning', note);
  });
  afterEach(async () => {
    process.off('warning', note);
    expectIdle(pipeline);
    await pipeline.close();
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    expect(warnings).toEqual([]);
  });

  it('before it began rejects with the reason and takes nothing', async () => {
    abort.abort(REASON);
    const { signal } = abort;
    const sealed = await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 1) }]);
    const plain = await pipeline.reservePlain(1000);
    const toOpen = await pipeline.reserveSealed(1000);
    const before = pipeline.memory;
    const unit = {
      objectId: OBJECT_ID,
      kind: 'unit',
      index: 0,
      unitSizeBytes: 4096,
      offsetBytes: 0,
      lengthBytes: 1000,
    } as const;
    await expect(pipeline.reservePlain(10, { signal })).rejects.toBe(REASON);
    await expect(pipeline.reserveSealed(10, { signal })).rejects.toBe(REASON);
    await expect(pipeline.seal({ keys, from: plain, units: [unit] }, { signal })).rejects.toBe(REASON);
    await expect(pipeline.open({ keys, from: toOpen, units: [unit] }, { signal })).rejects.toBe(REASON);
    expect(pipeline.memory).toEqual(before);
    plain.release();
    toOpen.release();
    expect(await openAll(pipeline, keys, sealed)).toHaveLength(1);
  });

  it('while it waits for input memory leaves the queue, and the next is served', async () => {
    const lease = await pipeline.reservePlain(SLAB_BYTES / 2);
    const large = pipeline.reservePlain(SLAB_BYTES, { signal: abort.signal });
    const small = pipeline.reservePlain(100);
    await nextTurn();
    expect(waitersOf(pipeline, 'plain to seal')).toBe(2);
    abort.abort(REASON);
    await expect(large).rejects.toBe(REASON);
    (await small).release();
    lease.release();
  });

  it('while it waits for output memory lets go of its input', async () => {
    const sizes = { unitSizeBytes: 2 * MIB, offsetBytes: 0, lengthBytes: 1_400_000 };
    const unit = { objectId: OBJECT_ID, kind: 'unit', index: 0, ...sizes } as const;
    const from = await pipeline.reservePlain(1_400_000);
    from.bytes.set(mixedBytes(1_400_000, 1));
    const request = { keys, from, units: [unit], codec: parseCodec('stored') };
    const kept = await pipeline.seal(request);
    const waiting = pipeline.seal(request, { signal: abort.signal });
    const behind = pipeline.seal(request);
    await nextTurn();
    expect(waitersOf(pipeline, 'sealed')).toBe(2);
    abort.abort(REASON);
    await expect(waiting).rejects.toBe(REASON);
    from.release();
    kept.release();
    (await behind).release();
  });

  it('with five hundred others under one signal: all reject, nothing leaks, nobody warns', async () => {
    const all = Array.from({ length: 500 }, (_, at) =>
      sealAll(pipeline, keys, [{ bytes: mixedBytes(20_000, at) }], { signal: abort.signal }),
    );
    const others = Array.from({ length: 20 }, (_, at) =>
      sealAll(pipeline, keys, [{ bytes: mixedBytes(9000, at) }]),
    );
    const settled = Promise.allSettled(all);
    await all[3];
    abort.abort(REASON);
    let rejected = 0;
    for (const result of await settled) {
      if (result.status !== 'rejected') continue;
      expect(result.reason).toBe(REASON);
      rejected += 1;
    }
    expect(rejected).toBeGreaterThan(300);
    expect((await Promise.all(others)).flat()).toHaveLength(20);
    await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
  });

  it('never has left no listener behind when it succeeds or fails', async () => {
    const { signal } = abort;
    const sealed = await sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, 1) }], { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await openAll(pipeline, keys, sealed, { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await expect(
      sealAll(pipeline, { ...keys, id: 2 ** 31 - 1 }, [{ bytes: mixedBytes(5, 1) }], { signal }),
    ).rejects.toMatchObject({
      code: 'EKEY',
    });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  testIf(workers === 1, 'while it waits for job memory gives back input and output', async () => {
    const first = await sendMany(pipeline, keys, ORDER.waitThenWork);
    const second = await sendMany(pipeline, keys, 0);
    const third = await sendMany(pipeline, keys, 0, abort.signal);
    const fourth = await sendMany(pipeline, keys, 0);
    await nextTurn();
    expect(waitersOf(pipeline, 'jobs')).toBe(2);
    abort.abort(REASON);
    await expect(third.sealing).rejects.toBe(REASON);
    third.from.release();
    first.go();
    for (const { from, sealing } of [first, second, fourth]) {
      from.release();
      expect((await sealing).units).toHaveLength(BLOCKED);
      (await sealing).release();
    }
  });

  testIf(
    workers > 0,
    'while a worker has it, or it is queued, rejects at once; its memory stays counted',
    async () => {
      const running = [];
      for (let at = 0; at < workers; at += 1) {
        const sent = await send(pipeline, keys, ORDER.waitThenWork, 20_000, abort.signal);
        await sent.begun();
        running.push(sent);
      }
      const queued = [];
      for (let at = 0; at < 4; at += 1) queued.push(await send(pipeline, keys, at, 20_000, abort.signal));
      const untouched = sealAll(pipeline, keys, [{ bytes: mixedBytes(9000, 5) }]);
      await nextTurn();
      abort.abort(REASON);
      for (const { sealing, from } of [...running, ...queued]) {
        await expect(sealing).rejects.toBe(REASON);
        from.release();
      }
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
      // Nothing that a worker may still write to, or read, has come back.
      expect(usedOf(pipeline, 'plain to seal')).toBeGreaterThanOrEqual((workers + 4) * 20_000);
      expect(usedOf(pipeline, 'sealed')).toBeGreaterThanOrEqual((workers + 4) * 20_000);
      expect(usedOf(pipeline, 'jobs')).toBeGreaterThanOrEqual((workers + 4) * 128);
      for (const { go } of running) go();
      expect(await untouched).toHaveLength(1);
      await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
    },
  );

  testIf(workers > 0, 'while a worker has not begun its units spares it the work', async () => {
    const probe = await send(pipeline, keys, 1);
    const { buffer } = (await probe.sealing).units[0]!.bytes;
    await finish(probe);
    const sealedSlab = new Uint8Array(buffer).fill(7);
    const sent = await send(pipeline, keys, ORDER.waitThenWork, 20_000, abort.signal);
    await sent.begun();
    abort.abort(REASON);
    sent.go();
    await expect(finish(sent)).rejects.toBe(REASON);
    await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
    expect(sealedSlab.every(byte => byte === 7)).toBe(true);
  });

  testIf(
    workers === 2,
    'while a worker is about to write late: no other call gets that memory before',
    async () => {
      const late = await send(pipeline, keys, ORDER.waitThenScribble, LARGE, abort.signal);
      await late.begun();
      abort.abort(REASON);
      await expect(late.sealing).rejects.toBe(REASON);
      late.from.release();
      const from = await pipeline.reservePlain(LARGE);
      const plain = mixedBytes(LARGE, 1);
      from.bytes.set(plain);
      const place = { objectId: OBJECT_ID, kind: 'unit', index: 1, unitSizeBytes: 1 * MIB } as const;
      const units = [{ ...place, offsetBytes: 0, lengthBytes: LARGE }];
      const batch = await pipeline.seal({ keys, from, units, codec: parseCodec('stored') });
      const record = batch.units[0]!.bytes.slice();
      // These two want what the late one has: input, and room for output.
      const wantsInput = pipeline.reservePlain(LARGE);
      const wantsOutput = pipeline.seal({
        keys,
        from,
        units: Array.from({ length: 2 }, () => units[0]!),
        codec: parseCodec('stored'),
      });
      for (let turn = 0; turn < 20; turn += 1) await nextTurn();
      expect(waitersOf(pipeline, 'plain to seal')).toBe(1);
      expect(waitersOf(pipeline, 'sealed')).toBe(1);
      late.go();
      (await wantsInput).release();
      expect(Buffer.compare(batch.units[0]!.bytes, record)).toBe(0);
      expect(Buffer.compare(from.bytes, plain)).toBe(0);
      const { tag } = batch.units[0]!;
      batch.release();
      const results = await wantsOutput;
      expect(results.units).toHaveLength(2);
      from.release();
      results.release();
      const [opened] = await openAll(pipeline, keys, [
        { ...place, record, tag, isHole: false, isLast: false, plainBytes: 0 },
      ]);
      expect(opened).toMatchObject({ isLast: false });
    },
  );

  testIf(
    workers > 0,
    'and whose worker then dies, or fails, gives everything back all the same',
    async () => {
      for (const order of [ORDER.exit, ORDER.throwLater, ORDER.failHandler]) {
        const own = new AbortController();
        const sent = await send(pipeline, keys, order, 5000, own.signal);
        own.abort(REASON);
        await expect(finish(sent)).rejects.toBe(REASON);
        await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
      }
      expect(await finish(await send(pipeline, keys, 1))).toBe('done');
    },
  );

  testIf(workers > 0, 'when opening, too', async () => {
    const from = await pipeline.reserveSealed(5000);
    from.bytes.fill(0);
    const gate = new Int32Array(from.bytes.buffer, from.offsetBytes, 2);
    const place = {
      objectId: OBJECT_ID,
      kind: 'unit',
      index: ORDER.waitThenScribble,
      unitSizeBytes: 8192,
    } as const;
    const units = [{ ...place, offsetBytes: 0, lengthBytes: 5000 }];
    const opening = pipeline.open({ keys, from, units }, { signal: abort.signal });
    await Atomics.waitAsync(gate, 0, 0).value;
    abort.abort(REASON);
    await expect(opening).rejects.toBe(REASON);
    from.release();
    await nextTurn();
    expect(usedOf(pipeline, 'sealed to open')).toBeGreaterThanOrEqual(5000);
    expect(usedOf(pipeline, 'opened')).toBe(8192);
    Atomics.store(gate, 1, 1);
    Atomics.notify(gate, 1);
    await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
  });
});
