/** Files with several names on their way into a volume: one file there, too, with as many of the names as are copied. */
import type { Id } from '../server/sealed/ids.ts';
import type { FileInode, Name } from '../server/sealed/inode.ts';
import { placeInode } from '../volume/file-place.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import type { PutFolder } from './put-folder.ts';
import { onVolume, type Tally } from './tally.ts';

interface LinkName {
  readonly folder: PutFolder;
  readonly name: Name;
  readonly path: Name;
}

interface LinkGroup {
  readonly names: LinkName[];
  /** What was sent of it; undefined while all names are unchanged. */
  content: { readonly inode: FileInode; readonly segments: ReadonlySet<Id> } | undefined;
  /** Files in the volume that are what a name led to already. */
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

  /** Notes a name. True if the content is needed: then call {@link setContent}. */
  add(stat: LocalStat, at: LinkName, unchangedId: Id | undefined): boolean {
    const group = this.#groupOf(stat);
    group.names.push(at);
    if (unchangedId !== undefined) group.unchanged.push({ at, id: unchangedId });
    return unchangedId === undefined && group.content === undefined && group.unchanged.length === 0;
  }

  setContent(stat: LocalStat, inode: FileInode, segments: ReadonlySet<Id>): void {
    this.#groupOf(stat).content = { inode, segments };
  }

  /** Gives all files their names. */
  async finish(): Promise<void> {
    for (const group of this.#groups.values()) {
      try {
        await (group.content === undefined
          ? this.#linkToUnchanged(group)
          : this.#insert(group, group.content));
      } catch (error) {
        for (const { path } of group.names) this.#tally.fail(path, error);
      }
    }
  }

  async #insert(
    { names }: LinkGroup,
    { inode, segments }: { readonly inode: FileInode; readonly segments: ReadonlySet<Id> },
  ): Promise<void> {
    const linked = { ...inode, linkCount: names.length };
    const node = await onVolume(placeInode(this.#volume.inodes, linked, segments));
    await Promise.all(
      names.map(async ({ folder, name, path }) => {
        const options = { replace: true, keepTimes: folder.keepTimes, segments };
        try {
          await onVolume(this.#volume.names.insertNode(folder.directory, name, node, options));
          await folder.link();
        } catch (error) {
          this.#tally.fail(path, error);
        }
      }),
    );
    this.#tally.counts.files += 1;
    this.#tally.counts.links += names.length - 1;
    this.#tally.counts.bytes += inode.sizeBytes;
  }

  /** Names that do not lead to the file that the others lead to are put right. */
  async #linkToUnchanged({ names, unchanged }: LinkGroup): Promise<void> {
    const [first] = unchanged;
    if (first === undefined) return;
    this.#tally.counts.unchanged += 1;
    const right = new Set(unchanged.filter(({ id }) => id === first.id).map(({ at }) => at));
    const source = { directory: first.at.folder.directory, name: first.at.name };
    for (const at of names) {
      if (right.has(at)) continue;
      const options = { replace: true, keepTimes: at.folder.keepTimes };
      await onVolume(this.#volume.names.link(source, at.folder.directory, at.name, options));
      await at.folder.link();
      this.#tally.counts.links += 1;
    }
  }

  #groupOf({ device, inode }: LocalStat): LinkGroup {
    const key = `${device} ${inode}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { names: [], content: undefined, unchanged: [] };
      this.#groups.set(key, group);
    }
    return group;
  }
}
