/** Names: what each operation does and refuses, and how it changes link counts, times and entry counts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Volume } from '../../src/volume/volume.ts';
import {
  bytesOf,
  codeOf,
  FILE,
  FOLDER,
  makeFolder,
  namesIn,
  quiet,
  readFile,
  SteppedStore,
  TestVolume,
  treeOf,
  writeFile,
} from './support.ts';

let test: TestVolume;
let volume: Volume;
let nowMs = 1_000_000;

beforeEach(async () => {
  test = await TestVolume.create();
  ({ volume } = await test.client({ nowMs: () => nowMs }));
});
afterEach(() => test.close());

async function rename(from: string, to: string, options = {}): Promise<void> {
  await volume.names.rename(await volume.place(from), await volume.place(to), options);
}

async function link(from: string, to: string): Promise<void> {
  const { directory, name } = await volume.place(to);
  await volume.names.link(await volume.place(from), directory, name);
}

async function unlink(path: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  await volume.names.unlink(directory, name);
}

async function rmdir(path: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  await volume.names.rmdir(directory, name);
}

async function symlink(path: string, target: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  await volume.names.insert(directory, name, volume.names.newSymlink(FILE, Buffer.from(target)));
}

function write(path: string, text: string, options = {}): Promise<void> {
  return writeFile(volume, path, Buffer.from(text), options);
}

async function linkCountOf(path: string): Promise<number> {
  const { inode } = await volume.find(path);
  return inode.type === 'directory' ? 0 : inode.linkCount;
}

describe('creating', () => {
  it('refuses a name that is there already, and says why', async () => {
    await write('/f', 'one');
    await makeFolder(volume, '/d');
    expect(await codeOf(write('/f', 'two'))).toBe('EEXIST');
    expect(await codeOf(write('/d', 'two'))).toBe('EISDIR');
    expect(await codeOf(write('/d', 'two', { replace: true }))).toBe('EISDIR');
    expect(await codeOf(makeFolder(volume, '/f'))).toBe('EEXIST');
    expect(await codeOf(makeFolder(volume, '/d'))).toBe('EEXIST');
    expect(await codeOf(symlink('/f', 'x'))).toBe('EEXIST');
    expect(await codeOf(write('/none/f', 'x'))).toBe('ENOENT');
    expect(await codeOf(write('/f/f', 'x'))).toBe('ENOTDIR');
    expect(await codeOf(volume.place('/'))).toBe('EINVAL');
    expect((await readFile(volume, '/f')).toString()).toBe('one');
    await write('/f', 'two', { replace: true });
    expect((await readFile(volume, '/f')).toString()).toBe('two');
  });

  it('takes names of any bytes but NUL and slash, up to 255, and keeps them apart', async () => {
    const names = ['\xff\xfe', 'e\xcc\x81', '\xc3\xa9', '\xe9', 'A', 'a', '\n', ' ', '-', 'x'.repeat(255)];
    for (const name of names) {
      const bytes = Buffer.from(name, 'latin1');
      expect(await codeOf(volume.names.insert(volume.root, bytes, volume.names.newFile(FILE)))).toBe('ok');
      expect((await volume.names.find(volume.root, bytes))?.name).toBe(name);
    }
    expect(await namesIn(volume, '/')).toEqual([...names].sort());
    // A string has one character for each byte. Text is refused, for it would become other bytes.
    for (const text of ['\xf6', 'Stra\xdfe', '\xe9', '\u65e5\u672c']) {
      expect(await codeOf(volume.names.insert(volume.root, text, volume.names.newFile(FILE)))).toBe('EINVAL');
      expect(await codeOf(volume.names.find(volume.root, text))).toBe('EINVAL');
    }
    // A name has one character for each byte, so U+0301 cannot be in one.
    for (const name of ['', '.', '..', 'a/b', 'a\0', 'x'.repeat(256), 'e\u0301']) {
      expect(await codeOf(volume.names.insert(volume.root, name, volume.names.newFile(FILE)))).toBe('EINVAL');
    }
  });

  it('a file appears whole with its first commit, and not at all if that never comes', async () => {
    const writer = await volume.createFile('/f', FILE);
    await writer.write(bytesOf(1, 100_000));
    expect(await namesIn(volume, '/')).toEqual([]);
    await writer.abort();
    expect(await namesIn(volume, '/')).toEqual([]);
    expect(await codeOf(writer.commit())).toBe('ECLOSED');
  });

  it('sets the times and the count of its folder, unless a copy sets them itself', async () => {
    nowMs = 2_000_000;
    await write('/f', 'x');
    const root = await volume.root.read();
    expect(root).toMatchObject({ mtimeNs: 2_000_000_000_000n, ctimeNs: 2_000_000_000_000n, entryCount: 1 });
    nowMs = 3_000_000;
    const inode = volume.names.newFile(FILE);
    await volume.names.insert(volume.root, 'g', inode, { keepTimes: true });
    expect(await volume.root.read()).toMatchObject({ mtimeNs: 2_000_000_000_000n, entryCount: 2 });
  });
});

describe('many names at once', () => {
  it('are judged each by itself', async () => {
    await write('/a', 'old');
    await makeFolder(volume, '/b');
    const items = ['a', 'b', 'c', 'd'].map(name => ({
      name,
      inode: volume.names.newFile(FILE),
      segments: [],
    }));
    const failures = await volume.names.insertMany(volume.root, items);
    expect(failures.map(failure => failure?.code)).toEqual(['EEXIST', 'EISDIR', undefined, undefined]);
    const again = ['a', 'b', 'c'].map(name => ({ name, inode: volume.names.newFile(FILE), segments: [] }));
    const replaced = await volume.names.insertMany(volume.root, again, { replace: true });
    expect(replaced.map(failure => failure?.code)).toEqual([undefined, 'EISDIR', undefined]);
    expect(await namesIn(volume, '/')).toEqual(['a', 'b', 'c', 'd']);
    expect((await volume.root.read()).entryCount).toBe(4);
  });
});

describe('removing', () => {
  it('refuses names that are not there, lead to the other kind, or to a folder that is not empty', async () => {
    await write('/f', 'x');
    await makeFolder(volume, '/d');
    await write('/d/f', 'x');
    expect(await codeOf(unlink('/none'))).toBe('ENOENT');
    expect(await codeOf(unlink('/d'))).toBe('EISDIR');
    expect(await codeOf(rmdir('/none'))).toBe('ENOENT');
    expect(await codeOf(rmdir('/f'))).toBe('ENOTDIR');
    expect(await codeOf(rmdir('/d'))).toBe('ENOTEMPTY');
    await unlink('/d/f');
    await rmdir('/d');
    await unlink('/f');
    expect(await namesIn(volume, '/')).toEqual([]);
    expect((await volume.root.read()).entryCount).toBe(0);
  });

  it('lets no client put anything into a folder that another has removed', async () => {
    const other = (await test.client({ freshMs: 60_000 })).volume;
    await makeFolder(volume, '/d');
    const folder = await other.directory('/d');
    await folder.read();
    await rmdir('/d');
    expect(await codeOf(other.names.insert(folder, 'x', other.names.newFile(FILE)))).toBe('ENOENT');
    const child = other.names.newDirectory(FOLDER, folder.id);
    expect(await codeOf(other.names.insertDirectory(folder, 'x', child))).toBe('ENOENT');
    await write('/f', 'kept');
    expect(await codeOf(other.names.rename(await other.place('/f'), { directory: folder, name: 'f' }))).toBe(
      'ENOENT',
    );
    expect((await readFile(volume, '/f')).toString()).toBe('kept');
    await makeFolder(volume, '/d');
    expect(await namesIn(volume, '/d')).toEqual([]);
  });
});

describe('renaming', () => {
  for (const [where, from, to] of [
    ['within a folder', '/a', '/b'],
    ['to another folder', '/a', '/d/b'],
  ] as const) {
    it(`${where}: replaces files, and empty folders by folders`, async () => {
      await makeFolder(volume, '/d');
      await write(from, 'one');
      await write(to, 'two');
      expect(await codeOf(rename(from, to, { replace: false }))).toBe('EEXIST');
      await rename(from, to);
      expect((await readFile(volume, to)).toString()).toBe('one');
      expect(await codeOf(volume.find(from))).toBe('ENOENT');
      expect(await codeOf(rename(from, to))).toBe('ENOENT');

      await makeFolder(volume, from);
      await write(`${from}/x`, 'x');
      expect(await codeOf(rename(from, to))).toBe('ENOTDIR');
      expect(await codeOf(rename(to, from))).toBe('EISDIR');
      await unlink(to);
      await makeFolder(volume, to);
      await write(`${to}/y`, 'y');
      expect(await codeOf(rename(from, to))).toBe('ENOTEMPTY');
      await unlink(`${to}/y`);
      await rename(from, to);
      expect(await namesIn(volume, to)).toEqual(['x']);
      expect(await namesIn(volume, '/')).toEqual(where === 'within a folder' ? ['b', 'd'] : ['d']);
      const parent = where === 'within a folder' ? volume.root : await volume.directory('/d');
      const inode = await (await volume.directory(to)).read();
      expect([undefined, parent.id]).toContain(inode.parent);
      expect(inode.formerParent).toBeUndefined();
      expect((await (await volume.directory('/d')).read()).arrivals).toEqual([]);
    });
  }

  it('a folder into itself is refused, and leaves the empty folder at the target', async () => {
    await makeFolder(volume, '/a');
    await makeFolder(volume, '/a/b');
    await makeFolder(volume, '/a/b/c');
    const before = await treeOf(volume);
    for (const to of ['/a/x', '/a/b/x', '/a/b/c', '/a/b/c/x', '/a/b']) {
      expect(await codeOf(rename('/a', to)), to).toBe('EINVAL');
      expect(await treeOf(volume)).toEqual(before);
    }
    expect(await codeOf(rename('/a', '/a'))).toBe('ok');
  });

  it('of one name of a file onto another leaves both', async () => {
    await makeFolder(volume, '/d');
    await write('/a', 'x');
    await link('/a', '/b');
    await link('/a', '/d/c');
    await rename('/a', '/b');
    await rename('/a', '/d/c');
    expect([await linkCountOf('/a'), await namesIn(volume, '/'), await namesIn(volume, '/d')]).toEqual([
      3,
      ['a', 'b', 'd'],
      ['c'],
    ]);
  });
});

describe('links', () => {
  it('count, and share what is written', async () => {
    await makeFolder(volume, '/d');
    await write('/a', 'x');
    await link('/a', '/b');
    await link('/b', '/d/c');
    expect(await linkCountOf('/d/c')).toBe(3);
    const writer = await volume.openWriter('/d/c');
    await writer.write(Buffer.from('yz'));
    await writer.close();
    expect((await readFile(volume, '/a')).toString()).toBe('yz');
    await unlink('/a');
    expect(await linkCountOf('/b')).toBe(2);
    await write('/b', 'another', { replace: true });
    expect(await linkCountOf('/d/c')).toBe(1);
    await rename('/d/c', '/b');
    expect(await linkCountOf('/b')).toBe(1);
    expect((await readFile(volume, '/b')).toString()).toBe('yz');
  });

  it('are refused to folders, under names that are there, and to names that are not', async () => {
    await makeFolder(volume, '/d');
    await write('/a', 'x');
    await write('/b', 'x');
    expect(await codeOf(link('/d', '/e'))).toBe('EINVAL');
    expect(await codeOf(link('/a', '/b'))).toBe('EEXIST');
    expect(await codeOf(link('/none', '/c'))).toBe('ENOENT');
    expect([await linkCountOf('/a'), await linkCountOf('/b')]).toEqual([1, 1]);
  });

  it('symbolic ones are followed, up to forty, never above the root', async () => {
    await makeFolder(volume, '/d');
    await makeFolder(volume, '/d/e');
    await write('/d/f', 'found');
    await symlink('/one', 'd/f');
    await symlink('/d/e/two', '../f');
    await symlink('/d/e/three', '/one');
    await symlink('/d/e/up', '../../../../../d');
    await symlink('/loop', 'loop');
    for (const path of ['/one', '/d/e/two', '/d/e/three', '/d/e/up/f', '/d/e/up/e/up/e/two']) {
      expect((await readFile(volume, path)).toString(), path).toBe('found');
    }
    expect(await codeOf(volume.openFile('/loop'))).toBe('EINVAL');
    expect((await volume.find('/loop')).inode.type).toBe('symlink');
    expect(await codeOf(volume.openFile('/d/e'))).toBe('EISDIR');
  });
});

describe('a rename, while another client renames the same name and gives it away', () => {
  it('is a rename of what has the name now', async () => {
    await write('/a', 'x');
    const stepped = new SteppedStore(test.store);
    const { volume: slow } = await test.client({ around: () => stepped.store });
    stepped.hold();
    const late = codeOf(
      slow.names.rename({ directory: slow.root, name: 'a' }, { directory: slow.root, name: 'c' }),
    );
    await quiet();
    stepped.step();
    await quiet();
    await rename('/a', '/c');
    await makeFolder(volume, '/a');
    stepped.open();
    // A folder cannot replace a file.
    expect(await late).toBe('ENOTDIR');
    expect(await namesIn(volume, '/')).toEqual(['a', 'c']);
  });
});

describe('attributes', () => {
  it('are set wherever an inode lives, and change no content', async () => {
    await makeFolder(volume, '/d');
    await write('/small', 'x');
    await write('/linked', 'x');
    await link('/linked', '/again');
    await symlink('/s', 'x');
    nowMs = 5_000_000;
    const xattrs = [{ key: 'user.k', value: Buffer.alloc(2000, 1) }];
    for (const path of ['/d', '/small', '/linked', '/s']) {
      const { parent, entry, inode } = await volume.find(path);
      if (parent === undefined || entry === undefined) throw new Error('no entry');
      await volume.names.setAttributes(parent, entry, { mode: 0o600, uid: 7, gid: 8, mtimeNs: -1n, xattrs });
      const after = (await volume.find(path)).inode;
      expect(after).toMatchObject({ mode: 0o600, uid: 7, gid: 8, mtimeNs: -1n, ctimeNs: 5_000_000_000_000n });
      expect([after.id, after.dataVersion, after.xattrs.length]).toEqual([inode.id, inode.dataVersion, 1]);
    }
    expect((await volume.find('/again')).inode.mode).toBe(0o600);
  });
});
