/**
 * The inodes that a session works on. Each has one `LiveInode`, so that all changes of it meet in its
 * commits.
 */
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, DirectoryInode, Inode } from '../../server/sealed/inode.ts';
import type { Learned } from '../history/heads.ts';
import type { InodeBehind, InodesHeld } from '../history/history.ts';
import type { Session } from '../session/session.ts';
import { Directory } from './directory.ts';
import { LiveInode } from './live-inode.ts';

/** Beyond so many, idle inodes are forgotten. */
const LIVE_MAX = 4096;

export class Inodes implements InodesHeld {
  readonly #session: Session;
  /** Least recently used first. */
  readonly #live = new Map<Id, LiveInode>();

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
    return this.#add(new LiveInode(this.#session, id));
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

  /** Returns the inodes of which another client knows a newer version than this session has read. */
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
