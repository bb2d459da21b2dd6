/**
 * `netseal cache flush`: drops the copies of an object, a volume, or everything. AFS uses the word in the
 * same sense.
 */
import type { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import type { Cache } from '../../cache/cache.ts';
import type { Discarded } from '../../cache/inspect/discard.ts';
import type { UnitTotals } from '../../cache/inspect/listing.ts';
import { jsonDocument } from '../lib/json.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { findObject, findVolume, ID_NOTES } from './ids.ts';
import { type CacheAccess, type CacheOptions, cacheCommand, withCache } from './opening.ts';

interface FlushOptions extends CacheOptions {
  readonly pinnedToo?: boolean;
}

const NOTES = `${ID_NOTES}

Nothing is lost: units are fetched again when they are asked for. Units that are
not on the server yet always stay. Pinned units stay unless --pinned-too is given;
the pins themselves always stay. Disk space is given back at once, except where
more than three quarters of a zone hold other units: that part comes back later.`;

/** `netseal cache flush DIR [VOLUME [OBJECT]]` */
export function command(): Command {
  return cacheCommand('flush', 'Drop the copies of an object, a volume, or everything.')
    .argument('[volume]', 'drop only this volume')
    .argument('[object]', 'drop only this object of the volume')
    .option('--pinned-too', 'also drop pinned units')
    .addHelpText('after', NOTES)
    .action((folder: string, volume: string | undefined, object: string | undefined, options: FlushOptions) =>
      withCache(folder, options, access => flush(access, volume, object, options)),
    );
}

async function flush(
  { cache, signal, report }: CacheAccess,
  volumeText: string | undefined,
  objectText: string | undefined,
  { json = false, pinnedToo = false }: FlushOptions,
): Promise<void> {
  const volume = volumeText === undefined ? undefined : findVolume(cache, volumeText);
  const objectId =
    volume === undefined || objectText === undefined
      ? undefined
      : await findObject(cache, volume, objectText, signal);
  const dropped = await cache.discard({
    pinnedToo,
    ...(volume === undefined ? {} : { volumeId: volume.id }),
    ...(objectId === undefined ? {} : { objectId }),
  });
  const dirty = await dirtyOf(cache, volume?.id, objectId);
  report(json ? jsonDocument(describe(dropped, dirty)) : `${reportText(dropped, dirty)}\n`);
}

/** Returns the totals of the units that stayed because they are not on the server yet. */
async function dirtyOf(
  cache: Cache,
  volumeId: Uint8Array | undefined,
  objectId: Uint8Array | undefined,
): Promise<UnitTotals> {
  const none = { units: 0, bytes: 0 };
  if (cache.statistics.dirtyUnits === 0) return none;
  const volumes = await cache.contentsByVolume();
  if (volumeId === undefined) return volumes.reduce((sum, { dirty }) => add(sum, dirty), none);
  const volume = volumes.find(found => Buffer.compare(found.volumeId, volumeId) === 0);
  if (objectId === undefined) return volume?.dirty ?? none;
  const objects = cache.objects(volumeId, { idStart: toHex(objectId), atOnce: 1 });
  for await (const { dirty } of objects) return dirty;
  return none;
}

function add(left: UnitTotals, right: UnitTotals): UnitTotals {
  return { units: left.units + right.units, bytes: left.bytes + right.bytes };
}

function reportText({ units, bytes, freedBytes, pinned }: Discarded, dirty: UnitTotals): string {
  const kept = [
    ...(pinned.units > 0 ? [`${amount(pinned)} pinned`] : []),
    ...(dirty.units > 0 ? [`${amount(dirty)} not on the server yet`] : []),
  ];
  const what = units === 0 ? 'nothing to drop' : `dropped ${amount({ units, bytes })}`;
  return [
    `${what}; ${formatSize(freedBytes)} of the disk given back`,
    ...kept.map(text => `kept: ${text}`),
  ].join('\n');
}

function amount({ units, bytes }: UnitTotals): string {
  return `${formatCount(units, 'unit')} (${formatSize(bytes)})`;
}

function describe(
  { units, bytes, freedBytes, pinned }: Discarded,
  dirty: UnitTotals,
): Record<string, unknown> {
  return { dropped: { units, bytes }, freedBytes, kept: { pinned, dirty } };
}
