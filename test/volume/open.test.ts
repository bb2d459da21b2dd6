import { constants } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import { parseFlags } from '../../src/volume/file-flags.ts';
import { expectSame, overlaid, readAll } from '../netfs/clients.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Client, codeOf, readFile, TestVolume, writeFile } from './support.ts';

const made: TestVolume[] = [];
afterEach(async () => {
  for (const volume of made.splice(0)) await volume.close();
});

async function start(): Promise<{ test: TestVolume; one: Client; other: Client }> {
  const test = await TestVolume.create();
  made.push(test);
  return { test, one: await test.client(), other: await test.client() };
}

it('a file is made, written at random, synced, and read by another client', async () => {
  const { one, other } = await start();
  const file = await one.volume.open('/new', 'wx+', 0o600);
  const bytes = mixedBytes(50 * KIB, 1);
  await file.write(bytes, { position: 0 });
  await file.write(bytes.subarray(0, 300), { position: 20_000 });
  const expected = overlaid(bytes, 20_000, bytes.subarray(0, 300));
  expectSame(await readAll(file), expected);
  expect((await readFile(other.volume, '/new')).byteLength).toBe(0);
  await file.sync();
  expectSame(await readFile(other.volume, '/new'), expected);
  const { inode } = await other.volume.find('/new');
  expect(inode).toMatchObject({ type: 'file', mode: 0o600, sizeBytes: expected.byteLength });
  await using again = await other.volume.open('/new', 'r+');
  await again.write(mixedBytes(10, 2), { position: 5 });
  await again.truncate(30_000);
  await again.sync();
  expectSame(await readAll(file), overlaid(expected, 5, mixedBytes(10, 2)).subarray(0, 30_000));
  await file.close();
});

it('files that `put` has written, small ones in packs as well, are edited in place', async () => {
  const { one, other } = await start();
  for (const [at, lengthBytes] of [100, 4096, 5000, 70_000].entries()) {
    const path = `/file ${at}`;
    const before = mixedBytes(lengthBytes, at);
    await writeFile(one.volume, path, before);
    await using file = await other.volume.open(path, 'r+');
    expectSame(await readAll(file), before);
    await file.write(mixedBytes(7, 9), { position: 50 });
    await file.sync();
    expectSame(await readFile(one.volume, path), overlaid(before, 50, mixedBytes(7, 9)));
    await file.truncate(20);
    await file.truncate(60);
    await file.sync();
    const expected = overlaid(new Uint8Array(60), 0, before.subarray(0, 20));
    expectSame(await readFile(one.volume, path), expected);
    expectSame(await readAll(file), expected);
  }
});

it('a write into a hole of a file that was cut meanwhile leaves nothing behind the new end', async () => {
  const { test, one, other } = await start();
  const before = mixedBytes(100 * KIB, 1);
  await using ones = await one.volume.open('/f', 'w+');
  await ones.write(before, { position: 0 });
  await ones.truncate(3000 * KIB);
  await ones.sync();
  await using others = await other.volume.open('/f', 'r+');
  // Its unit is whole here, with zeros behind the piece.
  const piece = mixedBytes(100, 4);
  await others.write(piece, { position: 2000 * KIB });
  await ones.truncate(before.byteLength);
  await ones.sync();
  await others.sync();
  const expected = overlaid(overlaid(new Uint8Array(2000 * KIB + 100), 0, before), 2000 * KIB, piece);
  expectSame(await readAll(others), expected);
  expectSame(await readFile((await test.client()).volume, '/f'), expected);
  expect((await verifyVolume(other.volume)).damages).toEqual([]);
});

it('flags mean what they mean in Node', async () => {
  const { one } = await start();
  const { volume } = one;
  expect(await codeOf(volume.open('/none'))).toBe('ENOENT');
  expect(await codeOf(volume.open('/none', 'r+'))).toBe('ENOENT');
  expect(await codeOf(volume.open('/'))).toBe('EISDIR');
  expect(await codeOf(volume.open('/', 'w'))).toBe('EISDIR');
  const made = await volume.open('/f', 'w');
  await expect(made.read(new Uint8Array(1))).rejects.toMatchObject({ code: 'EBADF' });
  await made.write(mixedBytes(100, 1));
  expect(await codeOf(volume.open('/f', 'wx'))).toBe('EEXIST');
  expect(await codeOf(volume.open('/f', 'ax'))).toBe('EEXIST');
  const appended = await volume.open('/f', 'a+');
  await appended.write(mixedBytes(10, 2), { position: 0 });
  expectSame(await readAll(appended), overlaid(mixedBytes(100, 1), 100, mixedBytes(10, 2)));
  const read = await volume.open('/f');
  await expect(read.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'EBADF' });
  const emptied = await volume.open('/f', 'w');
  expect(read.sizeBytes).toBe(0);
  const { O_CREAT, O_EXCL, O_RDWR } = constants;
  await (await volume.open('/g', O_RDWR | O_CREAT)).close();
  expect(await codeOf(volume.open('/g', O_RDWR | O_CREAT | O_EXCL))).toBe('EEXIST');
  for (const file of [made, appended, read, emptied]) await file.close();
  expect((await readFile(volume, '/f')).byteLength).toBe(0);
  for (const flags of ['', 'x', 'rx', 'rs', 'ws', 'w++', 'axs', 5, undefined]) {
    expect(() => parseFlags(flags)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  }
  expect(parseFlags('as+')).toEqual({
    isReadable: true,
    isWritable: true,
    creates: true,
    isExclusive: false,
    truncates: false,
    isAppending: true,
    isSynchronous: true,
  });
});

it('two clients change one unit: the later one finds its changes in a file beside', async () => {
  const { one, other } = await start();
  const before = mixedBytes(20_000, 3);
  await writeFile(one.volume, '/f', before);
  const [ones, others] = [await one.volume.open('/f', 'r+'), await other.volume.open('/f', 'r+')];
  await ones.write(mixedBytes(10, 4), { position: 100 });
  await others.write(mixedBytes(10, 5), { position: 200 });
  await ones.sync();
  await expect(others.sync()).rejects.toMatchObject({ code: 'ECONFLICT' });
  const ones1 = overlaid(before, 100, mixedBytes(10, 4));
  expectSame(await readAll(others), ones1);
  const names: string[] = [];
  for await (const page of one.volume.root.entries()) names.push(...page.map(({ name }) => name));
  const [stash] = names.filter(name => name.startsWith('f.conflict-'));
  expectSame(await readFile(one.volume, `/${stash}`), overlaid(before, 200, mixedBytes(10, 5)));
  // Units of their own are merged.
  await ones.write(mixedBytes(10, 6), { position: 0 });
  await others.write(mixedBytes(10, 7), { position: 10_000 });
  await ones.sync();
  await others.sync();
  expectSame(
    await readFile(one.volume, '/f'),
    overlaid(overlaid(ones1, 0, mixedBytes(10, 6)), 10_000, mixedBytes(10, 7)),
  );
});

it('closing the volume commits what is open', async () => {
  const { test, one } = await start();
  const file = await one.volume.open('/f', 'w');
  await file.write(mixedBytes(9000, 8));
  await one.volume.close();
  const later = await test.client();
  expectSame(await readFile(later.volume, '/f'), mixedBytes(9000, 8));
});

it('a file is copied over another one in little memory, piece by piece as it is read', async () => {
  const test = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  made.push(test);
  const pipeline = await openPipeline({ workers: 0, memoryBytes: 2200 * KIB });
  const { volume } = await test.client({ pipeline, pageBytes: 1024 * KIB });
  const [source, before] = [mixedBytes(2500 * KIB, 1), mixedBytes(2600 * KIB, 2)];
  await writeFile(volume, '/source', source);
  await writeFile(volume, '/target', before);
  const target = await volume.open('/target', 'r+');
  const reader = await volume.openFile('/source');
  let expected: Uint8Array = before;
  for await (const { offsetBytes, bytes } of reader.pieces(0, source.byteLength)) {
    if (bytes === undefined) continue;
    // What comes between two pieces keeps each of them partial.
    await target.write(bytes.subarray(10), { position: offsetBytes + 100 });
    expected = overlaid(
      expected,
      offsetBytes + 100,
      source.subarray(offsetBytes + 10, offsetBytes + bytes.byteLength),
    );
  }
  await target.sync();
  expectSame(await readAll(target), expected);
  await target.close();
  await volume.close();
  await pipeline.close();
});
