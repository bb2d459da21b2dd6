/** Paths that end in `/`: as in POSIX, they lead to folders only. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Volume } from '../../src/volume/volume.ts';
import { codeOf, FILE, makeFolder, readFile, TestVolume, writeFile } from './support.ts';

let test: TestVolume;
let volume: Volume;

beforeEach(async () => {
  test = await TestVolume.create();
  ({ volume } = await test.client());
  await writeFile(volume, '/notes', Buffer.from('keep'));
  await makeFolder(volume, '/docs');
  await writeFile(volume, '/docs/a', Buffer.from('a'));
  for (const [name, target] of [
    ['to-notes', 'notes'],
    ['to-notes-slash', 'notes/'],
    ['to-docs', 'docs'],
    ['to-nothing', 'nothing'],
  ] as const) {
    const { directory } = await volume.place(`/${name}`);
    await volume.names.insert(directory, name, volume.names.newSymlink(FILE, Buffer.from(target)));
  }
});
afterEach(() => test.close());

const ENDS = ['/', '//', '/.', '/./'];

it.each(ENDS)('finds no file at a path that ends in "%s"', async end => {
  for (const follow of [false, true]) {
    expect(await codeOf(volume.find(`/notes${end}`, { follow }))).toBe('ENOTDIR');
    expect(await codeOf(volume.find(`/to-notes${end}`, { follow }))).toBe('ENOTDIR');
    expect(await codeOf(volume.find(`/nothing${end}`, { follow }))).toBe('ENOENT');
    expect(await codeOf(volume.find(`/to-nothing${end}`, { follow }))).toBe('ENOENT');
    expect((await volume.find(`/docs${end}`, { follow })).inode.type).toBe('directory');
    // A symlink before the slash is followed.
    expect((await volume.find(`/to-docs${end}`, { follow })).inode.type).toBe('directory');
  }
  expect(await codeOf(volume.openFile(`/notes${end}`))).toBe('ENOTDIR');
  expect(await codeOf(volume.openWriter(`/notes${end}`))).toBe('ENOTDIR');
  expect(await codeOf(volume.openFile(`/docs${end}`))).toBe('EISDIR');
  expect(await codeOf(volume.directory(`/notes${end}`))).toBe('ENOTDIR');
});

it('holds what a symlink says to the same rule', async () => {
  expect(await codeOf(volume.find('/to-notes-slash', { follow: true }))).toBe('ENOTDIR');
  expect((await volume.find('/to-notes-slash')).inode.type).toBe('symlink');
  expect((await readFile(volume, '/to-notes')).toString()).toBe('keep');
});

it.each(ENDS)('gives no place for a file at a path that ends in "%s"', async end => {
  expect(await codeOf(volume.place(`/notes${end}`))).toBe('ENOTDIR');
  expect(await codeOf(volume.place(`/new${end}`))).toBe('ENOENT');
  // The place is that of the symlink, which is no folder.
  expect(await codeOf(volume.place(`/to-docs${end}`))).toBe('ENOTDIR');
  expect((await volume.place(`/docs${end}`)).name).toBe('docs');
  expect(await codeOf(volume.createFile(`/new${end}`, FILE))).toBe('ENOENT');
  expect(await codeOf(volume.createFile(`/notes${end}`, FILE, { replace: true }))).toBe('ENOTDIR');
  expect((await readFile(volume, '/notes')).toString()).toBe('keep');
});

it('gives a place for a new folder, though the path ends in "/"', async () => {
  expect((await volume.place('/new/', { forFolder: true })).name).toBe('new');
  expect(await codeOf(volume.place('/notes/', { forFolder: true }))).toBe('ENOTDIR');
  expect(await codeOf(volume.place('/notes/new/', { forFolder: true }))).toBe('ENOTDIR');
});

it('takes the root for a folder, however it is written', async () => {
  for (const path of ['', '/', '//', '/.', '.'])
    expect((await volume.find(path)).inode.type).toBe('directory');
});
