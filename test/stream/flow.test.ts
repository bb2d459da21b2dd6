/** Streams over time: who waits for whom, and what is left when somebody gives up. */
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { openStream } from '../../src/pipeline/open-stream.ts';
import type { StreamPair } from '../../src/pipeline/ordered-output.ts';
import type { Pipeline } from '../../src/pipeline/pipeline.ts';
import { sealStream } from '../../src/pipeline/seal-stream.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { expectIdle, nextTurn, until } from '../pipeline/support.ts';
import {
  type Bench,
  collect,
  cut,
  expectOpens,
  mixedBytes,
  openBench,
  partsOf,
  pass,
  SMALL,
  sealBytes,
} from './support.ts';

const UNIT_BYTES = 4 * KIB;
const STORED = parseCodec('stored');

const unhandled: unknown[] = [];
const note = (reason: unknown): unknown => unhandled.push(reason);
const threads: Worker[] = [];
const noteThread = (thread: Worker): unknown => threads.push(thread);
let benches: Bench[] = [];

beforeEach(() => {
  unhandled.length = 0;
  threads.length = 0;
  process.on('unhandledRejection', note);
  process.on('worker', noteThread);
});

afterEach(async () => {
  for (const { pipeline } of benches) await pipeline.close();
  benches = [];
  await nextTurn();
  process.off('unhandledRejection', note);
  process.off('worker', noteThread);
  expect(unhandled).toEqual([]);
});

async function start(settings: Parameters<typeof openBench>[0] = {}): Promise<Bench> {
  const bench = await openBench(settings);
  benches.push(bench);
  return bench;
}

function isIdle({ memory }: Pipeline): boolean {
  return memory.every(({ usedBytes, waiterCount }) => usedBytes === 0 && waiterCount === 0);
}

/** Lets everything happen that happens without a reader. */
async function settle(pipeline: Pipeline): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  await until(() => isIdle(pipeline));
  await nextTurn();
}

/** Fails unless the pipeline is idle, or gets so, and still works. */
async function expectUsable(bench: Bench): Promise<void> {
  await until(() => isIdle(bench.pipeline));
  const plain = mixedBytes(10_000, 1);
  await expectOpens(bench, await sealBytes(bench, plain), plain);
  expectIdle(bench.pipeline);
}

describe.each([0, 2])('with %i workers', workers => {
  describe('a slow source', () => {
    it('gets its whole units sealed without filling a batch', async () => {
      const bench = await start({ workers });
      const { readable, writable } = sealStream({ ...bench, ...SMALL });
      const reader = readable.getReader();
      const writer = writable.getWriter();
      await reader.read();
      await writer.write(new Uint8Array(3 * UNIT_BYTES + 1));
      const { value } = await reader.read();
      expect(partsOf(new Uint8Array([...new Uint8Array(80), ...value!])).records).toHaveLength(3);
    });

    it('that pauses after a burst gets the units sealed that came while others were worked on', async () => {
      const bench = await start({ workers });
      const { readable, writable } = sealStream({ ...bench, ...SMALL });
      const { readable: opened, writable: toOpen } = openStream({ ...bench });
      const piped = readable.pipeTo(toOpen);
      const reader = opened.getReader();
      const writer = writable.getWriter();
      for (let unit = 0; unit < 5; unit += 1) await writer.write(new Uint8Array(UNIT_BYTES));
      await writer.write(new Uint8Array(1));
      let receivedBytes = 0;
      while (receivedBytes < 5 * UNIT_BYTES) receivedBytes += (await reader.read()).value!.byteLength;
      expect(receivedBytes).toBe(5 * UNIT_BYTES);
      await writer.close();
      expect((await reader.read()).value).toHaveLength(1);
      expect((await reader.read()).done).toBe(true);
      await piped;
    });
  });

  describe('a reader that pauses', () => {
    // Batches in work or waiting for the reader, one that fills up, and a chunk in the writer's queue.
    const limitBytes = (Math.max(1, workers) + 2) * MIB + 2 * 64 * KIB;

    it('makes the writer of plain bytes wait', async () => {
      const bench = await start({ workers });
      const { readable, writable } = sealStream({ ...bench, codec: STORED });
      const reader = readable.getReader();
      const writer = writable.getWriter();
      let acceptedBytes = 0;
      const chunk = mixedBytes(64 * KIB, 1);
      const writing = (async () => {
        for (let at = 0; at < 200; at += 1) {
          await writer.write(chunk);
          acceptedBytes += chunk.byteLength;
        }
        await writer.close();
      })();
      let before = -1;
      while (before !== acceptedBytes) {
        before = acceptedBytes;
        await settle(bench.pipeline);
      }
      expect(acceptedBytes).toBeGreaterThanOrEqual(MIB);
      expect(acceptedBytes).toBeLessThanOrEqual(limitBytes);
      reader.releaseLock();
      await collect(readable);
      await writing;
      expect(acceptedBytes).toBe(200 * chunk.byteLength);
      expectIdle(bench.pipeline);
    });

    it('makes few sealed bytes wait that open to many', async () => {
      const bench = await start({ workers });
      const plain = new Uint8Array(64 * MIB);
      const sealed = await sealBytes(bench, plain, { unitSizeBytes: MIB, padding: 'none' });
      expect(sealed.byteLength).toBeLessThan(20_000);
      const open = vi.spyOn(bench.pipeline, 'open');
      const { readable, writable } = openStream({ ...bench });
      const writer = writable.getWriter();
      const writing = writer.write(sealed).then(() => writer.close());
      await settle(bench.pipeline);
      const openedCount = open.mock.calls.reduce((count, [{ units }]) => count + units.length, 0);
      expect(openedCount).toBeLessThanOrEqual(Math.max(1, workers) + 2);
      const { bytes } = await collect(readable);
      expect(bytes.byteLength).toBe(plain.byteLength);
      await writing;
    });
  });

  describe('giving up', () => {
    const plain = mixedBytes(3 * MIB, 2);
    const gone = new Error('gone');
    const makers: [string, (bench: Bench) => Promise<[StreamPair, Uint8Array]>][] = [
      ['sealing', async bench => [sealStream({ ...bench }), plain]],
      ['opening', async bench => [openStream({ ...bench }), await sealBytes(bench, plain)]],
    ];

    it.each(makers)('%s: the reader cancels after any chunk', async (_, make) => {
      const bench = await start({ workers });
      for (let chunks = 0; chunks < 4; chunks += 1) {
        const [pair, input] = await make(bench);
        let sourceReason: unknown;
        const source = new ReadableStream<Uint8Array>({
          start: controller => {
            for (const part of cut(input, [100_000])) controller.enqueue(part);
          },
          cancel: reason => {
            sourceReason = reason;
          },
        });
        const reader = source.pipeThrough(pair).getReader();
        for (let at = 0; at < chunks; at += 1) await reader.read();
        await reader.cancel(gone);
        await until(() => sourceReason === gone);
        await expectUsable(bench);
      }
    });

    it.each(makers)('%s: the writer aborts after any chunk, also while it waits', async (_, make) => {
      const bench = await start({ workers });
      for (let chunks = 0; chunks < 30; chunks += 5) {
        const [{ readable, writable }, input] = await make(bench);
        const writer = writable.getWriter();
        const parts = cut(input, [100_000]);
        const written = parts.slice(0, chunks).map(part => writer.write(part));
        const results = Promise.allSettled(written);
        const reader = readable.getReader();
        if (chunks % 2 === 1) await reader.read();
        await settle(bench.pipeline);
        await writer.abort(gone);
        await results;
        await expect(reader.read()).rejects.toBe(gone);
        await expectUsable(bench);
      }
    });

    it.each(makers)('%s: a signal stops pipeTo at any moment', async (_, make) => {
      const bench = await start({ workers });
      for (let turns = 0; turns < 24; turns += 3) {
        const [pair, input] = await make(bench);
        const controller = new AbortController();
        const outcome = collect(pair.readable);
        const piped = ReadableStream.from(cut(input, [70_000])).pipeTo(pair.writable, {
          signal: controller.signal,
        });
        const ended = piped.then(
          () => 'done',
          error => error,
        );
        for (let turn = 0; turn < turns; turn += 1) await nextTurn();
        controller.abort(gone);
        if ((await ended) === gone) expect((await outcome).error).toBe(gone);
        else await outcome;
        await expectUsable(bench);
      }
    });

    it.each(makers)('%s: a source that fails', async (_, make) => {
      const bench = await start({ workers });
      const [pair, input] = await make(bench);
      const source = (function* () {
        yield* cut(input, [400_000]).slice(0, 4);
        throw gone;
      })();
      expect((await pass(source, pair)).error).toBe(gone);
      await expectUsable(bench);
    });

    it.each(makers)('%s: the pipeline is closed', async (_, make) => {
      const bench = await start({ workers });
      const [{ readable, writable }, input] = await make(bench);
      const piped = ReadableStream.from(cut(input, [100_000])).pipeTo(writable);
      const writeError = expect(piped).rejects.toMatchObject({ code: 'ECLOSED' });
      const reader = readable.getReader();
      await reader.read();
      await bench.pipeline.close();
      reader.releaseLock();
      expect((await collect(readable)).code).toBe('ECLOSED');
      await writeError;
      expectIdle(bench.pipeline);
      expect(() => sealStream({ ...bench })).toThrow(/closed/);
    });
  });

  it('streams that share little memory all get through', async () => {
    const bench = await start({ workers, memoryBytes: 4 * (256 * KIB + 72) });
    const plains = Array.from({ length: 6 }, (_, at) => mixedBytes(MIB + at * 7, at));
    await Promise.all(
      plains.map(async plain => {
        const source = ReadableStream.from(cut(plain, [50_000]));
        const sealed = source.pipeThrough(sealStream({ ...bench }));
        const { bytes } = await collect(sealed.pipeThrough(openStream({ ...bench })));
        expect(Buffer.compare(bytes, plain)).toBe(0);
      }),
    );
    expectIdle(bench.pipeline);
  });

  it('fifty idle streams and one whose reader never comes hold nothing up', async () => {
    const bench = await start({ workers, memoryBytes: 4 * (256 * KIB + 72) });
    const idle = Array.from({ length: 50 }, () => sealStream({ ...bench, codec: STORED }));
    const writers = idle.map(({ writable }) => writable.getWriter());
    const stuck = writers.map(writer => writer.write(mixedBytes(600_000, 1)));
    const results = Promise.allSettled(stuck);
    await expectUsable(bench);
    for (const writer of writers) await writer.abort('enough');
    await results;
    await expectUsable(bench);
  });
});

it('a worker that dies in mid-stream fails it with EWORKER; the next stream is fine', async () => {
  const bench = await start({ workers: 1 });
  expect(threads).toHaveLength(1);
  const { readable, writable } = sealStream({ ...bench, codec: parseCodec('zstd:19') });
  const reader = readable.getReader();
  const piped = ReadableStream.from(cut(mixedBytes(16 * MIB, 1), [MIB])).pipeTo(writable);
  const writeError = expect(piped).rejects.toMatchObject({ code: 'EWORKER' });
  // A slow test may find all that the limit allows done: each read makes room for more.
  for (let turn = 0; isIdle(bench.pipeline); turn += 1) {
    if (turn % 10 === 0) await reader.read();
    await nextTurn();
  }
  await threads[0]!.terminate();
  reader.releaseLock();
  expect((await collect(readable)).code).toBe('EWORKER');
  await writeError;
  await expectUsable(bench);
});
