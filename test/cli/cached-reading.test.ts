/** `--cache DIR`: commands that read with a local cache in front of the store. */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openCache } from '../../src/cache/open.ts';
import { EXIT_KEY, EXIT_NOT_FOUND, EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { CONTENT, folder, json, netseal, output, statOf, useVolume } from './volume-support.ts';

useVolume();

const CACHE = ['--cache', 'cache'];

async function makeTree(): Promise<void> {
  await writeFile(join(folder, 'large'), CONTENT);
  await writeFile(join(folder, 'small'), 'small\n');
  await writeFile(join(folder, 'tiny'), 'tiny\n');
  await output('put', 'large', 'small', 'tiny', 'vol:/', '--json');
}

async function makeCache(key = 'key'): Promise<void> {
  const { exitCode } = await netseal(['cache', 'init', 'cache', '--key-file', key], []);
  expect(exitCode).toBe(EXIT_OK);
}

it('what was read once is read again while the store has no segment', async () => {
  await makeTree();
  await makeCache();
  const list = await output('ls', '-lR', ...CACHE, 'vol:/');
  const use = await output('du', ...CACHE, 'vol:/');
  await mkdir(join(folder, 'out'));
  const { exitCode } = await netseal(['get', ...CACHE, 'vol:/large', 'vol:/small', 'out/']);
  expect(exitCode).toBe(EXIT_OK);
  const segments = join(folder, 'vol', 'objects', 's+');
  await rename(segments, join(folder, 'away'));
  expect((await netseal(['cat', 'vol:/large'])).exitCode).not.toBe(EXIT_OK);
  expect(Buffer.from(await output('cat', ...CACHE, 'vol:/large'), 'latin1').equals(CONTENT)).toBe(true);
  expect(await output('cat', ...CACHE, 'vol:/small')).toBe('small\n');
  expect(await output('cat', ...CACHE, '--offset', '5000', '--length', '3', 'vol:/large')).toBe(
    CONTENT.subarray(5000, 5003).toString('latin1'),
  );
  expect(await output('ls', '-lR', ...CACHE, 'vol:/')).toBe(list);
  expect(await output('du', ...CACHE, 'vol:/')).toBe(use);
});

it('a cache that is not there, or has another secret, is told before anything is done', async () => {
  await makeTree();
  const missing = await netseal(['cat', ...CACHE, 'vol:/small']);
  expect([missing.exitCode, missing.stdout.toString()]).toEqual([EXIT_NOT_FOUND, '']);
  expect(missing.stderr).toBe(
    'netseal: there is no cache in cache; make one with "netseal cache init" (ENOENT)\n',
  );
  await writeFile(join(folder, 'other'), mixedBytes(32, 77));
  await makeCache('other');
  const refused = await netseal(['cat', ...CACHE, 'vol:/small']);
  expect([refused.exitCode, refused.stdout.toString()]).toEqual([EXIT_KEY, '']);
  expect(refused.stderr).toMatch(
    /^netseal: the cache in cache has another secret: "netseal cache key add" .*\(EKEY\)\n$/,
  );
});

it('a cache that another process has is done without, and a line says so', async () => {
  await makeTree();
  await makeCache();
  await using _ = await openCache(
    join(folder, 'cache'),
    {},
    { key: { secrets: { type: 'key-file', contents: mixedBytes(32, 9) } } },
  );
  const { exitCode, stdout, stderr } = await netseal(['cat', ...CACHE, 'vol:/small']);
  expect([exitCode, stdout.toString()]).toEqual([EXIT_OK, 'small\n']);
  expect(stderr).toMatch(/^netseal: does without the cache in cache: .*\n$/);
});

it('inspect tells what files are made of, and what of them the cache has', async () => {
  await makeTree();
  await makeCache();
  const [large, small] = await json('inspect', ...CACHE, 'vol:/large', 'vol:/small');
  const counts = { units: 10, holes: 0, records: 10, packed: 0, segments: 1, packs: 0, lost: 0, cached: 0 };
  expect(large).toMatchObject({ path: '/large', size: 40_960, unitSize: 4096, ...counts });
  expect(large?.recordBytes).toBe((await statOf('vol:/large')).stored);
  expect(small).toMatchObject({ path: '/small', size: 6, units: 1, records: 0, packed: 1, packs: 1 });
  await output('cat', ...CACHE, '--length', '5000', 'vol:/large');
  expect(await output('inspect', ...CACHE, 'vol:/large')).toMatch(/^cached {3}2 of 10 units$/m);
  expect(await output('inspect', 'vol:/large')).not.toContain('cached');
  const { exitCode, stderr } = await netseal(['inspect', 'vol:/']);
  expect([exitCode, stderr]).toEqual([
    EXIT_NOT_FOUND,
    'netseal: vol:/: this is a folder: name a file (EISDIR)\n',
  ]);
});
