/** Cookies, pins by prefix, and what pinned objects lack. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { ownCpuMs } from '../support/own-cpu.ts';
import { IS_LONG } from '../support/soak.ts';
import { collect, getUnit, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const OTHER = idOf(2);
const SMALL = { budgetBytes: 512 * KIB, zoneBytes: 16 * KIB };

async function put(cache: Cache, object: number, count = 2, volumeId = VOLUME): Promise<void> {
  const units = Array.from({ length: count }, (_, index) => ({
    objectId: idOf(object),
    index,
    bytes: unitOf(object * 100 + index),
  }));
  await cache.volume(volumeId).put(units);
}

/** Writes several times the budget, so that every unit that is neither pinned nor read again is given up. */
async function flood(cache: Cache, count = 400): Promise<void> {
  for (let index = 0; index < count; index += 10) {
    const units = Array.from({ length: 10 }, (_, at) => ({
      objectId: idOf(9999),
      index: index + at,
      bytes: unitOf(1e6 + index + at),
    }));
    await cache.volume(OTHER).put(units);
  }
}

async function isThere(cache: Cache, object: number): Promise<boolean> {
  return (await getUnit(cache, VOLUME, idOf(object), 0, unitOf(object * 100))) === 'hit';
}

const KEYS = ['', 'a', 'ab', 'abc', 'b', 'ba'];
const OBJECTS = 70;
const object = fc.nat(OBJECTS);
const step = fc.oneof(
  fc.record({ type: fc.constant('cookie' as const), object, key: fc.constantFrom(...KEYS.slice(1)) }),
  fc.record({ type: fc.constant('remove' as const), object }),
  fc.record({ type: fc.constant('prefix' as const), key: fc.constantFrom(...KEYS), isOn: fc.boolean() }),
  fc.record({ type: fc.constant('pin' as const), object, isOn: fc.boolean() }),
  fc.record({ type: fc.constant('turn' as const) }),
  fc.record({ type: fc.constant('wait' as const) }),
  fc.record({ type: fc.constant('reopen' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/**
 * A simple model of cookies and pins, compared with a cache whose scans for prefixes run at the same time.
 */
class PinRun {
  readonly #folder = newFolder();
  readonly #cookies = new Map<number, string>();
  readonly #prefixes = new Set<string>();
  readonly #pins = new Set<number>();
  #cache!: Cache;
  #running: Promise<unknown>[] = [];

  async start(): Promise<void> {
    this.#cache = await openTestCache(this.#folder);
    for (let number = 0; number < OBJECTS; number += 1) this.#setCookie(number, `a-${number}`);
  }

  async step(each: Step): Promise<void> {
    const volume = this.#cache.volume(VOLUME);
    switch (each.type) {
      case 'cookie':
        this.#setCookie(each.object, each.key);
        return;
      case 'remove':
        expect(volume.removeCookie(idOf(each.object))).toBe(this.#cookies.delete(each.object));
        return;
      case 'prefix': {
        const change = each.isOn ? volume.pinPrefix(utf8(each.key)) : volume.unpinPrefix(utf8(each.key));
        // A cache that is closed meanwhile finishes it when it is opened again.
        this.#running.push(
          change.catch((error: unknown) => expect(error).toMatchObject({ code: 'ECLOSED' })),
        );
        if (each.isOn) this.#prefixes.add(each.key);
        else this.#prefixes.delete(each.key);
        return;
      }
      case 'pin':
        if (each.isOn) volume.pin(idOf(each.object), { unitCount: 1 });
        else volume.unpin(idOf(each.object));
        if (each.isOn) this.#pins.add(each.object);
        else this.#pins.delete(each.object);
        return;
      case 'turn':
        await new Promise(resolve => setImmediate(resolve));
        return;
      case 'wait':
        await Promise.all(this.#running.splice(0));
        return;
      case 'reopen':
        await this.#cache.close();
        this.#cache = await openTestCache(this.#folder);
    }
  }

  async finish(): Promise<void> {
    await Promise.all(this.#running);
    const expected = new Set(this.#pins);
    for (const [number, key] of this.#cookies) {
      if ([...this.#prefixes].some(prefix => key.startsWith(prefix))) expected.add(number);
    }
    const wanted = [...expected].sort((left, right) => left - right);
    // Scans that the last process left unfinished may still be under way.
    await expect.poll(() => this.#missing()).toEqual(wanted);
    await this.#cache.close();
    this.#cache = await openTestCache(this.#folder);
    // The cache may have been closed before the scan ended.
    await expect.poll(() => this.#missing()).toEqual(wanted);
    expect(this.#cache.pins()).toHaveLength(this.#pins.size + this.#prefixes.size);
    await this.#cache.close();
  }

  /** The pinned objects: nothing is cached, so all of their units are missing. */
  async #missing(): Promise<number[]> {
    const missing = await collect(this.#cache.incomplete());
    const numbers = missing.map(({ objectId }) => Buffer.from(objectId).readUInt32LE(0));
    return numbers.sort((left, right) => left - right);
  }

  #setCookie(number: number, key: string): void {
    for (const [other, known] of this.#cookies) if (known === key) this.#cookies.delete(other);
    this.#cookies.set(number, key);
    this.#cache.volume(VOLUME).setCookie(idOf(number), { key: utf8(key), unitCount: 1 });
  }
}

describe('cookies', () => {
  it('are kept for each object, over reopening, and belong to one object each', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder);
    let volume = cache.volume(VOLUME);
    volume.setCookie(idOf(10), { key: utf8('a/one'), unitCount: 7 });
    volume.setCookie(idOf(11), { key: utf8('a/two') });
    cache.volume(OTHER).setCookie(idOf(10), { key: utf8('a/one') });
    expect(volume.cookie(idOf(10))).toEqual({ key: utf8('a/one'), unitCount: 7 });
    expect(volume.cookie(idOf(12))).toBeUndefined();
    await cache.close();
    cache = await openTestCache(folder);
    volume = cache.volume(VOLUME);
    volume.setCookie(idOf(12), { key: utf8('a/one'), unitCount: 8 });
    expect(volume.cookie(idOf(10))).toBeUndefined();
    volume.setCookie(idOf(11), { key: utf8('b') });
    volume.setCookie(idOf(13), { key: utf8('a/two') });
    const listed = await collect(volume.cookies());
    expect(
      listed.map(({ objectId, key }) => [idOf(objectId[0]!), Buffer.from(key).toString()]).sort(),
    ).toEqual(
      [
        [idOf(11), 'b'],
        [idOf(12), 'a/one'],
        [idOf(13), 'a/two'],
      ].sort(),
    );
    expect(volume.removeCookie(idOf(12))).toBe(true);
    expect(volume.removeCookie(idOf(12))).toBe(false);
    expect(cache.volume(OTHER).cookie(idOf(10))).toEqual({ key: utf8('a/one'), unitCount: undefined });
  });

  it.each([
    ['no bytes', { key: new Uint8Array(0) }],
    ['4,097 bytes', { key: new Uint8Array(4097) }],
    ['half a unit', { key: utf8('a'), unitCount: 0.5 }],
  ])('of %s are refused', async (_, cookie) => {
    const cache = await openTestCache(newFolder());
    expect(() => cache.volume(VOLUME).setCookie(idOf(10), cookie)).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect(() => cache.volume(VOLUME).setCookie(new Uint8Array(15), { key: utf8('a') })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });
});

describe('pins by prefix', () => {
  it('keep what has such a cookie now, and what gets one later, through eviction and reopening', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder, SMALL);
    let volume = cache.volume(VOLUME);
    volume.setCookie(idOf(10), { key: utf8('home/ann/x') });
    volume.setCookie(idOf(11), { key: utf8('home/bob/x') });
    for (const object of [10, 11, 12, 13]) await put(cache, object);
    await volume.pinPrefix(utf8('home/ann'));
    volume.setCookie(idOf(12), { key: utf8('home/anna') });
    await flood(cache);
    expect(await Promise.all([10, 11, 12, 13].map(object => isThere(cache, object)))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(cache.pins()).toEqual([
      { volumeId: VOLUME, objectId: undefined, prefix: utf8('home/ann'), unitCount: undefined },
    ]);
    await cache.close();
    cache = await openTestCache(folder, SMALL);
    volume = cache.volume(VOLUME);
    expect(cache.pins()).toHaveLength(1);
    await flood(cache);
    expect(await isThere(cache, 10)).toBe(true);
    volume.setCookie(idOf(14), { key: utf8('home/ann/later') });
    await put(cache, 14);
    await flood(cache);
    expect(await isThere(cache, 14)).toBe(true);
    expect(await volume.unpinPrefix(utf8('home/ann'))).toBe(true);
    expect(await volume.unpinPrefix(utf8('home/ann'))).toBe(false);
    // The same units come again, so that the ones that were read are worth less than they.
    for (let round = 0; round < 20; round += 1) await flood(cache, 160);
    expect(await Promise.all([10, 12].map(number => isThere(cache, number)))).toEqual([false, false]);
    expect(cache.pins()).toEqual([]);
  });

  it('are finished by the next process when one died in between', async () => {
    const folder = newFolder();
    let cache = await openTestCache(folder);
    for (let object = 0; object < 500; object += 1) {
      cache.volume(VOLUME).setCookie(idOf(object), { key: utf8(`home/${object}`), unitCount: 1 });
    }
    const pinning = expect(cache.volume(VOLUME).pinPrefix(utf8('home/1'))).rejects.toMatchObject({
      code: 'ECLOSED',
    });
    await cache.close();
    await pinning;
    cache = await openTestCache(folder);
    await expect.poll(async () => (await collect(cache.incomplete())).length).toBe(111);
    const unpinning = expect(cache.volume(VOLUME).unpinPrefix(utf8('home/1'))).rejects.toMatchObject({
      code: 'ECLOSED',
    });
    await cache.close();
    await unpinning;
    cache = await openTestCache(folder);
    expect(cache.pins()).toEqual([]);
    await expect.poll(async () => (await collect(cache.incomplete())).length).toBe(0);
    await cache.close();
    cache = await openTestCache(folder);
    expect(await collect(cache.incomplete())).toEqual([]);
  });

  it.runIf(IS_LONG)(
    'are what cookies, prefixes and pins say in the end, in whatever order they came',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), async steps => {
          const run = new PinRun();
          await run.start();
          for (const each of steps) await run.step(each);
          await run.finish();
        }),
        { numRuns: 40 },
      );
    },
  );
});

describe('what pinned objects lack', () => {
  it('is found by the unit count of the pin, or else of the cookie', async () => {
    const cache = await openTestCache(newFolder());
    const volume = cache.volume(VOLUME);
    for (const [object, unitCount] of [
      [10, 4],
      [11, 5],
      [12, undefined],
    ] as const) {
      volume.setCookie(idOf(object), { key: utf8(`x/${object}`), unitCount });
      await put(cache, object, 2);
    }
    volume.pin(idOf(10), { unitCount: 3 });
    volume.pin(idOf(20), { unitCount: 2 });
    await volume.pinPrefix(utf8('x/'));
    const missing = await collect(cache.incomplete());
    expect(missing.map(({ objectId, from, to }) => [objectId[0], from, to])).toEqual([
      [10, 2, 3],
      [20, 0, 2],
      [11, 2, 5],
    ]);
    volume.unpin(idOf(10));
    volume.pin(idOf(10));
    expect(await collect(cache.incomplete())).toContainEqual({
      volumeId: VOLUME,
      objectId: idOf(10),
      from: 2,
      to: 4,
    });
  });

  it('of a sparse object of 16 TiB comes in parts; others get their turn, and who has enough can leave', async () => {
    const cache = await openTestCache(newFolder(), { budgetBytes: 4 * MIB });
    const volume = cache.volume(VOLUME);
    const objectId = idOf(10);
    // 2^26 units of 256 KiB, and one more.
    const unitCount = 2 ** 26 + 1;
    volume.pin(objectId, { unitCount });
    await volume.put([3, 2 ** 21, 2 ** 26].map(index => ({ objectId, index, bytes: unitOf(index) })));
    let longestMs = 0;
    let lastMs = ownCpuMs();
    let turns = 0;
    const timer = setInterval(() => {
      const nowMs = ownCpuMs();
      longestMs = Math.max(longestMs, nowMs - lastMs);
      lastMs = nowMs;
      turns += 1;
    }, 1);
    const ranges: [number, number][] = [];
    for await (const { from, to } of cache.incomplete()) {
      ranges.push([from, to]);
      if (ranges.length === 4) break;
    }
    clearInterval(timer);
    const part = 2 ** 20;
    expect(ranges).toEqual([
      [0, 3],
      [4, 4 + part],
      [4 + part, 2 ** 21],
      [2 ** 21 + 1, 2 ** 21 + 1 + part],
    ]);
    expect(turns).toBeGreaterThan(20);
    expect(longestMs).toBeLessThan(250);
  });
});
