import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { MIB } from '../../src/base/geometry.ts';
import type { File } from '../../src/netfs/file.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Client, Disk, expectSame, UNIT_BYTES } from './clients.ts';
import { ScriptedUnits } from './scripted-units.ts';

/** The first window. */
const FIRST_UNITS = 4;

async function newFile(disk: Disk, unitCount: number): Promise<{ key: Uint8Array; bytes: Uint8Array }> {
  const key = disk.add();
  const bytes = mixedBytes(unitCount * UNIT_BYTES, 1);
  const file = await disk.client({ pageBytes: 8 * MIB }).open(key);
  await file.write(bytes, { position: 0 });
  await file.close();
  return { key, bytes };
}

async function read(file: File, unit: number, expected: Uint8Array): Promise<void> {
  const into = new Uint8Array(UNIT_BYTES);
  expect(await file.read(into, { position: unit * UNIT_BYTES })).toMatchObject({ bytesRead: UNIT_BYTES });
  expectSame(into, expected.subarray(unit * UNIT_BYTES, (unit + 1) * UNIT_BYTES));
}

async function turns(): Promise<void> {
  for (let count = 0; count < 50; count += 1) await new Promise(setImmediate);
}

function client(disk: Disk, pageBytes: number = 8 * MIB): Client {
  return disk.client({ pageBytes });
}

it('whoever reads on finds the next units in memory, and more of them each time', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 200);
  const reader = client(disk);
  const cache = new ScriptedUnits();
  const file = await reader.open(key, { cache });
  await read(file, 0, bytes);
  await turns();
  expect(reader.netfs.statistics.cache.misses).toBe(1);
  await read(file, 1, bytes);
  await turns();
  expect(reader.netfs.statistics.cache.misses).toBe(2 + FIRST_UNITS);
  await read(file, 2, bytes);
  await turns();
  expect(reader.netfs.statistics.cache.misses).toBe(3 + 2 * FIRST_UNITS);
  // From now on the server gives nothing.
  reader.server.script = ({ operation }) =>
    operation === 'read' ? { error: new NetsealError('EIO', 'lost') } : undefined;
  for (let unit = 3; unit < 3 + 2 * FIRST_UNITS; unit += 1) await read(file, unit, bytes);
});

it('reads here and there fetch nothing ahead', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 50);
  const reader = client(disk);
  const file = await reader.open(key);
  for (const unit of [30, 3, 17, 40, 9]) await read(file, unit, bytes);
  await turns();
  expect(reader.count('read')).toBe(5);
});

it('what fails ahead is nobody’s error, until somebody reads it (S11)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 8);
  const reader = client(disk);
  const file = await reader.open(key);
  const lost = new NetsealError('EIO', 'lost');
  await read(file, 0, bytes);
  reader.server.script = ({ operation, number }) =>
    operation === 'read' && number >= 3 ? { error: lost } : undefined;
  await read(file, 1, bytes);
  await turns();
  expect(reader.count('read')).toBeGreaterThan(2);
  await expect(read(file, 2, bytes)).rejects.toBe(lost);
  reader.server.script = () => undefined;
  for (let unit = 2; unit < 8; unit += 1) await read(file, unit, bytes);
  await file.close();
});

it('what is written while its unit is read ahead stays (S14)', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 8);
  const reader = client(disk);
  const file = await reader.open(key);
  await read(file, 0, bytes);
  const answer = Promise.withResolvers<void>();
  reader.server.script = ({ operation, number }) =>
    operation === 'read' && number >= 3 ? { before: answer.promise } : undefined;
  await read(file, 1, bytes);
  await turns();
  const piece = mixedBytes(100, 2);
  await file.write(piece, { position: 3 * UNIT_BYTES + 10 });
  answer.resolve();
  await turns();
  const expected = bytes.slice();
  expected.set(piece, 3 * UNIT_BYTES + 10);
  reader.server.script = ({ operation }) =>
    operation === 'read' ? { error: new NetsealError('EIO', 'lost') } : undefined;
  for (let unit = 2; unit < 2 + FIRST_UNITS; unit += 1) await read(file, unit, expected);
});

it('nothing is fetched ahead while somebody waits for a unit; one that is wanted goes on at once', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 64);
  const reader = client(disk);
  const file = await reader.open(key);
  await read(file, 0, bytes);
  const answer = Promise.withResolvers<void>();
  reader.server.script = ({ operation, number }) =>
    operation === 'read' && number === 2 ? { before: answer.promise } : undefined;
  const reading = read(file, 1, bytes);
  await turns();
  expect(reader.count('read')).toBe(2);
  // It is wanted ahead, and has not begun.
  await read(file, 5, bytes);
  expect(reader.count('read')).toBe(3);
  answer.resolve();
  await reading;
  await turns();
  expect(reader.count('read')).toBeGreaterThan(3);
});

it('a window shrinks when pages do not last', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 300);
  const reader = client(disk, 4 * MIB);
  const file = await reader.open(key, { cache: new ScriptedUnits() });
  for (const unit of [0, 1, 2, 3, 4]) {
    await read(file, unit, bytes);
    await turns();
  }
  // The pages of the whole window go.
  const { budgetBytes } = reader.pages.use;
  reader.pages.reserve(budgetBytes)?.release();
  const fetchedUnits = (): number =>
    reader.netfs.statistics.cache.hits + reader.netfs.statistics.cache.misses;
  const before = fetchedUnits();
  await read(file, 5, bytes);
  await turns();
  // It was 32 units.
  expect(fetchedUnits() - before).toBe(1 + 16);
});

it('a file that is closed while it reads ahead gives everything back', async () => {
  const disk = await Disk.make();
  const { key, bytes } = await newFile(disk, 64);
  const reader = client(disk);
  const file = await reader.open(key);
  await read(file, 0, bytes);
  await read(file, 1, bytes);
  await file.close();
  expect(reader.pages.use.usedBytes).toBe(0);
});
