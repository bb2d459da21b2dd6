/** `netseal get`: copies files and folders out of a volume, or files to standard output. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { showName } from '../../transfer/local-names.ts';
import { localPath } from '../lib/local-paths.ts';
import {
  type CopyOptions,
  filterOf,
  type SelectOptions,
  withCopyOptions,
  withSelectOptions,
} from './copy-options.ts';
import { copyFrame } from './copying.ts';
import { onPaths } from './each-path.ts';
import { withCacheOption } from './options.ts';
import { parseVolumePath, pathBytes, type VolumePath } from './paths.ts';
import { askToRemove, requireRemovable } from './removing.ts';
import { writeFiles } from './write-files.ts';

interface GetOptions extends CopyOptions, SelectOptions {
  readonly owner?: boolean;
  readonly devices?: boolean;
}

/** `netseal get [-r] STORE:/path... LOCAL` */
export function command(): Command {
  const get = new Command('get')
    .description(
      'Copy files, and with -r whole folders, out of a volume. Unchanged files are skipped. Nothing is written outside the target.',
    )
    .argument(
      '<path...>',
      'STORE:/path, one or more, then a local path, or - for standard output; one that ends in / is a folder to put them into',
    );
  return withCacheOption(withSelectOptions(withCopyOptions(get)))
    .option('--owner', 'also restore owners, and what depends on them (as root)')
    .option('--devices', 'make devices, too (as root)')
    .action(copyOut);
}

async function copyOut(paths: readonly string[], options: GetOptions): Promise<void> {
  const target = paths.at(-1) ?? '';
  requireArgument(paths.length > 1, 'name paths as STORE:/path, then where to put them');
  const sources = paths.slice(0, -1).map(text => parseVolumePath(text, options));
  if (target === '-') await copyToStandardOutput(sources, options);
  else await copyPaths(sources, localPath(target, options), options);
}

async function copyPaths(
  sources: readonly VolumePath[],
  local: string | Buffer,
  options: GetOptions,
): Promise<void> {
  const { recursive, owner, devices, checksum, dryRun } = options;
  requireRemovable(options);
  const filter = await filterOf(options);
  const words = { label: 'getting', did: 'got' };
  await copyFrame(sources, options, words, {
    measure: async ({ volume, transfer }, signal) => {
      const total = { bytes: 0, files: 0 };
      for (const source of sources) {
        const found = await volume.find(pathBytes(source), { follow: true });
        const { bytes, files } = await transfer.measureVolume(volume, found, { signal, filter });
        total.bytes += bytes;
        total.files += files;
      }
      return total;
    },
    copy: async (frame, tally) => {
      const { volume, state, signal, transfer } = frame;
      const mayRemove = askToRemove(options, frame, showName);
      const getOptions = { recursive, owner, devices, checksum, dryRun, filter, state, signal, mayRemove };
      await transfer.get(volume, sources.map(pathBytes), local, tally, getOptions);
    },
  });
}

/** Writes files one after the other, as `cat` does. */
function copyToStandardOutput(sources: readonly VolumePath[], options: GetOptions): Promise<void> {
  const { json, dryRun, recursive } = options;
  requireArgument(
    json !== true && dryRun !== true && recursive !== true && options.delete !== true,
    '- is standard output, and takes none of -r, --json, --dry-run and --delete: write ./- for a file of that name',
  );
  return onPaths(sources, { workers: 0, ...options }, frame => writeFiles(sources, options, frame));
}
