/** `netseal status`: is all that was put in the store? */
import { readdirSync } from 'node:fs';
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EXIT_FAILED, EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import { IS_LONG } from '../support/soak.ts';
import { finish, launch } from './run.ts';
import { env, folder, KEY, netseal, output, useVolume } from './volume-support.ts';

useVolume();

/** The folder of the journals of large copies. */
async function journals(): Promise<string> {
  const [store = ''] = readdirSync(join(folder, 'state')).filter(name => /^[0-9a-f]+$/.test(name));
  const [volume = ''] = readdirSync(join(folder, 'state', store)).filter(name => /^[0-9a-f]{32}$/.test(name));
  const path = join(folder, 'state', store, volume, 'journals');
  await mkdir(path, { recursive: true });
  return path;
}

it('says that all is there, and what is not', async () => {
  expect(await output('status', 'vol')).toBe('everything that was put from here is in the store\n');
  const path = await journals();
  await writeFile(join(path, 'put-1'), '');
  await writeFile(join(path, 'put-2'), '');
  await writeFile(join(path, 'get-1'), '');
  await utimes(join(path, 'put-2'), 1_700_000_000, 1_700_000_000);
  const { exitCode, stdout, stderr } = await netseal(['status', 'vol']);
  expect([exitCode, stderr]).toEqual([EXIT_FAILED, '']);
  expect(stdout.toString()).toBe(
    '2 large files partly put (the oldest rests since 2023-11-14 22:13 UTC): the same put again goes on where it was\n' +
      '1 large file partly got: the same get again goes on where it was\n',
  );
  const { stdout: text } = await netseal(['status', '--json', 'vol']);
  expect(JSON.parse(text.toString())).toMatchObject({
    isUploaded: false,
    unfinishedPuts: 2,
    unfinishedGets: 1,
    oldest: expect.stringMatching(/^2023-11-14T22:13:20/),
  });
});

it.runIf(IS_LONG)('tells of a put that was interrupted, until it is repeated', async () => {
  await writeFile(join(folder, 'large'), Buffer.alloc(96 * 1024 * 1024, 'not zeros'));
  const child = launch(['put', ...KEY, '--workers', '1', 'large', 'vol:/'], { cwd: folder, env: env() });
  child.stdin.end();
  const finished = finish(child);
  const path = await journals();
  while (child.exitCode === null && !readdirSync(path).some(name => name.startsWith('put-'))) {
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  child.kill('SIGKILL');
  const { signal } = await finished;
  // Otherwise it was done before the signal came.
  if (signal === 'SIGKILL') expect((await netseal(['status', 'vol'])).exitCode).toBe(EXIT_FAILED);
  expect((await netseal(['put', 'large', 'vol:/'])).exitCode).toBe(EXIT_OK);
  expect(await output('status', 'vol')).toBe('everything that was put from here is in the store\n');
});
