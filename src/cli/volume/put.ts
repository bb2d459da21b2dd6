/** `netseal put`: copies local files and folders into a volume. */
import { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { localPath } from '../lib/local-paths.ts';
import { type CopyOptions, copyFrame, withCopyOptions } from './copying.ts';
import { parseVolumePath, pathBytes } from './paths.ts';

/** `netseal put [-r] LOCAL... STORE:/path` */
export function command(): Command {
  const put = new Command('put')
    .description(
      'Copy files, and with -r whole folders, into a volume. Unchanged files are skipped, so repeating the command continues after an interruption.',
    )
    .argument(
      '<path...>',
      'local files and folders, then STORE:/path; a path that ends in / is a folder to put them into',
    );
  return withCopyOptions(put).action(copyIn);
}

async function copyIn(paths: readonly string[], options: CopyOptions): Promise<void> {
  const sources = paths.slice(0, -1).map(path => localPath(path, options));
  requireArgument(sources.length > 0, 'name local files or folders, then where to put them, as STORE:/path');
  const target = parseVolumePath(paths.at(-1) ?? '', options);
  await copyFrame([target], options, { label: 'putting', did: 'put' }, async frame => {
    const { volume, state, signal, transfer, tally } = frame;
    if (frame.showsProgress) frame.expect(await transfer.measureLocal(sources, signal));
    const { recursive } = options;
    await transfer.put(volume, sources, pathBytes(target), tally, { recursive, state, signal });
    await volume.sync();
  });
}
