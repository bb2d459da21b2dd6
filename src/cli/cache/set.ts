/** `netseal cache set`: changes the limits of a cache. */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Cache } from '../../cache/cache.ts';
import { jsonDocument } from '../lib/json.ts';
import { startProgress } from '../lib/progress.ts';
import { formatSize } from '../lib/sizes.ts';
import { type CacheAccess, type CacheOptions, cacheCommand, withCache } from './opening.ts';
import {
  type CacheSettingOptions,
  readCacheSettings,
  settingFields,
  settingLines,
  withCacheSettings,
} from './setting-options.ts';

interface SetOptions extends CacheOptions, CacheSettingOptions {}

/** `netseal cache set DIR` */
export function command(): Command {
  const setCommand = cacheCommand('set', 'Change the limits of a cache, and drop units that no longer fit.');
  return withCacheSettings(setCommand).action(set);
}

async function set(folder: string, options: SetOptions): Promise<void> {
  const change = await readCacheSettings(folder, options);
  requireArgument(Object.keys(change).length > 0, 'nothing to change: see "netseal cache set --help"');
  await withCache(folder, options, access => fitAndReport(access, options), { change });
}

async function fitAndReport(
  { cache, folder, signal, report }: CacheAccess,
  { json = false }: SetOptions,
): Promise<void> {
  const beforeBytes = cache.statistics.bytes;
  await shrink(cache, signal);
  const freedBytes = Math.max(0, beforeBytes - cache.statistics.bytes);
  const fields = { cache: folder, ...settingFields(cache.settings), freedBytes };
  const lines = [...settingLines(cache.settings), `  freed   ${formatSize(freedBytes)}`, ''];
  report(json ? jsonDocument(fields) : lines.join('\n'));
}

/**
 * Drops units, zone by zone, until the cache is within its budget or only dirty and pinned units are left.
 */
async function shrink(cache: Cache, signal: AbortSignal): Promise<void> {
  const progress = startProgress({ label: 'giving up', noun: 'bytes' });
  try {
    const { bytes: startBytes, budgetBytes } = cache.statistics;
    for (let lastBytes = Number.POSITIVE_INFINITY; ; ) {
      const { bytes } = cache.statistics;
      // Nothing was dropped: the cache is within its budget, or what is left is dirty or pinned.
      if (bytes >= lastBytes) return;
      if (startBytes > budgetBytes) progress.update(startBytes - bytes, startBytes - budgetBytes);
      lastBytes = bytes;
      await cache.maintain();
      // Gives signals a turn.
      await giveTurn();
      signal.throwIfAborted();
    }
  } finally {
    progress.stop();
  }
}
