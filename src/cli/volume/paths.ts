/** Paths in a volume as the command line takes them: `STORE:/path`. */
import type { Command } from 'commander';
import { requireArgument } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import { joinPath, showName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import { unescapeName } from '../lib/escaped-names.ts';
import { canonicalStoreName, parseLocation } from './location.ts';
import { type JsonSetting, type VolumeOptions, withVolumeOptions } from './options.ts';

export interface PathOptions extends VolumeOptions {
  /** Paths are written as `ls` shows names. */
  readonly escaped?: boolean;
}

export interface VolumePath {
  /** The store, as it was typed. */
  readonly storeText: string;
  /** Begins with `/`. */
  readonly path: Name;
}

/** Adds the options of {@link PathOptions}. */
export function withPathOptions(command: Command, setting: JsonSetting = {}): Command {
  return withVolumeOptions(command, setting).option(
    '--escaped',
    'paths are written as ls shows them: \\xNN for a byte, \\\\ for a backslash',
  );
}

/** Reads `STORE:/path`. `STORE` alone is its root. EINVAL when there is no store in it. */
export function parseVolumePath(text: string, { escaped = false }: PathOptions): VolumePath {
  const { storeText, path = '/' } = parseLocation(text);
  return { storeText, path: escaped ? unescapeName(path) : toBytesName(path) };
}

/** Returns the path in the form that `volume.find` and the like take. */
export function pathBytes({ path }: VolumePath): Uint8Array {
  return nameBytes(path);
}

/** Returns `STORE:/path` for messages. */
export function showPath({ storeText, path }: VolumePath): string {
  return `${storeText}:${showName(path)}`;
}

export function childPath({ storeText, path }: VolumePath, name: Name): VolumePath {
  return { storeText, path: joinPath(path, name) };
}

/**
 * Returns the store that all paths are in. EINVAL when there is no path, or when they are in several stores.
 */
export async function commonStore(paths: readonly VolumePath[]): Promise<string> {
  const [first] = paths;
  requireArgument(first !== undefined, 'name a path in a volume, as STORE:/path');
  for (const other of paths) await requireSameStore(first, other);
  return first.storeText;
}

async function requireSameStore(first: VolumePath, other: VolumePath): Promise<void> {
  if (first.storeText === other.storeText) return;
  const [one, two] = await Promise.all([first, other].map(({ storeText }) => storeName(storeText)));
  requireArgument(
    one === two,
    `a command works within one store, and ${first.storeText} and ${other.storeText} are two: between stores, use "netseal get" and "netseal put"`,
  );
}

/** Returns the text itself for a store that does not exist: opening it will say so. */
async function storeName(storeText: string): Promise<string> {
  return await canonicalStoreName(storeText).catch(() => storeText);
}
