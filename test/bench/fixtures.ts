/** Made-up results, so that models and reports are tested on round numbers. */
import type { Summary } from '../../src/bench/cost.ts';
import type { SampleResult } from '../../src/bench/results.ts';
import { type BenchSetting, SETTING_DEFAULT } from '../../src/bench/settings.ts';

export function setting(changes: Partial<BenchSetting> = {}): BenchSetting {
  return { ...SETTING_DEFAULT, ...changes };
}

export function sampleResult(changes: Partial<SampleResult> = {}): SampleResult {
  return {
    sample: 'made up',
    weight: 1,
    sealRates: [100],
    openRates: [200],
    sealBytesPerSecond: 100,
    openBytesPerSecond: 200,
    sealUnitMs: 1,
    openUnitMs: 1,
    plainBytes: 1000,
    storedBytes: 500,
    unitCount: 10,
    holeCount: 0,
    holeBytes: 0,
    recordBytes: 50,
    ...changes,
  };
}

export interface Figures {
  readonly read: number;
  readonly overwrite: number;
  readonly sequentialRead: number;
  readonly sequentialWrite: number;
  readonly stored: number;
}

/** A summary with these costs, in ms and bytes. */
export function summary({ read, overwrite, sequentialRead, sequentialWrite, stored }: Figures): Summary {
  return {
    sealBytesPerSecond: 1e9,
    openBytesPerSecond: 1e9,
    sealSpread: { slowest: 9e8, fastest: 11e8 },
    openSpread: { slowest: 9e8, fastest: 11e8 },
    plainBytes: 10_000,
    storedBytes: stored,
    ratio: 10_000 / stored,
    unitCount: 10,
    holeCount: 0,
    costs: {
      read: { ms: read, transferredBytes: 4096, amplification: 1 },
      overwrite: { ms: overwrite, transferredBytes: 8192, amplification: 2 },
      sequentialReadMsPerMiB: sequentialRead,
      sequentialWriteMsPerMiB: sequentialWrite,
    },
  };
}
