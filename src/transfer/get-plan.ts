/** Decides where each source of a `get` goes, before anything is written. */
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { parsePath, toBytesName } from '../volume/names/name-checks.ts';
import type { Found, Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import { showName } from './local-names.ts';
import { statLocal } from './local-source.ts';
import { isNowhere, requireDistinct, requireRecursive } from './plan-rules.ts';

/** Stands for a name when the opened folder itself is meant, not an entry of it. */
export const ITSELF: Name = '.';

/** One source, with the local folder and name that it goes to. */
export interface GetJob {
  readonly found: Found;
  readonly path: Name;
  /** The same for all sources. */
  readonly folder: Name;
  readonly name: Name;
}

export async function planGet(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  { recursive = false }: { readonly recursive?: boolean | undefined },
): Promise<GetJob[]> {
  const local = toBytesName(target);
  const there = localStat(target);
  const isInto = sources.length > 1 || local.endsWith('/');
  if (isInto && there?.type !== 'folder') {
    // Says why nothing is there.
    if (there === undefined) statLocal(target, { followsLink: true });
    throw new NetsealError('ENOTDIR', `${showName(local)} is not a folder`);
  }
  const jobs: GetJob[] = [];
  for (const source of sources) {
    const path = toBytesName(source);
    const found = await volume.find(source, { follow: !recursive });
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
