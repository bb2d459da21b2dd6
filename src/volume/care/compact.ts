/**
 * Compaction: moves the live records out of segments that are mostly garbage, so that a later gc pass can
 * delete those segments.
 *
 *   - Sealed units are copied as they are, unopened.
 *   - Map pages and name nodes are sealed anew, because the places that they name change.
 *   - A pointer is replaced only where it is still the one that was copied. A file's content and data version
 *     stay the same.
 *   - A segment is emptied only when less than half of it is live. So less is copied than becomes garbage.
 */
import { isLoss } from '../../base/errors.ts';
import { MIB, sizeToUnitCount, unitSizeToLog2 } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import { fetchAll, planFetches } from '../../server/sealed/fetch.ts';
import type { FileInode, MapRoot } from '../../server/sealed/inode.ts';
import { isSamePointer, type Pointer } from '../../server/sealed/pointer.ts';
import { type MappedUnit, UnitMap } from '../../server/sealed/unit-map.ts';
import { recordTag } from '../../unit/record-format.ts';
import type { Draft } from '../names/draft.ts';
import type { Session } from '../session/session.ts';
import type { Volume } from '../volume.ts';
import type { Cut } from './gc-cut.ts';
import { type Visitor, Walk, type Walked, type WalkedNode } from './walk.ts';

export interface CompactOptions {
  /** Only segments written at this time or earlier are emptied; ms since 1970, server's clock. */
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

/** A segment is emptied when a smaller share of it is live. */
const LIVE_SHARE_MAX = 0.5;
/** The most units in one change of an inode object. */
const CHANGES_MAX = 4096;
/** The most inode objects that are changed at once. */
const WORKS_MAX = 64;
/** How many sealed bytes are fetched, then placed, at once. */
const COPY_BYTES: number = 4 * MIB;

/** Chooses the segments to empty: those with the smallest live share first. */
export function chooseSegments(
  { segments, liveBytes }: Pick<Cut, 'segments' | 'liveBytes'>,
  { olderThanMs, copyBytesMax }: Pick<CompactOptions, 'olderThanMs' | 'copyBytesMax'>,
): { readonly chosen: ReadonlySet<Id>; readonly copyBytes: number; readonly left: number } {
  const worth = [...liveBytes]
    .map(([id, live]) => ({ id, live, listed: segments.get(id) }))
    .flatMap(({ id, live, listed }) =>
      listed !== undefined && listed.modifiedAtMs <= olderThanMs && live < LIVE_SHARE_MAX * listed.sizeBytes
        ? [{ id, live, share: live / listed.sizeBytes }]
        : [],
    )
    .sort((a, b) => a.share - b.share);
  const chosen = new Set<Id>();
  let copyBytes = 0;
  for (const { id, live } of worth) {
    if (copyBytes + live > copyBytesMax) break;
    copyBytes += live;
    chosen.add(id);
  }
  return { chosen, copyBytes, left: worth.length - chosen.size };
}

/** Empties segments. Records that cannot be read, or whose pointer has changed, stay. Errors: the store's. */
export async function compactSegments(
  volume: Volume,
  cut: Pick<Cut, 'segments' | 'liveBytes'>,
  options: CompactOptions,
): Promise<CompactionReport> {
  const { chosen, copyBytes, left } = chooseSegments(cut, options);
  if (chosen.size === 0) {
    return { segments: 0, movedBytes: 0, freedBytes: 0, writtenBytes: 0, commits: 0, left };
  }
  const { nodeSegments } = volume.session;
  const sentBefore = nodeSegments.sentBytes;
  const compactor = new Compactor(volume, { chosen, copyBytes }, options);
  await compactor.run();
  await volume.sync();
  let freedBytes = 0;
  for (const id of chosen) freedBytes += cut.segments.get(id)?.sizeBytes ?? 0;
  return {
    segments: chosen.size,
    movedBytes: compactor.movedBytes,
    freedBytes,
    writtenBytes: nodeSegments.sentBytes - sentBefore,
    commits: compactor.commits,
    left,
  };
}

/** The units of one file that have to move. */
interface FileMoves {
  readonly id: Id;
  readonly unitSizeBytes: number;
  /**
   * Units in chosen segments; and one unit below each map page in a chosen segment, so that the page is
   * sealed anew.
   */
  readonly units: MappedUnit[];
}

/** One change of an inode object. */
interface Work {
  /** The key of the object. */
  readonly key: Id;
  /** When the object is a file: its units. */
  own?: FileMoves;
  /** When the object is a folder: the files embedded in it, by name. */
  readonly embedded: Map<Name, FileMoves>;
  /** When the object is a folder: for each name node in a chosen segment, the first name below it. */
  readonly rewritten: Set<Name>;
  unitCount: number;
}

/**
 * Where a unit lay, and where it lies now. Both are the same place for a unit that is listed only so that its
 * map page is sealed anew.
 */
interface Moved {
  readonly from: Pointer;
  readonly to: Pointer;
}

/** By unit index. */
type MovesOf = ReadonlyMap<number, Moved>;

class Compactor {
  readonly #volume: Volume;
  readonly #session: Session;
  readonly #chosen: ReadonlySet<Id>;
  readonly #totalBytes: number;
  readonly #options: CompactOptions;
  /** The changes that are being collected, by the key of the inode object that they will change. */
  readonly #open = new Map<Id, Work>();
  /** Files in which a map page has to be sealed anew. */
  readonly #pagesMove = new Set<Id>();
  #ready: Work[] = [];
  movedBytes = 0;
  commits = 0;

  constructor(
    volume: Volume,
    { chosen, copyBytes }: { readonly chosen: ReadonlySet<Id>; readonly copyBytes: number },
    options: CompactOptions,
  ) {
    this.#volume = volume;
    this.#session = volume.session;
    this.#chosen = chosen;
    this.#totalBytes = copyBytes;
    this.#options = options;
  }

  async run(): Promise<void> {
    const { signal } = this.#options;
    const visitor: Visitor = {
      node: (owner, node) => {
        if (this.#chosen.has(node.pointer.segment)) this.#noteNode(owner, node);
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
      work = { key, embedded: new Map(), rewritten: new Set(), unitCount: 0 };
      this.#open.set(key, work);
    }
    return work;
  }

  #noteNode(owner: Walked, node: WalkedNode): void {
    this.movedBytes += node.pointer.lengthBytes;
    if (node.role === 'mapPage') this.#pagesMove.add(owner.inode.id);
    else this.#workOf(owner.host).rewritten.add(node.names.from);
  }

  async #noteUnits(owner: Walked<FileInode>, units: readonly MappedUnit[]): Promise<void> {
    const { inode, stored, host, entry } = owner;
    const isPageMoved = this.#pagesMove.delete(inode.id);
    const moving = units.filter(
      ({ pointer }, at) => this.#chosen.has(pointer.segment) || (isPageMoved && at === 0),
    );
    // A name that is being moved to another folder is left to a later pass.
    if (moving.length === 0 || entry?.departure !== undefined) return;
    const work = this.#workOf(host);
    const fresh = { id: inode.id, unitSizeBytes: inode.unitSizeBytes, units: [] };
    const moves = stored !== undefined ? work.own : work.embedded.get(entry?.name ?? '');
    const file = moves ?? fresh;
    if (stored !== undefined) work.own = file;
    else work.embedded.set(entry?.name ?? '', file);
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
    const moved = new Map<FileMoves, MovesOf>();
    for (const { own, embedded } of works) {
      for (const file of [...(own === undefined ? [] : [own]), ...embedded.values()]) {
        moved.set(file, await this.#copy(file));
      }
    }
    await Promise.all(works.map(work => this.#commit(work, moved)));
    this.#options.onProgress?.(Math.min(this.movedBytes, this.#totalBytes), this.#totalBytes);
  }

  /** Copies sealed units. Leaves out those that cannot be read, or whose tag is not the pointer's. */
  async #copy({ id, unitSizeBytes, units }: FileMoves): Promise<MovesOf> {
    const moved = new Map<number, Moved>();
    const { sealing, nodeSegments } = this.#session;
    let batch: MappedUnit[] = [];
    let batchBytes = 0;
    const copyBatch = async (): Promise<void> => {
      const plan = planFetches(batch.map(({ pointer }) => pointer));
      const bytes = new Uint8Array(plan.totalBytes);
      const errors = await fetchAll(sealing.store, plan, bytes, this.#options.signal);
      const records = batch.flatMap(({ index, pointer }, at) => {
        const offset = plan.offsets[at] ?? 0;
        const record = bytes.subarray(offset, offset + pointer.lengthBytes);
        const isIt = !errors.has(at) && Buffer.compare(recordTag(record), pointer.tag) === 0;
        const place = pointer.origin ?? { objectId: id, index };
        const unitSizeLog2 = unitSizeToLog2(unitSizeBytes);
        return isIt
          ? [
              {
                index,
                from: pointer,
                record: { kind: 'unit' as const, ...place, unitSizeLog2, bytes: record },
              },
            ]
          : [];
      });
      const pointers = await nodeSegments.place(
        records.map(({ record, from }) => ({ ...record, tag: from.tag })),
      );
      for (const [at, { index, from }] of records.entries()) {
        const placed = pointers[at];
        if (placed === undefined) continue;
        moved.set(index, { from, to: { ...placed, origin: from.origin } });
        this.movedBytes += from.lengthBytes;
      }
      batch = [];
      batchBytes = 0;
    };
    for (const unit of units) {
      const { index, pointer } = unit;
      if (!this.#chosen.has(pointer.segment)) {
        moved.set(index, { from: pointer, to: pointer });
        continue;
      }
      batch.push(unit);
      batchBytes += pointer.lengthBytes;
      if (batchBytes >= COPY_BYTES) await copyBatch();
    }
    if (batch.length > 0) await copyBatch();
    return moved;
  }

  async #commit(work: Work, moved: ReadonlyMap<FileMoves, MovesOf>): Promise<void> {
    try {
      await this.#volume.inodes.get(work.key).apply(async draft => {
        if (work.own !== undefined && draft.inode.type === 'file') {
          const update = await this.#update(draft.inode, moved.get(work.own));
          if (update !== undefined) {
            draft.needs(update.segments);
            draft.update({ map: update.root });
          }
        }
        if (draft.inode.type === 'directory' && !draft.inode.isDead)
          await this.#applyToFolder(draft, work, moved);
      });
      this.commits += 1;
    } catch (error) {
      // The object is gone or damaged: it stays as it is.
      if (!isLoss(error)) throw error;
    }
  }

  async #applyToFolder(draft: Draft, work: Work, moved: ReadonlyMap<FileMoves, MovesOf>): Promise<void> {
    const { dataVersion } = draft.directory;
    for (const [name, file] of work.embedded) {
      const entry = await draft.find(name);
      if (entry?.node.kind !== 'embedded' || entry.departure !== undefined) continue;
      const { inode } = entry.node;
      if (inode.id !== file.id || inode.type !== 'file') continue;
      const update = await this.#update(inode, moved.get(file));
      if (update === undefined) continue;
      draft.needs(update.segments);
      const node = {
        kind: 'embedded',
        inode: { ...inode, version: inode.version + 1, map: update.root },
      } as const;
      draft.replace({ name, node }, { keepTimes: true });
    }
    for (const name of work.rewritten) await draft.rewrite(name);
    if (draft.isChanged) draft.update({ dataVersion });
  }

  /**
   * Returns the map with the new pointers. A pointer is replaced only if it is still the one that was copied;
   * undefined when there is none to replace.
   */
  async #update(
    { id, map: root, sizeBytes, unitSizeBytes }: FileInode,
    moves: MovesOf = new Map(),
  ): Promise<{ readonly root: MapRoot; readonly segments: ReadonlySet<Id> } | undefined> {
    const indexes = [...moves.keys()];
    if (indexes.length === 0) return undefined;
    const from = indexes.reduce((least, index) => Math.min(least, index));
    const to = indexes.reduce((most, index) => Math.max(most, index)) + 1;
    const map = new UnitMap(this.#session.sealing, id, this.#session.mapNodes);
    const changes = new Map<number, Pointer>();
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
    for (const [index, { segment }] of changes) {
      if (moves.get(index)?.from.segment !== segment) segments.add(segment);
    }
    return { root: update.root, segments };
  }
}
