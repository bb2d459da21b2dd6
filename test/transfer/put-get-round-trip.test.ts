/** Trees that go into a volume and come out the same: bytes, holes, modes, times, attributes, links. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import type { Name } from '../../src/base/name.ts';
import { SEARCH_MS, SEED } from '../support/soak.ts';
import { TestVolume } from '../volume/support.ts';
import {
  comparable,
  dress,
  type FileRecipe,
  failuresOf,
  getTree,
  lookAtTree,
  openDescriptors,
  putTree,
  type Seen,
  writeRecipe,
} from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

const RUNS_MIN = 5;
const RUNS_MAX = 10_000;

interface NodeRecipe {
  readonly kind: 'file' | 'folder' | 'symlink' | 'link';
  /** Which of the folders made so far it lies in. */
  readonly into: number;
  readonly name: string;
  readonly file: FileRecipe;
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly xattrs: ReadonlyMap<string, string>;
}

/** Sizes at the borders of units and of batches. */
function sizesFor(unitSizeBytes: number): fc.Arbitrary<number> {
  const borders = [0, 1, 4096, MIB, 2 * MIB, 3 * unitSizeBytes, unitSizeBytes];
  const around = borders.flatMap(at => [at - 1, at, at + 1]).filter(at => at >= 0 && at <= 3 * MIB + 1);
  return fc.oneof(fc.constantFrom(...around), fc.integer({ min: 0, max: 5 * KIB }));
}

function files(unitSizeBytes: number): fc.Arbitrary<FileRecipe> {
  const seeds = fc.integer({ min: 0, max: 2 });
  const whole = fc
    .tuple(sizesFor(unitSizeBytes), seeds)
    .map(([sizeBytes, seed]): FileRecipe => ({ sizeBytes, data: [[0, sizeBytes]], seed }));
  const range = fc
    .tuple(fc.integer({ min: 0, max: 511 }), fc.integer({ min: 1, max: 64 * KIB }))
    .map(([page, lengthBytes]): [number, number] => [page * 8192, page * 8192 + lengthBytes]);
  const sparse = fc
    .tuple(
      fc.constantFrom(4 * MIB, 4 * MIB + 1, 8 * MIB, unitSizeBytes),
      fc.array(range, { maxLength: 3 }),
      seeds,
    )
    .map(([sizeBytes, data, seed]): FileRecipe => ({ sizeBytes, data, seed }));
  return fc.oneof({ weight: 4, arbitrary: whole }, { weight: 1, arbitrary: sparse });
}

const NAMES = fc.oneof(
  fc
    .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
    .map(text => Buffer.from(text).toString('latin1')),
  fc.constantFrom('a\nb', '\xff\xfe', 'x'.repeat(255), '-rf', '...', '\xc3\xa9', 'e\xcc\x81'),
);

function nodes(unitSizeBytes: number): fc.Arbitrary<NodeRecipe> {
  return fc.record({
    kind: fc.constantFrom('file', 'file', 'file', 'folder', 'symlink', 'link'),
    into: fc.nat(20),
    name: NAMES,
    file: files(unitSizeBytes),
    mode: fc.constantFrom(0o644, 0o600, 0o755, 0o000, 0o444, 0o4755, 0o1777, 0o2770, 0o777),
    mtimeNs: fc.oneof(
      fc.bigInt({ min: -2_000_000_000n * 1_000_000_000n, max: 4_000_000_000n * 1_000_000_000n }),
      fc.constantFrom(0n, -1n, 1n, 1_700_000_000_123_456_789n),
    ),
    xattrs: fc
      .array(fc.tuple(fc.constantFrom('a', 'b.c', 'mime_type'), fc.string({ maxLength: 40 })), {
        maxLength: 2,
      })
      .map(pairs => new Map(pairs)),
  }) as fc.Arbitrary<NodeRecipe>;
}

/** Makes the tree at `root`; nodes whose name is taken are left out. */
function build(root: string, recipes: readonly NodeRecipe[]): void {
  fs.mkdirSync(root);
  const folders: Buffer[] = [Buffer.from(root)];
  const named: Buffer[] = [];
  const dresses: (() => void)[] = [];
  for (const recipe of recipes) {
    const folder = folders[recipe.into % folders.length] ?? Buffer.from(root);
    const name = recipe.name.replace(/[/\0]/g, '_').slice(0, 255);
    if (name === '.' || name === '..' || name === '') continue;
    const path = Buffer.concat([folder, Buffer.from(`/${name}`, 'latin1')]);
    if (fs.existsSync(path) || isLink(path)) continue;
    if (recipe.kind === 'folder') {
      fs.mkdirSync(path);
      folders.push(path);
    } else if (recipe.kind === 'symlink') {
      fs.symlinkSync(`../${recipe.into}`, path);
      continue;
    } else if (recipe.kind === 'link' && named.length > 0) {
      fs.linkSync(named[recipe.into % named.length] ?? '', path);
      continue;
    } else {
      writeRecipe(path, recipe.file);
      named.push(path);
    }
    dresses.push(() => dress(path, recipe));
  }
  // From the inside out: whatever is made in a folder changes its time.
  for (const each of dresses.reverse()) each();
}

function isLink(path: Buffer): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function expectSame(original: ReadonlyMap<Name, Seen>, copy: ReadonlyMap<Name, Seen>): void {
  expect(comparable(copy)).toEqual(comparable(original));
  for (const [path, { type, allocatedBytes }] of original) {
    if (type !== 'file') continue;
    // Short runs of zeros are written.
    expect(copy.get(path)?.allocatedBytes ?? 0).toBeLessThanOrEqual(
      Math.max(1.2 * allocatedBytes, allocatedBytes + 128 * KIB),
    );
  }
}

let folder = '';

beforeEach(() => {
  folder = makeFolder();
});

afterEach(() => {
  removeFolder(folder);
});

describe.each([4 * KIB, 64 * KIB, 256 * KIB, MIB])('put, then get, with units of %d bytes', unitSizeBytes => {
  it('gives any tree back as it was, and a second time finds nothing to do', async () => {
    let run = 0;
    const untilMs = performance.now() + 2 * SEARCH_MS;
    const check = async (recipes: readonly NodeRecipe[]): Promise<void> => {
      run += 1;
      if (run > RUNS_MIN && performance.now() > untilMs) return;
      const from = join(folder, `from-${run}`);
      const to = join(folder, `to-${run}`);
      build(from, recipes);
      const original = lookAtTree(from);
      const before = openDescriptors();
      const volume = await TestVolume.create({ unitSizeBytes, keys: run % 2 === 0 ? 'flat' : 'hex2' });
      try {
        const client = await volume.client();
        const tally = await putTree(client.volume, from, '/tree');
        expect(failuresOf(tally)).toEqual([]);
        expect(tally.notes).toEqual([]);
        const other = await volume.client();
        expect(failuresOf(await getTree(other.volume, '/tree', to))).toEqual([]);
        expectSame(original, lookAtTree(to));
        // Nothing changed: nothing is copied.
        const again = await putTree(other.volume, from, '/tree');
        expect({ ...again.counts, unchanged: 0 }).toEqual({
          files: 0,
          folders: 0,
          symlinks: 0,
          specials: 0,
          links: 0,
          removed: 0,
          bytes: 0,
          unchanged: 0,
        });
        const back = await getTree(other.volume, '/tree', to);
        expect({ ...back.counts, unchanged: 0, folders: 0 }).toEqual({
          files: 0,
          folders: 0,
          symlinks: 0,
          specials: 0,
          links: 0,
          removed: 0,
          bytes: 0,
          unchanged: 0,
        });
        expectSame(original, lookAtTree(to));
      } finally {
        await volume.close();
        fs.rmSync(from, { recursive: true, force: true });
        fs.rmSync(to, { recursive: true, force: true });
      }
      expect(openDescriptors()).toEqual(before);
    };
    const property = fc.asyncProperty(fc.array(nodes(unitSizeBytes), { maxLength: 24 }), check);
    await fc.assert(property, { numRuns: RUNS_MAX, seed: SEED });
  });
});
