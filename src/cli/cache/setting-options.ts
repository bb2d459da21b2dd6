/** The options for the limits of a cache, for `netseal cache init` and `netseal cache set`. */
import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command, Option } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { type CacheSettings, type CheckedSettings, DISK_DEFAULT } from '../../cache/base/settings.ts';
import { formatCount, formatSize, parseSize } from '../lib/sizes.ts';
import { countOption, sizeOption, valueOption } from '../lib/value-options.ts';

export interface CacheSettingOptions {
  /** A size, or a percentage of the disk, as it was typed. */
  readonly budget?: string;
  readonly unitsMax?: number;
  readonly zoneSize?: number;
  readonly run?: number;
  readonly cull?: number;
  readonly stop?: number;
}

const UNITS_MAX = 100_000_000;

export function withCacheSettings(command: Command): Command {
  return command
    .option(
      '--budget <size>',
      'how much the cache may keep: a size, or a part of the disk such as 10% (default: 1GiB)',
    )
    .addOption(
      countOption(
        '--units-max <count>',
        'how many units the index has room for (default: one per 32 KiB of the budget)',
        1,
        UNITS_MAX,
      ),
    )
    .addOption(
      sizeOption(
        '--zone-size <size>',
        'length of the files that units lie in (default: 32MiB, or less for small budgets)',
      ),
    )
    .addOption(
      percentOption(
        '--run',
        `drop units until this much of the disk is free (default: ${DISK_DEFAULT.runPercent}%)`,
      ),
    )
    .addOption(
      percentOption(
        '--cull',
        `begin to drop units when less than this is free (default: ${DISK_DEFAULT.cullPercent}%)`,
      ),
    )
    .addOption(
      percentOption(
        '--stop',
        `take no more room while less than this is free (default: ${DISK_DEFAULT.stopPercent}%)`,
      ),
    );
}

function percentOption(name: string, description: string): Option {
  return valueOption(`${name} <percent>`, description, parsePercent);
}

/** Reads `7%` or `7`. EINVAL above 100, or for anything else. */
function parsePercent(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*%?$/.exec(text.trim());
  const percent = Number(match?.[1] ?? Number.NaN);
  requireArgument(percent <= 100, `${option}: cannot read "${text}"; write a part of the disk as 7%`);
  return percent;
}

/**
 * Returns the settings that were given, and no others. EINVAL; system errors when the size of the disk cannot
 * be read.
 */
export async function readCacheSettings(
  folder: string,
  options: CacheSettingOptions,
): Promise<CacheSettings> {
  const { budget, unitsMax, zoneSize, run, cull, stop } = options;
  const disk = {
    ...(run === undefined ? {} : { runPercent: run }),
    ...(cull === undefined ? {} : { cullPercent: cull }),
    ...(stop === undefined ? {} : { stopPercent: stop }),
  };
  return {
    ...(budget === undefined ? {} : { budgetBytes: await parseBudget(folder, budget) }),
    ...(unitsMax === undefined ? {} : { unitsMax }),
    ...(zoneSize === undefined ? {} : { zoneBytes: zoneSize }),
    ...(Object.keys(disk).length === 0 ? {} : { disk }),
  };
}

async function parseBudget(folder: string, text: string): Promise<number> {
  if (!text.includes('%')) return parseSize(text, '--budget');
  const percent = parsePercent(text, '--budget');
  requireArgument(percent > 0, `--budget: "${text}" leaves no room: give more than 0%`);
  const { blocks, bsize } = await statfs(await existingFolder(resolve(folder)));
  return Math.floor((blocks * bsize * percent) / 100);
}

/** Returns the path, or the nearest folder above it that exists. */
async function existingFolder(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (error) {
    const above = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === path) throw error;
    return existingFolder(above);
  }
}

/** Returns the settings as indented lines. */
export function settingLines({ budgetBytes, zoneBytes, unitsMax, disk }: CheckedSettings): string[] {
  const limits =
    disk === false
      ? 'not watched'
      : `below ${disk.cullPercent}% free, units are dropped until ${disk.runPercent}% are free; below ${disk.stopPercent}% the cache does not grow`;
  return [
    `  budget  ${formatSize(budgetBytes)}, in zones of ${formatSize(zoneBytes)}`,
    `  index   room for ${formatCount(unitsMax, 'unit')}`,
    `  disk    ${limits}`,
  ];
}

/** Returns the settings as fields for JSON. */
export function settingFields({
  budgetBytes,
  unitsMax,
  zoneBytes,
  disk,
}: CheckedSettings): Record<string, unknown> {
  return { budgetBytes, unitsMax, zoneBytes, disk };
}
