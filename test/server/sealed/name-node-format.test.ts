import { describe, expect, it } from 'vitest';
import type { Name } from '../../../src/base/name.ts';
import { type DirectoryEntry, INODE_TYPES, type NameNode } from '../../../src/server/sealed/inode.ts';
import {
  childBytes,
  decodeNameNode,
  encodeNameNode,
  entryBytes,
  NODE_BYTES_MAX,
} from '../../../src/server/sealed/name-node-format.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { innerNodes, leaves } from './arbitraries.ts';
import {
  DIRECTORY,
  exampleId,
  examplePointer,
  ODD_DIRECTORY,
  packedFile,
  smallFileEntries,
} from './format-examples.ts';

function objectLeaf(...names: Name[]): NameNode {
  const id = exampleId('1');
  return { kind: 'leaf', entries: names.map(name => ({ name, node: { kind: 'object', id, type: 'file' } })) };
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
    checkProperty(leaves, check, { weight: 2, examples: [DIRECTORY.tree, ODD_DIRECTORY.tree] });
    checkProperty(innerNodes, check, { weight: 2 });
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

  it('never embed a directory', () => {
    const bytes = encodeNameNode({ kind: 'leaf', entries: [smallFileEntries(1)[0]!] });
    const headAt = bytes.findIndex((byte, at) => at > 20 && byte === 0x10);
    expect(decodeNameNode(bytes).kind).toBe('leaf');
    bytes[headAt]! |= 2;
    expect(() => decodeNameNode(bytes)).toThrow('an embedded directory');
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
