/** `netseal cache unpin`: lets go of what was pinned. */
import type { Command } from 'commander';
import { NetsealError } from '../../base/errors.ts';
import { ID_NOTES } from './ids.ts';
import { type CacheAccess, cacheCommand, withCache } from './opening.ts';
import {
  checkTarget,
  findTarget,
  showTarget,
  type Target,
  type TargetOptions,
  targetReport,
  withTarget,
} from './pin-target.ts';

/** `netseal cache unpin DIR VOLUME [OBJECT]` */
export function command(): Command {
  const unpinCommand = cacheCommand(
    'unpin',
    'Let go of what was pinned. It stays in the cache until its room is needed.',
  );
  return withTarget(unpinCommand, '<volume>')
    .addHelpText('after', ID_NOTES)
    .action((folder: string, volume: string, object: string | undefined, options: TargetOptions) => {
      checkTarget(volume, object, options);
      return withCache(folder, options, async access => {
        await unpin(access, await findTarget(access, volume, object, options, false), options);
      });
    });
}

async function unpin(
  { report }: CacheAccess,
  target: Target,
  { json = false }: TargetOptions,
): Promise<void> {
  const { volume, objectId, prefix } = target;
  const wasPinned = prefix === undefined ? volume.unpin(objectId) : await volume.unpinPrefix(prefix);
  if (!wasPinned) {
    throw new NetsealError('ENOENT', `there is no pin of ${showTarget(target)}; see "netseal cache pin"`);
  }
  report(targetReport('unpinned', target, json));
}
