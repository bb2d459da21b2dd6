/** `netseal cache`: caches of sealed units, from outside. */
import { Command } from 'commander';
import { cacheFlushCommand } from './cache-flush.ts';
import { cacheInitCommand, cacheSetCommand } from './cache-init.ts';
import { cacheKeyCommand } from './cache-key.ts';
import { cacheLsCommand } from './cache-ls.ts';
import { cachePinCommand, cacheUnpinCommand } from './cache-pin.ts';
import { cacheStatsCommand } from './cache-stats.ts';
import { cacheVerifyCommand } from './cache-verify.ts';
import { cacheWipeCommand } from './cache-wipe.ts';

/** `netseal cache init|set|stats|ls|verify|flush|pin|unpin|key|wipe DIR` */
export function cacheCommand(): Command {
  return new Command('cache')
    .description('Make and look after a local cache, sealed at rest.')
    .addCommand(cacheInitCommand())
    .addCommand(cacheSetCommand())
    .addCommand(cacheStatsCommand())
    .addCommand(cacheLsCommand())
    .addCommand(cacheVerifyCommand())
    .addCommand(cacheFlushCommand())
    .addCommand(cachePinCommand())
    .addCommand(cacheUnpinCommand())
    .addCommand(cacheKeyCommand())
    .addCommand(cacheWipeCommand());
}
