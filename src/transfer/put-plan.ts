/** Decides where each source of a `put` goes, before anything is changed. */
import type { Name } from '../base/name.ts';
import type { DirectoryEntry } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import { toBytesName } from '../volume/names/name-checks.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import { joinPath } from './local-names.ts';
import { statLocal } from './local-source.ts';
import type { OwnStorage } from './own-storage.ts';
import { isNowhere, requireDistinct, requireRecursive } from './plan-rules.ts';

/** One source, and its place in the volume. */
export interface PutJob {
  readonly path: Name;
  readonly stat: LocalStat;
  readonly directory: Directory;
  /** The name in that folder. Undefined when the source's content goes into the folder itself. */
  readonly name: Name | undefined;
  /** The path in the volume, for messages. */
  readonly target: Name;
  readonly existing: DirectoryEntry | undefined;
}

/** Looks at every source and the target before anything is changed. */
export async function planPut(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  own: OwnStorage,
  { recursive = false }: { readonly recursive?: boolean | undefined },
): Promise<PutJob[]> {
  const targetText = toBytesName(target);
  const looked = sources.map(source => {
    const path = toBytesName(source);
    const stat = statLocal(source, { followsLink: !recursive });
    requireRecursive(stat.type === 'folder', recursive, path);
    if (stat.type !== 'symlink') own.requireOutside('copy', path);
    return { path, stat };
  });
  const isInto = sources.length > 1 || targetText.endsWith('/');
  const there = isInto ? await volume.directory(target) : await folderAt(volume, target);
  const jobs: PutJob[] = [];
  for (const { path, stat } of looked) {
    const goesInto = there !== undefined && (isInto || stat.type !== 'folder');
    if (goesInto) {
      const name = lastName(path);
      const existing = name === undefined ? undefined : await volume.namespace.find(there, name);
      const volumePath = name === undefined ? targetText : joinPath(targetText, name);
      jobs.push({ path, stat, directory: there, name, target: volumePath, existing });
      continue;
    }
    const { directory, name } = await volume.place(target);
    const existing = await volume.namespace.find(directory, name);
    jobs.push({ path, stat, directory, name, target: targetText, existing });
  }
  requireDistinct(jobs.map(({ directory, name = '' }) => `${directory.id}/${name}`));
  return jobs;
}

async function folderAt(volume: Volume, path: string | Uint8Array): Promise<Directory | undefined> {
  try {
    return await volume.directory(path);
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
}

/**
 * Returns the last name of a path. Undefined for `.`, `..` and `/`: the content of such a folder goes into
 * the target itself.
 */
function lastName(path: Name): Name | undefined {
  const name = path.split('/').findLast(part => part !== '');
  return name === '.' || name === '..' ? undefined : name;
}
