/** Names, links and folders that want out of the target, or that are odd: nothing outside is touched, the rest arrives. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Name } from '../../src/base/name.ts';
import type { EntryNode } from '../../src/server/sealed/inode.ts';
import type { FoldingRules } from '../../src/transfer/local-folding.ts';
import { type Client, FOLDER, TestVolume, writeFile } from '../volume/support.ts';
import { comparable, failuresOf, getTree, lookAtTree, openDescriptors, putTree } from './copy-support.ts';
import { makeFolder as makeLocalFolder, ODD_NAMES, removeFolder } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;

const ATTRIBUTES = { ...FOLDER, mode: 0o644 };
const NO_FOLDING: FoldingRules = { foldsCase: false, foldsForms: false, dropsDots: false };

beforeEach(async () => {
  folder = makeLocalFolder();
  volume = await TestVolume.create();
  client = await volume.client();
  // What is around the target.
  fs.mkdirSync(at('canary', 'inner'), { recursive: true });
  fs.writeFileSync(at('canary', 'precious'), 'precious');
  fs.writeFileSync(at('canary', 'inner', 'precious'), 'precious');
});

afterEach(async () => {
  await volume.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);

/** All but the target itself. */
function around(): Record<string, object> {
  const tree = comparable(lookAtTree(folder));
  const outside = Object.entries(tree).filter(([path]) => path !== 'to' && !path.startsWith('to/'));
  // The target lies in it.
  return Object.fromEntries(outside.filter(([path]) => path !== ''));
}

/** Names that no check has seen, as whoever has the keys can make them; each leads to a file that says its name. */
async function plant(path: string, names: readonly Name[]): Promise<void> {
  const directory = await client.volume.directory(path);
  for (const name of names) {
    const target = Buffer.from(`../canary/${name.length}`);
    const inode = client.volume.names.newSymlink(ATTRIBUTES, target);
    await plantNode(path, name, { kind: 'embedded', inode });
  }
  await directory.read(0);
}

async function plantNode(path: string, name: Name, node: EntryNode): Promise<void> {
  const directory = await client.volume.directory(path);
  await directory.apply(async draft => {
    await draft.find(name);
    draft.insert({ name, node });
  });
}

describe('a get of hostile names', () => {
  it('refuses each, and gets the rest', async () => {
    await writeFile(client.volume, '/good', Buffer.from('good'));
    const hostile = [
      '..',
      '.',
      '/etc',
      '../canary/precious',
      'a/../../canary/x',
      'to\0nul',
      '.netseal-0123456789abcdef01234567.partial',
    ];
    await plant('/', hostile);
    const before = around();
    const other = await volume.client();
    const tally = await getTree(other.volume, '/', at('to'), { folding: NO_FOLDING });
    expect(tally.failures.map(({ error }) => error.code)).toEqual(hostile.map(() => 'EINVAL'));
    expect(fs.readdirSync(at('to'))).toEqual(['good']);
    expect(around()).toEqual(before);
  });

  it('makes links that lead outside, but never follows them', async () => {
    const { names } = client.volume;
    const link = names.newSymlink(ATTRIBUTES, Buffer.from(at('canary')));
    await names.insert(client.volume.root, 'd', link);
    await getTree(client.volume, '/', at('to'));
    expect(fs.readlinkSync(at('to', 'd'))).toBe(at('canary'));
    // Now it is a folder there, with what would replace something behind the link.
    await names.unlink(client.volume.root, 'd');
    const directory = names.newDirectory(FOLDER, client.volume.root.id);
    await names.insertDirectory(client.volume.root, 'd', directory);
    await writeFile(client.volume, '/d/precious', Buffer.from('stolen'));
    await writeFile(client.volume, '/e', Buffer.from('e'));
    const before = around();
    expect(failuresOf(await getTree(client.volume, '/', at('to')))).toEqual(['/d: ENOTDIR']);
    expect(around()).toEqual(before);
    expect(fs.readFileSync(at('to', 'e'), 'utf8')).toBe('e');
  });

  it('replaces links in the target that have the names of files, and leaves what they lead to', async () => {
    await writeFile(client.volume, '/precious', Buffer.from('other'));
    fs.mkdirSync(at('to'));
    fs.symlinkSync('../canary/precious', at('to', 'precious'));
    const before = around();
    expect(failuresOf(await getTree(client.volume, '/', at('to')))).toEqual([]);
    expect(around()).toEqual(before);
    expect(fs.readFileSync(at('to', 'precious'), 'utf8')).toBe('other');
  });

  it('never changes the attributes of a file that has names elsewhere', async () => {
    await writeFile(client.volume, '/f', Buffer.from('precious'));
    await getTree(client.volume, '/', at('to'));
    fs.chmodSync(at('to', 'f'), 0o600);
    fs.linkSync(at('to', 'f'), at('canary', 'snapshot'));
    expect(failuresOf(await getTree(client.volume, '/', at('to')))).toEqual([]);
    expect(fs.statSync(at('canary', 'snapshot')).mode & 0o777).toBe(0o600);
    expect(fs.statSync(at('to', 'f')).mode & 0o777).toBe(0o644);
  });

  it('does not go round in folders that lie within themselves', async () => {
    const { names } = client.volume;
    const directory = names.newDirectory(FOLDER, client.volume.root.id);
    await names.insertDirectory(client.volume.root, 'a', directory);
    await writeFile(client.volume, '/a/file', Buffer.from('x'));
    await client.volume.moves.promote(directory);
    const { id, key } = directory;
    await plantNode('/a', 'again', { kind: 'object', id, key, type: 'directory' });
    await plantNode('/a', 'top', { kind: 'object', id: client.volume.root.id, type: 'directory' });
    const tally = await getTree(client.volume, '/', at('to'));
    expect(failuresOf(tally)).toEqual(['/a/again: EFORMAT', '/a/top: EFORMAT']);
    expect(fs.readFileSync(at('to', 'a', 'file'), 'utf8')).toBe('x');
  });

  it('stays inside while folders of the target are swapped for links', async () => {
    const { names } = client.volume;
    for (let folderAt = 0; folderAt < 30; folderAt += 1) {
      const directory = names.newDirectory(FOLDER, client.volume.root.id);
      await names.insertDirectory(client.volume.root, `d${folderAt}`, directory);
      for (let file = 0; file < 4; file += 1) {
        await writeFile(client.volume, `/d${folderAt}/precious${file}`, Buffer.from('stolen'));
      }
    }
    const before = around();
    let turns = 0;
    const swapping = setInterval(() => {
      turns += 1;
      for (const name of fs.existsSync(at('to')) ? fs.readdirSync(at('to')) : []) {
        try {
          if (fs.lstatSync(at('to', name)).isSymbolicLink()) continue;
          fs.renameSync(at('to', name), at('to', `moved-${turns}-${name}`));
          fs.symlinkSync('../canary', at('to', name));
        } catch {
          // Quicker than we are.
        }
      }
    }, 1);
    try {
      for (let round = 0; round < 3; round += 1) await getTree(client.volume, '/', at('to'));
    } finally {
      clearInterval(swapping);
    }
    expect(turns).toBeGreaterThan(0);
    expect(around()).toEqual(before);
  });
});

describe('odd names', () => {
  it('go in and come out as they are', async () => {
    fs.mkdirSync(at('from'));
    for (const name of ODD_NAMES) {
      fs.writeFileSync(Buffer.from(`${at('from')}/${name}`, 'latin1'), name, 'latin1');
      fs.mkdirSync(Buffer.from(`${at('from')}/${name.slice(0, 253)}_d`, 'latin1'));
    }
    const before = openDescriptors();
    expect(failuresOf(await putTree(client.volume, at('from'), '/t'))).toEqual([]);
    expect(failuresOf(await getTree(client.volume, '/t', at('to')))).toEqual([]);
    expect(comparable(lookAtTree(at('to')))).toEqual(comparable(lookAtTree(at('from'))));
    expect(openDescriptors()).toEqual(before);
  });

  it('of unfinished files are left out of a put with a note, and not got', async () => {
    const name = '.netseal-0123456789abcdef01234567.partial';
    fs.mkdirSync(at('from'));
    fs.writeFileSync(at('from', name), 'half');
    fs.writeFileSync(at('from', 'whole'), 'whole');
    const { notes } = await putTree(client.volume, at('from'), '/t');
    expect(notes.map(({ path }) => path)).toEqual([at('from', name)]);
    const directory = await client.volume.directory('/t');
    expect(await client.volume.names.find(directory, name)).toBeUndefined();
    await client.volume.names.insert(directory, name, client.volume.names.newFile(ATTRIBUTES));
    expect(failuresOf(await getTree(client.volume, '/t', at('to')))).toEqual([`/t/${name}: EINVAL`]);
    expect(fs.readdirSync(at('to'))).toEqual(['whole']);
  });

  it('that are one to the target are written once, the others told', async () => {
    const folding = { foldsCase: true, foldsForms: true, dropsDots: false };
    const names = ['A', 'a', 'b', '\xc3\xa9', 'e\xcc\x81', 'D', 'd'];
    fs.mkdirSync(at('from'));
    for (const name of names) {
      fs.mkdirSync(Buffer.from(`${at('from')}/${name}`, 'latin1'));
      fs.writeFileSync(Buffer.from(`${at('from')}/${name}/F`, 'latin1'), name);
      fs.writeFileSync(Buffer.from(`${at('from')}/${name}/f`, 'latin1'), name);
    }
    await putTree(client.volume, at('from'), '/t');
    for (const round of [1, 2]) {
      const tally = await getTree(client.volume, '/t', at('to'), { folding });
      const written = fs.readdirSync(at('to'), 'latin1').sort();
      expect(written, `round ${round}`).toEqual(['A', 'D', 'b', 'e\xcc\x81']);
      for (const name of written) {
        expect(fs.readdirSync(Buffer.from(`${at('to')}/${name}`, 'latin1'))).toEqual(['F']);
      }
      expect(tally.failures.map(({ error }) => error.code)).toEqual(
        Array.from({ length: 7 }, () => 'EEXIST'),
      );
    }
    // Two sources of one command, too.
    await writeFile(client.volume, '/x', Buffer.from('x'));
    await writeFile(client.volume, '/X', Buffer.from('X'));
    const tally = await getTree(client.volume, ['/x', '/X'], at('to'), { folding });
    expect(failuresOf(tally)).toEqual(['/X: EEXIST']);
    expect(fs.readFileSync(at('to', 'x'), 'utf8')).toBe('x');
  });
});
