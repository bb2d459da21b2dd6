import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';

const FULL = new NetsealError('EFULL', 'no room');

it('a full server: each failure is told once to each open file, and space cures it (S35, S36)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const [one, other] = [await client.open(key), await client.open(key)];
  const bytes = mixedBytes(2 * UNIT_BYTES, 1);
  client.server.script = ({ operation }) => (operation === 'upload' ? { error: FULL } : undefined);
  await one.write(bytes, { position: 0 });
  await expect(one.sync()).rejects.toBe(FULL);
  await expect(one.sync()).rejects.toBe(FULL);
  expect(one.status()).toMatchObject({ isCommitted: false, failing: FULL, dirtyBytes: bytes.byteLength });
  client.server.script = () => undefined;
  await one.sync();
  expectSame(await disk.content(key), bytes);
  await expect(other.sync()).rejects.toBe(FULL);
  await other.sync();
  expect(one.status()).toMatchObject({ isCommitted: true, failing: undefined, dirtyBytes: 0 });
});

it('an error that nobody has seen is told to who opens the file next (S37)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  client.server.script = ({ operation }) => (operation === 'place' ? { error: FULL } : undefined);
  await file.write(mixedBytes(100, 2), { position: 0 });
  disk.clock.pass(5000);
  await turns();
  client.server.script = () => undefined;
  const next = await client.open(key);
  await expect(next.sync()).rejects.toBe(FULL);
  await next.sync();
});

it('a close that fails closes, and the data is committed later', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  client.server.script = ({ operation }) => (operation === 'commit' ? { error: FULL } : undefined);
  const bytes = mixedBytes(100, 3);
  await file.write(bytes, { position: 0 });
  await expect(file.close()).rejects.toBe(FULL);
  await expect(file.sync()).rejects.toMatchObject({ code: 'ECLOSED' });
  const again = await client.open(key);
  expectSame(await readAll(again), bytes);
  await again.close().catch(() => undefined);
  await expect(client.netfs.close()).rejects.toBe(FULL);
  client.server.script = () => undefined;
  expect(client.server.openCount).toBe(1);
  disk.clock.pass(120_000);
  await turns();
  expectSame(await disk.content(key), bytes);
  expect(client.server.openCount).toBe(0);
});

it('a server that cannot be asked for a while is waited for', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  const away = new NetsealError('EUNAVAILABLE', 'away');
  let left = 3;
  client.server.script = ({ operation }) =>
    (operation === 'upload' || operation === 'commit') && left-- > 0 ? { error: away } : undefined;
  await file.write(mixedBytes(100, 4), { position: 0 });
  const syncing = file.sync();
  for (let second = 0; second < 20; second += 1) {
    await turns();
    disk.clock.pass(1000);
  }
  await syncing;
  expectSame(await disk.content(key), mixedBytes(100, 4));
});

it('a segment that fails takes nothing along: three files share it, each is told once, and all try again', async () => {
  const disk = await Disk.make();
  const client = disk.client();
  const keys = [disk.add(), disk.add(), disk.add()];
  const files = await Promise.all(keys.map(key => client.open(key)));
  const allCame = Promise.withResolvers<void>();
  client.server.script = ({ operation, number }) => {
    if (operation === 'place' && number === 3) allCame.resolve();
    if (operation === 'place') return { before: allCame.promise };
    return operation === 'upload' && number === 1 ? { error: FULL } : undefined;
  };
  for (const [at, file] of files.entries()) await file.write(mixedBytes(5000, at), { position: 0 });
  const results = await Promise.allSettled(files.map(file => file.sync()));
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
  for (const file of files) await file.sync();
  for (const [at, key] of keys.entries()) expectSame(await disk.content(key), mixedBytes(5000, at));
});

it('a failed flush and a newer one of the same unit: the newest bytes win, whichever ends first', async () => {
  for (const failing of [1, 2]) {
    const disk = await Disk.make();
    const key = disk.add();
    const client = disk.client();
    const file = await client.open(key);
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    client.server.script = ({ operation, number }) => {
      if (operation !== 'upload' || number > 2) return undefined;
      const before = gates[number - 1]!.promise;
      return number === failing ? { before, error: FULL } : { before };
    };
    const [older, newer] = [mixedBytes(300, 5), mixedBytes(300, 6)];
    await file.write(older, { position: 0 });
    await file.write(older, { position: 1000 });
    const first = file.sync();
    await turns();
    await file.write(newer, { position: 100 });
    const second = file.sync();
    await turns();
    gates[1]!.resolve();
    await turns();
    gates[0]!.resolve();
    await Promise.allSettled([first, second]);
    await file.sync().catch(() => undefined);
    await file.sync();
    const expected = overlaid(overlaid(overlaid(new Uint8Array(0), 0, older), 1000, older), 100, newer);
    expectSame(await disk.content(key), expected);
    expectSame(await readAll(file), expected);
  }
});

it('a write during a commit is not swallowed by it', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  const gate = Promise.withResolvers<void>();
  client.server.script = ({ operation, number }) =>
    operation === 'commit' && number === 1 ? { before: gate.promise } : undefined;
  await file.write(mixedBytes(2000, 7), { position: 0 });
  const syncing = file.sync();
  await turns();
  await file.write(mixedBytes(100, 8), { position: 50 });
  gate.resolve();
  await syncing;
  expectSame(await disk.content(key), mixedBytes(2000, 7));
  await file.sync();
  expectSame(await disk.content(key), overlaid(mixedBytes(2000, 7), 50, mixedBytes(100, 8)));
});

it('a truncate while the tail is flushed: nothing beyond the end is committed later (S38)', async () => {
  for (const operation of ['place', 'upload', 'commit']) {
    const disk = await Disk.make();
    const key = disk.add();
    const client = disk.client();
    const file = await client.open(key);
    const gate = Promise.withResolvers<void>();
    client.server.script = call =>
      call.operation === operation && call.number === 1 ? { before: gate.promise } : undefined;
    const bytes = mixedBytes(3 * UNIT_BYTES, 9);
    await file.write(bytes, { position: 0 });
    const syncing = file.sync();
    await turns();
    const truncating = (async () => {
      await file.truncate(UNIT_BYTES + 1234);
      await file.truncate(2 * UNIT_BYTES);
    })();
    await turns();
    gate.resolve();
    await syncing;
    await truncating;
    expectSame(await disk.content(key), bytes);
    const expected = overlaid(new Uint8Array(2 * UNIT_BYTES), 0, bytes.subarray(0, UNIT_BYTES + 1234));
    expectSame(await readAll(file), expected);
    await file.sync();
    expectSame(await readAll(file), expected);
    expectSame(await disk.content(key), expected);
  }
});

it('a writer that waits for memory fails with the error of its file, and what it has written stays', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client({ pageBytes: 64 * KIB });
  const file = await client.open(key);
  client.server.script = ({ operation }) => (operation === 'upload' ? { error: FULL } : undefined);
  const bytes = mixedBytes(200 * KIB, 10);
  const { bytesWritten } = await file.write(bytes, { position: 0 });
  expect(bytesWritten).toBeGreaterThan(0);
  expect(bytesWritten).toBeLessThan(bytes.byteLength);
  await expect(file.write(bytes, { position: bytesWritten })).rejects.toBe(FULL);
  expectSame(await readAll(file), bytes.subarray(0, bytesWritten));
  client.server.script = () => undefined;
  await file.sync().catch(() => undefined);
  await file.sync();
  await file.write(bytes.subarray(bytesWritten), { position: bytesWritten });
  await file.sync();
  expectSame(await disk.content(key), bytes);
});

it('an aborted call leaves the buffer alone, and an aborted sync goes on', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const file = await disk.client().open(key);
  await file.write(mixedBytes(UNIT_BYTES, 11), { position: 0 });
  await file.sync();
  const client = disk.client();
  const again = await client.open(key);
  const gate = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'read' ? { before: gate.promise } : undefined);
  const leaving = new AbortController();
  const buffer = new Uint8Array(100);
  const reading = again.read(buffer, { position: 0, signal: leaving.signal });
  await turns();
  leaving.abort(new Error('enough'));
  await expect(reading).rejects.toThrow('enough');
  gate.resolve();
  await turns();
  expect(buffer.every(byte => byte === 0)).toBe(true);
  const later = new AbortController();
  await again.write(buffer, { position: 0 });
  const syncing = again.sync({ signal: later.signal });
  later.abort(new Error('no time'));
  await expect(syncing).rejects.toThrow('no time');
  await turns();
  expect(again.status().isCommitted).toBe(true);
});

async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(resolve => setImmediate(resolve));
}
