/**
 * The sweep: measures every setting on every sample.
 *
 *   1. check   Every unit of every sample is sealed, opened and compared. Nothing is timed before that.
 *   2. time    Each round times all settings on all samples. So a machine that gets busy or warm disturbs all
 *              settings alike.
 *
 * The check takes times as well. So when the sweep is stopped early, every setting that was checked has a
 * result, only a less exact one.
 */
import { equalBytes, isAllZero } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { formatCodec } from '../unit/codec.ts';
import type { ProviderChoice } from '../unit/providers.ts';
import type { Engine } from './engine.ts';
import { formatSize } from './format.ts';
import { type Batch, batchOf, cutIntoBatches, cutIntoUnits, type PlainUnit, unitsForRound } from './plan.ts';
import { median, type SampleResult, type SettingResult } from './results.ts';
import type { Sample } from './samples.ts';
import { spreadIndices } from './sampling.ts';
import type { BenchSetting } from './settings.ts';
import { Shuffler } from './shuffler.ts';

/** The number of timed rounds after the check. It is odd, so that the median is one of them. */
export const ROUNDS = 5;
/** The most units that are timed alone in each round. Fewer are timed when the round's time is over. */
const SINGLE_UNITS_MAX = 8;
const SINGLE_UNITS_MIN = 2;

export interface SweepSettings {
  readonly samples: readonly Sample[];
  readonly settings: readonly BenchSetting[];
  /** About how long to time one setting on one sample, over all rounds. */
  readonly timeMs: number;
  /**
   * The fewest plain bytes in a timed round. Default 1 MiB; with less, dispatch would be timed instead of the
   * work.
   */
  readonly roundBytesMin?: number | undefined;
}

export interface SweepParts {
  /**
   * Opens the engine whose throughput is measured. Called once for each choice of providers; closed at the
   * end.
   */
  openEngine(providers: ProviderChoice): Promise<Engine>;
  /** Opens the engine that times single units, on the calling thread. */
  openInline(providers: ProviderChoice): Promise<Engine>;
  readonly signal?: AbortSignal | undefined;
  /** Called after each step, with the number of steps that are done and the number of all steps. */
  onProgress?(done: number, total: number): void;
}

export interface SweepResult {
  /**
   * Results in the order of the settings. After an early stop, only settings that were finished at least
   * once.
   */
  readonly results: readonly SettingResult[];
  /** False when it was stopped early. */
  readonly isComplete: boolean;
  /** The resident memory of this process before anything was started, and its peak while measuring. */
  readonly rssStartBytes: number;
  readonly rssPeakBytes: number;
  /** How many threads the pipeline has, at least 1. */
  readonly threadCount: number;
}

/**
 * Runs the sweep. Rejects with the error of an engine, with EBUG when a round trip gives other bytes back,
 * and with the signal's reason when it was aborted before any setting was finished.
 */
export async function sweep(sweepSettings: SweepSettings, parts: SweepParts): Promise<SweepResult> {
  requireArgument(
    sweepSettings.samples.length > 0 && sweepSettings.settings.length > 0,
    'nothing to measure',
  );
  const rssStartBytes = process.memoryUsage.rss();
  const engines = new Engines(parts);
  const running = new Sweep(sweepSettings, parts, engines, rssStartBytes);
  try {
    await running.checkAll();
    await running.timeAll();
  } catch (error) {
    if (parts.signal?.aborted !== true || running.finished.length === 0) throw error;
  } finally {
    await engines.close();
  }
  return {
    results: running.finished,
    isComplete: running.isComplete,
    rssStartBytes,
    rssPeakBytes: running.rssPeakBytes,
    threadCount: engines.threadCount,
  };
}

interface EnginePair {
  readonly pipeline: Engine;
  readonly inline: Engine;
}

/** Opens engines on first use and closes them together. */
class Engines {
  readonly #parts: SweepParts;
  readonly #open: Engine[] = [];
  readonly #pairs = new Map<ProviderChoice, EnginePair>();
  threadCount = 1;

  constructor(parts: SweepParts) {
    this.#parts = parts;
  }

  async of(providers: ProviderChoice): Promise<EnginePair> {
    let pair = this.#pairs.get(providers);
    if (pair === undefined) {
      const inline = await this.#parts.openInline(providers);
      this.#open.push(inline);
      const pipeline = await this.#parts.openEngine(providers);
      this.#open.push(pipeline);
      pair = { inline, pipeline };
      this.#pairs.set(providers, pair);
      this.threadCount = pipeline.threadCount;
    }
    return pair;
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map(engine => engine.close()));
  }
}

/** The state of one setting on one sample while it is measured. */
interface Cell {
  readonly setting: BenchSetting;
  readonly sample: Sample;
  readonly engines: EnginePair;
  readonly units: readonly PlainUnit[];
  readonly dense: readonly PlainUnit[];
  readonly sealRates: number[];
  readonly openRates: number[];
  readonly sealUnitMs: number[];
  readonly openUnitMs: number[];
  storedBytes: number;
  /**
   * The sum of plain length times record length. Divided by the plain bytes it gives `Measured.recordBytes`.
   */
  weightedRecordBytes: number;
}

class Sweep {
  readonly #input: SweepSettings;
  readonly #parts: SweepParts;
  readonly #engines: Engines;
  readonly #total: number;
  readonly #rows: Cell[][] = [];
  #done = 0;
  rssPeakBytes: number;
  isComplete = false;

  constructor(input: SweepSettings, parts: SweepParts, engines: Engines, rssStartBytes: number) {
    this.#input = input;
    this.#parts = parts;
    this.#engines = engines;
    this.#total = input.settings.length * input.samples.length * (1 + ROUNDS);
    this.rssPeakBytes = rssStartBytes;
  }

  /** The results of the settings that were finished on every sample. */
  get finished(): SettingResult[] {
    const rows = this.#rows.filter(row => row.length === this.#input.samples.length);
    return rows.flatMap(row => {
      const [first] = row;
      if (first === undefined) return [];
      const { setting, engines } = first;
      return { setting, providers: engines.pipeline.providers, samples: row.map(resultOf) };
    });
  }

  async checkAll(): Promise<void> {
    for (const setting of this.#input.settings) {
      const row: Cell[] = [];
      this.#rows.push(row);
      for (const sample of this.#input.samples) {
        const cell = await this.#startCell(setting, sample);
        await this.#check(cell);
        await this.#timeSingles(cell);
        row.push(cell);
        this.#step();
      }
    }
  }

  async timeAll(): Promise<void> {
    const shuffler = new Shuffler(ROUNDS);
    for (let round = 0; round < ROUNDS; round++) {
      // The order changes each time, because large units leave caches and garbage collectors busy for their
      // neighbour.
      for (const cell of shuffler.shuffle(this.#rows.flat())) {
        await this.#timeRound(cell);
        await this.#timeSingles(cell);
        this.#step();
      }
    }
    this.isComplete = true;
  }

  async #startCell(setting: BenchSetting, sample: Sample): Promise<Cell> {
    const units = cutIntoUnits(sample.pieces, setting.unitSizeBytes);
    return {
      setting,
      sample,
      engines: await this.#engines.of(setting.providers),
      units,
      dense: units.filter(({ plain }) => !isAllZero(plain)),
      sealRates: [],
      openRates: [],
      sealUnitMs: [],
      openUnitMs: [],
      storedBytes: 0,
      weightedRecordBytes: 0,
    };
  }

  /**
   * Seals and opens the whole sample and compares every byte. Its times count as a first, less exact round.
   */
  async #check(cell: Cell): Promise<void> {
    const { setting, units } = cell;
    const timer = new Timer();
    for (const batch of cutIntoBatches(units, setting, cell.engines.pipeline.threadCount)) {
      await this.#roundTrip(cell, batch, timer, (records, opened) => {
        for (const [at, unit] of batch.units.entries()) {
          checkUnit(cell, unit, opened[at]);
          const recordBytes = records[at]?.byteLength ?? 0;
          cell.storedBytes += recordBytes;
          cell.weightedRecordBytes += recordBytes * unit.plain.byteLength;
        }
      });
    }
    timer.addTo(cell);
  }

  async #timeRound(cell: Cell): Promise<void> {
    const { threadCount } = cell.engines.pipeline;
    // Each direction gets half of a round's time, and the best rate so far says how much fits into it. The
    // last rate would not do: a slow round would make the next one short, and short rounds are slow.
    const directionMs = this.#input.timeMs / ROUNDS / 2;
    const slower = Math.min(Math.max(...cell.sealRates), Math.max(...cell.openRates), RATE_MAX);
    const targetBytes = Math.max(this.#input.roundBytesMin ?? ROUND_BYTES_MIN, (slower * directionMs) / 1000);
    const timer = new Timer();
    for (const batch of cutIntoBatches(
      unitsForRound(cell.units, targetBytes, threadCount),
      cell.setting,
      threadCount,
    )) {
      await this.#roundTrip(cell, batch, timer);
    }
    timer.addTo(cell);
  }

  async #roundTrip(cell: Cell, batch: Batch, timer: Timer, inspect: Inspect = ignore): Promise<void> {
    const { signal } = this.#parts;
    signal?.throwIfAborted();
    const engine = cell.engines.pipeline;
    const sealed = await engine.seal(cell.setting, batch, signal);
    try {
      const opened = await engine.open(cell.setting, batch, sealed.records, signal);
      try {
        this.rssPeakBytes = Math.max(this.rssPeakBytes, process.memoryUsage.rss());
        timer.add(batch, sealed.elapsedMs, opened.elapsedMs);
        inspect(sealed.records, opened.units);
      } finally {
        opened.release();
      }
    } finally {
      sealed.release();
    }
  }

  /** Times units one at a time. Each round takes other units. */
  async #timeSingles(cell: Cell): Promise<void> {
    const { setting, dense, engines } = cell;
    const deadlineMs = performance.now() + this.#input.timeMs / ROUNDS / 4;
    const start = cell.sealUnitMs.length;
    const picks = spreadIndices(dense.length, SINGLE_UNITS_MAX);
    for (const [nth, pick] of picks.entries()) {
      if (nth >= SINGLE_UNITS_MIN && performance.now() > deadlineMs) break;
      const unit = dense[(pick + start) % dense.length];
      if (unit === undefined) break;
      this.#parts.signal?.throwIfAborted();
      const batch = batchOf([unit]);
      const sealed = await engines.inline.seal(setting, batch);
      const opened = await engines.inline.open(setting, batch, sealed.records);
      cell.sealUnitMs.push(sealed.elapsedMs);
      cell.openUnitMs.push(opened.elapsedMs);
      opened.release();
      sealed.release();
    }
  }

  #step(): void {
    this.#done += 1;
    this.#parts.onProgress?.(this.#done, this.#total);
  }
}

const ROUND_BYTES_MIN: number = MIB;
/**
 * The highest rate that the length of a round is computed from, in bytes a second. Holes take almost no time,
 * so the rate of a sample full of them has no bound.
 */
const RATE_MAX = 20e9;

type Inspect = (
  records: readonly (Uint8Array | undefined)[],
  opened: readonly (Uint8Array | undefined)[],
) => void;

function ignore(): void {
  // The check has already compared every byte.
}

/** Adds up the times of the batches of one round. */
class Timer {
  #plainBytes = 0;
  #sealMs = 0;
  #openMs = 0;

  add(batch: Batch, sealMs: number, openMs: number): void {
    this.#plainBytes += batch.plainBytes;
    this.#sealMs += sealMs;
    this.#openMs += openMs;
  }

  addTo(cell: Cell): void {
    cell.sealRates.push((this.#plainBytes / this.#sealMs) * 1000);
    cell.openRates.push((this.#plainBytes / this.#openMs) * 1000);
  }
}

function checkUnit({ setting, sample }: Cell, unit: PlainUnit, opened: Uint8Array = new Uint8Array()): void {
  const { byteLength } = opened;
  // Zeros at a unit's end need not be stored.
  if (equalBytes(opened, unit.plain.subarray(0, byteLength)) && isAllZero(unit.plain.subarray(byteLength)))
    return;
  throw new NetsealError(
    'EBUG',
    `round trip of unit ${unit.index} of ${sample.name} (${formatSize(setting.unitSizeBytes)} units, ` +
      `${formatCodec(setting.codec)}, ${setting.suite}, ${setting.providers}) gave other bytes back; no results`,
  );
}

function resultOf(cell: Cell): SampleResult {
  const { sample, units, dense } = cell;
  // The check ran with cold code and caches, so its rate counts only when there is no other.
  const sealRates = cell.sealRates.length > 1 ? cell.sealRates.slice(1) : cell.sealRates;
  const openRates = cell.openRates.length > 1 ? cell.openRates.slice(1) : cell.openRates;
  const plainBytes = batchOf(units).plainBytes;
  const denseBytes = batchOf(dense).plainBytes;
  return {
    sample: sample.name,
    weight: sample.sizeBytes / sample.sampledBytes,
    sealRates,
    openRates,
    sealBytesPerSecond: median(sealRates),
    openBytesPerSecond: median(openRates),
    sealUnitMs: median(cell.sealUnitMs),
    openUnitMs: median(cell.openUnitMs),
    plainBytes,
    storedBytes: cell.storedBytes,
    unitCount: units.length,
    holeCount: units.length - dense.length,
    holeBytes: plainBytes - denseBytes,
    recordBytes: denseBytes === 0 ? 0 : cell.weightedRecordBytes / denseBytes,
  };
}
