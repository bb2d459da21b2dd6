/** The options that say how a cache is to be, for `netseal cache init` and `netseal cache set`. */
import { stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { type CacheSettings, type CheckedSettings, DISK_DEFAULT } from '../../cache/base/settings.ts';
import { formatCount, formatSize, parseCount, parseSize } from '../lib/sizes.ts';

export interface CacheSettingOptions {
  /** As it was written: a size, or a part of the disk. */
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
    .option('--budget <size>', 'what may be kept: 20GiB, or 10% of the disk (1GiB unless it is said)')
    .addOption(
      new Option(
        '--units-max <count>',
        'what the index has room for (default: a unit for 32 KiB of the budget)',
      ).argParser(text => parseCount(text, '--units-max', 1, UNITS_MAX)),
    )
    .addOption(
      new Option(
        '--zone-size <size>',
        'length of the files that units lie in (32MiB, or less for small budgets)',
      ).argParser(text => parseSize(text, '--zone-size')),
    )
    .addOption(
      percentOption('--run', `give up units until so much of the disk is free (${DISK_DEFAULT.runPercent}%)`),
    )
    .addOption(percentOption('--cull', `... once less than this is (${DISK_DEFAULT.cullPercent}%)`))
    .addOption(
      percentOption('--stop', `take no new room when less than this is (${DISK_DEFAULT.stopPercent}%)`),
    );
}

function percentOption(name: string, description: string): Option {
  return new Option(`${name} <percent>`, description).argParser(text => parsePercent(text, name));
}

/** `7%` or `7`. */
function parsePercent(text: string, what: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*%?$/.exec(text.trim());
  const percent = Number(match?.[1] ?? Number.NaN);
  requireArgument(percent <= 100, `${what}: cannot read "${text}"; write a part of the disk as 7%`);
  return percent;
}

/** What was given, and nothing else. EINVAL; system errors when the disk cannot be asked. */
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
  requireArgument(percent > 0, `--budget: "${text}" is nothing`);
  const { blocks, bsize } = await statfs(await existingFolder(resolve(folder)));
  return Math.floor((blocks * bsize * percent) / 100);
}

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

/** For people, indented. */
export function settingLines({ budgetBytes, zoneBytes, unitsMax, disk }: CheckedSettings): string[] {
  const limits =
    disk === false
      ? 'not looked at'
      : `below ${disk.cullPercent}% free, units are given up until ${disk.runPercent}% are; below ${disk.stopPercent}% nothing new is taken`;
  return [
    `  budget  ${formatSize(budgetBytes)}, in zones of ${formatSize(zoneBytes)}`,
    `  index   room for ${formatCount(unitsMax, 'unit')}`,
    `  disk    ${limits}`,
  ];
}

/** For programs. */
export function settingFields({
  budgetBytes,
  unitsMax,
  zoneBytes,
  disk,
}: CheckedSettings): Record<string, unknown> {
  return { budgetBytes, unitsMax, zoneBytes, disk };
}
