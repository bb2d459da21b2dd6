/**
 * `netseal cache`: the group of commands for caches. A new one is one file, which exports `command()`, and
 * one line here.
 */
import { Command } from 'commander';
import { addCommands, type CommandTable, type Wanted } from '../lib/command-table.ts';

/** In the order in which `netseal cache help` lists them. */
export const CACHE_COMMANDS: CommandTable = {
  init: ['make an empty cache', () => import('./init.ts')],
  set: ['change the limits of a cache', () => import('./set.ts')],
  stats: ['show what is in a cache, and whether everything is on the server', () => import('./stats.ts')],
  ls: ['list the volumes, objects or units in a cache', () => import('./ls.ts')],
  verify: ['look for damage in a cache', () => import('./verify.ts')],
  flush: ['drop the copies of an object, a volume, or everything', () => import('./flush.ts')],
  pin: ['keep an object, a volume, or a group of objects in the cache', () => import('./pin.ts')],
  unpin: ['let go of what was pinned', () => import('./unpin.ts')],
  key: ['list, add, remove and change the secrets that open a cache', () => import('./key.ts')],
  wipe: ["destroy a cache's key and everything in it", () => import('./wipe.ts')],
};

/** `netseal cache init|set|stats|ls|verify|flush|pin|unpin|key|wipe DIR` */
export function command(wanted: Wanted): Promise<Command> {
  const group = new Command('cache').description('Make and look after a local cache, sealed at rest.');
  return addCommands(group, CACHE_COMMANDS, wanted);
}
