/** `netseal cache`: caches of sealed units, from outside. */
import { Command } from 'commander';
import { cacheFlushCommand } from './flush.ts';
import { cacheInitCommand, cacheSetCommand } from './init.ts';
import { cacheKeyCommand } from './key.ts';
import { cacheLsCommand } from './ls.ts';
import { cachePinCommand, cacheUnpinCommand } from './pin.ts';
import { cacheStatsCommand } from './stats.ts';
import { cacheVerifyCommand } from './verify.ts';
import { cacheWipeCommand } from './wipe.ts';

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
