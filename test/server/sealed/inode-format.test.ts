import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/base/coder.ts';
import type { FileInode, Inode, InodeObject } from '../../../src/server/sealed/inode.ts';
import {
  decodeInode,
  decodeInodeObject,
  encodeInode,
  encodeInodeObject,
} from '../../../src/server/sealed/inode-format.ts';
import { SegmentList, SegmentTable } from '../../../src/server/sealed/pointer.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { inodeObjects, inodes } from './arbitraries.ts';
import {
  DIRECTORY,
  EMPTY_FILE,
  exampleId,
  examplePointer,
  LARGE_FILE,
  ODD_DIRECTORY,
  SMALL_FILE,
  SYMLINK,
} from './format-examples.ts';

function bodyBytes(inode: Inode): number {
  const out = new ByteWriter();
  encodeInode(out, inode, new SegmentTable());
  return out.lengthBytes;
}

function record(inode: Inode): InodeObject {
  return { inode, writers: [], predecessor: undefined };
}

describe('inodes', () => {
  it('come back as they went', () => {
    checkProperty(
      inodeObjects,
      value => expect(decodeInodeObject(encodeInodeObject(value), value.inode.id)).toEqual(value),
      { weight: 2, examples: [DIRECTORY, ODD_DIRECTORY, LARGE_FILE, SYMLINK].map(record) },
    );
    checkProperty(inodes, inode => {
      const table = new SegmentTable();
      const body = new ByteWriter();
      encodeInode(body, inode, table);
      const segments = new ByteWriter();
      table.encode(segments);
      const input = new ByteReader(body.written, 'inode');
      expect(decodeInode(input, SegmentList.decode(new ByteReader(segments.written, 'table')))).toEqual(
        inode,
      );
      input.end();
    });
  });

  it('take the bytes that docs/LAYOUT.md says', () => {
    expect(bodyBytes(EMPTY_FILE)).toBe(37);
    expect(bodyBytes(SMALL_FILE)).toBe(68);
    expect(bodyBytes(LARGE_FILE)).toBe(145);
    expect(bodyBytes(SYMLINK)).toBe(43);
    expect(bodyBytes({ ...DIRECTORY, tree: { kind: 'leaf', entries: [] } })).toBe(55);
    expect(bodyBytes(DIRECTORY)).toBe(283);
    expect(encodeInodeObject(record(DIRECTORY)).byteLength).toBe(303);
  });

  it('may lie under a key that is not their id', () => {
    const bytes = encodeInodeObject(record(SMALL_FILE));
    expect(decodeInodeObject(bytes, exampleId('3')).inode.id).toBe(SMALL_FILE.id);
  });

  it('of a newer layout are left to a newer netseal', () => {
    const bytes = encodeInodeObject(record(SMALL_FILE));
    bytes[0] = 2;
    expect(errorCodeOf(() => decodeInodeObject(bytes, SMALL_FILE.id))).toBe('EUNSUPPORTED');
    bytes[0] = 0;
    expect(errorCodeOf(() => decodeInodeObject(bytes, SMALL_FILE.id))).toBe('EFORMAT');
  });

  it('that cannot be are not written', () => {
    const impossible: readonly Partial<FileInode>[] = [
      { id: 'abc' },
      { id: 'x'.repeat(32) },
      { version: -1 },
      { version: 2 ** 53 },
      { mode: 0o10000 },
      { mode: -1 },
      { uid: 2 ** 32 },
      { gid: Number.NaN },
      { mtimeNs: 2n ** 63n },
      { birthNs: -(2n ** 63n) - 1n },
      { linkCount: 2 ** 32 },
      { sizeBytes: -1 },
      { sizeBytes: 0.5 },
      { unitSizeBytes: 2048 },
      { unitSizeBytes: 2 ** 25 },
      { unitSizeBytes: 5000 },
      { map: { depth: 5, slots: [] } },
      { map: { depth: 0, slots: [{ slot: 1, pointer: examplePointer(0, 4168) }] } },
      { map: { depth: 0, slots: [{ slot: 0, pointer: examplePointer(0, 71) }] } },
      { map: { depth: 0, slots: [{ slot: 0, pointer: examplePointer(2 ** 32 - 72, 72) }] } },
      { xattrs: [{ key: '', value: new Uint8Array(1) }] },
      { xattrs: [{ key: 'k', value: new Uint8Array(65_537) }] },
      { xattrs: ['b', 'a'].map(key => ({ key, value: new Uint8Array(1) })) },
      { xattrs: ['a', 'a'].map(key => ({ key, value: new Uint8Array(1) })) },
    ];
    expect(encodeInodeObject(record(SMALL_FILE)).byteLength).toBeGreaterThan(0);
    for (const change of impossible) {
      const inode = { ...SMALL_FILE, ...change };
      expect(errorCodeOf(() => encodeInodeObject(record(inode)))).toBe('EINVAL');
    }
    for (const targetBytes of [0, 4096]) {
      const inode = { ...SYMLINK, target: new Uint8Array(targetBytes) };
      expect(errorCodeOf(() => encodeInodeObject(record(inode)))).toBe('EINVAL');
    }
  });

  it('name their writers newest first, sixteen at most', () => {
    const writers = Array.from({ length: 17 }, (_, at) => ({ version: 17 - at, nonce: exampleId('0') }));
    const encode = (list: InodeObject['writers']) =>
      encodeInodeObject({ inode: SMALL_FILE, writers: list, predecessor: undefined });
    expect(encode(writers.slice(1)).byteLength - encode([]).byteLength).toBe(16 * 17);
    expect(errorCodeOf(() => encode(writers))).toBe('EINVAL');
    expect(errorCodeOf(() => encode(writers.slice(1).reverse()))).toBe('EINVAL');
    expect(errorCodeOf(() => encode([writers[0]!, writers[0]!]))).toBe('EINVAL');
  });
});
