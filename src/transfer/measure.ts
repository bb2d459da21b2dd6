/**
 * Measures how much there is to copy, for progress bars. Paths that cannot be read count for nothing; copying
 * them says why.
 */
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import { giveTurn } from '../base/turns.ts';
import type { DirectoryEntry, Inode } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { Found } from '../volume/names/path-walk.ts';
import { typeOfEntry } from '../volume/names/references.ts';
import type { Volume } from '../volume/volume.ts';
import type { CopyFilter } from './filter.ts';
import { isSpecial } from './local-calls.ts';
import { LocalFolder, statLocal } from './local-source.ts';
import type { OwnStorage } from './own-storage.ts';
import { withinOf } from './within.ts';

export interface Amount {
  readonly bytes: number;
  readonly files: number;
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  readonly filter?: CopyFilter | undefined;
  /** Folders that netseal itself uses. They are left out, as a copy leaves them out. */
  readonly own?: OwnStorage | undefined;
}

/** Measures local paths with everything below them that would be copied. Rejects with the signal's reason. */
export async function measureLocal(
  paths: readonly (string | Uint8Array)[],
  options: MeasureOptions = {},
): Promise<Amount> {
  const total = { bytes: 0, files: 0 };
  for (const path of paths) {
    const stat = attempt(() => statLocal(path, { followsLink: true }));
    if (stat?.type === 'folder') {
      const folder = attempt(() => LocalFolder.open(path));
      if (folder !== undefined) await measureFolder(folder, '', total, options);
    } else if (stat !== undefined) {
      total.bytes += stat.sizeBytes;
      total.files += 1;
    }
  }
  return total;
}

async function measureFolder(
  folder: LocalFolder,
  within: Name,
  total: { bytes: number; files: number },
  options: MeasureOptions,
): Promise<void> {
  const { signal, filter, own } = options;
  try {
    // Gives other work a turn.
    await giveTurn();
    signal?.throwIfAborted();
    if (own !== undefined && folder.whatOfOurs(own) !== undefined) return;
    for (const entry of attempt(() => folder.entries()) ?? []) {
      const path = withinOf({ within }, entry.name);
      if (filter?.judge(path, entry.type === 'folder') === 'skip') continue;
      if (entry.type === 'folder') {
        const child = attempt(() => folder.folder(entry.name));
        if (child !== undefined) await measureFolder(child, path, total, options);
      } else if (!isSpecial(entry.type)) {
        total.bytes += entry.type === 'file' ? entry.sizeBytes : 0;
        total.files += 1;
      }
    }
  } finally {
    folder.close();
  }
}

function attempt<Result>(look: () => Result): Result | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/**
 * Measures what was found in the volume with everything below it that the filter lets through. Rejects with
 * the signal's reason.
 */
export async function measureVolume(
  volume: Volume,
  found: Found,
  { signal, filter }: { readonly signal?: AbortSignal; readonly filter?: CopyFilter | undefined } = {},
): Promise<Amount> {
  const total = { bytes: 0, files: 0 };
  const entered = new Set<Id>();
  const measureInode = async (inode: Inode, folder: () => Directory, within: Name): Promise<void> => {
    signal?.throwIfAborted();
    if (inode.type !== 'directory') {
      total.files += 1;
      total.bytes += inode.type === 'file' ? inode.sizeBytes : 0;
      return;
    }
    // In a damaged volume a folder could lie within itself.
    if (entered.has(inode.id)) return;
    entered.add(inode.id);
    try {
      const directory = folder();
      for await (const entries of volume.namespace.entries(directory, { isWalk: true })) {
        for (const entry of entries) await measureEntry(directory, entry, withinOf({ within }, entry.name));
      }
    } catch {
      signal?.throwIfAborted();
    }
  };
  const measureEntry = async (parent: Directory, entry: DirectoryEntry, within: Name): Promise<void> => {
    if (filter?.judge(within, typeOfEntry(entry) === 'directory') === 'skip') return;
    const inode = await volume.inodeOf(entry).catch(() => undefined);
    if (inode !== undefined) await measureInode(inode, () => volume.directoryOf(parent, entry), within);
  };
  await measureInode(found.inode, () => volume.foundDirectory(found), '');
  return total;
}
