/**
 * Removes from the target folders of a `get` what the volume does not have. It looks only into folders that
 * were copied, and follows no symbolic link. These stay, each with a note:
 *
 *   - folders that netseal itself uses, and those that hold one
 *   - folders of other file systems, which are mounted there
 *   - devices and sockets
 */
import type { Name } from '../base/name.ts';
import type { Attributes } from '../server/sealed/inode.ts';
import { copyPart } from './copying.ts';
import type { GetOptions } from './get-options.ts';
import { isSpecial } from './local-calls.ts';
import { isPartialName, joinPath } from './local-names.ts';
import type { RestoreOptions } from './local-restore.ts';
import type { TargetFolder } from './local-target.ts';
import type { OwnStorage } from './own-storage.ts';
import type { Extra } from './put-options.ts';
import type { Tally } from './tally.ts';

/** A folder that was filled, with the names that the volume does not have. */
interface Filled {
  readonly root: TargetFolder;
  /** From the root. */
  readonly folders: readonly Name[];
  readonly attributes: Attributes;
  readonly extras: readonly (Extra & { readonly name: Name })[];
}

export class GetExtras {
  readonly #tally: Tally;
  readonly #own: OwnStorage;
  readonly #options: GetOptions;
  readonly #filled: Filled[] = [];

  constructor(tally: Tally, own: OwnStorage, options: GetOptions) {
    this.#tally = tally;
    this.#own = own;
    this.#options = options;
  }

  get isWanted(): boolean {
    return this.#options.mayRemove !== undefined;
  }

  /**
   * Notes the names in a folder that the volume does not have.
   *
   * @param isExtra returns whether a name is missing in the volume and may be removed.
   */
  add(
    { root, folder, folders }: { root: TargetFolder; folder: TargetFolder; folders: readonly Name[] },
    attributes: Attributes,
    isExtra: (name: Name, isFolder: boolean) => boolean,
  ): void {
    const extras: Filled['extras'][number][] = [];
    for (const name of folder.names()) {
      const isFolder = folder.existing(name)?.type === 'folder';
      if (isPartialName(name) || !isExtra(name, isFolder)) continue;
      extras.push({ path: joinPath(folder.path, name), name, isFolder });
    }
    if (extras.length > 0) this.#filled.push({ root, folders, attributes, extras });
  }

  /** Removes what was noted, if nothing has failed and the options say so. */
  async remove(restore: RestoreOptions): Promise<void> {
    const { mayRemove, dryRun, signal } = this.#options;
    const all = this.#filled.flatMap(({ extras }) => extras);
    const [first] = all;
    if (mayRemove === undefined || first === undefined) return;
    if (this.#tally.failures.length > 0) {
      this.#tally.note(first.path, 'nothing was removed, as not all could be copied');
      return;
    }
    if (dryRun === true) {
      for (const { path } of all) this.#count(path);
      return;
    }
    if (!(await mayRemove(all))) return;
    for (const { root, folders, attributes, extras } of this.#filled) {
      signal?.throwIfAborted();
      const folder = root.descend(folders);
      try {
        for (const { path, name } of extras) {
          await copyPart(path, this.#tally, signal, () => void this.#removeEntry(folder, name));
        }
        // Removing names has changed the folder's times.
        folder.finishFolder(attributes, restore);
      } finally {
        folder.close();
      }
    }
  }

  /** Returns whether it is gone. */
  #removeEntry(folder: TargetFolder, name: Name): boolean {
    this.#options.signal?.throwIfAborted();
    const path = joinPath(folder.path, name);
    const existing = folder.existing(name);
    if (existing === undefined) return true;
    if (isSpecial(existing.type) && existing.type !== 'fifo') return this.#keep(path, 'a device or socket');
    if (existing.type !== 'folder') folder.remove(name);
    else if (existing.device !== folder.stat.device) return this.#keep(path, 'another file system');
    else if (!this.#removeFolder(folder, name)) return false;
    this.#count(path);
    return true;
  }

  #removeFolder(parent: TargetFolder, name: Name): boolean {
    const folder = parent.existingChild(name);
    try {
      const what = folder.whatOfOurs(this.#own);
      if (what !== undefined) return this.#keep(folder.path, what);
      let isEmpty = true;
      for (const below of folder.names()) isEmpty = this.#removeEntry(folder, below) && isEmpty;
      if (!isEmpty) return false;
    } finally {
      folder.close();
    }
    parent.removeFolder(name);
    return true;
  }

  #keep(path: Name, what: string): false {
    this.#tally.note(path, `not removed: ${what}`);
    return false;
  }

  #count(path: Name): void {
    this.#tally.counts.removed += 1;
    this.#tally.did(path, 'removed');
  }
}
