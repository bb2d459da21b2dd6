/** What `volume.fs` does with whole folders: lists and removes all that is in them. */
import type { Dir } from 'node:fs';
import { codeOf, NetsealError } from '../../base/errors.ts';
import { inParallel } from '../../base/in-parallel.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, InodeType } from '../../server/sealed/inode.ts';
import type { Directory } from '../names/directory.ts';
import { nameBytes } from '../names/name-checks.ts';
import type { Namespace } from '../names/namespace.ts';
import { typeOfEntry } from '../names/references.ts';
import type { VolumeDirent } from './stats.ts';

/** Names that are removed at once. They share commits. */
const REMOVED_AT_ONCE = 256;

/** An entry of a folder, or of one below it. */
export interface Listed {
  /** The names that lead to it from the folder that is listed. */
  readonly names: readonly Name[];
  readonly type: InodeType;
}

/** Yields the entries of a folder; with `isRecursive`, those of a folder right behind it. */
export async function* listEntries(
  namespace: Namespace,
  folder: Directory,
  isRecursive: boolean,
  above: readonly Name[] = [],
): AsyncGenerator<Listed> {
  for await (const entries of namespace.entries(folder, { isWalk: isRecursive })) {
    for (const entry of entries) {
      const names = [...above, entry.name];
      const type = typeOfEntry(entry);
      yield { names, type };
      if (!isRecursive || type !== 'directory') continue;
      yield* listEntries(namespace, namespace.directoryOf(folder, entry), true, names);
    }
  }
}

/** Returns the path of names below a folder's. */
export function joinedPath(folder: Uint8Array, names: readonly Name[]): Buffer {
  const below = names.map(nameBytes);
  const pieces = below.flatMap((name, at) => (at === 0 ? [name] : [Buffer.from('/'), name]));
  if (folder.byteLength === 0) return Buffer.concat(pieces);
  const separator = folder.at(-1) === '/'.charCodeAt(0) || below.length === 0 ? '' : '/';
  return Buffer.concat([folder, Buffer.from(separator), ...pieces]);
}

/** Removes a folder with everything in it. Rejects with the first thing that cannot be removed. */
export async function removeTree(
  namespace: Namespace,
  parent: Directory,
  name: Name,
  folder: Directory,
): Promise<void> {
  // In one commit, if it can be.
  if ((await namespace.removeTree(parent, name)) !== undefined) return;
  for await (const entries of namespace.entries(folder, { isWalk: true })) {
    await inParallel(entries, REMOVED_AT_ONCE, entry => removeEntry(namespace, folder, entry));
  }
  await withoutMissing(namespace.rmdir(parent, name));
}

async function removeEntry(namespace: Namespace, folder: Directory, entry: DirectoryEntry): Promise<void> {
  if (typeOfEntry(entry) === 'directory') {
    await removeTree(namespace, folder, entry.name, namespace.directoryOf(folder, entry));
  } else {
    await withoutMissing(namespace.unlink(folder, entry.name));
  }
}

/** Another may have removed it meanwhile. */
async function withoutMissing(removal: Promise<void>): Promise<void> {
  await removal.catch(error => {
    if (codeOf(error) !== 'ENOENT') throw error;
  });
}

/** An open folder: its entries as they were when it was opened. */
export class VolumeDir implements Dir {
  readonly path: string;
  readonly #entries: readonly VolumeDirent[];
  #at = 0;
  #isClosed = false;

  constructor(path: string, entries: readonly VolumeDirent[]) {
    this.path = path;
    this.#entries = entries;
  }

  read(): Promise<VolumeDirent | null>;
  read(callback: (error: NodeJS.ErrnoException | null, entry: VolumeDirent | null) => void): void;
  read(
    callback?: (error: NodeJS.ErrnoException | null, entry: VolumeDirent | null) => void,
  ): Promise<VolumeDirent | null> | undefined {
    const reading = this.#read();
    if (callback === undefined) return reading;
    reading.then(
      entry => callback(null, entry),
      error => callback(error, null),
    );
    return undefined;
  }

  /** Returns the next entry; null at the end. ECLOSED. */
  readSync(): VolumeDirent | null {
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the folder was closed');
    const entry = this.#entries[this.#at] ?? null;
    this.#at += 1;
    return entry;
  }

  close(): Promise<void>;
  close(callback: (error: NodeJS.ErrnoException | null) => void): void;
  close(callback?: (error: NodeJS.ErrnoException | null) => void): Promise<void> | undefined {
    const closing = this.#close();
    if (callback === undefined) return closing;
    closing.then(() => callback(null), callback);
    return undefined;
  }

  closeSync(): void {
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the folder was closed');
    this.#isClosed = true;
  }

  async #read(): Promise<VolumeDirent | null> {
    return this.readSync();
  }

  async #close(): Promise<void> {
    this.closeSync();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<VolumeDirent, undefined> {
    try {
      for (let entry = this.readSync(); entry !== null; entry = this.readSync()) yield entry;
    } finally {
      this.#isClosed = true;
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
  }
}
