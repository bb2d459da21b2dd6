/**
 * Random operations on a cache and on plain maps, over files that fail. Whatever happens:
 *
 * - A unit that is served is what was stored for that place with that tag.
 * - Acknowledged dirty units are there.
 * - A cache that stepped aside comes back.
 */
import { rmSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { isNetsealError } from '../../src/base/errors.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { FaultyFiles, NO_FAULTS } from './faulty-files.ts';
import { collect, idOf, KIB, newFolder, RAW_KEY, tagOf, unitOf } from './support.ts';

const SOAK_MS = soakSize(1_500, 60_000);
const VOLUMES = [idOf(1), idOf(2)];
const OBJECTS = [idOf(10), idOf(11), idOf(12)];
const INDEXES = 24;
const SETTINGS = {
  budgetBytes: 256 * KIB,
  zoneBytes: 8 * KIB,
  maintenanceMs: 0,
  snapshotZones: 3,
  unitsMax: 100,
};

interface Unit {
  readonly volume: number;
  readonly object: number;
  readonly index: number;
  readonly version: number;
}

function bytesOf({ volume, object, index, version }: Unit): Uint8Array {
  const seed = ((volume * 3 + object) * INDEXES + index) * 4 + version;
  return unitOf(seed + 1, 72 + ((seed * 577) % 3000));
}

const unit = fc.record({
  volume: fc.nat(VOLUMES.length - 1),
  object: fc.nat(OBJECTS.length - 1),
  index: fc.nat(INDEXES - 1),
  version: fc.nat(3),
});
const units = fc.array(unit, { minLength: 1, maxLength: 6 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constant('put' as const), units }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('offer' as const), units }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('get' as const), units }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('dirty' as const), units }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('release' as const), which: fc.nat(10) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('invalidate' as const), unit, whole: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('pin' as const), unit, on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('maintain' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('snapshot' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reopen' as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('power' as const), losesDatabase: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('faults' as const), rate: fc.constantFrom(0, 0, 0.02, 0.2) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('break' as const), code: fc.constantFrom('ENOENT', 'EROFS') }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('clock' as const), byMs: fc.integer({ min: -1e9, max: 1e9 }) }),
  },
);
/** Sequences of operations that once found a fault. */
const EXAMPLES: [number, Step[]][] = [
  // The newer of two dirty versions is released first.
  [
    0,
    [
      { type: 'dirty', units: [{ volume: 0, object: 0, index: 1, version: 1 }] },
      { type: 'dirty', units: [{ volume: 0, object: 0, index: 1, version: 2 }] },
      { type: 'release', which: 1 },
      { type: 'put', units: [{ volume: 0, object: 0, index: 1, version: 3 }] },
      { type: 'get', units: [{ volume: 0, object: 0, index: 1, version: 1 }] },
    ],
  ],
  // The same in one batch, twice, and in zones that are read in any order.
  [
    1,
    [
      {
        type: 'dirty',
        units: [
          { volume: 1, object: 1, index: 20, version: 0 },
          { volume: 1, object: 1, index: 20, version: 1 },
        ],
      },
      { type: 'reopen' },
      { type: 'dirty', units: [{ volume: 1, object: 1, index: 20, version: 2 }] },
      { type: 'reopen' },
      { type: 'dirty', units: [{ volume: 1, object: 1, index: 20, version: 3 }] },
      { type: 'reopen' },
      { type: 'release', which: 2 },
      { type: 'reopen' },
      { type: 'get', units: [{ volume: 1, object: 1, index: 20, version: 2 }] },
    ],
  ],
];

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

class Run {
  readonly #folder = newFolder();
  #files: FaultyFiles;
  #cache!: Cache;
  #nowMs = 1e12;
  /** Batches that were acknowledged and not released. */
  readonly #dirty = new Map<number, Unit[]>();
  /** The latest dirty version, by place. */
  hits = 0;

  constructor(seed: number) {
    this.#files = new FaultyFiles(this.#folder, seededChance(seed));
  }

  async open(): Promise<void> {
    const { rates, broken } = this.#files;
    this.#files.rates = NO_FAULTS;
    this.#files.broken = undefined;
    this.#cache = await openCache(this.#folder, SETTINGS, {
      key: RAW_KEY,
      files: this.#files,
      nowMs: () => this.#nowMs,
    });
    await this.#checkDirty();
    this.#files.rates = rates;
    this.#files.broken = broken;
  }

  async step(what: Step): Promise<void> {
    const cache = this.#cache;
    switch (what.type) {
      case 'put':
        for (const [volume, list] of this.#byVolume(what.units)) await cache.volume(volume).put(list);
        return;
      case 'offer':
        for (const [volume, list] of this.#byVolume(what.units)) cache.volume(volume).offer(list);
        return;
      case 'get':
        await this.#get(what.units);
        return;
      case 'dirty':
        await this.#appendDirty(what.units);
        return;
      case 'release':
        await this.#release(what.which);
        return;
      case 'invalidate': {
        const volume = cache.volume(VOLUMES[what.unit.volume]!);
        const objectId = OBJECTS[what.unit.object]!;
        volume.invalidate(objectId, what.whole ? {} : { from: what.unit.index, to: what.unit.index + 3 });
        return;
      }
      case 'pin': {
        const volume = cache.volume(VOLUMES[what.unit.volume]!);
        if (what.on) volume.pin(OBJECTS[what.unit.object]!, { unitCount: INDEXES });
        else volume.unpin(OBJECTS[what.unit.object]!);
        return;
      }
      case 'maintain':
        this.#nowMs += 1100;
        await cache.maintain();
        return;
      case 'snapshot':
        await cache.flush();
        return;
      case 'reopen':
        await this.#reopen();
        return;
      case 'power':
        await this.#powerCut(what.losesDatabase);
        return;
      case 'faults':
        this.#files.rates = { EIO: what.rate, ENOSPC: what.rate, short: 4 * what.rate };
        this.#files.broken = undefined;
        return;
      case 'break':
        this.#files.broken = what.code;
        return;
      case 'clock':
        this.#nowMs += what.byMs;
    }
  }

  /** Everything that must hold in the end: faults are over, and it goes on. */
  async finish(): Promise<void> {
    this.#files.rates = NO_FAULTS;
    this.#files.broken = undefined;
    // The first time something of before may be under way yet, and fail.
    for (let tries = 0; tries < 2; tries += 1) {
      this.#nowMs += 120_000;
      await this.#cache.maintain();
    }
    expect(this.#cache.statistics.state).toBe('ready');
    await this.#checkDirty();
    const place = { volume: 0, object: 0, index: INDEXES + 5, version: 1 };
    const bytes = bytesOf(place);
    const volume = this.#cache.volume(idOf(3));
    expect(await volume.put([{ objectId: OBJECTS[0]!, index: 1, bytes }])).toBe(1);
    expect(volume.has({ objectId: OBJECTS[0]!, index: 1, expectedTag: tagOf(bytes) })).toBe(true);
    const { bytes: usedBytes, dirtyBytes } = this.#cache.statistics;
    expect(usedBytes - dirtyBytes).toBeLessThan(2 * SETTINGS.budgetBytes);
    await this.#cache.close();
  }

  #byVolume(
    list: readonly Unit[],
  ): [Uint8Array, { objectId: Uint8Array; index: number; bytes: Uint8Array }[]][] {
    return VOLUMES.map((id, volume) => [
      id,
      list
        .filter(each => each.volume === volume)
        .map(each => ({ objectId: OBJECTS[each.object]!, index: each.index, bytes: bytesOf(each) })),
    ]);
  }

  async #get(list: readonly Unit[]): Promise<void> {
    for (const each of list) {
      const bytes = bytesOf(each);
      const into = new Uint8Array(bytes.byteLength);
      const request = { objectId: OBJECTS[each.object]!, index: each.index, expectedTag: tagOf(bytes), into };
      const [lengthBytes] = await this.#cache.volume(VOLUMES[each.volume]!).get([request]);
      if (lengthBytes === 0) continue;
      this.hits += 1;
      expect(lengthBytes).toBe(bytes.byteLength);
      expect(isInnerWhole(into, bytes)).toBe(true);
    }
  }

  async #appendDirty(list: readonly Unit[]): Promise<void> {
    const batch = list.map(each => ({
      volumeId: VOLUMES[each.volume]!,
      objectId: OBJECTS[each.object]!,
      index: each.index,
      bytes: bytesOf(each),
    }));
    try {
      const id = await this.#cache.appendDirty({ units: batch, payload: Buffer.from(JSON.stringify(list)) });
      expect(this.#dirty.has(id)).toBe(false);
      this.#dirty.set(id, [...list]);
    } catch (error) {
      expect(isNetsealError(error) && ['EIO', 'EFULL', 'EDENIED'].includes(error.code), String(error)).toBe(
        true,
      );
    }
  }

  async #release(which: number): Promise<void> {
    const id = [...this.#dirty.keys()][which % Math.max(1, this.#dirty.size)];
    if (id === undefined) return;
    this.#dirty.delete(id);
    await this.#cache.releaseDirty([id]);
  }

  /** No fault is made meanwhile. */
  async #checkDirty(): Promise<void> {
    const listed = new Map((await collect(this.#cache.listDirty())).map(batch => [batch.id, batch]));
    for (const [id, list] of this.#dirty) {
      const batch = listed.get(id);
      expect(batch, `dirty batch ${id}`).toBeDefined();
      expect(JSON.parse(Buffer.from(batch!.payload).toString())).toEqual(list);
    }
    const latest = new Map<string, Unit>();
    for (const [, list] of [...this.#dirty].sort(([left], [right]) => left - right)) {
      for (const each of list) latest.set(`${each.volume}/${each.object}/${each.index}`, each);
    }
    // Batches that were released, or not acknowledged, may be listed after a crash; then theirs may be the
    // latest.
    const isClean = [...listed.keys()].every(id => this.#dirty.has(id));
    if (!isClean || this.#cache.statistics.state !== 'ready') return;
    for (const each of latest.values()) {
      const bytes = bytesOf(each);
      const into = new Uint8Array(bytes.byteLength);
      const request = { objectId: OBJECTS[each.object]!, index: each.index, expectedTag: tagOf(bytes), into };
      expect(await this.#cache.volume(VOLUMES[each.volume]!).get([request])).toEqual([bytes.byteLength]);
      expect(Buffer.compare(into, bytes)).toBe(0);
    }
  }

  async #reopen(): Promise<void> {
    await this.#cache.close();
    await this.open();
  }

  async #powerCut(losesDatabase: boolean): Promise<void> {
    const before = this.#files;
    // Some of what is under way, too.
    void this.#cache.volume(VOLUMES[0]!).put([{ objectId: OBJECTS[0]!, index: 0, bytes: unitOf(9, 500) }]);
    await undefined;
    this.#files = before.powerCut();
    await this.#cache.close();
    if (losesDatabase) {
      for (const suffix of ['', '-wal']) rmSync(`${this.#folder}/cache.db${suffix}`, { force: true });
    }
    await this.open();
  }
}

/**
 * A unit that a power cut has torn in its middle has the right length and tag. Only opening it shows the
 * damage, which a cache cannot do. But its beginning and its end must be right.
 */
function isInnerWhole(into: Uint8Array, bytes: Uint8Array): boolean {
  const end = bytes.byteLength - 16;
  return (
    Buffer.compare(into.subarray(0, 16), bytes.subarray(0, 16)) === 0 &&
    Buffer.compare(into.subarray(end), bytes.subarray(end)) === 0
  );
}

describe('a cache over failing files', () => {
  it('serves what was stored, keeps what is dirty, and comes back', async () => {
    let hits = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }),
        async (files, steps) => {
          const run = new Run(files);
          await run.open();
          for (const each of steps) await run.step(each);
          await run.finish();
          hits += run.hits;
        },
      ),
      {
        examples: EXAMPLES,
        numRuns: 100_000,
        interruptAfterTimeLimit: SOAK_MS,
        markInterruptAsFailure: false,
        seed: SEED,
      },
    );
    expect(hits).toBeGreaterThan(0);
  });
});
