/**
 * Compaction: moves the live records out of segments that are mostly garbage, so that a later gc pass can
 * delete those segments.
 *
 *   - `compact-move.ts` moves units and packs, most of them as they are, unopened.
 *   - Map pages and name nodes are sealed anew, because the places that they name change.
 *   - A pointer is replaced only if it still names the record, or slice of a pack, that was moved. A file's
 *     content and data version stay the same.
 *   - A segment is emptied only when what has to be moved, with a footer, is less than half of it. So less is
 *     written than becomes garbage.
 *   - Inodes with extensions that are not known are left alone, with all segments that they name: an
 *     extension may name places in them, too.
 */
import { isLoss } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { isSamePointer, type Pointer } from '../../server/sealed/pointer.ts';
import { SEGMENT_OVERHEAD_BYTES_MIN } from '../../server/sealed/segment-format.ts';
import { type MappedUnit, UnitMap } from '../../server/sealed/unit-map.ts';
import type { Draft } from '../names/draft.ts';
import type { Session } from '../session/session.ts';
import type { Volume } from '../volume.ts';
import { type FileMoves, type MovesOf, RecordMover } from './compact-move.ts';
import { type Cut, isHalfLive, livePackBytes } from './gc-cut.ts';
import { type FolderStep, isExtended, type Visitor, Walk, type Walked, type WalkedNode } from './walk.ts';

export interface CompactOptions {
  /** Only segments written at this time or earlier are emptied; ms since 1970, store's clock. */
  readonly olderThanMs: number;
  readonly copyBytesMax: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

export interface CompactionReport {
  /** Segments that were emptied as far as possible. */
  readonly segments: number;
  /** Bytes of the live records that were moved out of them. */
  readonly movedBytes: number;
  /** Bytes of those segments. They become garbage once everything has been moved. */
  readonly freedBytes: number;
  /** Bytes that were uploaded for that, including the nodes that were sealed anew. */
  readonly writtenBytes: number;
  /** How many inode objects were changed. */
  readonly commits: number;
  /** Segments that would be worth emptying, but exceed what one pass may copy. */
  readonly left: number;
}

/** A segment is emptied when a smaller share of it has to be moved. */
const MOVED_SHARE_MAX = 0.5;
/** The most units in one change of an inode object. */
const CHANGES_MAX = 4096;
/** The most inode objects that are changed at once. */
const WORKS_MAX = 64;

/**
 * True when moving so many bytes frees at least as many. The segment that they go to may hold nothing else,
 * and takes a footer of its own: without that, a small file alone would be moved again and again.
 */
function isWorthEmptying(movedBytes: number, segmentBytes: number): boolean {
  return movedBytes + SEGMENT_OVERHEAD_BYTES_MIN < MOVED_SHARE_MAX * segmentBytes;
}

/** Chooses the segments to empty. Those of which the smallest share has to be moved come first. */
export function chooseSegments(
  { segments, liveBytes, packs, pinned }: Pick<Cut, 'segments' | 'liveBytes' | 'packs' | 'pinned'>,
  { olderThanMs, copyBytesMax }: Pick<CompactOptions, 'olderThanMs' | 'copyBytesMax'>,
): { readonly chosen: ReadonlySet<Id>; readonly copyBytes: number; readonly left: number } {
  const moved = new Map(liveBytes);
  // Packs that are at least half live are moved whole, with the dead slices in them.
  for (const pack of packs.values()) {
    const deadBytes = pack.lengthBytes - livePackBytes(pack);
    if (isHalfLive(pack)) moved.set(pack.segment, (moved.get(pack.segment) ?? 0) + deadBytes);
  }
  const worth = [...moved]
    .map(([id, bytes]) => ({ id, bytes, listed: segments.get(id) }))
    .flatMap(({ id, bytes, listed }) =>
      listed !== undefined &&
      !pinned.has(id) &&
      listed.modifiedAtMs <= olderThanMs &&
      isWorthEmptying(bytes, listed.sizeBytes)
        ? [{ id, bytes, share: bytes / listed.sizeBytes }]
        : [],
    )
    .sort((a, b) => a.share - b.share);
  const chosen = new Set<Id>();
  let copyBytes = 0;
  for (const { id, bytes } of worth) {
    if (copyBytes + bytes > copyBytesMax) break;
    copyBytes += bytes;
    chosen.add(id);
  }
  return { chosen, copyBytes, left: worth.length - chosen.size };
}

/** Empties segments. Records that cannot be read, or whose pointer has changed, stay. Errors: the store's. */
export async function compactSegments(
  volume: Volume,
  cut: Pick<Cut, 'segments' | 'liveBytes' | 'packs' | 'pinned'>,
  options: CompactOptions,
): Promise<CompactionReport> {
  const { chosen, copyBytes, left } = chooseSegments(cut, options);
  if (chosen.size === 0) {
    return { segments: 0, movedBytes: 0, freedBytes: 0, writtenBytes: 0, commits: 0, left };
  }
  const { packs } = cut;
  const { changed, ...emptied } = await emptySegments(volume, { chosen, copyBytes, packs }, options);
  let freedBytes = 0;
  for (const id of chosen) freedBytes += cut.segments.get(id)?.sizeBytes ?? 0;
  return { segments: chosen.size, freedBytes, commits: changed.size, left, ...emptied };
}

/** What became of segments that were emptied. */
export interface Emptied {
  /** Bytes of the live records that were moved out of them. */
  readonly movedBytes: number;
  /** Bytes that were uploaded for that, including the nodes that were sealed anew. */
  readonly writtenBytes: number;
  /** The keys of the inode objects that were changed. */
  readonly changed: ReadonlySet<Id>;
}

/**
 * Moves everything live out of the chosen segments, but for what cannot be read, what has changed meanwhile,
 * entries that are being moved, and what has extensions that are not known. Errors: the store's.
 */
export async function emptySegments(
  volume: Volume,
  chosen: ChosenSegments,
  options: Pick<CompactOptions, 'signal' | 'onProgress'>,
): Promise<Emptied> {
  const { nodeSegments } = volume.session;
  const sentBefore = nodeSegments.sentBytes;
  const compactor = new Compactor(volume, chosen, options);
  await compactor.run();
  await volume.sync();
  const { movedBytes, changed } = compactor;
  return { movedBytes, changed, writtenBytes: nodeSegments.sentBytes - sentBefore };
}

/** One change of an inode object. */
interface Work {
  /** The key of the object. */
  readonly key: Id;
  /** When the object is a file: its units. */
  own?: FileMoves;
  /** When the object is a folder: that folder, and folders embedded in it, by their paths. */
  readonly folders: Map<string, FolderWork>;
  unitCount: number;
}

/** The segments to empty, and what the cut knows of packs. */
export interface ChosenSegments {
  readonly chosen: ReadonlySet<Id>;
  /** How many bytes there are to move, for the progress. */
  readonly copyBytes: number;
  readonly packs: Cut['packs'];
}

/** The changes in one folder of an inode object. */
interface FolderWork {
  /** The embedded folders from the object down to this one. */
  readonly steps: readonly FolderStep[];
  /** The files embedded in it, by name. */
  readonly embedded: Map<Name, FileMoves>;
  /** For each name node in a chosen segment, the first name below it. */
  readonly rewritten: Set<Name>;
}

/** The content of a file whose units were moved, and the segments that they were moved to. */
interface MovedContent {
  readonly content: Pick<FileInode, 'map' | 'storedBytes'>;
  readonly segments: ReadonlySet<Id>;
}

class Compactor {
  readonly #volume: Volume;
  readonly #session: Session;
  readonly #chosen: ReadonlySet<Id>;
  readonly #totalBytes: number;
  readonly #options: Pick<CompactOptions, 'signal' | 'onProgress'>;
  /** The changes that are being collected, by the key of the inode object that they will change. */
  readonly #open = new Map<Id, Work>();
  /** Files in which a map page has to be sealed anew. */
  readonly #pagesMove = new Set<Id>();
  readonly #mover: RecordMover;
  #ready: Work[] = [];
  /** Bytes of the name nodes and map pages in the chosen segments. */
  #nodeBytes = 0;
  /** The keys of the inode objects that were changed. */
  readonly changed = new Set<Id>();

  constructor(
    volume: Volume,
    { chosen, copyBytes, packs }: ChosenSegments,
    options: Pick<CompactOptions, 'signal' | 'onProgress'>,
  ) {
    this.#volume = volume;
    this.#session = volume.session;
    this.#chosen = chosen;
    this.#totalBytes = copyBytes;
    this.#options = options;
    this.#mover = new RecordMover(volume.session, { chosen, packs }, options.signal);
  }

  get movedBytes(): number {
    return this.#nodeBytes + this.#mover.movedBytes;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const visitor: Visitor = {
      node: (owner, node) => {
        if (this.#chosen.has(node.pointer.segment) && !isExtended(owner)) this.#noteNode(owner, node);
        return true;
      },
      units: (owner, units) => this.#noteUnits(owner, units),
      leave: async ({ stored }) => {
        if (stored !== undefined) await this.#finish(stored.key);
      },
      lost: () => undefined,
    };
    await new Walk(this.#session, this.#volume.moves, visitor, { movesTwice: true, signal }).from();
    await this.#flush();
  }

  #workOf(key: Id): Work {
    let work = this.#open.get(key);
    if (work === undefined) {
      work = { key, folders: new Map(), unitCount: 0 };
      this.#open.set(key, work);
    }
    return work;
  }

  #noteNode(owner: Walked, node: WalkedNode): void {
    this.#nodeBytes += node.pointer.lengthBytes;
    if (node.role === 'mapPage') this.#pagesMove.add(owner.inode.id);
    else folderWork(this.#workOf(owner.host), owner.folders).rewritten.add(node.names.from);
  }

  async #noteUnits(owner: Walked<FileInode>, units: readonly MappedUnit[]): Promise<void> {
    const { inode, stored, host, folders, entry } = owner;
    const isPageMoved = this.#pagesMove.delete(inode.id);
    const moving = units.filter(
      ({ pointer }, at) => this.#chosen.has(pointer.segment) || (isPageMoved && at === 0),
    );
    // A name that is being moved to another folder is left to a later pass.
    if (moving.length === 0 || entry?.departure !== undefined || isExtended(owner)) return;
    const work = this.#workOf(host);
    const fresh = { id: inode.id, uid: inode.uid, unitSizeBytes: inode.unitSizeBytes, units: [] };
    let file: FileMoves;
    if (stored !== undefined) {
      file = work.own ?? fresh;
      work.own = file;
    } else {
      const { embedded } = folderWork(work, folders);
      file = embedded.get(entry?.name ?? '') ?? fresh;
      embedded.set(entry?.name ?? '', file);
    }
    file.units.push(...moving);
    work.unitCount += moving.length;
    if (work.unitCount >= CHANGES_MAX) await this.#finish(host);
  }

  async #finish(key: Id): Promise<void> {
    const work = this.#open.get(key);
    if (work === undefined) return;
    this.#open.delete(key);
    this.#ready.push(work);
    const unitCount = this.#ready.reduce((sum, ready) => sum + ready.unitCount, 0);
    if (this.#ready.length >= WORKS_MAX || unitCount >= CHANGES_MAX) await this.#flush();
  }

  /** Copies and then commits all that is ready, together, so that it shares segments. */
  async #flush(): Promise<void> {
    const works = this.#ready;
    this.#ready = [];
    const files = works.flatMap(({ own, folders }) => [
      ...(own === undefined ? [] : [own]),
      ...[...folders.values()].flatMap(({ embedded }) => [...embedded.values()]),
    ]);
    const moved = await this.#mover.move(files);
    await Promise.all(works.map(work => this.#commit(work, moved)));
    this.#options.onProgress?.(Math.min(this.movedBytes, this.#totalBytes), this.#totalBytes);
  }

  async #commit(work: Work, moved: ReadonlyMap<FileMoves, MovesOf>): Promise<void> {
    try {
      await this.#volume.inodes.get(work.key).apply(async draft => {
        // An extension may have been added since the walk.
        if (draft.inode.extensions !== undefined) return;
        if (work.own !== undefined && draft.inode.type === 'file') {
          const update = await this.#update(draft.inode, moved.get(work.own));
          if (update !== undefined) {
            draft.needs(update.segments);
            draft.update(update.content);
          }
        }
        if (draft.inode.type !== 'directory' || draft.inode.isDead) return;
        for (const folder of work.folders.values()) {
          const inner = await openPath(draft, folder.steps);
          if (inner !== undefined) await this.#applyToFolder(inner, folder, moved);
        }
      });
      this.changed.add(work.key);
    } catch (error) {
      // The object is gone or damaged: it stays as it is.
      if (!isLoss(error)) throw error;
    }
  }

  async #applyToFolder(
    draft: Draft,
    work: FolderWork,
    moved: ReadonlyMap<FileMoves, MovesOf>,
  ): Promise<void> {
    const { dataVersion } = draft.directory;
    for (const [name, file] of work.embedded) {
      const entry = await draft.find(name);
      if (entry?.node.kind !== 'embedded' || entry.departure !== undefined) continue;
      const { inode } = entry.node;
      if (inode.id !== file.id || inode.type !== 'file' || inode.extensions !== undefined) continue;
      const update = await this.#update(inode, moved.get(file));
      if (update === undefined) continue;
      draft.needs(update.segments);
      const node = {
        kind: 'embedded',
        inode: { ...inode, ...update.content, version: inode.version + 1 },
      } as const;
      draft.replace({ name, node }, { keepTimes: true });
    }
    for (const name of work.rewritten) await draft.rewrite(name);
    if (draft.isChanged) draft.update({ dataVersion });
  }

  /**
   * Returns the content with the new pointers. A pointer is replaced only if it is still the one that was
   * moved; undefined when there is none to replace.
   */
  async #update(
    { id, map: root, sizeBytes, unitSizeBytes, storedBytes }: FileInode,
    moves: MovesOf = new Map(),
  ): Promise<MovedContent | undefined> {
    const indexes = [...moves.keys()];
    if (indexes.length === 0) return undefined;
    const from = indexes.reduce((least, index) => Math.min(least, index));
    const to = indexes.reduce((most, index) => Math.max(most, index)) + 1;
    const map = new UnitMap(this.#session.sealing, id, this.#session.mapNodes);
    const changes = new Map<number, Pointer | undefined>();
    for await (const part of map.walk(root, from, to)) {
      if ('error' in part) continue;
      for (const { index, pointer } of part.units) {
        const move = moves.get(index);
        if (move !== undefined && isSamePointer(move.from, pointer)) changes.set(index, move.to);
      }
    }
    if (changes.size === 0) return undefined;
    const unitCount = Math.max(to, sizeToUnitCount(sizeBytes, unitSizeBytes));
    const update = await map.update(root, changes, unitCount, this.#session.nodeSegments);
    const segments = new Set(update.segments);
    for (const [index, to] of changes) {
      if (to !== undefined && moves.get(index)?.from.segment !== to.segment) segments.add(to.segment);
    }
    const content = { map: update.root, storedBytes: storedBytes + update.addedBytes };
    return { content, segments };
  }
}

function folderWork({ folders }: Work, steps: readonly FolderStep[]): FolderWork {
  const path = steps.map(({ id }) => id).join('/');
  let work = folders.get(path);
  if (work === undefined) {
    work = { steps, embedded: new Map(), rewritten: new Set() };
    folders.set(path, work);
  }
  return work;
}

/**
 * Returns undefined when the folder is not there any more, is an object now, is being moved, or lies in one
 * with extensions that are not known.
 */
async function openPath(host: Draft, steps: readonly FolderStep[]): Promise<Draft | undefined> {
  let draft = host;
  for (const { name, id } of steps) {
    if (draft.inode.extensions !== undefined) return undefined;
    const entry = await draft.find(name);
    if (entry?.node.kind !== 'embedded' || entry.node.inode.id !== id) return undefined;
    if (entry.departure !== undefined) return undefined;
    draft = draft.open(entry);
  }
  return draft;
}
