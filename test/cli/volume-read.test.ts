/** ls, stat, cat and du in processes of their own, on a volume with odd things in it. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  EXIT_DAMAGED,
  EXIT_INTERRUPTED,
  EXIT_KEY,
  EXIT_NOT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import { exitOf, finish, launch, shell } from './run.ts';
import {
  CONTENT,
  damageObjects,
  env,
  FILE,
  failure,
  fill,
  folder,
  HOSTILE,
  json,
  KEY,
  makeDocs,
  makeFile,
  makeFolder,
  NOT_UTF8,
  netseal,
  output,
  statOf,
  UNIT_BYTES,
  useVolume,
} from './volume-support.ts';

useVolume();

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
      expect.stringMatching(/^drwxr-x--- {2}3 {2}1000:100 {6}- {6}- {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}docs$/),
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
    await fill(async volume => {
      await makeDocs(volume);
      await volume.moves.promote(await volume.directory('/docs/sub'));
    });
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
    const count = 1500;
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
    const [file, docs, root] = await json('stat', 'vol:/docs/a.txt', 'vol:/docs', 'vol:/');
    expect(root).toMatchObject({ embedded: false, object: `i/${root?.id}` });
    expect(file).toMatchObject({
      ...{ path: '/docs/a.txt', type: 'file', size: 40_960, links: 1, dataVersion: 1, embedded: true },
      ...{ id: expect.stringMatching(/^[0-9a-f]{32}$/), unitSize: UNIT_BYTES, mapDepth: 0, mapSlots: 10 },
    });
    expect(file).not.toHaveProperty('object');
    expect(docs).toMatchObject({
      ...{
        type: 'directory',
        entries: 4,
        embedded: false,
        object: expect.stringMatching(/^i\/[0-9a-f]{32}$/),
      },
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

  it.runIf(IS_LONG)('is quiet when its reader leaves, and ends when it is interrupted', async () => {
    await fill(volume => makeFile(volume, '/sparse', Buffer.from('end'), 2 ** 40));
    const place = { cwd: folder, env: env() };
    const left = await shell('netseal cat vol:/sparse --key-file key | head -c 100000 | wc -c', place);
    expect([String(left.stdout).trim(), left.stderr]).toEqual(['100000', '']);
    const child = launch(['cat', 'vol:/sparse', ...KEY], place);
    const finished = finish(child);
    child.stdout.pause();
    child.stdout.once('readable', () => child.kill('SIGINT'));
    child.stdout.resume();
    const ended = await finished;
    expect([exitOf(ended), ended.stderr]).toEqual([EXIT_INTERRUPTED, 'netseal: interrupted\n']);
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
