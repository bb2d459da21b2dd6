/**
 * The inodes that a session works on. Each has one `LiveInode`, so that all changes of it meet in its
 * commits.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, DirectoryInode, Inode } from '../../server/sealed/inode.ts';
import type { Learned } from '../history/heads.ts';
import type { InodeBehind, InodesHeld } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import { Directory, type Place, type Unborn } from './directory.ts';
import { LiveInode } from './live-inode.ts';
import { nameBytes } from './name-checks.ts';
import { OpenPlaces } from './open-places.ts';
import { checkReference, keyOfReference, typeOfNode } from './references.ts';
import { UnbornNames } from './unborn-names.ts';

/** Beyond so many, idle inodes are forgotten. */
const LIVE_MAX = 4096;
/** The number of inodes whose places are remembered. */
const PLACES_MAX = 65_536;
/** A path is looked for through at most so many folders. */
const DEPTH_MAX = 1024;

export class Inodes implements InodesHeld {
  /** The places of the files that are open. */
  readonly openPlaces: OpenPlaces = new OpenPlaces();
  /** Names of new files that are not in the store yet. */
  readonly unbornNames: UnbornNames = new UnbornNames(this.openPlaces);
  readonly #session: Session;
  /** Least recently used first. */
  readonly #live = new Map<Id, LiveInode>();
  /**
   * The places where inode objects were met last, by key, for messages. The one met longest ago comes first.
   */
  readonly #places = new Map<Id, { readonly parent: Directory; readonly name: Name }>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** Returns the inode whose object has a key. */
  get(key: Id): LiveInode {
    const known = this.#live.get(key);
    if (known !== undefined) {
      this.#live.delete(key);
      this.#live.set(key, known);
      return known;
    }
    const live = new LiveInode(this.#session, key, () => this.pathOf(key));
    const stored = this.#session.fresh.take(key);
    if (stored !== undefined) live.adopt(stored);
    return this.#add(live);
  }

  /** Remembers where an entry was met. Entries that embed their inode need no such memory. */
  notePlace(parent: Directory, { name, node }: DirectoryEntry): void {
    if (node.kind === 'embedded') return;
    const key = keyOfReference(node);
    this.#places.delete(key);
    this.#places.set(key, { parent, name });
    if (this.#places.size <= PLACES_MAX) return;
    const [oldest] = this.#places.keys();
    if (oldest !== undefined) this.#places.delete(oldest);
  }

  /** Returns the path at which this session met an inode object, for messages; undefined for none. */
  pathOf(id: Id): string | undefined {
    const { rootId } = this.#session.settings;
    const names: string[] = [];
    for (let at = id; at !== rootId; ) {
      let place = this.#places.get(at);
      if (place === undefined) return undefined;
      for (;;) {
        names.unshift(nameBytes(place.name).toString('utf8'));
        if (names.length === DEPTH_MAX) return undefined;
        const above: { readonly parent: Directory; readonly name: Name } | undefined =
          place.parent.embeddedIn;
        if (above === undefined) break;
        place = above;
      }
      at = place.parent.key;
    }
    return `/${names.join('/')}`;
  }

  /** Returns the path of a file that is open, for messages; undefined for one without a name, or far away. */
  pathOfOpen(id: Id): string | undefined {
    const place = this.openPlaces.placeOf(id);
    if (place === undefined || place.isRemoved) return undefined;
    const names = [place.name];
    let folder = place.directory;
    for (let above = folder.embeddedIn; above !== undefined; above = folder.embeddedIn) {
      names.unshift(above.name);
      folder = above.parent;
      if (names.length === DEPTH_MAX) return undefined;
    }
    const path = this.pathOf(folder.key);
    const below = names.map(name => nameBytes(name).toString('utf8')).join('/');
    return path === undefined ? undefined : `${path === '/' ? '' : path}/${below}`;
  }

  /** Returns the folder whose object has a key. */
  directory(key: Id, id: Id = key): Directory {
    return this.#directory(id, { kind: 'object', live: this.get(key) });
  }

  /** Returns the folder that an entry leads to. ENOTDIR for an entry that leads to anything else. */
  directoryOf(parent: Directory, { name, node }: DirectoryEntry): Directory {
    const type = typeOfNode(node);
    if (type !== 'directory') throw new NetsealError('ENOTDIR', 'this is not a folder');
    if (node.kind === 'object') return this.directory(keyOfReference(node), node.id);
    return this.#directory(node.inode.id, { kind: 'embedded', parent, name });
  }

  /** Returns a new folder that will be embedded under a name. */
  unbornEmbedded(parent: Directory, name: Name, unborn: Unborn): Directory {
    return this.#directory(unborn.inode.id, { kind: 'embedded', parent, name }, unborn);
  }

  /** Returns an inode that the store does not have yet; see {@link LiveInode.unborn}. */
  unborn(inode: Inode): LiveInode {
    return this.#add(LiveInode.unborn(this.#session, inode));
  }

  unbornDirectory(inode: DirectoryInode): Directory {
    return this.#directory(inode.id, { kind: 'object', live: this.unborn(inode) });
  }

  /** Forgets an unborn inode that will have no object. */
  forget(key: Id): void {
    this.#live.delete(key);
  }

  #directory(id: Id, place: Place, unborn?: Unborn): Directory {
    return new Directory(this.#session, key => this.get(key), id, place, unborn);
  }

  /** Returns the inode that an entry leads to. Throws what reading it throws. */
  async inodeOf({ node }: DirectoryEntry): Promise<Inode> {
    if (node.kind === 'embedded') return node.inode;
    const inode = await this.get(keyOfReference(node)).read();
    checkReference(node, inode);
    return inode;
  }

  /** Returns the inodes that this session last read in an older version than another client knows of. */
  behind(learned: ReadonlyMap<Id, Learned>): InodeBehind[] {
    return [...learned].flatMap(([key, known]) => {
      const live = this.#live.get(key);
      const seen = live?.seen;
      if (live === undefined || seen === undefined || seen.version >= known.version) return [];
      return [{ live, readAtMs: seen.readAtMs, known }];
    });
  }

  /** Waits until no commit is under way, even if commits fail. */
  async settled(): Promise<void> {
    for (const live of [...this.#live.values()]) await live.settled();
  }

  #add(live: LiveInode): LiveInode {
    this.#live.set(live.key, live);
    if (this.#live.size > LIVE_MAX) {
      for (const [key, old] of this.#live) {
        if (this.#live.size <= LIVE_MAX) break;
        if (old.isIdle && !old.isAwaited && old !== live) this.#live.delete(key);
      }
    }
    return live;
  }
}
