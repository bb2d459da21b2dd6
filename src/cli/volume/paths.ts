/** Paths in a volume as the command line takes them, and what goes wrong at one. */
import type { Command } from 'commander';
import { ERROR_CODES, isNetsealError, NetsealError, requireArgument } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import { joinPath, showName } from '../../transfer/local-names.ts';
import { nameBytes, toBytesName } from '../../volume/names/name-checks.ts';
import type { Volume } from '../../volume/volume.ts';
import { type VolumeAccess, type VolumeOptions, withVolume, withVolumeOptions } from './access.ts';
import { canonicalStoreName, type Location, parseLocation } from './location.ts';

export interface PathOptions extends VolumeOptions {
  /** Paths are written as `ls` shows names. */
  readonly escaped?: boolean;
}

export interface VolumePath {
  readonly storeText: string;
  /** Begins with `/`. */
  readonly path: Name;
}

/** Adds the options of {@link PathOptions}. */
export function withPathOptions(command: Command, settings: { readonly json?: boolean } = {}): Command {
  return withVolumeOptions(command, settings).option(
    '--escaped',
    'paths are written as ls shows them: \\xNN for a byte, \\\\ for a backslash',
  );
}

/** Without a path it is the root. EINVAL. */
export function parseVolumePath(text: string, { escaped = false }: PathOptions): VolumePath {
  const { storeText, path = '/' } = parseLocation(text);
  return { storeText, path: escaped ? unescapeName(path) : toBytesName(path) };
}

const ESCAPE = /\\(?:x([0-9a-f]{2})|(\\)|)/gi;

/** The inverse of `showName`. EINVAL for a backslash that begins nothing. */
export function unescapeName(shown: string): Name {
  return toBytesName(shown).replace(ESCAPE, (_, hex: string | undefined, backslash: string | undefined) => {
    requireArgument(
      hex !== undefined || backslash !== undefined,
      `--escaped: write a backslash as \\\\ and a byte as \\xNN: ${shown}`,
    );
    return hex === undefined ? '\\' : String.fromCharCode(Number.parseInt(hex, 16));
  });
}

/** What `volume.find` and the like take. */
export function pathBytes({ path }: VolumePath): Uint8Array {
  return nameBytes(path);
}

/** `STORE:/path` for messages. */
export function showPath({ storeText, path }: VolumePath): string {
  return `${storeText}:${showName(path)}`;
}

export function childPath({ storeText, path }: VolumePath, name: Name): VolumePath {
  return { storeText, path: joinPath(path, name) };
}

/** Opens the one volume that all paths are in. EINVAL when there are several. */
export async function withVolumePaths<Result>(
  paths: readonly VolumePath[],
  options: PathOptions,
  signal: AbortSignal,
  work: (access: VolumeAccess) => Promise<Result>,
): Promise<Result> {
  const [first] = paths;
  requireArgument(first !== undefined, 'name a path in a volume, as STORE:/path');
  for (const other of paths) await requireSameStore(first, other);
  const location: Location = { storeText: first.storeText, path: undefined };
  return await withVolume(location, options, signal, work);
}

async function requireSameStore(first: VolumePath, other: VolumePath): Promise<void> {
  if (first.storeText === other.storeText) return;
  const [one, two] = await Promise.all([first, other].map(({ storeText }) => storeName(storeText)));
  requireArgument(
    one === two,
    `a command works within one store, and ${first.storeText} and ${other.storeText} are two: between stores, use "netseal get" and "netseal put"`,
  );
}

/** One that is not there is told about when it is opened. */
async function storeName(storeText: string): Promise<string> {
  return await canonicalStoreName(storeText).catch(() => storeText);
}

/** Codes that are about the path itself: what they mean is all there is to say. */
const OF_PATHS: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY', 'EEXIST']);
const OF_DAMAGE: ReadonlySet<string> = new Set(['EFORMAT', 'ETRUNCATED', 'EAUTH', 'EMISSING']);

/** `error` with the path that it is about, and what to do. What is no NetsealError stays as it is. */
export function errorAt(path: VolumePath, error: unknown): unknown {
  if (!isNetsealError(error) || error instanceof ErrorAtPath || error.code === 'EBUG') return error;
  const { code, message } = error;
  const text = OF_PATHS.has(code) ? ERROR_CODES[code] : message;
  const next = OF_DAMAGE.has(code) ? '; "netseal verify" finds all that is damaged' : '';
  return new ErrorAtPath(code, `${showPath(path)}: ${text}${next}`, { cause: error });
}

/** Says which path already. */
class ErrorAtPath extends NetsealError {}

/** As {@link errorAt}, with a text of the command's own. */
export function failAt(path: VolumePath, code: NetsealError['code'], text: string): NetsealError {
  return new ErrorAtPath(code, `${showPath(path)}: ${text}`);
}

/** `work`, whose errors name the path. */
export async function at<Result>(path: VolumePath, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw errorAt(path, error);
  }
}

/** Whether a path leads to a folder, a symbolic link being followed. False when it leads nowhere. */
export async function isFolder(volume: Volume, path: VolumePath): Promise<boolean> {
  try {
    return (await volume.find(pathBytes(path), { follow: true })).inode.type === 'directory';
  } catch (error) {
    if (isNetsealError(error) && error.code === 'ENOENT') return false;
    throw errorAt(path, error);
  }
}
