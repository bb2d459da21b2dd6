import { expect, it } from 'vitest';
import { EXIT_NOT_FOUND, EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import { type Finished, run } from './run.ts';
import { env, folder, KEY, output, useVolume } from './volume-support.ts';

useVolume();

function write(input: string | Buffer, ...args: string[]): Promise<Finished> {
  return run(['write', ...args, ...KEY], { cwd: folder, env: env(), input });
}

it('standard input goes into a file, at any place of it', async () => {
  expect(await write('hello, world', 'vol:/f')).toMatchObject({ exitCode: EXIT_OK });
  const { stdout } = await write('W', '--offset', '7', 'vol:/f', '--json');
  expect(JSON.parse(stdout.toString())).toMatchObject({ written: 1 });
  expect(await output('cat', 'vol:/f')).toBe('hello, World');
  await write('!', '--offset', '14', 'vol:/f');
  expect(await output('cat', 'vol:/f')).toBe('hello, World\0\0!');
  await write('HELL', '--truncate', 'vol:/f');
  expect(await output('cat', 'vol:/f')).toBe('HELL');
  const large = Buffer.alloc(300_000, 'netseal ');
  await write(large, '--offset', '4', 'vol:/f');
  expect(await output('cat', 'vol:/f')).toBe(`HELL${large.toString()}`);
});

it('a path that leads to no file is refused, and nothing is made', async () => {
  const { exitCode, stderr } = await write('x', 'vol:/none/f');
  expect([exitCode, stderr]).toEqual([EXIT_NOT_FOUND, expect.stringContaining('vol:/none')]);
  expect(await write('x', 'vol:/')).toMatchObject({ exitCode: EXIT_NOT_FOUND });
  expect(await output('ls', 'vol:/')).toBe('');
});
