import { randomBytes } from 'node:crypto';
/** `netseal put` and `netseal get` in processes of their own: what goes where, what they say, what they exit with. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  EXIT_DAMAGED,
  EXIT_INTERRUPTED,
  EXIT_IO,
  EXIT_NOT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import { comparable, lookAtTree } from '../transfer/copy-support.ts';
import { exitOf, type Finished, finish, launch, run } from './run.ts';

const KEY = ['--key-file', 'key'];

let folder = '';

beforeEach(async () => {
  folder = fs.mkdtempSync(join(tmpdir(), 'netseal-copy-'));
  fs.writeFileSync(at('key'), mixedBytes(32, 9));
  expect((await netseal(['init', 'vol'])).exitCode).toBe(EXIT_OK);
});

afterEach(() => {
  fs.rmSync(folder, { recursive: true });
});

function at(...names: string[]): string {
  return join(folder, ...names);
}

function netseal(args: readonly string[]): Promise<Finished> {
  const [command = '', ...rest] = args;
  const withKey = command === 'init' || !rest.includes('--key-file') ? [command, ...KEY, ...rest] : args;
  return run(withKey, { cwd: folder, env: { NETSEAL_STATE: at('state') } });
}

/** All paths in the volume, with a slash behind folders. */
async function inVolume(): Promise<string[]> {
  fs.rmSync(at('look'), { recursive: true, force: true });
  expect((await netseal(['get', '-r', 'vol:/', 'look'])).exitCode).toBe(EXIT_OK);
  return below('look');
}

function below(name: string): string[] {
  return fs
    .readdirSync(at(name), { recursive: true, encoding: 'utf8' })
    .map(path => (fs.lstatSync(at(name, path)).isDirectory() ? `${path}/` : path))
    .sort();
}

/** The segments in the store, beside a command that makes some. */
function segmentCount(): number {
  const path = at('vol', 'objects', 's+');
  return fs.existsSync(path) ? fs.readdirSync(path).length : 0;
}

function makeTree(): void {
  fs.mkdirSync(at('dir', 'sub'), { recursive: true });
  fs.writeFileSync(at('dir', 'one'), 'one');
  fs.writeFileSync(at('dir', 'sub', 'two'), 'two');
  fs.writeFileSync(at('file'), 'file');
}

describe('netseal put', () => {
  beforeEach(makeTree);

  it.each([
    { args: ['file', 'vol:/name'], becomes: ['name'] },
    { args: ['file', 'vol:/'], becomes: ['file'] },
    { args: ['file', 'vol'], becomes: ['file'] },
    { args: ['-r', 'dir', 'vol:/name'], becomes: ['name/', 'name/one', 'name/sub/', 'name/sub/two'] },
    { args: ['-r', 'dir', 'vol:/'], becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two'] },
    {
      args: ['-r', 'dir/', 'file', 'vol:/'],
      becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two', 'file'],
    },
    { args: ['-r', 'dir/.', 'vol:/'], becomes: ['one', 'sub/', 'sub/two'] },
    { args: ['-r', 'dir/sub/..', 'vol:/'], becomes: ['one', 'sub/', 'sub/two'] },
    { args: ['-r', 'dir/.', 'vol:/name'], becomes: ['name/', 'name/one', 'name/sub/', 'name/sub/two'] },
  ])('$args', async ({ args, becomes }) => {
    const { exitCode, stderr } = await netseal(['put', ...args]);
    expect(stderr).toMatch(/^put \d+ files? \(\d+ B\)/);
    expect(exitCode).toBe(EXIT_OK);
    expect(await inVolume()).toEqual(becomes);
  });

  it('goes into folders that are there, and fills those of its own name', async () => {
    await netseal(['put', '-r', 'dir', 'vol:/d']);
    await netseal(['put', 'file', 'vol:/d']);
    await netseal(['put', 'file', 'vol:/d/sub/']);
    fs.writeFileSync(at('dir', 'more'), 'more');
    await netseal(['put', '-r', 'dir', 'vol:/d']);
    expect(await inVolume()).toEqual([
      'd/',
      'd/file',
      'd/more',
      'd/one',
      'd/sub/',
      'd/sub/file',
      'd/sub/two',
    ]);
  });

  it('refuses before it changes anything', async () => {
    fs.mkdirSync(at('other'));
    fs.writeFileSync(at('other', 'file'), 'other');
    const cases: [string[], number, RegExp][] = [
      [['dir', 'vol:/x'], EXIT_USAGE, /dir is a folder: add -r .*\(EINVAL\)/],
      [['file', 'missing', 'vol:/'], EXIT_IO, /missing: .*no such file.*\(ENOENT\)/],
      [['file', 'vol:/no/such'], EXIT_NOT_FOUND, /ENOENT/],
      [['file', 'vol:/name/'], EXIT_NOT_FOUND, /ENOENT/],
      [['file', 'other/file', 'vol:/'], EXIT_USAGE, /two of the sources have the same name/],
      [['-r', 'dir', 'file', 'vol:/name'], EXIT_NOT_FOUND, /ENOENT/],
      [['vol:/x'], EXIT_USAGE, /name local files/],
      [['file', 'nowhere:/x'], EXIT_NOT_FOUND, /no volume/],
    ];
    for (const [args, code, message] of cases) {
      const { exitCode, stderr } = await netseal(['put', ...args]);
      expect(stderr).toMatch(message);
      expect(exitCode).toBe(code);
    }
    expect(await inVolume()).toEqual([]);
  });

  it('tells of single files, also as JSON, and goes on', async () => {
    await netseal(['put', 'file', 'vol:/sub']);
    const { exitCode, stderr } = await netseal(['put', '-r', 'dir/.', 'vol:/']);
    expect(stderr).toMatch(/^put 1 file .*1 failed/);
    expect(stderr).toMatch(
      /\nnetseal: dir\/\.\/sub: a folder cannot replace a file: remove it first \(ENOTDIR\)\n/,
    );
    expect(exitCode).toBe(EXIT_NOT_FOUND);
    const json = await netseal(['put', '-r', '--json', 'dir/.', 'vol:/']);
    expect(JSON.parse(String(json.stdout))).toMatchObject({
      files: 0,
      unchanged: 1,
      failures: [{ path: 'dir/./sub', code: 'ENOTDIR' }],
    });
    expect(json.stderr).toBe('');
    expect(json.exitCode).toBe(EXIT_NOT_FOUND);
  });

  it('copies a pipe in a tree as one, and refuses one that is named', async () => {
    const { execFileSync } = await import('node:child_process');
    execFileSync('mkfifo', [at('dir', 'pipe')]);
    const tree = await netseal(['put', '-r', 'dir', 'vol:/d']);
    expect(tree.stderr).toMatch(/, 1 special file/);
    expect(tree.exitCode).toBe(EXIT_OK);
    const listed = await netseal(['ls', '-l', 'vol:/d']);
    expect(String(listed.stdout)).toMatch(/^prw.* 1 .* - .*pipe$/m);
    const named = await netseal(['put', 'dir/pipe', 'vol:/p']);
    expect(named.stderr).toMatch(/dir\/pipe: neither a file/);
    expect(named.exitCode).toBe(EXIT_USAGE);
  });
});

describe('netseal get', () => {
  beforeEach(async () => {
    makeTree();
    await netseal(['put', '-r', 'dir', 'file', 'vol:/']);
    fs.mkdirSync(at('out'));
  });

  it.each([
    { args: ['vol:/file', 'out/name'], becomes: ['name'] },
    { args: ['vol:/file', 'out'], becomes: ['file'] },
    { args: ['vol:/file', 'vol:/dir/one', 'out'], becomes: ['file', 'one'] },
    { args: ['-r', 'vol:/dir', 'out'], becomes: ['one', 'sub/', 'sub/two'] },
    { args: ['-r', 'vol:/dir', 'out/'], becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two'] },
    { args: ['-r', 'vol:/dir', 'out/name'], becomes: ['name/', 'name/one', 'name/sub/', 'name/sub/two'] },
    { args: ['-r', 'vol:/', 'out'], becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two', 'file'] },
    { args: ['-r', 'vol', 'out/'], becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two', 'file'] },
    {
      args: ['-r', 'vol:/dir', 'vol:/file', 'out'],
      becomes: ['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two', 'file'],
    },
  ])('$args', async ({ args, becomes }) => {
    const { exitCode, stderr } = await netseal(['get', ...args]);
    expect(stderr).toMatch(/^got \d+ files? \(\d+ B\)/);
    expect(exitCode).toBe(EXIT_OK);
    expect(below('out')).toEqual(becomes);
  });

  it('gets into the current folder, and through a link to a folder', async () => {
    fs.symlinkSync('out', at('to-out'));
    expect((await netseal(['get', '-r', 'vol:/dir', 'to-out'])).exitCode).toBe(EXIT_OK);
    expect(below('out')).toEqual(['one', 'sub/', 'sub/two']);
    const there = await run(['get', '-r', '--key-file', '../key', '../vol:/', '.'], {
      cwd: at('out'),
      env: { NETSEAL_STATE: at('state') },
    });
    expect(there.exitCode).toBe(EXIT_OK);
    expect(below('out')).toContain('dir/sub/two');
  });

  it('refuses before it writes anything', async () => {
    fs.writeFileSync(at('plain'), '');
    const cases: [string[], number, RegExp][] = [
      [['vol:/dir', 'out'], EXIT_USAGE, /\/dir is a folder: add -r/],
      [['vol:/missing', 'out'], EXIT_NOT_FOUND, /no such file or folder: \/missing/],
      [['vol:/file', 'nowhere/'], EXIT_IO, /nowhere\/: no such file.*ENOENT/],
      [['vol:/file', 'plain/'], EXIT_IO, /plain\/: not a directory/],
      [['vol:/file', 'nowhere/name'], EXIT_IO, /ENOENT/],
      [['vol:/file', 'vol:/file', 'out'], EXIT_USAGE, /same name/],
      [['vol:/file'], EXIT_USAGE, /then where to put them/],
    ];
    for (const [args, code, message] of cases) {
      const { exitCode, stderr } = await netseal(['get', ...args]);
      expect(stderr).toMatch(message);
      expect(stderr).toMatch(/^netseal: .*\n$/);
      expect(exitCode).toBe(code);
    }
    expect(below('out')).toEqual([]);
  });

  it('exits with damage when a file is damaged, and gets the others', async () => {
    fs.writeFileSync(at('precious'), mixedBytes(100_000, 4));
    const segments = at('vol', 'objects', 's+');
    const before = new Set(fs.readdirSync(segments));
    await netseal(['put', 'precious', 'vol:/']);
    for (const name of fs.readdirSync(segments)) {
      if (before.has(name)) continue;
      const bytes = fs.readFileSync(join(segments, name));
      bytes[2000] = (bytes[2000] ?? 0) ^ 1;
      fs.writeFileSync(join(segments, name), bytes);
    }
    const { exitCode, stderr } = await netseal(['get', '-r', 'vol:/', 'out']);
    expect(stderr).toMatch(/netseal: \/precious: bytes 0 to 100000 are lost: /);
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(below('out')).toEqual(['dir/', 'dir/one', 'dir/sub/', 'dir/sub/two', 'file']);
  });

  it.runIf(process.getuid?.() !== 0)('says so when it must not write', async () => {
    fs.chmodSync(at('out'), 0o555);
    const { exitCode, stderr } = await netseal(['get', 'vol:/file', 'out/']);
    expect(stderr).toMatch(/EDENIED/);
    expect(exitCode).toBe(EXIT_IO);
  });
});

describe('Ctrl-C', () => {
  it.runIf(IS_LONG).each([
    // They do not compress, so that the first segment is stored long before the last.
    {
      what: 'many small files',
      make: (path: string) => makeMany(path, 5000, 8000, bytes => randomBytes(bytes)),
    },
    {
      what: 'a large file',
      make: (path: string) => makeMany(path, 1, 150 * 1024 * 1024, bytes => randomBytes(bytes)),
    },
  ])('ends a put of $what soon, and a repetition completes it', async ({ make }) => {
    make(at('many'));
    let interruptedCount = 0;
    for (const delayMs of [0, 150, 350]) {
      const before = segmentCount();
      const child = launch(['put', '-r', ...KEY, 'many', 'vol:/m'], {
        cwd: folder,
        env: { NETSEAL_STATE: at('state') },
      });
      child.stdin.end();
      const finished = finish(child);
      // Before it has started, it would end as any program does.
      while (child.exitCode === null && segmentCount() === before) await sleep(10);
      await sleep(delayMs);
      const sentMs = performance.now();
      child.kill('SIGINT');
      const ended = await finished;
      // It had done all of it: the signal came before its process was gone, or not even that.
      if (ended.exitCode === EXIT_OK || /^put .* unchanged/m.test(ended.stderr)) break;
      interruptedCount += 1;
      expect(exitOf(ended)).toBe(EXIT_INTERRUPTED);
      expect(ended.stderr).toMatch(/netseal: interrupted\n$/);
      expect(performance.now() - sentMs).toBeLessThan(30_000);
    }
    // Or every put had ended before the signal.
    expect(interruptedCount).toBeGreaterThan(0);
    expect((await netseal(['put', '-r', 'many', 'vol:/m'])).exitCode).toBe(EXIT_OK);
    expect((await netseal(['get', '-r', 'vol:/m', 'out'])).exitCode).toBe(EXIT_OK);
    expect(comparable(lookAtTree(at('out')))).toEqual(comparable(lookAtTree(at('many'))));
  });
});

function makeMany(
  path: string,
  count: number,
  sizeBytes: number,
  contentOf = (bytes: number, file: number): Uint8Array => Buffer.alloc(bytes, mixedBytes(1021, file)),
): void {
  fs.mkdirSync(path);
  for (let file = 0; file < count; file += 1) {
    const inFolder = join(path, `${file % 10}`);
    fs.mkdirSync(inFolder, { recursive: true });
    fs.writeFileSync(join(inFolder, `${file}`), contentOf(sizeBytes, file));
  }
}
