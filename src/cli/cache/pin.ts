/** `netseal cache pin` and `netseal cache unpin`: what is kept whatever else comes, and what of it is not there. */
import { Command, Option } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import { showName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import { nameFields, toJson } from '../lib/display.ts';
import { formatCount, parseCount } from '../lib/sizes.ts';
import { unescapeName } from '../volume/paths.ts';
import { type CacheAccess, type CacheOptions, tellProblems, withCache, withCacheOptions } from './access.ts';
import { findObject, findVolume, ID_NOTES } from './ids.ts';
import { listPins } from './pins.ts';

interface UnpinOptions extends CacheOptions {
  readonly prefix?: string;
  readonly escaped?: boolean;
}

interface PinOptions extends UnpinOptions {
  readonly units?: number;
}

const PIN_NOTES = `${ID_NOTES}

With --prefix, all objects are pinned whose names (those that "netseal cache ls"
shows behind their ids) begin with the text, now or later.

Without VOLUME, what is pinned is listed with what of it is not there, as far as
somebody has said how many units an object has. Units that are holes count as not
there.`;

/** `netseal cache pin DIR [VOLUME [OBJECT]]` */
export function cachePinCommand(): Command {
  const command = new Command('pin').description(
    'Keep an object, a volume, or all objects whose names begin alike.',
  );
  return withTargets(withCacheOptions(command), '[volume]')
    .addOption(
      new Option(
        '--units <count>',
        'how many units the object has, to know later which are not there',
      ).argParser(text => parseCount(text, '--units', 0, Number.MAX_SAFE_INTEGER)),
    )
    .addHelpText('after', PIN_NOTES)
    .action((folder: string, volume: string | undefined, object: string | undefined, options: PinOptions) => {
      checkTargets(volume, object, options);
      requireArgument(
        options.units === undefined || object !== undefined,
        '--units is for an object: name one',
      );
      return withCache(folder, options, async access => {
        tellProblems(access);
        if (volume === undefined) await listPins(access, options.json === true);
        else await pin(access, await findTarget(access, volume, object, options, true), options);
      });
    });
}

/** `netseal cache unpin DIR VOLUME [OBJECT]` */
export function cacheUnpinCommand(): Command {
  const command = new Command('unpin').description(
    'Let go of what was pinned: it stays until others need the room.',
  );
  return withTargets(withCacheOptions(command), '<volume>')
    .addHelpText('after', ID_NOTES)
    .action((folder: string, volume: string, object: string | undefined, options: UnpinOptions) => {
      checkTargets(volume, object, options);
      return withCache(folder, options, async access => {
        tellProblems(access);
        await unpin(await findTarget(access, volume, object, options, false), options);
      });
    });
}

function withTargets(command: Command, volume: string): Command {
  return command
    .argument(volume, 'the volume')
    .argument('[object]', 'an object of it')
    .option('--prefix <text>', 'all objects whose names begin so')
    .option('--escaped', 'the prefix is written as ls shows names: \\xNN for a byte, \\\\ for a backslash');
}

function checkTargets(
  volume: string | undefined,
  object: string | undefined,
  { prefix }: UnpinOptions,
): void {
  if (prefix === undefined) return;
  requireArgument(volume !== undefined, '--prefix is of a volume: name it');
  requireArgument(object === undefined, 'name an object or give --prefix, not both');
  requireArgument(prefix !== '', '--prefix is empty: leave it out for the whole volume');
}

/** What of a volume: an object, what a prefix names, or all of it. */
interface Target {
  readonly volume: CacheVolume;
  readonly objectId: Uint8Array | undefined;
  readonly prefix: Uint8Array | undefined;
}

async function findTarget(
  { cache, signal }: CacheAccess,
  volumeText: string,
  objectText: string | undefined,
  { prefix, escaped = false }: UnpinOptions,
  mayBeNew: boolean,
): Promise<Target> {
  const bytes =
    prefix === undefined ? undefined : nameBytes(escaped ? unescapeName(prefix) : toBytesName(prefix));
  const volume = findVolume(cache, volumeText, mayBeNew);
  const objectId = objectText === undefined ? undefined : await findObject(cache, volume, objectText, signal);
  return { volume, objectId, prefix: bytes };
}

async function pin(access: CacheAccess, target: Target, { units, json = false }: PinOptions): Promise<void> {
  const { volume, objectId, prefix } = target;
  if (prefix !== undefined) await volume.pinPrefix(prefix);
  else volume.pin(objectId, units === undefined ? {} : { unitCount: units });
  await access.cache.flush();
  report('pinned', target, json, units);
}

async function unpin(target: Target, { json = false }: UnpinOptions): Promise<void> {
  const { volume, objectId, prefix } = target;
  const wasPinned = prefix === undefined ? volume.unpin(objectId) : await volume.unpinPrefix(prefix);
  if (!wasPinned) {
    throw new NetsealError('ENOENT', `there is no pin of ${describe(target)}; see "netseal cache pin"`);
  }
  report('unpinned', target, json);
}

function report(did: string, target: Target, asJson: boolean, units?: number): void {
  const { volume, objectId, prefix } = target;
  if (!asJson) {
    const count = units === undefined ? '' : `, ${formatCount(units, 'unit')}`;
    process.stdout.write(`${did} ${describe(target)}${count}\n`);
    return;
  }
  const fields = {
    volume: toHex(volume.id),
    ...(objectId === undefined ? {} : { object: toHex(objectId) }),
    ...(prefix === undefined ? {} : nameFields('prefix', toBytesName(prefix))),
    ...(units === undefined ? {} : { units }),
  };
  process.stdout.write(`${toJson({ [did]: fields }, 2)}\n`);
}

function describe({ volume, objectId, prefix }: Target): string {
  const of = `volume ${toHex(volume.id)}`;
  if (objectId !== undefined) return `object ${toHex(objectId)} of ${of}`;
  return prefix === undefined ? of : `"${showName(toBytesName(prefix))}" and what begins so, of ${of}`;
}
