/** `netseal get`: copies files and folders out of a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { localPath } from '../lib/local-paths.ts';
import { type CopyOptions, copyFrame, withCopyOptions } from './copying.ts';
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
  await copyFrame(sources, options, { label: 'getting', did: 'got' }, async frame => {
    const { volume, signal, transfer, tally } = frame;
    for (const source of frame.showsProgress ? sources : []) {
      const { inode } = await volume.find(pathBytes(source), { follow: true });
      frame.expect(await transfer.measureVolume(volume, inode, signal));
    }
    const { recursive, owner } = options;
    await transfer.get(volume, sources.map(pathBytes), local, tally, { recursive, owner, signal });
  });
}
