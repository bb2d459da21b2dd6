/** The next version of an inode while the changes of one commit are being applied to it. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, DirectoryInode, FileInode, Inode } from '../../server/sealed/inode.ts';
import { type NameChanges, NameTree } from '../../server/sealed/name-tree.ts';
import { nowNs, type Session } from '../session/session.ts';

/** What may be set on any inode. */
export type InodePatch = Partial<Omit<FileInode, 'id' | 'type'>> &
  Partial<Pick<DirectoryInode, 'parent' | 'formerParent' | 'isDead' | 'arrivals'>>;

/** What a change looks at and asks for. It applies as a whole if the change resolves, and not at all if it rejects. */
export class Draft {
  readonly #session: Session;
  readonly #base: Inode;
  #inode: Inode;
  /** Changed names; undefined for removed ones. */
  #entries = new Map<Name, DirectoryEntry | undefined>();
  #segments = new Set<Id>();
  readonly #referred = new Set<Id>();
  #isChanged = false;
  #lastSegments: ReadonlySet<Id> = new Set();

  constructor(session: Session, base: Inode) {
    this.#session = session;
    this.#base = base;
    this.#inode = base;
  }

  get inode(): Inode {
    return this.#inode;
  }

  /** ENOTDIR, or ENOENT when it was removed: nothing can be done in it any more. */
  get directory(): DirectoryInode {
    const inode = this.#inode;
    if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', `inode ${inode.id} is no folder`);
    if (inode.isDead) throw new NetsealError('ENOENT', 'the folder was removed');
    return inode;
  }

  get isChanged(): boolean {
    return this.#isChanged;
  }

  /** What the change that was applied last asked to be durable. */
  get lastSegments(): ReadonlySet<Id> {
    return this.#lastSegments;
  }

  /** What must be durable before this may be committed. */
  get segments(): ReadonlySet<Id> {
    return this.#segments;
  }

  /** Inode objects that entries lead to which were put or changed. */
  get referred(): ReadonlySet<Id> {
    return this.#referred;
  }

  /** Names that were changed, ascending. */
  get changes(): NameChanges {
    return [...this.#entries].sort(([left], [right]) => (left < right ? -1 : 1));
  }

  async find(name: Name): Promise<DirectoryEntry | undefined> {
    const { tree } = this.directory;
    if (this.#entries.has(name)) return this.#entries.get(name);
    const { sealing, nameNodes } = this.#session;
    // Commits of a new directory find no node to read.
    return await new NameTree(sealing, this.#base.id, nameNodes).find(tree, name);
  }

  /** A name that {@link find} did not find. */
  insert(entry: DirectoryEntry, options: ChangeOptions = {}): void {
    this.#setEntry(entry.name, entry, 1, options);
  }

  /** A name that {@link find} found. */
  replace(entry: DirectoryEntry, options: ChangeOptions = {}): void {
    this.#setEntry(entry.name, entry, 0, options);
  }

  /** A name that {@link find} found. */
  remove(name: Name, options: ChangeOptions = {}): void {
    this.#setEntry(name, undefined, -1, options);
  }

  /** Has the nodes on the way to a name, which need not be there, written anew: for compaction. */
  async rewrite(name: Name): Promise<void> {
    this.#entries.set(name, await this.find(name));
    this.#isChanged = true;
  }

  update(patch: InodePatch): void {
    this.#inode = { ...this.#inode, ...patch } as Inode;
    this.#isChanged = true;
  }

  /** {@link find}, for whoever is going to change the name: an entry on its way elsewhere has to be settled first. */
  async findSettled(name: Name): Promise<DirectoryEntry | undefined> {
    const entry = await this.find(name);
    if (entry?.departure !== undefined) throw new DepartingError(entry);
    return entry;
  }

  /** Says which segments must be durable before the commit. */
  needs(segments: Iterable<Id>): void {
    for (const segment of segments) this.#segments.add(segment);
  }

  /** Runs a change; what it did is undone if it rejects. */
  async run<Result>(change: (draft: Draft) => Promise<Result> | Result): Promise<Result> {
    const before = { inode: this.#inode, isChanged: this.#isChanged };
    const entries = this.#entries;
    const segments = this.#segments;
    this.#entries = new Overlay(entries);
    this.#segments = new Set();
    try {
      const result = await change(this);
      for (const [name, entry] of this.#entries.entries()) entries.set(name, entry);
      for (const segment of this.#segments) segments.add(segment);
      this.#lastSegments = this.#segments;
      return result;
    } catch (error) {
      this.#inode = before.inode;
      this.#isChanged = before.isChanged;
      throw error;
    } finally {
      this.#entries = entries;
      this.#segments = segments;
    }
  }

  #setEntry(name: Name, entry: DirectoryEntry | undefined, added: number, options: ChangeOptions): void {
    const { entryCount, dataVersion } = this.directory;
    this.#entries.set(name, entry);
    if (entry?.node.kind === 'object') this.#referred.add(entry.node.id);
    const time = nowNs(this.#session);
    const times = options.keepTimes === true ? {} : { mtimeNs: time, ctimeNs: time };
    this.#inode = {
      ...this.directory,
      entryCount: entryCount + added,
      dataVersion: dataVersion + 1,
      ...times,
    };
    this.#isChanged = true;
  }
}

/** A name is in motion: `Moves.settled` ends that and tries again. */
export class DepartingError extends NetsealError {
  readonly entry: DirectoryEntry;

  constructor(entry: DirectoryEntry) {
    super('ECONFLICT', 'another client is moving it: try again');
    this.entry = entry;
  }
}

export interface ChangeOptions {
  /** The directory's own times stay: whoever copies a tree sets them. */
  readonly keepTimes?: boolean | undefined;
}

/** A map that looks through to another one, which it does not change. */
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
