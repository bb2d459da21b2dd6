/** Pipelines with odd workers, and gates to meet them at. */
import type { Worker } from 'node:worker_threads';
import { MIB } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import { Pipeline } from '../../src/pipeline/pipeline.ts';
import type { SealedBatch } from '../../src/pipeline/requests.ts';
import type { PipelineSettings } from '../../src/pipeline/settings.ts';
import type { Lease } from '../../src/pipeline/slab.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { OBJECT_ID } from './support.ts';

export type Fixture =
  | 'chaos'
  | 'light'
  | 'throws-at-load'
  | 'exits-at-load'
  | 'no-handler'
  | 'no-zstd'
  | 'tell'
  | 'not-there';

/** Every thread that this process started, dead ones too. */
const threads: Worker[] = [];
process.on('worker', thread => threads.push(thread));

/** Threads that run now. A thread that has exited has no id. */
export function liveThreads(): Worker[] {
  return threads.filter(({ threadId }) => threadId !== -1);
}

export function fixtureUrl(name: Fixture): URL {
  return new URL(`fixtures/${name}.ts`, import.meta.url);
}

/** A pipeline whose workers are this fixture, with a keyring of its own. */
export async function openWith(
  fixture: Fixture,
  settings: PipelineSettings = {},
): Promise<{ pipeline: Pipeline; keys: KeyHandle }> {
  const pipeline = await Pipeline.open(
    { workers: 2, memoryBytes: 4 * MIB, ...settings },
    fixtureUrl(fixture),
  );
  return { pipeline, keys: pipeline.addKeyring(Keyring.create()) };
}

/** A request on its way, with the gate in its input. */
export interface Sent {
  readonly from: Lease;
  readonly sealing: Promise<SealedBatch>;
  /** Resolves when a worker has begun. */
  begun(): Promise<void>;
  /** Lets the worker go on. */
  go(): void;
}

/** Seals one stored unit whose index may be an order. The caller releases the lease. */
export async function send(
  pipeline: Pipeline,
  keys: KeyHandle,
  index: number,
  lengthBytes = 1000,
  signal?: AbortSignal,
): Promise<Sent> {
  const from = await pipeline.reservePlain(lengthBytes);
  from.bytes.fill(0);
  const gate = new Int32Array(from.bytes.buffer, from.offsetBytes, 2);
  const unit = {
    objectId: OBJECT_ID,
    kind: 'unit',
    index,
    unitSizeBytes: 1 * MIB,
    offsetBytes: 0,
    lengthBytes,
  } as const;
  const sealing = pipeline.seal({ keys, from, units: [unit], codec: parseCodec('stored') }, { signal });
  return {
    from,
    sealing,
    async begun() {
      await Atomics.waitAsync(gate, 0, 0).value;
    },
    go() {
      Atomics.store(gate, 1, 1);
      Atomics.notify(gate, 1);
    },
  };
}

/** Releases what was sent; gives the result as soon as it is there. */
export async function finish({ from, sealing }: Sent): Promise<'done'> {
  from.release();
  (await sealing).release();
  return 'done';
}
