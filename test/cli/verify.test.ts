/** `netseal verify` and `netseal gc` in processes of their own. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run } from './run.ts';

const KEY = ['--key-file', 'key'];

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-verify-'));
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
  await writeFile(join(folder, 'one'), mixedBytes(20_000, 1));
  await writeFile(join(folder, 'two\x1b'), mixedBytes(20_000, 2));
  expect((await netseal('init', 'vol', '--unit-size', '4KiB')).exitCode).toBe(EXIT_OK);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function netseal(...args: string[]): Promise<Finished> {
  return run([...args, ...KEY], { cwd: folder, env: { NETSEAL_STATE: join(folder, 'state') } });
}

async function put(...names: string[]): Promise<void> {
  for (const name of names) expect((await netseal('put', name, `vol:/${name}`)).exitCode).toBe(EXIT_OK);
}

/** Paths of objects of the store, by the prefix of their keys. */
async function filesOf(prefix: string): Promise<string[]> {
  const all = await readdir(join(folder, 'vol'), { recursive: true, withFileTypes: true });
  return all
    .filter(entry => entry.isFile() && entry.parentPath.replaceAll('+', '').endsWith(`objects/${prefix}`))
    .map(entry => join(entry.parentPath, entry.name));
}

async function flipBit(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[1000] = (bytes[1000] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

describe('netseal verify', () => {
  it('says that all is whole, and what it looked at', async () => {
    await put('one', 'two\x1b');
    const { exitCode, stdout, stderr } = await netseal('verify', 'vol', '--deep');
    expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
    expect(stdout.toString()).toBe(
      'checked: 1 folder, 2 files, 39.1 KiB; 10 of 10 units opened\nno damage found\n',
    );
  });

  it('names damage, file and bytes, and exits with 3', async () => {
    await put('one');
    const [segment = ''] = await filesOf('s');
    await flipBit(segment);
    expect((await netseal('verify', 'vol')).exitCode).toBe(EXIT_OK);
    const { exitCode, stdout } = await netseal('verify', 'vol', '--deep');
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(stdout.toString()).toMatch(
      /^damaged unit, s\/[0-9a-f]{32}: .*\(EAUTH\)\n {2}\/one: bytes 0 to 4096\n/,
    );
    expect(stdout.toString()).toMatch(/\ndamaged: 1 object\n$/);
    const sampled = await netseal('verify', 'vol', '--sample', '100%', '--json');
    expect(sampled.exitCode).toBe(EXIT_DAMAGED);
    expect(JSON.parse(sampled.stdout.toString())).toMatchObject({
      files: 1,
      openedUnits: 5,
      damages: [
        {
          what: 'unit',
          code: 'EAUTH',
          affected: [{ paths: [{ path: '/one' }], type: 'file', bytes: [{ from: 0, to: 4096 }] }],
        },
      ],
    });
  });

  it('refuses paths, and shares that are none', async () => {
    expect((await netseal('verify', 'vol:/one')).exitCode).toBe(EXIT_USAGE);
    for (const share of ['5', '0%', '101%', 'x%']) {
      expect((await netseal('verify', 'vol', '--sample', share)).exitCode, share).toBe(EXIT_USAGE);
    }
  });
});

describe('netseal gc', () => {
  it('says what waits and until when, then deletes it', async () => {
    await put('one', 'two\x1b');
    expect((await netseal('rm', 'vol:/one')).exitCode).toBe(EXIT_OK);
    const before = Date.now();
    const first = await netseal('gc', 'vol');
    expect([first.exitCode, first.stderr]).toEqual([EXIT_OK, '']);
    const [, time] = /can be deleted by a pass after (.*) UTC\n$/.exec(first.stdout.toString()) ?? [];
    const dueMs = Date.parse(`${time?.replace(' ', 'T')}:00Z`);
    expect(dueMs - before).toBeGreaterThan(24 * 3600_000);
    expect(dueMs - before).toBeLessThan(24 * 3600_000 + 180_000);
    expect(await filesOf('s')).toHaveLength(2);

    const dry = await netseal('gc', 'vol', '--grace', '0', '--dry-run', '--json');
    expect(JSON.parse(dry.stdout.toString())).toMatchObject({
      deletable: { objects: 1 },
      deleted: { objects: 0 },
    });
    const second = await netseal('gc', 'vol', '--grace', '0');
    expect(second.stdout.toString()).toMatch(/^in use: 2 objects, .*\ndeleted: 1 object, /);
    expect(await filesOf('s')).toHaveLength(1);
    expect(await filesOf('gc')).toEqual([]);
    expect((await netseal('verify', 'vol', '--deep')).exitCode).toBe(EXIT_OK);
  });

  it('deletes nothing of a damaged volume', async () => {
    await put('one', 'two\x1b');
    expect((await netseal('rm', 'vol:/one')).exitCode).toBe(EXIT_OK);
    expect((await netseal('gc', 'vol')).exitCode).toBe(EXIT_OK);
    const files = await filesOf('s');
    for (const path of files) await rm(path);
    const { exitCode, stderr } = await netseal('gc', 'vol', '--grace', '0');
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(stderr).toMatch(
      /^netseal: segment [0-9a-f]{32} is not there \(EMISSING\)\nnetseal: nothing was deleted/,
    );
  });
});
