/** `netseal cache wipe`: destroys a cache's key, then removes everything in it. */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { confirm } from '../lib/confirm.ts';
import { jsonDocument } from '../lib/json.ts';
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
  report(
    json
      ? jsonDocument(result)
      : `wiped ${formatCount(units, 'unit')}, ${formatSize(bytes)}; the key is gone\n`,
  );
  process.stderr.write(`netseal: ${NOT_PROTECTED}\n`);
}
