import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';

it('what is written is read at once, and by others after a sync', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  const bytes = mixedBytes(3 * UNIT_BYTES + 100, 1);
  expect(await file.write(bytes, { position: 0 })).toEqual({ bytesWritten: bytes.byteLength, buffer: bytes });
  expectSame(await readAll(file), bytes);
  expect((await disk.content(key)).byteLength).toBe(0);
  expect(file.status().isCommitted).toBe(false);
  await file.sync();
  expect(file.status()).toEqual({
    sizeBytes: bytes.byteLength,
    dirtyBytes: 0,
    uploadedUnits: 0,
    uploadedBytes: 0,
    changedAtMs: undefined,
    isCommitted: true,
    failing: undefined,
  });
  expectSame(await disk.content(key), bytes);
  await file.close();
});

it('bytes in the middle of a unit are written over what the server has (S17, S19)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const before = mixedBytes(2 * UNIT_BYTES, 2);
  const first = await disk.client().open(key);
  await first.write(before, { position: 0 });
  await first.close();

  const client = disk.client();
  const file = await client.open(key);
  const piece = mixedBytes(100, 3);
  let expected: Uint8Array = before;
  for (const offset of [10, 5000, 300, UNIT_BYTES - 50]) {
    await file.write(piece, { position: offset });
    expected = overlaid(expected, offset, piece);
  }
  expect(client.count('read')).toBe(0);
  expect(client.count('locate')).toBe(0);
  await file.sync();
  expect(client.count('read')).toBe(1);
  expectSame(await readAll(file), expected);
  expectSame(await disk.content(key), expected);
});

it('a read between spans of one page merges what the server has around them (S12, S14, S19)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const before = mixedBytes(UNIT_BYTES, 4);
  const first = await disk.client().open(key);
  await first.write(before, { position: 0 });
  await first.close();

  const client = disk.client();
  const file = await client.open(key);
  const piece = mixedBytes(100, 5);
  await file.write(piece, { position: 10 });
  await file.write(piece, { position: 1000 });
  const expected = overlaid(overlaid(before, 10, piece), 1000, piece);
  expectSame(await readAll(file), expected);
  expectSame(await readAll(file), expected);
  expect(client.count('read')).toBe(1);
  expect(file.status().dirtyBytes).toBe(200);
  await file.sync();
  expect(client.count('read')).toBe(1);
  expectSame(await disk.content(key), expected);
});

it('whole units and whole pages are written without a read (S16, S18)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const before = mixedBytes(2 * UNIT_BYTES, 6);
  const first = await disk.client().open(key);
  await first.write(before, { position: 0 });
  await first.close();

  const client = disk.client();
  const file = await client.open(key);
  const unit = mixedBytes(UNIT_BYTES, 7);
  await file.write(unit.subarray(0, 6000), { position: UNIT_BYTES });
  await file.write(unit.subarray(6000), { position: UNIT_BYTES + 6000 });
  const read = new Uint8Array(UNIT_BYTES);
  await file.read(read, { position: UNIT_BYTES });
  expectSame(read, unit);
  await file.sync();
  expect(client.count('read')).toBe(0);
  expectSame(await disk.content(key), overlaid(before, UNIT_BYTES, unit));
});

it('beyond the end of what the server has, nothing is asked for (S6, S25)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  const piece = mixedBytes(50, 8);
  await file.write(piece, { position: 3 * UNIT_BYTES + 20 });
  await file.write(piece, { position: 100 });
  const expected = overlaid(overlaid(new Uint8Array(0), 3 * UNIT_BYTES + 20, piece), 100, piece);
  expectSame(await readAll(file), expected);
  await file.sync();
  expect(client.count('read')).toBe(0);
  expect(client.count('locate')).toBe(0);
  // Units wholly in the gap are holes.
  expect([0, 1, 2, 3].map(unit => disk.disk.unit(key, unit) !== undefined)).toEqual([
    true,
    false,
    false,
    true,
  ]);
  expectSame(await disk.content(key), expected);
});

it('bytes that were cut off never come back (S7, S59)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const before = mixedBytes(3 * UNIT_BYTES, 9);
  const file = await disk.client().open(key);
  await file.write(before, { position: 0 });
  await file.sync();
  for (const size of [2 * UNIT_BYTES + 5000, UNIT_BYTES + 17, 40, 0]) {
    await file.truncate(size);
    await file.truncate(3 * UNIT_BYTES);
    const expected = overlaid(new Uint8Array(3 * UNIT_BYTES), 0, before.subarray(0, size));
    expectSame(await readAll(file), expected);
    await file.sync();
    expectSame(await readAll(file), expected);
    expectSame(await disk.content(key), expected);
  }
});

it('a file is one, however often it is opened, and lives until its last close', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const [one, other] = await Promise.all([client.open(key), client.open(key, { isWritable: false })]);
  expect(client.count('open')).toBe(1);
  await one.write(mixedBytes(500, 1));
  await one.write(mixedBytes(500, 2));
  expectSame(await readAll(other), overlaid(mixedBytes(500, 1), 500, mixedBytes(500, 2)));
  const buffer = new Uint8Array(300);
  expect((await other.read(buffer)).bytesRead).toBe(300);
  expect((await other.read(buffer)).bytesRead).toBe(300);
  expect((await other.read(buffer, 0, 300, null)).bytesRead).toBe(300);
  expect((await other.read(buffer)).bytesRead).toBe(100);
  expect((await other.read(buffer)).bytesRead).toBe(0);
  await expect(other.write(buffer)).rejects.toMatchObject({ code: 'EDENIED' });
  await one.close();
  expect((await disk.content(key)).byteLength).toBe(1000);
  await expect(one.read(buffer)).rejects.toMatchObject({ code: 'ECLOSED' });
  expect(client.server.openCount).toBe(1);
  await other.close();
  expect(client.server.openCount).toBe(0);
});

it('appends come one after the other', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const file = await disk.client().open(key, { isAppending: true });
  const pieces = Array.from({ length: 8 }, (_, at) => mixedBytes(3000 + at, at));
  await Promise.all(pieces.map(piece => file.write(piece, { position: 0 })));
  await file.sync();
  expectSame(await disk.content(key), new Uint8Array(Buffer.concat(pieces)));
});

it('an append comes to lie behind a write beyond the end that came first and still waits', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client({ pageBytes: 128 * KIB, segmentBytes: 64 * KIB });
  const full = await client.open(disk.add());
  const file = await client.open(key);
  const appending = await client.open(key, { isAppending: true });
  await file.write(mixedBytes(100, 1), { position: 0 });
  const upload = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'upload' ? { before: upload.promise } : undefined);
  const filling = full.write(mixedBytes(256 * KIB, 2), { position: 0 });
  await turns();
  // There is no room: both wait, the first one with its place reserved.
  const beyond = mixedBytes(5000, 3);
  const writing = file.write(beyond, { position: 20_000 });
  const appended = mixedBytes(30_000, 4);
  const written = appending.write(appended);
  await turns();
  upload.resolve();
  await Promise.all([filling, writing, written]);
  await file.sync();
  const before = overlaid(mixedBytes(100, 1), 20_000, beyond);
  expectSame(await disk.content(key), overlaid(before, 25_000, appended));
});

it('a write far larger than the pages flows through them (S26)', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client({ pageBytes: 128 * KIB, segmentBytes: 64 * KIB });
  const file = await client.open(key);
  const bytes = mixedBytes(400 * KIB, 11);
  await file.write(bytes, { position: 5 });
  await file.sync();
  const expected = overlaid(new Uint8Array(0), 5, bytes);
  expectSame(await readAll(file), expected);
  expectSame(await disk.content(key), expected);
});

it('a write whose records need too much memory commits as it goes, also as an append', async () => {
  const disk = await Disk.make();
  const key = disk.add(4096);
  const client = disk.client({ pageBytes: 32 * 4096, recordBytes: 8192 });
  const file = await client.open(key);
  const bytes = mixedBytes(100 * 4096, 1);
  await file.write(bytes, { position: 0 });
  // 100 records of some 320 bytes, and the commits that publish them.
  expect(client.count('commit')).toBeGreaterThan(2);
  const appending = await client.open(key, { isAppending: true });
  await appending.write(bytes);
  expect(client.count('commit')).toBeGreaterThan(5);
  await file.sync();
  expectSame(await disk.content(key), overlaid(bytes, bytes.byteLength, bytes));
});

it('what was changed is committed after five seconds', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client();
  const file = await client.open(key);
  await file.write(mixedBytes(10, 1));
  disk.clock.pass(4999);
  await turns();
  expect(client.count('commit')).toBe(0);
  disk.clock.pass(1);
  await turns();
  expect(client.count('commit')).toBe(1);
  expect(file.status().isCommitted).toBe(true);
});

async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise(resolve => setImmediate(resolve));
}

it('one who reads from front to back is read ahead for, and a failure of that is silent (S11)', async () => {
  const disk = await Disk.make();
  const key = disk.add(4 * KIB);
  const bytes = mixedBytes(300 * KIB, 12);
  const first = await disk.client().open(key);
  await first.write(bytes, { position: 0 });
  await first.close();

  const client = disk.client();
  const file = await client.open(key);
  const buffer = new Uint8Array(4 * KIB);
  for (let at = 0; at < bytes.byteLength; at += buffer.byteLength) {
    await file.read(buffer);
    await turns();
    expectSame(buffer, bytes.subarray(at, at + buffer.byteLength));
  }
  expect(client.count('read')).toBeLessThan(15);

  const failing = disk.client();
  const again = await failing.open(key);
  failing.server.script = ({ operation, number }) =>
    operation === 'read' && number % 2 === 0 ? { error: new NetsealError('EDENIED', 'not now') } : undefined;
  let deniedCount = 0;
  for (let at = 0; at < bytes.byteLength; at += buffer.byteLength) {
    await turns();
    while (true) {
      const read = await again.read(buffer, { position: at }).catch(() => undefined);
      if (read !== undefined) break;
      deniedCount += 1;
    }
    expectSame(buffer, bytes.subarray(at, at + buffer.byteLength));
  }
  expect(failing.count('read') / 2).toBeGreaterThan(deniedCount);
});
