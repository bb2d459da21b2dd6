/** The results for each setting and sample. Pure. */
import type { ProviderReport } from '../unit/providers.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { BenchSetting } from './settings.ts';

/** The measurements of one setting on one sample. */
export interface Measured {
  /** Plain bytes a second through the pipeline: one value for each timed round. */
  readonly sealRates: readonly number[];
  readonly openRates: readonly number[];
  /** The medians of the rates. */
  readonly sealBytesPerSecond: number;
  readonly openBytesPerSecond: number;
  /** The median time of one unit alone on the calling thread; 0 when all units are holes. */
  readonly sealUnitMs: number;
  readonly openUnitMs: number;
  /** The length of the whole sample. */
  readonly plainBytes: number;
  /** The length of its records, with their overhead and padding. */
  readonly storedBytes: number;
  readonly unitCount: number;
  /** All-zero units, for which nothing is stored. */
  readonly holeCount: number;
  readonly holeBytes: number;
  /**
   * The average length of the record that a random byte outside of holes lies in; 0 when all units are holes.
   */
  readonly recordBytes: number;
}

export interface SampleResult extends Measured {
  readonly sample: string;
  /** The sample's weight in sums: how many bytes of the files each sampled byte stands for. */
  readonly weight: number;
}

export interface SettingResult {
  readonly setting: BenchSetting;
  readonly providers: ProviderReport;
  readonly samples: readonly SampleResult[];
}

/** The slowest and the fastest of several rates, in bytes a second. */
export interface Spread {
  readonly slowest: number;
  readonly fastest: number;
}

/** Returns the smallest and the largest rate; both are 0 for an empty list. */
export function spreadOf(rates: readonly number[]): Spread {
  if (rates.length === 0) return { slowest: 0, fastest: 0 };
  return { slowest: Math.min(...rates), fastest: Math.max(...rates) };
}

/** Returns the middle value, or the mean of the two in the middle; 0 for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? 0;
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? upper)) / 2 : upper;
}

/** Returns the plain bytes for each stored byte; Infinity when nothing is stored. */
export function ratioOf({ plainBytes, storedBytes }: Pick<Measured, 'plainBytes' | 'storedBytes'>): number {
  return plainBytes / storedBytes;
}

/**
 * Computes the least memory in bytes that a setting needs: for each thread one plain unit, its record, the
 * plaintext to encrypt, and the codec's output.
 */
export function workingBytes(setting: BenchSetting, threadCount: number): number {
  const recordBytes = sealedBytesMax(setting.unitSizeBytes, setting.padding);
  const codecBytes = setting.codec.codec === 'stored' ? 0 : setting.unitSizeBytes;
  return Math.max(1, threadCount) * (setting.unitSizeBytes + 2 * recordBytes + codecBytes);
}
