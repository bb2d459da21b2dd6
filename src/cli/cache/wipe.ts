/** `netseal cache wipe`: destroys a cache's key, and then all that is there. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { confirm } from '../lib/confirm.ts';
import { toJson } from '../lib/display.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { type CacheAccess, type CacheOptions, withCache, withCacheOptions } from './access.ts';
import { describeDirty, summarizeDirty } from './ledger.ts';

interface WipeOptions extends CacheOptions {
  readonly dirtyToo?: boolean;
  readonly yes?: boolean;
}

const NOT_PROTECTED =
  'This protects from nobody who has a copy of the header (a backup, a snapshot, old blocks of a flash disk) and a secret that opened it.';

/** `netseal cache wipe DIR` */
export function cacheWipeCommand(): Command {
  const command = new Command('wipe')
    .description("Destroy a cache's key, and remove all that is in it.")
    .option('--dirty-too', 'also what is not on the server yet: it is lost then')
    .option('--yes', 'do not ask')
    .addHelpText('after', `\n${NOT_PROTECTED}`);
  return withCacheOptions(command).action((folder: string, options: WipeOptions) =>
    withCache(folder, options, access => wipe(access, options)),
  );
}

async function wipe({ cache, folder, signal }: CacheAccess, options: WipeOptions): Promise<void> {
  const { dirtyToo = false, yes = false, json = false } = options;
  const { units, bytes } = cache.statistics;
  const dirty = summarizeDirty(cache);
  requireArgument(
    dirty.batches === 0 || dirtyToo,
    `${describeDirty(dirty)}: nothing was wiped; give --dirty-too if it may be lost`,
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
  process.stdout.write(
    json
      ? `${toJson(result, 2)}\n`
      : `wiped ${formatCount(units, 'unit')}, ${formatSize(bytes)}; the key is gone\n`,
  );
  process.stderr.write(`netseal: ${NOT_PROTECTED}\n`);
}
