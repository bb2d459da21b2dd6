/** What netseal itself uses is no part of a copy: the store, the state folder, caches, however they are reached. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCache } from '../../src/cache/open.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { LocalFolder } from '../../src/transfer/local-source.ts';
import { mountPointsWithin } from '../../src/transfer/own-mounts.ts';
import { OwnStorage } from '../../src/transfer/own-storage.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { RAW_KEY } from '../cache/support.ts';
import { type Client, codeOf, TestVolume } from '../volume/support.ts';
import { failuresOf, getTree, lookAtTree, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;
const mounts: string[] = [];

const at = (...names: string[]): string => join(folder, ...names);

beforeEach(async () => {
  folder = makeFolder();
  fs.mkdirSync(at('home'));
  fs.writeFileSync(at('home', 'data'), 'data');
  const store = await DirectoryStore.open(at('home', 'store'), { create: true });
  volume = await TestVolume.create({}, store);
  client = await volume.client({ state: await openStateFolder(at('home', 'state'), 'test') });
});

afterEach(async () => {
  await volume.close();
  await client.state.close();
  await volume.store.close();
  for (const path of mounts.splice(0)) execFileSync('umount', ['-l', path]);
  removeFolder(folder);
});

/** What a put and a get of `home` bring back, and what the put noted. */
async function roundTrip(): Promise<{ readonly paths: string[]; readonly notes: string[] }> {
  const tally = await putTree(client.volume, at('home'), '/home');
  expect(failuresOf(tally)).toEqual([]);
  await getTree(client.volume, '/home', at('back'));
  return {
    paths: [...lookAtTree(at('back')).keys()].sort(),
    notes: tally.notes.map(({ path, error }) => `${path.slice(folder.length)}: ${error.message}`).sort(),
  };
}

function canMount(): boolean {
  return process.getuid?.() === 0 && process.platform === 'linux';
}

describe('a put of a folder that holds own storage', () => {
  it('leaves out the store in use and the state folder, with a note each', async () => {
    expect(await roundTrip()).toEqual({
      paths: ['', 'data'],
      notes: [
        "/home/state: left out: this is netseal's state folder",
        '/home/store: left out: this is the store in use',
      ],
    });
  });

  it.runIf(canMount())('recognises bind mounts of the store and of folders in it, at any depth', async () => {
    fs.mkdirSync(at('home/store/objects/s+/deeper+'), { recursive: true });
    const inner = { bound: '', objects: 'objects', 'deep er': 'objects/s+/deeper+' };
    for (const [name, path] of Object.entries(inner)) {
      fs.mkdirSync(at('home', name));
      execFileSync('mount', ['--bind', at('home/store', path), at('home', name)]);
      mounts.push(at('home', name));
    }
    expect((await roundTrip()).paths).toEqual(['', 'data']);
  });

  it.each(['header', 'memory'] as const)('leaves out a cache with a %s, open or not', async sign => {
    fs.mkdirSync(at('home', 'cache'));
    const cache = await openCache(at('home', 'cache'), {}, { key: sign === 'header' ? RAW_KEY : 'memory' });
    expect((await roundTrip()).paths).toEqual(['', 'data']);
    await cache.close();
    expect((await roundTrip()).notes).toContain('/home/cache: left out: this is a netseal cache');
  });

  it('copies folders that only have names as a cache has them, and other stores', async () => {
    fs.mkdirSync(at('home', 'like'));
    for (const name of ['cache.db', 'lock', 'header']) fs.writeFileSync(at('home', 'like', name), 'text');
    await (await DirectoryStore.open(at('home', 'other'), { create: true })).close();
    const { paths } = await roundTrip();
    expect(paths).toContain('like/header');
    expect(paths).toContain('other/objects');
  });
});

describe('own storage as a source', () => {
  it('is refused, also through links and from within, before anything changes', async () => {
    fs.symlinkSync('home/store', at('link'));
    await client.volume.sync();
    const before = [...lookAtTree(at('home/store/objects')).keys()];
    for (const source of [
      'home/store',
      'home/store/objects',
      'home/store/lock',
      'link/objects',
      'home/state',
    ]) {
      if (!fs.existsSync(at(source))) fs.writeFileSync(at(source), '');
      expect(await codeOf(putTree(client.volume, [at('home/data'), at(source)], '/')), source).toBe('EINVAL');
    }
    expect([...lookAtTree(at('home/store/objects')).keys()]).toEqual(before);
    expect(await client.volume.names.find(client.volume.root, 'data')).toBeUndefined();
  });
});

describe('own storage as a target', () => {
  beforeEach(async () => {
    for (const name of ['store', 'state', 'cache']) {
      fs.mkdirSync(at('from', name, 'objects'), { recursive: true });
      fs.writeFileSync(at('from', name, 'objects', 'x'), 'x');
    }
    fs.writeFileSync(at('from', 'data'), 'new');
    await putTree(client.volume, at('from'), '/t');
    await client.volume.sync();
  });

  it('is refused, also inside and through links, before anything changes', async () => {
    fs.symlinkSync('home', at('link'));
    fs.symlinkSync(at('home/store/objects'), at('deep'));
    const before = [...lookAtTree(at('home')).keys()];
    for (const target of ['home/store', 'link/store/new', 'deep', 'deep/x', 'home/state/x', 'home/state']) {
      for (const source of ['/t', '/t/data'])
        expect(await codeOf(getTree(client.volume, source, at(target))), target).toBe('EINVAL');
    }
    expect([...lookAtTree(at('home')).keys()]).toEqual(before);
  });

  it('stays in a tree that has its names, and the rest is written', async () => {
    fs.mkdirSync(at('home', 'cache'));
    await (await openCache(at('home', 'cache'), {}, { key: RAW_KEY })).close();
    const tally = await getTree(client.volume, '/t', at('home'));
    expect(failuresOf(tally)).toEqual(['/t/cache: EINVAL', '/t/state: EINVAL', '/t/store: EINVAL']);
    expect(fs.readFileSync(at('home', 'data'), 'utf8')).toBe('new');
    for (const name of ['store', 'state', 'cache'])
      expect(fs.existsSync(at('home', name, 'objects', 'x'))).toBe(false);
    expect((await client.volume.openFile('/t/data')).sizeBytes).toBe(3);
  });

  it.runIf(canMount())('is known through bind mounts', async () => {
    fs.mkdirSync(at('mount'));
    execFileSync('mount', ['--bind', at('home/store/objects'), at('mount')]);
    mounts.push(at('mount'));
    expect(await codeOf(getTree(client.volume, '/t', at('mount')))).toBe('EINVAL');
  });
});

describe('mount points of what lies in a folder', () => {
  const MOUNTS = [
    '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw',
    '30 22 8:2 /@home /home rw - btrfs /dev/sdb rw',
    '31 22 8:1 /srv/store /mnt/a rw - ext4 /dev/sda1 rw',
    '32 22 8:1 /srv/store/objects/s+ /mnt/with\\040space rw - ext4 /dev/sda1 rw',
    '33 22 8:1 /srv/store2 /mnt/other rw - ext4 /dev/sda1 rw',
    '34 22 8:9 /srv/store /mnt/elsewhere rw - ext4 /dev/sdc rw',
    '35 22 8:2 /@home/me/store/objects /mnt/home rw - btrfs /dev/sdb rw',
    '36 22 8:5 / /mnt/disk rw - ext4 /dev/sdd rw',
    'not a mount',
    '',
  ].join('\n');

  it.each([
    ['/srv/store', ['/mnt/a', '/mnt/with space']],
    ['/srv/store/objects', ['/mnt/with space']],
    ['/srv/stor', []],
    ['/mnt/a', ['/mnt/a', '/mnt/with space']],
    ['/mnt/a/objects', ['/mnt/with space']],
    ['/home/me/store', ['/mnt/home']],
    ['/home', ['/home', '/mnt/home']],
    ['/mnt/disk', ['/mnt/disk']],
    ['/mnt/disk/folder', []],
  ])('%s: %j', (path, expected) => {
    expect(mountPointsWithin(path, MOUNTS)).toEqual(expected);
  });

  it('are none where the system lists none', () => {
    expect(mountPointsWithin('/srv/store', '')).toEqual([]);
  });
});

describe('OwnStorage', () => {
  it('judges what does not exist by the folder that it would lie in', () => {
    const own = new OwnStorage([
      { path: at('home/store'), what: 'the store' },
      { path: at('none'), what: 'x' },
    ]);
    expect(() => own.requireOutside('write to', at('home/store/new/deep'))).toThrow(
      `cannot write to ${at('home/store/new/deep')}: it belongs to the store`,
    );
    for (const path of ['home', 'home/new', 'none', 'stores']) own.requireOutside('write to', at(path));
    own.requireOutside('write to', 'relative/path');
    const home = LocalFolder.open(at('home'));
    expect(home.whatOfOurs(own)).toBeUndefined();
    home.close();
  });
});
