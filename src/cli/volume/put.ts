/** `netseal put`: copies local files and folders, or standard input, into a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { claimStandardInput } from '../lib/inputs.ts';
import { localPath } from '../lib/local-paths.ts';
import {
  type CopyOptions,
  filterOf,
  type SelectOptions,
  withCopyOptions,
  withSelectOptions,
} from './copy-options.ts';
import { copyFrame } from './copying.ts';
import { at } from './path-errors.ts';
import { parseVolumePath, pathBytes, showPath, type VolumePath } from './paths.ts';
import { askToRemove, requireRemovable } from './removing.ts';

interface PutOptions extends CopyOptions, SelectOptions {
  readonly ignoreCtime?: boolean;
  readonly devices?: boolean;
  readonly atime?: boolean;
}

const WORDS = { label: 'putting', did: 'put' } as const;

/** `netseal put [-r] LOCAL... STORE:/path` */
export function command(): Command {
  const put = new Command('put')
    .description(
      'Copy files, and with -r whole folders, into a volume. Unchanged files are skipped, so repeating the command continues after an interruption.',
    )
    .argument(
      '<path...>',
      'local files and folders, or - for standard input, then STORE:/path; a path that ends in / is a folder to put them into',
    );
  return withSelectOptions(withCopyOptions(put))
    .option('--ignore-ctime', 'judge by size and modification time alone whether a file is unchanged')
    .option('--devices', 'copy devices, too')
    .option('--atime', 'keep access times, too')
    .action(copyIn);
}

async function copyIn(paths: readonly string[], options: PutOptions): Promise<void> {
  const sources = paths.slice(0, -1);
  requireArgument(sources.length > 0, 'name local files or folders, then where to put them, as STORE:/path');
  const target = parseVolumePath(paths.at(-1) ?? '', options);
  if (sources.includes('-')) await copyStandardInput(sources, target, options);
  else await copyPaths(sources, target, options);
}

async function copyPaths(given: readonly string[], target: VolumePath, options: PutOptions): Promise<void> {
  const sources = given.map(path => localPath(path, options));
  const { recursive, checksum, ignoreCtime, dryRun, devices, atime } = options;
  requireArgument(
    checksum !== true || ignoreCtime !== true,
    '--checksum compares whatever the times are: leave out --ignore-ctime',
  );
  requireRemovable(options);
  const filter = await filterOf(options);
  await copyFrame([target], options, WORDS, {
    measure: ({ volume, transfer }, signal) =>
      transfer.measureLocal(sources, {
        signal,
        filter,
        own: new transfer.OwnStorage(volume.ownFolders),
      }),
    copy: async (frame, tally) => {
      const { volume, state, signal, transfer } = frame;
      const { storeText } = target;
      const mayRemove = askToRemove(options, frame, path => showPath({ storeText, path }));
      const putOptions = {
        recursive,
        checksum,
        ignoreCtime,
        dryRun,
        devices,
        atime,
        filter,
        state,
        signal,
        mayRemove,
      };
      await transfer.put(volume, sources, pathBytes(target), tally, putOptions);
      await volume.sync();
    },
  });
}

async function copyStandardInput(
  sources: readonly string[],
  target: VolumePath,
  options: PutOptions,
): Promise<void> {
  requireArgument(
    sources.length === 1,
    '- is standard input, and can only be the one source: write ./- for a file of that name',
  );
  requireArgument(
    options.dryRun !== true && options.delete !== true,
    '- takes neither --dry-run nor --delete',
  );
  claimStandardInput('the data');
  await copyFrame([target], options, WORDS, {
    measure: async () => ({ bytes: 0, files: 0 }),
    copy: async ({ volume, signal, transfer }, tally) => {
      try {
        await at(target, transfer.putStream(volume, process.stdin, pathBytes(target), tally, { signal }));
      } finally {
        // An input that stays open would keep the process alive after Ctrl-C.
        process.stdin.destroy();
      }
      await volume.sync();
    },
  });
}
