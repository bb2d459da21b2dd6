/**
 * A cut: everything that a volume's root led to at one moment, although clients go on working.
 *
 *   1. Walk everything from the root, and remember the version of each inode object.
 *   2. List the inode objects with their versions. Walk again those that have changed since they were walked.
 *   3. Repeat step 2 until a list shows exactly the versions that were walked.
 *
 * No version ever comes twice, and all walking ended before the last list began. So at the moment when that
 * list began, every object was as it was walked.
 *
 * References found in versions that are gone by then count as well. That may keep garbage longer; it never
 * lets anything be deleted too early.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import { listAll } from '../../server/list-all.ts';
import { INODE_PREFIX, idOfKey, inodeKey, SEGMENT_PREFIX } from '../../server/sealed/object-keys.ts';
import { isSlicePointer, type Pointer, recordKey, type SlicePointer } from '../../server/sealed/pointer.ts';
import type { ListEntry, Version } from '../../server/store.ts';
import { keyOfReference } from '../names/references.ts';
import type { Volume } from '../volume.ts';
import { isExtended, type Lost, type Visitor, Walk, type Walked } from './walk.ts';

/** An object as the store lists it. */
export interface ListedObject {
  readonly sizeBytes: number;
  /** Whole ms since 1970, by the store's clock. */
  readonly modifiedAtMs: number;
}

export interface Cut {
  /** All segments and inode objects in the store, by the random part of their keys. */
  readonly segments: ReadonlyMap<Id, ListedObject>;
  readonly inodes: ReadonlyMap<Id, ListedObject>;
  /**
   * The live segments: for each, the bytes of its records that are referred to. A pack counts once, with the
   * share of it that the slices make up.
   */
  readonly liveBytes: ReadonlyMap<Id, number>;
  /** The live packs, by `recordKey`. */
  readonly packs: ReadonlyMap<string, PackUse>;
  readonly liveInodes: ReadonlySet<Id>;
  /** The epochs under which the live inode objects are sealed. */
  readonly inodeEpochs: ReadonlyMap<Id, number>;
  /** Live segments that cannot be emptied: an inode with extensions that are not known names them. */
  readonly pinned: ReadonlySet<Id>;
  /** Inodes and nodes that could not be read. If there are any, the cut is incomplete. */
  readonly lost: readonly Lost[];
}

/** What is referred to of a pack. */
export interface PackUse {
  readonly segment: Id;
  /** Length of the sealed record. */
  readonly lengthBytes: number;
  readonly packBytes: number;
  /** Sum of the slices. It may exceed `packBytes`, as slices may be shared or counted twice. */
  readonly sliceBytes: number;
}

/** True for a pack at least half of which is live. Compaction moves it whole, unopened. */
export function isHalfLive({ sliceBytes, packBytes }: Pick<PackUse, 'sliceBytes' | 'packBytes'>): boolean {
  return sliceBytes >= packBytes / 2;
}

/** Returns the share of the sealed record that is live, in bytes. */
export function livePackBytes({ lengthBytes, sliceBytes, packBytes }: PackUse): number {
  return Math.ceil(lengthBytes * Math.min(1, sliceBytes / packBytes));
}

export interface CutOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of objects and nodes walked so far. */
  readonly onProgress?: ((walkedCount: number) => void) | undefined;
  /** After so many lists it gives up: ECONFLICT. Default 32. */
  readonly roundsMax?: number | undefined;
}

const ROUNDS_MAX = 32;
/** How many versions are asked for at once, when the store's lists have none. */
const STATS_MAX = 16;

/**
 * Takes a cut. Errors: ECONFLICT when the volume changes too fast; EUNSUPPORTED when the store's lists are
 * not consistent; those of {@link Walk.from}.
 */
export async function takeCut(volume: Volume, options: CutOptions = {}): Promise<CutTaker> {
  const { store } = volume.session.sealing;
  if (!store.capabilities.listIsConsistent) {
    throw new NetsealError(
      'EUNSUPPORTED',
      `${store.name} has no consistent lists: gc cannot tell what is garbage`,
    );
  }
  const taker = new CutTaker(volume, options);
  await taker.settle();
  return taker;
}

export class CutTaker implements Cut {
  readonly #volume: Volume;
  readonly #options: CutOptions;
  /** For each inode object, by its key, the version that was walked last. */
  readonly #walked = new Map<Id, Version>();
  /** The nodes that were walked, by place. They need no second walk: what lies in a segment never changes. */
  readonly #nodes = new Set<string>();
  readonly #liveBytes = new Map<Id, number>();
  readonly #packs = new Map<string, PackUse>();
  readonly #liveInodes = new Set<Id>();
  readonly #inodeEpochs = new Map<Id, number>();
  readonly #pinned = new Set<Id>();
  #lost: Lost[] = [];
  #segments = new Map<Id, ListedObject>();
  #inodes = new Map<Id, ListedObject>();

  /** @internal See {@link takeCut}. */
  constructor(volume: Volume, options: CutOptions) {
    this.#volume = volume;
    this.#options = options;
    this.#liveInodes.add(volume.settings.rootId);
  }

  get segments(): ReadonlyMap<Id, ListedObject> {
    return this.#segments;
  }

  get inodes(): ReadonlyMap<Id, ListedObject> {
    return this.#inodes;
  }

  get liveBytes(): ReadonlyMap<Id, number> {
    return this.#liveBytes;
  }

  get packs(): ReadonlyMap<string, PackUse> {
    return this.#packs;
  }

  get liveInodes(): ReadonlySet<Id> {
    return this.#liveInodes;
  }

  get inodeEpochs(): ReadonlyMap<Id, number> {
    return this.#inodeEpochs;
  }

  get pinned(): ReadonlySet<Id> {
    return this.#pinned;
  }

  get lost(): readonly Lost[] {
    return this.#lost;
  }

  /** Brings the cut up to date: to a moment after this call. */
  async settle(): Promise<void> {
    const { rootId } = this.#volume.settings;
    if (!this.#walked.has(rootId)) await this.#walk(rootId);
    const { roundsMax = ROUNDS_MAX } = this.#options;
    for (let round = 0; round < roundsMax; round += 1) {
      // Another round would not bring back what is lost.
      if (this.#lost.length > 0) break;
      const changed = await this.#findChanged();
      if (changed.length === 0) break;
      if (round === roundsMax - 1) {
        throw new NetsealError(
          'ECONFLICT',
          `the volume is changing too fast: ${changed.length} inodes since they were read; try again later`,
        );
      }
      for (const id of changed) await this.#walk(id);
    }
    this.#segments = await this.#list(SEGMENT_PREFIX);
  }

  async #walk(key: Id): Promise<void> {
    const { session, moves } = this.#volume;
    const { signal, onProgress } = this.#options;
    const visitor: Visitor = {
      enter: reference => {
        const key = keyOfReference(reference);
        if (this.#liveInodes.has(key)) return false;
        this.#liveInodes.add(key);
        return true;
      },
      item: ({ inode, stored }) => {
        if (stored !== undefined) {
          this.#walked.set(stored.key, stored.version);
          this.#inodeEpochs.set(stored.key, stored.epoch);
        }
        for (const segment of inode.extensions?.segments ?? []) {
          this.#count(segment, 0);
          this.#pinned.add(segment);
        }
        onProgress?.(this.#walked.size + this.#nodes.size);
        return true;
      },
      node: (owner, { pointer }) => {
        const key = `${pointer.segment} ${pointer.offsetBytes}`;
        if (this.#nodes.has(key)) return false;
        this.#nodes.add(key);
        this.#countRecord(owner, pointer);
        return true;
      },
      units: (owner, units) => {
        for (const { pointer } of units) this.#countRecord(owner, pointer);
      },
      lost: lost => {
        this.#lost = [...this.#lost, lost];
      },
    };
    // What was walked before is skipped.
    const readsAhead = this.#nodes.size === 0;
    await new Walk(session, moves, visitor, { movesTwice: true, readsAhead, signal }).from(key);
  }

  #countRecord(owner: Walked, pointer: Pointer): void {
    const { segment, lengthBytes } = pointer;
    this.#count(segment, isSlicePointer(pointer) ? this.#countSlice(pointer) : lengthBytes);
    if (isExtended(owner)) this.#pinned.add(segment);
  }

  /** Counts a slice. Returns how many more bytes of its pack's record are live than before. */
  #countSlice(pointer: SlicePointer): number {
    const { segment, lengthBytes, slice } = pointer;
    const key = recordKey(pointer);
    const fresh = { segment, lengthBytes, packBytes: slice.packBytes, sliceBytes: 0 };
    const before = this.#packs.get(key) ?? fresh;
    const now = { ...before, sliceBytes: before.sliceBytes + slice.lengthBytes };
    this.#packs.set(key, now);
    return livePackBytes(now) - livePackBytes(before);
  }

  #count(segment: Id, bytes: number): void {
    this.#liveBytes.set(segment, (this.#liveBytes.get(segment) ?? 0) + bytes);
  }

  /** Lists the inode objects. Returns those that have changed since they were walked, or have gone. */
  async #findChanged(): Promise<Id[]> {
    const { store } = this.#volume.session.sealing;
    const { signal } = this.#options;
    const versions = new Map<Id, Version | undefined>();
    this.#inodes = await this.#list(INODE_PREFIX, (id, { version }) => {
      if (this.#walked.has(id)) versions.set(id, version);
    });
    // Only another gc deletes an inode object. Walking it again reports what is lost with it.
    const changed = [...this.#walked.keys()].filter(id => !versions.has(id));
    await inParallel(versions, STATS_MAX, async ([id, listed]) => {
      const version = listed ?? (await store.stat(inodeKey(id), { signal })).version;
      if (version !== this.#walked.get(id)) changed.push(id);
    });
    return changed;
  }

  async #list(prefix: string, see?: (id: Id, entry: ListEntry) => void): Promise<Map<Id, ListedObject>> {
    const objects = new Map<Id, ListedObject>();
    const { store } = this.#volume.session.sealing;
    for await (const entry of listAll(store, prefix, this.#options.signal)) {
      const id = idOfKey(entry.key, prefix);
      if (id === undefined) continue;
      const { sizeBytes, modifiedAtMs } = entry;
      objects.set(id, { sizeBytes, modifiedAtMs: Math.max(0, Math.trunc(modifiedAtMs)) });
      see?.(id, entry);
    }
    return objects;
  }
}
