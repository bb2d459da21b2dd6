/** Workers that die, in every way we know, at every moment. */
import { setEnvironmentData } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { messageOf } from '../../src/base/errors.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import type { Pipeline } from '../../src/pipeline/pipeline.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { BOOTS_ALLOWED, ORDER } from './fixtures/orders.ts';
import { expectIdle, mixedBytes, openAll, plainOf, rejectionCode, sealAll, until } from './support.ts';
import { type Fixture, finish, liveThreads, openWith, send } from './workers.ts';

/** Of the random test. */
const ROUNDS = soakSize(60, 1000);

const unhandled: unknown[] = [];
const note = (reason: unknown): unknown => unhandled.push(reason);

beforeEach(() => {
  unhandled.length = 0;
  process.on('unhandledRejection', note);
});
afterEach(async () => {
  process.off('unhandledRejection', note);
  setEnvironmentData(BOOTS_ALLOWED, undefined);
  expect(unhandled).toEqual([]);
  expect(liveThreads()).toEqual([]);
});

async function withPipeline(
  fixture: Fixture,
  workers: number,
  use: (pipeline: Pipeline, keys: KeyHandle) => Promise<void>,
): Promise<void> {
  const { pipeline, keys } = await openWith(fixture, { workers });
  try {
    await use(pipeline, keys);
    expectIdle(pipeline);
  } finally {
    await pipeline.close();
  }
}

describe('a worker that dies', () => {
  it.each(['exit', 'throwLater', 'rejectLater', 'workThenExit'] as const)(
    'by %s fails its job with EWORKER, frees all memory and is replaced',
    async order => {
      await withPipeline('chaos', 2, async (pipeline, keys) => {
        const before = liveThreads();
        expect(await rejectionCode(finish(await send(pipeline, keys, ORDER[order])))).toBe('EWORKER');
        expectIdle(pipeline);
        const plains = Array.from({ length: 8 }, (_, at) => ({ bytes: mixedBytes(60_000, at) }));
        expect(plainOf(await openAll(pipeline, keys, await sealAll(pipeline, keys, plains)))).toEqual(
          plains.map(({ bytes }) => bytes),
        );
        expect(liveThreads()).toHaveLength(2);
        expect(liveThreads().filter(thread => before.includes(thread))).toHaveLength(1);
      });
    },
  );

  it('close ends a worker that will not end by itself, once it has waited', async () => {
    const { pipeline, keys } = await openWith('chaos', { workers: 1 });
    const looping = await send(pipeline, keys, ORDER.loop);
    await looping.begun();
    const code = rejectionCode(finish(looping));
    await pipeline.close(10);
    expect(await code).toBe('EWORKER');
    expect(liveThreads()).toEqual([]);
  });

  it('by terminate, out of an endless loop, fails its jobs and nobody else', async () => {
    await withPipeline('chaos', 1, async (pipeline, keys) => {
      const looping = await send(pipeline, keys, ORDER.loop);
      await looping.begun();
      const behind = await send(pipeline, keys, 1);
      const queued = Array.from({ length: 3 }, (_, at) =>
        sealAll(pipeline, keys, [{ bytes: mixedBytes(5000, at) }]),
      );
      const codes = [looping, behind].map(sent => rejectionCode(finish(sent)));
      const [thread] = liveThreads();
      await thread?.terminate();
      // The second was waiting in the same worker.
      expect(await Promise.all(codes)).toEqual(['EWORKER', 'EWORKER']);
      expect((await Promise.all(queued)).flat()).toHaveLength(3);
    });
  });

  it.each(['loop', 'throwLater'] as const)(
    '(%s) keeps its memory until its thread has exited',
    async order => {
      await withPipeline('chaos', 1, async (pipeline, keys) => {
        const [thread] = liveThreads();
        let lentAtExit: number | undefined;
        thread?.once('exit', () => {
          lentAtExit = pipeline.memory.reduce((sum, { usedBytes }) => sum + usedBytes, 0);
        });
        const sent = await send(pipeline, keys, ORDER[order], 300_000);
        const settled = rejectionCode(finish(sent));
        await sent.begun();
        if (order === 'loop') void thread?.terminate();
        expect(await settled).toBe('EWORKER');
        expect(lentAtExit).toBeGreaterThanOrEqual(600_000);
      });
    },
  );

  it('of a request with several jobs fails it as a whole, after all of its jobs have ended', async () => {
    await withPipeline('chaos', 2, async (pipeline, keys) => {
      const plains = Array.from({ length: 8 }, (_, at) => ({
        bytes: new Uint8Array(100_000),
        unitSizeBytes: 131_072,
        index: at === 4 ? ORDER.exit : at,
      }));
      expect(await rejectionCode(sealAll(pipeline, keys, plains))).toBe('EWORKER');
    });
  });

  it('while idle is replaced without anybody noticing', async () => {
    await withPipeline('light', 2, async (pipeline, keys) => {
      for (let round = 0; round < 3; round += 1) {
        await Promise.all(liveThreads().map(thread => thread.terminate()));
        const all = Array.from({ length: 6 }, async (_, at) => finish(await send(pipeline, keys, at)));
        for (const result of await Promise.allSettled(all)) {
          if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'EWORKER' });
        }
        await until(() => liveThreads().length === 2);
        expect(await finish(await send(pipeline, keys, 7))).toBe('done');
      }
      expect(await finish(await send(pipeline, keys, 1))).toBe('done');
    });
  });
});

describe('a worker that misbehaves', () => {
  it('by failing the request itself fails the job with EWORKER and goes on', async () => {
    await withPipeline('chaos', 1, async (pipeline, keys) => {
      const sent = await send(pipeline, keys, ORDER.failHandler);
      const error = await finish(sent).catch(thrown => thrown);
      expect(error).toMatchObject({ code: 'EWORKER' });
      expect(messageOf(error)).toContain('ordered to fail');
      expect(await finish(await send(pipeline, keys, 1))).toBe('done');
    });
  });

  it('by answering without having worked gives out no memory of others', async () => {
    await withPipeline('chaos', 1, async (pipeline, keys) => {
      await sealAll(pipeline, keys, [{ bytes: mixedBytes(60_000, 1) }]);
      expect(await rejectionCode(finish(await send(pipeline, keys, ORDER.lie)))).toBe('EBUG');
    });
  });
});

describe('a worker that cannot start', () => {
  it.each(['throws-at-load', 'exits-at-load', 'no-handler', 'not-there'] as const)(
    '(%s) fails the opening with EWORKER and leaves no thread',
    async fixture => {
      for (const workers of [1, 3])
        expect(await rejectionCode(openWith(fixture, { workers }))).toBe('EWORKER');
    },
  );

  it('for lack of a provider says so', async () => {
    expect(await rejectionCode(openWith('no-zstd', { providers: { codecs: 'native' } }))).toBe(
      'EUNSUPPORTED',
    );
    const { pipeline, keys } = await openWith('no-zstd', { workers: 1 });
    expect(pipeline.providers.codecs.zstd).toBe('portable');
    const plain = mixedBytes(9000, 1);
    expect(plainOf(await openAll(pipeline, keys, await sealAll(pipeline, keys, [{ bytes: plain }])))).toEqual(
      [plain],
    );
    await pipeline.close();
  });

  it.each([0, 2])('with an unknown provider is EINVAL with %d workers', async workers => {
    const providers = { codecs: 'fast' as 'native' };
    expect(await rejectionCode(openWith('chaos', { workers, providers }))).toBe('EINVAL');
  });

  it('any more after others died fails every request with EWORKER, and none hangs', async () => {
    setEnvironmentData(BOOTS_ALLOWED, 2);
    await withPipeline('light', 2, async (pipeline, keys) => {
      const all = Array.from({ length: 40 }, async (_, at) =>
        finish(await send(pipeline, keys, at % 4 === 0 ? ORDER.exit : at)),
      );
      for (const [at, result] of (await Promise.allSettled(all)).entries()) {
        if (at % 4 === 0) expect(result.status).toBe('rejected');
        if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'EWORKER' });
      }
      expect(await rejectionCode(finish(await send(pipeline, keys, 1)))).toBe('EWORKER');
    });
  });

  it("leaves no job behind that a later worker would do, in memory that is somebody else's by then", async () => {
    setEnvironmentData(BOOTS_ALLOWED, 1);
    await withPipeline('light', 1, async (pipeline, keys) => {
      const orders = [ORDER.exit, ...Array.from({ length: 4 }, () => ORDER.waitThenScribble)];
      const all = await Promise.all(
        orders.map(async order => {
          const sent = await send(pipeline, keys, order);
          sent.go();
          return sent;
        }),
      );
      const codes = await Promise.all(all.map(sent => rejectionCode(finish(sent))));
      expect(codes).toEqual(orders.map(() => 'EWORKER'));
      setEnvironmentData(BOOTS_ALLOWED, 1000);
      const { from, sealing } = await send(pipeline, keys, 1, 100_000);
      const { units } = await sealing;
      expect(units[0]?.bytes.subarray(8).every(byte => byte === 255)).toBe(true);
      from.release();
      (await sealing).release();
    });
  });

  it('in place of one that died, while the pipeline is being closed, does not hold up the closing', async () => {
    setEnvironmentData(BOOTS_ALLOWED, 1);
    const { pipeline, keys } = await openWith('light', { workers: 1 });
    const all = await Promise.all(
      Array.from({ length: 12 }, (_, at) => send(pipeline, keys, at === 0 ? ORDER.exit : at)),
    );
    const codes = all.map(sent => rejectionCode(finish(sent)));
    expect(await codes[0]).toBe('EWORKER');
    await pipeline.close();
    for (const code of await Promise.all(codes)) expect(['EWORKER', 'ECLOSED']).toContain(code);
    expectIdle(pipeline);
  });

  it('once, may start the next time: one bad moment does not end the pipeline', async () => {
    setEnvironmentData(BOOTS_ALLOWED, 1);
    await withPipeline('light', 1, async (pipeline, keys) => {
      expect(await rejectionCode(finish(await send(pipeline, keys, ORDER.exit)))).toBe('EWORKER');
      await rejectionCode(finish(await send(pipeline, keys, 1)));
      setEnvironmentData(BOOTS_ALLOWED, 1000);
      expect(await finish(await send(pipeline, keys, 1))).toBe('done');
      expect(await rejectionCode(finish(await send(pipeline, keys, ORDER.exit)))).toBe('EWORKER');
      expect(await finish(await send(pipeline, keys, 1))).toBe('done');
    });
  });
});

/** Every request must have succeeded, or failed with EWORKER or this reason. */
async function settleWith(requests: readonly Promise<void>[], reason: unknown, where: string): Promise<void> {
  for (const result of await Promise.allSettled(requests)) {
    if (result.status === 'rejected' && result.reason !== reason) {
      expect(result.reason, where).toMatchObject({ code: 'EWORKER' });
    }
  }
}

it('many rounds of work, deaths, terminations and cancellations: all settle, nothing is lost or mixed up', async () => {
  const random = seededChance(SEED);
  const kills = [ORDER.exit, ORDER.throwLater, ORDER.rejectLater, ORDER.workThenExit];
  await withPipeline('light', 2, async (pipeline, keys) => {
    let done = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const abort = new AbortController();
      const requests = Array.from({ length: 1 + Math.floor(random() * 8) }, async (_, at) => {
        const isKill = random() < 0.02;
        const index = isKill ? kills[Math.floor(random() * kills.length)]! : at;
        const lengthBytes = 8 + Math.floor(random() * 200_000);
        const signal = random() < 0.2 ? abort.signal : undefined;
        const { from, sealing } = await send(pipeline, keys, index, lengthBytes, signal);
        from.release();
        const result = await sealing;
        expect(result.units[0]?.bytes).toHaveLength(lengthBytes);
        // The gate is in the first bytes.
        expect(result.units[0]?.bytes.subarray(8).every(byte => byte === 255)).toBe(true);
        result.release();
        expect(isKill).toBe(false);
        done += 1;
      });
      const chance = random();
      if (chance < 0.1) abort.abort(abort);
      else if (chance < 0.2) setImmediate(() => abort.abort(abort));
      const victims = liveThreads();
      if (random() < 0.04) void victims[Math.floor(random() * victims.length)]?.terminate();
      await settleWith(requests, abort, `seed ${SEED}, round ${round}`);
      // Cancelled ones may still be with a worker.
      await until(() => pipeline.memory.every(({ usedBytes }) => usedBytes === 0));
    }
    expect(done, `seed ${SEED}`).toBeGreaterThan(2 * ROUNDS);
    // A thread that died while it started is replaced when there is more to do than the others can take.
    const four = await Promise.all([1, 2, 3, 4].map(() => send(pipeline, keys, ORDER.waitThenWork)));
    await until(() => liveThreads().length === 2);
    for (const { go } of four) go();
    expect(await Promise.all(four.map(finish))).toEqual(['done', 'done', 'done', 'done']);
  });
});
