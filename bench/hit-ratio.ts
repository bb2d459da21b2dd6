/**
 * Measures the hit ratio of the real cache on three traces, beside exact FIFO, LRU and S3-FIFO:
 * `npm run hit-ratio [-- --json] [--chart FILE]`.
 *
 * The exit code is 1 if S3-FIFO reduces LRU's misses by more than this cache does, beyond a tolerance.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs, styleText } from 'node:util';
import Table from 'cli-table3';
import { chartOf } from './hit-ratio/chart.ts';
import {
  type CacheResult,
  leadOf,
  measureCache,
  measurePolicies,
  type Result,
  reductionOf,
  TOLERANCE,
  unitCountOf,
} from './hit-ratio/measure.ts';
import { tracesOf } from './hit-ratio/traces.ts';
import { inEachPlace } from './places.ts';

const WORKING_SET = 12_000;
const SIZES_PERCENT = [3, 10, 30, 70];
/** Zones in the budget, for the comparison of zone sizes. */
const ZONE_PARTS = [12, 32];
/** The zones of a cache of 4 GiB with zones of 32 MiB. */
const BOUND_ZONES = 128;
const ROOM_BYTES = 256 * 1024 * 1024;

/** A result with other zone sizes. `cache` has BOUND_ZONES zones, and the bound holds for it. */
interface Row extends Result {
  readonly zones: readonly CacheResult[];
}

function readArguments(): { json: boolean; chart: string | undefined } | undefined {
  try {
    const { values } = parseArgs({ options: { json: { type: 'boolean' }, chart: { type: 'string' } } });
    return { json: values.json === true, chart: values.chart };
  } catch (error) {
    console.error(`${(error as Error).message}; usage: npm run hit-ratio [-- --json --chart FILE]`);
    return undefined;
  }
}

async function main(): Promise<void> {
  const asked = readArguments();
  if (asked === undefined) {
    process.exitCode = 2;
    return;
  }
  let isFirst = true;
  const rows = await inEachPlace(ROOM_BYTES, async folder => {
    if (!isFirst) return [];
    isFirst = false;
    return measureAll(folder);
  });
  console.log(asked.json ? JSON.stringify(rows.map(toJson), undefined, 2) : toText(rows));
  if (asked.chart !== undefined) writeFileSync(asked.chart, chartOf(rows));
  if (rows.some(row => verdict(row) !== 'ok')) process.exitCode = 1;
}

async function measureAll(folder: string): Promise<Row[]> {
  const rows: Row[] = [];
  for (const trace of tracesOf(WORKING_SET)) {
    for (const sizePercent of SIZES_PERCENT) {
      const policies = measurePolicies(trace, sizePercent);
      const cache = await measureCache(folder, trace, sizePercent, BOUND_ZONES);
      const zones: CacheResult[] = [];
      for (const part of ZONE_PARTS) zones.push(await measureCache(folder, trace, sizePercent, part));
      const unitCount = unitCountOf(trace, sizePercent);
      rows.push({ trace: trace.name, sizePercent, unitCount, policies, cache, zones });
      if (process.stderr.isTTY) console.error(`${trace.name}, ${sizePercent} %`);
    }
  }
  return rows;
}

function toJson(row: Row): object {
  const { policies } = row;
  return {
    ...row,
    reduction: {
      's3-fifo': reductionOf(policies['S3-FIFO'], policies),
      's3-fifo of the same units': reductionOf(row.cache.s3OfSameUnits, policies),
      netseal: reductionOf(row.cache.missRatio, policies),
    },
    tolerance: TOLERANCE,
    verdict: verdict(row),
  };
}

function verdict(row: Row): string {
  return leadOf(row.cache, row.policies) >= -TOLERANCE ? 'ok' : 'short';
}

function percent(part: number): string {
  return (100 * part).toFixed(1);
}

function toText(rows: readonly Row[]): string {
  const bold = (text: string): string => styleText('bold', text, { stream: process.stdout });
  const about = tracesOf(10).map(({ name, about: text }) => `  ${name}: ${text}`);
  return [
    `${bold('Misses')}, % of accesses, and how many of LRU's are saved; ${WORKING_SET} units, ${6 * WORKING_SET} accesses`,
    ...about,
    missTable(rows),
    '',
    `${bold('Zone size')}: LRU's misses saved, %, with so many zones in the budget`,
    zoneTable(rows),
  ].join('\n');
}

function missTable(rows: readonly Row[]): string {
  const head = [
    'trace',
    'budget',
    'FIFO',
    'LRU',
    'S3-FIFO',
    'netseal',
    'S3 saves',
    'same units',
    'netseal',
    'copied',
    '',
  ];
  const table = tableWith(head);
  for (const row of rows) {
    const { trace, sizePercent, policies, cache } = row;
    const saving = [policies['S3-FIFO'], cache.s3OfSameUnits, cache.missRatio];
    table.push([
      trace,
      `${sizePercent} %`,
      ...[policies.FIFO, policies.LRU, policies['S3-FIFO'], cache.missRatio].map(percent),
      ...saving.map(ratio => percent(reductionOf(ratio, policies))),
      percent(cache.copied),
      verdict(row),
    ]);
  }
  return table.toString();
}

function zoneTable(rows: readonly Row[]): string {
  const counts = [...ZONE_PARTS, BOUND_ZONES].map(count => `${count} zones`);
  const table = tableWith(['trace', 'budget', 'S3-FIFO', ...counts.flatMap(count => [count, 'held, %'])]);
  for (const { trace, sizePercent, unitCount, policies, zones, cache } of rows) {
    table.push([
      trace,
      `${sizePercent} %`,
      percent(reductionOf(policies['S3-FIFO'], policies)),
      ...[...zones, cache].flatMap(each => [
        percent(reductionOf(each.missRatio, policies)),
        percent(each.unitCount / unitCount),
      ]),
    ]);
  }
  return table.toString();
}

function tableWith(head: readonly string[]): InstanceType<typeof Table> {
  return new Table({
    head: [...head],
    colAligns: head.map((_, at) => (at === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
}

if (import.meta.main) await main();
