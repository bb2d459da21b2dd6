/** The whole bench, as a command line or a script calls it: it takes settings and returns a report. */
import { chooseProviders } from '../unit/providers.ts';
import { makeCorpus } from './corpus.ts';
import { type Summary, summarise } from './cost.ts';
import { type Engine, InlineEngine } from './engine.ts';
import { formatCount } from './format.ts';
import { checkLink, type Link } from './link.ts';
import { describeMachine, type Machine } from './machine.ts';
import { type SweepResult, sweep } from './measure.ts';
import { openPipelineEngine } from './pipeline-engine.ts';
import { batchBytesMax } from './plan.ts';
import { type Recommendation, recommend, type Workload } from './recommend.ts';
import { type SettingResult, workingBytes } from './results.ts';
import { readSamples, type Sample, type SampleSet } from './samples.ts';
import { type BenchGrid, expandGrid } from './settings.ts';

export interface BenchSettings {
  /** Files and folders to take samples of. When empty, the built-in corpus is measured. */
  readonly paths: readonly string[];
  readonly grid: BenchGrid;
  /** Worker threads. With 0, the calling thread does the work. */
  readonly workers: number;
  readonly link: Link;
  readonly workload: Workload;
  /** The largest sample of the user's files, in bytes. */
  readonly sampleBytes: number;
  /** About how long to time one setting on one sample. */
  readonly timeMs: number;
  /** The size of each kind of data in the built-in corpus. Default 4 MiB. */
  readonly corpusKindBytes?: number;
  /** The fewest plain bytes in a timed round; see `measure.ts`. */
  readonly roundBytesMin?: number;
}

export interface BenchParts {
  readonly signal?: AbortSignal | undefined;
  onProgress?(done: number, total: number): void;
}

/** A setting with all its results. */
export interface ReportedSetting extends SettingResult {
  /** The results on all samples together, with their costs over the link. */
  readonly summary: Summary;
  /** The memory that the setting needs; see the function {@link workingBytes}. */
  readonly workingBytes: number;
}

export interface BenchReport {
  readonly createdAt: Date;
  readonly machine: Machine;
  readonly settings: BenchSettings;
  readonly samples: readonly Omit<Sample, 'pieces'>[];
  readonly results: readonly ReportedSetting[];
  readonly recommendation: Recommendation;
  readonly notes: readonly string[];
  readonly isComplete: boolean;
  readonly rssStartBytes: number;
  readonly rssPeakBytes: number;
}

/**
 * Collects samples, measures all settings on them, and recommends one. When aborted, it returns what has been
 * finished (`isComplete` is false).
 *
 * Rejects with EINVAL before anything is measured when a setting or path is wrong, EUNSUPPORTED when a
 * provider is missing, EBUG when a round trip gives other bytes back, and the signal's reason when nothing
 * was finished.
 */
export async function runBench(settings: BenchSettings, parts: BenchParts = {}): Promise<BenchReport> {
  const { signal } = parts;
  checkLink(settings.link);
  const grid = expandGrid(settings.grid);
  const sampleSet = await collectSamples(settings, signal);
  const batchBytes = batchBytesMax(grid.settings, settings.workers);
  const swept = await sweep(
    {
      samples: sampleSet.samples,
      settings: grid.settings,
      timeMs: settings.timeMs,
      roundBytesMin: settings.roundBytesMin,
    },
    {
      signal,
      onProgress: (done, total) => parts.onProgress?.(done, total),
      openInline,
      openEngine: providers => openPipelineEngine({ workers: settings.workers, providers, batchBytes }),
    },
  );
  return reportOf(settings, swept, sampleSet, grid.settings.length, [...grid.notes, ...sampleSet.notes]);
}

async function openInline(choice: 'auto' | 'native' | 'portable'): Promise<Engine> {
  return new InlineEngine(await chooseProviders({ codecs: choice, ciphers: choice }));
}

function collectSamples(settings: BenchSettings, signal?: AbortSignal): Promise<SampleSet> {
  const chunkBytes = Math.max(...settings.grid.unitSizesBytes);
  if (settings.paths.length > 0) {
    return readSamples(settings.paths, { capBytes: settings.sampleBytes, chunkBytes }, signal);
  }
  const { corpusKindBytes } = settings;
  return makeCorpus(
    corpusKindBytes === undefined ? { chunkBytes } : { chunkBytes, kindBytes: corpusKindBytes },
    signal,
  );
}

function reportOf(
  settings: BenchSettings,
  swept: SweepResult,
  sampleSet: SampleSet,
  settingCount: number,
  notes: readonly string[],
): BenchReport {
  const results = swept.results.map(result => ({
    ...result,
    summary: summarise(settings.link, result.samples, result.setting.unitSizeBytes),
    workingBytes: workingBytes(result.setting, swept.threadCount),
  }));
  const early = `stopped early: ${results.length} of ${formatCount(settingCount, 'setting')} measured, with fewer rounds`;
  return {
    createdAt: new Date(),
    machine: describeMachine(),
    settings,
    samples: sampleSet.samples.map(({ pieces: _pieces, ...sample }) => sample),
    results,
    recommendation: recommend(results, settings.workload),
    notes: swept.isComplete ? notes : [...notes, early],
    isComplete: swept.isComplete,
    rssStartBytes: swept.rssStartBytes,
    rssPeakBytes: swept.rssPeakBytes,
  };
}
