/** The two ways to run a job, below the pipeline; and errors on their way between threads. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { MIB } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import { Job, OPERATION_SEAL, OUTCOME_NONE } from '../../src/pipeline/job.ts';
import { JobQueues } from '../../src/pipeline/job-queues.ts';
import { describeError, JobWorker, type SharedMemory } from '../../src/pipeline/job-worker.ts';
import { KeyTable } from '../../src/pipeline/key-table.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { InlineRunner, type JobRunner, WorkerPool, workerUrl } from '../../src/pipeline/pool.ts';
import { answer } from '../../src/pipeline/protocol.ts';
import { checkSettings } from '../../src/pipeline/settings.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import { mixedBytes, OBJECT_ID, rejectionCode, type SealedCopy, sealAll } from './support.ts';

const keys = new KeyTable();
const handle = keys.add(Keyring.create());
const memory: SharedMemory = {
  jobs: new SharedArrayBuffer(4096),
  keys: keys.memory,
  sealing: { plain: new SharedArrayBuffer(65_536), sealed: new SharedArrayBuffer(65_536) },
  opening: { plain: new SharedArrayBuffer(65_536), sealed: new SharedArrayBuffer(65_536) },
};

/** A job of two units that seals the first two pages of the plain slab. */
function writeJob(outputOffset = 0): Job {
  const job = new Job(memory.jobs, 0);
  job.start(OPERATION_SEAL, 2, handle.id, outputOffset, 16_384);
  job.sealSetting = { suite: 'xaes-256-gcm', codec: parseCodec('zstd:1'), padding: 'none', epoch: 1 };
  for (const at of [0, 1]) {
    const sizes = { unitSizeBytes: 4096, offsetBytes: at * 4096, lengthBytes: 4096 };
    job.unit(at).setRequest({ objectId: OBJECT_ID, kind: 'unit', index: at, ...sizes }, 0, 0, 0);
  }
  return job;
}

describe.each(['inline', 'a worker'])('a job run by %s', where => {
  let runner: JobRunner;
  beforeAll(async () => {
    const start = { memory, providers: {} };
    runner =
      where === 'inline'
        ? await InlineRunner.start(start)
        : await WorkerPool.start(1, start, workerUrl() as URL);
  });
  afterAll(async () => {
    await runner.close(60_000);
    expect(await rejectionCode(runner.run(0, OPERATION_SEAL))).toBe('ECLOSED');
  });

  it('leaves what was cancelled before it began', async () => {
    const job = writeJob();
    job.cancel();
    new Uint8Array(memory.sealing.sealed).fill(7);
    expect(await runner.run(0, OPERATION_SEAL)).toEqual({ failures: [] });
    expect([0, 1].map(at => job.unit(at).outcome)).toEqual([OUTCOME_NONE, OUTCOME_NONE]);
    expect(new Uint8Array(memory.sealing.sealed).every(byte => byte === 7)).toBe(true);
  });

  it('that makes no sense rejects with EBUG, and the next one runs', async () => {
    writeJob(2 ** 31);
    expect(await rejectionCode(runner.run(0, OPERATION_SEAL))).toBe('EBUG');
    new Uint8Array(memory.jobs).fill(0xff, 5, 8);
    expect(await rejectionCode(runner.run(0, OPERATION_SEAL))).toBe('EBUG');
    writeJob();
    expect(await runner.run(0, OPERATION_SEAL)).toEqual({ failures: [] });
  });

  it('does not stop at a unit that fails', async () => {
    const job = writeJob();
    new Uint8Array(memory.jobs).fill(0, 64 + 24, 64 + 25);
    const { failures } = await runner.run(0, OPERATION_SEAL);
    expect(failures).toEqual([{ at: 0, code: 'EBUG', message: expect.any(String) }]);
    expect(job.unit(1).outcome).not.toBe(OUTCOME_NONE);
  });
});

it('the job queues keep the order of each queue, lose none, and give queues their turn', () => {
  const steps = fc.array(fc.oneof(fc.constant('shift' as const), fc.integer({ min: 1, max: 3 })));
  checkProperty(steps, list => {
    const queues = new JobQueues<{ queue: number; number: number }>();
    const waiting = new Map<number, number[]>();
    /** How often others went first while a queue had a job. */
    const passedOver = new Map<number, number>();
    const take = (): void => {
      const job = queues.shift();
      const busy = [...waiting].filter(([, numbers]) => numbers.length > 0).map(([queue]) => queue);
      if (job === undefined) {
        expect(busy).toEqual([]);
        return;
      }
      expect(waiting.get(job.queue)?.shift()).toBe(job.number);
      for (const queue of busy) {
        passedOver.set(queue, queue === job.queue ? 0 : (passedOver.get(queue) ?? 0) + 1);
        expect(passedOver.get(queue)).toBeLessThan(3);
      }
    };
    for (const [number, step] of list.entries()) {
      if (step === 'shift') {
        take();
        continue;
      }
      queues.push(step, { queue: step, number });
      waiting.set(step, [...(waiting.get(step) ?? []), number]);
    }
    const left = [...waiting.values()].flat().length;
    if (list.length % 2 === 0) expect(queues.clear()).toHaveLength(left);
    else for (let at = 0; at < left; at += 1) take();
    expect(queues.shift()).toBeUndefined();
  });
});

it('errors say the same from a worker as from this thread', async () => {
  const keyring = Keyring.create();
  const messages = await Promise.all(
    [0, 1].map(async workers => {
      const pipeline = await openPipeline({ workers, memoryBytes: 8 * MIB });
      const own = pipeline.addKeyring(keyring);
      const [copy] = await sealAll(pipeline, own, [{ bytes: mixedBytes(5000, 1) }], {
        codec: parseCodec('stored'),
      });
      const damages: Partial<SealedCopy>[] = [
        { index: 3 },
        { record: copy!.record.subarray(0, 100) },
        { record: copy!.record.map((byte, at) => (at === 4 ? 9 : byte)) },
        { record: copy!.record.map((byte, at) => (at === 8 ? 9 : byte)) },
        { record: new Uint8Array(500) },
      ];
      const found: unknown[] = [];
      for (const damage of damages) {
        const { record, ...place } = { ...copy!, ...damage };
        const from = await pipeline.reserveSealed(record.byteLength);
        from.bytes.set(record);
        const batch = await pipeline.open({
          keys: own,
          from,
          units: [{ ...place, offsetBytes: 0, lengthBytes: record.byteLength }],
        });
        const error = batch.units[0]?.error;
        expect(error).toBeInstanceOf(NetsealError);
        found.push([error?.code, error?.message]);
        batch.release();
        from.release();
      }
      await pipeline.close();
      return found;
    }),
  );
  expect(messages[1]).toEqual(messages[0]);
  expect(new Set(messages[0]?.map(String)).size).toBe(5);
});

it('an error becomes data and keeps its code; anything unexpected is EBUG with its origin', async () => {
  expect(describeError(new NetsealError('EKEY', 'no key'))).toEqual({ code: 'EKEY', message: 'no key' });
  expect(describeError(new TypeError('oops'))).toEqual({
    code: 'EBUG',
    message: 'unexpected: oops',
    stack: expect.stringContaining('runners.test'),
  });
  expect(describeError('oops\nand more')).toEqual({ code: 'EBUG', message: 'unexpected: oops' });
  const starting = Promise.reject(new NetsealError('EUNSUPPORTED', 'no zstd'));
  expect(await answer(starting, { type: 'hello' })).toEqual({
    type: 'failed',
    code: 'EUNSUPPORTED',
    message: 'no zstd',
  });
  const started = JobWorker.start({ memory, providers: {} });
  expect(await answer(started, { type: 'hello' })).toMatchObject({
    type: 'ready',
    providers: { codecs: { zstd: 'native' } },
  });
});

describe('settings', () => {
  it.each([
    [{ workers: -1 }],
    [{ workers: 1.5 }],
    [{ workers: 257 }],
    [{ workers: Number.NaN }],
    [{ memoryBytes: 4 * (262_144 + 72) - 1 }],
    [{ memoryBytes: 0 }],
    [{ memoryBytes: Number.NaN }],
    [{ memoryBytes: Number.POSITIVE_INFINITY }],
    [{ memoryBytes: 2 ** 53 }],
  ])('%o is EINVAL', settings => {
    expect(errorCodeOf(() => checkSettings(settings))).toBe('EINVAL');
  });

  it('more memory than offsets can name is EINVAL', async () => {
    expect(await rejectionCode(openPipeline({ workers: 0, memoryBytes: 2 ** 52 }))).toBe('EINVAL');
    expect(await rejectionCode(openPipeline({ workers: 0, memoryBytes: 2 ** 34 }))).toBe('EINVAL');
  });

  it('the least memory lets a unit of the default size through', async () => {
    const pipeline = await openPipeline({ workers: 0, memoryBytes: 4 * (262_144 + 72) });
    const own = pipeline.addKeyring(Keyring.create());
    const sealed = await sealAll(pipeline, own, [{ bytes: mixedBytes(262_144, 1), unitSizeBytes: 262_144 }]);
    expect(sealed).toHaveLength(1);
    await pipeline.close();
  });
});
