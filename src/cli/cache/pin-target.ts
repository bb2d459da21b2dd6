/** The part of a volume that `netseal cache pin` and `netseal cache unpin` work on. */
import type { Command } from 'commander';
import { toHex } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import { showName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import { unescapeName } from '../lib/escaped-names.ts';
import { jsonDocument, nameFields } from '../lib/json.ts';
import { formatCount } from '../lib/sizes.ts';
import { findObject, findVolume } from './ids.ts';
import type { CacheAccess, CacheOptions } from './opening.ts';

export interface TargetOptions extends CacheOptions {
  readonly prefix?: string;
  readonly escaped?: boolean;
}

/**
 * Adds the arguments and options that name a target.
 *
 * @param volume the argument as commander writes it: `<volume>`, or `[volume]` if it may be left out.
 */
export function withTarget(command: Command, volume: string): Command {
  return command
    .argument(volume, 'the volume')
    .argument('[object]', 'an object of the volume')
    .option('--prefix <text>', 'all objects whose names begin with this text')
    .option('--escaped', 'the prefix is written as ls shows names: \\xNN for a byte, \\\\ for a backslash');
}

/** Checks that the arguments name one target, before the cache is opened. EINVAL. */
export function checkTarget(
  volume: string | undefined,
  object: string | undefined,
  { prefix }: TargetOptions,
): void {
  if (prefix === undefined) return;
  requireArgument(volume !== undefined, '--prefix is for the objects of a volume: name the volume');
  requireArgument(object === undefined, 'name an object or give --prefix, not both');
  requireArgument(prefix !== '', '--prefix is empty: leave it out to mean the whole volume');
}

/** A part of a volume: one object, all objects whose names have a prefix, or everything. */
export interface Target {
  readonly volume: CacheVolume;
  readonly objectId: Uint8Array | undefined;
  readonly prefix: Uint8Array | undefined;
}

/**
 * Finds the target that the arguments name. ENOENT, EINVAL.
 *
 * @param mayBeNew whether the volume may be one that the cache does not know yet.
 */
export async function findTarget(
  { cache, signal }: CacheAccess,
  volumeText: string,
  objectText: string | undefined,
  { prefix, escaped = false }: TargetOptions,
  mayBeNew: boolean,
): Promise<Target> {
  const bytes =
    prefix === undefined ? undefined : nameBytes(escaped ? unescapeName(prefix) : toBytesName(prefix));
  const volume = findVolume(cache, volumeText, mayBeNew);
  const objectId = objectText === undefined ? undefined : await findObject(cache, volume, objectText, signal);
  return { volume, objectId, prefix: bytes };
}

/** Returns the report of a command that pinned or unpinned a target. */
export function targetReport(did: string, target: Target, asJson: boolean, units?: number): string {
  const { volume, objectId, prefix } = target;
  if (!asJson) {
    const count = units === undefined ? '' : `, ${formatCount(units, 'unit')}`;
    return `${did} ${showTarget(target)}${count}\n`;
  }
  const fields = {
    volume: toHex(volume.id),
    ...(objectId === undefined ? {} : { object: toHex(objectId) }),
    ...(prefix === undefined ? {} : nameFields('prefix', toBytesName(prefix))),
    ...(units === undefined ? {} : { units }),
  };
  return jsonDocument({ [did]: fields });
}

export function showTarget({ volume, objectId, prefix }: Target): string {
  const of = `volume ${toHex(volume.id)}`;
  if (objectId !== undefined) return `object ${toHex(objectId)} of ${of}`;
  return prefix === undefined
    ? of
    : `all objects of ${of} whose names begin with "${showName(toBytesName(prefix))}"`;
}
