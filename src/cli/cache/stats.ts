/** `netseal cache stats`: what is in a cache, what it has done, and whether anything is not on the server yet. */
import { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import type { CacheStatistics } from '../../cache/base/statistics.ts';
import type { Cache } from '../../cache/cache.ts';
import { formatTime, toJson } from '../lib/display.ts';
import { printable } from '../lib/printable.ts';
import { formatCount, formatNumber, formatSize } from '../lib/sizes.ts';
import { type CacheOptions, tellProblems, withCache, withCacheOptions } from './access.ts';
import { type DirtySummary, describeDirty, describeDurable, ledgerFields, summarizeDirty } from './ledger.ts';
import { settingFields } from './settings.ts';

const NOTES = `
Hits and misses are those of its whole life; a process that is killed takes those
of its last minute with it. "not on the server" is what must not be lost: it is
kept whatever happens to the rest.`;

/** `netseal cache stats DIR` */
export function cacheStatsCommand(): Command {
  const command = new Command('stats')
    .description('Tell what is in a cache, and whether everything is on the server.')
    .addHelpText('after', NOTES);
  return withCacheOptions(command).action((folder: string, options: CacheOptions) =>
    withCache(folder, options, access => {
      const { cache } = access;
      tellProblems(access);
      const dirty = summarizeDirty(cache);
      const text =
        options.json === true ? `${toJson(describe(folder, cache, dirty), 2)}\n` : tell(folder, cache, dirty);
      process.stdout.write(text);
      return Promise.resolve();
    }),
  );
}

function tell(folder: string, cache: Cache, dirty: DirtySummary): string {
  const { statistics, settings } = cache;
  const { lifetime, zones } = statistics;
  const sent = describeDurable(dirty);
  const rows: [label: string, text: string][] = [
    ['kept', kept(statistics)],
    [
      'index',
      `${share(statistics.units, statistics.unitsMax)} of its ${formatCount(statistics.unitsMax, 'unit')}, ${formatSize(statistics.indexBytes)} of memory`,
    ],
    [
      'zones',
      `${zones.small} small, ${zones.main} main, ${zones.pinned} pinned, ${zones.dirty} dirty, of up to ${formatSize(settings.zoneBytes)}`,
    ],
    ['pins', pins(cache)],
    ['hits', hits(statistics)],
    [
      'stored',
      `${formatCount(lifetime.stored, 'unit')}, ${formatSize(lifetime.storedBytes)}; given up ${lifetime.evicted.toLocaleString('en-US')}, kept on ${lifetime.reinserted.toLocaleString('en-US')}`,
    ],
    ...(sent === undefined ? [] : [['sent', sent] as [string, string]]),
    ...(lifetime.displaced > 0 ? [displaced(lifetime.displaced)] : []),
    ['dropped', nonZero(lifetime.dropped)],
    ['problems', nonZero(lifetime.problems)],
    ['counted', `since ${minute(lifetime.sinceMs)}`],
  ];
  return [
    `cache ${toHex(cache.id)} in ${printable(folder)}`,
    ...rows.map(([label, text]) => `  ${label.padEnd(8)}  ${text}`),
    describeDirty(dirty),
    '',
  ].join('\n');
}

function kept({ units, bytes, budgetBytes, dirtyUnits, dirtyBytes }: CacheStatistics): string {
  const dirty =
    dirtyUnits === 0
      ? ''
      : `; of these not on the server: ${formatCount(dirtyUnits, 'unit')}, ${formatSize(dirtyBytes)}`;
  return `${formatCount(units, 'unit')}, ${formatSize(bytes)} on the disk, ${share(bytes, budgetBytes)} of the budget of ${formatSize(budgetBytes)}${dirty}`;
}

function hits({ lifetime }: CacheStatistics): string {
  const asked = lifetime.hits + lifetime.misses;
  if (asked === 0) return 'nothing was asked for yet';
  const others =
    lifetime.otherVersions === 0
      ? ''
      : `; ${lifetime.otherVersions.toLocaleString('en-US')} misses for another version`;
  return `${lifetime.hits.toLocaleString('en-US')} of ${asked.toLocaleString('en-US')}, ${share(lifetime.hits, asked)}; ${formatSize(lifetime.hitBytes)}${others}`;
}

function pins(cache: Cache): string {
  const count = cache.pins().length;
  return count === 0 ? 'none' : `${count.toLocaleString('en-US')}; "netseal cache pin" tells what they lack`;
}

function displaced(count: number): [string, string] {
  return [
    'crowded',
    `${formatCount(count, 'unit')} lost their place in the index: "netseal cache set --units-max" makes it larger`,
  ];
}

function share(part: number, whole: number): string {
  return `${formatNumber(whole === 0 ? 0 : (100 * part) / whole)}%`;
}

function nonZero(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  if (parts.length === 0) return 'none';
  return parts.map(([what, count]) => `${count.toLocaleString('en-US')} ${what}`).join(', ');
}

/** UTC, as for slots. */
function minute(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function describe(folder: string, cache: Cache, dirty: DirtySummary): Record<string, unknown> {
  const { statistics, settings } = cache;
  const { units, bytes, zones, indexBytes, lifetime } = statistics;
  const { sinceMs, ...counters } = lifetime;
  return {
    cache: folder,
    cacheId: toHex(cache.id),
    ...settingFields(settings),
    units,
    bytes,
    indexBytes,
    zones,
    pins: cache.pins().length,
    ...ledgerFields(dirty),
    lifetime: { since: formatTime(BigInt(Math.trunc(sinceMs)) * 1_000_000n), ...counters },
  };
}
