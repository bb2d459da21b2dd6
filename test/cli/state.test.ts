/** `netseal state`: what a client remembers, and a store that was restored from a backup. */
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { failure, folder, netseal, output, useVolume } from './volume-support.ts';

useVolume();

const state = (...args: string[]): ReturnType<typeof netseal> => netseal(['state', ...args], []);

async function restoreAnOlderCopy(): Promise<void> {
  const store = join(folder, 'vol');
  await output('mkdir', 'vol:/before');
  await cp(store, join(folder, 'backup'), { recursive: true, preserveTimestamps: true });
  await output('mkdir', 'vol:/after');
  await rm(store, { recursive: true });
  await cp(join(folder, 'backup'), store, { recursive: true, preserveTimestamps: true });
}

it('lists what is remembered, and forgets a store that was restored from a backup', async () => {
  await restoreAnOlderCopy();
  const [exitCode, [line = '']] = await failure('ls', 'vol:');
  expect(exitCode).toBe(EXIT_DAMAGED);
  expect(line).toContain('(EROLLBACK)');
  expect(line).toContain('netseal state forget');

  const listed = JSON.parse((await state('list', '--json')).stdout.toString());
  expect(listed).toMatchObject([{ store: `file://${join(folder, 'vol')}`, generation: 1, journals: 0 }]);
  expect(listed[0].marks).toBeGreaterThan(0);
  expect((await state('list')).stdout.toString()).toContain(listed[0].volumeId);

  // Without a terminal it wants --yes, and until then nothing changes.
  expect((await state('forget', 'vol')).exitCode).toBe(EXIT_USAGE);
  expect(JSON.parse((await state('list', '--json')).stdout.toString())).toEqual(listed);
  const forgot = await state('forget', 'vol', '--yes', '--json');
  expect(JSON.parse(forgot.stdout.toString())).toMatchObject({
    forgotten: { name: listed[0].name },
    headsRemoved: 0,
  });
  expect(await readdir(join(folder, 'state'))).toEqual([]);
  expect(await output('ls', 'vol:')).toBe('before\n');
  await output('mkdir', 'vol:/new');
});

it('removes heads that still tell of what is gone', async () => {
  await restoreAnOlderCopy();
  // A second client, which has seen the store as it was, tells everyone.
  await rm(join(folder, 'vol'), { recursive: true });
  await cp(join(folder, 'backup'), join(folder, 'vol'), { recursive: true });
  await rm(join(folder, 'state'), { recursive: true });
  await output('mkdir', 'vol:/after');
  const heads = join(folder, 'vol', 'objects', 'heads+');
  await cp(heads, join(folder, 'heads'), { recursive: true });
  await rm(join(folder, 'vol'), { recursive: true });
  await cp(join(folder, 'backup'), join(folder, 'vol'), { recursive: true });
  await cp(join(folder, 'heads'), heads, { recursive: true });

  expect((await state('forget', 'vol', '--yes')).exitCode).toBe(EXIT_OK);
  expect((await netseal(['ls', 'vol:'])).exitCode).toBe(EXIT_DAMAGED);
  expect((await state('forget', 'vol', '--yes', '--heads')).exitCode).toBe(EXIT_OK);
  expect(await output('ls', 'vol:')).toBe('before\n');
});

it('finds a store that is gone, and says when nothing is remembered', async () => {
  await rm(join(folder, 'vol'), { recursive: true });
  expect((await state('forget', 'vol', '--yes')).exitCode).toBe(EXIT_OK);
  const again = await state('forget', 'vol', '--yes');
  expect([again.exitCode, again.stderr.includes('nothing is remembered of vol')]).toEqual([
    EXIT_NOT_FOUND,
    true,
  ]);
  expect((await state('list')).stdout.toString()).toBe('nothing is remembered\n');
  expect((await state('forget', 'vol:/path', '--yes')).exitCode).toBe(EXIT_USAGE);
});

it('lists a store whose pin is damaged, and forgets it', async () => {
  const [name = ''] = await readdir(join(folder, 'state'));
  await writeFile(join(folder, 'state', name, 'pin.json'), '{');
  expect((await netseal(['ls', 'vol:'])).exitCode).toBe(EXIT_DAMAGED);
  expect(JSON.parse((await state('list', '--json')).stdout.toString())).toMatchObject([{ name }]);
  expect((await state('forget', 'vol', '--yes')).exitCode).toBe(EXIT_OK);
  expect((await netseal(['ls', 'vol:'])).exitCode).toBe(EXIT_OK);
});
