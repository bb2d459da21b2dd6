/** `netseal verify` and `netseal gc` in processes of their own. */
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_IO, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
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
  bytes[100] = (bytes[100] ?? 0) ^ 1;
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

  it('names what it could not delete, by its key, and deletes the rest', async () => {
    await put('one', 'two\x1b');
    for (const name of ['one', 'two\x1b'])
      expect((await netseal('rm', `vol:/${name}`)).exitCode).toBe(EXIT_OK);
    expect((await netseal('gc', 'vol')).exitCode).toBe(EXIT_OK);
    const files = await filesOf('s');
    const stays = basename(files[0] ?? '');
    // The system refuses to move this one object out of its folder.
    const refuse = `data:text/javascript,${encodeURIComponent(`
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { renameSync } = fs;
      fs.renameSync = (from, to) => {
        if (!String(from).endsWith('/${stays}')) return renameSync(from, to);
        throw Object.assign(new Error('EPERM: ' + from), { code: 'EPERM', errno: -1, syscall: 'rename', path: from });
      };
      syncBuiltinESMExports();
    `)}`;
    const gc = (...args: string[]): Promise<Finished> =>
      run(['gc', 'vol', '--grace', '0', ...args, ...KEY], {
        cwd: folder,
        env: { NETSEAL_STATE: join(folder, 'state') },
        nodeArgs: ['--import', refuse],
      });
    const { exitCode, stdout, stderr } = await gc();
    expect(exitCode).toBe(EXIT_IO);
    expect(stdout.toString()).toMatch(/\ndeleted: 1 object, .*\nnot deleted: 1 object, /);
    expect(stderr).toBe(
      `netseal: s/${stays} could not be deleted: vol: operation not permitted: s/${stays} (EDENIED)\n`,
    );
    const again = await gc('--json');
    expect([again.exitCode, again.stderr]).toEqual([EXIT_IO, '']);
    expect(JSON.parse(again.stdout.toString())).toMatchObject({
      deleted: { objects: 0 },
      failures: [{ object: `s/${stays}`, code: 'EDENIED' }],
    });
    expect((await filesOf('s')).map(path => basename(path))).toEqual([stays]);
    expect((await netseal('gc', 'vol', '--grace', '0')).exitCode).toBe(EXIT_OK);
    expect(await filesOf('s')).toEqual([]);
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

describe.runIf(process.getuid?.() === 0)('as a user who may only read the store', () => {
  /** Runs a command as nobody. */
  function asNobody(...args: string[]): Promise<Finished> {
    const become =
      'import{isMainThread}from"node:worker_threads";if(isMainThread){process.setgroups([]);process.setgid(65534);process.setuid(65534)}';
    return run([...args, ...KEY], {
      cwd: folder,
      env: { NETSEAL_STATE: join(folder, 'theirs') },
      nodeArgs: ['--import', `data:text/javascript,${become}`],
    });
  }

  const names = (): Promise<string[]> => readdir(join(folder, 'vol'), { recursive: true });

  it('verify, gc --dry-run and ls work, and write nothing', async () => {
    await put('one');
    expect((await netseal('rm', 'vol:/one')).exitCode).toBe(EXIT_OK);
    await put('two\x1b');
    await chmod(folder, 0o755);
    await mkdir(join(folder, 'theirs'));
    await chown(join(folder, 'theirs'), 65534, 65534);
    const before = await names();
    for (const args of [
      ['verify', '--deep', 'vol'],
      ['gc', '--dry-run', 'vol'],
      ['ls', 'vol:'],
    ]) {
      const { exitCode, stderr } = await asNobody(...args);
      expect([args, exitCode, stderr]).toEqual([args, EXIT_OK, '']);
    }
    const { exitCode, stderr } = await asNobody('gc', 'vol');
    expect([exitCode, stderr]).toEqual([
      EXIT_IO,
      expect.stringMatching(/^netseal: vol: permission denied.*EDENIED/),
    ]);
    expect(await names()).toEqual(before);
  });
});
