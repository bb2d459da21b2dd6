/** A directory that a session works on: reads of its names, and changes to them. */
import { argumentError, requireNumber, requireOptions, requireText } from '../../base/arguments.ts';
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, DirectoryInode } from '../../server/sealed/inode.ts';
import { NameTree } from '../../server/sealed/name-tree.ts';
import type { Session } from '../session/session.ts';
import type { ApplyOptions, Change } from './commit-group.ts';
import type { LiveInode } from './live-inode.ts';

export class Directory {
  readonly live: LiveInode;
  /** The id of its inode. */
  readonly id: Id;
  readonly #session: Session;

  constructor(session: Session, live: LiveInode, id: Id) {
    this.#session = session;
    this.live = live;
    this.id = id;
  }

  /** The key of its object. */
  get key(): Id {
    return this.live.key;
  }

  /**
   * Reads the inode; `maxAgeMs` as in `LiveInode.read`. ENOTDIR when it is no folder, ENOENT when it was
   * removed.
   */
  async read(maxAgeMs?: number): Promise<DirectoryInode> {
    if (maxAgeMs !== undefined) requireNumber('maxAgeMs', maxAgeMs, 0, Number.POSITIVE_INFINITY);
    const inode = await this.live.read(maxAgeMs);
    if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', `inode ${this.id} is not a folder`);
    if (inode.isDead) throw new NetsealError('ENOENT', 'the folder was removed');
    return inode;
  }

  /** Returns the entry of a name as it is stored. `Moves` tells whether a departing entry still counts. */
  async find(name: Name, maxAgeMs?: number): Promise<DirectoryEntry | undefined> {
    requireText('name', name);
    const { id, tree } = await this.read(maxAgeMs);
    return await this.#names(id).find(tree, name);
  }

  /** Yields all entries of one version of the directory, ascending, many at a time. */
  async *entries(): AsyncGenerator<readonly DirectoryEntry[]> {
    const { id, tree } = await this.read();
    yield* this.#names(id).leaves(tree);
  }

  /** Commits a change of the directory; see {@link LiveInode.apply}. */
  async apply<Result>(change: Change<Result>, options?: ApplyOptions): Promise<Result> {
    if (typeof change !== 'function') throw argumentError('change', 'a function', change);
    requireOptions('options', options);
    return await this.live.apply(change, options);
  }

  #names(id: Id): NameTree {
    return new NameTree(this.#session.sealing, id, this.#session.nameNodes);
  }
}
