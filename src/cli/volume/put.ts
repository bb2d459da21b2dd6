/** `netseal put`: copies local files and folders, or standard input, into a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import type { Extra } from '../../transfer/put-options.ts';
import { canConfirm, confirm } from '../lib/confirm.ts';
import { claimStandardInput } from '../lib/inputs.ts';
import { localPath } from '../lib/local-paths.ts';
import { formatCount } from '../lib/sizes.ts';
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

type PutOptions = CopyOptions & SelectOptions;

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
  return withSelectOptions(withCopyOptions(put)).action(copyIn);
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
  const { recursive, checksum, dryRun } = options;
  requireArgument(options.delete !== true || recursive === true, '--delete works on folders: add -r');
  const mustAsk = options.delete === true && options.yes !== true && dryRun !== true;
  requireArgument(!mustAsk || canConfirm(), 'there is no terminal to ask on: give --yes to remove without');
  const filter = await filterOf(options);
  await copyFrame([target], options, WORDS, {
    measure: ({ volume, transfer }, signal) =>
      transfer.measureLocal(sources, {
        signal,
        filter,
        own: new transfer.OwnStorage(volume.ownFolders),
      }),
    copy: async ({ volume, state, signal, transfer }, tally) => {
      const mayRemove = options.delete === true ? askToRemove(target, options, signal) : undefined;
      const putOptions = { recursive, checksum, dryRun, filter, state, signal, mayRemove };
      await transfer.put(volume, sources, pathBytes(target), tally, putOptions);
      await volume.sync();
    },
  });
}

/** Returns how to ask before something is removed. */
function askToRemove({ storeText }: VolumePath, { yes = false }: PutOptions, signal: AbortSignal) {
  return async (extras: readonly Extra[]): Promise<boolean> => {
    if (yes) return true;
    for (const { path, isFolder } of extras.slice(0, SHOWN_MAX)) {
      process.stderr.write(`${showPath({ storeText, path })}${isFolder ? '/' : ''}\n`);
    }
    const more = extras.length - SHOWN_MAX;
    if (more > 0) process.stderr.write(`and ${more.toLocaleString('en-US')} more\n`);
    await confirm(`Remove ${formatCount(extras.length, 'path')}, which the source lacks?`, signal);
    return true;
  };
}

const SHOWN_MAX = 20;

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
