import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, it, onTestFinished, vi } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { HeldBytes, Streams, type WriteStream } from '../../src/netfs/streams.ts';
import { mixedBytes } from '../pipeline/support.ts';
import {
  type Client,
  Disk,
  expectSame,
  HandClock,
  overlaid,
  readAll,
  sharedPipeline,
  UNIT_BYTES,
} from './clients.ts';
import { ScriptedUnits } from './scripted-units.ts';

const BROKEN = new NetsealError('ECLOSED', 'the cache is closed');

/** Makes a file of whole units, unknown to any cache. */
async function newFile(disk: Disk, unitCount: number): Promise<{ key: Uint8Array; bytes: Uint8Array }> {
  const key = disk.add();
  const bytes = mixedBytes(unitCount * UNIT_BYTES, 1);
  const file = await disk.client().open(key);
  await file.write(bytes, { position: 0 });
  await file.close();
  return { key, bytes };
}

/** Reads a range through a new client. Returns the client. */
async function readBy(
  disk: Disk,
  key: Uint8Array,
  cache: ScriptedUnits,
  [fromBytes, toBytes]: readonly [number, number],
  expected: Uint8Array,
): Promise<Client> {
  const client = disk.client();
  const file = await client.open(key, { cache });
  const into = new Uint8Array(toBytes - fromBytes);
  expect(await file.read(into, { position: fromBytes })).toMatchObject({ bytesRead: into.byteLength });
  expectSame(into, expected.subarray(fromBytes, toBytes));
  await file.close();
  return client;
}

it('one read draws on the cache and on the server, once each, and fills the cache (S1)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 8);
  const cache = new ScriptedUnits();
  await readBy(disk, key, cache, [0, 4 * UNIT_BYTES], bytes);
  expect(cache.stored).toEqual([0, 1, 2, 3]);
  const gets = cache.count('get');
  const second = await readBy(disk, key, cache, [0, 8 * UNIT_BYTES], bytes);
  expect(cache.count('get')).toBe(gets + 1);
  expect(second.count('read')).toBe(1);
  expect(second.netfs.statistics.cache).toEqual({ hits: 4, misses: 4, failed: 0 });
  expect(cache.stored).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  const third = await readBy(disk, key, cache, [0, 8 * UNIT_BYTES], bytes);
  expect(third.count('read')).toBe(0);
});

it('what the cache does not deliver comes from the server, and is dropped there (S2)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 4);
  const all = [0, 4 * UNIT_BYTES] as const;
  const cache = new ScriptedUnits();
  await readBy(disk, key, cache, all, bytes);
  // Damage between the header and the tag: only opening tells.
  for (const [place, unit] of cache.units) if (place.startsWith('2/')) unit[100] = (unit[100] ?? 0) ^ 1;
  const damaged = await readBy(disk, key, cache, all, bytes);
  expect(damaged.netfs.statistics.cache).toEqual({ hits: 3, misses: 1, failed: 1 });
  expect(cache.stored).toEqual([0, 1, 2, 3, 2]);
  const cured = await readBy(disk, key, cache, all, bytes);
  expect(cured.netfs.statistics.cache).toEqual({ hits: 4, misses: 0, failed: 0 });

  cache.script = ({ operation }) => (operation === 'get' ? { error: BROKEN } : undefined);
  const without = await readBy(disk, key, cache, all, bytes);
  expect(without.count('read')).toBe(1);
});

it('a cache that cannot be asked is not filled, and that is counted (S8)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 2);
  const cache = new ScriptedUnits();
  cache.script = ({ operation }) => (operation === 'has' ? { error: BROKEN } : undefined);
  const client = await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], bytes);
  expect(cache.count('put')).toBe(0);
  expect(client.netfs.statistics.streams).toEqual({ offered: 0, notOffered: 2, dropped: 0 });
});

it('what the cache has delivered is read before the server has answered (S10)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 4);
  const cache = new ScriptedUnits();
  await readBy(disk, key, cache, [2 * UNIT_BYTES, 4 * UNIT_BYTES], bytes);
  const client = disk.client();
  const file = await client.open(key, { cache });
  const answer = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'read' ? { before: answer.promise } : undefined);
  const all = readAll(file);
  const tail = new Uint8Array(2 * UNIT_BYTES);
  await file.read(tail, { position: 2 * UNIT_BYTES });
  expectSame(tail, bytes.subarray(2 * UNIT_BYTES));
  answer.resolve();
  expectSame(await all, bytes);
  expect(client.count('read')).toBe(1);
});

it('units that vanish from the cache while they are read come from the server (S15)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 2);
  const cache = new ScriptedUnits();
  await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], bytes);
  const invalidated = Promise.withResolvers<void>();
  cache.script = ({ operation }) => (operation === 'get' ? { before: invalidated.promise } : undefined);
  const reading = readBy(disk, key, cache, [0, 2 * UNIT_BYTES], bytes);
  while (cache.count('get') === 0) await turn();
  cache.units.clear();
  invalidated.resolve();
  const client = await reading;
  expect(client.count('read')).toBe(1);
  expect(client.netfs.statistics.cache).toEqual({ hits: 0, misses: 2, failed: 2 });
});

it('a unit that is written while what was fetched is not stored yet replaces it (S23)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 2);
  const cache = new ScriptedUnits();
  const stored = Promise.withResolvers<void>();
  cache.script = ({ operation, number }) =>
    operation === 'put' && number === 1 ? { before: stored.promise } : undefined;
  const client = disk.client();
  const file = await client.open(key, { cache });
  expectSame(await readAll(file), bytes);
  const piece = mixedBytes(100, 2);
  await file.write(piece, { position: 50 });
  await file.sync();
  expect(cache.stored).toEqual([]);
  stored.resolve();
  await file.close();
  expect(cache.stored).toEqual([0, 1, 0]);
  const other = await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], overlaid(bytes, 50, piece));
  expect(other.count('read')).toBe(0);
});

it('a base that is fetched for a flush is not kept beside the unit that replaces it (S23)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 2);
  const cache = new ScriptedUnits();
  const file = await disk.client().open(key, { cache });
  await file.write(mixedBytes(100, 3), { position: 50 });
  await file.close();
  expect(cache.stored).toEqual([0]);
  const other = await readBy(disk, key, cache, [0, UNIT_BYTES], overlaid(bytes, 50, mixedBytes(100, 3)));
  expect(other.count('read')).toBe(0);
});

it('a cache that fails writes is dropped for the file, told once, and delivers nothing stale (S31)', async () => {
  const told: unknown[] = [];
  const listen = (event: unknown): void => void told.push(event);
  subscribe('netseal:dropped', listen);
  onTestFinished(() => void unsubscribe('netseal:dropped', listen));
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 2);
  const cache = new ScriptedUnits();
  await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], bytes);
  cache.script = ({ operation }) => (operation === 'put' ? { error: BROKEN } : undefined);
  const client = disk.client();
  const file = await client.open(key, { cache });
  const now = mixedBytes(2 * UNIT_BYTES, 4);
  await file.write(now, { position: 0 });
  await file.sync();
  await file.write(now, { position: 0 });
  await file.sync();
  await file.close();
  expect(client.dropped).toMatchObject([{ stream: 'the cache', error: BROKEN }]);
  expect(told).toEqual([{ file: expect.any(String), stream: 'the cache', error: BROKEN }]);
  expect(client.netfs.statistics.streams).toEqual({ offered: 2, notOffered: 2, dropped: 1 });
  cache.script = () => undefined;
  await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], now);
});

it('a required stream fails the write, and the next sync tries again (S32)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const full = new NetsealError('EFULL', 'the journal is full');
  let isFull = true;
  const taken: number[] = [];
  const journal: WriteStream = {
    name: 'the journal',
    isRequired: true,
    async write({ units }) {
      if (isFull) throw full;
      taken.push(...units.map(({ index }) => index));
    },
  };
  const file = await client.open(key, { streams: [journal] });
  const bytes = mixedBytes(2 * UNIT_BYTES, 5);
  await file.write(bytes, { position: 0 });
  await expect(file.sync()).rejects.toBe(full);
  expect((await disk.content(key)).byteLength).toBe(0);
  expect(file.status()).toMatchObject({ dirtyBytes: bytes.byteLength, failing: full });
  isFull = false;
  await file.sync();
  expect(taken.sort()).toEqual([0, 1]);
  expectSame(await disk.content(key), bytes);
});

it('a cache that lags holds the sealed bytes, and nothing else (S34)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const cache = new ScriptedUnits();
  const stored = Promise.withResolvers<void>();
  cache.script = ({ operation }) => (operation === 'put' ? { before: stored.promise } : undefined);
  const file = await client.open(key, { cache });
  const bytes = mixedBytes(2 * UNIT_BYTES, 6);
  await file.write(bytes, { position: 0 });
  await file.sync();
  expect(file.status()).toMatchObject({ dirtyBytes: 0, isCommitted: true });
  expect(client.pages.use.heldBytes).toBe(0);
  expect(await sealedBytes()).toBeGreaterThan(0);
  stored.resolve();
  await file.close();
  expect(await sealedBytes()).toBe(0);
  const other = await readBy(disk, key, cache, [0, 2 * UNIT_BYTES], bytes);
  expect(other.count('read')).toBe(0);
});

it('a cache that lags too long is dropped for the file (S34)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const cache = new ScriptedUnits();
  const never = Promise.withResolvers<void>();
  cache.script = ({ operation }) => (operation === 'put' ? { before: never.promise } : undefined);
  const file = await client.open(key, { cache });
  await file.write(mixedBytes(100, 7), { position: 0 });
  await file.sync();
  disk.clock.pass(30_000);
  await file.close();
  expect(client.dropped).toMatchObject([{ error: { code: 'EUNAVAILABLE' } }]);
  expect(await sealedBytes()).toBe(0);
});

it('a cache holds at most a quarter of a slab; reads and writes go on, and what it misses is counted', async () => {
  const disk = await Disk.make();
  const { pipeline } = await sharedPipeline();
  const unitCount = Math.floor(pipeline.slabBytes / 2 / UNIT_BYTES);
  const key = disk.add();
  const client = disk.client({ pageBytes: pipeline.slabBytes });
  const cache = new ScriptedUnits();
  const stored = Promise.withResolvers<void>();
  cache.script = ({ operation }) => (operation === 'put' ? { before: stored.promise } : undefined);
  const file = await client.open(key, { cache });
  const bytes = mixedBytes(unitCount * UNIT_BYTES, 8);
  await file.write(bytes, { position: 0 });
  await file.sync();
  expect(await sealedBytes()).toBeLessThanOrEqual(pipeline.slabBytes / 4);
  const { offered, notOffered, dropped } = client.netfs.statistics.streams;
  expect(offered + notOffered).toBe(unitCount);
  expect(offered).toBeGreaterThan(0);
  expect(notOffered).toBeGreaterThan(0);
  expect(dropped).toBe(0);
  const other = disk.client();
  const reader = await other.open(key, { cache });
  expectSame(await readAll(reader), bytes);
  stored.resolve();
  await Promise.all([file.close(), reader.close()]);
});

async function turn(): Promise<void> {
  await new Promise(setImmediate);
}

/** Sealed bytes that are held in the pipeline's memory. */
async function sealedBytes(): Promise<number> {
  await turn();
  const { pipeline } = await sharedPipeline();
  return pipeline.memory.find(({ name }) => name === 'sealed')?.usedBytes ?? 0;
}

it('a listener that throws when a stream is dropped keeps no memory', async () => {
  const thrown: unknown[] = [];
  const later = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(callback => {
    try {
      callback();
    } catch (error) {
      thrown.push(error);
    }
  });
  onTestFinished(() => later.mockRestore());
  const oops = new Error('oops');
  const streams = new Streams(
    {
      key: new Uint8Array(16),
      scheduler: new HandClock(),
      counters: { offered: 0, notOffered: 0, dropped: 0 },
      unitBytesMax: 100,
      onDropped: () => {
        throw oops;
      },
    },
    [],
  );
  const held = new HeldBytes(1000);
  let holdCount = 0;
  const holder = {
    hold: () => {
      holdCount += 1;
      return () => {
        holdCount -= 1;
      };
    },
  };
  const failing = { name: 'failing', isRequired: false, write: () => Promise.reject(BROKEN) };
  const unit = { objectId: new Uint8Array(16), index: 0, bytes: new Uint8Array(600) };
  streams.offer(failing, [unit], holder, held);
  expect(holdCount).toBe(1);
  await streams.idle();
  expect(holdCount).toBe(0);
  expect(held.take(1000)).toBe(true);
  expect(thrown).toEqual([oops]);
});
