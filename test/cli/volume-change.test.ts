/** mkdir, mv, ln and rm in processes of their own, on a volume with odd things in it. */
import { describe, expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_EXISTS, EXIT_NOT_FOUND, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import {
  CONTENT,
  FILE,
  failure,
  fill,
  HOSTILE,
  json,
  makeDocs,
  makeFolder,
  netseal,
  output,
  statOf,
  useVolume,
} from './volume-support.ts';

useVolume();

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
      `${JSON.stringify({ moved: [{ from: 'vol:/docs', to: 'vol:/papers' }], notes: [] }, null, 2)}\n`,
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
      EXIT_USAGE,
      ['netseal: vol:/docs: this is a folder: remove it with -r (EINVAL)'],
    ]);
    expect(await output('rm', '-r', 'vol:/docs')).toBe('');
    expect(await json('ls', 'vol')).toMatchObject([{ name: 'kept', links: 1 }]);
    expect(await output('cat', 'vol:/kept')).toBe(CONTENT.toString('latin1'));
  });

  it('takes what is not there for removed with -f, and goes on in any case', async () => {
    await fill(makeDocs);
    expect(await output('rm', '-f', 'vol:/nowhere', 'vol:/nowhere/else')).toBe('');
    const { exitCode, stdout, stderr } = await netseal(['rm', '-r', 'vol:/nowhere', 'vol:/docs', '--json']);
    expect(exitCode).toBe(EXIT_NOT_FOUND);
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: 'ENOENT',
        message: 'vol:/nowhere: no such file or folder: check the path',
        exitCode: EXIT_NOT_FOUND,
      },
    });
    expect(JSON.parse(String(stdout))).toEqual({ removed: 5, failed: 1, notes: [] });
    expect(await output('ls', 'vol')).toBe('');
    expect((await failure('rm', '-r', 'vol:/'))[0]).toBe(EXIT_USAGE);
  });

  it('leaves a folder in which it fails, and removes the rest', async () => {
    await fill(async volume => {
      await makeDocs(volume);
      await makeFolder(volume, '/docs/lost');
      await volume.moves.promote(await volume.directory('/docs/lost'));
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
        const insertions = Array.from({ length: 700 }, (_, index) =>
          volume.names.insert(directory, `file-${index}`, volume.names.newFile(FILE)),
        );
        await Promise.all(insertions);
      }
    });
    const before = await statOf('vol');
    expect(JSON.parse(await output('rm', '-r', 'vol:/tree', '--json'))).toEqual({
      removed: 2104,
      failed: 0,
      notes: [],
    });
    expect(await statOf('vol')).toMatchObject({ entries: 0, version: Number(before.version) + 1 });
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
