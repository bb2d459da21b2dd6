/** Plain data in unusual numbers and lengths, and pins by names. */
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { PlainCache } from '../../src/cache/plain.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { IS_LONG } from '../support/soak.ts';
import { collect, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const SERVER = utf8('https://plain.example');
const UNIT = 64 * KIB;

function version(name: string, number: number, lengthBytes?: number) {
  return { server: SERVER, name: utf8(name), version: utf8(`"${number}"`), lengthBytes };
}

function bytesOf(index: number, lengthBytes = UNIT): Uint8Array {
  return new Uint8Array(lengthBytes).fill(index + 1);
}

describe('plain units', () => {
  it.runIf(IS_LONG)('may be more than the pipeline has memory for', async () => {
    const pipeline = await openPipeline({ workers: 0, memoryBytes: 2 * MIB });
    const cache = await openTestCache(newFolder(), { budgetBytes: 64 * MIB, zoneBytes: 4 * MIB });
    const plain = new PlainCache(cache, pipeline, UNIT);
    const units = Array.from({ length: 100 }, (_, index) => ({ index, bytes: bytesOf(index) }));
    const names = ['a', 'b', 'c'];
    // All at once and one by one: no call waits for memory that another holds.
    expect(await Promise.all(names.map(name => plain.put(version(name, 1), units)))).toEqual([100, 100, 100]);
    const indexes = units.map(({ index }) => index);
    const got = await Promise.all(names.map(name => plain.get(version(name, 1), indexes)));
    for (const results of got) expect(results).toEqual(units.map(({ bytes }) => bytes));
    plain.close();
    await pipeline.close();
  });

  it('without bytes are left out, and one that comes twice is stored once', async () => {
    const pipeline = await openPipeline({ workers: 0 });
    const cache = await openTestCache(newFolder());
    const plain = new PlainCache(cache, pipeline, UNIT);
    const object = version('a', 1);
    expect(await plain.put(object, [{ index: 0, bytes: new Uint8Array(0) }])).toBe(0);
    const units = [
      { index: 1, bytes: bytesOf(1, 1) },
      { index: 2, bytes: new Uint8Array(0) },
      { index: 1, bytes: bytesOf(1, 1) },
      { index: 3, bytes: bytesOf(3, 100) },
    ];
    expect(await plain.put(object, units)).toBe(2);
    expect(await plain.get(object, [])).toEqual([]);
    expect(await plain.get(object, [1, 2, 3, 1])).toEqual([
      bytesOf(1, 1),
      undefined,
      bytesOf(3, 100),
      bytesOf(1, 1),
    ]);
    const tooLong = [{ index: 4, bytes: new Uint8Array(UNIT + 1) }];
    await expect(plain.put(object, tooLong)).rejects.toMatchObject({ code: 'EINVAL' });
    plain.close();
    await pipeline.close();
  });
});

describe('pins of plain objects', () => {
  it('are by the beginning of a name, and of the version that came last', async () => {
    const pipeline = await openPipeline({ workers: 0 });
    const cache = await openTestCache(newFolder(), { budgetBytes: MIB, zoneBytes: 32 * KIB });
    const plain = new PlainCache(cache, pipeline, 4 * KIB);
    const one = [{ index: 0, bytes: unitOf(1, 4 * KIB) }];
    await plain.pinPrefix(SERVER, utf8('docs/'));
    for (const object of [version('docs/a', 1), version('docs/b', 1), version('other', 1)])
      await plain.put(object, one);
    await plain.put(version('docs/a', 2, 10 * KIB), one);
    const missing = await collect(cache.incomplete());
    expect(missing.map(({ from, to }) => [from, to])).toEqual([[1, 3]]);
    for (let index = 1; index < 600; index += 1) {
      await plain.put(version('flood', 1), [{ index, bytes: unitOf(index, 4 * KIB) }]);
    }
    const isThere = async (name: string, number: number) =>
      (await plain.get(version(name, number), [0]))[0] !== undefined;
    expect(await isThere('docs/b', 1)).toBe(true);
    expect(await isThere('docs/a', 2)).toBe(true);
    expect(await isThere('other', 1)).toBe(false);
    expect(await plain.unpinPrefix(SERVER, utf8('docs/'))).toBe(true);
    expect(await collect(cache.incomplete())).toEqual([]);
    plain.close();
    await pipeline.close();
  });

  it('tell servers apart, also where one is named as the other with a part of a name', async () => {
    const pipeline = await openPipeline({ workers: 0 });
    const cache = await openTestCache(newFolder());
    const plain = new PlainCache(cache, pipeline, UNIT);
    const objects = [
      { server: utf8('s'), name: utf8('a/b'), version: utf8('1') },
      { server: utf8('s/a'), name: utf8('b'), version: utf8('1') },
    ];
    for (const object of objects) plain.name(object);
    expect(await collect(cache.volume(cache.id).cookies())).toHaveLength(2);
    plain.name({ server: utf8('s'), name: new Uint8Array(5000).fill(65), version: utf8('1') });
    expect(await collect(cache.volume(cache.id).cookies())).toHaveLength(2);
    plain.close();
    await pipeline.close();
  });
});
