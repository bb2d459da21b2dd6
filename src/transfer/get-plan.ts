/** Decides where each source of a `get` goes, before anything is written. */
import * as fs from 'node:fs';
import { codeOf, NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { nameBytes, parsePath, toBytesName } from '../volume/names/name-checks.ts';
import type { Found } from '../volume/names/path-walk.ts';
import type { Volume } from '../volume/volume.ts';
import { isSpecial, type LocalStat, statPath } from './local-calls.ts';
import { joinPath, showName } from './local-names.ts';
import { statLocal } from './local-source.ts';
import type { OwnStorage } from './own-storage.ts';
import { isNowhere, requireDistinct, requireRecursive } from './plan-rules.ts';
import type { Tally } from './tally.ts';

/** Stands for a name when the opened folder itself is meant, not an entry of it. */
export const ITSELF: Name = '.';

/** One source, with the local folder and name that it goes to. */
export interface GetJob {
  readonly found: Found;
  readonly path: Name;
  /** The local folder that the source goes into. All sources have the same one. */
  readonly folder: Name;
  readonly name: Name;
}

/**
 * Plans the sources. One that is damaged, or older than was seen before, becomes a failure in `tally`, and
 * the others are planned. Any other error rejects.
 */
export async function planGet(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  own: OwnStorage,
  tally: Tally,
  { recursive = false }: { readonly recursive?: boolean | undefined },
): Promise<GetJob[]> {
  const local = toBytesName(target);
  const there = localStat(target);
  requireTarget(local, there);
  own.requireOutside('write to', local);
  const isInto = sources.length > 1 || local.endsWith('/');
  if (isInto && there?.type !== 'folder') {
    // Throws the error that says why nothing is there.
    if (there === undefined) statLocal(target, { followsLink: true });
    throw new NetsealError('ENOTDIR', `${showName(local)} is not a folder`);
  }
  const jobs: GetJob[] = [];
  for (const source of sources) {
    const path = toBytesName(source);
    const found = await findSource(volume, source, path, !recursive, tally);
    if (found === undefined) continue;
    const isFolder = found.inode.type === 'directory';
    requireRecursive(isFolder, recursive, path);
    if (there?.type === 'folder') {
      // The root has no name: its content goes into the folder itself.
      const ownName = parsePath(source).at(-1) ?? ITSELF;
      jobs.push({ found, path, folder: local, name: isInto || !isFolder ? ownName : ITSELF });
    } else {
      const { folder, name } = splitLocal(local);
      jobs.push({ found, path, folder, name });
    }
  }
  requireDistinct(jobs.map(({ folder, name }) => `${folder}\0${name}`));
  return jobs;
}

/** Errors that are about one object of the volume. Other sources may be whole. */
const DAMAGE: ReadonlySet<string> = new Set([
  'EAUTH',
  'EFORMAT',
  'ETRUNCATED',
  'EMISSING',
  'EROLLBACK',
  'EFORK',
]);

async function findSource(
  volume: Volume,
  source: string | Uint8Array,
  path: Name,
  follow: boolean,
  tally: Tally,
): Promise<Found | undefined> {
  try {
    return await volume.find(source, { follow });
  } catch (error) {
    if (!DAMAGE.has(codeOf(error) ?? '')) throw error;
    tally.fail(path, error);
    return undefined;
  }
}

/**
 * EEXIST when the target leads, also through links, to anything but a file or folder: a device, pipe or
 * socket, or an open file under one of its names in `/proc`, such as `/dev/stdout`. A user who names one of
 * those wants to write to it, and `get` would only replace it.
 */
function requireTarget(path: Name, there: LocalStat | undefined): void {
  const isOpenFile = there?.type === 'file' && leadsThroughProc(path);
  if (there === undefined || !(isSpecial(there.type) || isOpenFile)) return;
  const what = isOpenFile ? 'leads to an open file' : 'is a device, pipe or socket';
  throw new NetsealError('EEXIST', `${showName(path)} ${what}: name another file, or - for standard output`);
}

const LINKS_MAX = 40;

function leadsThroughProc(path: Name): boolean {
  let at = path;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    const { folder, name } = splitLocal(at);
    const real = fs.realpathSync.native(nameBytes(folder), { encoding: 'buffer' }).toString('latin1');
    if (real === '/proc' || real.startsWith('/proc/')) return true;
    at = joinPath(real, name);
    if (statPath(at, false).type !== 'symlink') return false;
    const leadsTo = fs.readlinkSync(nameBytes(at), { encoding: 'buffer' }).toString('latin1');
    at = leadsTo.startsWith('/') ? leadsTo : joinPath(real, leadsTo);
  }
  return false;
}

function localStat(path: string | Uint8Array): LocalStat | undefined {
  try {
    return statLocal(path, { followsLink: true });
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
}

/** Splits a local path into its folder and the name in it. */
function splitLocal(path: Name): { folder: Name; name: Name } {
  const trimmed = path.replace(/\/+$/, '');
  const at = trimmed.lastIndexOf('/');
  const name = trimmed.slice(at + 1);
  if (name === '' || name === '.' || name === '..')
    return { folder: trimmed === '' ? '/' : trimmed, name: ITSELF };
  return { folder: at === -1 ? '.' : at === 0 ? '/' : trimmed.slice(0, at), name };
}
