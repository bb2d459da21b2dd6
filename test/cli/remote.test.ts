/** `netseal remote`: names of stores, and the options that go with them. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { type Finished, run } from './run.ts';
import { env, folder, useVolume } from './volume-support.ts';

useVolume();

const config = (): string => join(folder, 'config');

function netseal(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return run([...args], { cwd: folder, env: { ...env(), NETSEAL_CONFIG: config(), ...more } });
}

async function output(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await netseal(args);
  expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
  return stdout.toString();
}

it('names a store with its key: every command takes the name, from any folder', async () => {
  const added = await output('remote', 'add', 'photos', 'vol', '--key-file', 'key', '--json');
  const remote = { store: join(folder, 'vol'), keyFile: join(folder, 'key') };
  expect(JSON.parse(added)).toMatchObject({ name: 'photos', ...remote });
  const file = join(config(), 'remotes.json');
  expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({ photos: remote });
  expect([(await stat(file)).mode & 0o777, (await stat(config())).mode & 0o777]).toEqual([0o600, 0o700]);
  expect(await output('remote', 'list')).toContain(`--key-file ${remote.keyFile}`);

  await output('mkdir', 'photos:/made');
  await mkdir(join(folder, 'photos'));
  await mkdir(join(folder, 'elsewhere'));
  const { stdout } = await run(['ls', 'photos:'], {
    cwd: join(folder, 'elsewhere'),
    env: { ...env(), NETSEAL_CONFIG: config() },
  });
  expect(stdout.toString()).toBe('made\n');
  // Also where a folder has the name, and as the store of ":/".
  expect(await output('ls', 'photos:/')).toBe('made\n');
  expect((await netseal(['ls', ':'], { NETSEAL_STORE: 'photos' })).stdout.toString()).toBe('made\n');
  expect((await netseal(['ls', './photos:', '--key-file', 'key'])).exitCode).not.toBe(EXIT_OK);

  // An option comes before the remote, and the remote before the environment.
  await writeFile(join(folder, 'other'), 'x'.repeat(32));
  const wrong = await netseal(['ls', 'photos:', '--key-file', 'other']);
  expect(wrong.stderr).toContain('(EKEY)');
  const right = await netseal(['ls', 'photos:'], { NETSEAL_KEY_FILE: join(folder, 'other') });
  expect(right.stdout.toString()).toBe('made\n');

  expect(await output('remote', 'remove', 'photos')).toBe('forgot photos\n');
  expect(await output('remote', 'list', '--json')).toBe('[]\n');
});

it('makes a volume under a name, with the secret of the remote', async () => {
  await output('remote', 'add', 'new', 'fresh', '--key-file', 'key');
  expect((await netseal(['init', 'new'])).exitCode).toBe(EXIT_OK);
  expect((await netseal(['ls', 'fresh:', '--key-file', 'key'])).exitCode).toBe(EXIT_OK);
});

it('is in the folder of XDG_CONFIG_HOME, else below the home folder', async () => {
  const xdg = { NETSEAL_CONFIG: '', XDG_CONFIG_HOME: join(folder, 'xdg') };
  await netseal(['remote', 'add', 'photos', 'vol'], xdg);
  const home = { NETSEAL_CONFIG: '', XDG_CONFIG_HOME: 'relative', HOME: folder };
  await netseal(['remote', 'add', 'photos', 'vol'], home);
  for (const path of ['xdg/netseal', '.config/netseal']) {
    expect(await readFile(join(folder, path, 'remotes.json'), 'utf8')).toContain('"photos"');
  }
});

it('refuses what would mislead, and says what to do', async () => {
  await output('remote', 'add', 'photos', 'vol');
  for (const [args, text] of [
    [['add', 'c', 'vol'], '2 to 64 letters'],
    [['add', 'a/b', 'vol'], '2 to 64 letters'],
    [['add', 'photos', 'vol'], 'netseal remote remove photos'],
    [['add', 'other', 'photos'], './photos'],
    [['add', 'other', 'vol:/docs'], 'name only the store'],
    [['add', 'other', 'host:folder'], 'not a store'],
    [['add', 'other', 's3://key:secret@bucket'], 'no password'],
    [['add', 'other', 'vol', '--key-file', 'a', '--passphrase-file', 'b'], 'one secret'],
    [['remove', 'none'], 'netseal remote list'],
  ] as const) {
    const { exitCode, stderr } = await netseal(['remote', ...args]);
    expect([exitCode === EXIT_OK, stderr]).toEqual([false, expect.stringContaining(text)]);
    expect(stderr).not.toContain('secret@');
  }
  expect((await netseal(['remote', 'add', 'other', 'host:folder'])).exitCode).toBe(EXIT_USAGE);
  for (const bad of ['{', '[5]', '{"photos":{"store":5}}', '{"photos":{"store":"x","passphrase":"p"}}']) {
    await writeFile(join(config(), 'remotes.json'), bad);
    const { exitCode, stderr } = await netseal(['ls', 'photos:']);
    expect([exitCode, stderr]).toEqual([EXIT_DAMAGED, expect.stringContaining('mend it')]);
  }
});
