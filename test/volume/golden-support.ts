/** Compares what a reader sees of a golden volume with what `golden.json` says. */
import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import type { DirectoryEntry, Inode } from '../../src/server/sealed/inode.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { type ExpectedInode, type ExpectedVolume, pathsOf } from '../fixtures/golden-expected.ts';
import type { Found, IndependentReader } from '../fixtures/independent-reader.ts';

/** What a path leads to, as a reader sees it. */
export interface Seen extends Omit<ExpectedInode, 'sha256' | 'pieces'> {
  readonly read: (offset: number, length: number) => Promise<Buffer>;
}

/** Longer files are read piece by piece. */
const WHOLE_BYTES_MAX: number = 1024 * 1024;

function hexOf(values: Iterable<readonly [string | number, Uint8Array]>): Record<string, string> {
  return Object.fromEntries(Array.from(values, ([key, value]) => [key, Buffer.from(value).toString('hex')]));
}

/** What netseal sees of an inode. */
export function seenByNetseal(
  volume: Volume,
  inode: Inode,
  parent?: Directory,
  entry?: DirectoryEntry,
): Seen {
  const { type, mode, uid, gid, mtimeNs, atimeNs, xattrs, extensions } = inode;
  const first = inode.type === 'file' ? inode.map.slots[0]?.pointer : undefined;
  const isInner = inode.type === 'directory' && inode.tree.kind === 'inner';
  return {
    ...{ type, mode, uid, gid, mtimeNs: String(mtimeNs) },
    ...(atimeNs === undefined ? {} : { atimeNs: String(atimeNs) }),
    xattrs: hexOf(xattrs.map(({ key, value }) => [key, value])),
    extensions: hexOf((extensions?.items ?? []).map(({ tag, value }) => [tag, value])),
    linkCount: inode.type === 'directory' ? 1 : inode.linkCount,
    ...(inode.type === 'symlink' ? { target: Buffer.from(inode.target).toString('latin1') } : {}),
    ...('major' in inode ? { device: [inode.major, inode.minor] as const } : {}),
    ...(inode.type === 'file' ? { sizeBytes: inode.sizeBytes, unitSizeBytes: inode.unitSizeBytes } : {}),
    isEmbedded: entry?.node.kind === 'embedded',
    depth: inode.type === 'file' ? inode.map.depth : Number(isInner),
    ...(first === undefined ? {} : { first: placeOf(first) }),
    read: async (offset, length) => {
      if (inode.type !== 'file') throw new Error('no file');
      const bytes = Buffer.alloc(length);
      await volume.reader(inode, { parent, entry }).read(bytes, offset);
      return bytes;
    },
  };
}

function placeOf(pointer: {
  readonly origin?: unknown;
  readonly slice?: unknown;
}): 'own' | 'origin' | 'pack' {
  if (pointer.slice !== undefined) return 'pack';
  return pointer.origin === undefined ? 'own' : 'origin';
}

/** What the independent reader sees of an inode. */
export function seenIndependently(reader: IndependentReader, { inode, isEmbedded }: Found): Seen {
  const { type, mode, uid, gid, mtimeNs, atimeNs, xattrs, extensions, linkCount, file, directory } = inode;
  const first = file === undefined ? undefined : [...file.slots.values()][0];
  return {
    ...{ type, mode, uid, gid, mtimeNs: String(mtimeNs), linkCount, isEmbedded },
    ...(atimeNs === undefined ? {} : { atimeNs: String(atimeNs) }),
    xattrs: hexOf(xattrs),
    extensions: hexOf(extensions),
    ...(inode.target === undefined ? {} : { target: inode.target }),
    ...(inode.device === undefined ? {} : { device: [inode.device.major, inode.device.minor] as const }),
    ...(file === undefined ? {} : { sizeBytes: file.sizeBytes, unitSizeBytes: 2 ** file.unitSizeLog2 }),
    depth: file?.depth ?? Number((directory?.root.children.length ?? 0) > 0),
    ...(first === undefined ? {} : { first: placeOf(first) }),
    read: async (offset, length) => reader.read(inode, offset, length),
  };
}

/** Fails unless all that is expected is seen, and nothing else. */
export async function checkAll(
  expected: ExpectedVolume,
  seen: ReadonlyMap<string, Seen>,
  changed: ReadonlySet<string> = new Set(),
): Promise<void> {
  const paths = pathsOf(expected);
  expect([...seen.keys()].filter(path => !changed.has(path)).sort()).toEqual([...paths.keys()].sort());
  for (const path of expected.hidden) expect(seen.has(path), path).toBe(false);
  for (const [path, inode] of paths) {
    const found = seen.get(path);
    if (found !== undefined) await checkOne(path, inode, found);
  }
}

async function checkOne(path: string, expected: ExpectedInode, seen: Seen): Promise<void> {
  const { sha256, pieces, ...fields } = expected;
  const { read, ...found } = seen;
  const { xattrs = {}, extensions = {}, atimeNs, linkCount = 1, ...rest } = fields;
  expect(found, path).toMatchObject(rest);
  // What is not expected must not be there.
  expect([found.xattrs, found.extensions, found.atimeNs, found.linkCount], path).toEqual([
    xattrs,
    extensions,
    atimeNs,
    linkCount,
  ]);
  const { sizeBytes = 0 } = expected;
  if (sha256 !== undefined) {
    expect(
      createHash('sha256')
        .update(await read(0, sizeBytes))
        .digest('hex'),
      path,
    ).toBe(sha256);
  }
  if (pieces === undefined) return;
  const rangesToRead =
    sizeBytes <= WHOLE_BYTES_MAX
      ? [[0, sizeBytes] as const]
      : pieces.map(([offset, hex]) => {
          const from = Math.max(0, offset - 5000);
          return [from, Math.min(sizeBytes, offset + hex.length / 2 + 5000) - from] as const;
        });
  for (const [offset, length] of rangesToRead) {
    const wanted = Buffer.alloc(length);
    for (const [at, hex] of pieces) {
      if (at >= offset && at < offset + length) wanted.write(hex, at - offset, 'hex');
    }
    expect((await read(offset, length)).equals(wanted), `${path} at ${offset}`).toBe(true);
  }
}

/** Everything that netseal sees from the root down. */
export async function seenAll(volume: Volume): Promise<Map<string, Seen>> {
  const seen = new Map<string, Seen>();
  const visit = async (path: string, directory: Directory): Promise<void> => {
    for await (const entries of volume.names.entries(directory)) {
      for (const entry of entries) {
        const below = `${path}/${entry.name}`;
        const inode = await volume.inodeOf(entry);
        // A folder whose removal was not finished.
        if (inode.type === 'directory' && inode.isDead) continue;
        seen.set(below, seenByNetseal(volume, inode, directory, entry));
        if (inode.type === 'directory') await visit(below, volume.directoryOf(directory, entry));
      }
    }
  };
  seen.set('/', seenByNetseal(volume, await volume.root.read()));
  await visit('', volume.root);
  return seen;
}
