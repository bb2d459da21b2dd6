/** `netseal cache wipe`: destroys a cache's key, then removes everything in it. */
import { readdirSync, rmdirSync, rmSync } from 'node:fs';
import type { Command } from 'commander';
import { isSystemError, requireArgument } from '../../base/errors.ts';
import { confirm } from '../lib/confirm.ts';
import { jsonDocument } from '../lib/json.ts';
import { resultWithWarning, warn } from '../lib/notes.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { describeDirty, summarizeDirty } from './dirty-summary.ts';
import { type CacheAccess, type CacheOptions, cacheCommand, withCache } from './opening.ts';

interface WipeOptions extends CacheOptions {
  readonly dirtyToo?: boolean;
  readonly yes?: boolean;
}

const NOT_PROTECTED =
  'This gives no protection from anyone who has a copy of the header (a backup, a snapshot, old blocks of a flash disk) and a secret that opened it.';

/** `netseal cache wipe DIR` */
export function command(): Command {
  return cacheCommand('wipe', "Destroy a cache's key, and remove everything in it.")
    .option('--dirty-too', 'also lose what is not on the server yet')
    .option('--yes', 'do not ask')
    .addHelpText('after', `\n${NOT_PROTECTED}`)
    .action((folder: string, options: WipeOptions) =>
      withCache(folder, options, access => wipe(access, options)),
    );
}

async function wipe({ cache, folder, signal, report }: CacheAccess, options: WipeOptions): Promise<void> {
  const { dirtyToo = false, yes = false, json = false } = options;
  const { units, bytes } = cache.statistics;
  const dirty = summarizeDirty(cache);
  requireArgument(
    dirty.batches === 0 || dirtyToo,
    `${describeDirty(dirty)}: nothing was wiped; give --dirty-too if this may be lost`,
  );
  if (!yes) {
    const lost = dirty.batches > 0 ? ` ${describeDirty(dirty)}, and will be lost.` : '';
    await confirm(
      `Destroy ${formatCount(units, 'unit')}, ${formatSize(bytes)}, in ${folder}?${lost}`,
      signal,
    );
  }
  signal.throwIfAborted();
  await cache.wipe({ dirtyToo });
  const result = {
    wiped: { units, bytes },
    lost: { batches: dirty.batches, units: dirty.units, bytes: dirty.bytes },
  };
  const left = removeFolder(folder);
  const warnOfLeft = (): void => {
    if (left.length > 0) warn(`these are not the cache's, and stay in ${folder}: ${left.join(', ')}`);
  };
  if (json) warnOfLeft();
  const tell = (): string =>
    json
      ? jsonDocument(result)
      : `wiped ${formatCount(units, 'unit')}, ${formatSize(bytes)}; the key is gone\n`;
  resultWithWarning(json, report, tell, NOT_PROTECTED);
  if (!json) warnOfLeft();
}

/**
 * Removes what a wiped cache leaves: its empty folders, its lock, the folder itself. Returns the names that
 * stay in the folder, because they are not the cache's or may not be removed.
 */
function removeFolder(folder: string): string[] {
  for (const name of ['zones', 'dirty']) ifPossible(() => rmdirSync(`${folder}/${name}`));
  ifPossible(() => rmSync(`${folder}/lock`, { force: true }));
  ifPossible(() => rmdirSync(folder));
  let left: string[] = [];
  ifPossible(() => {
    left = readdirSync(folder).sort();
  });
  return left;
}

/** Runs an action, and ignores a refusal of the system: the names that stay are reported. */
function ifPossible(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!isSystemError(error)) throw error;
  }
}
