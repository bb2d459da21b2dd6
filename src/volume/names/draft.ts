/**
 * The next version of an inode, while the changes of one commit are applied to it.
 *
 * An embedded directory is part of its host. A change of it opens a draft below that of the host, one for
 * each directory on the path, and the commit of the host puts them all in place.
 *
 * Invariants
 *   1. A change that rejects has changed nothing, in any of the drafts.
 *   2. A directory has one draft, under its id, wherever its entry is moved to within the host.
 *   3. A draft that is changed shows in the entry above it, up to the host. Each directory on that path gets
 *      a version of its own.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import type { DirectoryEntry, DirectoryInode, FileInode, Inode } from '../../server/sealed/inode.ts';
import { checkEncodable } from '../../server/sealed/inode-body.ts';
import { NameTree, sizesOf } from '../../server/sealed/name-tree.ts';
import type { SegmentWriter } from '../../server/sealed/segment-writer.ts';
import { nowNs, type Session } from '../session/session.ts';
import { keyOfReference, typeOfEntry } from './references.ts';

/** Fields of an inode that a change may set. */
export type InodePatch = Partial<Omit<FileInode, 'id' | 'type'>> &
  Partial<Pick<DirectoryInode, 'parent' | 'formerParent' | 'isDead' | 'arrivals'>>;

/** What all drafts of one commit share. */
interface Commit {
  readonly session: Session;
  /** Segments that must be durable before the commit. */
  readonly segments: Set<Id>;
  /** The keys of inode objects that new and changed entries lead to. */
  readonly referred: Set<Id>;
  /** The drafts of embedded directories. */
  readonly below: Map<Id, Draft>;
  /** Takes back what the present change has done; in order. */
  undo: (() => void)[];
  /** Segments that the present change needs. */
  changeSegments: Set<Id>;
}

/** A change reads the draft and changes it. If the change rejects, nothing that it did applies. */
export class Draft {
  readonly #commit: Commit;
  /** The draft that holds this directory, and its name there. Undefined for the host. */
  #above: { readonly draft: Draft; readonly name: Name } | undefined;
  #inode: Inode;
  /** Changed names; undefined for removed ones. */
  readonly #entries = new Map<Name, DirectoryEntry | undefined>();
  /** What {@link find} has found in the base. */
  readonly #found = new Map<Name, DirectoryEntry | undefined>();
  #isChanged = false;

  /** The draft of an inode that is an object of its own. */
  static of(session: Session, base: Inode): Draft {
    return new Draft(
      {
        session,
        segments: new Set(),
        referred: new Set(),
        below: new Map(),
        undo: [],
        changeSegments: new Set(),
      },
      base,
    );
  }

  private constructor(commit: Commit, base: Inode) {
    this.#commit = commit;
    this.#inode = base;
  }

  get inode(): Inode {
    return this.#inode;
  }

  /** The inode as a directory. Throws ENOTDIR when it is none, ENOENT when it was removed. */
  get directory(): DirectoryInode {
    const inode = this.#inode;
    if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', `inode ${inode.id} is not a folder`);
    if (inode.isDead) throw new NetsealError('ENOENT', 'the folder was removed');
    return inode;
  }

  get isChanged(): boolean {
    return this.#isChanged;
  }

  /** Segments that the last applied change needs. */
  get lastSegments(): ReadonlySet<Id> {
    return this.#commit.changeSegments;
  }

  /** Segments that must be durable before the draft may be committed. */
  get segments(): ReadonlySet<Id> {
    return this.#commit.segments;
  }

  /** The keys of inode objects that new and changed entries lead to, also in embedded directories. */
  get referred(): ReadonlySet<Id> {
    return this.#commit.referred;
  }

  /** Returns the entry of a name as the draft has it now; undefined if there is none. */
  async find(name: Name): Promise<DirectoryEntry | undefined> {
    const { id, tree } = this.directory;
    if (this.#entries.has(name)) return this.#entries.get(name);
    const { sealing, nameNodes } = this.#commit.session;
    // Commits of a new directory find no node to read.
    const found = await new NameTree(sealing, id, nameNodes).find(tree, name);
    this.#found.set(name, found);
    return found;
  }

  /**
   * Does the same as {@link find}, for changes to the name. Throws {@link DepartingError} if a move must be
   * settled first.
   */
  async findSettled(name: Name): Promise<DirectoryEntry | undefined> {
    const entry = await this.find(name);
    if (entry?.departure !== undefined) throw new DepartingError(entry);
    return entry;
  }

  /**
   * Opens an embedded directory that {@link find} has found here.
   *
   * The content of that entry may be older than the draft: changes show in the draft.
   */
  open({ name, node }: DirectoryEntry): Draft {
    if (node.kind === 'object' || node.inode.type !== 'directory') {
      throw new NetsealError('EBUG', 'not an embedded directory');
    }
    const { below } = this.#commit;
    let draft = below.get(node.inode.id);
    // It may have left this host since, and come back with other content.
    const isOther = draft?.isChanged === false && draft.inode.version !== node.inode.version;
    if (draft === undefined || isOther) {
      draft = new Draft(this.#commit, node.inode);
      below.set(node.inode.id, draft);
    }
    draft.#above = { draft: this, name };
    return draft;
  }

  /** True when an earlier change of this commit has changed the embedded directory. */
  hasChanged(id: Id): boolean {
    return this.#commit.below.get(id)?.isChanged === true;
  }

  /**
   * Adds an entry. Its name must not be there: ask {@link find} first. EINVAL for an inode that cannot be
   * stored, EUNSUPPORTED for a folder or file that only a newer netseal may change; then nothing is changed.
   */
  insert(entry: DirectoryEntry, options: ChangeOptions = {}): void {
    if (this.#known(entry.name) !== undefined) throw new NetsealError('EBUG', 'a name is there already');
    this.#setEntry(entry.name, entry, options);
  }

  /** Replaces an entry. Its name must be there: ask {@link find} first. Errors are those of {@link insert}. */
  replace(entry: DirectoryEntry, options: ChangeOptions = {}): void {
    if (this.#known(entry.name) === undefined) throw new NetsealError('EBUG', 'a name is not there');
    this.#setEntry(entry.name, entry, options);
  }

  /** Removes an entry. Its name must be there: ask {@link find} first. EUNSUPPORTED as for {@link insert}. */
  remove(name: Name, options: ChangeOptions = {}): void {
    this.#setEntry(name, undefined, options);
  }

  /** Rewrites the nodes on the way to a name, which need not be there. Compaction moves nodes like this. */
  async rewrite(name: Name): Promise<void> {
    this.#put(name, await this.find(name));
    this.#touch();
  }

  /**
   * Sets fields of the inode. EINVAL for a value that cannot be stored, EUNSUPPORTED for an inode that only a
   * newer netseal may change; then nothing is changed.
   */
  update(patch: InodePatch): void {
    requireChangeableInode(this.#inode);
    const inode = { ...this.#inode, ...patch } as Inode;
    checkEncodable(inode);
    this.#setInode(inode);
  }

  /** Adds segments that must be durable before the commit. */
  needs(segments: Iterable<Id>): void {
    for (const segment of segments) {
      this.#commit.changeSegments.add(segment);
      this.#add(this.#commit.segments, segment);
    }
  }

  /** Adds keys of inode objects that the commit leads to, beside those in its entries. */
  refers(keys: Iterable<Id>): void {
    for (const key of keys) this.#add(this.#commit.referred, key);
  }

  /** Runs a change, and undoes it if it rejects. */
  async run<Result>(change: (draft: Draft) => Promise<Result> | Result): Promise<Result> {
    const commit = this.#commit;
    commit.undo = [];
    commit.changeSegments = new Set();
    try {
      return await change(this);
    } catch (error) {
      for (const undo of commit.undo.reverse()) undo();
      throw error;
    }
  }

  /**
   * Returns the inode with its new tree, whose nodes are placed in segments: {@link segments} names those
   * as well. The version is still that of the base.
   */
  async build(writer: SegmentWriter): Promise<Inode> {
    const inode = this.#inode;
    const isEmbedded = this.#above !== undefined;
    if (inode.type !== 'directory' || (this.#entries.size === 0 && !isEmbedded)) return inode;
    const changes: [Name, DirectoryEntry | undefined][] = [];
    for (const [name, entry] of this.#entries) changes.push([name, await this.#built(entry, writer)]);
    changes.sort(([left], [right]) => (left < right ? -1 : 1));
    const { sealing, nameNodes } = this.#commit.session;
    const names = new NameTree(sealing, inode.id, nameNodes, sizesOf(inode));
    const { root, nextIndex, segments } = await names.update(inode.tree, changes, inode.nextIndex, writer);
    for (const segment of segments) this.#commit.segments.add(segment);
    return { ...inode, tree: root, nextIndex };
  }

  /** Returns an entry with the changes of the embedded directory that it leads to, if there are any. */
  async #built(
    entry: DirectoryEntry | undefined,
    writer: SegmentWriter,
  ): Promise<DirectoryEntry | undefined> {
    if (entry?.node.kind !== 'embedded') return entry;
    const draft = this.#commit.below.get(entry.node.inode.id);
    if (draft?.isChanged !== true) return entry;
    const inode = await draft.build(writer);
    return { ...entry, node: { kind: 'embedded', inode: { ...inode, version: inode.version + 1 } } };
  }

  /** Returns the entry of a name that {@link find} was asked for, as the draft has it now. */
  #known(name: Name): DirectoryEntry | undefined {
    if (this.#entries.has(name)) return this.#entries.get(name);
    if (!this.#found.has(name)) throw new NetsealError('EBUG', 'a name is changed that was not looked up');
    return this.#found.get(name);
  }

  #setEntry(name: Name, entry: DirectoryEntry | undefined, options: ChangeOptions): void {
    const { entryCount, subdirectoryCount, dataVersion } = this.directory;
    requireChangeableInode(this.directory);
    const before = this.#known(name);
    if (entry !== undefined) requireSameOrChangeable(before, entry);
    if (entry?.node.kind === 'embedded') checkEncodable(entry.node.inode);
    this.#put(name, entry);
    if (entry?.node.kind === 'object') this.refers([keyOfReference(entry.node)]);
    const time = nowNs(this.#commit.session);
    const times = options.keepTimes === true ? {} : { mtimeNs: time, ctimeNs: time };
    this.#setInode({
      ...this.directory,
      entryCount: entryCount + countOf(entry) - countOf(before),
      subdirectoryCount: subdirectoryCount + directoryCountOf(entry) - directoryCountOf(before),
      dataVersion: dataVersion + 1,
      ...times,
    });
  }

  /** Notes that the directory has changed, and so all above it. */
  #touch(): void {
    if (!this.#isChanged) {
      this.#isChanged = true;
      this.#commit.undo.push(() => {
        this.#isChanged = false;
      });
    }
    const above = this.#above;
    if (above === undefined) return;
    const { draft, name } = above;
    requireChangeableInode(draft.#inode);
    if (!draft.#entries.has(name)) {
      draft.#put(name, { name, node: { kind: 'embedded', inode: this.#inode } });
    }
    draft.#touch();
  }

  #setInode(inode: Inode): void {
    const before = this.#inode;
    this.#inode = inode;
    this.#commit.undo.push(() => {
      this.#inode = before;
    });
    this.#touch();
  }

  #put(name: Name, entry: DirectoryEntry | undefined): void {
    const entries = this.#entries;
    const wasThere = entries.has(name);
    const before = entries.get(name);
    entries.set(name, entry);
    this.#commit.undo.push(() => {
      if (wasThere) entries.set(name, before);
      else entries.delete(name);
    });
  }

  #add(set: Set<Id>, id: Id): void {
    if (set.has(id)) return;
    set.add(id);
    this.#commit.undo.push(() => set.delete(id));
  }
}

function countOf(entry: DirectoryEntry | undefined): number {
  return entry === undefined ? 0 : 1;
}

function directoryCountOf(entry: DirectoryEntry | undefined): number {
  return entry !== undefined && typeOfEntry(entry) === 'directory' ? 1 : 0;
}

function requireChangeableInode({ id, extensions }: Inode): void {
  requireChangeable(`inode ${id}`, extensions?.items);
}

/** Throws EUNSUPPORTED if an embedded inode is to be changed which only a newer netseal may change. */
function requireSameOrChangeable(before: DirectoryEntry | undefined, after: DirectoryEntry): void {
  if (before?.node.kind !== 'embedded') return;
  const { inode } = before.node;
  const isChanged =
    after.node.kind === 'embedded'
      ? after.node.inode !== inode && after.node.inode.id === inode.id
      : after.node.id === inode.id;
  if (isChanged) requireChangeableInode(inode);
}

/** Signals that a name is being moved away: `Moves.applySettled` ends that move and tries again. */
export class DepartingError extends NetsealError {
  readonly entry: DirectoryEntry;

  constructor(entry: DirectoryEntry) {
    super('ECONFLICT', 'another client is moving it: try again');
    this.entry = entry;
  }
}

export interface ChangeOptions {
  /** Leaves the directory's own times as they are. Copies of trees set them. */
  readonly keepTimes?: boolean | undefined;
}
