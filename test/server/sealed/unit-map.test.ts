/** Extent maps against a plain map: any updates, any size, sparse to the end. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../../src/base/chance.ts';
import { randomId } from '../../../src/base/ids.ts';
import { MemoryStore } from '../../../src/server/memory-store.ts';
import type { MapRoot } from '../../../src/server/sealed/inode.ts';
import { depthFor } from '../../../src/server/sealed/map-format.ts';
import { NodeCache } from '../../../src/server/sealed/node-cache.ts';
import type { Pointer } from '../../../src/server/sealed/pointer.ts';
import { SegmentWriter } from '../../../src/server/sealed/segment-writer.ts';
import { EMPTY_MAP, UnitMap } from '../../../src/server/sealed/unit-map.ts';
import { SEARCH_MS, SEED } from '../../support/soak.ts';
import { openSealing, type TestSealing } from './support.ts';

let open: TestSealing;
const store = new MemoryStore();

beforeAll(async () => {
  open = await openSealing(store);
});
afterAll(() => open.close());

function pointerOf(number: number): Pointer {
  const tag = new Uint8Array(16);
  new DataView(tag.buffer).setFloat64(0, number);
  return {
    segment: (number % 3).toString(16).padStart(32, '0'),
    offsetBytes: (number * 100) % 1e9,
    lengthBytes: 72 + (number % 5000),
    tag,
  };
}

/** Indexes that lie near each other, near powers, or anywhere. */
function randomIndex(chance: Chance, limit: number): number {
  const kind = chance();
  if (kind < 0.4) return Math.floor(chance() * Math.min(limit, 3000));
  if (kind < 0.7)
    return Math.min(
      limit - 1,
      Math.max(0, Math.floor(2 ** (chance() * Math.log2(limit))) + Math.floor(chance() * 3) - 1),
    );
  return Math.floor(chance() * limit);
}

class Checked {
  readonly id = randomId();
  readonly segments = new SegmentWriter(open.sealing);
  readonly model = new Map<number, Pointer>();
  root: MapRoot = EMPTY_MAP;
  unitCount = 0;
  bytes = 0;

  map(): UnitMap {
    return new UnitMap(open.sealing, this.id, new NodeCache());
  }

  async update(changes: ReadonlyMap<number, Pointer | undefined>): Promise<void> {
    for (const index of changes.keys()) this.unitCount = Math.max(this.unitCount, index + 1);
    const update = await this.map().update(this.root, changes, this.unitCount, this.segments);
    for (const [index, pointer] of changes) {
      if (pointer === undefined) this.model.delete(index);
      else this.model.set(index, pointer);
    }
    await this.#adopt(update);
    expect(this.root.depth).toBeGreaterThanOrEqual(depthFor(this.unitCount));
  }

  async truncate(unitCount: number): Promise<void> {
    const update = await this.map().truncate(this.root, unitCount, this.segments);
    for (const index of [...this.model.keys()]) if (index >= unitCount) this.model.delete(index);
    this.unitCount = Math.min(this.unitCount, unitCount);
    await this.#adopt(update);
  }

  async #adopt(update: { root: MapRoot; addedBytes: number; segments: ReadonlySet<string> }): Promise<void> {
    this.root = update.root;
    this.bytes += update.addedBytes;
    await this.segments.flush();
    for (const segment of update.segments) await store.stat(`s/${segment}`);
    await this.check();
  }

  async check(): Promise<void> {
    const seen = new Map<number, Pointer>();
    let last = -1;
    for await (const part of this.map().walk(this.root, 0, 2 ** 41)) {
      if ('error' in part) throw part.error;
      for (const { index, pointer } of part.units) {
        expect(index).toBeGreaterThan(last);
        last = index;
        seen.set(index, pointer);
      }
    }
    expect(seen).toEqual(new Map([...this.model].sort(([left], [right]) => left - right)));
    const total = [...this.model.values()].reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    expect(this.bytes).toBe(total);
  }
}

/** Random batches and cuts of one map, of a size that is chosen first. */
async function searchRound(chance: Chance): Promise<void> {
  const checked = new Checked();
  const limit = 2 ** (4 + Math.floor(chance() * 38));
  for (let batch = 0; batch < 10; batch += 1) {
    if (chance() < 0.25) {
      await checked.truncate(chance() < 0.2 ? 0 : randomIndex(chance, Math.max(1, checked.unitCount)));
      continue;
    }
    const changes = new Map<number, Pointer | undefined>();
    const isRun = chance() < 0.3;
    const from = randomIndex(chance, limit);
    const count = Math.floor(chance() ** 2 * 60) + 1;
    for (let change = 0; change < count; change += 1) {
      const index = isRun ? Math.min(limit - 1, from + change) : randomIndex(chance, limit);
      changes.set(index, chance() < 0.3 ? undefined : pointerOf(batch * 1000 + change));
    }
    await checked.update(changes);
  }
  for (let look = 0; look < 10; look += 1) {
    const from = randomIndex(chance, limit);
    const found = await checked.map().lookup(checked.root, from, from + 20);
    expect(found).toEqual(Array.from({ length: 20 }, (_, at) => checked.model.get(from + at)));
  }
}

describe('an extent map', () => {
  it('is a map of units, grown, cut and sparse, and counts the bytes that it holds', async () => {
    const endMs = performance.now() + 5 * SEARCH_MS;
    for (let round = 0; round < 4 || performance.now() < endMs; round += 1) {
      await searchRound(seededChance(SEED + round));
    }
  });

  it('deepens step by step, and keeps what was there', async () => {
    const checked = new Checked();
    const indexes = [
      0,
      255,
      256,
      1023,
      1024,
      2 ** 18 - 1,
      2 ** 18,
      2 ** 28 - 1,
      2 ** 28,
      2 ** 38,
      2 ** 41 - 1,
    ];
    const depths: number[] = [];
    for (const [at, index] of indexes.entries()) {
      await checked.update(new Map([[index, pointerOf(at + 1)]]));
      depths.push(checked.root.depth);
    }
    expect(depths).toEqual([0, 0, 1, 1, 1, 1, 2, 2, 3, 4, 4]);
    await checked.truncate(2 ** 28);
    await checked.truncate(257);
    await checked.truncate(0);
    expect(checked.root.slots).toEqual([]);
    await checked.update(new Map([[2 ** 41 - 1, pointerOf(9)]]));
  });

  it('deepens when only its size grows', async () => {
    const checked = new Checked();
    await checked.update(new Map([[3, pointerOf(1)]]));
    checked.unitCount = 2 ** 30;
    await checked.update(new Map([[7, undefined]]));
    expect(checked.root.depth).toBe(3);
  });

  it('writes a page a level for one unit', async () => {
    const checked = new Checked();
    const all = new Map(Array.from({ length: 5000 }, (_, at) => [at * 1000, pointerOf(at)]));
    await checked.update(all);
    const before = await store.list({ prefix: 's/', limit: 100_000 });
    const writer = new SegmentWriter(open.sealing);
    const { segments } = await checked
      .map()
      .update(checked.root, new Map([[12, pointerOf(77)]]), checked.unitCount, writer);
    await writer.flush();
    expect(segments.size).toBe(1);
    const after = await store.list({ prefix: 's/', limit: 100_000 });
    expect(after.entries.length - before.entries.length).toBe(1);
  });

  it('tells which units a lost page takes with it, and finds all others', async () => {
    const checked = new Checked();
    await checked.update(new Map(Array.from({ length: 3 * 1024 }, (_, at) => [at, pointerOf(at)])));
    const lost = checked.root.slots[1]?.pointer;
    if (lost === undefined) throw new Error('no page');
    const key = `s/${lost.segment}`;
    const object = Buffer.from((await store.get(key)).bytes);
    const at = lost.offsetBytes + 60;
    object[at] = (object[at] ?? 0) ^ 4;
    await store.put(key, [object]);
    const found = await checked.map().lookup(checked.root, 1000, 2100);
    for (const [offset, mapped] of found.entries()) {
      const index = 1000 + offset;
      if (index >= 1024 && index < 2048) expect(mapped).toMatchObject({ code: 'EAUTH' });
      else expect(mapped).toEqual(checked.model.get(index));
    }
  });
});
