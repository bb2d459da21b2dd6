/**
 * Measures the targets and prints each value with its bound: `npm run targets [-- ID...] [--json] [--record]`.
 * It is not part of the tests. `--record` also adds a row for each value to RESULTS.md.
 */
import { appendFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { isMet, type Measurement, type Target } from './target.ts';
import { cacheDirty, cacheEvict, cacheRead, cacheRead4k, cacheWrite } from './targets/cache.ts';
import { cacheOpen } from './targets/cache-open.ts';
import { copyBytesTarget } from './targets/copy-bytes.ts';
import { copyRss } from './targets/copy-rss.ts';
import { openWriteClose } from './targets/many-files.ts';
import { random4k, readCache, readStore, write1g } from './targets/open-files.ts';
import { overwrite4k } from './targets/overwrites.ts';
import { pageRead1m, pageRead4k } from './targets/page-reads.ts';
import { get1g, put1g, putRss } from './targets/put-get.ts';
import { regions } from './targets/regions.ts';
import { open256k, seal4kBatch, seal256k } from './targets/seal.ts';
import { put10k, readdir100k, treeGet, treePut } from './targets/small-files.ts';
import { start } from './targets/start.ts';
import { streamRss } from './targets/stream-rss.ts';
import { treeObjects } from './targets/tree-objects.ts';
import { treeStored } from './targets/tree-stored.ts';
import { catTrips, fsyncTrips, syncTrips } from './targets/trips.ts';

export const TARGETS: readonly Target[] = [
  copyBytesTarget,
  pageRead1m,
  pageRead4k,
  seal256k,
  open256k,
  seal4kBatch,
  start,
  streamRss,
  put1g,
  get1g,
  putRss,
  put10k,
  openWriteClose,
  treePut,
  treeGet,
  readdir100k,
  treeStored,
  treeObjects,
  fsyncTrips,
  syncTrips,
  catTrips,
  regions,
  write1g,
  overwrite4k,
  copyRss,
  readCache,
  readStore,
  random4k,
  cacheRead,
  cacheRead4k,
  cacheWrite,
  cacheEvict,
  cacheDirty,
  cacheOpen,
];

const RESULTS = new URL('RESULTS.md', import.meta.url);

/** Reads the command line. When it is wrong, returns undefined and prints the error. */
function readArguments(): { ids: readonly string[]; json: boolean; record: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { json: { type: 'boolean' }, record: { type: 'boolean' } },
    });
    const unknown = positionals.filter(id => !TARGETS.some(target => target.id === id));
    if (unknown.length > 0) throw new Error(`no target ${unknown.join(', ')}`);
    return { ids: positionals, json: values.json === true, record: values.record === true };
  } catch (error) {
    const ids = TARGETS.map(({ id }) => id).join(', ');
    console.error(
      `${(error as Error).message}; usage: npm run targets [-- ID... --json --record], with ID of ${ids}`,
    );
    return undefined;
  }
}

async function main(): Promise<void> {
  const asked = readArguments();
  if (asked === undefined) {
    process.exitCode = 2;
    return;
  }
  const chosen = TARGETS.filter(({ id }) => asked.ids.length === 0 || asked.ids.includes(id));
  for (const target of chosen) {
    for (const measurement of await target.measure('real')) {
      console.log(asked.json ? JSON.stringify(toJson(target, measurement)) : toLine(target, measurement));
      if (asked.record) appendFileSync(RESULTS, toRow(target, measurement));
    }
  }
}

function verdict(measurement: Measurement): string {
  return isMet(measurement) ? 'ok' : 'short';
}

function figure(value: number, unit: Measurement['unit']): string {
  return unit === 'x' ? value.toFixed(2) : `${value.toFixed(0)} ${unit}`;
}

function toLine(target: Target, measurement: Measurement): string {
  const { what, measured, bound, sense, unit, detail } = measurement;
  const name = `${target.id} ${what}`.padEnd(28);
  const value = figure(measured, unit).padStart(8);
  return `${name} ${value}   ${sense} ${figure(bound, unit).padEnd(8)} ${verdict(measurement).padEnd(5)}  ${detail}`;
}

function toJson(target: Target, measurement: Measurement): object {
  return { id: target.id, about: target.about, ...measurement, verdict: verdict(measurement) };
}

function toRow(target: Target, measurement: Measurement): string {
  const { what, measured, bound, sense, unit, detail } = measurement;
  const cells = [
    new Date().toISOString().slice(0, 10),
    target.id,
    what,
    figure(measured, unit),
    `${sense} ${figure(bound, unit)}`,
    verdict(measurement),
    detail,
    `${cpus()[0]?.model.trim()} × ${cpus().length}, Node ${process.version}`,
  ];
  return `| ${cells.join(' | ')} |\n`;
}

if (import.meta.main) await main();
