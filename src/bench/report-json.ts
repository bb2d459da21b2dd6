/**
 * The report for programs. `docs/BENCH.md`, "The JSON document", describes it; change the version with that
 * page.
 */
import { formatCodec } from '../unit/codec.ts';
import type { BenchReport, ReportedSetting } from './bench.ts';
import { type Costs, costsOf } from './cost.ts';
import type { Link } from './link.ts';
import type { Scored } from './recommend.ts';
import { ratioOf, type SampleResult, type Spread, spreadOf } from './results.ts';
import { type BenchSetting, settingId } from './settings.ts';

export const BENCH_JSON_FORMAT = 'netseal-bench';
export const BENCH_JSON_VERSION = 2;

/** Any value that JSON can represent. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/**
 * Returns the whole report as plain values. Lengths are in bytes, and times in ms unless the name says
 * otherwise.
 */
export function reportToJson(report: BenchReport): JsonObject {
  const { settings, recommendation } = report;
  const { ranking, winner, alternatives } = recommendation;
  return {
    format: BENCH_JSON_FORMAT,
    version: BENCH_JSON_VERSION,
    createdAt: report.createdAt.toISOString(),
    isComplete: report.isComplete,
    machine: { ...report.machine },
    workers: settings.workers,
    link: { bytesPerSecond: settings.link.bytesPerSecond, roundTripMs: settings.link.roundTripMs },
    workload: settings.workload,
    timeMs: settings.timeMs,
    memory: { rssStartBytes: report.rssStartBytes, rssPeakBytes: report.rssPeakBytes },
    samples: report.samples.map(({ name, description, fileCount, sizeBytes, sampledBytes }) => ({
      name,
      description,
      fileCount,
      sizeBytes,
      sampledBytes,
    })),
    results: report.results.map(result => resultToJson(result, settings.link, ranking)),
    recommendation: {
      setting: settingId(winner.setting),
      ...settingToJson(winner.setting),
      score: winner.score,
      tolerance: recommendation.tolerance,
      weights: { ...recommendation.weights },
      reasons: recommendation.reasons,
      alternatives: alternatives.map(({ setting, role, score, text }) => ({
        setting: settingId(setting),
        role,
        score,
        text,
      })),
    },
    notes: report.notes,
  };
}

function settingToJson({ unitSizeBytes, padding, codec, suite, providers }: BenchSetting): JsonObject {
  return { unitSizeBytes, padding, codec: formatCodec(codec), cipher: suite, provider: providers };
}

function resultToJson(result: ReportedSetting, link: Link, ranking: readonly Scored[]): JsonObject {
  const { setting, summary } = result;
  const { codecs, ciphers } = result.providers;
  const { codec } = setting.codec;
  return {
    setting: settingId(setting),
    ...settingToJson(setting),
    providers: { codec: codec === 'stored' ? null : codecs[codec], cipher: ciphers[setting.suite] },
    score: ranking.find(scored => scored.setting === setting)?.score ?? null,
    workingBytes: result.workingBytes,
    summary: {
      sealBytesPerSecond: finite(summary.sealBytesPerSecond),
      openBytesPerSecond: finite(summary.openBytesPerSecond),
      sealSpread: spreadToJson(summary.sealSpread),
      openSpread: spreadToJson(summary.openSpread),
      plainBytes: Math.round(summary.plainBytes),
      storedBytes: Math.round(summary.storedBytes),
      ratio: finite(summary.ratio),
      unitCount: summary.unitCount,
      holeCount: summary.holeCount,
      ...costsToJson(summary.costs),
    },
    samples: result.samples.map(sample => sampleToJson(sample, link, setting.unitSizeBytes)),
  };
}

function sampleToJson(sample: SampleResult, link: Link, unitSizeBytes: number): JsonObject {
  return {
    sample: sample.sample,
    sealBytesPerSecond: finite(sample.sealBytesPerSecond),
    openBytesPerSecond: finite(sample.openBytesPerSecond),
    sealSpread: spreadToJson(spreadOf(sample.sealRates)),
    openSpread: spreadToJson(spreadOf(sample.openRates)),
    sealRates: sample.sealRates.map(finite),
    openRates: sample.openRates.map(finite),
    sealUnitMs: sample.sealUnitMs,
    openUnitMs: sample.openUnitMs,
    plainBytes: sample.plainBytes,
    storedBytes: sample.storedBytes,
    ratio: finite(ratioOf(sample)),
    unitCount: sample.unitCount,
    holeCount: sample.holeCount,
    holeBytes: sample.holeBytes,
    recordBytes: sample.recordBytes,
    ...costsToJson(costsOf(link, sample, unitSizeBytes)),
  };
}

function spreadToJson({ slowest, fastest }: Spread): JsonObject {
  return { slowest: finite(slowest), fastest: finite(fastest) };
}

function costsToJson(costs: Costs): JsonObject {
  return {
    randomReadMs: costs.read.ms,
    randomReadAmplification: costs.read.amplification,
    overwriteMs: costs.overwrite.ms,
    overwriteAmplification: costs.overwrite.amplification,
    sequentialReadMsPerMiB: costs.sequentialReadMsPerMiB,
    sequentialWriteMsPerMiB: costs.sequentialWriteMsPerMiB,
  };
}

/**
 * Returns null for infinite values, which JSON lacks. They occur where nothing is stored or no time was
 * needed.
 */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
