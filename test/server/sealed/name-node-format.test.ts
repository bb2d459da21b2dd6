import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Name } from '../../../src/base/name.ts';
import {
  type DirectoryEntry,
  type DirectoryInode,
  INODE_TYPES,
  type NameNode,
} from '../../../src/server/sealed/inode.ts';
import {
  childBytes,
  decodeNameNode,
  encodeNameNode,
  entryBytes,
  NODE_BYTES_MAX,
  nestingOf,
} from '../../../src/server/sealed/name-node-format.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { innerNodes, leaves } from './arbitraries.ts';
import {
  DIRECTORY,
  exampleId,
  examplePointer,
  NESTED,
  ODD_DIRECTORY,
  packedFile,
  smallFileEntries,
} from './format-examples.ts';

function objectLeaf(...names: Name[]): NameNode {
  const id = exampleId('1');
  return { kind: 'leaf', entries: names.map(name => ({ name, node: { kind: 'object', id, type: 'file' } })) };
}

/** An embedded directory with a tree: its mode, owner and times take as few bytes as they can. */
function embedded(tree: NameNode, other: Partial<DirectoryInode> = {}): DirectoryEntry {
  const { ctimeNs } = DIRECTORY;
  const entries = tree.kind === 'leaf' ? tree.entries : [];
  const folders = entries.filter(({ node }) => node.kind === 'embedded' && node.inode.type === 'directory');
  const inode: DirectoryInode = {
    ...DIRECTORY,
    ...{ parent: undefined, formerParent: undefined, isDead: false, arrivals: [] },
    ...{ mtimeNs: ctimeNs, birthNs: ctimeNs, nextIndex: 0, tree },
    ...{ entryCount: entries.length, subdirectoryCount: folders.length },
    ...other,
  };
  return { name: 'd', node: { kind: 'embedded', inode } };
}

/** An entry whose object has a key of its own. */
function keyed(key: string): DirectoryEntry {
  return { name: 'a.txt', node: { kind: 'object', id: exampleId('1'), key, type: 'file' } };
}

function estimate(node: NameNode): number {
  const parts =
    node.kind === 'leaf'
      ? node.entries.map((entry, at, all) => entryBytes(entry, all[at - 1]))
      : node.children.map(childBytes);
  return parts.reduce((sum, bytes) => sum + bytes, NODE_BYTES_MAX);
}

describe('name nodes', () => {
  it('come back as they went, and are never larger than estimated', () => {
    const check = (node: NameNode) => {
      const bytes = encodeNameNode(node);
      expect(decodeNameNode(bytes)).toEqual(node);
      expect(bytes.byteLength).toBeLessThanOrEqual(estimate(node));
    };
    checkProperty(leaves, check, { weight: 2, examples: [DIRECTORY.tree, ODD_DIRECTORY.tree, NESTED] });
    checkProperty(innerNodes, check, { weight: 2 });
  });

  it('are made with every entry that there is, at every depth', () => {
    const kinds = new Set<string>();
    let deepest = 0;
    const visit = (node: NameNode, where: 'top' | 'below'): void => {
      deepest = Math.max(deepest, nestingOf(node));
      if (node.kind === 'inner') kinds.add(`${where} inner`);
      else for (const entry of node.entries) visitEntry(entry, where);
    };
    const visitEntry = ({ node, departure }: DirectoryEntry, where: 'top' | 'below'): void => {
      if (departure !== undefined) kinds.add('departure');
      if (node.kind === 'object') {
        kinds.add(`${where} object ${node.type}`);
        return;
      }
      kinds.add(`${where} ${node.inode.type}`);
      if (node.inode.type === 'directory') visit(node.inode.tree, 'below');
    };
    for (const node of fc.sample(fc.oneof(leaves, innerNodes), { numRuns: 250, seed: 1 })) visit(node, 'top');
    const all = ['top', 'below'].flatMap(where => [
      `${where} inner`,
      ...INODE_TYPES.flatMap(type => [`${where} ${type}`, `${where} object ${type}`]),
    ]);
    // The parent of a folder that is an object is an object.
    const possible = [...all, 'departure'].filter(kind => kind !== 'below object directory');
    expect([...kinds].sort()).toEqual(possible.sort());
    expect(deepest).toBeGreaterThan(2);
  });

  it('take the bytes that docs/LAYOUT.md says', () => {
    expect(encodeNameNode({ kind: 'leaf', entries: [] }).byteLength).toBe(4);
    expect(encodeNameNode(objectLeaf('a.txt')).byteLength).toBe(4 + 2 + 5 + 1 + 16);
    expect(encodeNameNode(objectLeaf('a.txt', 'a.txt~')).byteLength).toBe(28 + 2 + 1 + 1 + 16);
    expect(encodeNameNode({ kind: 'leaf', entries: [keyed(exampleId('2'))] }).byteLength).toBe(28 + 16);
    // Frame and counts 21; each entry 71 with its name's two lengths; names without what they share 2,051.
    expect(encodeNameNode({ kind: 'leaf', entries: smallFileEntries(400) }).byteLength).toBe(30_472);
    const packed = smallFileEntries(32).map(({ name }, at) => {
      const inode = packedFile('2', at * 4096, 4096);
      return { name, node: { kind: 'embedded' as const, inode } };
    });
    expect(encodeNameNode({ kind: 'leaf', entries: packed }).byteLength).toBe(1993);
  });

  it('keep names of any bytes', () => {
    const node = objectLeaf('\0', '.', '..', '../x', '/', 'a\nb', '\xc3\x28', '\xff'.repeat(255));
    expect(decodeNameNode(encodeNameNode(node))).toEqual(node);
  });

  it('with impossible names are not written', () => {
    for (const names of [[''], ['b', 'a'], ['a', 'a'], ['ab', 'a'], ['x'.repeat(256)], ['\u0100']]) {
      expect(errorCodeOf(() => encodeNameNode(objectLeaf(...names)))).toBe('EINVAL');
    }
    const leaving: DirectoryEntry = {
      name: 'a',
      node: { kind: 'object', id: exampleId('1'), type: 'file' },
      departure: { token: exampleId('2'), directory: exampleId('3'), name: '' },
    };
    expect(errorCodeOf(() => encodeNameNode({ kind: 'leaf', entries: [leaving] }))).toBe('EINVAL');
  });

  it('with impossible names are not read', () => {
    const entry = (shared: number, rest: string) => [
      shared,
      rest.length,
      ...Buffer.from(rest),
      1,
      ...new Array<number>(16).fill(0x11),
    ];
    const decode = (...entries: number[][]) =>
      decodeNameNode(Uint8Array.from([2, 0, 0, entries.length, ...entries.flat()]));
    expect(decode(entry(0, 'ab'), entry(1, 'c'))).toEqual(objectLeaf('ab', 'ac'));
    const impossible: readonly number[][][] = [
      [entry(0, '')],
      [entry(1, 'a')],
      [entry(0, 'ab'), entry(2, '')],
      [entry(0, 'ab'), entry(3, 'c')],
      [entry(0, 'ab'), entry(1, 'b')],
      [entry(0, 'ab'), entry(1, 'a')],
      [entry(0, 'ab'), entry(0, 'ac')],
      [entry(0, 'b'), entry(0, 'a')],
    ];
    for (const entries of impossible) expect(errorCodeOf(() => decode(...entries))).toBe('EFORMAT');
  });

  it('name a key only where it is not the id', () => {
    const bytes = encodeNameNode({ kind: 'leaf', entries: [keyed(exampleId('1'))] });
    expect(decodeNameNode(bytes)).toEqual(objectLeaf('a.txt'));
    const other = encodeNameNode({ kind: 'leaf', entries: [keyed(exampleId('2'))] });
    other.set(other.subarray(12, 28), 28);
    expect(() => decodeNameNode(other)).toThrow('a key that is the id');
  });

  it('of unknown kinds are left to a newer netseal', () => {
    const bytes = encodeNameNode({ kind: 'leaf', entries: [keyed(exampleId('2'))] });
    const kindAt = 11;
    expect(bytes[kindAt]).toBe(0x11);
    for (const kind of [0x31, 0x51, 0x91]) {
      bytes[kindAt] = kind;
      expect(errorCodeOf(() => decodeNameNode(bytes))).toBe('EUNSUPPORTED');
    }
    bytes[kindAt] = 0x10;
    expect(errorCodeOf(() => decodeNameNode(bytes))).toBe('EFORMAT');
  });

  it('say the type of an entry, and leave what is newer to a newer netseal', () => {
    const leaf = (kind: number) =>
      Uint8Array.from([2, 0, 0, 1, 0, 1, 0x61, kind, ...new Array<number>(16).fill(0x11)]);
    const types = [1, 2, 3, 4, 5, 6, 7].map(kind => {
      const node = decodeNameNode(leaf(kind));
      return node.kind === 'leaf' && node.entries[0]?.node.kind === 'object' ? node.entries[0].node.type : '';
    });
    expect(types).toEqual(INODE_TYPES);
    for (const bit of [0x20, 0x40, 0x80]) {
      expect(errorCodeOf(() => decodeNameNode(leaf(1 | bit)))).toBe('EUNSUPPORTED');
    }
  });

  it('cannot be inner without children, or too high', () => {
    const child = { firstName: 'a', index: 0, pointer: examplePointer(0, 72) };
    for (const level of [0, 16]) {
      expect(errorCodeOf(() => encodeNameNode({ kind: 'inner', level, children: [child] }))).toBe('EINVAL');
    }
    expect(errorCodeOf(() => encodeNameNode({ kind: 'inner', level: 1, children: [] }))).toBe('EINVAL');
    expect(errorCodeOf(() => decodeNameNode(Uint8Array.from([2, 0, 1, 0])))).toBe('EFORMAT');
  });

  it('embed directories: at most eight in one another', () => {
    const nested = (depth: number): NameNode =>
      depth === 0 ? { kind: 'leaf', entries: [] } : { kind: 'leaf', entries: [embedded(nested(depth - 1))] };
    expect(encodeNameNode(nested(1)).byteLength).toBe(4 + 2 + 1 + 1 + 38);
    for (const depth of [1, 2, 8]) {
      expect(decodeNameNode(encodeNameNode(nested(depth)))).toEqual(nested(depth));
      expect(nestingOf(nested(depth))).toBe(depth);
    }
    expect(errorCodeOf(() => encodeNameNode(nested(9)))).toBe('EINVAL');
    // An encoder that does not count: one more around eight of them.
    const eight = encodeNameNode(nested(8));
    const head = encodeNameNode(nested(1)).subarray(0, -2);
    const nine = Uint8Array.from([...head, ...eight.subarray(2)]);
    expect(() => decodeNameNode(nine)).toThrow('more than 8 directories');
  });

  it('embed no directory that is larger than 4 KiB', () => {
    const files = smallFileEntries(60);
    const large: NameNode = { kind: 'leaf', entries: [embedded({ kind: 'leaf', entries: files })] };
    expect(errorCodeOf(() => encodeNameNode(large))).toBe('EINVAL');
    const fits: NameNode = {
      kind: 'leaf',
      entries: [embedded({ kind: 'leaf', entries: files.slice(0, 50) })],
    };
    expect(encodeNameNode(fits).byteLength).toBeLessThan(4096);
    expect(decodeNameNode(encodeNameNode(fits))).toEqual(fits);
  });

  it('embed directories only with what they may hold', () => {
    const object = { kind: 'object', id: exampleId('1') } as const;
    const departure = { token: exampleId('2'), directory: exampleId('3'), name: 'b' };
    const refused: readonly DirectoryEntry[] = [
      { name: 'a', node: { ...object, type: 'directory' } },
      { name: 'a', node: { ...object, type: 'file' }, departure },
    ];
    for (const entry of refused) {
      const leaf: NameNode = { kind: 'leaf', entries: [embedded({ kind: 'leaf', entries: [entry] })] };
      expect(errorCodeOf(() => encodeNameNode(leaf))).toBe('EINVAL');
    }
    const file: DirectoryEntry = { name: 'a', node: { ...object, type: 'file' } };
    const allowed: NameNode = { kind: 'leaf', entries: [embedded({ kind: 'leaf', entries: [file] })] };
    const bytes = encodeNameNode(allowed);
    expect(decodeNameNode(bytes)).toEqual(allowed);
    const kindAt = bytes.byteLength - 17;
    bytes[kindAt] = 3;
    expect(() => decodeNameNode(bytes)).toThrow('cannot have');
    for (const impossible of [
      { parent: exampleId('1') },
      { isDead: true },
      { arrivals: [{ token: exampleId('1'), source: exampleId('2'), isAccepted: true }] },
      { formerParent: { directory: exampleId('1'), token: exampleId('2') } },
    ]) {
      const leaf: NameNode = { kind: 'leaf', entries: [embedded({ kind: 'leaf', entries: [] }, impossible)] };
      expect(errorCodeOf(() => encodeNameNode(leaf))).toBe('EINVAL');
    }
  });

  it('are coded quickly', () => {
    const node: NameNode = { kind: 'leaf', entries: smallFileEntries(400) };
    const bytes = encodeNameNode(node);
    const microseconds = (action: () => unknown) => {
      for (let warm = 0; warm < 50; warm += 1) action();
      const startMs = performance.now();
      for (let run = 0; run < 100; run += 1) action();
      return (((performance.now() - startMs) * 1000) / 100 / 400).toFixed(2);
    };
    console.log(
      `a leaf of 400 files: ${microseconds(() => encodeNameNode(node))} µs an entry to encode,` +
        ` ${microseconds(() => decodeNameNode(bytes))} to decode`,
    );
    expect(decodeNameNode(bytes)).toEqual(node);
  });
});
