/**
 * A file's extent map: for each unit, where its sealed record lies. It is a radix tree of fan-out 1,024. The
 * root, of up to 256 slots, lies in the inode. The other nodes are pages in segments. A slot that is not
 * listed is a hole. An update writes new pages along the paths that it touches, and leaves the old ones as
 * they are.
 *
 *   node                        its slot s is
 *   level 0, number p           unit p * 1,024 + s
 *   level l, number p           the page of level l - 1 with number p * 1,024 + s
 *
 * So a slot of a node of level l covers 1,024^l units. The root's level is the depth of the map, its number
 * is 0. The depth grows with the file, and never shrinks.
 */
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { readControl } from './control-reader.ts';
import type { MapRoot, MapSlots } from './inode.ts';
import {
  decodeMapPage,
  depthFor,
  encodeMapPage,
  PAGE_SLOTS,
  pageIndex,
  ROOT_SLOTS,
  unitsPerSlot,
} from './map-format.ts';
import type { NodeCache } from './node-cache.ts';
import { type Pointer, storedBytesOf } from './pointer.ts';
import type { Sealing } from './sealing.ts';
import type { SegmentWriter } from './segment-writer.ts';

export const EMPTY_MAP: MapRoot = { depth: 0, slots: [] };

/** A pointer; undefined for a hole; or the error of a page that cannot be read. */
export type Mapped = Pointer | NetsealError | undefined;

export interface MappedUnit {
  readonly index: number;
  readonly pointer: Pointer;
}

/** A page that cannot be read, and the units that it covers. */
export interface LostUnits {
  readonly from: number;
  readonly to: number;
  readonly error: NetsealError;
}

export interface MapUpdate {
  readonly root: MapRoot;
  /** How many more bytes the mapped units take in segments than before. Negative when they take less. */
  readonly addedBytes: number;
  /** Segments of the pages that were placed. All must be durable before the root may be committed. */
  readonly segments: ReadonlySet<Id>;
}

/** A page to read. Its number counts the pages of its level from the start of the file. */
interface PageRef {
  readonly level: number;
  readonly page: number;
  readonly pointer: Pointer;
}

export class UnitMap {
  readonly #sealing: Sealing;
  readonly #file: Id;
  readonly #cache: NodeCache<MapSlots>;

  constructor(sealing: Sealing, file: Id, cache: NodeCache<MapSlots>) {
    this.#sealing = sealing;
    this.#file = file;
    this.#cache = cache;
  }

  /** Returns what the units of [from, to) map to, in order. */
  async lookup(root: MapRoot, from: number, to: number, signal?: AbortSignal): Promise<Mapped[]> {
    const mapped: Mapped[] = new Array<Mapped>(to - from).fill(undefined);
    for await (const part of this.walk(root, from, to, signal)) {
      if ('error' in part)
        mapped.fill(part.error, Math.max(part.from, from) - from, Math.min(part.to, to) - from);
      else for (const { index, pointer } of part.units) mapped[index - from] = pointer;
    }
    return mapped;
  }

  /** Yields the mapped units of [from, to), ascending, page by page; and the pages that cannot be read. */
  async *walk(
    root: MapRoot,
    from: number,
    to: number,
    signal?: AbortSignal,
  ): AsyncGenerator<{ readonly units: readonly MappedUnit[] } | LostUnits> {
    yield* this.#walkNode(root.depth, 0, root.slots, from, to, signal);
  }

  async *#walkNode(
    level: number,
    page: number,
    slots: MapSlots,
    from: number,
    to: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<{ readonly units: readonly MappedUnit[] } | LostUnits> {
    const span = unitsPerSlot(level);
    const base = page * PAGE_SLOTS;
    const within = slots.filter(({ slot }) => (base + slot + 1) * span > from && (base + slot) * span < to);
    if (level === 0) {
      if (within.length > 0)
        yield { units: within.map(({ slot, pointer }) => ({ index: base + slot, pointer })) };
      return;
    }
    const children = within.map(({ slot, pointer }) => ({ level: level - 1, page: base + slot, pointer }));
    for (let at = 0; at < children.length; at += LOAD_PAGES) {
      const chunk = children.slice(at, at + LOAD_PAGES);
      const loaded = await this.pages(chunk, signal);
      for (const [order, child] of chunk.entries()) {
        const content = loaded[order] ?? [];
        if (isNetsealError(content)) {
          yield { from: child.page * span, to: (child.page + 1) * span, error: content };
        } else {
          yield* this.#walkNode(child.level, child.page, content, from, to, signal);
        }
      }
    }
  }

  /** Returns the slots of pages, in order; for a page that cannot be read, its error. */
  async pages(refs: readonly PageRef[], signal?: AbortSignal): Promise<(MapSlots | NetsealError)[]> {
    const missing = refs.filter(({ pointer }) => this.#cache.get(pointer) === undefined);
    const requests = missing.map(({ pointer, level, page }) => ({ pointer, at: this.#at(level, page) }));
    const read = missing.length === 0 ? [] : await readControl(this.#sealing, requests, signal);
    const fresh = new Map(missing.map((ref, at) => [ref, this.#decode(ref, read[at])]));
    return refs.map(
      ref =>
        fresh.get(ref) ?? this.#cache.get(ref.pointer) ?? new NetsealError('EBUG', 'a map page was not read'),
    );
  }

  #decode(
    { pointer, level }: PageRef,
    plain: Uint8Array | NetsealError | undefined,
  ): MapSlots | NetsealError {
    if (plain === undefined) return new NetsealError('EBUG', 'a map page was not read');
    if (isNetsealError(plain)) return plain;
    try {
      const slots = decodeMapPage(plain, level);
      this.#cache.set(pointer, slots);
      return slots;
    } catch (error) {
      if (isNetsealError(error)) return error;
      throw error;
    }
  }

  /**
   * Maps units to other pointers; undefined makes a hole. Throws the error of a page that it needs and cannot
   * read.
   *
   * @param unitCount the units that the map must be able to hold: more than the highest index of `changes`.
   */
  async update(
    root: MapRoot,
    changes: ReadonlyMap<number, Pointer | undefined>,
    unitCount: number,
    segments: SegmentWriter,
  ): Promise<MapUpdate> {
    const depth = Math.max(root.depth, depthFor(unitCount));
    const used = new Set<Id>();
    const ordered = [...changes].sort(([left], [right]) => left - right);
    const rewriter = new Rewriter(this, this.#sealing, this.#file, this.#cache, segments, used);
    const grown = depth > root.depth && root.slots.length > 0 ? root : undefined;
    const existing = depth > root.depth ? [] : root.slots;
    const slots = await rewriter.rewrite(depth, 0, existing, ordered, grown);
    return { root: { depth, slots }, segments: used, addedBytes: rewriter.addedBytes };
  }

  /**
   * Drops the units from `unitCount` on. Rewrites at most one page for each level, and reads the pages that
   * it drops.
   */
  async truncate(root: MapRoot, unitCount: number, segments: SegmentWriter): Promise<MapUpdate> {
    const used = new Set<Id>();
    let droppedBytes = 0;
    for await (const part of this.walk(root, unitCount, capacityUnits(root.depth))) {
      if ('error' in part) throw part.error;
      droppedBytes += part.units.reduce((sum, { pointer }) => sum + storedBytesOf(pointer), 0);
    }
    const rewriter = new Rewriter(this, this.#sealing, this.#file, this.#cache, segments, used);
    const slots = await rewriter.truncate(root.depth, 0, root.slots, unitCount);
    return { root: { depth: root.depth, slots }, segments: used, addedBytes: -droppedBytes };
  }

  #at(level: number, page: number): { kind: 'mapPage'; objectId: Id; index: number } {
    return { kind: 'mapPage', objectId: this.#file, index: pageIndex(level, page) };
  }
}

/** How many pages a walk reads at once. */
const LOAD_PAGES = 64;

/** Writes the new pages of one update. */
class Rewriter {
  readonly #map: UnitMap;
  readonly #sealing: Sealing;
  readonly #file: Id;
  readonly #cache: NodeCache<MapSlots>;
  readonly #segments: SegmentWriter;
  readonly #used: Set<Id>;
  addedBytes = 0;

  constructor(
    map: UnitMap,
    sealing: Sealing,
    file: Id,
    cache: NodeCache<MapSlots>,
    segments: SegmentWriter,
    used: Set<Id>,
  ) {
    this.#map = map;
    this.#sealing = sealing;
    this.#file = file;
    this.#cache = cache;
    this.#segments = segments;
    this.#used = used;
  }

  /**
   * Returns the slots of a node with changes applied. Its new children are placed.
   *
   * @param grown the root from before the map became deeper. It becomes page 0 of its level, below this node.
   */
  async rewrite(
    level: number,
    page: number,
    slots: MapSlots,
    changes: readonly (readonly [number, Pointer | undefined])[],
    grown?: MapRoot,
  ): Promise<MapSlots> {
    if (level === 0) {
      const merged = mergeSlots(
        slots,
        changes.map(([index, pointer]) => [index - page * PAGE_SLOTS, pointer]),
      );
      this.addedBytes += recordBytes(merged) - recordBytes(slots);
      return merged;
    }
    const span = unitsPerSlot(level);
    const base = page * PAGE_SLOTS;
    const groups = new Map<number, (readonly [number, Pointer | undefined])[]>();
    if (grown !== undefined) groups.set(0, []);
    for (const change of changes) {
      const slot = Math.floor(change[0] / span) - base;
      const group = groups.get(slot);
      if (group === undefined) groups.set(slot, [change]);
      else group.push(change);
    }
    const contents = await this.#contents(level, base, slots, [...groups.keys()]);
    const rewritten: (readonly [number, MapSlots])[] = [];
    for (const [slot, group] of groups) {
      const isOldRoot = grown !== undefined && slot === 0;
      const becomesIt = isOldRoot && grown.depth === level - 1;
      const content = becomesIt ? grown.slots : (contents.get(slot) ?? []);
      const below = isOldRoot && !becomesIt ? grown : undefined;
      rewritten.push([slot, await this.rewrite(level - 1, base + slot, content, group, below)]);
    }
    return mergeSlots(slots, await this.#place(level - 1, base, rewritten));
  }

  async truncate(level: number, page: number, slots: MapSlots, unitCount: number): Promise<MapSlots> {
    const span = unitsPerSlot(level);
    const base = page * PAGE_SLOTS;
    const kept = slots.filter(({ slot }) => (base + slot) * span < unitCount);
    const last = kept.at(-1);
    if (level === 0 || last === undefined || (base + last.slot + 1) * span <= unitCount) return kept;
    const content = (await this.#contents(level, base, kept, [last.slot])).get(last.slot) ?? [];
    const rest = await this.truncate(level - 1, base + last.slot, content, unitCount);
    return mergeSlots(kept, await this.#place(level - 1, base, [[last.slot, rest]]));
  }

  /** Reads the pages below some slots of a node. */
  async #contents(
    level: number,
    base: number,
    slots: MapSlots,
    wanted: readonly number[],
  ): Promise<Map<number, MapSlots>> {
    const asked = new Set(wanted);
    const there = slots.filter(({ slot }) => asked.has(slot));
    const refs = there.map(({ slot, pointer }) => ({ level: level - 1, page: base + slot, pointer }));
    const pages = await this.#map.pages(refs);
    return new Map(
      there.map(({ slot }, at) => {
        const content = pages[at] ?? [];
        if (isNetsealError(content)) throw content;
        return [slot, content];
      }),
    );
  }

  /** Seals and places pages. An empty page becomes a hole. */
  async #place(
    level: number,
    base: number,
    pages: readonly (readonly [number, MapSlots])[],
  ): Promise<[number, Pointer | undefined][]> {
    const full = pages.filter(([, content]) => content.length > 0);
    const records = full.map(([slot, content]) => {
      const index = pageIndex(level, base + slot);
      const at = { kind: 'mapPage', objectId: this.#file, index } as const;
      return { ...at, unitSizeLog2: 0, ...this.#sealing.control.seal(at, encodeMapPage(content, level)) };
    });
    this.#sealing.nodes?.keep(records.map(({ bytes, ...at }) => ({ at, bytes })));
    const pointers = await this.#segments.place(records);
    for (const [at, pointer] of pointers.entries()) {
      this.#used.add(pointer.segment);
      const content = full[at]?.[1];
      if (content !== undefined) this.#cache.set(pointer, content);
    }
    const bySlot = new Map(full.map(([slot], at) => [slot, pointers[at]]));
    return pages.map(([slot]) => [slot, bySlot.get(slot)]);
  }
}

/** Merges changes into slots. Undefined removes a slot. */
function mergeSlots(slots: MapSlots, changes: readonly (readonly [number, Pointer | undefined])[]): MapSlots {
  const merged = new Map(slots.map(({ slot, pointer }) => [slot, pointer]));
  for (const [slot, pointer] of changes) {
    if (pointer === undefined) merged.delete(slot);
    else merged.set(slot, pointer);
  }
  return [...merged].sort(([left], [right]) => left - right).map(([slot, pointer]) => ({ slot, pointer }));
}

function recordBytes(slots: MapSlots): number {
  return slots.reduce((sum, { pointer }) => sum + storedBytesOf(pointer), 0);
}

/** Returns how many units a root of this depth can hold. */
function capacityUnits(depth: number): number {
  return ROOT_SLOTS * unitsPerSlot(depth);
}
