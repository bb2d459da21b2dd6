/**
 * A directory's names as a copy-on-write B+ tree. The root lies in the inode; all other nodes are records in
 * segments. An update writes new nodes along the paths that it touches, level by level, and leaves the old
 * ones as they are.
 *
 * Invariants
 *   1. Names ascend within a node, and from one node to the next. No name below a child comes before its
 *      `firstName`.
 *   2. No stored node is empty. None is larger than `nodeBytes`, unless it is a single huge entry. All leaves
 *      are equally deep. The root is no larger than `rootBytes`, and holds no deeper nesting of embedded
 *      directories than `nesting`: else its content goes into nodes.
 *   3. Each node that is stored gets the directory's next index, and its record is bound to that. No index is
 *      used twice.
 */
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import { readControl } from './control-reader.ts';
import type { DirectoryEntry, DirectoryInode, NameChild, NameNode } from './inode.ts';
import {
  childBytes,
  decodeNameNode,
  encodeNameNode,
  entryBytes,
  FOLDER_BYTES_MAX,
  folderHeadBytes,
  NESTING_MAX,
  nestingOf,
  nodeBytesOf,
} from './name-node-format.ts';
import type { NodeCache } from './node-cache.ts';
import type { Sealing } from './sealing.ts';
import type { SegmentWriter } from './segment-writer.ts';

/** Sizes of nodes. Each must be several times what a child with the longest name takes, some 300 bytes. */
export interface NodeSizes {
  /** Largest node in a segment, encoded, before compression. Default 64 KiB. */
  readonly nodeBytes: number;
  /** Largest root, in the inode. Small, because each commit writes it anew. Default 32 KiB. */
  readonly rootBytes: number;
  /**
   * How many embedded directories may lie within one another in the root. Default: as many as in any node.
   */
  readonly nesting?: number | undefined;
}

const NODE_BYTES_DEFAULT: number = 64 * KIB;
const SIZES_DEFAULT: NodeSizes = { nodeBytes: NODE_BYTES_DEFAULT, rootBytes: 32 * KIB };
/** How many nodes a scan reads at once. */
const SCAN_NODES = 64;

/** Returns the sizes of the tree of a directory, which depend on where its inode lies. */
export function sizesOf(directory: DirectoryInode): NodeSizes {
  if (directory.parent !== undefined) return SIZES_DEFAULT;
  // Room for counts that grow with this very change.
  const headBytes = folderHeadBytes(directory) + COUNTS_BYTES_MAX;
  return {
    nodeBytes: NODE_BYTES_DEFAULT,
    rootBytes: FOLDER_BYTES_MAX - headBytes,
    nesting: NESTING_MAX - 1,
  };
}

/** An upper bound for what the counts and versions of an embedded directory may take more after a change. */
const COUNTS_BYTES_MAX = 32;

export const EMPTY_NAMES: NameNode = { kind: 'leaf', entries: [] };

/** Changes of entries, ascending by name. Undefined removes an entry. */
export type NameChanges = readonly (readonly [Name, DirectoryEntry | undefined])[];

export interface NameUpdate {
  readonly root: NameNode;
  readonly nextIndex: number;
  /** Segments of the nodes that were placed. All must be durable before the root may be committed. */
  readonly segments: ReadonlySet<Id>;
}

export class NameTree {
  readonly #sealing: Sealing;
  readonly #directory: Id;
  readonly #cache: NodeCache<NameNode>;
  readonly #sizes: NodeSizes;

  constructor(sealing: Sealing, directory: Id, cache: NodeCache<NameNode>, sizes: NodeSizes = SIZES_DEFAULT) {
    this.#sealing = sealing;
    this.#directory = directory;
    this.#cache = cache;
    this.#sizes = sizes;
  }

  /** Finds the entry of a name. Throws the error of a node that cannot be read. */
  async find(root: NameNode, name: Name): Promise<DirectoryEntry | undefined> {
    let node = root;
    while (node.kind === 'inner') {
      const child = node.children[childOf(node.children, name)];
      if (child === undefined) return undefined;
      node = one(await this.load([child]));
    }
    const found = node.entries[lowerBound(node.entries, entry => entry.name < name)];
    return found?.name === name ? found : undefined;
  }

  /** Yields the leaves in order. Reads several at once. Throws the error of a node that cannot be read. */
  async *leaves(root: NameNode): AsyncGenerator<readonly DirectoryEntry[]> {
    if (root.kind === 'leaf') {
      yield root.entries;
      return;
    }
    for (let at = 0; at < root.children.length; at += SCAN_NODES) {
      const nodes = await this.load(root.children.slice(at, at + SCAN_NODES));
      for (const node of nodes) {
        if (isNetsealError(node)) throw node;
        yield* this.leaves(node);
      }
    }
  }

  /** Returns the children's nodes, in order; for one that cannot be read, its error. */
  async load(children: readonly NameChild[], signal?: AbortSignal): Promise<(NameNode | NetsealError)[]> {
    const wanted = children.map(child => ({ directory: this.#directory, child }));
    return await loadNodes(this.#sealing, this.#cache, wanted, signal);
  }

  /** Applies changes and places the new nodes in segments. The tree under `root` stays readable as it was. */
  async update(
    root: NameNode,
    changes: NameChanges,
    nextIndex: number,
    segments: SegmentWriter,
  ): Promise<NameUpdate> {
    const placer = new Placer(this.#sealing, this.#directory, this.#cache, segments, nextIndex);
    let nodes = await this.#rewrite(root, changes, placer);
    for (;;) {
      const [only] = nodes;
      if (only === undefined) return placer.result(EMPTY_NAMES);
      if (nodes.length === 1 && this.#canBeRoot(only)) return placer.result(await this.#collapse(only));
      const level = only.kind === 'leaf' ? 1 : only.level + 1;
      nodes = splitChildren(await placer.place(nodes), level, this.#sizes);
    }
  }

  /** Replaces the root by its only child, as long as it has only one and that fits into the inode. */
  async #collapse(root: NameNode): Promise<NameNode> {
    if (root.kind === 'leaf' || root.children.length !== 1) return root;
    const child = one(await this.load(root.children));
    return this.#canBeRoot(child) ? await this.#collapse(child) : root;
  }

  #canBeRoot(node: NameNode): boolean {
    const { rootBytes, nesting = NESTING_MAX } = this.#sizes;
    return nodeBytesOf(node) <= rootBytes && nestingOf(node) <= nesting;
  }

  /**
   * Applies changes to a node. Returns the nodes of the same level that it becomes: none empty, none placed
   * yet.
   */
  async #rewrite(node: NameNode, changes: NameChanges, placer: Placer): Promise<NameNode[]> {
    if (node.kind === 'leaf') return splitEntries(mergeEntries(node.entries, changes), this.#sizes);
    const groups = groupByChild(node.children, changes);
    const touched = node.children.filter((_, at) => (groups[at]?.length ?? 0) > 0);
    const loaded = await this.load(touched);
    const rewritten = new Map<NameChild, NameNode[]>();
    for (const [at, child] of touched.entries()) {
      const group = groups[node.children.indexOf(child)] ?? [];
      rewritten.set(child, await this.#rewrite(one(loaded.slice(at, at + 1)), group, placer));
    }
    const runs = joinNeighbours(node.children, rewritten, this.#sizes);
    const placed = await placer.place(runs.flatMap(run => (run.kind === 'new' ? run.nodes : [])));
    let next = 0;
    const children = runs.flatMap(run => {
      if (run.kind === 'kept') return [run.child];
      next += run.nodes.length;
      return placed.slice(next - run.nodes.length, next);
    });
    return splitChildren(children, node.level, this.#sizes);
  }
}

/** A node of a directory's tree that is to be read. */
export interface NodeToLoad {
  /** The id of the directory. */
  readonly directory: Id;
  readonly child: NameChild;
}

/**
 * Returns nodes of any directories, in order; for one that cannot be read, its error. Nodes that lie close
 * together are read with one request. Rejects with the signal's reason.
 */
export async function loadNodes(
  sealing: Sealing,
  cache: NodeCache<NameNode>,
  wanted: readonly NodeToLoad[],
  signal?: AbortSignal,
): Promise<(NameNode | NetsealError)[]> {
  const cached = wanted.map(({ child }) => cache.get(child.pointer));
  const missing = wanted.filter((_, at) => cached[at] === undefined);
  const requests = missing.map(({ directory, child }) => ({
    pointer: child.pointer,
    at: { kind: 'directoryLeaf', objectId: directory, index: child.index } as const,
  }));
  const read = missing.length === 0 ? [] : await readControl(sealing, requests, signal);
  let next = 0;
  return wanted.map(({ child }, at) => {
    const known = cached[at];
    if (known !== undefined) return known;
    const plain = read[next++] ?? new NetsealError('EBUG', 'a node was not read');
    if (isNetsealError(plain)) return plain;
    try {
      const node = decodeNameNode(plain);
      cache.set(child.pointer, node);
      return node;
    } catch (error) {
      if (isNetsealError(error)) return error;
      throw error;
    }
  });
}

/** Seals and places the nodes of one update. */
class Placer {
  readonly #sealing: Sealing;
  readonly #directory: Id;
  readonly #cache: NodeCache<NameNode>;
  readonly #segments: SegmentWriter;
  readonly #used = new Set<Id>();
  #nextIndex: number;

  constructor(
    sealing: Sealing,
    directory: Id,
    cache: NodeCache<NameNode>,
    segments: SegmentWriter,
    nextIndex: number,
  ) {
    this.#sealing = sealing;
    this.#directory = directory;
    this.#cache = cache;
    this.#segments = segments;
    this.#nextIndex = nextIndex;
  }

  async place(nodes: readonly NameNode[]): Promise<NameChild[]> {
    const records = nodes.map(node => {
      const at = { kind: 'directoryLeaf', objectId: this.#directory, index: this.#nextIndex } as const;
      this.#nextIndex += 1;
      return { ...at, unitSizeLog2: 0, ...this.#sealing.control.seal(at, encodeNameNode(node)) };
    });
    this.#sealing.nodes?.keep(records.map(({ bytes, ...at }) => ({ at, bytes })));
    const pointers = await this.#segments.place(records);
    return nodes.map((node, at) => {
      const pointer = pointers[at];
      const record = records[at];
      if (pointer === undefined || record === undefined)
        throw new NetsealError('EBUG', 'a node was not placed');
      this.#used.add(pointer.segment);
      this.#cache.set(pointer, node);
      return { firstName: firstName(node), index: record.index, pointer };
    });
  }

  result(root: NameNode): NameUpdate {
    return { root, nextIndex: this.#nextIndex, segments: this.#used };
  }
}

/** Merges changes into old entries. */
function mergeEntries(entries: readonly DirectoryEntry[], changes: NameChanges): DirectoryEntry[] {
  const merged: DirectoryEntry[] = [];
  let at = 0;
  for (const [name, entry] of changes) {
    for (let old = entries[at]; old !== undefined && old.name < name; old = entries[at]) {
      merged.push(old);
      at += 1;
    }
    if (entries[at]?.name === name) at += 1;
    if (entry !== undefined) merged.push(entry);
  }
  return [...merged, ...entries.slice(at)];
}

/** Groups changes by the child that they belong to. */
function groupByChild(children: readonly NameChild[], changes: NameChanges): NameChanges[] {
  const groups: [Name, DirectoryEntry | undefined][][] = children.map(() => []);
  let at = 0;
  for (const change of changes) {
    for (
      let next = children[at + 1];
      next !== undefined && next.firstName <= change[0];
      next = children[at + 1]
    ) {
      at += 1;
    }
    groups[at]?.push([change[0], change[1]]);
  }
  return groups;
}

type Run = { readonly kind: 'kept'; readonly child: NameChild } | { readonly kind: 'new'; nodes: NameNode[] };

/**
 * Returns the children in order. Rewritten leaves that are neighbours are joined where they have become
 * small.
 */
function joinNeighbours(
  children: readonly NameChild[],
  rewritten: ReadonlyMap<NameChild, readonly NameNode[]>,
  sizes: NodeSizes,
): Run[] {
  const runs: Run[] = [];
  for (const child of children) {
    const nodes = rewritten.get(child);
    const last = runs.at(-1);
    if (nodes === undefined) runs.push({ kind: 'kept', child });
    else if (last?.kind === 'new') appendNodes(last.nodes, nodes, sizes);
    else runs.push({ kind: 'new', nodes: [...nodes] });
  }
  return runs;
}

/** Joins a small leaf with the last of `joined`, if that is a small leaf as well. */
function appendNodes(joined: NameNode[], nodes: readonly NameNode[], sizes: NodeSizes): void {
  for (const node of nodes) {
    const last = joined.at(-1);
    const fits =
      last?.kind === 'leaf' &&
      node.kind === 'leaf' &&
      nodeBytesOf(last) + nodeBytesOf(node) <= sizes.nodeBytes / 2;
    if (fits) joined[joined.length - 1] = { kind: 'leaf', entries: [...last.entries, ...node.entries] };
    else joined.push(node);
  }
}

function splitEntries(entries: readonly DirectoryEntry[], sizes: NodeSizes): NameNode[] {
  return splitBySize(entries, entryBytes, sizes).map(part => ({ kind: 'leaf', entries: part }));
}

function splitChildren(children: readonly NameChild[], level: number, sizes: NodeSizes): NameNode[] {
  return splitBySize(children, childBytes, sizes).map(part => ({ kind: 'inner', level, children: part }));
}

/**
 * Cuts items into parts of about equal size. No part is larger than `nodeBytes`, unless a single item is.
 *
 * @param bytesOf the size of an item behind another one, or at the beginning of a part.
 */
function splitBySize<Item>(
  items: readonly Item[],
  bytesOf: (item: Item, before?: Item) => number,
  { nodeBytes: nodeBytesMax }: NodeSizes,
): Item[][] {
  const sizes = items.map((item, at) => bytesOf(item, items[at - 1]));
  const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
  const partBytes = totalBytes / Math.ceil(totalBytes / nodeBytesMax);
  const parts: Item[][] = [];
  let filledBytes = Number.POSITIVE_INFINITY;
  for (const [at, item] of items.entries()) {
    const size = sizes[at] ?? 0;
    // By rounding, the last part may come out a little larger than the others. That must not make one part
    // more.
    if (filledBytes + size > nodeBytesMax || filledBytes >= partBytes) {
      parts.push([]);
      filledBytes = 0;
    }
    filledBytes += filledBytes === 0 ? bytesOf(item) : size;
    parts.at(-1)?.push(item);
  }
  return parts;
}

function firstName(node: NameNode): Name {
  return (node.kind === 'leaf' ? node.entries[0]?.name : node.children[0]?.firstName) ?? '';
}

/** Returns the position of the child under which a name belongs. */
function childOf(children: readonly NameChild[], name: Name): number {
  return Math.max(0, lowerBound(children, child => child.firstName <= name) - 1);
}

/** Counts the items at the front that satisfy `isBefore`. The items after them must not. */
function lowerBound<Item>(items: readonly Item[], isBefore: (item: Item) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = items[middle];
    if (item !== undefined && isBefore(item)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function one(loaded: readonly (NameNode | NetsealError)[]): NameNode {
  const [node] = loaded;
  if (node === undefined) throw new NetsealError('EBUG', 'a node was not loaded');
  if (isNetsealError(node)) throw node;
  return node;
}
