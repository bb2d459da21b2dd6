/** What all commands for caches share: their options, opening and closing, and how what goes wrong there is told. */
import type { Command } from 'commander';
import { type ErrorCode, isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import type { CacheSettings } from '../../cache/base/settings.ts';
import type { Cache } from '../../cache/cache.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { printable } from '../lib/printable.ts';
import { readSecret, type SecretOptions, withSecretOptions } from '../lib/secrets.ts';

export interface CacheOptions extends SecretOptions {
  readonly json?: boolean;
}

export interface CacheAccess {
  readonly cache: Cache;
  /** As it was written on the command line. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** What was found wrong while it was opened, the first of each kind. */
  readonly problems: readonly unknown[];
}

/** Adds the argument and the options of a command that opens a cache. */
export function withCacheOptions(command: Command): Command {
  return withSecretOptions(command.argument('<dir>', "the cache's folder")).option(
    '--json',
    'print the result as JSON',
  );
}

/**
 * Opens the cache for `work`, and closes it, whatever happens. When the signal aborts, it is for `work` to end.
 *
 * @param settings what is to hold from now on.
 */
export function withCache(
  folder: string,
  options: CacheOptions,
  work: (access: CacheAccess) => Promise<void>,
  settings: CacheSettings = {},
): Promise<void> {
  return withInterrupt(async signal => {
    const problems: unknown[] = [];
    const cache = await openFor(folder, options, signal, settings, problems);
    try {
      signal.throwIfAborted();
      await work({ cache, folder, signal, problems });
    } finally {
      await cache.close();
    }
  });
}

/** For commands that have no better place for it. */
export function tellProblems({ problems }: CacheAccess): void {
  for (const problem of problems) {
    process.stderr.write(`netseal: something is wrong with the cache: ${printable(messageOf(problem))}\n`);
  }
}

async function openFor(
  folder: string,
  options: CacheOptions,
  signal: AbortSignal,
  settings: CacheSettings,
  problems: unknown[],
): Promise<Cache> {
  const { openCache } = await import('../lib/modules-cache.ts');
  try {
    return await openCache(
      folder,
      // There is nothing to do in the background of a command.
      { ...settings, maintenanceMs: 0 },
      {
        key: { secrets: () => readSecret(options, signal) },
        onProblem: (_, error) => problems.push(error),
      },
    );
  } catch (error) {
    throw openingError(folder, error);
  }
}

/** What to do about it, where opening itself can say only what is wrong. */
const ADVICE: Partial<Record<ErrorCode, (folder: string, message: string) => string>> = {
  ENOENT: folder => `there is no cache in ${folder}; make one with "netseal cache init"`,
  EKEY: (folder, message) => `the cache in ${folder}: ${message}`,
  EUNSUPPORTED: (folder, message) => `the cache in ${folder}: ${message}`,
};
const DAMAGED: ReadonlySet<ErrorCode> = new Set(['EFORMAT', 'ETRUNCATED', 'EAUTH']);

export function openingError(folder: string, error: unknown): unknown {
  if (!isNetsealError(error)) return error;
  const { code, message } = error;
  const text = DAMAGED.has(code)
    ? `the header of the cache in ${folder} is damaged, and without it nothing in there can be opened: ${message}; put back a copy of its file "header", or remove the folder and make a new cache`
    : ADVICE[code]?.(folder, message);
  return text === undefined ? error : new NetsealError(code, text, { cause: error });
}

/** Lets signals be noticed in a long loop. */
export async function breathe(signal: AbortSignal): Promise<void> {
  await giveTurn();
  signal.throwIfAborted();
}
