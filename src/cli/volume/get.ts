/** `netseal get`: copies files and folders out of a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { localPath } from '../lib/local-paths.ts';
import { type CopyOptions, withCopyOptions } from './copy-options.ts';
import { copyFrame } from './copying.ts';
import { parseVolumePath, pathBytes } from './paths.ts';

interface GetOptions extends CopyOptions {
  readonly owner?: boolean;
}

/** `netseal get [-r] STORE:/path... LOCAL` */
export function command(): Command {
  const get = new Command('get')
    .description(
      'Copy files, and with -r whole folders, out of a volume. Unchanged files are skipped. Nothing is written outside the target.',
    )
    .argument(
      '<path...>',
      'STORE:/path, one or more, then a local path; one that ends in / is a folder to put them into',
    );
  return withCopyOptions(get)
    .option('--owner', 'also restore owners, and what depends on them (as root)')
    .action(copyOut);
}

async function copyOut(paths: readonly string[], options: GetOptions): Promise<void> {
  const local = localPath(paths.at(-1) ?? '', options);
  requireArgument(paths.length > 1, 'name paths as STORE:/path, then where to put them');
  const sources = paths.slice(0, -1).map(text => parseVolumePath(text, options));
  await copyFrame(
    sources,
    options,
    { label: 'getting', did: 'got' },
    {
      measure: async ({ volume, transfer }, signal) => {
        const total = { bytes: 0, files: 0 };
        for (const source of sources) {
          const { inode } = await volume.find(pathBytes(source), { follow: true });
          const { bytes, files } = await transfer.measureVolume(volume, inode, signal);
          total.bytes += bytes;
          total.files += files;
        }
        return total;
      },
      copy: async ({ volume, signal, transfer }, tally) => {
        const { recursive, owner } = options;
        await transfer.get(volume, sources.map(pathBytes), local, tally, { recursive, owner, signal });
      },
    },
  );
}
