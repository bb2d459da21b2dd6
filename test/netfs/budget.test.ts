/** The smallest budgets: everything ends, whoever waits for whose memory. */
import { expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { KIB } from '../../src/base/geometry.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { Disk, expectSame, overlaid, readAll, UNIT_BYTES } from './clients.ts';

it('writers, readers and cold partial writes of many files end in little memory, with a server that holds back', async () => {
  const disk = await Disk.make(1100 * KIB);
  const chance = seededChance(7);
  const below = (count: number): number => Math.floor(chance() * count);
  const client = disk.client({
    pageBytes: 128 * KIB,
    // Longer than all that is written: nothing is sent unless somebody pushes.
    segmentBytes: 2 ** 30,
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
});
