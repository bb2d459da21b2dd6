/** Volumes with a local cache in front of the store: what a later process need not fetch. */
import { expect, it } from 'vitest';
import type { Cache } from '../../src/cache/cache.ts';
import { SEGMENT_PREFIX } from '../../src/server/sealed/object-keys.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { newFolder, openTestCache } from '../cache/support.ts';
import { packed } from './packs-support.ts';
import { aroundStore, bytesOf, readFile, TestVolume } from './support.ts';

const UNIT_BYTES = 4096;
/** More than an inode lists: there is a map page. */
const UNIT_COUNT = 300;
const CONTENT = bytesOf(1, UNIT_COUNT * UNIT_BYTES);

/** Runs a session in a process of its own, with the cache in this folder. Returns the segments that it fetched. */
async function session(
  test: TestVolume,
  folder: string | undefined,
  work: (volume: Volume, cache: Cache | undefined) => Promise<void>,
): Promise<string[]> {
  const fetched: string[] = [];
  const cache = folder === undefined ? undefined : await openTestCache(folder);
  const { volume } = await test.client({
    ...(cache === undefined ? {} : { cache }),
    around: inner =>
      aroundStore(inner, async call => {
        if (call.operation === 'get' && call.key.startsWith(SEGMENT_PREFIX)) fetched.push(call.key);
        return await call.send();
      }),
  });
  await work(volume, cache);
  await volume.close();
  await cache?.close();
  return fetched;
}

async function writeFile(volume: Volume): Promise<void> {
  await using file = await volume.open('/file', 'w');
  await file.write(CONTENT, { position: 0 });
}

async function expectContent(volume: Volume): Promise<void> {
  await using file = await volume.open('/file');
  const into = Buffer.alloc(CONTENT.byteLength);
  await file.read(into, { position: 0 });
  expect(Buffer.compare(into, CONTENT)).toBe(0);
}

it('what one process has read, the next one reads without a segment: units, packs, map pages, leaves', async () => {
  const test = await TestVolume.create();
  let contents: Buffer[] = [];
  await session(test, undefined, async volume => {
    await writeFile(volume);
    contents = await packed(volume, [100, 2000, 300]);
  });
  const readAll = async (volume: Volume): Promise<void> => {
    await expectContent(volume);
    for (const [at, bytes] of contents.entries()) {
      await using file = await volume.open(`/f${at}`);
      const into = Buffer.alloc(bytes.byteLength);
      await file.read(into, { position: 0 });
      expect(Buffer.compare(into, bytes)).toBe(0);
    }
  };
  const folder = newFolder();
  expect(await session(test, folder, readAll)).not.toEqual([]);
  expect(await session(test, folder, readAll)).toEqual([]);
  await test.close();
});

it('files that are read as `get` and `cat` read them come from the cache, and open files find them there', async () => {
  const test = await TestVolume.create();
  let contents: Buffer[] = [];
  await session(test, undefined, async volume => {
    await writeFile(volume);
    contents = await packed(volume, [100, 2000, 300]);
  });
  const read = async (volume: Volume): Promise<void> => {
    expect(Buffer.compare(await readFile(volume, '/file'), CONTENT)).toBe(0);
    for (const [at, bytes] of contents.entries()) expect(await readFile(volume, `/f${at}`)).toEqual(bytes);
  };
  const folder = newFolder();
  expect(await session(test, folder, read)).not.toEqual([]);
  expect(await session(test, folder, read)).toEqual([]);
  expect(await session(test, folder, expectContent)).toEqual([]);
  await test.close();
});

it('a record in the cache that does not open comes from the store, and is kept anew (S2)', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, writeFile);
  await session(test, folder, async (_, cache) => {
    const kept = cache?.volume(Buffer.from(test.header.volumeId, 'hex'));
    for (const { objectId, kind, index, tag, lengthBytes } of await listed(cache)) {
      if (kind !== 'unit' || index % 50 !== 0) continue;
      const bytes = new Uint8Array(lengthBytes);
      await kept?.get([{ objectId, index, expectedTag: tag, into: bytes }]);
      bytes[bytes.byteLength - 20]! ^= 1;
      kept?.drop({ objectId, index, expectedTag: tag });
      expect(await kept?.put([{ objectId, index, bytes }])).toBe(1);
    }
  });
  const read = async (volume: Volume): Promise<void> => {
    expect(Buffer.compare(await readFile(volume, '/file'), CONTENT)).toBe(0);
  };
  expect(await session(test, folder, read)).not.toEqual([]);
  expect(await session(test, folder, read)).toEqual([]);
  await test.close();
});

it('what one process has written, the next one reads without a segment', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, writeFile);
  expect(await session(test, folder, expectContent)).toEqual([]);
  await session(test, folder, async (_, cache) => {
    expect(cache?.statistics.problems.damaged).toBe(0);
  });
  await test.close();
});

it('what was dropped from the cache is fetched anew, nodes as well as units (S2)', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, writeFile);
  await session(test, folder, async (volume, cache) => {
    for (const { objectId, kind, index, tag } of await listed(cache)) {
      if (index % 7 === 0)
        cache
          ?.volume(Buffer.from(test.header.volumeId, 'hex'))
          .drop({ objectId, kind, index, expectedTag: tag });
    }
    await expectContent(volume);
  });
  expect(await session(test, folder, expectContent)).toEqual([]);
  await test.close();
});

it('a cache lists nodes apart from units', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, writeFile);
  await session(test, folder, async (_, cache) => {
    const units = await listed(cache);
    expect(
      units
        .filter(({ kind }) => kind === 'unit')
        .map(({ index }) => index)
        .sort(ascending),
    ).toEqual(Array.from({ length: UNIT_COUNT }, (_unit, index) => index));
    expect(units.some(({ kind, index }) => kind === 'mapPage' && index === 0)).toBe(true);
  });
  await test.close();
});

it('verify asks the store alone', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, writeFile);
  const fetched = await session(test, folder, async volume => {
    await verifyVolume(volume);
  });
  expect(fetched).not.toEqual([]);
  await test.close();
});

it('a cache that is closed too early fails nobody', async () => {
  const test = await TestVolume.create();
  const folder = newFolder();
  await session(test, folder, async (volume, cache) => {
    await writeFile(volume);
    await cache?.close();
    await expectContent(volume);
    await using file = await volume.open('/file', 'r+');
    await file.write(CONTENT, { position: 0 });
  });
  await session(test, undefined, expectContent);
  await test.close();
});

type Listed = Awaited<ReturnType<Cache['contents']>> extends AsyncGenerator<infer Unit> ? Unit : never;

async function listed(cache: Cache | undefined): Promise<Listed[]> {
  const units: Listed[] = [];
  if (cache !== undefined) for await (const unit of cache.contents()) units.push(unit);
  return units;
}

function ascending(left: number, right: number): number {
  return left - right;
}
