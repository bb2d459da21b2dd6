/**
 * Visits everything that a volume's root leads to: folders, files, symlinks, and the nodes of their trees.
 * The walk reports what it cannot read, and goes on with everything else.
 *
 * It goes depth first, a few folders at once. Its memory is a few name nodes for each level of the tree.
 */
import { isLoss, isNetsealError, type NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type {
  DirectoryEntry,
  DirectoryInode,
  FileInode,
  Inode,
  MapSlots,
  NameChild,
  NameNode,
  ObjectReference,
} from '../../server/sealed/inode.ts';
import { readInodeObject, type StoredInode } from '../../server/sealed/inode-object.ts';
import { PAGE_SLOTS, unitsPerSlot } from '../../server/sealed/map-format.ts';
import { NameTree } from '../../server/sealed/name-tree.ts';
import { inodeKey, segmentKey } from '../../server/sealed/object-keys.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import { type MappedUnit, UnitMap } from '../../server/sealed/unit-map.ts';
import type { Moves } from '../names/moves.ts';
import { checkReference, keyOfReference } from '../names/references.ts';
import { embeddedIn, fetchAhead } from '../session/fetch-ahead.ts';
import type { Session } from '../session/session.ts';
import { readBesideMark } from '../state/marks.ts';
import { WalkBranches } from './walk-branches.ts';

/** A name, and the path on which the walk reached it. */
export interface WalkedPlace {
  /** All names from the root on, each with a `/` before it. The root's path is empty. */
  readonly path: string;
  /** The folder that has the name, and its entry there. Undefined for the inode where the walk began. */
  readonly directory: DirectoryInode | undefined;
  readonly entry: DirectoryEntry | undefined;
}

export interface Walked<Kind extends Inode = Inode> extends WalkedPlace {
  readonly inode: Kind;
  /** The inode's object. Undefined when the inode is embedded in its folder. */
  readonly stored: StoredInode | undefined;
  /** The key of the object that the inode lies in: its own, or that of a folder above. */
  readonly host: Id;
  /** The embedded folders from that object down to the inode; a folder is in its own list. */
  readonly folders: readonly FolderStep[];
}

/** An embedded folder: its name in the folder above, and its id. */
export interface FolderStep {
  readonly name: Name;
  readonly id: Id;
}

/**
 * True for an inode that compaction must leave alone: it, or the folder that it is embedded in, has
 * extensions that are not known.
 */
export function isExtended({ inode, stored, directory }: Walked): boolean {
  return inode.extensions !== undefined || (stored === undefined && directory?.extensions !== undefined);
}

/** A node of a name tree or an extent map, stored in a segment. */
export type WalkedNode =
  | { readonly role: 'names'; readonly pointer: Pointer; readonly names: NameRange }
  | { readonly role: 'mapPage'; readonly pointer: Pointer; readonly units: UnitRange };

/** The names from `from` up to `to`, excluding `to`; up to the end when `to` is undefined. */
export interface NameRange {
  readonly from: Name;
  readonly to: Name | undefined;
}

/** Units [from, to). */
export interface UnitRange {
  readonly from: number;
  readonly to: number;
}

/** An inode or node that cannot be read. */
export interface Lost {
  /** The key of the object in the store. */
  readonly key: string;
  readonly error: NetsealError;
  /** The file or folder that is lost, as a whole or in part. */
  readonly place: WalkedPlace;
  readonly node: WalkedNode | { readonly role: 'inode'; readonly objectKey: Id };
  /** The file or folder that the node belongs to; undefined when the whole inode is lost. */
  readonly owner: Walked | undefined;
}

export interface Visitor {
  /** Called for a name that leads to an object, before the object is read. False skips it. */
  enter?(reference: ObjectReference, place: WalkedPlace): boolean;
  /** Called for each inode. False skips everything below it. */
  item?(item: Walked): boolean | undefined;
  /** Called with the entries of a folder, ascending, many at a time: all that are stored. */
  entries?(owner: Walked<DirectoryInode>, entries: readonly DirectoryEntry[]): void;
  /** Called before a node is read. False skips it. */
  node?(owner: Walked, node: WalkedNode): boolean;
  /**
   * Called with a file's units, ascending, many at a time. Without it map pages are not read. The walk waits.
   */
  units?(owner: Walked<FileInode>, units: readonly MappedUnit[]): Promise<void> | void;
  /** Called once everything below has been visited. The walk waits. */
  leave?(item: Walked): Promise<void> | void;
  lost(lost: Lost): void;
}

export interface WalkOptions {
  /**
   * Whether a name that is being moved is visited in both its places, the old and the new. Default: only in
   * the one that counts.
   */
  readonly movesTwice?: boolean | undefined;
  /**
   * Whether the nodes of embedded folders are read ahead, many at once. False for a walk that skips most of
   * them. Default true.
   */
  readonly readsAhead?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How many objects, and how many nodes, are read at once for one folder. */
const READS_MAX = 32;

/** An inode object that is about to be read. */
interface WantedObject {
  readonly key: Id;
  /** What led to it; undefined for the object where the walk began. */
  readonly reference: ObjectReference | undefined;
  readonly place: WalkedPlace;
}

export class Walk {
  readonly #session: Session;
  readonly #moves: Moves;
  readonly #visitor: Visitor;
  readonly #options: WalkOptions;
  readonly #branches = new WalkBranches();

  constructor(session: Session, moves: Moves, visitor: Visitor, options: WalkOptions = {}) {
    this.#session = session;
    this.#moves = moves;
    this.#visitor = visitor;
    this.#options = options;
  }

  /**
   * Walks the object that has a key, by default the root, and everything below it. Damage goes to the
   * visitor. Every other error ends the walk: ECLOSED, EUNAVAILABLE, ECONFLICT (an object changes too fast),
   * ...; the signal's reason.
   */
  async from(key: Id = this.#session.settings.rootId): Promise<void> {
    await this.#objects([
      { key, reference: undefined, place: { path: '', directory: undefined, entry: undefined } },
    ]);
  }

  /** Reads some objects concurrently, then visits them. */
  async #objects(wanted: readonly WantedObject[]): Promise<void> {
    const read = await Promise.all(
      wanted.map(async ({ key, reference, place }) => {
        try {
          return await this.#readObject(key, reference);
        } catch (error) {
          this.#throwIfNoDamage(error);
          this.#visitor.lost({
            key: inodeKey(key),
            error: error as NetsealError,
            place,
            node: { role: 'inode', objectKey: key },
            owner: undefined,
          });
          return undefined;
        }
      }),
    );
    await this.#branches.run(
      wanted.flatMap(({ place }, at) => {
        const stored = read[at];
        if (stored === undefined) return [];
        const { key: host, object } = stored;
        return [() => this.#item({ ...place, inode: object.inode, stored, host, folders: [] })];
      }),
    );
  }

  async #readObject(key: Id, reference: ObjectReference | undefined): Promise<StoredInode> {
    const { sealing, marks } = this.#session;
    const { signal } = this.#options;
    const read = (): Promise<StoredInode> => {
      signal?.throwIfAborted();
      return readInodeObject(sealing, key, signal);
    };
    const stored = await readBesideMark(
      marks,
      key,
      read,
      ({ object }) => object.inode.version,
      found => {
        marks.note(key, found.object.inode.version, found.hash);
        return found;
      },
    );
    if (reference !== undefined) checkReference(reference, stored.object.inode);
    return stored;
  }

  async #item(item: Walked): Promise<void> {
    this.#options.signal?.throwIfAborted();
    if (this.#visitor.item?.(item) === false) return;
    const { inode } = item;
    if (inode.type === 'file' && this.#visitor.units !== undefined) {
      const file = { ...item, inode };
      await this.#map(file, inode.map.depth, 0, inode.map.slots);
    }
    // A removed folder holds nothing.
    if (inode.type === 'directory' && !inode.isDead) {
      await this.#fetchAhead([inode]);
      await this.#names({ ...item, inode }, inode.tree, ALL);
    }
    await this.#visitor.leave?.(item);
  }

  async #fetchAhead(directories: readonly DirectoryInode[]): Promise<void> {
    const { readsAhead = true, signal } = this.#options;
    if (readsAhead && directories.length > 0) await fetchAhead(this.#session, directories, signal);
  }

  async #names(owner: Walked<DirectoryInode>, node: NameNode, range: NameRange): Promise<void> {
    if (node.kind === 'leaf') {
      this.#visitor.entries?.(owner, node.entries);
      await this.#fetchAhead(embeddedIn(node.entries));
      await this.#entries(owner, node.entries);
      return;
    }
    const tree = new NameTree(this.#session.sealing, owner.inode.id, this.#session.nameNodes);
    const children = node.children.map((child, at) => ({ child, range: rangeOf(node.children, at, range) }));
    for (let at = 0; at < children.length; at += READS_MAX) {
      const chunk = children.slice(at, at + READS_MAX).filter(({ child, range: names }) => {
        return this.#visitor.node?.(owner, { role: 'names', pointer: child.pointer, names }) !== false;
      });
      const loaded = await tree.load(
        chunk.map(({ child }) => child),
        this.#options.signal,
      );
      for (const [order, { child, range: names }] of chunk.entries()) {
        const below = loaded[order];
        if (below === undefined) continue;
        if (isNetsealError(below)) this.#lose(owner, { role: 'names', pointer: child.pointer, names }, below);
        else await this.#names(owner, below, names);
      }
    }
  }

  async #entries(directory: Walked<DirectoryInode>, entries: readonly DirectoryEntry[]): Promise<void> {
    let objects: WantedObject[] = [];
    for (const entry of entries) {
      if (entry.departure !== undefined && !(await this.#isHere(entry))) continue;
      const place = {
        path: `${directory.path}/${entry.name}`,
        directory: directory.inode,
        entry,
      };
      const { node } = entry;
      if (node.kind === 'embedded') {
        const { inode } = node;
        const step = inode.type === 'directory' ? [{ name: entry.name, id: inode.id }] : [];
        const folders = step.length === 0 ? directory.folders : [...directory.folders, ...step];
        await this.#item({ ...place, inode, stored: undefined, host: directory.host, folders });
        continue;
      }
      if (this.#visitor.enter?.(node, place) === false) continue;
      objects.push({ key: keyOfReference(node), reference: node, place });
      if (objects.length < READS_MAX) continue;
      await this.#objects(objects);
      objects = [];
    }
    await this.#objects(objects);
  }

  /**
   * True when the name counts in this folder. A name counts also when damage hides whether it has moved away.
   */
  async #isHere(entry: DirectoryEntry): Promise<boolean> {
    if (this.#options.movesTwice === true) return true;
    try {
      return await this.#moves.isHere(entry);
    } catch (error) {
      this.#throwIfNoDamage(error);
      return true;
    }
  }

  async #map(owner: Walked<FileInode>, level: number, page: number, slots: MapSlots): Promise<void> {
    const base = page * PAGE_SLOTS;
    if (level === 0) {
      const units = slots.map(({ slot, pointer }) => ({ index: base + slot, pointer }));
      if (units.length > 0) await this.#visitor.units?.(owner, units);
      return;
    }
    const { sealing, mapNodes } = this.#session;
    const map = new UnitMap(sealing, owner.inode.id, mapNodes);
    const span = unitsPerSlot(level);
    const children = slots.map(({ slot, pointer }) => {
      const units = { from: (base + slot) * span, to: (base + slot + 1) * span };
      return {
        ref: { level: level - 1, page: base + slot, pointer },
        node: { role: 'mapPage', pointer, units } as const,
      };
    });
    for (let at = 0; at < children.length; at += READS_MAX) {
      const chunk = children
        .slice(at, at + READS_MAX)
        .filter(({ node }) => this.#visitor.node?.(owner, node) !== false);
      const loaded = await map.pages(
        chunk.map(({ ref }) => ref),
        this.#options.signal,
      );
      for (const [order, { ref, node }] of chunk.entries()) {
        const content = loaded[order];
        if (content === undefined) continue;
        if (isNetsealError(content)) this.#lose(owner, node, content);
        else await this.#map(owner, ref.level, ref.page, content);
      }
    }
  }

  #lose(owner: Walked, node: WalkedNode, error: NetsealError): void {
    this.#throwIfNoDamage(error);
    this.#visitor.lost({ key: segmentKey(node.pointer.segment), error, place: owner, node, owner });
  }

  #throwIfNoDamage(error: unknown): void {
    this.#options.signal?.throwIfAborted();
    if (!isLoss(error)) throw error;
  }
}

const ALL: NameRange = { from: '', to: undefined };

function rangeOf(children: readonly NameChild[], at: number, { from, to }: NameRange): NameRange {
  return {
    from: at === 0 ? from : (children[at]?.firstName ?? from),
    to: children[at + 1]?.firstName ?? to,
  };
}
