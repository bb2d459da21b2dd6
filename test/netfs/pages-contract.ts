/** What every page cache must do. */
import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../src/base/bytes.ts';
import { codeOf } from '../../src/base/errors.ts';
import { GRANULE_BYTES, type PageCache } from '../../src/netfs/pages/pages.ts';
import { BLOCK_BYTES } from './pages-model.ts';

const KEY = Uint8Array.of(1, 2, 3);
const G = GRANULE_BYTES;

function bytesOf(length: number, first = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (first + at * 7 + (at >>> 8)) & 0xff);
}

function span(fromBytes: number, toBytes: number): { fromBytes: number; toBytes: number } {
  return { fromBytes, toBytes };
}

/** As `toEqual`, which takes long for many bytes. */
function expectSame(bytes: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(bytes, expected) !== 0) expect(bytes).toEqual(expected);
  expect(bytes.byteLength).toBe(expected.byteLength);
}

function readAll(
  pages: { read(at: number, into: Uint8Array): number },
  at: number,
  length: number,
): Uint8Array {
  const into = new Uint8Array(length);
  return into.subarray(0, pages.read(at, into));
}

/** @param make makes a cache whose pages have at least `blocks` times 64 KiB, and little more. */
export function describePages(name: string, make: (blocks: number) => PageCache): void {
  describe(name, () => {
    it('gives back what was written, at any offset', () => {
      const pages = make(8).addFile(KEY);
      for (const [at, length] of [
        [0, 1],
        [5, G],
        [3 * G, 2 * G],
        [BLOCK_BYTES - 10, 20],
        [2 * BLOCK_BYTES + 7, BLOCK_BYTES],
        [2 ** 40, 3 * G],
      ] as const) {
        const bytes = bytesOf(length, at & 0xff);
        expect(pages.write(at, bytes)).toBe(length);
        const into = new Uint8Array(length);
        pages.copyOut(at, into);
        expectSame(into, bytes);
      }
    });

    it('S17, S19: a granule written in part cannot be read before it is completed, and keeps its spans', () => {
      const pages = make(4).addFile(KEY);
      pages.write(100, bytesOf(50));
      pages.write(1000, bytesOf(60));
      expect(readAll(pages, 100, 50).byteLength).toBe(0);
      expect(pages.missing(span(100, 150))).toEqual([span(100, 150)]);
      expect(pages.isUptodate(span(0, 1))).toBe(false);
      const base = bytesOf(G, 99);
      pages.fill(span(0, G), base, [span(100, 150), span(1000, 1060)]);
      base.set(bytesOf(50), 100);
      base.set(bytesOf(60), 1000);
      expectSame(readAll(pages, 0, 2 * G), base);
      // It is still held.
      expect(pages.clean(span(0, G))).toEqual([]);
    });

    it('S16: a granule written whole can be read at once', () => {
      const pages = make(4).addFile(KEY);
      pages.write(G - 5, bytesOf(G + 10));
      expect(pages.missing(span(0, 3 * G))).toEqual([span(0, G), span(2 * G, 3 * G)]);
      expectSame(readAll(pages, G, 3 * G), bytesOf(G + 10).subarray(5, 5 + G));
    });

    it('S18: two writes that fill a granule make it uptodate without a read', () => {
      const pages = make(4).addFile(KEY);
      pages.write(0, bytesOf(1000));
      pages.write(1000, bytesOf(G - 1000, 5));
      expect(pages.isUptodate(span(0, G))).toBe(false);
      pages.markUptodate(span(0, G - 1));
      expect(pages.isUptodate(span(0, G))).toBe(false);
      pages.markUptodate(span(0, G));
      expect(pages.isUptodate(span(0, G))).toBe(true);
      expectSame(
        readAll(pages, 900, 200),
        concatBytes(bytesOf(1000).subarray(900), bytesOf(G - 1000, 5).subarray(0, 100)),
      );
    });

    it('S14: bytes to fill with go to absent granules only, and zeros follow them', () => {
      const pages = make(4).addFile(KEY);
      pages.write(G, bytesOf(G, 3));
      pages.fill(span(1, 4 * G), bytesOf(2.5 * G, 50), []);
      expect(pages.missing(span(0, 5 * G))).toEqual([span(0, G), span(4 * G, 5 * G)]);
      const expected = new Uint8Array(3 * G);
      expected.set(bytesOf(2.5 * G, 50).subarray(G - 1));
      expected.set(bytesOf(G, 3));
      // From byte 1 + 2.5 granules on there was nothing to fill with.
      expected.fill(0, 1.5 * G + 1);
      expectSame(readAll(pages, G, 4 * G), expected);
      expect(pages.clean(span(0, 5 * G))).toEqual([span(2 * G, 4 * G)]);
    });

    it('fills with zeros when it is given nothing', () => {
      const cache = make(2);
      const other = cache.addFile(Uint8Array.of(9));
      other.write(0, bytesOf(2 * BLOCK_BYTES));
      other.remove();
      const pages = cache.addFile(KEY);
      pages.fill(span(0, BLOCK_BYTES), undefined, []);
      expectSame(readAll(pages, 0, BLOCK_BYTES), new Uint8Array(BLOCK_BYTES));
    });

    it('a partial granule that is released is gone; one that is uptodate stays', () => {
      const cache = make(4);
      const pages = cache.addFile(KEY);
      pages.write(0, bytesOf(G + 5));
      pages.release(span(0, 2 * G));
      expect(pages.missing(span(0, 2 * G))).toEqual([span(G, 2 * G)]);
      expect(pages.clean(span(10, 2 * G))).toEqual([span(10, G)]);
      expect(() => pages.copyOut(G, new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'EBUG' }));
      pages.dropClean(span(0, 2 * G));
      expect(cache.use.usedBytes).toBe(0);
    });

    it('drops what is not held', () => {
      const pages = make(4).addFile(KEY);
      pages.write(0, bytesOf(G));
      pages.fill(span(G, 2 * G), bytesOf(G), []);
      pages.dropClean(span(0, 8 * G));
      expect(pages.missing(span(0, 2 * G))).toEqual([span(G, 2 * G)]);
      pages.release(span(0, 1));
      pages.dropClean(span(G - 1, G));
      expect(pages.missing(span(0, 2 * G))).toEqual([span(0, 2 * G)]);
    });

    it('S7, S59: bytes that were cut off never come back', () => {
      const pages = make(4).addFile(KEY);
      pages.write(0, bytesOf(3 * G));
      pages.write(5 * BLOCK_BYTES, bytesOf(10));
      pages.truncate(G + 100);
      expect(pages.missing(span(0, 6 * BLOCK_BYTES))).toEqual([span(2 * G, 6 * BLOCK_BYTES)]);
      const expected = new Uint8Array(2 * G);
      expected.set(bytesOf(G + 100));
      expectSame(readAll(pages, 0, 3 * G), expected);
      pages.truncate(G);
      expectSame(readAll(pages, 0, 3 * G), bytesOf(G));
      pages.truncate(0);
      expect(pages.missing(span(0, G))).toEqual([span(0, G)]);
    });

    it('evicts what is not held, and nothing else', () => {
      const cache = make(4);
      const pages = cache.addFile(KEY);
      const { budgetBytes } = cache.use;
      pages.write(0, bytesOf(G));
      const far = 100 * budgetBytes;
      pages.write(far, bytesOf(BLOCK_BYTES, 5));
      for (let at = BLOCK_BYTES; at < 4 * budgetBytes; at += BLOCK_BYTES) {
        pages.fill(span(at, at + BLOCK_BYTES), bytesOf(BLOCK_BYTES, at / BLOCK_BYTES), []);
        expectSame(readAll(pages, at, BLOCK_BYTES), bytesOf(BLOCK_BYTES, at / BLOCK_BYTES));
      }
      expectSame(readAll(pages, 0, G), bytesOf(G));
      expectSame(readAll(pages, far, BLOCK_BYTES), bytesOf(BLOCK_BYTES, 5));
      const cleanBytes = pages
        .clean(span(0, 4 * budgetBytes))
        .reduce((sum, each) => sum + each.toBytes - each.fromBytes, 0);
      expect(cleanBytes).toBeGreaterThanOrEqual(budgetBytes / 4);
      expect(cleanBytes).toBeLessThan(budgetBytes);
    });

    it('writes short when everything is held, and goes on when something was released', async () => {
      const cache = make(4);
      const pages = cache.addFile(KEY);
      const { budgetBytes } = cache.use;
      expect(budgetBytes).toBeGreaterThanOrEqual(4 * BLOCK_BYTES);
      const bytes = bytesOf(budgetBytes + 10);
      expect(pages.write(0, bytes)).toBe(budgetBytes);
      expect(cache.use).toEqual({ budgetBytes, usedBytes: budgetBytes, heldBytes: budgetBytes });
      expect(pages.write(budgetBytes, bytes)).toBe(0);
      expect(cache.reserve(1)).toBeUndefined();
      pages.fill(span(budgetBytes, budgetBytes + G), bytes.subarray(0, G), []);
      expect(pages.isUptodate(span(budgetBytes, budgetBytes + G))).toBe(false);
      expectSame(readAll(pages, 0, budgetBytes), bytes.subarray(0, budgetBytes));

      const order: number[] = [];
      const first = cache.waitForRoom().then(() => order.push(1));
      const second = cache.waitForRoom().then(() => order.push(2));
      await new Promise(resolve => setImmediate(resolve));
      expect(order).toEqual([]);
      pages.release(span(0, budgetBytes));
      await Promise.all([first, second]);
      expect(order).toEqual([1, 2]);
      expect(pages.write(budgetBytes, bytes.subarray(budgetBytes))).toBe(10);
    });

    it('a partial granule is completed though there is no memory for the one before it', () => {
      const cache = make(2);
      const pages = cache.addFile(KEY);
      const { budgetBytes } = cache.use;
      const written = bytesOf(budgetBytes - 5);
      expect(pages.write(BLOCK_BYTES + 5, written)).toBe(written.byteLength);
      const base = bytesOf(2 * G, 9);
      pages.fill(span(BLOCK_BYTES - G, BLOCK_BYTES + G), base, [
        span(BLOCK_BYTES + 5, BLOCK_BYTES + budgetBytes),
      ]);
      expect(pages.missing(span(BLOCK_BYTES - G, BLOCK_BYTES + G))).toEqual([
        span(BLOCK_BYTES - G, BLOCK_BYTES),
      ]);
      const expected = base.subarray(G);
      expected.set(written.subarray(0, G - 5), 5);
      expectSame(readAll(pages, BLOCK_BYTES, G), expected);
    });

    it('waiting ends by signal and by close', async () => {
      const cache = make(1);
      const pages = cache.addFile(KEY);
      pages.write(0, bytesOf(cache.use.budgetBytes));
      const waiting = cache.waitForRoom().catch(codeOf);
      const reason = new Error('enough');
      const stopped = cache.waitForRoom({ signal: AbortSignal.abort(reason) });
      await expect(stopped).rejects.toBe(reason);
      cache.close();
      expect(await waiting).toBe('ECLOSED');
      await expect(cache.waitForRoom()).rejects.toMatchObject({ code: 'ECLOSED' });
      expect(() => cache.addFile(KEY)).toThrow(expect.objectContaining({ code: 'ECLOSED' }));
      expect(() => cache.reserve(1)).toThrow(expect.objectContaining({ code: 'ECLOSED' }));
    });

    it('a file that is removed leaves nothing behind', () => {
      const cache = make(4);
      const [left, right] = [cache.addFile(KEY), cache.addFile(Uint8Array.of(2))];
      left.write(0, bytesOf(BLOCK_BYTES));
      right.write(0, bytesOf(G, 44));
      left.remove();
      const again = cache.addFile(KEY);
      expect(again.missing(span(0, G))).toEqual([span(0, G)]);
      expectSame(readAll(right, 0, G), bytesOf(G, 44));
      right.remove();
      expect(cache.use).toMatchObject({ usedBytes: 0, heldBytes: 0 });
    });

    it('memory that is being filled is seen by nobody before it is inserted', () => {
      const cache = make(8);
      const pages = cache.addFile(KEY);
      const filling = cache.reserve(3 * BLOCK_BYTES - G)!;
      expect(cache.use.usedBytes).toBeGreaterThanOrEqual(3 * BLOCK_BYTES - G);
      expect(cache.use.heldBytes).toBe(0);
      // A block that is there in part, by small writes and by a large one.
      pages.write(BLOCK_BYTES + 10, bytesOf(20));
      pages.write(BLOCK_BYTES + 5 * G, bytesOf(G, 7));
      pages.write(2 * BLOCK_BYTES, bytesOf(12 * G + 9, 8));
      const expected = bytesOf(3 * BLOCK_BYTES - G, 21);
      let at = 0;
      for (const part of filling.parts) {
        part.set(expected.subarray(at, at + part.byteLength));
        at += part.byteLength;
      }
      expect(at).toBe(filling.lengthBytes);
      expect(pages.isUptodate(span(0, 1))).toBe(false);
      expect(() => pages.insert(G, filling, [])).toThrow(expect.objectContaining({ code: 'EBUG' }));
      pages.insert(0, filling, [
        span(BLOCK_BYTES + 10, BLOCK_BYTES + 30),
        span(BLOCK_BYTES + 5 * G, BLOCK_BYTES + 6 * G),
        span(2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 12 * G + 9),
      ]);
      expected.set(bytesOf(20), BLOCK_BYTES + 10);
      expected.set(bytesOf(G, 7), BLOCK_BYTES + 5 * G);
      expected.set(bytesOf(12 * G + 9, 8), 2 * BLOCK_BYTES);
      expectSame(readAll(pages, 0, 3 * BLOCK_BYTES), expected);
      filling.release();
      expect(() => pages.insert(0, filling, [])).toThrow(expect.objectContaining({ code: 'EBUG' }));
      expectSame(readAll(pages, 0, 3 * BLOCK_BYTES), expected);
    });

    it('memory that is being filled is not evicted, and counts', async () => {
      const cache = make(2);
      const pages = cache.addFile(KEY);
      const { budgetBytes } = cache.use;
      pages.fill(span(0, budgetBytes), bytesOf(budgetBytes), []);
      const filling = cache.reserve(budgetBytes)!;
      expect(pages.missing(span(0, budgetBytes))).toEqual([span(0, budgetBytes)]);
      expect(pages.write(0, bytesOf(1))).toBe(0);
      const waiting = cache.waitForRoom();
      filling.release();
      filling.release();
      await waiting;
      expect(cache.use.usedBytes).toBe(0);
      expect(pages.write(0, bytesOf(1))).toBe(1);
    });
  });
}
