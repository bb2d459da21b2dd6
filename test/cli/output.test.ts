/** Output files where there are no hard links: FAT, some network shares. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { openOutput } from '../../src/cli/lib/output.ts';

vi.mock('node:fs/promises', async importOriginal => ({
  ...(await importOriginal<typeof import('node:fs/promises')>()),
  link: () => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM', syscall: 'link' })),
}));

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-output-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

it('a file gets its name all the same', async () => {
  const path = join(folder, 'out');
  const output = await openOutput({ output: path });
  await output.write(Buffer.from('all of it'));
  await output.commit();
  await output.close();
  expect(await readFile(path, 'utf8')).toBe('all of it');
  expect(await readdir(folder)).toEqual(['out']);
});

it('what somebody else has made meanwhile stays', async () => {
  const path = join(folder, 'out');
  const output = await openOutput({ output: path });
  await output.write(Buffer.from('ours'));
  await writeFile(path, 'theirs');
  await expect(output.commit()).rejects.toMatchObject({ code: 'EEXIST' });
  await output.close();
  expect(await readFile(path, 'utf8')).toBe('theirs');
  expect(await readdir(folder)).toEqual(['out']);
});
