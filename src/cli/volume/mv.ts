/** `netseal mv`: renames and moves within a volume. Only names change, however much lies below them. */
import { Command } from 'commander';
import { isNetsealError, requireArgument } from '../../base/errors.ts';
import type { Volume } from '../../volume/volume.ts';
import { jsonDocument } from '../lib/json.ts';
import { isFolder, onPaths } from './each-path.ts';
import { at, failAt } from './path-errors.ts';
import {
  childPath,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
} from './paths.ts';

interface MvOptions extends PathOptions {
  readonly clobber: boolean;
}

/** `netseal mv STORE:/path... STORE:/target` */
export function command(): Command {
  const mv = new Command('mv')
    .description('Rename and move within a volume. A file in the way is replaced.')
    .argument('<path...>', 'STORE:/path to move, one or more; then the new path, or the folder to move into')
    .option('-n, --no-clobber', 'replace nothing');
  return withPathOptions(mv).action(move);
}

function move(texts: readonly string[], options: MvOptions): Promise<void> {
  const sources = texts.map(text => parseVolumePath(text, options));
  const target = sources.pop();
  requireArgument(
    target !== undefined && sources.length > 0,
    'name what to move, and then where to: netseal mv STORE:/a STORE:/b',
  );
  return onPaths([...sources, target], { workers: 0, ...options }, async ({ volume, each, report }) => {
    const isInto = await isFolder(volume, target);
    if (sources.length > 1 && !isInto) {
      throw failAt(target, 'ENOTDIR', 'this is not a folder: several paths can only be moved into a folder');
    }
    const moved: { from: string; to: string }[] = [];
    await each(sources, async source => {
      const to = await moveOne(volume, source, target, isInto, options.clobber);
      moved.push({ from: showPath(source), to: showPath(to) });
    });
    if (options.json === true) report(jsonDocument({ moved }));
  });
}

/** Returns the new path. */
async function moveOne(
  volume: Volume,
  source: VolumePath,
  target: VolumePath,
  isInto: boolean,
  replace: boolean,
): Promise<VolumePath> {
  const from = await at(source, volume.place(pathBytes(source)));
  // Without this, the error of the rename would name the target, though the source is missing.
  const { inode } = await at(source, volume.find(pathBytes(source)));
  const path = isInto ? childPath(target, from.name) : target;
  const to = await at(path, volume.place(pathBytes(path), { forFolder: inode.type === 'directory' }));
  try {
    await volume.namespace.rename(from, to, { replace });
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    throw failAt(path, error.code, `${showPath(source)} cannot be moved here: ${error.message}`);
  }
  return path;
}
