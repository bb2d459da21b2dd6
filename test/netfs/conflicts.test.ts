import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import type { CommitSub } from '../../src/netfs/server.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Client, Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';
import { answerLost } from './scripted-server.ts';

const BEFORE = mixedBytes(4 * UNIT_BYTES, 1);

/** A file of four units that two clients have open. */
async function start(stash?: (handle: unknown, sub: CommitSub) => Promise<void>): Promise<{
  disk: Disk;
  key: Uint8Array;
  one: Client;
  other: Client;
  ones: Awaited<ReturnType<Client['open']>>;
  others: Awaited<ReturnType<Client['open']>>;
}> {
  const disk = await Disk.make();
  const key = disk.add();
  const one = disk.client({ name: 'one' });
  const other = disk.client({ name: 'other' });
  const ones = await one.open(key, stash === undefined ? {} : { stash });
  await ones.write(BEFORE, { position: 0 });
  await ones.sync();
  return { disk, key, one, other, ones, others: await other.open(key) };
}

it('changes of different units are both kept (S42)', async () => {
  const { disk, key, ones, others } = await start();
  const piece = mixedBytes(100, 2);
  await ones.write(piece, { position: 50 });
  await others.write(piece, { position: 2 * UNIT_BYTES + 70 });
  await others.sync();
  await ones.sync();
  const expected = overlaid(overlaid(BEFORE, 50, piece), 2 * UNIT_BYTES + 70, piece);
  expectSame(await disk.content(key), expected);
  expectSame(await readAll(ones), expected);
  disk.clock.pass(2000);
  expectSame(await readAll(others), expected);
});

it('changes of one unit: the later ones go into the stash, and the file is as the other left it', async () => {
  const stashed: CommitSub[] = [];
  const { disk, key, ones, others } = await start(async (_handle, sub) => {
    stashed.push(sub);
  });
  const piece = mixedBytes(100, 3);
  await ones.write(piece, { position: 50 });
  await ones.write(piece, { position: 3 * UNIT_BYTES });
  await others.write(piece, { position: 70 });
  await others.sync();
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  expect(stashed).toHaveLength(1);
  expect([...(stashed[0]?.receipts.keys() ?? [])].sort()).toEqual([0, 3]);
  expect(ones.status()).toMatchObject({ isCommitted: true, dirtyBytes: 0 });
  const expected = overlaid(BEFORE, 70, piece);
  expectSame(await readAll(ones), expected);
  expectSame(await disk.content(key), expected);
  // Each error is told once.
  await ones.sync();
});

it('without a stash the changes stay until they are discarded', async () => {
  const { disk, key, ones, others } = await start();
  const piece = mixedBytes(100, 4);
  await ones.write(piece, { position: 50 });
  await others.write(piece, { position: 70 });
  await others.sync();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
    expect(ones.status().isCommitted).toBe(false);
  }
  expectSame(await readAll(ones), overlaid(BEFORE, 50, piece));
  await ones.discard();
  expectSame(await readAll(ones), overlaid(BEFORE, 70, piece));
  await ones.write(piece, { position: 50 });
  await ones.sync();
  expectSame(await disk.content(key), overlaid(overlaid(BEFORE, 70, piece), 50, piece));
});

it('two appends contradict each other', async () => {
  const { ones, others } = await start();
  const piece = mixedBytes(100, 5);
  await ones.write(piece, { position: 4 * UNIT_BYTES });
  await others.write(piece, { position: 4 * UNIT_BYTES + 1 });
  await others.sync();
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
});

it('a truncate contradicts an append, and a change of what it has cut off', async () => {
  const { ones, others } = await start();
  const piece = mixedBytes(100, 6);
  await ones.truncate(2 * UNIT_BYTES);
  await others.write(piece, { position: 4 * UNIT_BYTES });
  await others.sync();
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  await ones.discard();
  await ones.truncate(UNIT_BYTES + 5);
  await others.write(piece, { position: UNIT_BYTES });
  await others.sync();
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
});

it('a lost answer is no conflict, whether the commit has happened or not', async () => {
  const { disk, key, one, ones, others } = await start();
  const piece = mixedBytes(100, 7);
  let expected: Uint8Array = BEFORE;
  const uncertain = new NetsealError('EUNCERTAIN', 'lost on purpose');
  for (const [at, fate] of [answerLost, () => ({ error: uncertain })].entries()) {
    let left = 1;
    one.server.script = ({ operation }) => (operation === 'commit' && left-- > 0 ? fate() : undefined);
    await ones.write(piece, { position: 1000 * at });
    await ones.sync();
    expected = overlaid(expected, 1000 * at, piece);
    expectSame(await disk.content(key), expected);
  }
  // It has happened, all answers are lost, and another client comes after it with another unit.
  one.server.script = ({ operation }) => (operation === 'commit' ? answerLost() : undefined);
  await ones.write(piece, { position: 5000 });
  await expect(ones.sync()).rejects.toMatchObject({ code: 'EUNCERTAIN' });
  one.server.script = () => undefined;
  disk.clock.pass(2000);
  await readAll(others);
  await others.write(piece, { position: 2 * UNIT_BYTES });
  await others.sync();
  await ones.sync();
  expected = overlaid(overlaid(expected, 5000, piece), 2 * UNIT_BYTES, piece);
  expectSame(await disk.content(key), expected);
  expectSame(await readAll(ones), expected);
});

it('pages of units that another client has changed go, and others stay (S40)', async () => {
  const { disk, one, ones, others } = await start();
  expectSame(await readAll(ones), BEFORE);
  await others.write(mixedBytes(100, 8), { position: UNIT_BYTES + 9 });
  await others.sync();
  const reads = one.count('read');
  expectSame(await readAll(ones), BEFORE);
  disk.clock.pass(2000);
  expectSame(await readAll(ones), overlaid(BEFORE, UNIT_BYTES + 9, mixedBytes(100, 8)));
  expect(one.count('read')).toBe(reads + 1);
  await others.truncate(UNIT_BYTES + 50);
  await others.sync();
  disk.clock.pass(2000);
  expect((await readAll(ones)).byteLength).toBe(UNIT_BYTES + 50);
});

it('what was fetched of an old version is not kept, and a read is of one version', async () => {
  const { disk, key, other, ones, others } = await start();
  const reading = disk.client({ name: 'reader' });
  const file = await reading.open(key);
  const gate = Promise.withResolvers<void>();
  reading.server.script = ({ operation, number }) =>
    operation === 'read' && number === 1 ? { before: gate.promise } : undefined;
  const held = readAll(file);
  await new Promise(resolve => setImmediate(resolve));
  await ones.write(mixedBytes(200, 9), { position: 0 });
  await ones.write(mixedBytes(200, 9), { position: 3 * UNIT_BYTES });
  await ones.sync();
  disk.clock.pass(2000);
  const expected = overlaid(overlaid(BEFORE, 0, mixedBytes(200, 9)), 3 * UNIT_BYTES, mixedBytes(200, 9));
  const small = new Uint8Array(300);
  await file.read(small, { position: 0 });
  expectSame(small, expected.subarray(0, 300));
  gate.resolve();
  expectSame(await held, BEFORE);
  expectSame(await readAll(file), expected);
  expectSame(await readAll(others), expected);
  expect(other.count('read')).toBeGreaterThan(0);
});

it('a file that is gone keeps what was written, and says so', async () => {
  const { disk, key, ones } = await start();
  await ones.write(mixedBytes(100, 9), { position: 0 });
  disk.disk.remove(key);
  await expect(ones.sync()).rejects.toMatchObject({ code: 'EMISSING' });
  expect(ones.status()).toMatchObject({ isCommitted: false });
  const buffer = new Uint8Array(100);
  await ones.read(buffer, { position: 0 });
  expectSame(buffer, mixedBytes(100, 9));
});

it('who has lost against others again and again commits when these have stopped', async () => {
  const { disk, key, one, ones } = await start();
  const piece = mixedBytes(100, 10);
  let left = 11;
  one.server.script = ({ operation }) => {
    if (operation === 'commit' && left > 0) {
      left -= 1;
      disk.disk.change(key, {});
    }
    return undefined;
  };
  await ones.write(piece, { position: 50 });
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  expect(left).toBe(0);
  await ones.sync();
  expectSame(await disk.content(key), overlaid(BEFORE, 50, piece));
});

it('a commit that may have happened and was discarded hides no change of another client', async () => {
  const { disk, key, one, ones, others } = await start();
  const piece = mixedBytes(100, 11);
  const uncertain = new NetsealError('EUNCERTAIN', 'lost on purpose');
  one.server.script = ({ operation }) => (operation === 'commit' ? { error: uncertain } : undefined);
  await ones.truncate(0);
  await ones.write(piece, { position: 0 });
  await expect(ones.sync()).rejects.toMatchObject({ code: 'EUNCERTAIN' });
  one.server.script = () => undefined;
  await ones.discard();
  expectSame(await readAll(ones), BEFORE);
  // What another client cuts off is no part of the commit that was given up.
  await ones.write(piece, { position: 3 * UNIT_BYTES + 70 });
  await others.truncate(UNIT_BYTES);
  await others.sync();
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  expectSame(await disk.content(key), BEFORE.subarray(0, UNIT_BYTES));
});

const AWAY = new NetsealError('EUNAVAILABLE', 'away');

it('a version that could not be taken over is no obstacle: writes on the old one are joined with it', async () => {
  const { disk, key, ones, others } = await start();
  // So long that the last unit is in another window of receipts than the first.
  const far = 100 * UNIT_BYTES;
  await ones.write(BEFORE, { position: far });
  await ones.sync();
  const late = disk.client({ name: 'late' });
  const file = await late.open(key);
  const piece = mixedBytes(100, 13);
  await file.read(new Uint8Array(10), { position: 0 });
  disk.clock.pass(2000);
  await readAll(others);
  await others.write(piece, { position: UNIT_BYTES });
  await others.sync();
  disk.clock.pass(2000);
  late.server.script = ({ operation }) => (operation === 'locate' ? { error: AWAY } : undefined);
  await expect(file.read(new Uint8Array(10), { position: 0 })).rejects.toBe(AWAY);
  late.server.script = () => undefined;
  // A part of a unit whose record is not known here.
  await file.write(piece, { position: far + 7 });
  await file.sync();
  const written = overlaid(overlaid(BEFORE, far, BEFORE), UNIT_BYTES, piece);
  expectSame(await disk.content(key), overlaid(written, far + 7, piece));
});

it('a conflict whose resolution was interrupted is resolved later, whatever was written since', async () => {
  const { disk, key, ones } = await start();
  const far = 100 * UNIT_BYTES;
  await ones.write(BEFORE, { position: far });
  await ones.sync();
  const late = disk.client({ name: 'late' });
  const stashed: CommitSub[] = [];
  const file = await late.open(key, {
    stash: async (_handle, sub) => {
      stashed.push(sub);
    },
  });
  const piece = mixedBytes(100, 14);
  await file.write(piece, { position: 50 });
  await ones.write(piece, { position: 70 });
  await ones.sync();
  let isTold = false;
  late.server.script = ({ operation }) => {
    if (operation === 'state') isTold = true;
    return isTold && operation === 'locate' ? { error: AWAY } : undefined;
  };
  const leaving = new AbortController();
  const syncing = file.sync({ signal: leaving.signal });
  for (let turn = 0; turn < 50; turn += 1) await new Promise(resolve => setImmediate(resolve));
  expect(isTold).toBe(true);
  leaving.abort(new Error('enough'));
  await expect(syncing).rejects.toThrow('enough');
  late.server.script = () => undefined;
  await file.write(piece, { position: far + 7 });
  await expect(file.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  expect(stashed).toHaveLength(1);
  expect([...(stashed[0]?.receipts.keys() ?? [])].sort((left, right) => left - right)).toEqual([0, 100]);
  expect(file.status()).toMatchObject({ isCommitted: true, dirtyBytes: 0 });
});
