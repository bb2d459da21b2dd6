/** Local trees for tests of `put` and `get`: made from recipes, and looked at again. */
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import type { Name } from '../../src/base/name.ts';
import { get } from '../../src/transfer/get.ts';
import { setTimes } from '../../src/transfer/local-calls.ts';
import { readAttributes, writeAttribute } from '../../src/transfer/local-xattrs.ts';
import { put } from '../../src/transfer/put.ts';
import { Tally } from '../../src/transfer/tally.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { neverLost } from './local-support.ts';

export type PutOptions = Parameters<typeof put>[4];
export type GetOptions = Parameters<typeof get>[4];

/** Puts with `-r`; whatever went wrong at single files is in the tally. */
export async function putTree(
  volume: Volume,
  sources: string | readonly string[],
  target: string,
  options: PutOptions = {},
): Promise<Tally> {
  const tally = new Tally();
  await put(volume, [sources].flat(), target, tally, { recursive: true, ...options });
  return tally;
}

/** Gets with `-r`. */
export async function getTree(
  volume: Volume,
  sources: string | readonly string[],
  target: string,
  options: GetOptions = {},
): Promise<Tally> {
  const tally = new Tally();
  await get(volume, [sources].flat(), target, tally, { recursive: true, ...options });
  return tally;
}

/** What of the failures a test compares: `path: CODE`. */
export function failuresOf({ failures }: Tally): string[] {
  return failures.map(({ path, error }) => `${path}: ${error.code}`).sort();
}

/** A file of these bytes at these places; holes elsewhere. */
export interface FileRecipe {
  readonly sizeBytes: number;
  /** Where data lies; [start, end). */
  readonly data: readonly (readonly [number, number])[];
  /** 0: text that compresses well; others: incompressible. */
  readonly seed: number;
}

export function writeRecipe(path: string | Buffer, { sizeBytes, data, seed }: FileRecipe): void {
  const fd = fs.openSync(path, 'w');
  try {
    fs.ftruncateSync(fd, sizeBytes);
    for (const [start, end] of data) {
      const lengthBytes = Math.min(end, sizeBytes) - start;
      if (lengthBytes <= 0) continue;
      const bytes = seed === 0 ? Buffer.alloc(lengthBytes, 'so it goes; ') : randomBytes(lengthBytes);
      fs.writeSync(fd, bytes, 0, lengthBytes, start);
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** Time, extended attributes and mode of a file or folder that is there; the mode last, as it may shut everybody out. */
export function dress(
  path: string | Buffer,
  {
    mode,
    mtimeNs,
    xattrs,
  }: { readonly mode: number; readonly mtimeNs: bigint; readonly xattrs: ReadonlyMap<string, string> },
): void {
  const fd = fs.openSync(path, fs.constants.O_RDONLY);
  try {
    for (const [key, value] of xattrs) {
      if (!writeAttribute(fd, { key: `user.${key}`, value: Buffer.from(value) })) throw new Error(key);
    }
    fs.fchmodSync(fd, mode);
    setTimes(fd, { mtimeNs });
  } finally {
    fs.closeSync(fd);
  }
}

export interface Seen {
  readonly type: 'file' | 'folder' | 'symlink' | 'other';
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Of a file: a hash; of a link: where it leads. */
  readonly content: string;
  readonly xattrs: string;
  /** The first of the names of this file within the tree. */
  readonly sameAs: Name;
  readonly allocatedBytes: number;
}

/** Everything at and below a path, by its path from there, as Latin-1. */
export function lookAtTree(root: string | Buffer): Map<Name, Seen> {
  const seen = new Map<Name, Seen>();
  const firsts = new Map<string, Name>();
  const visit = (path: Buffer, relative: Name): void => {
    const stat = fs.lstatSync(path, { bigint: true });
    const type = typeOf(stat);
    const key = `${stat.dev}/${stat.ino}`;
    const sameAs = type === 'folder' ? relative : (firsts.get(key) ?? relative);
    firsts.set(key, sameAs);
    seen.set(relative, {
      type,
      mode: Number(stat.mode) & 0o7777,
      mtimeNs: stat.mtimeNs,
      content: contentOf(path, type),
      xattrs: type === 'file' || type === 'folder' ? xattrsOf(path) : '',
      sameAs,
      allocatedBytes: Number(stat.blocks) * 512,
    });
    if (type !== 'folder') return;
    for (const name of fs.readdirSync(path, { encoding: 'latin1' }).sort()) {
      visit(
        Buffer.concat([path, Buffer.from(`/${name}`, 'latin1')]),
        relative === '' ? name : `${relative}/${name}`,
      );
    }
  };
  visit(Buffer.from(root), '');
  return seen;
}

function typeOf(stat: fs.BigIntStats): Seen['type'] {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'folder';
  return stat.isSymbolicLink() ? 'symlink' : 'other';
}

function contentOf(path: Buffer, type: Seen['type']): string {
  if (type === 'symlink') return fs.readlinkSync(path, { encoding: 'latin1' });
  if (type !== 'file') return '';
  return createHash('sha256').update(fs.readFileSync(path)).digest('hex');
}

function xattrsOf(path: Buffer): string {
  const fd = fs.openSync(path, fs.constants.O_RDONLY);
  try {
    return readAttributes(fd, neverLost)
      .map(({ key, value }) => `${key}=${Buffer.from(value).toString('latin1')}`)
      .join(';');
  } finally {
    fs.closeSync(fd);
  }
}

/** What must be the same after a round trip; set-id bits are not given back without the owner. */
export function comparable(tree: ReadonlyMap<Name, Seen>): Record<Name, object> {
  const plain: Record<Name, object> = {};
  for (const [path, { allocatedBytes: _, mode, ...rest }] of tree)
    plain[path] = { ...rest, mode: mode & 0o1777 };
  return plain;
}

/** What this process has open: descriptors of files, folders and the like, as text. */
export function openDescriptors(): string[] {
  return fs
    .readdirSync('/proc/self/fd')
    .flatMap(fd => {
      try {
        return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        // The one of the list itself.
        return [];
      }
    })
    .filter(path => path.includes('netseal-'))
    .sort();
}
