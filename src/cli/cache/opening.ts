/**
 * What all commands for caches share: their options, opening and closing the cache, and the errors of opening
 * it.
 */
import { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import type { CacheSettings } from '../../cache/base/settings.ts';
import type { Cache } from '../../cache/cache.ts';
import { openCacheIn } from '../lib/cache-opening.ts';
import { type Frame, inFrame } from '../lib/frame.ts';
import { warn } from '../lib/notes.ts';
import { readSecret, type SecretOptions, withSecretOptions } from '../lib/secrets.ts';

export interface CacheOptions extends SecretOptions {
  readonly json?: boolean;
}

export interface CacheAccess extends Frame {
  readonly cache: Cache;
  /** The cache's folder, as it was typed. */
  readonly folder: string;
  /** The problems that were found while the cache was opened, the first of each kind. */
  readonly problems: readonly unknown[];
}

export interface OpeningSettings {
  /** Settings to change from now on. Default: none. */
  readonly change?: CacheSettings;
  /**
   * True for a command that reports the problems of opening itself. Default: they are written to standard
   * error.
   */
  readonly reportsProblems?: boolean;
}

/**
 * Makes a command with the folder of a cache as its first argument, and the options of {@link CacheOptions}.
 */
export function cacheCommand(name: string, description: string): Command {
  const command = new Command(name).description(description).argument('<dir>', "the cache's folder");
  return withSecretOptions(command).option('--json', 'print the result as JSON');
}

/**
 * Opens the cache for `work`, and closes it whatever happens. When the signal aborts, `work` must end by
 * itself.
 */
export function withCache(
  folder: string,
  options: CacheOptions,
  work: (access: CacheAccess) => Promise<void>,
  { change = {}, reportsProblems = false }: OpeningSettings = {},
): Promise<void> {
  return inFrame(async frame => {
    const problems: unknown[] = [];
    const cache = await openCacheIn(folder, change, {
      key: { secrets: () => readSecret(options, frame.signal) },
      onProblem: (_, error) => problems.push(error),
    });
    try {
      frame.signal.throwIfAborted();
      if (!reportsProblems) warnOfProblems(folder, problems);
      await work({ ...frame, cache, folder, problems });
    } finally {
      await cache.close();
    }
  });
}

function warnOfProblems(folder: string, problems: readonly unknown[]): void {
  for (const problem of problems) {
    warn(`there is a problem with the cache in ${folder}: ${messageOf(problem)}`);
  }
}
