/** The content of a file that is being written: which units have gone where, and the extent map that comes of it. */
import { isNetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { FileInode, MapRoot } from '../../server/sealed/inode.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import { EMPTY_MAP, UnitMap } from '../../server/sealed/unit-map.ts';
import type { Session } from '../session/session.ts';

/** What an inode says of its content. */
export interface Content {
  readonly map: MapRoot;
  readonly sizeBytes: number;
  readonly storedBytes: number;
}

/** A new file as its first commit makes it. */
export function firstVersion(inode: FileInode, content: Content): FileInode {
  return { ...inode, ...content, dataVersion: 1 };
}

/** Changes that are kept before they go into map pages: a few pages' worth. */
const CHANGES_MAX = 4096;

export class FileContent {
  readonly #session: Session;
  readonly #map: UnitMap;
  readonly #unitSizeBytes: number;
  /** Units that the map does not know yet where they are now. */
  #changes = new Map<number, Pointer | undefined>();
  readonly #segments = new Set<Id>();
  #root: MapRoot;
  #storedBytes: number;
  #unitCount: number;

  /** Starts from what the inode says now. */
  constructor(
    session: Session,
    inode: Pick<FileInode, 'id' | 'unitSizeBytes' | 'map' | 'storedBytes' | 'sizeBytes'>,
  ) {
    this.#session = session;
    this.#map = new UnitMap(session.sealing, inode.id, session.mapNodes);
    this.#unitSizeBytes = inode.unitSizeBytes;
    this.#root = inode.map;
    this.#storedBytes = inode.storedBytes;
    this.#unitCount = sizeToUnitCount(inode.sizeBytes, inode.unitSizeBytes);
  }

  /** What must be durable before the content may be committed. */
  get segments(): ReadonlySet<Id> {
    return this.#segments;
  }

  /** Where a unit is now; undefined for a hole. Throws what reading a map page throws. */
  async find(index: number): Promise<Pointer | undefined> {
    if (this.#changes.has(index)) return this.#changes.get(index);
    if (index >= this.#unitCount) return undefined;
    const [mapped] = await this.#map.lookup(this.#root, index, index + 1);
    if (isNetsealError(mapped)) throw mapped;
    return mapped;
  }

  /** Points a unit elsewhere; undefined makes it a hole. */
  set(index: number, pointer: Pointer | undefined): void {
    this.#changes.set(index, pointer);
    this.#unitCount = Math.max(this.#unitCount, index + 1);
    if (pointer !== undefined) this.#segments.add(pointer.segment);
  }

  /** Whether {@link foldIfLarge} has something to do. */
  get isLarge(): boolean {
    return this.#changes.size >= CHANGES_MAX;
  }

  /**
   * Moves changes into map pages when there are many. {@link set} may be called meanwhile, nothing else. After a failure the
   * changes are lost.
   */
  async foldIfLarge(): Promise<void> {
    if (this.isLarge) await this.#fold();
  }

  /** Drops what lies beyond; the caller takes care of the unit that the new end lies in. */
  async truncate(sizeBytes: number): Promise<void> {
    if (sizeBytes === 0) {
      // Also where the map cannot be read any more.
      this.#changes.clear();
      this.#root = EMPTY_MAP;
      this.#storedBytes = 0;
      this.#unitCount = 0;
      return;
    }
    await this.#fold();
    const unitCount = sizeToUnitCount(sizeBytes, this.#unitSizeBytes);
    if (unitCount < this.#unitCount) {
      this.#adopt(await this.#map.truncate(this.#root, unitCount, this.#session.nodeSegments));
    }
    this.#unitCount = unitCount;
  }

  /** The content so far, for a commit. */
  async finish(sizeBytes: number): Promise<Content> {
    await this.#fold();
    return { map: this.#root, sizeBytes, storedBytes: this.#storedBytes };
  }

  async #fold(): Promise<void> {
    if (this.#changes.size === 0) return;
    const changes = this.#changes;
    this.#changes = new Map();
    // Into the segment that the units are in, if it is still open: one upload instead of two.
    const { dataSegments, nodeSegments } = this.#session;
    const isUrgent = [...changes.values()].some(
      pointer => pointer !== undefined && dataSegments.isOpen(pointer.segment),
    );
    const writer = isUrgent ? dataSegments : nodeSegments;
    this.#adopt(await this.#map.update(this.#root, changes, this.#unitCount, writer));
  }

  #adopt(update: { root: MapRoot; segments: ReadonlySet<Id>; addedBytes: number }): void {
    this.#root = update.root;
    this.#storedBytes += update.addedBytes;
    for (const segment of update.segments) this.#segments.add(segment);
  }
}
