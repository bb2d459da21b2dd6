/** `netseal cache init` and `netseal cache set`: making a cache, and changing what it may take. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { checkCacheSettings } from '../../cache/base/settings.ts';
import type { Cache } from '../../cache/cache.ts';
import { inspectVolumeHeader } from '../../keys/inspect.ts';
import type { NewSlot } from '../../keys/new-slot.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { printable } from '../lib/printable.ts';
import { startProgress } from '../lib/progress.ts';
import { readNewSlot } from '../lib/secrets.ts';
import { formatSize } from '../lib/sizes.ts';
import {
  breathe,
  type CacheOptions,
  openingError,
  tellProblems,
  withCache,
  withCacheOptions,
} from './access.ts';
import {
  type CacheSettingOptions,
  readCacheSettings,
  settingFields,
  settingLines,
  withCacheSettings,
} from './settings.ts';

interface InitOptions extends CacheOptions, CacheSettingOptions {
  readonly label?: string;
}

/** `netseal cache init DIR` */
export function cacheInitCommand(): Command {
  const command = new Command('init')
    .description('Make an empty cache, in a new folder or an empty one.')
    .option('--label <text>', "what to know the first slot by (default: its secret's type)");
  return withCacheSettings(withCacheOptions(command)).action(init);
}

/** `netseal cache set DIR` */
export function cacheSetCommand(): Command {
  const command = new Command('set').description('Change what a cache may take; give up what is too much.');
  return withCacheSettings(withCacheOptions(command)).action(set);
}

function init(folder: string, options: InitOptions): Promise<void> {
  return withInterrupt(async signal => {
    const settings = await readCacheSettings(folder, options);
    checkCacheSettings(settings);
    await requireFree(folder);
    const slot = await readNewSlot(options, signal, options.label);
    signal.throwIfAborted();
    const { openCache } = await import('../lib/modules-cache.ts');
    const cache = await openCache(
      folder,
      { ...settings, maintenanceMs: 0 },
      { key: { slots: [slot] } },
    ).catch(error => {
      throw openingError(folder, error);
    });
    try {
      process.stdout.write(await describe(folder, cache, slot, options.json === true));
    } finally {
      await cache.close();
    }
    process.stderr.write(
      'netseal: keep the secret safe: without it nobody can read what is kept here, also what no server has yet\n',
    );
  });
}

/** What is left of a cache that was wiped, or whose making was cut short. */
const LEFT_BEHIND: ReadonlySet<string> = new Set([
  'lock',
  'owner',
  'zones',
  'dirty',
  'header.new',
  'header.old',
  'memory',
]);
/** Where one of these is and no header, nobody can open what else there may be. */
const CLOSED_FOR_EVER: readonly string[] = ['header.old', 'memory'];

/** Told before a passphrase is asked for. A new cache takes an empty folder: never one that holds anything. */
async function requireFree(folder: string): Promise<void> {
  const names = await namesIn(folder);
  if (names.includes('header')) throw new NetsealError('EEXIST', `there is a cache already: ${folder}`);
  if (CLOSED_FOR_EVER.some(name => names.includes(name))) return;
  const inFolders = names.every(name => LEFT_BEHIND.has(name))
    ? [...(await namesIn(join(folder, 'zones'))), ...(await namesIn(join(folder, 'dirty')))]
    : names;
  if (inFolders.length === 0) return;
  throw new NetsealError('EEXIST', `${folder} is not empty: name an empty folder, or a new one`);
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    if (code === 'ENOTDIR') {
      throw new NetsealError('EEXIST', `${folder} is no folder: name another one`, { cause: error });
    }
    throw error;
  }
}

async function describe(folder: string, cache: Cache, slot: NewSlot, asJson: boolean): Promise<string> {
  const { slots } = inspectVolumeHeader(await readFile(join(folder, 'header')));
  const id = slots[0]?.id ?? '';
  const { type } = slot.secret;
  const cacheId = toHex(cache.id);
  if (asJson) {
    const fields = {
      cache: folder,
      cacheId,
      ...settingFields(cache.settings),
      slot: { id, type, label: slot.label },
    };
    return `${toJson(fields, 2)}\n`;
  }
  return [
    `made cache ${cacheId} in ${printable(folder)}`,
    ...settingLines(cache.settings),
    `  slot    ${id}, ${type}, "${printable(slot.label)}"`,
    '',
  ].join('\n');
}

async function set(folder: string, options: InitOptions): Promise<void> {
  const settings = await readCacheSettings(folder, options);
  requireArgument(Object.keys(settings).length > 0, 'nothing to change: see "netseal cache set --help"');
  await withCache(
    folder,
    options,
    async access => {
      const { cache, signal } = access;
      tellProblems(access);
      const beforeBytes = cache.statistics.bytes;
      await shrink(cache, signal);
      const freedBytes = Math.max(0, beforeBytes - cache.statistics.bytes);
      const fields = { cache: folder, ...settingFields(cache.settings), freedBytes };
      const lines = [...settingLines(cache.settings), `  freed   ${formatSize(freedBytes)}`, ''];
      process.stdout.write(options.json === true ? `${toJson(fields, 2)}\n` : lines.join('\n'));
    },
    settings,
  );
}

/** Gives up what is too much, step by step. */
async function shrink(cache: Cache, signal: AbortSignal): Promise<void> {
  const progress = startProgress({ label: 'giving up', noun: 'bytes' });
  try {
    const { bytes: startBytes, budgetBytes } = cache.statistics;
    for (let lastBytes = Number.POSITIVE_INFINITY; ; ) {
      const { bytes } = cache.statistics;
      // Within the budget, or what is left is dirty or pinned.
      if (bytes >= lastBytes) return;
      if (startBytes > budgetBytes) progress.update(startBytes - bytes, startBytes - budgetBytes);
      lastBytes = bytes;
      await cache.maintain();
      await breathe(signal);
    }
  } finally {
    progress.stop();
  }
}
