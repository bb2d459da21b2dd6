import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NameNode } from '../../../src/server/sealed/inode.ts';
import { decodeInodeObject, encodeInodeObject } from '../../../src/server/sealed/inode-format.ts';
import { decodeMapPage, encodeMapPage } from '../../../src/server/sealed/map-format.ts';
import { decodeNameNode, encodeNameNode } from '../../../src/server/sealed/name-node-format.ts';
import {
  decodeFooter,
  decodeTrailer,
  encodeFooter,
  encodeTrailer,
  type SegmentEntry,
} from '../../../src/server/sealed/segment-format.ts';
import { checkProperty } from '../../support/property.ts';
import { inodeObjects, mapPages, nameNodes, segmentEntries } from './arbitraries.ts';
import {
  checkDamage,
  DIRECTORY,
  exampleId,
  examplePointer,
  isAccepted,
  LARGE_FILE,
  NESTED,
  ODD_DIRECTORY,
  packedFile,
  recordsBytes,
  SEGMENT_ENTRIES,
  SYMLINK,
} from './format-examples.ts';

type Recode = (bytes: Uint8Array) => Uint8Array;

const recodeNode: Recode = bytes => encodeNameNode(decodeNameNode(bytes));
const recodePage: Recode = bytes => encodeMapPage(decodeMapPage(bytes));

function recodeInode(id: string): Recode {
  return bytes => encodeInodeObject(decodeInodeObject(bytes, id));
}

function recodeFooter(entries: readonly SegmentEntry[]): Recode {
  return bytes => encodeFooter(decodeFooter(bytes, recordsBytes(entries)));
}

const INNER: NameNode = {
  kind: 'inner',
  level: 1,
  children: [
    { firstName: 'a', index: 3, pointer: examplePointer(5000, 4168) },
    { firstName: 'abc', index: 300, pointer: { ...examplePointer(100, 4168), segment: exampleId('7') } },
    { firstName: 'abd', index: 0, pointer: examplePointer(400, 4168) },
  ],
};

/** Two files in one pack. */
const PACKED: NameNode = {
  kind: 'leaf',
  entries: [
    { name: 'packed', node: { kind: 'embedded', inode: packedFile('1', 1000, 4096) } },
    { name: 'packet', node: { kind: 'embedded', inode: packedFile('2', 5096, 300) } },
  ],
};

/** Bytes with some of them changed, moved or repeated. */
function damaged(whole: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.constantFrom('set', 'cut', 'put')), {
    minLength: 1,
    maxLength: 3,
  });
  return fc.tuple(whole, edits).map(([bytes, changes]) => {
    const list = [...bytes];
    for (const [where, value, how] of changes) {
      const at = where % (list.length + 1);
      list.splice(at, how === 'put' ? 0 : 1, ...(how === 'cut' ? [] : [value]));
    }
    return Uint8Array.from(list);
  });
}

describe('a byte that is wrong, missing or too many', () => {
  const writers = [9, 8, 3].map(version => ({ version, nonce: exampleId(String(version)) }));
  const predecessor = 'ab'.repeat(32);

  it('in an inode is refused, or is another inode in its one encoding', () => {
    for (const inode of [LARGE_FILE, DIRECTORY, ODD_DIRECTORY]) {
      const bytes = encodeInodeObject({ inode, writers, predecessor });
      expect(checkDamage(bytes, recodeInode(inode.id))).toBeGreaterThan(0);
    }
  });

  it('in a name node is refused, or is another node in its one encoding', () => {
    for (const node of [INNER, PACKED, NESTED, ODD_DIRECTORY.tree]) {
      expect(checkDamage(encodeNameNode(node), recodeNode)).toBeGreaterThan(0);
    }
  });

  it('in a map page is refused, or is another page in its one encoding', () => {
    expect(checkDamage(encodeMapPage(LARGE_FILE.map.slots), recodePage)).toBeGreaterThan(0);
  });

  it('in a footer is refused, or is another footer in its one encoding', () => {
    expect(checkDamage(encodeFooter(SEGMENT_ENTRIES), recodeFooter(SEGMENT_ENTRIES))).toBeGreaterThan(0);
  });

  it('in a trailer is refused, or says another length', () => {
    const trailer = encodeTrailer(4168);
    const segmentBytes = 1_000_000;
    const recode: Recode = bytes => {
      // A decoder that is given more takes the end.
      if (bytes.byteLength > 16) return recode(bytes.slice(-16));
      return encodeTrailer(decodeTrailer(bytes, segmentBytes).footerBytes);
    };
    let accepted = 0;
    for (let at = 0; at < 16; at += 1) {
      expect(isAccepted(trailer.slice(0, at), recode)).toBe(false);
      for (let change = 1; change < 256; change += 1) {
        const changed = trailer.slice();
        changed[at]! ^= change;
        const isSo = isAccepted(changed, recode);
        if (isSo) expect(at >= 8 && at < 12).toBe(true);
        if (isSo) accepted += 1;
      }
    }
    expect(accepted).toBeGreaterThan(0);
  });
});

describe('several wrong bytes', () => {
  it('are refused, or are the one encoding of something', () => {
    expect(isAccepted(encodeNameNode(INNER), recodeNode)).toBe(true);
    checkProperty(
      inodeObjects.chain(record =>
        fc.tuple(damaged(fc.constant(encodeInodeObject(record))), fc.constant(record.inode.id)),
      ),
      ([bytes, id]) => void isAccepted(bytes, recodeInode(id)),
      { weight: 2 },
    );
    checkProperty(
      damaged(nameNodes.map(node => encodeNameNode(node))),
      bytes => void isAccepted(bytes, recodeNode),
      { weight: 2 },
    );
    checkProperty(
      damaged(mapPages.map(page => encodeMapPage(page))),
      bytes => void isAccepted(bytes, recodePage),
    );
    checkProperty(
      segmentEntries.chain(entries =>
        fc.tuple(damaged(fc.constant(encodeFooter(entries))), fc.constant(entries)),
      ),
      ([bytes, entries]) => void isAccepted(bytes, recodeFooter(entries)),
    );
  });
});

describe('what takes more than one wrong byte', () => {
  const hexBytes = (hex: string) => [...Buffer.from(hex, 'hex')];

  it('in a map page: a segment listed twice, a record before the segment', () => {
    const pointer = examplePointer(0, 4168);
    const page = encodeMapPage([
      { slot: 0, pointer },
      { slot: 1, pointer: { ...pointer, segment: exampleId('6') } },
    ]);
    page.copyWithin(2 + 16, 2, 2 + 16);
    expect(() => decodeMapPage(page)).toThrow('listed twice');
    const pageAt = (distance: number) => [
      ...[2, 1, ...hexBytes(exampleId('5'))],
      ...[1, 0, 0, distance, 72, ...hexBytes(exampleId('0'))],
    ];
    expect(decodeMapPage(Uint8Array.from(pageAt(2)))[0]?.pointer.offsetBytes).toBe(1);
    expect(() => decodeMapPage(Uint8Array.from(pageAt(1)))).toThrow('impossible record of 72 bytes at -1');
  });

  it('in an inode: no extended attributes where some are announced, no target', () => {
    const bytes = encodeInodeObject({ inode: SYMLINK, writers: [], predecessor: undefined });
    const targetAt = bytes.byteLength - SYMLINK.target.byteLength - 1;
    expect(decodeInodeObject(bytes, SYMLINK.id).inode).toEqual(SYMLINK);
    const noTarget = bytes.slice(0, targetAt + 1);
    noTarget[targetAt] = 0;
    expect(() => decodeInodeObject(noTarget, SYMLINK.id)).toThrow('without a target');
    for (const more of [0x04, 0x10]) {
      const announced = Buffer.concat([
        bytes.subarray(0, 5),
        Uint8Array.of(more),
        bytes.subarray(5, targetAt),
        new Uint8Array(1),
        bytes.subarray(targetAt),
      ]);
      // The inode header: behind version, table, flags and writers, which are a byte each here.
      announced[4]! |= 0x80;
      expect(() => decodeInodeObject(announced, SYMLINK.id)).toThrow('announced, and none there');
    }
  });

  it('in a footer: an object id that is there for nothing', () => {
    const entries = SEGMENT_ENTRIES.slice(0, 2);
    const bytes = encodeFooter(entries);
    const secondAt = bytes.byteLength - 19;
    expect(bytes[secondAt]).toBe(1);
    const repeated = Buffer.concat([
      bytes.subarray(0, secondAt),
      Uint8Array.from([0x31, ...hexBytes(exampleId('1')), 1]),
      bytes.subarray(secondAt + 1),
    ]);
    expect(() => decodeFooter(repeated, recordsBytes(entries))).toThrow('there for nothing');
  });
});

describe('a count that the bytes cannot hold', () => {
  // 2^50 as a varint.
  const huge = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02];
  const zeros = new Array<number>(200).fill(0);

  it('is refused before anything is allocated', () => {
    const plain: readonly (readonly [Recode, readonly number[]])[] = [
      [recodeNode, [2, ...huge, ...zeros]],
      [recodeNode, [2, 0, 0, ...huge, ...zeros]],
      [recodeNode, [2, 0, 1, ...huge, ...zeros]],
      [recodePage, [2, ...huge, ...zeros]],
      [recodePage, [2, 0, ...huge, ...zeros]],
      [recodeFooter([]), [2, ...huge, ...zeros]],
      [recodeInode(exampleId('0')), [2, ...huge, ...zeros]],
      // A directory with 2^50 arrivals, and files with as many extended attributes, and extensions.
      [
        recodeInode(exampleId('0')),
        [2, 0, 0, 0, 2, ...zeros.slice(0, 16 + 5 + 8 + 16 + 4), ...huge, ...zeros],
      ],
      [recodeInode(exampleId('0')), [2, 0, 0, 0, 0x80, 4, ...zeros.slice(0, 16 + 5 + 8), ...huge, ...zeros]],
      [recodeInode(exampleId('0')), [2, 0, 0, 0, 0x80, 16, ...zeros.slice(0, 16 + 5 + 8), ...huge, ...zeros]],
    ];
    const beforeBytes = process.memoryUsage().rss;
    for (const [recode, bytes] of plain) {
      expect(() => recode(Uint8Array.from(bytes))).toThrow(/1125899906842624 where at most \d+ is allowed/);
    }
    expect(process.memoryUsage().rss - beforeBytes).toBeLessThan(64 * 1024 * 1024);
  });
});
