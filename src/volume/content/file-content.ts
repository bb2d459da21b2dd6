/** The content of a file that is being written: where each unit lies, and the extent map that says so. */
import { isNetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { FileInode, MapRoot } from '../../server/sealed/inode.ts';
import type { Pointer, SlicePointer } from '../../server/sealed/pointer.ts';
import { EMPTY_MAP, UnitMap } from '../../server/sealed/unit-map.ts';
import type { Session } from '../session/session.ts';

/** The part of an inode that describes its content. */
export interface Content {
  readonly map: MapRoot;
  readonly sizeBytes: number;
  readonly storedBytes: number;
}

/** Content that may be committed once its segments are durable. */
export interface UploadedContent {
  readonly content: Content;
  /** Segments that the content points into and that were written for it. */
  readonly segments: ReadonlySet<Id>;
}

/** Returns the inode of a new file with its first content. */
export function firstVersion(inode: FileInode, content: Content): FileInode {
  return { ...inode, ...content, dataVersion: 1 };
}

/** From so many changes on, they are moved into map pages: these fill a few. */
const CHANGES_MAX = 4096;

export class FileContent {
  readonly #session: Session;
  readonly #map: UnitMap;
  readonly #unitSizeBytes: number;
  /** Where units lie whose place is not in the map yet. */
  #changes = new Map<number, Pointer | undefined>();
  readonly #segments = new Set<Id>();
  #root: MapRoot;
  #storedBytes: number;
  #unitCount: number;

  /** Starts from the content that the inode has now. */
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

  /** Segments that must be durable before the content may be committed. */
  get segments(): ReadonlySet<Id> {
    return this.#segments;
  }

  /** Returns where a unit lies; undefined for a hole. Rejects with what reading a map page throws. */
  async find(index: number): Promise<Pointer | undefined> {
    if (this.#changes.has(index)) return this.#changes.get(index);
    if (index >= this.#unitCount) return undefined;
    const [mapped] = await this.#map.lookup(this.#root, index, index + 1);
    if (isNetsealError(mapped)) throw mapped;
    return mapped;
  }

  /** Points a unit to a record; undefined makes it a hole. */
  set(index: number, pointer: Pointer | undefined): void {
    this.#changes.set(index, pointer);
    this.#unitCount = Math.max(this.#unitCount, index + 1);
    if (pointer !== undefined) this.#segments.add(pointer.segment);
  }

  /**
   * Shortens a unit's slice of a pack, if it is longer. The pack's record stays where it is. Its segment is
   * not added to {@link segments}, because the content that is replaced refers to it already.
   *
   * @param pointer where the unit lies, as {@link find} said.
   */
  shorten(index: number, pointer: SlicePointer, lengthBytes: number): void {
    if (pointer.slice.lengthBytes <= lengthBytes) return;
    this.#changes.set(index, { ...pointer, slice: { ...pointer.slice, lengthBytes } });
  }

  /** Whether {@link foldIfLarge} has something to do. */
  get isLarge(): boolean {
    return this.#changes.size >= CHANGES_MAX;
  }

  /**
   * Moves changes into map pages if there are many. Only {@link set} may be called meanwhile. After a failure
   * the changes are lost.
   */
  async foldIfLarge(): Promise<void> {
    if (this.isLarge) await this.#fold();
  }

  /** Drops the units beyond a new end. The caller rewrites or shortens the unit that the new end lies in. */
  async truncate(sizeBytes: number): Promise<void> {
    if (sizeBytes === 0) {
      // This must work even if the map cannot be read any more.
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

  /** Returns the content so far, for a commit. */
  async finish(sizeBytes: number): Promise<Content> {
    await this.#fold();
    return { map: this.#root, sizeBytes, storedBytes: this.#storedBytes };
  }

  async #fold(): Promise<void> {
    if (this.#changes.size === 0) return;
    const changes = this.#changes;
    this.#changes = new Map();
    // Pages go into the segment of their units if that is still open: one upload instead of two.
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
