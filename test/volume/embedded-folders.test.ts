/** Folders that are embedded in others: changes in place, and what takes them out. */
import { afterEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import type { DirectoryInode } from '../../src/server/sealed/inode.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEED } from '../support/soak.ts';
import { deepCheck, GRACE_MS, TimedVolume } from './gc-support.ts';
import {
  aroundStore,
  bytesOf,
  codeOf,
  DyingStore,
  FILE,
  jitteryStore,
  makeFolder,
  makeObjectFolder,
  namesIn,
  readFile,
  treeOf,
  writeFile,
} from './support.ts';

let timed: TimedVolume;

afterEach(async () => {
  await timed.test.close();
});

async function freshVolume(): Promise<Volume> {
  timed = await TimedVolume.create();
  return (await timed.client()).volume;
}

/** How many inode objects there are beside the root. */
async function objectCount(): Promise<number> {
  return (await timed.keys('i/')).length - 1;
}

/** The tree as another client sees it. */
async function seenTree(): Promise<Record<string, string>> {
  const { volume } = await timed.client();
  const tree = Object.fromEntries(await treeOf(volume));
  await volume.close();
  return tree;
}

async function insertEmpty(volume: Volume, folder: Directory, name: string): Promise<void> {
  await volume.namespace.insert(folder, name, volume.names.newFile(FILE));
}

async function rename(volume: Volume, from: string, to: string): Promise<void> {
  await volume.namespace.rename(await volume.place(from), await volume.place(to));
}

describe('an embedded folder', () => {
  it('is part of its host: each change is one swap of that, and leaves no object', async () => {
    timed = await TimedVolume.create();
    const { volume, meter } = await timed.client();
    const swapsOf = async (work: () => Promise<unknown>): Promise<number> => {
      const before = await timed.store.get(`i/${timed.test.rootId}`);
      const version = (await volume.root.read(0)).version;
      await work();
      expect(before).toBeDefined();
      return (await volume.root.read(0)).version - version;
    };
    expect(await swapsOf(() => makeFolder(volume, '/a'))).toBe(1);
    expect(await swapsOf(() => makeFolder(volume, '/a/b'))).toBe(1);
    const b = await volume.directory('/a/b');
    expect(await swapsOf(() => insertEmpty(volume, b, 'x'))).toBe(1);
    expect(await swapsOf(() => makeFolder(volume, '/c'))).toBe(1);
    expect(await codeOf(volume.names.rmdir(volume.root, 'a'))).toBe('ENOTEMPTY');
    expect(await swapsOf(() => rename(volume, '/a/b', '/c/d'))).toBe(1);
    expect(await swapsOf(async () => volume.namespace.unlink(await volume.directory('/c/d'), 'x'))).toBe(1);
    expect(await swapsOf(() => rename(volume, '/a', '/c/d'))).toBe(1);
    expect(await swapsOf(async () => volume.names.rmdir(await volume.directory('/c'), 'd'))).toBe(1);
    expect(await seenTree()).toEqual({ '/c/': 'folder' });
    expect(await objectCount()).toBe(0);
    expect(meter.snapshot().put.requestCount).toBeLessThan(30);
  });

  it('raises the versions of all folders above it, and the data versions of none', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/a/b', '/a/b/c']) await makeFolder(volume, path);
    const read = async (): Promise<DirectoryInode[]> =>
      await Promise.all(['/a', '/a/b', '/a/b/c'].map(async path => (await volume.directory(path)).read()));
    const before = await read();
    await insertEmpty(volume, await volume.directory('/a/b/c'), 'x');
    const after = await read();
    for (const [at, { version, dataVersion, entryCount }] of after.entries()) {
      const isLast = at === 2;
      expect(version).toBe((before[at]?.version ?? 0) + 1);
      expect(dataVersion).toBe((before[at]?.dataVersion ?? 0) + (isLast ? 1 : 0));
      expect(entryCount).toBe(1);
    }
  });

  it('spills into nodes when it is large or deep, and shrinks again', async () => {
    const volume = await freshVolume();
    const path = Array.from({ length: 30 }, (_, at) => `/d${at}`);
    for (let depth = 1; depth <= path.length; depth += 1)
      await makeFolder(volume, path.slice(0, depth).join(''));
    const deep = path.join('');
    await writeFile(volume, `${deep}/file`, bytesOf(1, 5000));
    const wide = await makeFolder(volume, '/wide');
    const names = Array.from({ length: 300 }, (_, at) => ({
      name: `n${String(at).padStart(3, '0')}`,
      inode: volume.names.newFile(FILE),
      segments: [],
    }));
    await volume.namespace.insertMany(wide, names);
    expect((await wide.read()).tree.kind).toBe('inner');
    expect(await objectCount()).toBe(0);
    const { volume: other } = await timed.client();
    expect(await readFile(other, `${deep}/file`)).toEqual(bytesOf(1, 5000));
    expect(await namesIn(other, '/wide')).toEqual(names.map(({ name }) => name));
    await Promise.all(names.slice(1).map(({ name }) => volume.namespace.unlink(wide, name)));
    expect((await wide.read()).tree.kind).toBe('leaf');
    expect(await namesIn(other, '/wide')).toEqual(['n000']);
    expect(await deepCheck(other)).toMatchObject({ damages: [] });
  });

  it('is found by those who hold it when it, or a folder above, gets another name', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/a/b', '/c']) await makeFolder(volume, path);
    const held = await volume.directory('/a/b');
    const { volume: other } = await timed.client();
    await rename(other, '/a', '/c/z');
    await insertEmpty(volume, held, 'x');
    expect(await namesIn(other, '/c/z/b')).toEqual(['x']);
    await volume.namespace.unlink(held, 'x');
    await other.names.rmdir(await other.directory('/c/z'), 'b');
    expect(await codeOf(insertEmpty(volume, held, 'y'))).toBe('ENOENT');
    expect(await codeOf(held.read(0))).toBe('ENOENT');
  });

  it('cannot be moved into itself', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/a/b']) await makeFolder(volume, path);
    expect(await codeOf(rename(volume, '/a', '/a/b/c'))).toBe('EINVAL');
    expect(await codeOf(rename(volume, '/a', '/a/c'))).toBe('EINVAL');
    await makeObjectFolder(volume, '/o');
    await makeFolder(volume, '/o/e');
    expect(await codeOf(rename(volume, '/o', '/o/e/c'))).toBe('EINVAL');
    expect(Object.keys(await seenTree())).toEqual(['/a/', '/a/b/', '/o/', '/o/e/']);
  });

  it('with attributes that do not fit is an object, from the start or from then on', async () => {
    const volume = await freshVolume();
    const xattrs = [{ key: 'user.large', value: new Uint8Array(2000) }];
    await makeFolder(volume, '/a');
    const folder = await makeFolder(volume, '/a/b');
    await insertEmpty(volume, folder, 'x');
    await volume.names.setDirectoryAttributes(folder, { xattrs });
    expect(await objectCount()).toBe(2);
    const large = volume.names.newDirectory({ ...FILE, xattrs }, volume.root.id);
    await makeFolder(volume, '/c');
    await volume.names.insertDirectory(await volume.directory('/c'), 'd', large);
    expect(await objectCount()).toBe(4);
    expect((await folder.read()).xattrs).toHaveLength(1);
    expect(Object.keys(await seenTree())).toEqual(['/a/', '/a/b/', '/a/b/x', '/c/', '/c/d/']);
  });

  it('gives files with several names as everywhere', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/b']) await makeFolder(volume, path);
    await writeFile(volume, '/a/file', bytesOf(1, 100));
    const b = await volume.directory('/b');
    await volume.names.link(await volume.place('/a/file'), b, 'second');
    const writer = await volume.openWriter('/b/second');
    await writer.write(Buffer.from('changed'));
    await writer.close();
    expect((await readFile(volume, '/a/file')).subarray(0, 7).toString()).toBe('changed');
    expect(await objectCount()).toBe(1);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('is compacted in place', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/a/b']) await makeFolder(volume, path);
    const names = Array.from({ length: 60 }, (_, at) => `f${at}`);
    await Promise.all(names.map((name, at) => writeFile(volume, `/a/b/${name}`, bytesOf(at, 4096))));
    const b = await volume.directory('/a/b');
    const isKept = (at: number): boolean => at % 10 === 0;
    const removed = names.filter((_, at) => !isKept(at));
    await Promise.all(removed.map(name => volume.namespace.unlink(b, name)));
    await volume.sync();
    const before = await timed.bytesIn('s/');
    const reports = [...(await timed.collectAll()), ...(await timed.collectAll())];
    expect(reports.some(({ compaction }) => (compaction?.movedBytes ?? 0) > 0)).toBe(true);
    expect(await timed.bytesIn('s/')).toBeLessThan(before / 2);
    const { volume: other } = await timed.client();
    for (let at = 0; at < 60; at += 10)
      expect(await readFile(other, `/a/b/f${at}`)).toEqual(bytesOf(at, 4096));
    expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
  });
});

describe('a promotion', () => {
  it('comes with the second change of names, takes the whole path, and nothing else', async () => {
    const volume = await freshVolume();
    for (const path of ['/a', '/a/b', '/a/b/c', '/a/other', '/beside']) await makeFolder(volume, path);
    const folder = await volume.directory('/a/b/c');
    const { id, version } = await folder.read();
    const before = await objectCount();
    await volume.names.insert(folder, 'x', volume.names.newFile(FILE));
    expect(folder.isEmbedded).toBe(true);
    await volume.names.insert(folder, 'y', volume.names.newFile(FILE));
    expect(folder.isEmbedded).toBe(false);
    const inode = await folder.read();
    expect([inode.id, folder.id]).toEqual([id, id]);
    expect(folder.key).not.toBe(id);
    expect(inode.version).toBe(version + 2);
    expect(inode.parent).toBe((await volume.directory('/a/b')).key);
    expect((await (await volume.directory('/a')).read()).parent).toBe(volume.settings.rootId);
    expect((await volume.directory('/a/other')).isEmbedded).toBe(true);
    expect((await volume.directory('/beside')).isEmbedded).toBe(true);
    expect(await objectCount()).toBeGreaterThan(before);
    expect(await namesIn(volume, '/a/b/c')).toEqual(['x', 'y']);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('has marks only once the host refers to it', async () => {
    timed = await TimedVolume.create();
    let isFailing = false;
    const failing = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          const isRootPut = call.operation === 'put' && call.key === `i/${timed.test.rootId}`;
          if (isFailing && isRootPut) throw new NetsealError('EDENIED', 'no commits any more');
          return await call.send();
        }),
    });
    for (const path of ['/a', '/a/b']) await makeFolder(failing.volume, path);
    await writeFile(failing.volume, '/a/b/file', bytesOf(1, 3000));
    isFailing = true;
    expect(await codeOf(failing.volume.moves.promote(await failing.volume.directory('/a/b')))).toBe(
      'EDENIED',
    );
    const left = (await timed.keys('i/')).map(key => key.slice(2)).filter(key => key !== timed.test.rootId);
    expect(left).toHaveLength(2);
    for (const key of left) expect(failing.state.marks.get(key)).toBeUndefined();
    await failing.volume.close();
    await timed.collectAll();
    expect(await objectCount()).toBe(0);

    // Again, after a gc: no fork for anybody.
    const { volume, state } = await timed.client();
    const folder = await volume.directory('/a/b');
    await volume.moves.promote(folder);
    expect(state.marks.get(folder.key)?.version).toBe((await folder.read()).version);
    await volume.close();
    const { volume: other } = await timed.client();
    expect(await readFile(other, '/a/b/file')).toEqual(bytesOf(1, 3000));
    expect(await codeOf(other.close())).toBe('ok');
  });

  it('loses nothing when rivals promote and change the same path at once', async () => {
    for (let round = 0; round < 6; round += 1) {
      timed = await TimedVolume.create();
      const { volume: first } = await timed.client();
      for (const path of ['/a', '/a/b', '/a/b/c', '/a/b/d']) await makeFolder(first, path);
      const seed = SEED + round;
      const clients = await Promise.all(
        [0, 1, 2].map(async at => {
          const { volume } = await timed.client({ around: store => jitteryStore(store, seed * 10 + at) });
          return volume;
        }),
      );
      const chance = seededChance(seed);
      const work = clients.flatMap((volume, at) => [
        (async () => {
          const folder = await volume.directory(chance() < 0.5 ? '/a/b/c' : '/a/b');
          await volume.moves.promote(folder);
        })(),
        (async () => writeFile(volume, `/a/b/c/file-${at}`, bytesOf(at, 1000)))(),
        (async () => insertEmpty(volume, await volume.directory('/a/b/d'), `name-${at}`))(),
        (async () => {
          const d = await volume.directory('/a/b');
          await volume.names.setDirectoryAttributes(d, { mode: 0o700 + at });
        })(),
      ]);
      await Promise.all(work);
      const { volume } = await timed.client();
      expect(await namesIn(volume, '/a/b/c')).toEqual(['file-0', 'file-1', 'file-2']);
      expect(await namesIn(volume, '/a/b/d')).toEqual(['name-0', 'name-1', 'name-2']);
      for (const at of [0, 1, 2])
        expect(await readFile(volume, `/a/b/c/file-${at}`)).toEqual(bytesOf(at, 1000));
      expect((await volume.directory('/a/b')).isEmbedded).toBe(false);
      await timed.collectAll();
      expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
      await timed.test.close();
    }
  });

  /** A client that is overtaken: `meanwhile` happens just before it swaps the root for the first time. */
  async function overtaken(meanwhile: () => Promise<unknown>): Promise<{ volume: Volume; arm: () => void }> {
    let isArmed = false;
    const { volume } = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          if (isArmed && call.operation === 'put' && call.key === `i/${timed.test.rootId}`) {
            isArmed = false;
            await meanwhile();
          }
          return await call.send();
        }),
    });
    return {
      volume,
      arm: () => {
        isArmed = true;
      },
    };
  }

  it('of a whole path that a rival makes an object first goes on with those objects; its own are garbage', async () => {
    const rival = await freshVolume();
    for (const path of ['/a', '/a/b', '/a/b/c', '/a/b/c/d']) await makeFolder(rival, path);
    await writeFile(rival, '/a/b/c/d/file', bytesOf(1, 3000));
    expect(await objectCount()).toBe(0);
    const keys = new Map<string, string>();
    const { volume, arm } = await overtaken(async () => {
      // A part of the same path: its objects have other keys.
      await rival.moves.promote(await rival.directory('/a/b/c'));
      for (const path of ['/a', '/a/b', '/a/b/c']) keys.set(path, (await rival.directory(path)).key);
    });
    const deepest = await volume.directory('/a/b/c/d');
    arm();
    await volume.moves.promote(deepest);
    expect(keys.size).toBe(3);
    const { volume: other } = await timed.client();
    for (const [path, key] of keys) expect((await other.directory(path)).key, path).toBe(key);
    expect((await other.directory('/a/b/c/d')).key).toBe(deepest.key);
    // The loser's: one for each folder of the path.
    expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 4 });
    await timed.collectAll();
    expect(await readFile(other, '/a/b/c/d/file')).toEqual(bytesOf(1, 3000));
    expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('begins again when something deep below has changed since its objects were put', async () => {
    const rival = await freshVolume();
    for (const path of ['/a', '/a/b', '/a/b/c', '/a/b/c/d']) await makeFolder(rival, path);
    const { volume, arm } = await overtaken(async () => {
      await writeFile(rival, '/a/b/c/d/file', bytesOf(2, 3000));
    });
    const folder = await volume.directory('/a/b');
    arm();
    await volume.moves.promote(folder);
    expect(folder.isEmbedded).toBe(false);
    const { volume: other } = await timed.client();
    expect(await readFile(other, '/a/b/c/d/file')).toEqual(bytesOf(2, 3000));
    expect((await other.directory('/a/b/c')).isEmbedded).toBe(true);
    await timed.collectAll();
    expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('that comes between a nested change and its swap takes the change along: it goes into the object', async () => {
    const rival = await freshVolume();
    for (const path of ['/a', '/a/b', '/a/b/c']) await makeFolder(rival, path);
    const { volume, arm } = await overtaken(async () => {
      await rival.moves.promote(await rival.directory('/a/b'));
    });
    const folder = await volume.directory('/a/b/c');
    arm();
    await writeFile(volume, '/a/b/c/file', bytesOf(3, 3000));
    await folder.read(0);
    expect(folder.path.steps).toHaveLength(1);
    const { volume: other } = await timed.client();
    expect((await other.directory('/a/b')).isEmbedded).toBe(false);
    expect(await readFile(other, '/a/b/c/file')).toEqual(bytesOf(3, 3000));
    expect((await deepCheck(other)).damages).toEqual([]);
  });

  it('has happened or not when its client stops after any request, and others go on', async () => {
    for (let requests = 0; ; requests += 1) {
      timed = await TimedVolume.create();
      const dying = new DyingStore(timed.store);
      const { volume: mover } = await timed.client({ around: () => dying.store });
      const { volume: other } = await timed.client();
      for (const path of ['/a', '/a/b', '/a/b/c']) await makeFolder(other, path);
      await writeFile(other, '/a/b/c/file', bytesOf(1, 3000));
      const folder = await mover.directory('/a/b/c');
      dying.dieAfter(requests);
      const code = await codeOf(mover.moves.promote(folder));
      expect(['ok', 'EDENIED']).toContain(code);
      const held = await other.directory('/a/b/c');
      await insertEmpty(other, held, 'x');
      await rename(other, '/a/b/c/x', '/a/y');
      await other.moves.promote(held);
      expect(Object.keys(await seenTree())).toEqual(['/a/', '/a/b/', '/a/b/c/', '/a/b/c/file', '/a/y']);
      await timed.collectAll();
      expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
      const isWhole = code === 'ok' && !dying.isDead;
      await timed.test.close();
      if (isWhole) break;
    }
  });

  it('is no reason for a gc that has looked for the last time to take anything', async () => {
    timed = await TimedVolume.create();
    const dying = new DyingStore(timed.store);
    const { volume: mover } = await timed.client({ around: () => dying.store });
    for (const path of ['/a', '/a/b']) await makeFolder(mover, path);
    await writeFile(mover, '/a/b/file', bytesOf(1, 3000));
    const { volume: rival } = await timed.client();
    const folder = await mover.directory('/a/b');
    dying.dieAfter(2);
    expect(await codeOf(mover.moves.promote(folder))).toBe('EDENIED');
    const left = (await timed.keys('i/')).filter(key => key !== `i/${timed.test.rootId}`);
    expect(left).toHaveLength(2);
    await timed.collect();
    timed.wait(GRACE_MS);
    let promoted = 0;
    await timed.collect(
      {},
      {
        around: inner =>
          aroundStore(inner, async call => {
            if (call.operation === 'delete' && left.includes(call.key) && promoted === 0) {
              promoted += 1;
              await rival.moves.promote(await rival.directory('/a/b'));
            }
            return await call.send();
          }),
      },
    );
    expect(promoted).toBe(1);
    const { volume } = await timed.client();
    expect(await readFile(volume, '/a/b/file')).toEqual(bytesOf(1, 3000));
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
  });
});

/** The folder is in one of two places, with what was put into it if that was found. */
function expectEither(tree: readonly string[], isFound: boolean): void {
  const isMoved = tree.includes('/d/b/');
  // A folder that has gone to another object before anybody looked is not found by its old name.
  expect(isFound || isMoved).toBe(true);
  const top = isMoved ? '/d/b' : '/s/a';
  const rest = [`${top}/`, `${top}/deep/`, ...(isFound ? [`${top}/deep/x`] : [])];
  expect(tree).toEqual(isMoved ? ['/d/', ...rest, '/s/'] : ['/d/', '/s/', ...rest]);
}

describe('a change in an embedded folder that is being moved', () => {
  it('and whose ancestor leaves just before the swap goes on where that has arrived', async () => {
    const mover = await freshVolume();
    for (const path of ['/s', '/d']) await makeObjectFolder(mover, path);
    for (const path of ['/s/a', '/s/a/deep']) await makeFolder(mover, path);
    const source = await mover.directory('/s');
    let isArmed = false;
    const { volume } = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          if (isArmed && call.operation === 'put' && call.key === `i/${source.key}`) {
            isArmed = false;
            await rename(mover, '/s/a', '/d/b');
          }
          return await call.send();
        }),
    });
    const held = await volume.directory('/s/a/deep');
    isArmed = true;
    // The move is over: the name leads nowhere in the host that this client knows.
    const code = await codeOf(insertEmpty(volume, held, 'x'));
    expect(isArmed).toBe(false);
    expectEither(Object.keys(await seenTree()), code === 'ok');
    const { volume: other } = await timed.client();
    expect((await deepCheck(other)).damages).toEqual([]);
  });

  it('ends the move first, whichever step its client has reached', async () => {
    for (let requests = 0; ; requests += 1) {
      timed = await TimedVolume.create();
      const dying = new DyingStore(timed.store);
      const { volume: mover } = await timed.client({ around: () => dying.store });
      const { volume: other } = await timed.client();
      for (const path of ['/s', '/d']) await makeObjectFolder(other, path);
      for (const path of ['/s/a', '/s/a/deep']) await makeFolder(other, path);
      const held = await other.directory('/s/a/deep');
      const [from, to] = [await mover.place('/s/a'), await mover.place('/d/b')];
      dying.dieAfter(requests);
      const code = await codeOf(mover.names.rename(from, to));
      expect(['ok', 'EDENIED']).toContain(code);
      const changed = await codeOf(insertEmpty(other, held, 'x'));
      expectEither(Object.keys(await seenTree()), changed === 'ok');
      const isWhole = code === 'ok' && !dying.isDead;
      await timed.test.close();
      if (isWhole) break;
    }
  });
});
