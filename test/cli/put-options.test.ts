/** The options of `netseal put`, in processes of their own. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run } from './run.ts';

let folder = '';

beforeEach(async () => {
  folder = fs.mkdtempSync(join(tmpdir(), 'netseal-put-'));
  fs.writeFileSync(join(folder, 'key'), mixedBytes(32, 9));
  fs.mkdirSync(join(folder, 'tree'));
  for (const name of ['a.txt', 'b.log']) fs.writeFileSync(join(folder, 'tree', name), name);
  expect((await netseal(['init', 'vol'])).exitCode).toBe(EXIT_OK);
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function netseal([command = '', ...rest]: readonly string[], input?: Uint8Array): Promise<Finished> {
  const options = { cwd: folder, env: { NETSEAL_STATE: join(folder, 'state') } };
  return run([command, '--key-file', 'key', ...rest], input === undefined ? options : { ...options, input });
}

async function listed(): Promise<string[]> {
  const { stdout } = await netseal(['ls', 'vol:/t']);
  return String(stdout)
    .split('\n')
    .filter(line => line !== '');
}

it('leaves out patterns, prints what it would do, and removes only when it may', async () => {
  const dry = await netseal(['put', '-rn', '--exclude', '*.log', 'tree', 'vol:/t']);
  expect(String(dry.stdout)).toBe('would copy tree/a.txt\nwould make folder tree\n');
  fs.writeFileSync(join(folder, 'patterns'), '# logs\n*.log\n');
  const some = await netseal(['put', '-rv', '--exclude-from', 'patterns', 'tree', 'vol:/t']);
  expect(String(some.stdout)).toBe('copied tree/a.txt\nmade folder tree\n');
  expect(await listed()).toEqual(['a.txt']);
  const quiet = await netseal(['put', '-rq', 'tree', 'vol:/t']);
  expect([String(quiet.stdout), quiet.stderr]).toEqual(['', '']);
  fs.rmSync(join(folder, 'tree', 'a.txt'));
  const refused = await netseal(['put', '-r', '--delete', 'tree', 'vol:/t']);
  expect(refused.stderr).toMatch(/no terminal to ask on: give --yes/);
  expect(refused.exitCode).toBe(EXIT_USAGE);
  expect(await listed()).toEqual(['a.txt', 'b.log']);
  const removed = await netseal(['put', '-r', '--json', '--delete', '--yes', 'tree', 'vol:/t']);
  expect(JSON.parse(String(removed.stdout))).toMatchObject({ removed: 1, unchanged: 1 });
  expect(await listed()).toEqual(['b.log']);
});

it('takes standard input, which can only be the one source', async () => {
  const bytes = mixedBytes(300_000, 5);
  expect((await netseal(['put', '-', 'vol:/in'], bytes)).exitCode).toBe(EXIT_OK);
  expect(Buffer.compare((await netseal(['cat', 'vol:/in'])).stdout, bytes)).toBe(0);
  for (const args of [
    ['-', 'tree/a.txt', 'vol:/'],
    ['-', 'vol:/'],
    ['-n', '-', 'vol:/x'],
  ]) {
    expect((await netseal(['put', ...args], bytes)).exitCode).toBe(EXIT_USAGE);
  }
});
