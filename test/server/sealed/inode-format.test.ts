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
  DEVICE,
  DIRECTORY,
  EMPTY_FILE,
  exampleId,
  examplePointer,
  FIFO,
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
    expect(bodyBytes(FIFO)).toBe(33);
    expect(bodyBytes(DEVICE)).toBe(35);
    expect(bodyBytes({ ...FIFO, atimeNs: FIFO.mtimeNs })).toBe(35);
    expect(bodyBytes({ ...DIRECTORY, tree: { kind: 'leaf', entries: [] } })).toBe(56);
    expect(bodyBytes(DIRECTORY)).toBe(284);
    expect(encodeInodeObject(record(DIRECTORY)).byteLength).toBe(304);
  });

  it('may lie under a key that is not their id', () => {
    const bytes = encodeInodeObject(record(SMALL_FILE));
    expect(decodeInodeObject(bytes, exampleId('3')).inode.id).toBe(SMALL_FILE.id);
  });

  it('of another layout are refused by name', () => {
    const bytes = encodeInodeObject(record(SMALL_FILE));
    expect(bytes[0]).toBe(2);
    bytes[0] = 3;
    expect(() => decodeInodeObject(bytes, SMALL_FILE.id)).toThrow(/of layout 3: this netseal knows 2/);
    expect(errorCodeOf(() => decodeInodeObject(bytes, SMALL_FILE.id))).toBe('EUNSUPPORTED');
    bytes[0] = 1;
    expect(() => decodeInodeObject(bytes, SMALL_FILE.id)).toThrow(/of layout 1: a draft of the layout/);
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
      { atimeNs: 2n ** 63n },
      { extensions: { items: [], segments: [] } },
      { extensions: { items: [{ tag: 2, value: new Uint8Array(0) }], segments: [] } },
      { extensions: { items: [{ tag: 3, value: new Uint8Array(0) }], segments: [] } },
      { extensions: { items: [4, 4].map(tag => ({ tag, value: new Uint8Array(0) })), segments: [] } },
      { extensions: { items: [{ tag: 0, value: new Uint8Array(4093) }], segments: [] } },
      { extensions: { items: [{ tag: 0, value: new Uint8Array(15) }], segments: [exampleId('0')] } },
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
    for (const [major, minor] of [
      [2 ** 32, 0],
      [0, -1],
      [0, 0.5],
    ] as const) {
      expect(errorCodeOf(() => encodeInodeObject(record({ ...DEVICE, major, minor })))).toBe('EINVAL');
    }
    const folder = { ...DIRECTORY, subdirectoryCount: 4 };
    expect(errorCodeOf(() => encodeInodeObject(record(folder)))).toBe('EINVAL');
    for (const targetBytes of [0, 4096]) {
      const inode = { ...SYMLINK, target: new Uint8Array(targetBytes) };
      expect(errorCodeOf(() => encodeInodeObject(record(inode)))).toBe('EINVAL');
    }
  });

  it('have these bytes', () => {
    const id = '44'.repeat(16);
    const rest = `${id}0101a403e807e8070000bc7bcbd37918`;
    const hexOf = (inode: Inode): string => {
      const out = new ByteWriter();
      encodeInode(out, inode, new SegmentTable());
      return Buffer.from(out.written).toString('hex');
    };
    const time = FIFO.mtimeNs;
    expect(hexOf(FIFO)).toBe(`03${rest}`);
    expect(hexOf({ ...FIFO, type: 'socket' })).toBe(`04${rest}`);
    // ctime after mtime by 300 ns, birth before ctime by 1.
    expect(hexOf({ ...FIFO, ctimeNs: time + 300n, birthNs: time + 299n })).toBe(`2b${rest}ac0201`);
    // The second byte: an access time 5 ns later, one 1 ns earlier, two links, one extension.
    expect(hexOf({ ...FIFO, atimeNs: time + 5n })).toBe(`8301${rest}05`);
    expect(hexOf({ ...FIFO, atimeNs: time - 1n })).toBe(`8302${rest}ffffbb7bcbd37918`);
    expect(hexOf({ ...FIFO, linkCount: 2 })).toBe(`8308${rest}02`);
    const items = [{ tag: 8, value: Uint8Array.of(0xab, 0xcd) }];
    expect(hexOf({ ...FIFO, extensions: { items, segments: [] } })).toBe(`8310${rest}010802abcd`);
    expect(hexOf({ ...FIFO, xattrs: [{ key: 'a', value: new Uint8Array(0) }] })).toBe(`8304${rest}01016100`);
    // Device 8, 300.
    expect(hexOf({ ...DEVICE, mode: 0o644, minor: 300 })).toBe(`06${rest}08ac02`);
    expect(hexOf({ ...DEVICE, mode: 0o644, type: 'characterDevice' })).toBe(`05${rest}0801`);
  });

  it('are these bytes as objects', () => {
    const entries = [{ name: 'fifo', node: { kind: 'embedded' as const, inode: FIFO } }];
    const inode: Inode = { ...DIRECTORY, entryCount: 1, tree: { kind: 'leaf', entries } };
    const writers = [{ version: 1, nonce: exampleId('9') }];
    const bytes = encodeInodeObject({ inode, writers, predecessor: undefined });
    const fifo = `03${'44'.repeat(16)}0101a403e807e8070000bc7bcbd37918`;
    expect(Buffer.from(bytes).toString('hex')).toBe(
      [
        ...['02', '00', '00', `0101${'99'.repeat(16)}`, '02', 'dd'.repeat(16), '0101ed03e807e807'],
        ...['0000bc7bcbd37918', `${'ee'.repeat(16)}00`, '01000000', '0001', '00046669666f', '00', fifo],
      ].join(''),
    );
  });

  it('that only a newer netseal writes are left to it', () => {
    const whole = encodeInodeObject(record({ ...FIFO, linkCount: 2 }));
    // Behind version, table, flags and writers, which are a byte each here.
    expect([...whole.subarray(4, 6)]).toEqual([0x83, 0x08]);
    const codeWith = (...head: [number, number]): string | undefined => {
      const bytes = whole.slice();
      bytes.set(head, 4);
      return errorCodeOf(() => decodeInodeObject(bytes, FIFO.id));
    };
    expect(decodeInodeObject(whole, FIFO.id).inode).toEqual({ ...FIFO, linkCount: 2 });
    expect(codeWith(0x87, 0x08)).toBe('EUNSUPPORTED');
    for (const bit of [0x20, 0x40, 0x80]) expect(codeWith(0x83, 0x08 | bit)).toBe('EUNSUPPORTED');
    // The third form of ctime, of birth, of atime.
    expect(codeWith(0x9b, 0x08)).toBe('EUNSUPPORTED');
    expect(codeWith(0xe3, 0x08)).toBe('EUNSUPPORTED');
    expect(codeWith(0x83, 0x0b)).toBe('EUNSUPPORTED');
    // A second byte that need not be there.
    expect(codeWith(0x83, 0)).toBe('EFORMAT');
  });

  it('tell the classes of their extensions apart', () => {
    const items = [{ tag: 8, value: Uint8Array.of(7) }];
    const bytes = encodeInodeObject(record({ ...FIFO, extensions: { items, segments: [] } }));
    const decodeWith = (tag: number): Inode => {
      const other = bytes.slice();
      // It stands at the end: count, tag, length, value.
      other[other.byteLength - 3] = tag;
      return decodeInodeObject(other, FIFO.id).inode;
    };
    expect([8, 9].map(tag => decodeWith(tag).extensions?.items[0]?.tag)).toEqual([8, 9]);
    expect(() => decodeWith(10)).toThrow('extension 10 is not known to this netseal');
    expect(errorCodeOf(() => decodeWith(10))).toBe('EUNSUPPORTED');
    expect(errorCodeOf(() => decodeWith(11))).toBe('EFORMAT');
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
