/**
 * A folder of a volume that a tree is copied into. One that is new is put into the store with its first names, or when it is
 * finished; from then on its parents lead to it, so that an interruption keeps what was done.
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
  /** The local one, for messages. */
  readonly path: Name;
  /** It is being copied itself, so its times are its original's. */
  readonly keepTimes: boolean;
  readonly #volume: Volume;
  /** Where it belongs, as long as it is new. */
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

  /** Adds names in one commit, then makes sure that the folder is reached. See `Namespace.insertMany`. */
  async insertMany(names: readonly NewName[]): Promise<(NetsealError | undefined)[]> {
    const options = { replace: true, keepTimes: this.keepTimes };
    const failures = await onVolume(this.#volume.names.insertMany(this.directory, names, options));
    await this.link();
    return failures;
  }

  /** The folder, and those above it, are in the store and lead here. */
  link(): Promise<void> {
    this.#linked ??= this.#link();
    return this.#linked;
  }

  async #link(): Promise<void> {
    if (this.#place === undefined) return;
    const { parent, name } = this.#place;
    const options = { keepTimes: parent.keepTimes };
    await onVolume(this.#volume.names.insertDirectory(parent.directory, name, this.directory, options));
    await parent.link();
  }
}

/** Finds one name after the other, asked for in ascending order, in a directory that is read once. */
export class EntryCursor {
  readonly #batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined;
  #batch: readonly DirectoryEntry[] = [];
  #at = 0;
  #isDone: boolean;

  /** @param batches ascending; undefined for none. */
  constructor(batches: AsyncGenerator<readonly DirectoryEntry[]> | undefined) {
    this.#batches = batches;
    this.#isDone = batches === undefined;
  }

  /** Whether {@link find} would have to wait. */
  needsMore(name: Name): boolean {
    const last = this.#batch.at(-1);
    return !this.#isDone && (last === undefined || last.name < name);
  }

  /** Reads on until `name` would be there. */
  async advance(name: Name): Promise<void> {
    while (this.needsMore(name)) {
      const next = await this.#batches?.next();
      if (next === undefined || next.done === true) this.#isDone = true;
      else this.#batch = next.value;
      this.#at = 0;
    }
  }

  /** Only when {@link needsMore} is false. */
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
