import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import * as nodeFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import type { NodeFs } from '../../src/volume/fs/node-types.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { HandClock } from '../netfs/clients.ts';
import { describeFs } from './fs-contract.ts';
import { aroundStore, bytesOf, codeOf, readFile, TestVolume } from './support.ts';

const made: TestVolume[] = [];
afterEach(async () => {
  for (const volume of made.splice(0)) await volume.close();
});

async function start(): Promise<{ test: TestVolume; volume: Volume; other: Volume }> {
  const test = await TestVolume.create();
  made.push(test);
  // Nothing is committed because time passes.
  const scheduler = new HandClock();
  const [one, other] = [await test.client({ scheduler }), await test.client({ scheduler })];
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

it('ranges are made zeros where they are, also by who appends', async () => {
  const { volume, other } = await start();
  const file = await volume.open('/f', 'a');
  await file.write('0123456789');
  await file.punchHole(2, 3);
  await file.zeroRange(7, 1);
  await file.close();
  expect((await readFile(other, '/f')).toString()).toBe('01\0\0\x0056\x0089');
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
  expect(await codeOf(readFile(other, '/f'))).toBe('ENOENT');
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

it('status tells what is not in the store, flush puts it there, and a channel tells of it', async () => {
  const { volume, other } = await start();
  const events: unknown[] = [];
  const listen = (event: unknown): void => void events.push(event);
  subscribe('netseal:commit', listen);
  const nothing = { dirtyBytes: 0, uploadedBytes: 0, failing: [] };
  expect(await volume.status()).toEqual({ ...nothing, isCommitted: true });
  const [one, two] = [await volume.open('/one', 'w'), await volume.open('/two', 'w')];
  expect(await volume.status()).toEqual({ ...nothing, isCommitted: false });
  await one.write('1234');
  await two.write('56');
  expect(await volume.status()).toMatchObject({ dirtyBytes: 6, isCommitted: false });
  expect(await volume.status('/two')).toMatchObject({ dirtyBytes: 2, isCommitted: false });
  await volume.flush({ path: '/two' });
  expect(await volume.status('/two')).toMatchObject({ dirtyBytes: 0, isCommitted: true });
  expect(events).toEqual([{ file: (await other.find('/two')).inode.id, sizeBytes: 2, units: 1 }]);
  expect(await codeOf(readFile(other, '/one'))).toBe('ENOENT');
  const { files, pages, memory } = volume.inspect();
  expect(files.map(({ path, status }) => [path, status.dirtyBytes])).toEqual([
    ['/one', 4],
    ['/two', 0],
  ]);
  expect(pages?.usedBytes).toBeGreaterThan(0);
  expect(memory.map(({ name }) => name)).not.toEqual([]);
  await volume.flush();
  unsubscribe('netseal:commit', listen);
  expect((await readFile(other, '/one')).toString()).toBe('1234');
  expect(events.length).toBe(2);
  for (const file of [one, two]) await file.close();
});

it('close names the files that it cannot commit, and gives them up when told to', async () => {
  const test = await TestVolume.create();
  made.push(test);
  let isFull = false;
  const { volume } = await test.client({
    scheduler: new HandClock(),
    around: inner =>
      aroundStore(inner, async call => {
        if (isFull && call.operation === 'put') throw new NetsealError('EFULL', 'the store is full');
        return await call.send();
      }),
  });
  await volume.fs.mkdir('/folder');
  const file = await volume.open('/folder/f', 'w');
  await file.write('x');
  isFull = true;
  await expect(file.close()).rejects.toMatchObject({ code: 'ENOSPC', cause: { code: 'EFULL' } });
  expect(await volume.status()).toMatchObject({ isCommitted: false, failing: [{ path: '/folder/f' }] });
  await expect(volume.close()).rejects.toMatchObject({ code: 'EFULL', path: '/folder/f' });
  expect(await volume.fs.readFile('/folder/f', 'utf8')).toBe('x');
  await volume.close({ discard: true }).catch(() => undefined);
  await expect(volume.status()).rejects.toMatchObject({ code: 'ECLOSED' });
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
