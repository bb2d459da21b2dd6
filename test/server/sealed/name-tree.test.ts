/** A directory's tree of names against a map, with small nodes, so that it is deep. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../../src/base/chance.ts';
import { randomId } from '../../../src/base/ids.ts';
import { MemoryStore } from '../../../src/server/memory-store.ts';
import type { DirectoryEntry, NameNode } from '../../../src/server/sealed/inode.ts';
import { childBytes, entryBytes } from '../../../src/server/sealed/name-node-format.ts';
import { EMPTY_NAMES, type NameChanges, NameTree } from '../../../src/server/sealed/name-tree.ts';
import { NodeCache } from '../../../src/server/sealed/node-cache.ts';
import { SegmentWriter } from '../../../src/server/sealed/segment-writer.ts';
import { SEARCH_MS, SEED } from '../../support/soak.ts';
import { openSealing, type TestSealing } from './support.ts';

let open: TestSealing;
const store = new MemoryStore();

beforeAll(async () => {
  open = await openSealing(store);
});
afterAll(() => open.close());

function entryOf(name: string, mark: number): DirectoryEntry {
  const id = mark.toString(16).padStart(32, '0');
  return { name, node: { kind: 'object', id, type: 'file' } };
}

function nodeBytes(node: NameNode): number {
  return node.kind === 'leaf'
    ? node.entries.reduce((sum, entry) => sum + entryBytes(entry), 0)
    : node.children.reduce((sum, child) => sum + childBytes(child), 0);
}

/** Checks the invariants of a whole tree; returns its depth and the indexes of its nodes. */
async function check(
  tree: NameTree,
  node: NameNode,
  sizes: { nodeBytes: number; rootBytes: number },
  bounds: { from: string; to: string | undefined; isRoot: boolean },
  indexes: Set<number>,
): Promise<number> {
  const count = node.kind === 'leaf' ? node.entries.length : node.children.length;
  if (!bounds.isRoot) {
    expect(count).toBeGreaterThan(0);
    if (count > 1) expect(nodeBytes(node)).toBeLessThanOrEqual(sizes.nodeBytes);
  } else if (count > 1) {
    expect(nodeBytes(node)).toBeLessThanOrEqual(sizes.rootBytes);
  }
  const names =
    node.kind === 'leaf' ? node.entries.map(({ name }) => name) : node.children.map(c => c.firstName);
  for (const [at, name] of names.entries()) {
    if (at > 0) expect(name > (names[at - 1] ?? '')).toBe(true);
    if (bounds.to !== undefined) expect(name < bounds.to).toBe(true);
    expect(name >= bounds.from).toBe(true);
  }
  if (node.kind === 'leaf') return 0;
  const loaded = await tree.load(node.children);
  for (const [at, child] of node.children.entries()) {
    expect(indexes.has(child.index)).toBe(false);
    indexes.add(child.index);
    const below = loaded[at];
    if (below === undefined || below instanceof Error) throw new Error('not loaded');
    const to = node.children[at + 1]?.firstName ?? bounds.to;
    const depth = await check(tree, below, sizes, { from: child.firstName, to, isRoot: false }, indexes);
    expect(depth).toBe(node.level - 1);
  }
  return node.level;
}

function randomName(chance: Chance): string {
  const kind = chance();
  if (kind < 0.6) return `file-${String(Math.floor(chance() * 400)).padStart(4, '0')}`;
  if (kind < 0.9)
    return String.fromCharCode(...Array.from({ length: 1 + chance() * 5 }, () => chance() * 4 * 64));
  return 'x'.repeat(1 + Math.floor(chance() * 254));
}

async function allOf(tree: NameTree, root: NameNode): Promise<DirectoryEntry[]> {
  const all: DirectoryEntry[] = [];
  for await (const part of tree.leaves(root)) all.push(...part);
  return all;
}

/** Mostly insertions, or mostly removals; once all names. */
function chooseChanges(
  chance: Chance,
  model: ReadonlyMap<string, DirectoryEntry>,
  batch: number,
): Map<string, DirectoryEntry | undefined> {
  const changes = new Map<string, DirectoryEntry | undefined>();
  const isRemoving = chance() < 0.35;
  const known = [...model.keys()];
  const count = Math.floor(chance() ** 3 * 400) + 1;
  for (let change = 0; change < count; change += 1) {
    const name = isRemoving ? (known[Math.floor(chance() * known.length)] ?? 'none') : randomName(chance);
    changes.set(name, isRemoving && chance() < 0.95 ? undefined : entryOf(name, batch * 1000 + change));
  }
  if (batch === 20) for (const name of known) changes.set(name, undefined);
  return changes;
}

async function run(seed: number): Promise<number> {
  const chance = seededChance(seed);
  const directory = randomId();
  const sizes = { nodeBytes: 900 + Math.floor(chance() * 400), rootBytes: 700 + Math.floor(chance() * 800) };
  const segments = new SegmentWriter(open.sealing);
  const newTree = (): NameTree => new NameTree(open.sealing, directory, new NodeCache(), sizes);
  const tree = newTree();
  const model = new Map<string, DirectoryEntry>();
  let root: NameNode = EMPTY_NAMES;
  let nextIndex = 0;
  let depthMax = 0;
  for (let batch = 0; batch < 25; batch += 1) {
    const changes = chooseChanges(chance, model, batch);
    const sorted: NameChanges = [...changes].sort(([left], [right]) => (left < right ? -1 : 1));
    const before = await allOf(tree, root);
    const update = await tree.update(root, sorted, nextIndex, segments);
    await segments.flush();
    for (const segment of update.segments)
      expect((await store.stat(`s/${segment}`)).sizeBytes).toBeGreaterThan(0);
    // The old tree is what it was.
    expect(await allOf(tree, root)).toEqual(before);
    expect(update.nextIndex).toBeGreaterThanOrEqual(nextIndex);
    ({ root, nextIndex } = update);
    for (const [name, entry] of changes) {
      if (entry === undefined) model.delete(name);
      else model.set(name, entry);
    }
    // Read from the store, not from what was kept.
    const fresh = newTree();
    const expected = [...model].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, entry]) => entry);
    expect(await allOf(fresh, root), `seed ${seed}, batch ${batch}`).toEqual(expected);
    const indexes = new Set<number>();
    depthMax = Math.max(
      depthMax,
      await check(fresh, root, sizes, { from: '', to: undefined, isRoot: true }, indexes),
    );
    for (const index of indexes) expect(index).toBeLessThan(nextIndex);
    for (let look = 0; look < 10; look += 1) {
      const name = randomName(chance);
      expect(await fresh.find(root, name)).toEqual(model.get(name));
    }
    for (const name of [...model.keys()].slice(0, 10))
      expect(await fresh.find(root, name)).toEqual(model.get(name));
    if (model.size === 0) expect(root).toEqual(EMPTY_NAMES);
  }
  return depthMax;
}

describe('a tree of names', () => {
  it('is a map, ordered, with nodes within their sizes, after any batches', async () => {
    const endMs = performance.now() + 8 * SEARCH_MS;
    let depthMax = 0;
    // However slow the machine is, some tree must grow deep.
    const goesOn = (at: number): boolean => at < 3 || performance.now() < endMs || (depthMax < 3 && at < 40);
    for (let at = 0; goesOn(at); at += 1) depthMax = Math.max(depthMax, await run(SEED + at));
    expect(depthMax).toBeGreaterThanOrEqual(3);
  });

  it('writes few nodes for one name of many, and few for many at once', async () => {
    const directory = randomId();
    const tree = new NameTree(open.sealing, directory, new NodeCache());
    const segments = new SegmentWriter(open.sealing);
    const names = Array.from({ length: 60_000 }, (_, at) => `file-${String(at).padStart(6, '0')}`);
    const all: NameChanges = names.map((name, at) => [name, entryOf(name, at)]);
    const startMs = performance.now();
    const first = await tree.update(EMPTY_NAMES, all, 0, segments);
    expect(first.nextIndex).toBeLessThan(60);
    const one = await tree.update(
      first.root,
      [['file-030000x', entryOf('file-030000x', 1)]],
      first.nextIndex,
      segments,
    );
    expect(one.nextIndex - first.nextIndex).toBeLessThanOrEqual(3);
    // Every other name: each leaf is rewritten, and small neighbours become one.
    const thinned: NameChanges = names.filter((_, at) => at % 8 !== 0).map(name => [name, undefined]);
    const thin = await tree.update(one.root, thinned, one.nextIndex, segments);
    expect(thin.nextIndex - one.nextIndex).toBeLessThan(first.nextIndex / 2);
    expect((await allOf(tree, thin.root)).length).toBe(7501);
    expect(performance.now() - startMs).toBeLessThan(20_000);
    await segments.flush();
  });

  it('fails with what a node fails with, and only there', async () => {
    const directory = randomId();
    const sizes = { nodeBytes: 600, rootBytes: 600 };
    const segments = new SegmentWriter(open.sealing);
    const names = Array.from({ length: 200 }, (_, at) => `n${String(at).padStart(4, '0')}`);
    const tree = new NameTree(open.sealing, directory, new NodeCache(), sizes);
    const { root } = await tree.update(
      EMPTY_NAMES,
      names.map((name, at) => [name, entryOf(name, at)]),
      0,
      segments,
    );
    await segments.flush();
    if (root.kind === 'leaf') throw new Error('too small');
    const [lost] = root.children;
    if (lost === undefined) throw new Error('no child');
    const other = await openSealing(store);
    try {
      const elsewhere = new NameTree(open.sealing, randomId(), new NodeCache(), sizes);
      await expect(elsewhere.find(root, 'n0000')).rejects.toMatchObject({ code: 'EAUTH' });
      const withoutKeys = new NameTree(other.sealing, directory, new NodeCache(), sizes);
      await expect(withoutKeys.find(root, 'n0000')).rejects.toMatchObject({ code: 'EAUTH' });
    } finally {
      await other.close();
    }
    const key = `s/${lost.pointer.segment}`;
    const object = Buffer.from((await store.get(key)).bytes);
    const at = lost.pointer.offsetBytes + 50;
    object[at] = (object[at] ?? 0) ^ 1;
    await store.put(key, [object]);
    const fresh = new NameTree(open.sealing, directory, new NodeCache(), sizes);
    await expect(fresh.find(root, 'n0000')).rejects.toMatchObject({ code: 'EAUTH' });
    expect(await fresh.find(root, 'n0199')).toEqual(entryOf('n0199', 199));
  });
});
