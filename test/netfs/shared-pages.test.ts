import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { POOL_BYTES_PER_FRAME } from '../../src/netfs/pages/frame-pool.ts';
import { PageCopier } from '../../src/netfs/pages/page-copier.ts';
import { bucketOf } from '../../src/netfs/pages/page-memory.ts';
import { PageReader } from '../../src/netfs/pages/page-reader.ts';
import { GRANULE_BYTES as G } from '../../src/netfs/pages/pages.ts';
import { SharedPages } from '../../src/netfs/pages/shared-pages.ts';
import { BLOCK_BYTES } from './pages-model.ts';
import { sharedPages } from './shared-pages-support.ts';

const KEY = Uint8Array.of(1);
type SharedFile = ReturnType<SharedPages['addFile']>;

function span(fromBytes: number, toBytes: number): { fromBytes: number; toBytes: number } {
  return { fromBytes, toBytes };
}

/** Fills blocks, each with its own number in all bytes. */
function fillBlocks(file: SharedFile, from: number, to: number): void {
  for (let block = from; block < to; block += 1) {
    const range = span(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
    file.fill(range, new Uint8Array(BLOCK_BYTES).fill(block + 1), []);
  }
}

function holdsBlocks(file: SharedFile, from: number, to: number): boolean {
  const into = new Uint8Array(BLOCK_BYTES);
  for (let block = from; block < to; block += 1) {
    if (file.read(block * BLOCK_BYTES, into) < BLOCK_BYTES) return false;
    if (!into.every(byte => byte === ((block + 1) & 0xff))) return false;
  }
  return true;
}

/** Reads by another reader, and counts the copies. */
function copiesOf(pages: SharedPages, file: SharedFile, offset: number, length: number): number {
  let copies = 0;
  class CountingCopier extends PageCopier {
    override copy(...args: Parameters<PageCopier['copy']>): void {
      copies += 1;
      super.copy(...args);
    }
  }
  file.publish({ sizeBytes: offset + length, freshUntilNs: 2n ** 62n });
  const reader = new PageReader(pages.memory, () => 0, new CountingCopier(pages.memory));
  expect(reader.read(file.ref!, offset, new Uint8Array(length))).toBe(length);
  return copies;
}

describe('memory', () => {
  it('keeps within the budget, with everything that is kept about pages', () => {
    for (const budgetBytes of [200_000, 1_000_000, 20_000_000, 64 * 2 ** 20]) {
      const { memory, use } = new SharedPages(budgetBytes, { slots: 64 });
      const slabBytes = memory.slabs.reduce((sum, slab) => sum + slab.byteLength, 0);
      expect(slabBytes).toBe(use.budgetBytes);
      const allBytes = slabBytes + memory.words.byteLength + memory.frameCount * POOL_BYTES_PER_FRAME;
      expect(allBytes).toBeLessThanOrEqual(budgetBytes);
      // One more frame would not fit, and tables take little.
      expect(allBytes).toBeGreaterThan(budgetBytes - 70_000);
      expect(slabBytes).toBeGreaterThan(0.96 * (budgetBytes - 75_000));
    }
    expect(() => new SharedPages(60_000)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(() => new SharedPages(2 ** 60)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it.each([
    ['aligned', 0, 1],
    ['not aligned', 100, 2.2],
  ])('2,000 writes of 4 KiB here and there, %s, hold little more than they write', (_, skew, factor) => {
    const file = sharedPages(400);
    const pages = file.addFile(KEY);
    const chance = seededChance(3);
    for (let index = 0; index < 2000; index += 1) {
      const at = Math.floor(chance() * 65_535) * G + skew;
      expect(pages.write(at, new Uint8Array(G).fill(index))).toBe(G);
    }
    expect(file.use.heldBytes).toBeLessThanOrEqual(factor * 2000 * G);
  });

  it('a block that grows gets a frame, and its subframes become free', () => {
    const cache = sharedPages(4);
    const file = cache.addFile(KEY);
    // From the end, so that nothing tells that all will be written.
    for (let granule = 15; granule >= 0; granule -= 1) {
      file.write(granule * G, new Uint8Array(G).fill(granule + 1));
      const expectedBytes = 16 - granule > 8 ? BLOCK_BYTES : (16 - granule) * G;
      expect(cache.use.heldBytes).toBe(expectedBytes);
    }
    const into = new Uint8Array(BLOCK_BYTES);
    expect(file.read(0, into)).toBe(BLOCK_BYTES);
    expect(into.every((byte, at) => byte === Math.floor(at / G) + 1)).toBe(true);
    expect(cache.reserve(3 * BLOCK_BYTES)).toBeDefined();
  });

  it('a granule is not evicted to make room for another of its block', () => {
    const cache = sharedPages(1);
    const file = cache.addFile(KEY);
    file.write(0, new Uint8Array(G).fill(1));
    for (let block = 1; block < 16; block += 1) file.write(block * BLOCK_BYTES, new Uint8Array(G));
    file.release(span(0, G));
    expect(cache.use.heldBytes).toBe(15 * G);
    expect(file.write(G, new Uint8Array(G))).toBe(0);
    expect(file.read(0, new Uint8Array(1))).toBe(1);
    // For another block it is.
    expect(file.write(20 * BLOCK_BYTES, new Uint8Array(G))).toBe(G);
    expect(file.read(0, new Uint8Array(1))).toBe(0);
  });

  it('free subframes of many frames become a frame', () => {
    const cache = sharedPages(4);
    const file = cache.addFile(KEY);
    for (let block = 0; block < 64; block += 1) {
      expect(file.write(block * BLOCK_BYTES, new Uint8Array(G).fill(block + 1))).toBe(G);
    }
    expect(cache.reserve(1)).toBeUndefined();
    for (let block = 0; block < 64; block += 1) {
      if (block % 4 === 0) continue;
      file.release(span(block * BLOCK_BYTES, block * BLOCK_BYTES + 1));
      file.dropClean(span(block * BLOCK_BYTES, block * BLOCK_BYTES + 1));
    }
    expect(cache.use.usedBytes).toBe(16 * G);
    const filling = cache.reserve(3 * BLOCK_BYTES)!;
    for (const part of filling.parts) part.fill(255);
    expect(cache.use.usedBytes).toBe(4 * BLOCK_BYTES);
    const into = new Uint8Array(G);
    for (let block = 0; block < 64; block += 4) {
      expect(file.read(block * BLOCK_BYTES, into)).toBe(G);
      expect(into.every(byte => byte === block + 1)).toBe(true);
    }
  });

  it('what a partial granule holds besides what was written is not what another file had there', () => {
    const cache = sharedPages(1);
    const other = cache.addFile(Uint8Array.of(2));
    fillBlocks(other, 0, 1);
    other.remove();
    const file = cache.addFile(KEY);
    file.write(100, new Uint8Array(10).fill(7));
    file.write(5 * G + 100, new Uint8Array(10 * G).fill(7));
    const into = new Uint8Array(G);
    for (const granule of [0, 5, 15]) {
      file.copyOut(granule * G, into);
      expect(into.every(byte => byte === 0 || byte === 7)).toBe(true);
    }
  });

  it('a file that was removed can hold nothing any more', () => {
    const cache = sharedPages(1);
    const file = cache.addFile(KEY);
    file.remove();
    expect(() => file.write(0, new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'EBUG' }));
  });
});

describe('frames', () => {
  it('of blocks that are filled or written one after the other lie side by side, and are read as one', () => {
    const pages = sharedPages(40);
    const [left, right] = [pages.addFile(KEY), pages.addFile(Uint8Array.of(2))];
    left.fill(span(0, 8 * BLOCK_BYTES), new Uint8Array(8 * BLOCK_BYTES).fill(1), []);
    // Small writes, one behind the other.
    for (let at = 0; at < 8 * BLOCK_BYTES; at += G) right.write(at, new Uint8Array(G).fill(2));
    left.fill(span(8 * BLOCK_BYTES, 16 * BLOCK_BYTES), new Uint8Array(8 * BLOCK_BYTES).fill(1), []);
    expect(pages.use.usedBytes).toBe(24 * BLOCK_BYTES);
    expect(copiesOf(pages, left, 0, 16 * BLOCK_BYTES)).toBe(2);
    // The first block began with a few granules of their own, and then got a frame.
    expect(copiesOf(pages, right, 5, 8 * BLOCK_BYTES - 5)).toBeLessThanOrEqual(2);
  });

  it('that are given to others one after the other lie side by side, too', () => {
    const pages = sharedPages(40);
    const file = pages.addFile(KEY);
    for (let block = 0; block < 1000; block += 4) {
      const range = span(block * BLOCK_BYTES, (block + 4) * BLOCK_BYTES);
      file.fill(range, new Uint8Array(4 * BLOCK_BYTES).fill(block), []);
    }
    expect(copiesOf(pages, file, 984 * BLOCK_BYTES, 16 * BLOCK_BYTES)).toBeLessThanOrEqual(2);
  });

  it('at the end of a slab and the start of the next are two pieces', () => {
    // Most of this is never touched.
    const pages = sharedPages(16_386);
    const file = pages.addFile(KEY);
    expect(pages.memory.slabs.length).toBe(2);
    const filling = pages.reserve(16_380 * BLOCK_BYTES)!;
    expect(filling.parts.length).toBe(1);
    fillBlocks(file, 0, 6);
    expect(pages.use.usedBytes).toBe(pages.use.budgetBytes);
    expect(holdsBlocks(file, 0, 6)).toBe(true);
    expect(copiesOf(pages, file, 1, 6 * BLOCK_BYTES - 1)).toBe(2);
    filling.release();
    const other = pages.reserve(16_380 * BLOCK_BYTES)!;
    expect(other.parts.length).toBe(1);
    other.release();
  });

  it('that were used lately are given to others last', () => {
    const pages = sharedPages(4);
    const file = pages.addFile(KEY);
    fillBlocks(file, 0, 4);
    expect(holdsBlocks(file, 0, 1)).toBe(true);
    fillBlocks(file, 10, 13);
    expect(holdsBlocks(file, 0, 1)).toBe(true);
    fillBlocks(file, 20, 23);
    expect(file.missing(span(0, 4 * BLOCK_BYTES)).length).toBe(1);
  });
});

describe('blocks', () => {
  it('of files with more than 2^32 of them are told apart', () => {
    const pages = sharedPages(8);
    const file = pages.addFile(KEY);
    const far = 2 ** 48;
    file.write(5 * G, new Uint8Array(G).fill(1));
    file.write(far + 5 * G, new Uint8Array(G).fill(2));
    file.write(3 * far + 6 * G, new Uint8Array(G).fill(3));
    const into = new Uint8Array(G);
    expect(file.read(far + 5 * G, into)).toBe(G);
    expect(into[0]).toBe(2);
    expect(file.missing(span(2 * far, 4 * far))).toEqual([
      span(2 * far, 3 * far + 6 * G),
      span(3 * far + 7 * G, 4 * far),
    ]);
    file.truncate(far);
    expect(file.read(5 * G, into)).toBe(G);
    expect(into[0]).toBe(1);
    expect(file.isUptodate(span(far + 5 * G, far + 6 * G))).toBe(false);
    expect(pages.use.usedBytes).toBe(G);
  });

  it('that differ only in the upper word of their number, and share a bucket, are told apart', () => {
    const pages = sharedPages(1);
    const file = pages.addFile(KEY);
    const { number } = file.ref!;
    const bucket = bucketOf(pages.memory, number, 7);
    const others = Array.from({ length: 1000 }, (_, at) => (at + 1) * 2 ** 32 + 7);
    const twin = others.find(block => bucketOf(pages.memory, number, block) === bucket)!;
    file.write(7 * BLOCK_BYTES, new Uint8Array(G).fill(1));
    expect(file.read(twin * BLOCK_BYTES, new Uint8Array(G))).toBe(0);
    file.write(twin * BLOCK_BYTES, new Uint8Array(G).fill(2));
    const into = new Uint8Array(G);
    file.read(7 * BLOCK_BYTES, into);
    expect(into[0]).toBe(1);
  });

  it('are all found, in whatever order others were dropped', () => {
    const file = sharedPages(16).addFile(KEY);
    const chance = seededChance(9);
    const kept = new Set<number>();
    for (let round = 0; round < 300; round += 1) {
      const block = Math.floor(chance() * 12);
      const range = span(block * BLOCK_BYTES, block * BLOCK_BYTES + G);
      if (kept.delete(block)) file.dropClean(range);
      else {
        file.fill(range, undefined, []);
        kept.add(block);
      }
      const found = file.clean(span(0, 2 ** 40)).map(({ fromBytes }) => fromBytes / BLOCK_BYTES);
      expect(found).toEqual([...kept].sort((left, right) => left - right));
    }
  });

  it('of many files, of which most have no slot, are kept apart', () => {
    const pages = sharedPages(16, { slots: 2 });
    const files = Array.from({ length: 200 }, (_, at) => pages.addFile(Uint8Array.of(at, 1)));
    for (const [at, file] of files.entries()) file.write(0, new Uint8Array(G).fill(at));
    for (const file of files.slice(50, 100)) file.remove();
    files.splice(50, 50, ...Array.from({ length: 50 }, (_, at) => pages.addFile(Uint8Array.of(at, 2))));
    for (const [at, file] of files.entries()) {
      const into = new Uint8Array(G);
      const isNew = at >= 50 && at < 100;
      expect(file.read(0, into)).toBe(isNew ? 0 : G);
      expect(isNew || into.every(byte => byte === at)).toBe(true);
    }
  });
});
