import * as nodeFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import type { NodeFs } from '../../src/volume/fs/volume-fs.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { describeFs } from './fs-contract.ts';
import { bytesOf, readFile, TestVolume } from './support.ts';

const made: TestVolume[] = [];
afterEach(async () => {
  for (const volume of made.splice(0)) await volume.close();
});

async function start(): Promise<{ test: TestVolume; volume: Volume; other: Volume }> {
  const test = await TestVolume.create();
  made.push(test);
  const [one, other] = [await test.client(), await test.client()];
  return { test, volume: one.volume, other: other.volume };
}

describeFs('node:fs/promises', async () => {
  const root = await nodeFs.mkdtemp(join(tmpdir(), 'netseal-fs-'));
  return { fs: nodeFs, root, end: () => nodeFs.rm(root, { recursive: true }) };
});

describeFs('volume.fs', async () => {
  const test = await TestVolume.create();
  const { volume } = await test.client();
  await volume.fs.mkdir('/root');
  return { fs: volume.fs, root: '/root', end: () => test.close() };
});

it('the types of volume.fs are those of node:fs/promises', async () => {
  const { volume } = await start();
  // The type checker proves it.
  const fs: NodeFs = volume.fs;
  const file: nodeFs.FileHandle = await fs.open('/f', 'w');
  await file.close();
  const { writeFile, readFile: read } = volume.fs;
  await writeFile('/f', 'taken out');
  expect(await read('/f', 'utf8')).toBe('taken out');
});

it('what writeFile has written is in the store, and open files show what is not', async () => {
  const { volume, other } = await start();
  await volume.fs.writeFile('/f', 'one');
  expect((await readFile(other, '/f')).toString()).toBe('one');
  const file = await volume.fs.open('/f', 'r+');
  await file.write('THREE');
  expect((await volume.fs.stat('/f')).size).toBe(5);
  expect(await volume.fs.readFile('/f', 'utf8')).toBe('THREE');
  expect((await readFile(other, '/f')).toString()).toBe('one');
  // Times, copies and links are those of what was written.
  await volume.fs.utimes('/f', 1, 2);
  await file.write('!', 5);
  await volume.fs.copyFile('/f', '/copy');
  expect((await readFile(other, '/copy')).toString()).toBe('THREE!');
  await file.close();
});

it('a copy shares what the store has', async () => {
  const { test, volume, other } = await start();
  const bytes = bytesOf(1, 100 * KIB);
  await volume.fs.writeFile('/f', bytes);
  const before = await totalBytes(test);
  await volume.fs.copyFile('/f', '/g');
  expect((await totalBytes(test)) - before).toBeLessThan(20 * KIB);
  await volume.fs.rm('/f');
  expect((await readFile(other, '/g')).equals(bytes)).toBe(true);
});

async function totalBytes({ store }: TestVolume): Promise<number> {
  let [sum, startAfter]: [number, string | undefined] = [0, undefined];
  for (;;) {
    const page = await store.list({ limit: 1000, after: startAfter });
    sum += page.entries.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    startAfter = page.next;
    if (startAfter === undefined) return sum;
  }
}

it('ranges are made zeros and take no room; saveAs keeps what is not committed', async () => {
  const { volume, other } = await start();
  const bytes = bytesOf(2, 40 * KIB);
  await volume.fs.writeFile('/f', bytes);
  const file = await volume.open('/f', 'r+');
  await file.punchHole(8 * KIB, 100 * KIB);
  expect(file.sizeBytes).toBe(40 * KIB);
  await file.zeroRange(KIB, KIB);
  await file.zeroRange(60 * KIB, 5);
  await file.allocate(80 * KIB);
  await file.allocate(10);
  const expected = Buffer.alloc(80 * KIB);
  bytes.copy(expected, 0, 0, 8 * KIB);
  expected.fill(0, KIB, 2 * KIB);
  await file.saveAs('/saved');
  expect((await readFile(other, '/saved')).equals(expected)).toBe(true);
  expect((await readFile(other, '/f')).equals(bytes)).toBe(true);
  await file.sync();
  expect((await readFile(other, '/f')).equals(expected)).toBe(true);
  expect((await other.fs.stat('/f')).blocks).toBeLessThan(20);
  await file.write('x', 0);
  await file.discard();
  await file.saveAs('/again');
  expect((await readFile(other, '/again')).equals(expected)).toBe(true);
  await expect(file.saveAs('/again')).rejects.toMatchObject({ code: 'EEXIST' });
  await file.saveAs('/again', { replace: true });
  await file.close();
});

it('a write stream that an error ends waits for no commit, and what it has written stays', async () => {
  const { volume, other } = await start();
  const file = await volume.open('/f', 'w');
  const stream = file.createWriteStream();
  await new Promise(resolve => stream.write('written', resolve));
  stream.destroy(new Error('enough'));
  await new Promise(resolve => stream.once('error', resolve));
  while (!stream.closed) await setImmediate();
  await expect(file.stat()).rejects.toMatchObject({ code: 'EBADF' });
  expect((await readFile(other, '/f')).byteLength).toBe(0);
  expect(await volume.fs.readFile('/f', 'utf8')).toBe('written');
  await volume.sync();
  expect((await readFile(other, '/f')).toString()).toBe('written');
});

it('streams of the web write and read a file', async () => {
  const { volume } = await start();
  const writer = (await volume.open('/f', 'w')).writable().getWriter();
  await writer.write(Buffer.from('hello '));
  await writer.write(Buffer.from('web'));
  await writer.close();
  const file = await volume.open('/f');
  const text: string[] = [];
  for await (const chunk of file.readableWebStream({ autoClose: true }))
    text.push(Buffer.from(chunk).toString());
  expect(text.join('')).toBe('hello web');
});

it('errors have the codes of Node, and their cause', async () => {
  const { volume } = await start();
  const file = await volume.open('/f', 'w');
  await file.close();
  const error = await file.write('x').catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: 'EBADF', syscall: 'write', errno: -9 });
  await volume.close();
  const closed = await volume.fs.open('/f').catch((cause: unknown) => cause);
  expect(closed).toMatchObject({ code: 'EBADF', syscall: 'open', cause: { code: 'ECLOSED' } });
});
