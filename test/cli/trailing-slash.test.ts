/** Commands given paths that end in `/`: they mean folders, and nothing else is touched. */
import { beforeEach, expect, it } from 'vitest';
import { EXIT_NOT_FOUND } from '../../src/cli/lib/exit-codes.ts';
import { IS_LONG } from '../support/soak.ts';
import { failure, fill, makeFile, makeFolder, netseal, output, useVolume } from './volume-support.ts';

useVolume();
beforeEach(() =>
  fill(async volume => {
    await makeFile(volume, '/notes', Buffer.from('keep'));
    await makeFile(volume, '/new', Buffer.from('new'));
    await makeFolder(volume, '/docs');
  }),
);

const REFUSED: readonly [string[], string][] = [
  [['mv', 'vol:/new', 'vol:/notes/'], 'ENOTDIR'],
  [['mv', 'vol:/new', 'vol:/none/'], 'ENOENT'],
  [['mv', 'vol:/new/', 'vol:/other'], 'ENOTDIR'],
  [['ln', 'vol:/new', 'vol:/notes/'], 'ENOTDIR'],
  [['ln', 'vol:/new/', 'vol:/other'], 'ENOTDIR'],
  [['ln', '-s', 'x', 'vol:/none/'], 'ENOENT'],
  [['rm', '-rf', 'vol:/notes/'], 'ENOTDIR'],
  [['cat', 'vol:/notes/'], 'ENOTDIR'],
  [['mkdir', '-p', 'vol:/notes/'], 'ENOTDIR'],
  [['get', 'vol:/notes/', 'out'], 'ENOTDIR'],
  [['put', 'key', 'vol:/notes/.'], 'ENOTDIR'],
  [['put', 'key', 'vol:/none/'], 'ENOENT'],
];

it.runIf(IS_LONG)('is refused where a file is meant, and changes nothing', async () => {
  // A few at once: each is a process.
  for (let at = 0; at < REFUSED.length; at += 4) {
    await Promise.all(
      REFUSED.slice(at, at + 4).map(async ([args, code]) => {
        const [exitCode, lines] = await failure(...args);
        expect([args, exitCode, lines.length]).toEqual([args, EXIT_NOT_FOUND, 1]);
        expect(lines[0]).toContain(`(${code})`);
      }),
    );
  }
  expect(await output('cat', 'vol:/notes', 'vol:/new')).toBe('keepnew');
  expect(await output('ls', 'vol:')).toBe('docs\nnew\nnotes\n');
});

it('is taken where a folder is meant', async () => {
  await output('mkdir', 'vol:/a/');
  await output('mkdir', '-p', 'vol:/b/c/');
  await output('mv', 'vol:/a/', 'vol:/d/');
  await output('mv', 'vol:/new', 'vol:/d/');
  expect(await output('ls', 'vol:/d/')).toBe('new\n');
  await output('rm', '-r', 'vol:/b/');
  expect((await netseal(['ls', 'vol:'])).stdout.toString()).toBe('d\ndocs\nnotes\n');
});
