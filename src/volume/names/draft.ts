/** The next version of an inode, while the changes of one commit are applied to it. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import type { DirectoryEntry, DirectoryInode, FileInode, Inode } from '../../server/sealed/inode.ts';
import { checkEncodable } from '../../server/sealed/inode-body.ts';
import { type NameChanges, NameTree } from '../../server/sealed/name-tree.ts';
import { nowNs, type Session } from '../session/session.ts';
import { keyOfReference } from './references.ts';

/** Fields of an inode that a change may set. */
export type InodePatch = Partial<Omit<FileInode, 'id' | 'type'>> &
  Partial<Pick<DirectoryInode, 'parent' | 'formerParent' | 'isDead' | 'arrivals'>>;

/** A change reads the draft and changes it. If the change rejects, nothing that it did applies. */
export class Draft {
  readonly #session: Session;
  #inode: Inode;
  /** Changed names; undefined for removed ones. */
  #entries = new Map<Name, DirectoryEntry | undefined>();
  /** What {@link find} has found in the base. */
  readonly #found = new Map<Name, DirectoryEntry | undefined>();
  #segments = new Set<Id>();
  #referred = new Set<Id>();
  #isChanged = false;
  #lastSegments: ReadonlySet<Id> = new Set();

  constructor(session: Session, base: Inode) {
    this.#session = session;
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
    return this.#lastSegments;
  }

  /** Segments that must be durable before the draft may be committed. */
  get segments(): ReadonlySet<Id> {
    return this.#segments;
  }

  /** The keys of inode objects that new and changed entries lead to. */
  get referred(): ReadonlySet<Id> {
    return this.#referred;
  }

  /** The changed names, ascending. */
  get changes(): NameChanges {
    return [...this.#entries].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  /** Returns the entry of a name as the draft has it now; undefined if there is none. */
  async find(name: Name): Promise<DirectoryEntry | undefined> {
    const { id, tree } = this.directory;
    if (this.#entries.has(name)) return this.#entries.get(name);
    const { sealing, nameNodes } = this.#session;
    // Commits of a new directory find no node to read.
    const found = await new NameTree(sealing, id, nameNodes).find(tree, name);
    this.#found.set(name, found);
    return found;
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
    this.#entries.set(name, await this.find(name));
    this.#isChanged = true;
  }

  /**
   * Sets fields of the inode. EINVAL for a value that cannot be stored, EUNSUPPORTED for an inode that only a
   * newer netseal may change; then nothing is changed.
   */
  update(patch: InodePatch): void {
    requireChangeableInode(this.#inode);
    const inode = { ...this.#inode, ...patch } as Inode;
    checkEncodable(inode);
    this.#inode = inode;
    this.#isChanged = true;
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

  /** Adds segments that must be durable before the commit. */
  needs(segments: Iterable<Id>): void {
    for (const segment of segments) this.#segments.add(segment);
  }

  /** Runs a change, and undoes it if it rejects. */
  async run<Result>(change: (draft: Draft) => Promise<Result> | Result): Promise<Result> {
    const before = { inode: this.#inode, isChanged: this.#isChanged };
    const entries = this.#entries;
    const segments = this.#segments;
    const referred = this.#referred;
    this.#entries = new Overlay(entries);
    this.#segments = new Set();
    this.#referred = new Set();
    try {
      const result = await change(this);
      for (const [name, entry] of this.#entries.entries()) entries.set(name, entry);
      for (const segment of this.#segments) segments.add(segment);
      for (const key of this.#referred) referred.add(key);
      this.#lastSegments = this.#segments;
      return result;
    } catch (error) {
      this.#inode = before.inode;
      this.#isChanged = before.isChanged;
      throw error;
    } finally {
      this.#entries = entries;
      this.#segments = segments;
      this.#referred = referred;
    }
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
    this.#entries.set(name, entry);
    if (entry?.node.kind === 'object') this.#referred.add(keyOfReference(entry.node));
    const time = nowNs(this.#session);
    const times = options.keepTimes === true ? {} : { mtimeNs: time, ctimeNs: time };
    this.#inode = {
      ...this.directory,
      entryCount: entryCount + countOf(entry) - countOf(before),
      subdirectoryCount: subdirectoryCount + directoryCountOf(entry) - directoryCountOf(before),
      dataVersion: dataVersion + 1,
      ...times,
    };
    this.#isChanged = true;
  }
}

function countOf(entry: DirectoryEntry | undefined): number {
  return entry === undefined ? 0 : 1;
}

function directoryCountOf(entry: DirectoryEntry | undefined): number {
  return entry?.node.kind === 'object' && entry.node.type === 'directory' ? 1 : 0;
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

/** A map that lies over another one: it shows the entries of both, and changes only its own. */
class Overlay extends Map<Name, DirectoryEntry | undefined> {
  readonly #below: ReadonlyMap<Name, DirectoryEntry | undefined>;

  constructor(below: ReadonlyMap<Name, DirectoryEntry | undefined>) {
    super();
    this.#below = below;
  }

  override has(name: Name): boolean {
    return super.has(name) || this.#below.has(name);
  }

  override get(name: Name): DirectoryEntry | undefined {
    return super.has(name) ? super.get(name) : this.#below.get(name);
  }
}
