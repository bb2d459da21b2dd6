/** Values of every type in the sealed layout, for properties. */
import fc from 'fast-check';
import type { Id } from '../../../src/base/ids.ts';
import type { Name } from '../../../src/base/name.ts';
import type { Extension, Extensions } from '../../../src/server/sealed/extensions.ts';
import {
  type Arrival,
  type Departure,
  type DeviceInode,
  type DirectoryEntry,
  type DirectoryInode,
  type EntryNode,
  type ExtendedAttribute,
  type FileInode,
  INODE_TYPES,
  type Inode,
  type InodeObject,
  type InodeType,
  type LinkableInode,
  type MapSlots,
  type NameChild,
  type NameNode,
  type ObjectReference,
  type PipeInode,
  type SymlinkInode,
  type Writer,
} from '../../../src/server/sealed/inode.ts';
import {
  MAP_DEPTH_MAX,
  PAGE_SLOTS,
  ROOT_SLOTS,
  unitsPerSlot,
} from '../../../src/server/sealed/map-format.ts';
import {
  FOLDER_BYTES_MAX,
  folderHeadBytes,
  NESTING_MAX,
  nodeBytesOf,
} from '../../../src/server/sealed/name-node-format.ts';
import { EMPTY_NAMES } from '../../../src/server/sealed/name-tree.ts';
import {
  type Origin,
  type Pointer,
  SEGMENT_BYTES_MAX,
  type SlicePointer,
} from '../../../src/server/sealed/pointer.ts';
import type { SegmentEntry } from '../../../src/server/sealed/segment-format.ts';
import {
  PACK_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_OVERHEAD_BYTES,
  TAG_BYTES,
} from '../../../src/unit/record-format.ts';

function hex(lengthBytes: number): fc.Arbitrary<string> {
  return fc
    .uint8Array({ minLength: lengthBytes, maxLength: lengthBytes })
    .map(bytes => Buffer.from(bytes).toString('hex'));
}

export const ids: fc.Arbitrary<Id> = hex(16);
/** Few, so that nodes name some twice. */
export const segmentIds: fc.Arbitrary<Id> = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 3 }).map(digit => String(digit).repeat(32)) },
  { weight: 1, arbitrary: ids },
);

/** 0 to `max`, often small, and the edges of varints. */
export function counts(max: number = Number.MAX_SAFE_INTEGER): fc.Arbitrary<number> {
  return fc.oneof(
    fc.integer({ min: 0, max: Math.min(max, 300) }),
    fc.integer({ min: 0, max }),
    fc
      .tuple(fc.integer({ min: 0, max: 7 }), fc.integer({ min: -1, max: 0 }))
      .map(([sevens, off]) => Math.min(max, Math.max(0, 2 ** (7 * sevens) + off))),
  );
}

/** A byte string of any bytes. */
export function byteStrings(minBytes: number, maxBytes: number): fc.Arbitrary<Name> {
  const few = fc.constantFrom('a', 'b', '\0', '/', '.', '\xff', '\n');
  const any = fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code));
  const parts = { minLength: minBytes, maxLength: maxBytes };
  return fc.oneof(fc.string({ unit: few, ...parts }), fc.string({ unit: any, ...parts }));
}

export const names: fc.Arbitrary<Name> = fc.oneof(
  { weight: 9, arbitrary: byteStrings(1, 12) },
  { weight: 1, arbitrary: byteStrings(1, 255) },
);

const tags = fc.uint8Array({ minLength: TAG_BYTES, maxLength: TAG_BYTES });
const origins: fc.Arbitrary<Origin> = fc.record({ objectId: ids, index: counts() });
const recordLengths = counts(RECORD_BYTES_MAX - RECORD_OVERHEAD_BYTES).map(
  more => more + RECORD_OVERHEAD_BYTES,
);

/** Pointers to whole records. */
export const pointers: fc.Arbitrary<Pointer> = fc
  .tuple(segmentIds, counts(SEGMENT_BYTES_MAX), recordLengths, tags, fc.option(origins, { freq: 4 }))
  .map(([segment, offset, lengthBytes, tag, origin]) => {
    const offsetBytes = Math.min(offset, SEGMENT_BYTES_MAX - lengthBytes);
    const pointer = { segment, offsetBytes, lengthBytes, tag };
    return origin === null ? pointer : { ...pointer, origin };
  });

/** Packs. There are few, so that nodes name some twice; their records differ. */
const packs: fc.Arbitrary<Pointer & { readonly packId: Id; readonly packBytes: number }> = fc
  .integer({ min: 0, max: 3 })
  .map(digit => ({
    segment: String(digit % 2).repeat(32),
    offsetBytes: digit * 1000,
    lengthBytes: 900,
    tag: new Uint8Array(TAG_BYTES).fill(digit),
    packId: String(digit + 4).repeat(32),
    packBytes: digit === 3 ? PACK_BYTES_MAX : 1 + 1000 * digit,
  }));

/** Pointers into packs. */
export const slicePointers: fc.Arbitrary<SlicePointer> = fc
  .tuple(packs, counts(PACK_BYTES_MAX), counts(PACK_BYTES_MAX))
  .map(([{ packId, packBytes, ...record }, start, length]) => {
    const startBytes = start % packBytes;
    const lengthBytes = 1 + (length % (packBytes - startBytes));
    return { ...record, slice: { packId, packBytes, startBytes, lengthBytes } };
  });

/** Of all forms. */
export const unitPointers: fc.Arbitrary<Pointer> = fc.oneof(pointers, slicePointers);

/** Slots of units below `slotCount`, ascending. */
export function mapSlots(slotCount: number, maxLength = 8): fc.Arbitrary<MapSlots> {
  const slot = fc.record({ slot: counts(slotCount - 1), pointer: unitPointers });
  return fc
    .uniqueArray(slot, { selector: ({ slot }) => slot, maxLength })
    .map(slots => slots.sort((left, right) => left.slot - right.slot));
}

export const mapPages: fc.Arbitrary<MapSlots> = mapSlots(PAGE_SLOTS, 20);

const timesNs = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: 1_700_000_000_000_000_000n, max: 1_700_000_000_000_000_400n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 0n, 2n ** 53n - 1n, 2n ** 53n, 1n - 2n ** 53n, -(2n ** 53n)),
);

const xattrs: fc.Arbitrary<readonly ExtendedAttribute[]> = fc
  .uniqueArray(fc.record({ key: names, value: fc.uint8Array({ maxLength: 300 }) }), {
    selector: ({ key }) => key,
    maxLength: 3,
  })
  .map(pairs => pairs.sort((left, right) => (left.key < right.key ? -1 : 1)));

/** Some of class 0 and 1, ascending by tag. */
export const extensionItems: fc.Arbitrary<readonly Extension[]> = fc
  .uniqueArray(
    fc.record({
      tag: fc
        .tuple(counts(Number.MAX_SAFE_INTEGER - 3), fc.integer({ min: 0, max: 1 }))
        .map(([tag, kind]) => tag - (tag % 4) + kind),
      // Shorter than an id, so that it names no segment by chance.
      value: fc.uint8Array({ maxLength: 12 }),
    }),
    { selector: ({ tag }) => tag, minLength: 1, maxLength: 3 },
  )
  .map(items => items.sort((left, right) => left.tag - right.tag));

export const extensions: fc.Arbitrary<Extensions> = fc
  .tuple(extensionItems, fc.uniqueArray(segmentIds, { maxLength: 2 }))
  .map(([items, segments]) => ({
    items: items.map(({ tag, value }, at) => ({
      tag,
      value: at > 0 ? value : new Uint8Array([...value, ...Buffer.from(segments.join(''), 'hex')]),
    })),
    segments: segments.sort(),
  }));

const base = {
  id: ids,
  version: counts(),
  dataVersion: counts(),
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: counts(0xffff_ffff),
  gid: counts(0xffff_ffff),
  mtimeNs: timesNs,
  ctimeNs: timesNs,
  birthNs: timesNs,
  atimeNs: fc.option(timesNs, { nil: undefined }),
  extensions: fc.option(extensions, { nil: undefined, freq: 3 }),
  xattrs: fc.oneof(fc.constant([]), xattrs),
};
const linkCounts = fc.oneof(fc.constant(1), counts(0xffff_ffff));

export const fileInodes: fc.Arbitrary<FileInode> = fc
  .record({
    ...base,
    linkCount: linkCounts,
    sizeBytes: counts(),
    unitSizeLog2: fc.integer({ min: 12, max: 24 }),
    storedBytes: counts(),
    depth: fc.integer({ min: 0, max: MAP_DEPTH_MAX }),
    slots: mapSlots(ROOT_SLOTS),
  })
  .map(({ unitSizeLog2, depth, slots, ...rest }) => {
    const unitSizeBytes = 2 ** unitSizeLog2;
    const unitCount = Math.ceil(rest.sizeBytes / unitSizeBytes);
    const inFile = slots
      .filter(({ slot }) => slot * unitsPerSlot(depth) < unitCount)
      .map(({ slot, pointer }) => {
        if (pointer.slice === undefined) return { slot, pointer };
        if (depth > 0) return { slot, pointer: { ...pointer, slice: undefined } };
        const bytesMax = Math.min(unitSizeBytes, rest.sizeBytes - slot * unitSizeBytes);
        const lengthBytes = Math.min(bytesMax, pointer.slice.lengthBytes);
        return { slot, pointer: { ...pointer, slice: { ...pointer.slice, lengthBytes } } };
      });
    return { type: 'file', ...rest, unitSizeBytes, map: { depth, slots: inFile } };
  });

export const symlinkInodes: fc.Arbitrary<SymlinkInode> = fc.record({
  type: fc.constant('symlink' as const),
  ...base,
  linkCount: linkCounts,
  target: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc.uint8Array({ minLength: 4000, maxLength: 4095, size: 'max' }),
  ),
});

export const pipeInodes: fc.Arbitrary<PipeInode> = fc.record({
  type: fc.constantFrom('fifo' as const, 'socket' as const),
  ...base,
  linkCount: linkCounts,
});

export const deviceInodes: fc.Arbitrary<DeviceInode> = fc.record({
  type: fc.constantFrom('characterDevice' as const, 'blockDevice' as const),
  ...base,
  linkCount: linkCounts,
  major: counts(0xffff_ffff),
  minor: counts(0xffff_ffff),
});

const linkables: fc.Arbitrary<LinkableInode> = fc.oneof(
  { weight: 3, arbitrary: fileInodes },
  symlinkInodes,
  pipeInodes,
  deviceInodes,
);

const departures: fc.Arbitrary<Departure> = fc.record({ token: ids, directory: ids, name: names });

export const nameChildren: fc.Arbitrary<NameChild> = fc.record({
  firstName: names,
  index: counts(),
  pointer: pointers,
});

const embeddedLinkables: fc.Arbitrary<EntryNode> = linkables.map(inode => ({ kind: 'embedded', inode }));

function references(types: readonly InodeType[]): fc.Arbitrary<ObjectReference> {
  return fc
    .record({
      kind: fc.constant('object' as const),
      id: ids,
      key: fc.option(ids, { nil: undefined }),
      type: fc.constantFrom(...types),
    })
    .map(({ key, ...node }) => (key === undefined || key === node.id ? node : { ...node, key }));
}

/** What may lie in an embedded directory beside other embedded ones. */
const withoutDirectories: readonly fc.Arbitrary<EntryNode>[] = [
  embeddedLinkables,
  references(INODE_TYPES.filter(type => type !== 'directory')),
];

/** Without what makes an embedded directory too large. */
function fitted(inode: DirectoryInode): DirectoryInode {
  let fitting = inode;
  const isTooLarge = (): boolean => folderHeadBytes(fitting) + nodeBytesOf(fitting.tree) > FOLDER_BYTES_MAX;
  while (fitting.tree.kind === 'leaf' && fitting.tree.entries.length > 0 && isTooLarge()) {
    fitting = { ...fitting, tree: { kind: 'leaf', entries: fitting.tree.entries.slice(0, -1) } };
  }
  return isTooLarge() ? { ...fitting, tree: EMPTY_NAMES } : fitting;
}

/** @param nesting how many embedded directories may lie within one another, this one included: from 1. */
function embeddedDirectories(nesting: number): fc.Arbitrary<DirectoryInode> {
  const nodes =
    nesting === 1
      ? fc.oneof(...withoutDirectories)
      : fc.oneof(...withoutDirectories, embeddedDirectories(nesting - 1).map(toEmbedded));
  const entries = fc.uniqueArray(fc.record({ name: names, node: nodes }), {
    selector: ({ name }) => name,
    maxLength: 3,
  });
  const tree = fc.oneof(
    { weight: 4, arbitrary: entries.map(toLeaf) },
    { weight: 1, arbitrary: fc.array(nameChildren, { minLength: 1, maxLength: 1 }).map(toInner) },
  );
  return fc
    .record({
      type: fc.constant('directory' as const),
      ...base,
      parent: fc.constant(undefined),
      entryCount: counts(),
      subdirectoryCount: counts(),
      isDead: fc.constant(false),
      arrivals: fc.constant([]),
      nextIndex: counts(),
      tree,
    })
    .map(inode =>
      fitted({ ...inode, subdirectoryCount: Math.min(inode.subdirectoryCount, inode.entryCount) }),
    );
}

function toEmbedded(inode: DirectoryInode): EntryNode {
  return { kind: 'embedded', inode };
}

function toLeaf(entries: readonly DirectoryEntry[]): NameNode {
  return { kind: 'leaf', entries: entries.toSorted((left, right) => (left.name < right.name ? -1 : 1)) };
}

function toInner(children: readonly NameChild[]): NameNode {
  return { kind: 'inner', level: 1, children };
}

const entryNodes: fc.Arbitrary<EntryNode> = fc.oneof(
  { weight: 2, arbitrary: embeddedLinkables },
  { weight: 2, arbitrary: references(INODE_TYPES) },
  {
    weight: 1,
    arbitrary: fc.integer({ min: 1, max: NESTING_MAX }).chain(embeddedDirectories).map(toEmbedded),
  },
);

export const directoryEntries: fc.Arbitrary<DirectoryEntry> = fc
  .tuple(names, entryNodes, fc.option(departures, { freq: 4 }))
  .map(([name, node, departure]) => (departure === null ? { name, node } : { name, node, departure }));

export const leaves: fc.Arbitrary<NameNode> = fc
  .uniqueArray(directoryEntries, { selector: ({ name }) => name, maxLength: 12 })
  .map(toLeaf);

export const innerNodes: fc.Arbitrary<NameNode> = fc
  .tuple(
    fc.integer({ min: 1, max: 15 }),
    fc.uniqueArray(nameChildren, { selector: ({ firstName }) => firstName, minLength: 1, maxLength: 20 }),
  )
  .map(([level, children]) => ({
    kind: 'inner',
    level,
    children: children.sort((left, right) => (left.firstName < right.firstName ? -1 : 1)),
  }));

export const nameNodes: fc.Arbitrary<NameNode> = fc.oneof(leaves, innerNodes);

const arrivals: fc.Arbitrary<Arrival> = fc.record({ token: ids, source: ids, isAccepted: fc.boolean() });

export const directoryInodes: fc.Arbitrary<DirectoryInode> = fc
  .record({
    type: fc.constant('directory' as const),
    ...base,
    parent: ids,
    formerParent: fc.option(fc.record({ directory: ids, token: ids }), { nil: undefined }),
    entryCount: counts(),
    subdirectoryCount: counts(),
    isDead: fc.boolean(),
    arrivals: fc.array(arrivals, { maxLength: 3 }),
    nextIndex: counts(),
    tree: nameNodes,
  })
  .map(inode => ({ ...inode, subdirectoryCount: Math.min(inode.subdirectoryCount, inode.entryCount) }));

export const inodes: fc.Arbitrary<Inode> = fc.oneof(linkables, directoryInodes);

const writers: fc.Arbitrary<readonly Writer[]> = fc
  .uniqueArray(fc.record({ version: counts(), nonce: ids }), {
    selector: ({ version }) => version,
    maxLength: 16,
  })
  .map(list => list.sort((left, right) => right.version - left.version));

export const inodeObjects: fc.Arbitrary<InodeObject> = fc.record({
  inode: inodes,
  writers,
  predecessor: fc.option(hex(32), { nil: undefined }),
});

/** What lies in a segment, without gaps from 0. */
export const segmentEntries: fc.Arbitrary<readonly SegmentEntry[]> = fc
  .array(
    fc.record({
      kind: fc.constantFrom('unit' as const, 'mapPage' as const, 'directoryLeaf' as const, 'pack' as const),
      objectId: segmentIds,
      index: fc.oneof(fc.integer({ min: 0, max: 3 }), counts()),
      log2: fc.integer({ min: 12, max: 24 }),
      lengthBytes: recordLengths,
      tag: tags,
    }),
    { maxLength: 20 },
  )
  .map(parts => {
    let offsetBytes = 0;
    return parts.map(({ log2, ...rest }) => {
      const unitSizeLog2 = rest.kind === 'unit' ? log2 : 0;
      const index = rest.kind === 'pack' ? 0 : rest.index;
      const entry = { ...rest, index, unitSizeLog2, offsetBytes };
      offsetBytes += rest.lengthBytes;
      return entry;
    });
  });
