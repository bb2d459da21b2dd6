/**
 * The next version of an inode, while the changes of one commit are applied to it.
 *
 * An embedded directory is part of its host. A change of it opens a draft below that of the host, one for
 * each directory on the path, and the commit of the host puts them all in place.
 *
 * Promotion: an embedded directory becomes an object of its own, with all embedded directories above it. The
 * draft builds these objects with everything that the commit changes in them, each under a fresh key and with
 * the embedded version plus 1. They are put first; nothing refers to them until the host is swapped. If the
 * swap is lost, the next attempt builds others, under other keys. A directory is never embedded again: a
 * client that holds the key of its object would be acknowledged into nothing.
 *
 * Invariants
 *   1. A change that rejects has changed nothing, in any of the drafts.
 *   2. A directory has one draft, under its id, wherever its entry is moved to within the host.
 *   3. A draft that is changed shows in the entry above it, up to the host. Each directory on that path gets
 *      a version of its own.
 *   4. The directory above one that becomes an object is an object, or becomes one in the same commit.
 */
import { NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import type {
  DirectoryEntry,
  DirectoryInode,
  FileInode,
  Inode,
  LinkableInode,
  ObjectReference,
} from '../../server/sealed/inode.ts';
import { checkEncodable } from '../../server/sealed/inode-body.ts';
import { NameTree, sizesOf } from '../../server/sealed/name-tree.ts';
import type { SegmentWriter } from '../../server/sealed/segment-writer.ts';
import { nowNs, type Session } from '../session/session.ts';
import { idOfEntry, keyOfReference, typeOfEntry } from './references.ts';

/** Fields of an inode that a change may set. */
export type InodePatch = Partial<Omit<FileInode, 'id' | 'type'>> &
  Partial<Pick<DirectoryInode, 'parent' | 'formerParent' | 'isDead' | 'arrivals'>>;

/** An inode that lay in its host, and the key of the object that it gets. */
export interface MovedOut<Kind extends Inode = Inode> {
  readonly key: Id;
  readonly inode: Kind;
}

/** What all drafts of one commit share. */
interface Commit {
  readonly session: Session;
  /** Segments that must be durable before the commit. */
  readonly segments: Set<Id>;
  /** The keys of inode objects that new and changed entries lead to. */
  readonly referred: Set<Id>;
  /** The drafts of embedded directories. */
  readonly below: Map<Id, Draft>;
  /** The directories that become objects, as they were built. */
  readonly promoted: MovedOut<DirectoryInode>[];
  /** Functions that undo what the present change has done, in the order of the change. */
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
  /** The key of its object. For an embedded directory, of the one that it becomes; undefined if it stays. */
  #key: Id | undefined;
  /** True when an embedded directory is to become an object. */
  #isPromoted = false;
  /** Changed names; undefined for removed ones. */
  readonly #entries = new Map<Name, DirectoryEntry | undefined>();
  /** What {@link find} has found in the base. */
  readonly #found = new Map<Name, DirectoryEntry | undefined>();
  #isChanged = false;

  /** The draft of an inode that is an object of its own, and that object's key. */
  static of(session: Session, base: Inode, key: Id): Draft {
    return new Draft(
      {
        session,
        segments: new Set(),
        referred: new Set(),
        below: new Map(),
        promoted: [],
        undo: [],
        changeSegments: new Set(),
      },
      base,
      key,
    );
  }

  private constructor(commit: Commit, base: Inode, key: Id | undefined) {
    this.#commit = commit;
    this.#inode = base;
    this.#key = key;
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
   * Finds as {@link find} does, for a change of the name. Throws {@link DepartingError} if a move must be
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
    // The directory may have left this host since, and come back with other content.
    const isOther = draft?.isChanged === false && draft.inode.version !== node.inode.version;
    if (draft === undefined || isOther) {
      draft = new Draft(this.#commit, node.inode, undefined);
      below.set(node.inode.id, draft);
    }
    draft.#above = { draft: this, name };
    return draft;
  }

  /**
   * Makes an embedded directory an object of its own with this commit, and all embedded directories above it.
   * An object stays as it is. EUNSUPPORTED for a folder that only a newer netseal may change.
   *
   * @param key that of an object which is there already. Default: a fresh one.
   */
  promote(key?: Id): void {
    if (this.#above === undefined || this.#isPromoted) return;
    requireChangeableInode(this.#inode);
    this.#isPromoted = true;
    this.#key = key;
    this.#commit.undo.push(() => {
      this.#isPromoted = false;
      this.#key = undefined;
    });
    this.#above.draft.promote();
    this.#touch();
  }

  /** The reference to the object that an embedded directory becomes; undefined before {@link build}. */
  get reference(): (ObjectReference & { readonly key: Id }) | undefined {
    if (this.#above === undefined || this.#key === undefined) return undefined;
    return { kind: 'object', id: this.#inode.id, key: this.#key, type: 'directory' };
  }

  /** The directories that become objects, as {@link build} has made them: put them before the commit. */
  get promoted(): readonly MovedOut<DirectoryInode>[] {
    return this.#commit.promoted;
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

  /**
   * Replaces an entry. Its name must be there: ask {@link find} first. Errors are those of {@link insert}.
   */
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
   * Returns the inode with its new tree, whose nodes are placed in segments: {@link segments} names those as
   * well, and {@link promoted} the objects to put. The version is still that of the base. Call it once, for
   * an object.
   */
  async build(writer: SegmentWriter): Promise<Inode> {
    const inode = this.#inode;
    if (inode.type !== 'directory' || this.#entries.size === 0) return inode;
    this.#takeKeys();
    return await this.#buildDirectory(inode, writer);
  }

  /**
   * Gives a key to each directory that becomes an object. Returns true if this one does. It may have to
   * because one that does has been moved into it.
   */
  #takeKeys(): boolean {
    let isPromoted = this.#isPromoted;
    for (const entry of this.#entries.values()) {
      const below = this.#changedBelow(entry);
      const isObject = below === undefined ? false : below.#takeKeys();
      isPromoted ||= isObject;
    }
    if (isPromoted) this.#key ??= randomId();
    return isPromoted;
  }

  async #buildDirectory(inode: DirectoryInode, writer: SegmentWriter): Promise<DirectoryInode> {
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
    const draft = this.#changedBelow(entry);
    if (entry === undefined || draft === undefined) return entry;
    const { promoted, referred } = this.#commit;
    const { reference, directory } = draft;
    const parent = reference === undefined ? undefined : this.#key;
    const version = directory.version + 1;
    const inode = { ...(await draft.#buildDirectory({ ...directory, parent }, writer)), version };
    if (reference === undefined) return { ...entry, node: { kind: 'embedded', inode } };
    promoted.push({ key: reference.key, inode });
    referred.add(reference.key);
    return { ...entry, node: reference };
  }

  /**
   * Returns the changed draft of the embedded directory that an entry leads to; undefined if there is none.
   */
  #changedBelow(entry: DirectoryEntry | undefined): Draft | undefined {
    if (entry?.node.kind !== 'embedded') return undefined;
    const draft = this.#commit.below.get(entry.node.inode.id);
    return draft?.isChanged === true ? draft : undefined;
  }

  /**
   * Changes `back`, a draft of the state that this one's commit has replaced, so that it can be put in its
   * place again:
   *
   *   - Whatever the commit had changed gets versions that were never used.
   *   - What has become an object stays one, if `isThere` says that the object is still there.
   *
   * @returns the files that stay objects, as they were before.
   */
  async revertInto(back: Draft, isThere: (key: Id) => boolean): Promise<MovedOut<LinkableInode>[]> {
    const after = new Map<Id, DirectoryEntry>();
    for (const draft of [this, ...this.#commit.below.values()]) {
      if (draft.#isChanged)
        for (const entry of draft.#entries.values())
          if (entry !== undefined) after.set(idOfEntry(entry), entry);
    }
    const files: MovedOut<LinkableInode>[] = [];
    await this.#revertInto(back, { after, isThere, files });
    return files;
  }

  async #revertInto(back: Draft, revert: Revert): Promise<void> {
    const before = back.inode;
    for (const name of this.#entries.keys()) {
      const old = await back.find(name);
      if (old?.node.kind !== 'embedded') continue;
      const { inode } = old.node;
      if (inode.type !== 'directory') {
        const node = revertedFile(inode, revert);
        if (node !== undefined) back.replace({ ...old, node }, { keepTimes: true });
        continue;
      }
      const draft = this.#changedBelow(old);
      if (draft === undefined) continue;
      const below = back.open(old);
      if (draft.#key !== undefined && revert.isThere(draft.#key)) below.promote(draft.#key);
      await draft.#revertInto(below, revert);
    }
    // The next version of an embedded directory is 1 more than this.
    const version = this.#above === undefined ? before.version : before.version + 1;
    back.update({ version, dataVersion: revertedDataVersion(before, this.#inode) });
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

/** What a commit has left of the entries that it changed, by inode id; see `Draft.revertInto`. */
interface Revert {
  readonly after: ReadonlyMap<Id, DirectoryEntry>;
  readonly isThere: (key: Id) => boolean;
  readonly files: MovedOut<LinkableInode>[];
}

/** Returns the node that an embedded file gets back; undefined when nothing had changed it. */
function revertedFile(
  inode: LinkableInode,
  { after, isThere, files }: Revert,
): DirectoryEntry['node'] | undefined {
  const node = after.get(inode.id)?.node;
  if (node === undefined) return undefined;
  if (node.kind === 'object') {
    const key = keyOfReference(node);
    if (!isThere(key)) return undefined;
    files.push({ key, inode });
    return node;
  }
  const version = node.inode.version + 1;
  return {
    kind: 'embedded',
    inode: { ...inode, version, dataVersion: revertedDataVersion(inode, node.inode) },
  };
}

/** Returns the data version for content that is as it was before a change. */
function revertedDataVersion(before: Inode, after: Inode): number {
  return after.dataVersion === before.dataVersion ? before.dataVersion : after.dataVersion + 1;
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
