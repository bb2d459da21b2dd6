/** Worked examples of `docs/LAYOUT.md`, and what every decoder must withstand. */
import { expect } from 'vitest';
import { isNetsealError } from '../../../src/base/errors.ts';
import type {
  DeviceInode,
  DirectoryEntry,
  DirectoryInode,
  FileInode,
  NameNode,
  PipeInode,
  SymlinkInode,
} from '../../../src/server/sealed/inode.ts';
import { type Pointer, type SlicePointer, storedBytesOf } from '../../../src/server/sealed/pointer.ts';
import type { SegmentEntry } from '../../../src/server/sealed/segment-format.ts';
import { IS_LONG } from '../../support/soak.ts';

/** `digit` everywhere: an id that is easy to find among bytes. */
export function exampleId(digit: string): string {
  return digit.repeat(32);
}

const SEGMENT: string = exampleId('5');
const TIME_NS = 1_763_673_600_000_000_000n;
const DAY_NS = 86_400_000_000_000n;
const BASE = {
  version: 1,
  dataVersion: 1,
  mode: 0o644,
  uid: 1000,
  gid: 1000,
  mtimeNs: TIME_NS,
  ctimeNs: TIME_NS,
  birthNs: TIME_NS,
  xattrs: [],
};

export function examplePointer(offsetBytes: number, lengthBytes: number): Pointer {
  return { segment: SEGMENT, offsetBytes, lengthBytes, tag: new Uint8Array(16).fill(offsetBytes % 251) };
}

/** A slice of a pack of 128 KiB whose sealed record has 30,000 bytes. */
export function exampleSlice(startBytes: number, lengthBytes: number): SlicePointer {
  return {
    ...examplePointer(8192, 30_000),
    slice: { packId: exampleId('a'), packBytes: 131_072, startBytes, lengthBytes },
  };
}

export const EMPTY_FILE: FileInode = {
  ...BASE,
  type: 'file',
  id: exampleId('1'),
  linkCount: 1,
  sizeBytes: 0,
  unitSizeBytes: 256 * 1024,
  storedBytes: 0,
  map: { depth: 0, slots: [] },
};

/** 4 KiB in one unit that did not compress. As `put` leaves it: modified years before it came here. */
export const SMALL_FILE: FileInode = {
  ...EMPTY_FILE,
  id: exampleId('2'),
  mtimeNs: TIME_NS - 1000n * DAY_NS,
  sizeBytes: 4096,
  storedBytes: 4168,
  map: { depth: 0, slots: [{ slot: 0, pointer: examplePointer(0, 4168) }] },
};

/** A file that lies in a pack. */
export function packedFile(digit: string, startBytes: number, lengthBytes: number): FileInode {
  const pointer = exampleSlice(startBytes, lengthBytes);
  return {
    ...SMALL_FILE,
    id: exampleId(digit),
    sizeBytes: lengthBytes,
    storedBytes: storedBytesOf(pointer),
    map: { depth: 0, slots: [{ slot: 0, pointer }] },
  };
}

/** 1 GiB: 4,096 units in 4 map pages, each page behind the 1,024 units that it names. */
export const LARGE_FILE: FileInode = {
  ...EMPTY_FILE,
  id: exampleId('3'),
  sizeBytes: 2 ** 30,
  storedBytes: 500_000_000,
  map: {
    depth: 1,
    slots: [0, 1, 2, 3].map(slot => ({
      slot,
      pointer: examplePointer(125_000_000 + slot * 125_024_648, 24_648),
    })),
  },
};

export const SYMLINK: SymlinkInode = {
  ...BASE,
  type: 'symlink',
  id: exampleId('4'),
  mode: 0o777,
  linkCount: 1,
  target: new Uint8Array(Buffer.from('../target')),
};

export const FIFO: PipeInode = { ...BASE, type: 'fifo', id: exampleId('4'), linkCount: 1 };

/** `/dev/sda1` */
export const DEVICE: DeviceInode = {
  ...BASE,
  type: 'blockDevice',
  id: exampleId('4'),
  mode: 0o660,
  linkCount: 1,
  major: 8,
  minor: 1,
};

/** A 4 KiB file, number `at` of those that lie one behind the other in a segment. */
function smallFileEntry(name: string, at: number): DirectoryEntry {
  const inode: FileInode = {
    ...SMALL_FILE,
    id: at.toString(16).padStart(32, '0'),
    map: { depth: 0, slots: [{ slot: 0, pointer: examplePointer(at * 4168, 4168) }] },
  };
  return { name, node: { kind: 'embedded', inode } };
}

/** As many as wanted. */
export function smallFileEntries(count: number): DirectoryEntry[] {
  return Array.from({ length: count }, (_, at) => {
    return smallFileEntry(`file-${String(at).padStart(5, '0')}.txt`, at);
  });
}

/** Three 4 KiB files. */
export const DIRECTORY: DirectoryInode = {
  ...BASE,
  type: 'directory',
  id: exampleId('d'),
  mode: 0o755,
  parent: exampleId('e'),
  entryCount: 3,
  subdirectoryCount: 0,
  isDead: false,
  arrivals: [],
  nextIndex: 0,
  tree: {
    kind: 'leaf',
    entries: [smallFileEntry('a.txt', 0), smallFileEntry('b.txt', 1), smallFileEntry('c.txt', 2)],
  },
};

/**
 * Something of everything: all types, xattrs, links, times of every form, extensions, objects, a move on its way out and one
 * in.
 */
export const ODD_DIRECTORY: DirectoryInode = {
  ...DIRECTORY,
  ctimeNs: TIME_NS + 300n,
  birthNs: TIME_NS - 400n * DAY_NS,
  atimeNs: TIME_NS - 1n,
  entryCount: 8,
  subdirectoryCount: 1,
  extensions: {
    items: [
      { tag: 4, value: new Uint8Array([7, ...Buffer.from(exampleId('5') + exampleId('b'), 'hex')]) },
      { tag: 9, value: new Uint8Array(0) },
    ],
    segments: [exampleId('5'), exampleId('b')],
  },
  xattrs: [
    { key: 'user.a', value: new Uint8Array([1, 2]) },
    { key: 'user.b', value: new Uint8Array(0) },
  ],
  isDead: true,
  formerParent: { directory: exampleId('c'), token: exampleId('0') },
  arrivals: [{ token: exampleId('a'), source: exampleId('b'), isAccepted: true }],
  nextIndex: 300,
  tree: {
    kind: 'leaf',
    entries: [
      { name: 'device', node: { kind: 'embedded', inode: DEVICE } },
      { name: 'dir', node: { kind: 'object', id: exampleId('6'), type: 'directory' } },
      {
        name: 'dirt',
        node: { kind: 'object', id: exampleId('7'), key: exampleId('5'), type: 'file' },
        departure: { token: exampleId('8'), directory: exampleId('9'), name: '\xff/' },
      },
      { name: 'far', node: { kind: 'embedded', inode: { ...SMALL_FILE, linkCount: 2, version: 129 } } },
      {
        name: 'fat',
        node: {
          kind: 'embedded',
          inode: {
            ...SMALL_FILE,
            map: {
              depth: 0,
              slots: [
                {
                  slot: 0,
                  pointer: {
                    ...examplePointer(99, 5000),
                    segment: exampleId('f'),
                    origin: { objectId: exampleId('0'), index: 7 },
                  },
                },
              ],
            },
          },
        },
      },
      { name: 'fifo', node: { kind: 'embedded', inode: { ...FIFO, atimeNs: TIME_NS } } },
      { name: 'line', node: { kind: 'object', id: exampleId('3'), type: 'characterDevice' } },
      { name: 'link', node: { kind: 'embedded', inode: SYMLINK } },
    ],
  },
};

/** An embedded directory, as an entry. Its counts are those of its tree, which must be a leaf. */
function embeddedEntry(
  name: string,
  digit: string,
  entries: readonly DirectoryEntry[],
  more: Partial<DirectoryInode> = {},
): DirectoryEntry {
  const folders = entries.filter(({ node }) => node.kind === 'embedded' && node.inode.type === 'directory');
  const inode: DirectoryInode = {
    ...BASE,
    type: 'directory',
    id: exampleId(digit),
    mode: 0o755,
    parent: undefined,
    entryCount: entries.length,
    subdirectoryCount: folders.length,
    isDead: false,
    arrivals: [],
    nextIndex: 0,
    tree: { kind: 'leaf', entries },
    ...more,
  };
  return { name, node: { kind: 'embedded', inode } };
}

/** Embedded directories: one in another, with slices of a pack and an object, and one whose names lie in a node. */
export const NESTED: NameNode = {
  kind: 'leaf',
  entries: [
    embeddedEntry('docs', 'a', [
      embeddedEntry('2025', 'b', [
        { name: 'packed', node: { kind: 'embedded', inode: packedFile('1', 1000, 4096) } },
        { name: 'packet', node: { kind: 'embedded', inode: packedFile('2', 5096, 300) } },
      ]),
      { name: 'large', node: { kind: 'object', id: exampleId('3'), key: exampleId('4'), type: 'file' } },
    ]),
    embeddedEntry('wide', 'c', [], {
      atimeNs: TIME_NS,
      extensions: { items: [{ tag: 4, value: Uint8Array.of(7) }], segments: [] },
      xattrs: [{ key: 'user.a', value: new Uint8Array([1, 2]) }],
      entryCount: 300,
      subdirectoryCount: 2,
      nextIndex: 1,
      tree: {
        kind: 'inner',
        level: 1,
        children: [{ firstName: 'a', index: 0, pointer: examplePointer(50_000, 4168) }],
      },
    }),
  ],
};

export const SEGMENT_ENTRIES: readonly SegmentEntry[] = [
  { kind: 'unit' as const, objectId: exampleId('1'), index: 0, unitSizeLog2: 18, lengthBytes: 70_000 },
  { kind: 'unit' as const, objectId: exampleId('1'), index: 1, unitSizeLog2: 18, lengthBytes: 72 },
  { kind: 'unit' as const, objectId: exampleId('1'), index: 300, unitSizeLog2: 18, lengthBytes: 4168 },
  { kind: 'mapPage' as const, objectId: exampleId('1'), index: 0, unitSizeLog2: 0, lengthBytes: 4168 },
  { kind: 'directoryLeaf' as const, objectId: exampleId('d'), index: 5, unitSizeLog2: 0, lengthBytes: 9000 },
  { kind: 'pack' as const, objectId: exampleId('a'), index: 0, unitSizeLog2: 0, lengthBytes: 30_024 },
].map((entry, at, all) => ({
  ...entry,
  offsetBytes: all.slice(0, at).reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
  tag: new Uint8Array(16).fill(at),
}));

/** The length of what an example's records take. */
export function recordsBytes(entries: readonly SegmentEntry[]): number {
  return entries.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
}

/** False when `bytes` are refused with EFORMAT or EUNSUPPORTED; otherwise they must be the value's one encoding. */
export function isAccepted(bytes: Uint8Array, recode: (bytes: Uint8Array) => Uint8Array): boolean {
  try {
    const again = recode(bytes);
    expect(Buffer.from(again).equals(bytes), `two encodings: ${Buffer.from(bytes).toString('hex')}`).toBe(
      true,
    );
    return true;
  } catch (error) {
    if (isNetsealError(error) && (error.code === 'EFORMAT' || error.code === 'EUNSUPPORTED')) return false;
    throw error;
  }
}

/** What a byte is changed by: a bit, some, or all; in long tests everything that there is. */
const CHANGES: readonly number[] = IS_LONG
  ? Array.from({ length: 255 }, (_, at) => at + 1)
  : [1, 2, 4, 8, 16, 32, 64, 128, 0x55, 0xff];

/**
 * Checks that every truncation, and one byte too many, is refused; and that every change, removal and insertion of a
 * byte is refused or gives bytes that are the one encoding of what they say.
 *
 * @returns how many of the changes were refused.
 */
export function checkDamage(bytes: Uint8Array, recode: (bytes: Uint8Array) => Uint8Array): number {
  expect(isAccepted(bytes, recode)).toBe(true);
  for (let length = 0; length < bytes.byteLength; length += 1) {
    expect(isAccepted(bytes.slice(0, length), recode), `cut at ${length}`).toBe(false);
  }
  expect(isAccepted(Buffer.concat([bytes, new Uint8Array(1)]), recode)).toBe(false);
  let refused = 0;
  for (let at = 0; at < bytes.byteLength; at += 1) {
    for (const change of CHANGES) {
      const changed = bytes.slice();
      changed[at]! ^= change;
      if (!isAccepted(changed, recode)) refused += 1;
    }
    isAccepted(Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]), recode);
    isAccepted(Buffer.concat([bytes.subarray(0, at), new Uint8Array(1), bytes.subarray(at)]), recode);
  }
  return refused;
}
