/** What must not happen between two steps of one call, when another call takes its step there. */
import { expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';

const BEFORE = mixedBytes(4 * UNIT_BYTES, 1);

/** Lets so many steps of other calls go first. */
async function steps(count: number): Promise<void> {
  for (let step = 0; step < count; step += 1) await undefined;
}

/** Lets everything go on that needs no waiting. */
function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

it('a version that was told and could not be taken over is a conflict, not a base', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const one = disk.client();
  const ones = await one.open(key);
  await ones.write(BEFORE, { position: 0 });
  await ones.sync();
  const others = await disk.client().open(key);
  const piece = mixedBytes(100, 2);
  await others.write(piece, { position: 70 });
  await others.sync();
  disk.clock.pass(2000);
  const gone = new NetsealError('EUNAVAILABLE', 'on purpose');
  one.server.script = ({ operation }) => (operation === 'locate' ? { error: gone } : undefined);
  await expect(readAll(ones)).rejects.toBe(gone);
  one.server.script = () => undefined;
  await ones.write(mixedBytes(UNIT_BYTES, 3), { position: 0 });
  await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  expectSame(await disk.content(key), overlaid(BEFORE, 70, piece));
  await ones.discard();
  expectSame(await readAll(ones), overlaid(BEFORE, 70, piece));
});

it('a write right after a stash is not taken for a part of it', async () => {
  for (let count = 0; count < 20; count += 1) {
    const disk = await Disk.make();
    const key = disk.add();
    const small = mixedBytes(200, 1);
    const late = mixedBytes(100, 5);
    let writing: Promise<unknown> | undefined;
    const ones = await disk.client().open(key, {
      stash: async () => {
        writing = steps(count).then(() => ones.write(late, { position: 2 * UNIT_BYTES }));
      },
    });
    await ones.write(small, { position: 0 });
    await ones.sync();
    const others = await disk.client().open(key);
    await others.write(mixedBytes(100, 2), { position: 70 });
    await others.sync();
    await ones.write(mixedBytes(100, 3), { position: 80 });
    await expect(ones.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
    await writing;
    await ones.sync();
    const expected = overlaid(overlaid(small, 70, mixedBytes(100, 2)), 2 * UNIT_BYTES, late);
    expectSame(await disk.content(key), expected);
  }
});

it('nobody begins to write while the version is asked for', async () => {
  for (let count = 0; count < 20; count += 1) {
    const disk = await Disk.make();
    const key = disk.add();
    const client = disk.client({ freshMs: 0 });
    const file = await client.open(key);
    await file.write(BEFORE, { position: 0 });
    await file.sync();
    const answers = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    let asked = 0;
    client.server.script = ({ operation }) => {
      if (operation !== 'state') return undefined;
      asked += 1;
      const answer = answers[asked - 1];
      return answer && { before: answer.promise };
    };
    const buffer = new Uint8Array(10);
    const reading = file.read(buffer, { position: 0 });
    let isWritten = false;
    // Larger than what is written in one turn.
    const writing = file.write(mixedBytes(2 * UNIT_BYTES, 4), { position: 0 }).then(() => {
      isWritten = true;
    });
    await settled();
    expect([asked, isWritten]).toEqual([1, false]);
    answers[0]!.resolve();
    await steps(count);
    const readingAgain = file.read(buffer, { position: 0 });
    const askedBefore = asked > 1 && !isWritten;
    await settled();
    if (askedBefore) expect(isWritten).toBe(false);
    answers[1]!.resolve();
    await Promise.all([reading, writing, readingAgain]);
    client.server.script = () => undefined;
  }
});

it('what is written to one file while another is given back is refused, or committed', async () => {
  const disk = await Disk.make();
  const [first, second] = [disk.add(), disk.add()];
  const writer = await disk.client().open(first);
  await writer.write(BEFORE, { position: 0 });
  await writer.sync();
  const client = disk.client();
  const slow = await client.open(first);
  const file = await client.open(second);
  const gate = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'read' ? { before: gate.promise } : undefined);
  const reading = slow.read(new Uint8Array(10), { position: 0 }).catch(() => undefined);
  await settled();
  const closing = client.netfs.close();
  await settled();
  const outcome = await file.write(mixedBytes(100, 6), { position: 0 }).then(
    () => 'written',
    (error: NetsealError) => error.code,
  );
  gate.resolve();
  await closing;
  await reading;
  if (outcome === 'written') expectSame(await disk.content(second), mixedBytes(100, 6));
  else expect(outcome).toBe('ECLOSED');
});

it('a read of a record that is lost finds what the unit is by then', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const writer = await disk.client().open(key);
  await writer.write(BEFORE, { position: 0 });
  await writer.sync();
  const client = disk.client({ pageBytes: 3 * UNIT_BYTES });
  const file = await client.open(key);
  const full = new NetsealError('EFULL', 'on purpose');
  const uploading = Promise.withResolvers<void>();
  client.server.script = ({ operation }) =>
    operation === 'upload' ? { before: uploading.promise } : undefined;
  const piece = mixedBytes(100, 2);
  await file.write(piece, { position: 50 });
  const syncing = file.sync();
  syncing.catch(() => undefined);
  for (let turn = 0; turn < 20; turn += 1) await settled();
  // The other pages of the unit are given to others.
  for (const unit of [1, 2, 3]) await file.read(new Uint8Array(UNIT_BYTES), { position: unit * UNIT_BYTES });
  const reads = client.count('read');
  const reading = Promise.withResolvers<void>();
  client.server.script = ({ operation, number }) =>
    operation === 'read' && number === reads + 1 ? { before: reading.promise } : undefined;
  const buffer = new Uint8Array(UNIT_BYTES);
  const held = file.read(buffer, { position: 0 });
  await settled();
  expect(client.count('read')).toBe(reads + 1);
  uploading.reject(full);
  await expect(syncing).rejects.toMatchObject({ code: 'EFULL' });
  reading.resolve();
  await held;
  expectSame(buffer, overlaid(BEFORE, 50, piece).subarray(0, UNIT_BYTES));
});

it('a truncate that waits while the file is given back is refused, and nothing is asked for afterwards', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const client = disk.client({ freshMs: 0 });
  const file = await client.open(key);
  await file.write(BEFORE, { position: 0 });
  await file.sync();
  const answer = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'state' ? { before: answer.promise } : undefined);
  const reading = file.read(new Uint8Array(10), { position: 0 });
  await settled();
  const truncating = file.truncate(5).then(
    () => 'truncated',
    (error: NetsealError) => error.code,
  );
  const closing = file.close();
  await settled();
  answer.resolve();
  await Promise.all([reading, closing]);
  const outcome = await truncating;
  if (outcome === 'truncated') expectSame(await disk.content(key), BEFORE.subarray(0, 5));
  else expect(outcome).toBe('ECLOSED');
});

it('a file whose new version could not be taken over can be read while a writer waits', async () => {
  const disk = await Disk.make();
  const [key, otherKey] = [disk.add(4096), disk.add(4096)];
  const first = await disk.client().open(key);
  await first.write(mixedBytes(70 * 4096, 1), { position: 0 });
  await first.sync();
  const client = disk.client({ pageBytes: 16 * 4096 });
  const file = await client.open(key);
  await file.read(new Uint8Array(4096), { position: 0 });
  await first.write(mixedBytes(100, 2), { position: 70 });
  await first.sync();
  disk.clock.pass(2000);
  const gone = new NetsealError('EUNAVAILABLE', 'on purpose');
  client.server.script = ({ operation }) => (operation === 'locate' ? { error: gone } : undefined);
  await expect(file.read(new Uint8Array(10), { position: 0 })).rejects.toBe(gone);
  // All memory is held by another file, so a write to this one waits.
  const placing = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => (operation === 'place' ? { before: placing.promise } : undefined);
  const other = await client.open(otherKey);
  const filling = other.write(mixedBytes(32 * 4096, 3), { position: 0 });
  await settled();
  const writing = file.write(mixedBytes(8 * 4096, 4), { position: 0 });
  await settled();
  // Its place is not known.
  const reading = file.read(new Uint8Array(10), { position: 66 * 4096 });
  const { buffer } = await reading;
  placing.resolve();
  await Promise.all([filling, writing]);
  expectSame(buffer, mixedBytes(70 * 4096, 1).subarray(66 * 4096, 66 * 4096 + 10));
  await expect(file.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
});

it('a buffer that its owner gives away meanwhile fails its own read only, and nothing waits for ever', async () => {
  const disk = await Disk.make();
  const key = disk.add();
  const bytes = mixedBytes(UNIT_BYTES, 31);
  const first = await disk.client().open(key);
  await first.write(bytes, { position: 0 });
  await first.close();
  const client = disk.client();
  const file = await client.open(key);
  const gate = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  client.server.script = ({ operation }) => {
    if (operation !== 'read') return undefined;
    asked.resolve();
    return { before: gate.promise };
  };
  const given = new Uint8Array(UNIT_BYTES);
  const kept = new Uint8Array(UNIT_BYTES);
  // Both want the same record, which is fetched once.
  const reads = Promise.allSettled([file.read(given, { position: 0 }), file.read(kept, { position: 0 })]);
  await asked.promise;
  structuredClone(given.buffer, { transfer: [given.buffer] });
  gate.resolve();
  const [one, other] = await reads;
  expect(one).toMatchObject({ status: 'rejected', reason: { name: 'TypeError' } });
  expect(other).toMatchObject({ status: 'fulfilled', value: { bytesRead: UNIT_BYTES } });
  expectSame(kept, bytes);
  await file.close();
});
