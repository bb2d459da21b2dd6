/** The engine that measures what users get: the pipeline, with its bounce buffers and worker threads. */
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { Keyring } from '../keys/keyring.ts';
import type { KeyHandle } from '../pipeline/key-table.ts';
import { openPipeline, type Pipeline } from '../pipeline/pipeline.ts';
import type { UnitToOpen } from '../pipeline/requests.ts';
import type { ProviderChoice, ProviderReport } from '../unit/providers.ts';
import { type Engine, openingRoom, type TimedRecords, type TimedUnits } from './engine.ts';
import type { Batch, PlainUnit } from './plan.ts';
import type { BenchSetting } from './settings.ts';

export interface PipelineEngineSettings {
  /** Worker threads. With 0, the calling thread does the work. */
  readonly workers: number;
  readonly providers: ProviderChoice;
  /** The length of the largest batch, plain or sealed, whichever is more. */
  readonly batchBytes: number;
}

/** A pipeline splits its memory into four slabs: plain and sealed, for sealing and for opening. */
const SLAB_COUNT = 4;

/**
 * Starts a pipeline with memory for one batch in each direction. Rejects with the errors of `openPipeline`.
 */
export async function openPipelineEngine(settings: PipelineEngineSettings): Promise<Engine> {
  const { workers, providers, batchBytes } = settings;
  const pipeline = await openPipeline({
    workers,
    memoryBytes: SLAB_COUNT * batchBytes,
    providers: { codecs: providers, ciphers: providers },
  });
  return new PipelineEngine(pipeline);
}

class PipelineEngine implements Engine {
  readonly threadCount: number;
  readonly providers: ProviderReport;
  readonly #pipeline: Pipeline;
  readonly #keyring = Keyring.create();
  readonly #keys: KeyHandle;
  readonly #objectId = randomBytes(ID_BYTES);

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline;
    this.#keys = pipeline.addKeyring(this.#keyring);
    this.providers = pipeline.providers;
    this.threadCount = Math.max(1, pipeline.workerCount);
  }

  async seal(setting: BenchSetting, batch: Batch, signal?: AbortSignal): Promise<TimedRecords> {
    const { suite, codec, padding } = setting;
    const lease = await this.#pipeline.reservePlain(batch.plainBytes, { signal });
    try {
      const units = this.#layOut(setting, lease.bytes, batch.units);
      const request = { keys: this.#keys, from: lease, units, suite, codec, padding, holes: true };
      const started = performance.now();
      const sealed = await this.#pipeline.seal(request, { signal });
      const elapsedMs = performance.now() - started;
      const records = sealed.units.map(unit => (unit.isHole ? undefined : unit.bytes));
      return { elapsedMs, records, release: () => sealed.release() };
    } finally {
      lease.release();
    }
  }

  async open(
    setting: BenchSetting,
    batch: Batch,
    records: readonly (Uint8Array | undefined)[],
    signal?: AbortSignal,
  ): Promise<TimedUnits> {
    const present = batch.units.flatMap(({ index, plain }, at) => {
      const record = records[at];
      return record === undefined
        ? []
        : { index, plain: record, plainBytesMax: openingRoom(plain.byteLength, setting), at };
    });
    const opened: (Uint8Array | undefined)[] = batch.units.map(() => undefined);
    if (present.length === 0) return { elapsedMs: 0, units: opened, release: () => undefined };

    const sealedBytes = present.reduce((sum, { plain }) => sum + plain.byteLength, 0);
    const lease = await this.#pipeline.reserveSealed(sealedBytes, { signal });
    try {
      const units = this.#layOut(setting, lease.bytes, present).map((unit, nth) => ({
        ...unit,
        plainBytesMax: present[nth]?.plainBytesMax ?? setting.unitSizeBytes,
      }));
      const started = performance.now();
      const result = await this.#pipeline.open({ keys: this.#keys, from: lease, units }, { signal });
      const elapsedMs = performance.now() - started;
      for (const [nth, unit] of result.units.entries()) {
        if (unit.error !== undefined) {
          result.release();
          throw unit.error;
        }
        const at = present[nth]?.at;
        if (at !== undefined) opened[at] = unit.bytes;
      }
      return { elapsedMs, units: opened, release: () => result.release() };
    } finally {
      lease.release();
    }
  }

  /** Copies units (plain or sealed) one after another into `target` and says where each one is. */
  #layOut(setting: BenchSetting, target: Uint8Array, units: readonly PlainUnit[]): UnitToOpen[] {
    let offsetBytes = 0;
    return units.map(({ index, plain }) => {
      target.set(plain, offsetBytes);
      const lengthBytes = plain.byteLength;
      const place = { objectId: this.#objectId, kind: 'unit' as const, index };
      const unit = { ...place, unitSizeBytes: setting.unitSizeBytes, offsetBytes, lengthBytes };
      offsetBytes += lengthBytes;
      return unit;
    });
  }

  async close(): Promise<void> {
    await this.#pipeline.close();
    this.#keyring.destroy();
  }
}
