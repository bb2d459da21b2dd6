/** The engines that the bench times: the pipeline, or `src/unit` on the calling thread. */
import { isAllZero } from '../base/bytes.ts';
import { unitSizeToLog2 } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { Keyring } from '../keys/keyring.ts';
import { NonceSource } from '../unit/nonces.ts';
import { Opener } from '../unit/open.ts';
import { paddedBytes } from '../unit/padding.ts';
import type { ProviderReport, Providers } from '../unit/providers.ts';
import { decodeHeader, type SuiteName } from '../unit/record-format.ts';
import { RecordKey } from '../unit/record-key.ts';
import { Sealer, sealedBytesMax } from '../unit/seal.ts';
import type { Batch, PlainUnit } from './plan.ts';
import type { BenchSetting } from './settings.ts';

/**
 * The records of a batch, one for each unit and undefined for a hole, and how long sealing took. Valid until
 * released.
 */
export interface TimedRecords {
  readonly elapsedMs: number;
  readonly records: readonly (Uint8Array | undefined)[];
  release(): void;
}

/**
 * The plain bytes of a batch, one entry for each unit and undefined for a hole, and how long opening took.
 * Valid until released.
 */
export interface TimedUnits {
  readonly elapsedMs: number;
  readonly units: readonly (Uint8Array | undefined)[];
  release(): void;
}

export interface Engine {
  /** How many threads seal or open at a time; 1 for the calling thread. */
  readonly threadCount: number;
  readonly providers: ProviderReport;
  /** Seals a batch. The time is that of sealing, without copying the batch into the engine's memory. */
  seal(setting: BenchSetting, batch: Batch, signal?: AbortSignal): Promise<TimedRecords>;
  /**
   * Opens a batch. The time is that of opening alone. Rejects with the error of the first unit that does not
   * open.
   */
  open(
    setting: BenchSetting,
    batch: Batch,
    records: readonly (Uint8Array | undefined)[],
    signal?: AbortSignal,
  ): Promise<TimedUnits>;
  /** Ends the engine's workers and zeroes its keys. */
  close(): Promise<void>;
}

/**
 * Seals and opens on the calling thread, one unit after another. So it times single units, without queues or
 * wake-ups.
 */
export class InlineEngine implements Engine {
  readonly threadCount = 1;
  readonly providers: ProviderReport;
  readonly #providers: Providers;
  readonly #keyring = Keyring.create();
  readonly #objectId = randomBytes(ID_BYTES);
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #keys = new Map<SuiteName, RecordKey>();

  constructor(providers: Providers) {
    this.#providers = providers;
    this.providers = providers.report;
    this.#sealer = new Sealer(providers, new NonceSource());
    this.#opener = new Opener(providers);
  }

  async seal(setting: BenchSetting, batch: Batch): Promise<TimedRecords> {
    const key = this.#keyOf(setting.suite);
    const unitSizeLog2 = unitSizeToLog2(setting.unitSizeBytes);
    const rooms = batch.units.map(
      ({ plain }) => new Uint8Array(sealedBytesMax(plain.byteLength, setting.padding)),
    );
    this.#sealer.startRun();
    const started = performance.now();
    const records = batch.units.map(({ index, plain }, at) => {
      const room = rooms[at];
      if (room === undefined || isAllZero(plain)) return undefined;
      return room.subarray(0, this.#sealer.seal(key, { index, unitSizeLog2 }, setting, plain, room));
    });
    return { elapsedMs: performance.now() - started, records, release: nothing };
  }

  async open(
    setting: BenchSetting,
    batch: Batch,
    records: readonly (Uint8Array | undefined)[],
  ): Promise<TimedUnits> {
    const key = this.#keyOf(setting.suite);
    const unitSizeLog2 = unitSizeToLog2(setting.unitSizeBytes);
    const rooms = batch.units.map(({ plain }) => new Uint8Array(openingRoom(plain.byteLength, setting)));
    const started = performance.now();
    const units = records.map((record, at) => {
      const unit: PlainUnit | undefined = batch.units[at];
      const room = rooms[at];
      if (record === undefined || unit === undefined || room === undefined) return undefined;
      const place = { index: unit.index, unitSizeLog2 };
      const opened = this.#opener.open(decodeHeader(record), key, place, record, room);
      return room.subarray(0, opened.plainBytes);
    });
    return { elapsedMs: performance.now() - started, units, release: nothing };
  }

  async close(): Promise<void> {
    for (const key of this.#keys.values()) key.destroy();
    this.#sealer.wipe();
    this.#keyring.destroy();
  }

  #keyOf(suite: SuiteName): RecordKey {
    let key = this.#keys.get(suite);
    if (key === undefined) {
      const epoch = this.#keyring.newestEpoch;
      const name = {
        volumeId: this.#keyring.volumeId,
        objectId: this.#objectId,
        kind: 'unit' as const,
        suite,
        epoch,
      };
      key = new RecordKey(name, this.#keyring.epochKey(epoch), this.#providers.suite(suite));
      this.#keys.set(suite, key);
    }
    return key;
  }
}

/**
 * Returns the room to open a record into: the plain length with its padding, as a record's limit depends on
 * the room.
 */
export function openingRoom(plainBytes: number, setting: BenchSetting): number {
  return paddedBytes(plainBytes, setting.padding);
}

function nothing(): void {
  // The inline engine's results lie in ordinary memory, which is garbage-collected.
}
