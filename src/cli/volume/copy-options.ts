/** The options of `netseal put` and `netseal get`. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { atPath } from '../../system/errors.ts';
import type { CopyFilter } from '../../transfer/filter.ts';
import { loadTransfer } from '../lib/lazy.ts';
import { parseRate } from '../lib/sizes.ts';
import { valueOption } from '../lib/value-options.ts';
import { type PathOptions, withPathOptions } from './paths.ts';

export interface CopyOptions extends PathOptions {
  readonly recursive?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  /** Bytes a second. */
  readonly bwlimit?: number;
}

export interface SelectOptions {
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly excludeFrom?: readonly string[];
  readonly checksum?: boolean;
  readonly dryRun?: boolean;
  readonly delete?: boolean;
  readonly yes?: boolean;
}

/** Adds the options of {@link CopyOptions}. */
export function withCopyOptions(command: Command): Command {
  command
    .option('-r, --recursive', 'copy folders with everything in them')
    .option('-v, --verbose', 'print each path that is copied, changed or removed')
    .option('-q, --quiet', 'print nothing but failures')
    .addOption(
      valueOption('--bwlimit <rate>', 'keep to a rate, on average: 10MB/s, 80Mbit/s, 512KiB/s', parseRate),
    );
  return withPathOptions(command);
}

/** Adds the options of {@link SelectOptions}. */
export function withSelectOptions(command: Command): Command {
  return command
    .option('-n, --dry-run', 'change nothing, and print what would be done')
    .option('--include <pattern>', "copy only what matches, in gitignore's syntax; may be repeated", collect)
    .option('--exclude <pattern>', "leave out what matches, in gitignore's syntax; may be repeated", collect)
    .option('--exclude-from <file>', 'leave out what the patterns in this file match, one a line', collect)
    .option('--checksum', 'compare the content of files of the same size, whatever their times say')
    .option('--delete', 'remove from the target what the source lacks; asks before it does')
    .option('--yes', 'remove without asking');
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Returns the filter that the options describe. EINVAL for an empty pattern; system errors. */
export async function filterOf({ include, exclude, excludeFrom = [] }: SelectOptions): Promise<CopyFilter> {
  const { CopyFilter } = await loadTransfer();
  const texts = await Promise.all(excludeFrom.map(path => atPath(path, readFile(path))));
  return new CopyFilter({ include, exclude, excludeFrom: texts });
}
