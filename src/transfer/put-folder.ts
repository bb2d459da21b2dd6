/**
 * A folder of a volume that `put` fills. A new folder is stored together with its first names, or at its end
 * if it has none. From then on its parents lead to it, so an interruption loses nothing that was done.
 */
import type { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { DirectoryEntry } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { NewName } from '../volume/names/namespace.ts';
import type { Volume } from '../volume/volume.ts';
import { onVolume } from './tally.ts';

export class PutFolder {
  readonly directory: Directory;
  /** The path of the local folder, for messages. */
  readonly path: Name;
  /** True when the folder itself is being copied: it gets the times of the local folder. */
  readonly keepTimes: boolean;
  readonly #volume: Volume;
  /** Its parent and name while it is new and not yet linked. */
  readonly #place: { readonly parent: PutFolder; readonly name: Name } | undefined;
  #linked: Promise<void> | undefined;

  constructor(
    volume: Volume,
    directory: Directory,
    path: Name,
    place: { readonly parent: PutFolder; readonly name: Name } | undefined,
    keepTimes: boolean,
  ) {
    this.keepTimes = keepTimes;
    this.path = path;
    this.#volume = volume;
    this.directory = directory;
    this.#place = place;
  }

  get isNew(): boolean {
    return this.#place !== undefined;
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
    if (this.#place === undefined) return;
    const { parent, name } = this.#place;
    const options = { keepTimes: parent.keepTimes };
    await onVolume(this.#volume.namespace.insertDirectory(parent.directory, name, this.directory, options));
    await parent.link();
  }
}

/** Finds names in a directory that it reads once. The names must be asked for in ascending order. */
export class EntryCursor {
  readonly #batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined;
  #batch: readonly DirectoryEntry[] = [];
  #at = 0;
  #isDone: boolean;

  /** @param batches the entries, ascending; undefined for an empty directory. */
  constructor(batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined) {
    this.#batches = batches;
    this.#isDone = batches === undefined;
  }

  /** True when {@link advance} must be awaited before {@link find}. */
  needsMore(name: Name): boolean {
    const last = this.#batch.at(-1);
    return !this.#isDone && (last === undefined || last.name < name);
  }

  /** Reads on until the batch in memory reaches `name`. */
  async advance(name: Name): Promise<void> {
    while (this.needsMore(name)) {
      const next = await this.#batches?.next();
      if (next === undefined || next.done === true) this.#isDone = true;
      else this.#batch = next.value;
      this.#at = 0;
    }
  }

  /** Returns the entry of a name. Call it only when {@link needsMore} is false. */
  find(name: Name): DirectoryEntry | undefined {
    for (
      let entry = this.#batch[this.#at];
      entry !== undefined && entry.name < name;
      entry = this.#batch[this.#at]
    ) {
      this.#at += 1;
    }
    const entry = this.#batch[this.#at];
    return entry?.name === name ? entry : undefined;
  }
}
