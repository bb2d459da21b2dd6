/**
 * A folder of a volume that `put` fills. A new folder is embedded, and stored together with its first names,
 * or at its end if it has none. Its parents lead to it from then on, so an interruption loses nothing that
 * was done.
 */
import type { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { DirectoryEntry } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { NewName } from '../volume/names/namespace.ts';
import type { Volume } from '../volume/volume.ts';
import { onVolume } from './tally.ts';

/** Where a folder lies. */
export interface FolderPlace {
  readonly directory: Directory;
  /** The path of the local folder, for messages. */
  readonly path: Name;
  /** Its path in the volume, for messages. */
  readonly volumePath: Name;
  /**
   * Its path below the folder that is copied, for filters: empty for that folder itself. Undefined for the
   * folder that a source goes into.
   */
  readonly within: Name | undefined;
  /** True when the folder itself is being copied: it gets the times of the local folder. */
  readonly keepTimes: boolean;
}

export class PutFolder implements FolderPlace {
  readonly directory: Directory;
  readonly path: Name;
  readonly volumePath: Name;
  readonly within: Name | undefined;
  readonly keepTimes: boolean;
  readonly #volume: Volume;
  /** Its parent and name while it is new and not yet linked. */
  readonly #newName: { readonly parent: PutFolder; readonly name: Name } | undefined;
  #linked: Promise<void> | undefined;

  /** @param newName its parent and name, for a folder that is not in the volume yet. */
  constructor(
    volume: Volume,
    place: FolderPlace,
    newName?: { readonly parent: PutFolder; readonly name: Name },
  ) {
    this.#volume = volume;
    this.directory = place.directory;
    this.path = place.path;
    this.volumePath = place.volumePath;
    this.within = place.within;
    this.keepTimes = place.keepTimes;
    this.#newName = newName;
  }

  /** Returns the path of a name in it, for filters. */
  pathWithin(name: Name): Name {
    return this.within === undefined || this.within === '' ? name : `${this.within}/${name}`;
  }

  get isNew(): boolean {
    return this.#newName !== undefined;
  }

  /**
   * Adds names in one commit, then makes sure that the parents lead to the folder. See
   * `Namespace.insertMany`.
   */
  async insertMany(names: readonly NewName[]): Promise<(NetsealError | undefined)[]> {
    const options = { replace: true, keepTimes: this.keepTimes };
    const failures = await onVolume(this.#volume.namespace.insertMany(this.directory, names, options));
    await this.link();
    return failures;
  }

  /** Stores the folder and those above it, unless they are stored, and links each into its parent. */
  link(): Promise<void> {
    this.#linked ??= this.#link();
    return this.#linked;
  }

  async #link(): Promise<void> {
    if (this.#newName === undefined) return;
    const { parent, name } = this.#newName;
    if (this.directory.isEmbedded) {
      // With this, the new folders above are there as well.
      if (this.directory.isUnborn) await onVolume(this.directory.create());
    } else {
      const options = { keepTimes: parent.keepTimes };
      await onVolume(this.#volume.namespace.insertDirectory(parent.directory, name, this.directory, options));
    }
    await parent.link();
  }
}

/** Finds names in a directory that it reads once. The names must be asked for in ascending order. */
export class EntryCursor {
  readonly #batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined;
  readonly #onPassed: (entry: DirectoryEntry) => void;
  #batch: readonly DirectoryEntry[] = [];
  #at = 0;
  #isDone: boolean;

  /**
   * @param batches the entries, ascending; undefined for an empty directory.
   * @param onPassed called for each entry that was passed over: its name was not asked for.
   */
  constructor(
    batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined,
    onPassed: (entry: DirectoryEntry) => void,
  ) {
    this.#batches = batches;
    this.#onPassed = onPassed;
    this.#isDone = batches === undefined;
  }

  /** True when {@link advance} must be awaited before {@link find}. */
  needsMore(name: Name): boolean {
    const last = this.#batch.at(-1);
    return !this.#isDone && (last === undefined || last.name < name);
  }

  /** Reads on until the batch in memory reaches `name`. */
  async advance(name: Name): Promise<void> {
    while (this.needsMore(name)) await this.#nextBatch();
  }

  /** Passes over all entries that are left. Call it after the last name. */
  async finish(): Promise<void> {
    while (!this.#isDone) await this.#nextBatch();
    this.#passRest();
  }

  async #nextBatch(): Promise<void> {
    this.#passRest();
    const next = await this.#batches?.next();
    if (next === undefined || next.done === true) this.#isDone = true;
    else this.#batch = next.value;
    this.#at = 0;
  }

  #passRest(): void {
    for (const entry of this.#batch.slice(this.#at)) this.#onPassed(entry);
    this.#batch = [];
    this.#at = 0;
  }

  /** Returns the entry of a name. Call it once a name, and only when {@link needsMore} is false. */
  find(name: Name): DirectoryEntry | undefined {
    for (
      let entry = this.#batch[this.#at];
      entry !== undefined && entry.name < name;
      entry = this.#batch[this.#at]
    ) {
      this.#onPassed(entry);
      this.#at += 1;
    }
    const entry = this.#batch[this.#at];
    if (entry?.name !== name) return undefined;
    this.#at += 1;
    return entry;
  }
}
