/** Removes from the target folders of a `put` what the source lacks. */
import { isNetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { DirectoryEntry } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import { typeOfEntry } from '../volume/names/references.ts';
import type { Volume } from '../volume/volume.ts';
import { copyPart } from './copying.ts';
import type { CopyFilter } from './filter.ts';
import { joinPath } from './local-names.ts';
import type { PutFolder } from './put-folder.ts';
import type { Extra, PutOptions } from './put-options.ts';
import { onVolume, type Tally } from './tally.ts';

interface FoundExtra extends Extra {
  readonly directory: Directory;
  readonly entry: DirectoryEntry;
}

/** How many names of a folder are removed at once. */
const NAMES_AT_ONCE = 1024;

export class PutExtras {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #options: PutOptions;
  readonly #found: FoundExtra[] = [];

  constructor(volume: Volume, tally: Tally, options: PutOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#options = options;
  }

  get isWanted(): boolean {
    return this.#options.mayRemove !== undefined;
  }

  /**
   * Returns two functions for one target folder. `add` notes an entry that its source lacks, unless it is
   * filtered out. `areThere` returns true when any was noted, in this folder or since.
   */
  of(folder: PutFolder, filter: CopyFilter): { add(entry: DirectoryEntry): void; areThere(): boolean } {
    const { directory, volumePath } = folder;
    const before = this.#found.length;
    return {
      add: entry => {
        const isFolder = typeOfEntry(entry) === 'directory';
        if (!this.isWanted || filter.judge(folder.pathWithin(entry.name), isFolder) !== 'copy') return;
        this.#found.push({ path: joinPath(volumePath, entry.name), isFolder, directory, entry });
      },
      areThere: () => this.#found.length > before,
    };
  }

  /** Removes what was noted, if nothing has failed and the options say so. */
  async remove(): Promise<void> {
    const { mayRemove, dryRun, signal } = this.#options;
    const [first] = this.#found;
    if (mayRemove === undefined || first === undefined) return;
    if (this.#tally.failures.length > 0) {
      this.#tally.note(first.path, 'nothing was removed, as not all could be copied');
      return;
    }
    if (dryRun === true) {
      for (const { path } of this.#found) this.#count(path);
      return;
    }
    if (!(await mayRemove(this.#found))) return;
    for (let at = 0; at < this.#found.length; at += NAMES_AT_ONCE) {
      signal?.throwIfAborted();
      const some = this.#found.slice(at, at + NAMES_AT_ONCE);
      await Promise.all(some.map(({ path, directory, entry }) => this.#removeEntry(path, directory, entry)));
    }
  }

  #removeEntry(path: Name, directory: Directory, entry: DirectoryEntry): Promise<void> {
    return copyPart(path, this.#tally, this.#options.signal, async () => {
      try {
        await this.#tryRemove(path, directory, entry);
        this.#count(path);
      } catch (error) {
        // Another client was faster.
        if (!isNetsealError(error) || error.code !== 'ENOENT') throw error;
      }
    });
  }

  async #tryRemove(path: Name, directory: Directory, entry: DirectoryEntry): Promise<void> {
    const { namespace } = this.#volume;
    const { name } = entry;
    if (typeOfEntry(entry) !== 'directory') {
      await onVolume(namespace.unlink(directory, name));
      return;
    }
    const folder = this.#volume.directoryOf(directory, entry);
    for await (const entries of namespace.entries(folder, { isWalk: true })) {
      this.#options.signal?.throwIfAborted();
      await Promise.all(entries.map(below => this.#removeEntry(joinPath(path, below.name), folder, below)));
    }
    await onVolume(namespace.rmdir(directory, name));
  }

  #count(path: Name): void {
    this.#tally.counts.removed += 1;
    this.#tally.did(path, 'removed');
  }
}
