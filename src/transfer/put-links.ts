/**
 * Copies files with several names (hard links): in the volume, too, each is one file, with those of its names
 * that are copied.
 */
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import type { PutContent } from './put-file.ts';
import type { PutFolder } from './put-folder.ts';
import { onVolume, type Tally } from './tally.ts';

interface LinkName {
  readonly folder: PutFolder;
  readonly name: Name;
  readonly path: Name;
}

interface LinkGroup {
  readonly names: LinkName[];
  /** The content that was sent; undefined while all names are unchanged. */
  content: PutContent | undefined;
  /** Files in the volume that names of this one lead to already. */
  readonly unchanged: { readonly at: LinkName; readonly id: Id }[];
}

export class PutLinks {
  readonly #groups = new Map<string, LinkGroup>();
  readonly #volume: Volume;
  readonly #tally: Tally;

  constructor(volume: Volume, tally: Tally) {
    this.#volume = volume;
    this.#tally = tally;
  }

  /** Adds a name. Returns true when the content is needed: then call {@link setContent}. */
  add(stat: LocalStat, at: LinkName, unchangedId: Id | undefined): boolean {
    const group = this.#groupOf(stat);
    group.names.push(at);
    if (unchangedId !== undefined) group.unchanged.push({ at, id: unchangedId });
    return unchangedId === undefined && group.content === undefined && group.unchanged.length === 0;
  }

  setContent(stat: LocalStat, content: PutContent): void {
    this.#groupOf(stat).content = content;
  }

  /**
   * Once all names of a file were added, returns the work that links them; before, undefined. The work
   * rejects as {@link finish} does.
   */
  takeComplete(stat: LocalStat): (() => Promise<void>) | undefined {
    const group = this.#groupOf(stat);
    if (group.names.length < stat.linkCount) return undefined;
    this.#groups.delete(keyOf(stat));
    return () => this.#finish(group);
  }

  /**
   * Links the names of all remaining files, some of whose names lie outside the copied trees. Rejects with
   * what ends the copy.
   */
  async finish(signal: AbortSignal | undefined): Promise<void> {
    for (const group of this.#groups.values()) {
      signal?.throwIfAborted();
      await this.#finish(group);
    }
  }

  /** Ends early, after a failure. Journals stay for the next `put`. */
  async drop(): Promise<void> {
    for (const { content } of this.#groups.values()) await content?.journal?.close();
  }

  async #finish(group: LinkGroup): Promise<void> {
    try {
      await (group.content === undefined ? this.#linkToUnchanged(group) : this.#insert(group, group.content));
    } catch (error) {
      for (const { path } of group.names) this.#tally.fail(path, error);
    }
  }

  async #insert({ names }: LinkGroup, { inode, segments, journal }: PutContent): Promise<void> {
    try {
      // This need not wait: the next files fill the segment that holds the file's end.
      await onVolume(this.#volume.whenDurable(segments));
      await journal?.beforeCommit();
      const linked = { ...inode, linkCount: names.length };
      const node = await onVolume(this.#volume.namespace.place(linked));
      let linkedCount = 0;
      await Promise.all(
        names.map(async ({ folder, name, path }) => {
          const options = { replace: true, keepTimes: folder.keepTimes, segments };
          try {
            await onVolume(this.#volume.namespace.insertNode(folder.directory, name, node, options));
            await folder.link();
            linkedCount += 1;
          } catch (error) {
            this.#tally.fail(path, error);
          }
        }),
      );
      await journal?.remove();
      if (linkedCount === 0) return;
      this.#tally.counts.files += 1;
      this.#tally.counts.links += linkedCount - 1;
      this.#tally.counts.bytes += inode.sizeBytes;
    } finally {
      await journal?.close();
    }
  }

  /** Links again every name that does not lead to the same file as the others. */
  async #linkToUnchanged({ names, unchanged }: LinkGroup): Promise<void> {
    const [first] = unchanged;
    if (first === undefined) return;
    this.#tally.counts.unchanged += 1;
    const right = new Set(unchanged.filter(({ id }) => id === first.id).map(({ at }) => at));
    const source = { directory: first.at.folder.directory, name: first.at.name };
    for (const at of names) {
      if (right.has(at)) continue;
      const options = { replace: true, keepTimes: at.folder.keepTimes };
      await onVolume(this.#volume.namespace.link(source, at.folder.directory, at.name, options));
      await at.folder.link();
      this.#tally.counts.links += 1;
    }
  }

  #groupOf(stat: LocalStat): LinkGroup {
    const key = keyOf(stat);
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { names: [], content: undefined, unchanged: [] };
      this.#groups.set(key, group);
    }
    return group;
  }
}

function keyOf({ device, inode }: LocalStat): string {
  return `${device} ${inode}`;
}
