/**
 * `netseal cache stats`: shows what is in a cache, what the cache has done, and whether everything is on the
 * server.
 */
import type { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import type { CacheStatistics } from '../../cache/base/statistics.ts';
import type { Cache } from '../../cache/cache.ts';
import { jsonDocument } from '../lib/json.ts';
import { printable } from '../lib/printable.ts';
import { formatCount, formatNumber, formatSize } from '../lib/sizes.ts';
import { formatTimeMs, formatUtcMinute } from '../lib/times.ts';
import {
  type DirtySummary,
  describeDirty,
  describeDurable,
  ledgerFields,
  summarizeDirty,
} from './dirty-summary.ts';
import { type CacheOptions, cacheCommand, withCache } from './opening.ts';
import { settingFields } from './setting-options.ts';

const NOTES = `
Hits and misses are counted over the whole life of the cache. A process that is
killed loses the counts of its last minute. Units that are "not on the server"
exist only here: they are kept whatever happens to the rest.`;

/** `netseal cache stats DIR` */
export function command(): Command {
  return cacheCommand('stats', 'Show what is in a cache, and whether everything is on the server.')
    .addHelpText('after', NOTES)
    .action((folder: string, options: CacheOptions) =>
      withCache(folder, options, async ({ cache, print }) => {
        const dirty = summarizeDirty(cache);
        const isJson = options.json === true;
        await print(isJson ? jsonDocument(describe(folder, cache, dirty)) : toText(folder, cache, dirty));
      }),
    );
}

function toText(folder: string, cache: Cache, dirty: DirtySummary): string {
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
      `${formatCount(lifetime.stored, 'unit')}, ${formatSize(lifetime.storedBytes)}; ${lifetime.evicted.toLocaleString('en-US')} evicted, ${lifetime.reinserted.toLocaleString('en-US')} kept for longer`,
    ],
    ...(sent === undefined ? [] : [['sent', sent] as [string, string]]),
    ...(lifetime.displaced > 0 ? [displaced(lifetime.displaced)] : []),
    ['dropped', nonZero(lifetime.dropped)],
    ['problems', nonZero(lifetime.problems)],
    ['counted', `since ${formatUtcMinute(lifetime.sinceMs)} UTC`],
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
      : `; not on the server yet: ${formatCount(dirtyUnits, 'unit')}, ${formatSize(dirtyBytes)}`;
  return `${formatCount(units, 'unit')}, ${formatSize(bytes)} on the disk, ${share(bytes, budgetBytes)} of the budget of ${formatSize(budgetBytes)}${dirty}`;
}

function hits({ lifetime }: CacheStatistics): string {
  const asked = lifetime.hits + lifetime.misses;
  if (asked === 0) return 'no unit was asked for yet';
  const others =
    lifetime.otherVersions === 0
      ? ''
      : `; ${lifetime.otherVersions.toLocaleString('en-US')} misses because of another version`;
  return `${lifetime.hits.toLocaleString('en-US')} of ${asked.toLocaleString('en-US')}, ${share(lifetime.hits, asked)}; ${formatSize(lifetime.hitBytes)}${others}`;
}

function pins(cache: Cache): string {
  const count = cache.pins().length;
  return count === 0 ? 'none' : `${count.toLocaleString('en-US')}; "netseal cache pin" lists what they lack`;
}

function displaced(count: number): [string, string] {
  return [
    'crowded',
    `${formatCount(count, 'unit')} lost their place in the index: make it larger with "netseal cache set --units-max"`,
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
    lifetime: { since: formatTimeMs(sinceMs), ...counters },
  };
}
