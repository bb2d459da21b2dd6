/** The smallest budgets: everything ends, whoever waits for whose memory. */
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';

it.each([
  { server: 'holds the records back', copiesWrites: false },
  { server: 'holds copies of the records back', copiesWrites: true },
])(
  'writers, readers and cold partial writes of many files end in little memory, when the server $server',
  async ({ copiesWrites }) => {
    const disk = await Disk.make(1100 * KIB);
    const chance = seededChance(7);
    const below = (count: number): number => Math.floor(chance() * count);
    const client = disk.client({
      pageBytes: 128 * KIB,
      // Longer than all that is written: nothing is sent unless somebody pushes.
      segmentBytes: 2 ** 30,
      capabilities: { copiesWrites },
      script: ({ operation, number }) =>
        operation === 'upload' || number % 3 === 0 ? { before: new Promise(setImmediate) } : undefined,
    });
    const fileBytes = 20 * UNIT_BYTES;
    const keys = Array.from({ length: 4 }, () => disk.add());
    const contents = keys.map((_, at) => mixedBytes(fileBytes, at));
    const files = await Promise.all(keys.map(key => client.open(key)));
    const whole = files.map((file, at) => file.write(contents[at]!, { position: 0 }));
    await Promise.all(whole);
    await Promise.all(files.map(file => file.sync()));
    const jobs: Promise<unknown>[] = [];
    for (let round = 0; round < 40; round += 1) {
      const at = below(files.length);
      const file = files[at]!;
      const offset = below(fileBytes - 3000);
      if (chance() < 0.6) {
        const piece = mixedBytes(1 + below(3000), round);
        contents[at] = overlaid(contents[at]!, offset, piece) as Uint8Array<ArrayBuffer>;
        jobs.push(file.write(piece, { position: offset }));
      } else {
        jobs.push(file.read(new Uint8Array(below(100_000)), { position: offset }));
      }
      if (round % 14 === 13) jobs.push(...files.map(each => each.sync()));
    }
    await Promise.all(jobs);
    for (const [at, file] of files.entries()) expectSame(await readAll(file), contents[at]!);
    await client.netfs.flush();
    for (const [at, key] of keys.entries()) expectSame(await disk.content(key), contents[at]!);
    expect(client.pages.use.heldBytes).toBe(0);
  },
);

it('a file whose server does not answer does not keep others from being flushed', async () => {
  const disk = await Disk.make();
  const client = disk.client({ pageBytes: 256 * KIB });
  const gate = Promise.withResolvers<void>();
  const slow = disk.client({
    script: ({ operation }) => (operation === 'place' ? { before: gate.promise } : undefined),
  });
  const [slowKey, key] = [disk.add(), disk.add()];
  const slowFile = await client.netfs.openFile(slow.server, slowKey);
  const bytes = mixedBytes(100 * KIB, 1);
  await slowFile.write(bytes, { position: 0 });
  const syncing = slowFile.sync();
  for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  // Dirty again, and not to be flushed before the first records are placed.
  await slowFile.write(bytes.subarray(0, 90 * KIB), { position: 0 });
  const file = await client.open(key);
  const large = mixedBytes(400 * KIB, 2);
  await file.write(large, { position: 0 });
  await file.sync();
  expectSame(await disk.content(key), large);
  gate.resolve();
  await syncing;
  await slowFile.close();
  expectSame(await disk.content(slowKey), bytes);
});

it('what a server holds back is sent in few large pieces, however often the writer waits', async () => {
  const disk = await Disk.make(1100 * KIB);
  const pageBytes = 512 * KIB;
  const client = disk.client({ pageBytes, segmentBytes: 2 ** 30, capabilities: { copiesWrites: true } });
  const file = await client.open(disk.add());
  const unitCount = 16 * (pageBytes / UNIT_BYTES);
  const unit = mixedBytes(UNIT_BYTES, 1);
  for (let at = 0; at < unitCount; at += 1) await file.write(unit, { position: at * UNIT_BYTES });
  await file.sync();
  const uploads = client.server.calls.filter(({ operation }) => operation === 'upload');
  expect(uploads.flatMap(({ units }) => units)).toHaveLength(unitCount);
  // Each frees a fifth of the pages at least, on the average.
  expect(uploads.length).toBeLessThanOrEqual(16 * 5);
});

it('a file that cannot be flushed keeps no other from being written, though its server holds back', async () => {
  const disk = await Disk.make();
  const pageBytes = 256 * KIB;
  const client = disk.client({ pageBytes, segmentBytes: 2 ** 30, capabilities: { copiesWrites: true } });
  const broken = disk.client({
    script: ({ operation }) =>
      operation === 'place' ? { error: new NetsealError('EIO', 'on purpose') } : undefined,
  });
  const [brokenKey, key] = [disk.add(), disk.add()];
  const lost = await client.netfs.openFile(broken.server, brokenKey);
  await lost.write(mixedBytes(2 * UNIT_BYTES, 1), { position: 0 });
  await expect(lost.sync()).rejects.toMatchObject({ code: 'EIO' });
  // Nobody lets time pass: what is tried again after a while is not tried again here.
  const file = await client.open(key);
  const bytes = mixedBytes(4 * pageBytes, 2);
  for (let at = 0; at < bytes.byteLength; at += UNIT_BYTES) {
    await file.write(bytes.subarray(at, at + UNIT_BYTES), { position: at });
    // So long that all of this file is on its way, and only the broken one is left to flush.
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
  }
  await file.sync();
  expectSame(await disk.content(key), bytes);
  await lost.discard();
});
