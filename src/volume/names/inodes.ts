/**
 * The inodes that a session works on. Each has one `LiveInode`, so that all changes of it meet in its
 * commits.
 */
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, DirectoryInode, Inode } from '../../server/sealed/inode.ts';
import type { Learned } from '../history/heads.ts';
import type { InodeBehind, InodesHeld } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import { Directory } from './directory.ts';
import { LiveInode } from './live-inode.ts';
import { nameBytes } from './name-checks.ts';

/** Beyond so many, idle inodes are forgotten. */
const LIVE_MAX = 4096;
/** The number of inodes whose places are remembered. */
const PLACES_MAX = 65_536;
/** A path is looked for through at most so many folders. */
const DEPTH_MAX = 1024;

export class Inodes implements InodesHeld {
  readonly #session: Session;
  /** Least recently used first. */
  readonly #live = new Map<Id, LiveInode>();
  /** Where inode objects were met last, for messages. Longest ago first. */
  readonly #places = new Map<Id, { readonly parent: Id; readonly name: Name }>();

  constructor(session: Session) {
    this.#session = session;
  }

  get(id: Id): LiveInode {
    const known = this.#live.get(id);
    if (known !== undefined) {
      this.#live.delete(id);
      this.#live.set(id, known);
      return known;
    }
    return this.#add(new LiveInode(this.#session, id, () => this.pathOf(id)));
  }

  /** Remembers where an entry was met. Entries that embed their inode need no such memory. */
  notePlace(parent: Id, { name, node }: DirectoryEntry): void {
    if (node.kind === 'embedded') return;
    this.#places.delete(node.id);
    this.#places.set(node.id, { parent, name });
    if (this.#places.size <= PLACES_MAX) return;
    const [oldest] = this.#places.keys();
    if (oldest !== undefined) this.#places.delete(oldest);
  }

  /** Returns the path at which this session met an inode object, for messages; undefined for none. */
  pathOf(id: Id): string | undefined {
    const { rootId } = this.#session.settings;
    const names: string[] = [];
    for (let at = id; at !== rootId; ) {
      const place = this.#places.get(at);
      if (place === undefined || names.length === DEPTH_MAX) return undefined;
      names.unshift(nameBytes(place.name).toString('utf8'));
      at = place.parent;
    }
    return `/${names.join('/')}`;
  }

  directory(id: Id): Directory {
    return new Directory(this.#session, this.get(id));
  }

  /** Returns an inode that the store does not have yet; see {@link LiveInode.unborn}. */
  unborn(inode: Inode): LiveInode {
    return this.#add(LiveInode.unborn(this.#session, inode));
  }

  unbornDirectory(inode: DirectoryInode): Directory {
    return new Directory(this.#session, this.unborn(inode));
  }

  /** Returns the inode that an entry leads to. Throws what reading it throws. */
  async inodeOf({ node }: DirectoryEntry): Promise<Inode> {
    return node.kind === 'embedded' ? node.inode : await this.get(node.id).read();
  }

  /** Returns the inodes that this session has read in an older version than another client knows of. */
  behind(learned: ReadonlyMap<Id, Learned>): InodeBehind[] {
    return [...learned].flatMap(([id, known]) => {
      const live = this.#live.get(id);
      const seen = live?.seen;
      if (live === undefined || seen === undefined || seen.version >= known.version) return [];
      return [{ live, readAtMs: seen.readAtMs, known }];
    });
  }

  /** Waits until no commit is under way, whatever became of it. */
  async settled(): Promise<void> {
    for (const live of [...this.#live.values()]) await live.settled();
  }

  #add(live: LiveInode): LiveInode {
    this.#live.set(live.id, live);
    if (this.#live.size > LIVE_MAX) {
      for (const [id, old] of this.#live) {
        if (this.#live.size <= LIVE_MAX) break;
        // An unborn inode exists only here.
        if (old.isIdle && old.isBorn && old !== live) this.#live.delete(id);
      }
    }
    return live;
  }
}

/** Returns the id of the inode that an entry leads to. */
export function idOfEntry({ node }: DirectoryEntry): Id {
  return node.kind === 'embedded' ? node.inode.id : node.id;
}

export function typeOfEntry({ node }: DirectoryEntry): Inode['type'] {
  return node.kind === 'embedded' ? node.inode.type : node.type;
}
