/** `netseal cache ls`: lists the volumes, objects or units in a cache. */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import type { Cache } from '../../cache/cache.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import type { CachedObject, ListedUnit } from '../../cache/inspect/listing.ts';
import { findObject, findVolume, ID_NOTES } from './ids.ts';
import { JsonPrinter, LinePrinter, type Printer, type UnitRange } from './ls-printers.ts';
import { cookieOf } from './object-names.ts';
import { type CacheAccess, type CacheOptions, cacheCommand, withCache } from './opening.ts';

interface LsOptions extends CacheOptions {
  readonly long?: boolean;
}

const NOTES = `${ID_NOTES}

A line of a volume or an object shows the number of units, their size, whether
it is pinned (p), whether some of it is not on the server yet (d), and its id. An
object also has the name that its client gave it. Units are shown as ranges, and
with -l one by one.

Everything is sorted. For that, the lists of all zones are read once for every
131,072 objects or units; nothing else is read.`;

/** `netseal cache ls DIR [VOLUME [OBJECT]]` */
export function command(): Command {
  const lsCommand = cacheCommand(
    'ls',
    'List the volumes in a cache, the objects of a volume, or the units of an object.',
  )
    .argument('[volume]', 'list its objects')
    .argument('[object]', 'list its units')
    .option('-l, --long', 'list units one by one, with their tags')
    .addHelpText('after', NOTES);
  return lsCommand.action(
    (folder: string, volume: string | undefined, object: string | undefined, options: LsOptions) => {
      requireArgument(
        options.long !== true || object !== undefined,
        '-l is for the units of an object: name a volume and an object',
      );
      return withCache(folder, options, access => ls(access, volume, object, options));
    },
  );
}

async function ls(
  access: CacheAccess,
  volumeText: string | undefined,
  objectText: string | undefined,
  options: LsOptions,
): Promise<void> {
  const { cache, signal } = access;
  const printer = options.json === true ? new JsonPrinter(signal) : new LinePrinter(signal);
  if (volumeText === undefined) {
    for (const volume of await cache.contentsByVolume({ signal })) {
      const { volumeId, ...rest } = volume;
      await printer.add({ id: volumeId, ...rest, isPinned: isPinned(access, volumeId), cookie: undefined });
    }
    return printer.end();
  }
  const volume = findVolume(cache, volumeText);
  if (objectText !== undefined) {
    const objectId = await findObject(cache, volume, objectText, signal);
    const units = cache.units(volume.id, objectId, { signal });
    if (options.long === true) for await (const unit of units) await printer.addUnit(unit);
    else for await (const range of rangesOf(units)) await printer.addRange(range);
    return printer.end();
  }
  for await (const object of cache.objects(volume.id, { signal })) {
    await addObject(printer, cache, volume, object);
  }
  return printer.end();
}

/** Whether there is a pin of the whole volume. */
function isPinned({ cache }: CacheAccess, volumeId: Uint8Array): boolean {
  return cache.pins().some(pin => pin.objectId === undefined && Buffer.compare(pin.volumeId, volumeId) === 0);
}

async function addObject(
  printer: Printer,
  cache: Cache,
  volume: CacheVolume,
  object: CachedObject,
): Promise<void> {
  const { objectId, ...rest } = object;
  await printer.add({ id: objectId, ...rest, cookie: cookieOf(cache, { volumeId: volume.id, objectId }) });
}

async function* rangesOf(units: AsyncIterable<ListedUnit>): AsyncGenerator<UnitRange> {
  let range: UnitRange | undefined;
  for await (const { index, lengthBytes, queue, isDirty } of units) {
    if (range?.to === index && range.queue === queue && range.isDirty === isDirty) {
      range.to += 1;
      range.bytes += lengthBytes;
      continue;
    }
    if (range !== undefined) yield range;
    range = { from: index, to: index + 1, bytes: lengthBytes, queue, isDirty };
  }
  if (range !== undefined) yield range;
}
