/** `netseal cache pin`: keeps units in the cache, and lists what is pinned. */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import { countOption } from '../lib/value-options.ts';
import { ID_NOTES } from './ids.ts';
import { type CacheAccess, cacheCommand, withCache } from './opening.ts';
import { listPins } from './pin-list.ts';
import {
  checkTarget,
  findTarget,
  type Target,
  type TargetOptions,
  targetReport,
  withTarget,
} from './pin-target.ts';

interface PinOptions extends TargetOptions {
  readonly units?: number;
}

const NOTES = `${ID_NOTES}

With --prefix, all objects are pinned whose names begin with the text, now or
later. "netseal cache ls" shows the name of an object after its id.

Without VOLUME, the pins are listed, with the units that are missing. These are
known only for objects whose number of units is known. Holes count as missing.`;

/** `netseal cache pin DIR [VOLUME [OBJECT]]` */
export function command(): Command {
  const pinCommand = cacheCommand('pin', 'Keep an object, a volume, or all objects whose names begin alike.');
  return withTarget(pinCommand, '[volume]')
    .addOption(
      countOption(
        '--units <count>',
        'number of units of the object, so that missing ones can be listed',
        0,
        Number.MAX_SAFE_INTEGER,
      ),
    )
    .addHelpText('after', NOTES)
    .action((folder: string, volume: string | undefined, object: string | undefined, options: PinOptions) => {
      checkTarget(volume, object, options);
      requireArgument(
        options.units === undefined || object !== undefined,
        '--units is for an object: name a volume and an object',
      );
      return withCache(folder, options, async access => {
        if (volume === undefined) await listPins(access, options.json === true);
        else await pin(access, await findTarget(access, volume, object, options, true), options);
      });
    });
}

async function pin(
  { cache, report }: CacheAccess,
  target: Target,
  { units, json = false }: PinOptions,
): Promise<void> {
  const { volume, objectId, prefix } = target;
  if (prefix !== undefined) await volume.pinPrefix(prefix);
  else volume.pin(objectId, units === undefined ? {} : { unitCount: units });
  await cache.flush();
  report(targetReport('pinned', target, json, units));
}
