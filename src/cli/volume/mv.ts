/** `netseal mv`: other names, other folders. Within one volume only names change, however much lies below them. */
import { Command } from 'commander';
import { isNetsealError, requireArgument } from '../../base/errors.ts';
import type { Volume } from '../../volume/volume.ts';
import { toJson } from '../lib/display.ts';
import { withInterrupt } from '../lib/interrupt.ts';
import { Failures } from './failures.ts';
import {
  at,
  childPath,
  failAt,
  isFolder,
  type PathOptions,
  parseVolumePath,
  pathBytes,
  showPath,
  type VolumePath,
  withPathOptions,
  withVolumePaths,
} from './paths.ts';

interface MvOptions extends PathOptions {
  readonly clobber: boolean;
}

/** `netseal mv STORE:/path... STORE:/target` */
export function mvCommand(): Command {
  const command = new Command('mv')
    .description('Rename and move within a volume. A file that is in the way is replaced.')
    .argument('<path...>', 'STORE:/path of what to move, and last the new path or the folder to move into')
    .option('-n, --no-clobber', 'replace nothing');
  return withPathOptions(command).action(mv);
}

function mv(texts: readonly string[], options: MvOptions): Promise<void> {
  const sources = texts.map(text => parseVolumePath(text, options));
  const target = sources.pop();
  requireArgument(
    target !== undefined && sources.length > 0,
    'name what to move, and then where to: netseal mv STORE:/a STORE:/b',
  );
  return withInterrupt(signal =>
    withVolumePaths([...sources, target], { workers: 0, ...options }, signal, async ({ volume }) => {
      const isInto = await isFolder(volume, target);
      if (sources.length > 1 && !isInto) {
        throw failAt(target, 'ENOTDIR', 'several can only be moved into a folder, and this is none');
      }
      const failures = new Failures();
      const moved: { from: string; to: string }[] = [];
      for (const source of sources) {
        signal.throwIfAborted();
        try {
          const to = await moveOne(volume, source, target, isInto, options.clobber);
          moved.push({ from: showPath(source), to: showPath(to) });
        } catch (error) {
          failures.add(source, error);
        }
      }
      if (options.json === true) process.stdout.write(`${toJson({ moved }, 2)}\n`);
      failures.report();
    }),
  );
}

async function moveOne(
  volume: Volume,
  source: VolumePath,
  target: VolumePath,
  isInto: boolean,
  replace: boolean,
): Promise<VolumePath> {
  const from = await at(source, volume.place(pathBytes(source)));
  // Of the two paths, it is this one that leads nowhere.
  await at(source, volume.find(pathBytes(source)));
  const path = isInto ? childPath(target, from.name) : target;
  const to = await at(path, volume.place(pathBytes(path)));
  try {
    await volume.names.rename(from, to, { replace });
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    throw failAt(path, error.code, `${showPath(source)} cannot become this: ${error.message}`);
  }
  return path;
}
