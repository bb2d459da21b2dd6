/** ls, stat, cat, mkdir, mv, ln, rm and du in processes of their own, on a volume with odd things in it. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  EXIT_DAMAGED,
  EXIT_EXISTS,
  EXIT_INTERRUPTED,
  EXIT_KEY,
  EXIT_NOT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { withVolume } from '../../src/cli/volume/opening.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, finish, launch, run, shell } from './run.ts';

const KEY = ['--key-file', 'key'];
const MTIME_NS = 1_700_000_000_123_456_789n;
const UNIT_BYTES = 4096;
/** Colours a terminal, ends a line; is no UTF-8. */
const HOSTILE = '\x1b[31mred\n';
const NOT_UTF8 = Buffer.from([0xff, 0x5c, 0x78]);
const CONTENT = Buffer.from(mixedBytes(10 * UNIT_BYTES, 3));

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-volume-'));
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
  const { exitCode } = await netseal(['init', 'vol', '--unit-size', '4KiB', '--block-size', '1']);
  expect(exitCode).toBe(EXIT_OK);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function env(): NodeJS.ProcessEnv {
  return { NETSEAL_STATE: join(folder, 'state'), TZ: 'UTC' };
}

function netseal(args: readonly string[], more: readonly string[] = KEY): Promise<Finished> {
  return run([...args, ...more], { cwd: folder, env: env() });
}

/** What a command wrote that went well. */
async function output(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await netseal(args);
  expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
  return stdout.toString('latin1');
}

type Row = Readonly<Record<string, unknown>> & { readonly path: string; readonly object: string };

async function json(...args: string[]): Promise<Row[]> {
  return JSON.parse(Buffer.from(await output(...args, '--json'), 'latin1').toString()) as Row[];
}

/** Of one path. */
async function statOf(path: string): Promise<Row> {
  const [row] = await json('stat', path);
  return row ?? expect.fail('no result');
}

/** Exit code and messages. */
async function failure(...args: string[]): Promise<[number | null, string[]]> {
  const { exitCode, stderr } = await netseal(args);
  return [exitCode, stderr.trimEnd().split('\n')];
}

/** Puts things into the volume that commands do not make. */
async function fill(work: (volume: Volume) => Promise<void>): Promise<void> {
  const location = { storeText: join(folder, 'vol'), path: undefined };
  const options = { keyFile: join(folder, 'key'), state: join(folder, 'state'), workers: 0 };
  await withVolume(location, options, new AbortController().signal, ({ volume }) => work(volume));
}

const FILE = { mode: 0o640, uid: 1000, gid: 100, mtimeNs: MTIME_NS, xattrs: [] };

async function makeFolder(volume: Volume, path: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  const child = volume.names.newDirectory({ ...FILE, mode: 0o750 }, directory.id);
  await volume.names.insertDirectory(directory, name, child);
}

async function makeFile(volume: Volume, path: string | Uint8Array, bytes: Uint8Array, at = 0): Promise<void> {
  const writer = await volume.createFile(path, FILE);
  await writer.write(bytes, at);
  await writer.close();
  const { parent, entry } = await volume.find(path);
  if (parent === undefined || entry === undefined) expect.fail('this is the root');
  await volume.names.setAttributes(parent, entry, { mtimeNs: MTIME_NS });
}

/** /docs with a file, an empty folder, and names that nobody likes. */
async function makeDocs(volume: Volume): Promise<void> {
  await makeFolder(volume, '/docs');
  await makeFolder(volume, '/docs/sub');
  await makeFile(volume, '/docs/a.txt', CONTENT);
  await makeFile(volume, `/docs/${HOSTILE}`, Buffer.from('red'));
  await makeFile(volume, Buffer.concat([Buffer.from('/docs/'), NOT_UTF8]), Buffer.from('bad'));
}

/** The volume's largest object: a segment, or an inode. */
async function damageObjects(): Promise<void> {
  const objects = join(folder, 'vol', 'objects');
  for (const entry of await readdir(objects, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const bytes = entry.isFile() ? await readFile(path) : Buffer.alloc(0);
    if (bytes.byteLength < CONTENT.byteLength / 4) continue;
    // The file's units come first in its segment: the fourth of them, about.
    bytes.fill(0x55, Math.floor(bytes.byteLength * 0.4), Math.floor(bytes.byteLength * 0.4) + 8);
    await writeFile(path, bytes);
  }
}

describe('netseal ls', () => {
  it('lists names by their bytes, as they are to a pipe, and apart with -0', async () => {
    await fill(makeDocs);
    expect(await output('ls', 'vol')).toBe('docs\n');
    const names = [HOSTILE, 'a.txt', 'sub', NOT_UTF8.toString('latin1')];
    expect(await output('ls', 'vol:/docs')).toBe(names.map(name => `${name}\n`).join(''));
    expect(await output('ls', '-0', 'vol:/docs')).toBe(names.map(name => `${name}\0`).join(''));
    expect(await output('ls', '-a', 'vol:/docs/sub', 'vol:/docs/a.txt')).toBe('/docs/a.txt\n\n/docs/sub:\n');
    expect(await output('ls', '-d', 'vol:/docs')).toBe('/docs\n');
  });

  it('lets no name act on a terminal', async () => {
    await fill(makeDocs);
    // script(1) runs its command with $SHELL, and only bash knows an exported function.
    const line = `SHELL=$BASH script -qec "netseal ls --key-file key vol:/docs; netseal ls -l --json --key-file key vol:/docs" /dev/null`;
    const { stdout, exitCode } = await shell(`export -f netseal; ${line}`, { cwd: folder, env: env() });
    expect(exitCode).toBe(EXIT_OK);
    const text = stdout.toString('latin1').replaceAll('\r\n', '\n');
    expect(text).toMatch(/^\\x1b\[31mred\\x0a\na\.txt\nsub\n\\xff\\\\x\n\[\n\{/);
    expect(text).not.toMatch(/[^ -~\n\xc0-\xff\x80-\xbf]/);
    expect(await output('cat', '--escaped', 'vol:/docs/\\xff\\\\x', 'vol:/docs/\\x1b[31mred\\x0a')).toBe(
      'badred',
    );
  });

  it('tells more with -l, aligned, and what links lead to', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await volume.names.link(await volume.place('/docs/a.txt'), volume.root, 'hard');
      const link = volume.names.newSymlink({ ...FILE, mode: 0o777 }, Buffer.from('docs/a.txt'));
      await volume.names.insert(volume.root, 'soft', link);
    });
    const lines = (await output('ls', '-l', 'vol')).trimEnd().split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^drwxr-x--- {2}- {2}1000:100 {6}- {6}- {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}docs$/),
      expect.stringMatching(/^-rw-r----- {2}2 {2}1000:100 {2}40960 {2}\d{5} {2}2023-11-14 22:13 {2}hard$/),
      'lrwxrwxrwx  1  1000:100     10      -  2023-11-14 22:13  soft -> docs/a.txt',
    ]);
    expect(await output('ls', '-lh', 'vol:/hard')).toContain('  40 KiB  ');
    // Without -l it is what it leads to.
    expect(await output('ls', 'vol:/soft')).toBe('/soft\n');
  });

  it('says everything as JSON, folders below included', async () => {
    await fill(makeDocs);
    const entries = await json('ls', '-R', 'vol');
    expect(entries.map(({ path }) => path)).toEqual([
      '/docs',
      `/docs/${HOSTILE}`,
      '/docs/a.txt',
      '/docs/sub',
      '/docs/\ufffd\\x',
    ]);
    expect(entries[2]).toEqual({
      ...{ name: 'a.txt', path: '/docs/a.txt', type: 'file', mode: '0640', uid: 1000, gid: 100 },
      ...{ mtime: '2023-11-14T22:13:20.123456789Z', size: 40_960, stored: expect.any(Number), links: 1 },
    });
    expect(entries[3]).toMatchObject({ name: 'sub', type: 'directory', mode: '0750', entries: 0 });
    expect(entries[4]).toMatchObject({ nameHex: 'ff5c78', pathHex: '2f646f63732fff5c78' });
    expect(await json('ls', 'vol:/docs/sub')).toEqual([]);
  });

  it('lists what it can, and says what it cannot', async () => {
    await fill(makeDocs);
    const { exitCode, stdout, stderr } = await netseal([
      'ls',
      'vol:/nowhere',
      'vol:/docs/a.txt/x',
      'vol:/docs',
    ]);
    expect(exitCode).toBe(EXIT_NOT_FOUND);
    expect(String(stdout)).toContain('a.txt\n');
    expect(stderr).toBe(
      'netseal: vol:/nowhere: no such file or folder: check the path (ENOENT)\n' +
        'netseal: vol:/docs/a.txt/x: a folder is needed here: check the path (ENOTDIR)\n',
    );
  });

  it('names entries whose inodes are lost, and exits with 3', async () => {
    await fill(makeDocs);
    const { object } = await statOf('vol:/docs/sub');
    await fill(async ({ session: { sealing } }) => {
      await sealing.store.delete(object);
    });
    const { exitCode, stdout, stderr } = await netseal(['ls', '-l', 'vol:/docs']);
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(stdout.toString('latin1')).toMatch(/^d\?{9} .*\? +sub$/m);
    expect(stdout.toString('latin1')).toMatch(/^-rw-r----- .* a\.txt$/m);
    expect(stderr).toMatch(/^netseal: vol:\/docs\/sub: .*"netseal verify".* \(EMISSING\)\n$/);
  });

  it('lists thousands of names in order, those with objects of their own as well', async () => {
    const count = 3000;
    await fill(async volume => {
      await makeFolder(volume, '/many');
      const directory = await volume.directory('/many');
      const insertions = Array.from({ length: count }, (_, at) =>
        volume.names.insert(directory, `file-${at}`, volume.names.newFile(FILE)),
      );
      const folders = Array.from({ length: 100 }, async (_, at) => {
        const child = volume.names.newDirectory(FILE, directory.id);
        await volume.names.insertDirectory(directory, `folder-${at}`, child);
      });
      await Promise.all([...insertions, ...folders]);
    });
    const names = (await output('ls', 'vol:/many')).trimEnd().split('\n');
    expect(names).toHaveLength(count + 100);
    expect(names).toEqual([...names].sort());
    expect((await json('ls', 'vol:/many')).map(({ name }) => name)).toEqual(names);
    // Nobody waits for the rest.
    const { stdout, stderr } = await shell('netseal ls -lR vol --key-file key | head -n 2', {
      cwd: folder,
      env: env(),
    });
    expect([String(stdout), stderr]).toEqual([expect.stringMatching(/^\/:\nd.* many\n$/), '']);
  });
});

describe('netseal stat', () => {
  it('tells what an inode says, and where it lies', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      const xattrs = [{ key: 'user.a', value: Buffer.from('b\n') }];
      await volume.names.setAttributes(
        volume.root,
        (await volume.root.find('docs')) ?? expect.fail('no entry'),
        { xattrs },
      );
    });
    const [file, docs] = await json('stat', 'vol:/docs/a.txt', 'vol:/docs');
    expect(file).toMatchObject({
      ...{ path: '/docs/a.txt', type: 'file', size: 40_960, links: 1, dataVersion: 1, embedded: true },
      ...{ id: expect.stringMatching(/^[0-9a-f]{32}$/), unitSize: UNIT_BYTES, mapDepth: 0, mapSlots: 10 },
    });
    expect(file).not.toHaveProperty('object');
    expect(docs).toMatchObject({
      ...{ type: 'directory', entries: 4, embedded: false, object: `i/${docs?.id}` },
      xattrs: [{ key: 'user.a', valueHex: '620a' }],
    });
    const text = await output('stat', 'vol:/docs');
    expect(text).toMatch(/^path +vol:\/docs$/m);
    expect(text).toMatch(/^xattr +user\.a = b\\x0a$/m);
    expect((await failure('stat', 'vol:/nowhere'))[0]).toBe(EXIT_NOT_FOUND);
  });
});

describe('netseal cat', () => {
  it('writes whole files and parts of them, holes as zeros', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await makeFile(volume, '/sparse', Buffer.from('end'), 1_000_000);
    });
    const whole = CONTENT.toString('latin1');
    expect(await output('cat', 'vol:/docs/a.txt')).toBe(whole);
    expect(await output('cat', 'vol:/docs/a.txt', '--workers', '2')).toBe(whole);
    expect(await output('cat', 'vol:/docs/a.txt', '--offset', '4095', '--length', '4KiB')).toBe(
      whole.slice(4095, 8191),
    );
    expect(await output('cat', 'vol:/docs/a.txt', '--offset', '1GiB')).toBe('');
    expect(await output('cat', 'vol:/docs/a.txt', '--length', '0')).toBe('');
    expect(await output('cat', 'vol:/sparse', `vol:/docs/${HOSTILE}`)).toBe(
      `${'\0'.repeat(1_000_000)}endred`,
    );
  });

  it('writes what comes before the damage, says what is lost, and exits with 3', async () => {
    await fill(makeDocs);
    await damageObjects();
    const { exitCode, stdout, stderr } = await netseal(['cat', 'vol:/docs/a.txt', `vol:/docs/${HOSTILE}`]);
    expect(exitCode).toBe(EXIT_DAMAGED);
    const lost =
      /^netseal: vol:\/docs\/a\.txt: bytes (\d+) to (\d+) cannot be read: .* --offset (\d+) \(EAUTH\)\n$/.exec(
        stderr,
      );
    expect(stderr).toMatch(/--offset/);
    const [from, to, next] = (lost ?? []).slice(1).map(Number);
    expect([from! % UNIT_BYTES, to! - from! + 1, next]).toEqual([0, UNIT_BYTES, to! + 1]);
    expect(stdout.equals(CONTENT.subarray(0, from))).toBe(true);
    const rest = await output('cat', 'vol:/docs/a.txt', '--offset', String(next));
    expect(rest).toBe(CONTENT.subarray(next).toString('latin1'));
  });

  it('is quiet when its reader leaves, and ends when it is interrupted', async () => {
    await fill(volume => makeFile(volume, '/sparse', Buffer.from('end'), 2 ** 40));
    const place = { cwd: folder, env: env() };
    const left = await shell('netseal cat vol:/sparse --key-file key | head -c 100000 | wc -c', place);
    expect([String(left.stdout).trim(), left.stderr]).toEqual(['100000', '']);
    const child = launch(['cat', 'vol:/sparse', ...KEY], place);
    const finished = finish(child);
    child.stdout.pause();
    child.stdout.once('readable', () => child.kill('SIGINT'));
    child.stdout.resume();
    const { exitCode, stderr } = await finished;
    expect([exitCode, stderr]).toEqual([EXIT_INTERRUPTED, 'netseal: interrupted\n']);
  });

  it('refuses what is no file, and options that make no sense', async () => {
    await fill(makeDocs);
    expect(await failure('cat', 'vol:/docs')).toEqual([
      EXIT_NOT_FOUND,
      [expect.stringMatching(/^netseal: vol:\/docs: this is a folder.* \(EISDIR\)$/)],
    ]);
    expect((await failure('cat', 'vol:/docs/a.txt', '--offset', '-1'))[0]).toBe(EXIT_USAGE);
    expect((await failure('cat', 'vol:/docs/a.txt', '--json'))[0]).toBe(EXIT_USAGE);
    expect((await failure('cat'))[0]).toBe(EXIT_USAGE);
    await writeFile(join(folder, 'wrong'), mixedBytes(32, 1));
    const { exitCode } = await netseal(['cat', 'vol:/docs/a.txt'], ['--key-file', 'wrong']);
    expect(exitCode).toBe(EXIT_KEY);
  });
});

describe('netseal mkdir', () => {
  it('makes folders, with -p those on the way as well', async () => {
    expect(await output('mkdir', 'vol:/a', 'vol:/a/b', '-m', '700')).toBe('');
    expect(await output('mkdir', '-p', 'vol:/a/b', 'vol:/c/d/e', '-m', '711')).toBe('');
    const entries = await json('ls', '-R', 'vol');
    const umasked = (0o777 & ~process.umask()).toString(8).padStart(4, '0');
    expect(entries.map(({ path, mode }) => [path, mode])).toEqual([
      ['/a', '0700'],
      ['/c', umasked],
      ['/a/b', '0700'],
      ['/c/d', umasked],
      ['/c/d/e', '0711'],
    ]);
    expect(entries[0]).toMatchObject({ uid: process.getuid?.(), gid: process.getgid?.() });
  });

  it('goes on past what fails', async () => {
    await fill(makeDocs);
    expect(await failure('mkdir', 'vol:/docs', 'vol:/x/y', 'vol:/z')).toEqual([
      EXIT_EXISTS,
      [
        'netseal: vol:/docs: this already exists: choose another path, or -p to use the folder (EEXIST)',
        'netseal: vol:/x/y: the folder to make it in does not exist; -p also makes the folders on the way (ENOENT)',
      ],
    ]);
    expect(await output('ls', 'vol')).toBe('docs\nz\n');
    expect((await failure('mkdir', '-p', 'vol:/docs/a.txt/b'))[0]).toBe(EXIT_EXISTS);
    expect((await failure('mkdir', '-m', '999', 'vol:/q'))[0]).toBe(EXIT_USAGE);
    expect((await failure('mkdir', 'vol'))[0]).toBe(EXIT_USAGE);
  });
});

describe('netseal mv', () => {
  it('renames, replaces, and moves into folders', async () => {
    await fill(makeDocs);
    expect(await output('mv', 'vol:/docs/a.txt', 'vol:/docs/b.txt')).toBe('');
    expect(await output('mv', 'vol:/docs/b.txt', `vol:/docs/${HOSTILE}`, 'vol:/docs/sub')).toBe('');
    expect(await output('mv', 'vol:/docs', 'vol:/papers', '--json')).toBe(
      `${JSON.stringify({ moved: [{ from: 'vol:/docs', to: 'vol:/papers' }] }, null, 2)}\n`,
    );
    expect(await output('mv', `vol:/papers/sub/${HOSTILE}`, 'vol:/papers/sub/b.txt')).toBe('');
    const paths = (await json('ls', '-R', 'vol')).map(({ path }) => path);
    expect(paths).toEqual(['/papers', '/papers/sub', '/papers/\ufffd\\x', '/papers/sub/b.txt']);
    expect(await output('cat', 'vol:/papers/sub/b.txt')).toBe('red');
  });

  it('replaces nothing with -n, and nothing that it must not', async () => {
    await fill(makeDocs);
    const [exitCode, lines] = await failure('mv', '-n', 'vol:/docs/a.txt', `vol:/docs/${HOSTILE}`);
    expect([exitCode, lines]).toEqual([
      EXIT_EXISTS,
      [expect.stringMatching(/^netseal: vol:\/docs\/\\x1b\[31mred\\x0a: .*already.* \(EEXIST\)$/)],
    ]);
    expect((await failure('mv', 'vol:/docs', 'vol:/docs/sub'))[0]).toBe(EXIT_USAGE);
    expect((await failure('mv', 'vol:/nowhere', 'vol:/x'))[0]).toBe(EXIT_NOT_FOUND);
    expect((await failure('mv', 'vol:/docs/a.txt', 'vol:/docs/sub', 'vol:/x'))[0]).toBe(EXIT_NOT_FOUND);
    expect((await failure('mv', 'vol:/docs/a.txt'))[0]).toBe(EXIT_USAGE);
    expect((await json('ls', 'vol:/docs')).map(({ name }) => name)).toHaveLength(4);
  });

  it('stays within one store, however that is written', async () => {
    await fill(makeDocs);
    await netseal(['init', 'other']);
    const [exitCode, [line]] = await failure('mv', 'vol:/docs', 'other:/docs');
    expect([exitCode, line]).toEqual([
      EXIT_USAGE,
      expect.stringMatching(/vol and other are two: .*"netseal get" and "netseal put" \(EINVAL\)$/),
    ]);
    expect(await output('mv', 'vol:/docs', './vol/:/papers')).toBe('');
    expect(await output('ls', 'vol')).toBe('papers\n');
  });
});

describe('netseal ln', () => {
  it('makes second names and symbolic links', async () => {
    await fill(makeDocs);
    expect(await output('ln', 'vol:/docs/a.txt', 'vol:/b.txt')).toBe('');
    expect(await output('ln', 'vol:/docs/a.txt', 'vol:/docs/sub')).toBe('');
    expect(await output('ln', '-s', '../docs/a.txt', 'vol:/docs/sub/up')).toBe('');
    expect(await output('ln', '-s', 'sub/a.txt', 'vol:/docs/a-again')).toBe('');
    const entries = await json('stat', 'vol:/b.txt', 'vol:/docs/sub/a.txt', 'vol:/docs/sub/up');
    expect(entries).toMatchObject([
      { links: 3, embedded: false, id: entries[1]?.id },
      { links: 3 },
      { type: 'symlink', mode: '0777', target: '../docs/a.txt' },
    ]);
    expect(await output('cat', 'vol:/docs/a-again')).toBe(CONTENT.toString('latin1'));
    // From /docs/sub, `..` is /docs.
    expect((await failure('cat', 'vol:/docs/sub/up'))[0]).toBe(EXIT_NOT_FOUND);
  });

  it('refuses folders, and names that are taken', async () => {
    await fill(makeDocs);
    expect(await failure('ln', 'vol:/docs', 'vol:/more')).toEqual([
      EXIT_NOT_FOUND,
      ['netseal: vol:/docs: a folder cannot have a second name: make a symbolic link with -s (EISDIR)'],
    ]);
    expect((await failure('ln', 'vol:/docs/a.txt', `vol:/docs/${HOSTILE}`))[0]).toBe(EXIT_EXISTS);
    expect((await failure('ln', 'vol:/nowhere', 'vol:/x'))[0]).toBe(EXIT_NOT_FOUND);
    expect((await failure('ln', '-s', '', 'vol:/x'))[0]).toBe(EXIT_USAGE);
    expect(await statOf('vol:/docs/a.txt')).toMatchObject({ links: 1, embedded: true });
  });
});

describe('netseal rm', () => {
  it('removes files, and folders only with -r', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await volume.names.link(await volume.place('/docs/a.txt'), volume.root, 'kept');
    });
    expect(await output('rm', `vol:/docs/${HOSTILE}`)).toBe('');
    expect(await failure('rm', 'vol:/docs')).toEqual([
      EXIT_NOT_FOUND,
      ['netseal: vol:/docs: this is a folder: remove it with -r (EISDIR)'],
    ]);
    expect(await output('rm', '-r', 'vol:/docs')).toBe('');
    expect(await json('ls', 'vol')).toMatchObject([{ name: 'kept', links: 1 }]);
    expect(await output('cat', 'vol:/kept')).toBe(CONTENT.toString('latin1'));
  });

  it('takes what is not there for removed with -f, and goes on in any case', async () => {
    await fill(makeDocs);
    expect(await output('rm', '-f', 'vol:/nowhere', 'vol:/nowhere/else')).toBe('');
    const { exitCode, stdout, stderr } = await netseal(['rm', '-r', 'vol:/nowhere', 'vol:/docs', '--json']);
    expect([exitCode, stderr]).toEqual([
      EXIT_NOT_FOUND,
      'netseal: vol:/nowhere: no such file or folder: check the path (ENOENT)\n',
    ]);
    expect(JSON.parse(String(stdout))).toEqual({ removed: 5, failed: 1 });
    expect(await output('ls', 'vol')).toBe('');
    expect((await failure('rm', '-r', 'vol:/'))[0]).toBe(EXIT_USAGE);
  });

  it('leaves a folder in which it fails, and removes the rest', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await makeFolder(volume, '/docs/lost');
    });
    const { object } = await statOf('vol:/docs/lost');
    await fill(async ({ session: { sealing } }) => {
      await sealing.store.delete(object);
    });
    const [exitCode, lines] = await failure('rm', '-r', 'vol:/docs');
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(lines).toEqual([expect.stringMatching(/^netseal: vol:\/docs\/lost: .* \(EMISSING\)$/)]);
    expect(await output('ls', 'vol:/docs')).toBe('lost\n');
  });

  it('removes a large tree in few commits', async () => {
    await fill(async volume => {
      await makeFolder(volume, '/tree');
      for (const at of [1, 2, 3]) {
        await makeFolder(volume, `/tree/${at}`);
        const directory = await volume.directory(`/tree/${at}`);
        const insertions = Array.from({ length: 2000 }, (_, index) =>
          volume.names.insert(directory, `file-${index}`, volume.names.newFile(FILE)),
        );
        await Promise.all(insertions);
      }
    });
    const before = await statOf('vol');
    expect(JSON.parse(await output('rm', '-r', 'vol:/tree', '--json'))).toEqual({ removed: 6004, failed: 0 });
    expect(await statOf('vol')).toMatchObject({ entries: 0, version: Number(before.version) + 1 });
  });
});

describe('netseal du', () => {
  it('adds up folders, and counts a file with several names once', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await makeFile(volume, '/docs/sub/b', CONTENT);
      await volume.names.link(await volume.place('/docs/sub/b'), volume.root, 'again');
    });
    const totals = await json('du', 'vol');
    const { stored } = await statOf('vol:/again');
    expect(totals.map(({ path, size }) => [path, size])).toEqual([
      // The root comes first to /again, and the folder below it last.
      ['/docs/sub', 0],
      ['/docs', 40_966],
      ['/', 81_926],
    ]);
    expect(Number(totals[2]?.stored) - Number(totals[1]?.stored)).toBe(stored);
    expect(await json('du', '-s', 'vol')).toEqual([totals[2]]);
    expect(await output('du', '-s', '--apparent', 'vol')).toBe('81926  /\n');
    expect(await output('du', '-sh', 'vol:/docs')).toMatch(/^80 KiB {2}[\d.]+ KiB {2}\/docs\n$/);
    expect((await failure('du', 'vol:/nowhere'))[0]).toBe(EXIT_NOT_FOUND);
  });
});

describe('all of them', () => {
  it('need a store with a volume, and tell so', async () => {
    for (const command of ['ls', 'stat', 'cat', 'mkdir', 'rm', 'du']) {
      expect([command, ...(await failure(command, 'none:/x'))]).toEqual([
        command,
        EXIT_NOT_FOUND,
        ['netseal: no volume in none; make one with "netseal init" (ENOENT)'],
      ]);
    }
  });
});
