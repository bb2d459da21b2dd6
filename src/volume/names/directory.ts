/**
 * A directory that a session works on: reads of its names, and changes to them.
 *
 *   object    a `LiveInode` of its own
 *   embedded  a name in another directory; its content lies in its host, the nearest object above. Reads and
 *             changes go through the host, along the path of names. The path is found anew each time, also
 *             when a change is applied again to what another client has left
 *   unborn    an embedded one that is not there yet: the first change in it makes it, in the same commit
 *
 * An embedded directory may become an object at any time, by this client or another. Whoever comes by then
 * finds a reference with its id, and the directory goes on as that object. It never goes back.
 */
import { argumentError, requireNumber, requireOptions, requireText } from '../../base/arguments.ts';
import { codeOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, DirectoryInode, ObjectReference } from '../../server/sealed/inode.ts';
import { NameTree } from '../../server/sealed/name-tree.ts';
import { embeddedIn, fetchAhead } from '../session/fetch-ahead.ts';
import type { Session } from '../session/session.ts';
import type { ApplyOptions, Change } from './commit-group.ts';
import { DepartingError, type Draft } from './draft.ts';
import type { LiveInode } from './live-inode.ts';
import { idOfEntry, keyOfReference } from './references.ts';

/** Where a directory lies. */
export type Place =
  | { readonly kind: 'object'; readonly live: LiveInode }
  | { readonly kind: 'embedded'; readonly parent: Directory; readonly name: Name };

/** A new directory that is not in the store yet. */
export interface Unborn {
  readonly inode: DirectoryInode;
  /** Puts it under its name into the draft of its parent; throws why it cannot. */
  readonly insert: (parent: Draft, inode: DirectoryInode) => Promise<void>;
}

/** Returns the inode whose object has a key. */
export type LiveInodes = (key: Id) => LiveInode;

/** Where an embedded directory is found: its host, and the embedded directories from there down to it. */
export interface HostedPath {
  readonly live: LiveInode;
  readonly steps: readonly Directory[];
}

/** An embedded directory on a path, and its inode. */
interface PathStep {
  readonly directory: Directory;
  readonly inode: DirectoryInode;
}

/** An embedded directory on a path, and its draft in a commit. */
interface OpenedStep {
  readonly directory: Directory;
  readonly draft: Draft;
}

/** How old a host's state may be for a walk to read the embedded directories in it, in ms. */
const WALK_FRESH_MS = 60_000;
/** How often a directory that has got another name is looked for before it counts as gone. */
const SEARCHES_MAX = 16;

export class Directory {
  /** The id of its inode. */
  readonly id: Id;
  readonly #session: Session;
  readonly #lives: LiveInodes;
  #place: Place;
  #unborn: Unborn | undefined;
  #leavesHost = false;

  constructor(session: Session, lives: LiveInodes, id: Id, place: Place, unborn?: Unborn) {
    this.#session = session;
    this.#lives = lives;
    this.id = id;
    this.#place = place;
    this.#unborn = unborn;
  }

  /** True unless it is known to be an object of its own. */
  get isEmbedded(): boolean {
    return this.#place.kind === 'embedded';
  }

  /** The key of its object. EBUG for an embedded directory. */
  get key(): Id {
    if (this.#place.kind === 'embedded') throw new NetsealError('EBUG', 'an embedded folder has no object');
    return this.#place.live.key;
  }

  /** The directory that it is embedded in, and its name there; undefined for an object. */
  get embeddedIn(): { readonly parent: Directory; readonly name: Name } | undefined {
    return this.#place.kind === 'embedded' ? this.#place : undefined;
  }

  /** The object that it lies in, and the way from there. */
  get path(): HostedPath {
    if (this.#place.kind === 'object') return { live: this.#place.live, steps: [] };
    const { live, steps } = this.#place.parent.path;
    return { live, steps: [...steps, this] };
  }

  /**
   * Reads the inode; `maxAgeMs` as in `LiveInode.read`, for the host. ENOTDIR when it is no folder, ENOENT
   * when it was removed, or moved by another client.
   */
  async read(maxAgeMs?: number): Promise<DirectoryInode> {
    if (maxAgeMs !== undefined) requireNumber('maxAgeMs', maxAgeMs, 0, Number.POSITIVE_INFINITY);
    const { host, below } = await this.#readPath(maxAgeMs);
    return below.at(-1)?.inode ?? host;
  }

  async #readPath(maxAgeMs: number | undefined): Promise<{ host: DirectoryInode; below: PathStep[] }> {
    for (let attempt = 1; ; attempt += 1) {
      const { live, steps } = this.path;
      const host = requireDirectoryInode(await live.read(maxAgeMs));
      try {
        const below = await this.#descend(host, steps);
        if (below !== undefined) return { host, below };
      } catch (error) {
        await this.#findLost(live, error, attempt);
      }
    }
  }

  /**
   * Looks for an embedded directory that is not where it was: it may have got another name within its host.
   * Throws ENOENT when it is not there any more; any other error as it is.
   */
  async #findLost(live: LiveInode, error: unknown, attempt: number): Promise<void> {
    if (!(error instanceof LostStepError)) throw error;
    if (attempt === SEARCHES_MAX || !(await this.#search(live, error.step))) throw gone();
  }

  async #search(live: LiveInode, lost: Directory): Promise<boolean> {
    const found = await this.#searchHost(live, lost.id);
    if (found !== undefined) lost.#moveTo(found.directory, found.entry);
    return found !== undefined;
  }

  /**
   * Looks in the whole host for the entry that leads to an inode, in the state that the store has now.
   * Returns it with the directory that has it; undefined if there is none.
   */
  async searchHost(id: Id): Promise<{ directory: Directory; entry: DirectoryEntry } | undefined> {
    return await this.#searchHost(this.path.live, id);
  }

  async #searchHost(
    live: LiveInode,
    id: Id,
  ): Promise<{ directory: Directory; entry: DirectoryEntry } | undefined> {
    const inode = requireDirectoryInode(await live.read(0));
    await fetchAhead(this.#session, [inode]);
    const top = new Directory(this.#session, this.#lives, inode.id, { kind: 'object', live });
    const left: PathStep[] = [{ directory: top, inode }];
    for (let step = left.pop(); step !== undefined; step = left.pop()) {
      const { directory } = step;
      for await (const entries of this.#names(step.inode.id).leaves(step.inode.tree)) {
        const entry = entries.find(each => idOfEntry(each) === id);
        if (entry !== undefined) return { directory, entry };
        left.push(...this.#embeddedIn(directory, entries));
      }
    }
    return undefined;
  }

  #embeddedIn(parent: Directory, entries: readonly DirectoryEntry[]): PathStep[] {
    return entries.flatMap(({ name, node }) => {
      if (node.kind === 'object' || node.inode.type !== 'directory') return [];
      const { inode } = node;
      const place = { kind: 'embedded', parent, name } as const;
      return [{ directory: new Directory(this.#session, this.#lives, inode.id, place), inode }];
    });
  }

  #moveTo(parent: Directory, { name, node }: DirectoryEntry): void {
    if (node.kind === 'object') this.becomeObject(node);
    else this.becomeEmbedded(parent, name);
  }

  /** Returns undefined when a directory on the way has become an object: then look again. */
  async #descend(host: DirectoryInode, steps: readonly Directory[]): Promise<PathStep[] | undefined> {
    const below: PathStep[] = [];
    let inode = host;
    for (const step of steps) {
      const node = (await this.#names(inode.id).find(inode.tree, step.name))?.node;
      if (node?.kind === 'object' && node.id === step.id) {
        step.becomeObject(node);
        return undefined;
      }
      if (node?.kind === 'embedded' && node.inode.id === step.id) inode = requireDirectoryInode(node.inode);
      else if (step.#unborn !== undefined) inode = step.#unborn.inode;
      else throw new LostStepError(step);
      below.push({ directory: step, inode });
    }
    return below;
  }

  /** Its name in the directory that it is embedded in. EBUG for an object. */
  get name(): Name {
    if (this.#place.kind === 'object') throw new NetsealError('EBUG', 'a folder object has names elsewhere');
    return this.#place.name;
  }

  /** Returns the entry of a name as it is stored. `Moves` tells whether a departing entry still counts. */
  async find(name: Name, maxAgeMs?: number): Promise<DirectoryEntry | undefined> {
    requireText('name', name);
    try {
      return await this.#find(name, maxAgeMs);
    } catch (error) {
      // The state that was read may be so old that a gc has deleted one of its segments.
      if (codeOf(error) !== 'EMISSING' || maxAgeMs === 0) throw error;
      return await this.#find(name, 0);
    }
  }

  async #find(name: Name, maxAgeMs?: number): Promise<DirectoryEntry | undefined> {
    const { id, tree } = await this.read(maxAgeMs);
    return await this.#names(id).find(tree, name);
  }

  /**
   * Yields all entries of one version of the directory, ascending, many at a time.
   *
   * @param isWalk true when everything below is wanted as well: then that is read ahead, and the host is not
   *   asked for again and again on the way.
   */
  async *entries({
    isWalk = false,
  }: {
    readonly isWalk?: boolean;
  } = {}): AsyncGenerator<readonly DirectoryEntry[]> {
    const { freshMs } = this.#session;
    const isPinned = isWalk && this.isEmbedded && freshMs > 0;
    const inode = await this.read(isPinned ? Math.max(freshMs, WALK_FRESH_MS) : undefined);
    if (isWalk) await fetchAhead(this.#session, [inode]);
    for await (const entries of this.#names(inode.id).leaves(inode.tree)) {
      if (isWalk) await fetchAhead(this.#session, embeddedIn(entries));
      yield entries;
    }
  }

  /** Commits a change of the directory; see `LiveInode.apply`. An unborn one is made in the same commit. */
  async apply<Result>(change: Change<Result>, options?: ApplyOptions): Promise<Result> {
    if (typeof change !== 'function') throw argumentError('change', 'a function', change);
    requireOptions('options', options);
    return await this.applyTo([this], ([draft]) => change(draft as Draft), options);
  }

  /**
   * Commits a change of several directories that have the same host as this one. It gets their drafts, in
   * order.
   *
   * Rejects as {@link apply} does; with {@link OtherHostError} when they do not have the same host.
   */
  async applyTo<Result>(
    directories: readonly Directory[],
    change: (drafts: readonly Draft[]) => Promise<Result> | Result,
    options?: ApplyOptions,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      const { live } = this.path;
      const paths = directories.map(directory => directory.path);
      if (paths.some(path => path.live !== live)) throw new OtherHostError();
      try {
        const { result, opened } = await live.apply(async draft => {
          const opened: OpenedStep[][] = [];
          for (const { steps } of paths) opened.push(await Directory.#openAll(draft, steps));
          const drafts = opened.map(steps => steps.at(-1)?.draft ?? draft);
          const result = await change(drafts);
          Directory.#promoteLeaving(directories, drafts);
          return { result, opened };
        }, options);
        for (const { directory, draft } of opened.flat()) {
          directory.#unborn = undefined;
          if (draft.reference !== undefined) directory.becomeObject(draft.reference);
        }
        return result;
      } catch (error) {
        if (!(error instanceof PromotedError)) {
          await this.#findLost(live, error, attempt);
          continue;
        }
        if (error.reference !== undefined) error.step.becomeObject(error.reference);
      }
    }
  }

  /** True for a new directory that is not in the store yet, as far as is known. */
  get isUnborn(): boolean {
    return this.#place.kind === 'object' ? !this.#place.live.isBorn : this.#unborn !== undefined;
  }

  /** Puts an unborn directory into the store as it is. */
  async create(): Promise<void> {
    if (this.#place.kind === 'object') await this.#place.live.create();
    else await this.apply(() => undefined);
  }

  /** Makes an embedded directory become an object with the next change that is made through this one. */
  leaveHost(): void {
    this.#leavesHost = true;
  }

  /** Notes that the directory has become an object. Every later read and change goes there. */
  becomeObject(reference: ObjectReference): void {
    this.#place = { kind: 'object', live: this.#lives(keyOfReference(reference)) };
    this.#unborn = undefined;
  }

  /** Notes where the directory is embedded now. */
  becomeEmbedded(parent: Directory, name: Name): void {
    this.#place = { kind: 'embedded', parent, name };
    this.#unborn = undefined;
  }

  #names(id: Id): NameTree {
    return new NameTree(this.#session.sealing, id, this.#session.nameNodes);
  }

  /** Returns the draft of this directory, from that of the directory above. */
  async #open(above: Draft): Promise<Draft> {
    const { parent, name } = this.embeddedIn ?? {};
    // It has become an object since the path was taken.
    if (parent === undefined || name === undefined) throw new PromotedError(this, undefined);
    let entry = await above.find(name);
    if (entry?.departure !== undefined) throw new DepartingStepError(entry, this);
    if (this.#unborn !== undefined && (entry === undefined || idOfEntry(entry) !== this.id)) {
      await this.#unborn.insert(above, this.#unborn.inode);
      entry = await above.find(name);
    }
    if (entry === undefined || idOfEntry(entry) !== this.id) throw new LostStepError(this);
    if (entry.node.kind === 'object') throw new PromotedError(this, entry.node);
    return above.open(entry);
  }

  static #promoteLeaving(directories: readonly Directory[], drafts: readonly Draft[]): void {
    for (const [at, directory] of directories.entries()) {
      const draft = drafts[at];
      if (draft?.isChanged === true && directory.#leavesHost) draft.promote();
    }
  }

  /** Opens the directories on a path, in order. */
  static async #openAll(host: Draft, steps: readonly Directory[]): Promise<OpenedStep[]> {
    const opened: OpenedStep[] = [];
    for (const directory of steps) {
      opened.push({ directory, draft: await directory.#open(opened.at(-1)?.draft ?? host) });
    }
    return opened;
  }
}

function requireDirectoryInode(inode: { readonly type: string; readonly id: Id }): DirectoryInode {
  if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', `inode ${inode.id} is not a folder`);
  const directory = inode as DirectoryInode;
  if (directory.isDead) throw new NetsealError('ENOENT', 'the folder was removed');
  return directory;
}

function gone(): NetsealError {
  return new NetsealError('ENOENT', 'the folder was removed, or another client has moved it');
}

/** Signals that an embedded directory is not where it was. */
class LostStepError extends NetsealError {
  readonly step: Directory;

  constructor(step: Directory) {
    super('ENOENT', 'the folder was removed, or another client has moved it');
    this.step = step;
  }
}

/** Signals that a directory on the path has become an object meanwhile. */
class PromotedError extends NetsealError {
  readonly step: Directory;
  /** Undefined when the step knows already. */
  readonly reference: ObjectReference | undefined;

  constructor(step: Directory, reference: ObjectReference | undefined) {
    super('ECONFLICT', 'another client has moved the content of the folder: try again');
    this.step = step;
    this.reference = reference;
  }
}

/** Signals that an embedded directory on the path is being moved to another host. */
export class DepartingStepError extends DepartingError {
  readonly step: Directory;

  constructor(entry: DirectoryEntry, step: Directory) {
    super(entry);
    this.step = step;
  }
}

/** Signals that directories which one commit was to change lie in different objects. */
export class OtherHostError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'the folders lie in different objects');
  }
}
