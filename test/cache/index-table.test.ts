import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import {
  BUCKET_ENTRIES,
  clearEntry,
  countHit,
  createTable,
  ENTRY_DIRTY,
  ENTRY_PINNED,
  type Entry,
  entryAt,
  type Fingerprint,
  findEntry,
  HITS_MAX,
  placeFor,
  readEntry,
  usedEntries,
  writeEntry,
} from '../../src/cache/index/index-table.ts';

const ALIVE = (): boolean => false;

function entryOf(number: number, more: Partial<Entry> = {}): Entry {
  return {
    zoneId: number + 1,
    offsetBytes: 64 * number,
    lengthBytes: 100 + number,
    tagLow: number,
    tagHigh: number * 7,
    hits: 0,
    flags: 0,
    volumeNumber: 5,
    ...more,
  };
}

/** Fingerprints that share both buckets. */
function rivals(count: number): Fingerprint[] {
  return Array.from({ length: count }, (_, third) => ({ first: 0, second: 2 ** 32 - 1, third, fourth: 9 }));
}

describe('an entry', () => {
  it('reads as it was written, however often its version goes round', () => {
    const table = createTable(100);
    const [fingerprint] = rivals(1);
    const at = placeFor(table, fingerprint!, ALIVE);
    for (let round = 0; round < 2 ** 19 + 10; round += 1)
      writeEntry(table, at, fingerprint!, entryOf(round % 50, { volumeNumber: 4095 }));
    const last = entryOf((2 ** 19 + 9) % 50, { volumeNumber: 4095 });
    expect(entryAt(table, at)).toEqual(last);
    expect(readEntry(table, at, fingerprint!)).toEqual(last);
    expect(readEntry(table, at, { ...fingerprint!, third: 77 })).toBeUndefined();
  });

  it('takes the largest of everything, and hits up to three', () => {
    const table = createTable(100);
    const [fingerprint] = rivals(1);
    const at = placeFor(table, fingerprint!, ALIVE);
    const most = {
      zoneId: 0xffff_ffff,
      offsetBytes: 64 * 0xffff_ffff,
      lengthBytes: 2 ** 25 - 1,
      tagLow: 0xffff_ffff,
      tagHigh: 0xffff_ffff,
      flags: ENTRY_DIRTY | ENTRY_PINNED,
      volumeNumber: 4095,
    };
    writeEntry(table, at, fingerprint!, { ...most, hits: 0 });
    for (let hits = 0; hits < 6; hits += 1) countHit(table, at);
    expect(entryAt(table, at)).toEqual({ ...most, hits: HITS_MAX });
  });

  it('that is hit after it was freed is free still, and the next one in it starts anew', () => {
    const table = createTable(100);
    const [fingerprint] = rivals(1);
    const at = placeFor(table, fingerprint!, ALIVE);
    writeEntry(table, at, fingerprint!, entryOf(1));
    clearEntry(table, at);
    countHit(table, at);
    expect(findEntry(table, fingerprint!)).toBe(-1);
    expect(readEntry(table, at, fingerprint!)).toBeUndefined();
    expect([...usedEntries(table)]).toEqual([]);
    writeEntry(table, at, fingerprint!, entryOf(2));
    expect(entryAt(table, at)).toEqual(entryOf(2));
  });

  it('is never seen half written, nor with the words of two, by another thread', async () => {
    const table = createTable(100);
    const at = 64;
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(new URL('fixtures/entry-writer.ts', import.meta.url), {
      workerData: { table, at, stop },
    });
    const fingerprint = { first: 1, second: 2, third: 3, fourth: 4 };
    const seen = new Set<number>();
    const endMs = performance.now() + 5000;
    while (seen.size < 2000 && performance.now() < endMs) {
      for (let reads = 0; reads < 1000; reads += 1) {
        const entry = readEntry(table, at, fingerprint);
        countHit(table, at);
        if (entry === undefined) continue;
        const number = entry.zoneId;
        const isWhole =
          entry.tagLow === number &&
          entry.tagHigh === ~number >>> 0 &&
          entry.offsetBytes === 64 * number &&
          entry.lengthBytes === number &&
          entry.flags === number % 4 &&
          entry.volumeNumber === number % 4096;
        if (!isWhole) expect(entry).toBe('whole');
        seen.add(number);
      }
      await new Promise(resolve => setImmediate(resolve));
    }
    Atomics.store(stop, 0, 1);
    await worker.terminate();
    expect(seen.size).toBeGreaterThan(20);
  });
});

describe('places', () => {
  it('are taken from what is free, then dead, then hit least; never from what is pinned or dirty', () => {
    const table = createTable(100);
    const all = rivals(2 * BUCKET_ENTRIES + 1);
    const last = all.pop()!;
    for (const [at, fingerprint] of all.entries()) {
      const place = placeFor(table, fingerprint, ALIVE);
      expect(table.words[place + 4]).toBe(0);
      const flags = at % 2 === 0 ? ENTRY_PINNED : ENTRY_DIRTY;
      writeEntry(table, place, fingerprint, entryOf(at, { flags, hits: 2 }));
    }
    expect(placeFor(table, last, ALIVE)).toBe(-1);
    expect(placeFor(table, all[3]!, ALIVE)).toBe(findEntry(table, all[3]!));
    // An entry of a dead zone.
    expect(placeFor(table, last, zoneId => zoneId === 6)).toBe(findEntry(table, all[5]!));
    // A clean entry, then the entry with fewer hits.
    writeEntry(table, findEntry(table, all[7]!), all[7]!, entryOf(7, { hits: 3 }));
    expect(placeFor(table, last, ALIVE)).toBe(findEntry(table, all[7]!));
    writeEntry(table, findEntry(table, all[8]!), all[8]!, entryOf(8, { hits: 1 }));
    expect(placeFor(table, last, ALIVE)).toBe(findEntry(table, all[8]!));
  });

  it('of many units that come and go are those of a map', () => {
    const chance = seededChance(4);
    const table = createTable(600);
    const known = new Map<number, Entry>();
    const fingerprintAt = (number: number): Fingerprint => ({
      first: Math.imul(number + 1, 2654435761) >>> 0,
      second: Math.imul(number + 1, 40503 * 65537) >>> 0,
      third: number,
      fourth: number ^ 0x5555,
    });
    for (let step = 0; step < 40_000; step += 1) {
      const number = Math.floor(chance() * 550);
      const fingerprint = fingerprintAt(number);
      if (chance() < 0.6) {
        const at = placeFor(table, fingerprint, ALIVE);
        const isFree = table.words[at + 4] === 0 || table.words[at] === number;
        if (!isFree) known.delete(table.words[at]!);
        const entry = entryOf(step % 10_000);
        writeEntry(table, at, fingerprint, entry);
        known.set(number, entry);
      } else {
        const at = findEntry(table, fingerprint);
        expect(at >= 0).toBe(known.has(number));
        if (at >= 0) clearEntry(table, at);
        known.delete(number);
      }
    }
    for (const [number, entry] of known)
      expect(entryAt(table, findEntry(table, fingerprintAt(number)))).toEqual(entry);
    expect([...usedEntries(table)]).toHaveLength(known.size);
  });
});
