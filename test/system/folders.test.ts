/** Folders are made where that is possible, and where it is not, the call ends and says so. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isRefusedSync, makeFolders, syncFolder } from '../../src/system/folders.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-folders-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

describe('makeFolders', () => {
  it('makes what is missing, and returns the topmost', async () => {
    expect(await makeFolders(join(folder, 'a', 'b', 'c'), 0o700)).toBe(join(folder, 'a'));
    expect((await stat(join(folder, 'a', 'b', 'c'))).mode & 0o777).toBe(0o700);
    expect(await makeFolders(join(folder, 'a', 'b', 'c'), 0o700)).toBe(undefined);
    expect(await makeFolders(join(folder, 'a', 'b', 'd'), 0o700)).toBe(join(folder, 'a', 'b', 'd'));
  });

  it('may be called for the same folder many times at once', async () => {
    const paths = Array.from({ length: 20 }, () => join(folder, 'x', 'y'));
    const made = await Promise.all(paths.map(path => makeFolders(path, 0o700)));
    expect(made.filter(path => path === join(folder, 'x'))).toHaveLength(1);
  });

  it('names what is in the way', async () => {
    await writeFile(join(folder, 'file'), '');
    await symlink('nowhere', join(folder, 'link'));
    for (const [path, code, named] of [
      ['file', 'EEXIST', 'file'],
      ['file/below', 'ENOTDIR', 'file/below'],
      ['link', 'EEXIST', 'link'],
      ['link/below', 'EEXIST', 'link'],
    ] as const) {
      await expect(makeFolders(join(folder, path), 0o700)).rejects.toMatchObject({
        code,
        path: join(folder, named),
      });
    }
  });

  it.runIf(existsSync('/proc/self'))('ends where a parent that exists takes no folders', async () => {
    for (const path of ['/proc/x', '/proc/x/y/z', '/proc/self/x/y']) {
      await expect(makeFolders(path, 0o700)).rejects.toMatchObject({ code: 'ENOENT' });
    }
  });
});

describe('syncFolder', () => {
  it('syncs, and reports a folder that is not there', async () => {
    await syncFolder(folder);
    await expect(syncFolder(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('does not take a refusal for a failure', () => {
    for (const code of ['EACCES', 'EINVAL', 'ENOTSUP', 'EPERM']) {
      expect(isRefusedSync(Object.assign(new Error(code), { code, syscall: 'fsync' }))).toBe(true);
    }
    expect(isRefusedSync(Object.assign(new Error('EIO'), { code: 'EIO', syscall: 'fsync' }))).toBe(false);
  });
});
