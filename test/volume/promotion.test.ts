/** An embedded folder becomes an object together with the change that is the reason for it. */
import { afterEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { StoreCall } from '../../src/server/forward.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEED } from '../support/soak.ts';
import { deepCheck, TimedVolume } from './gc-support.ts';
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

/** Counts the puts of the root and of other inode objects that the work sends, and does not ask for them itself. */
async function puts(
  keys: readonly string[],
  work: () => Promise<unknown>,
): Promise<{ root: number; others: number }> {
  const before = keys.length;
  await work();
  const sent = keys.slice(before);
  const root = sent.filter(key => key === `i/${timed.test.rootId}`).length;
  return { root, others: sent.length - root };
}

/** A client, and the keys of all inode objects that it has put. */
async function countingClient(): Promise<{ volume: Volume; keys: string[] }> {
  const keys: string[] = [];
  const note = async <Result>(call: StoreCall<Result>): Promise<Result> => {
    if (call.operation === 'put' && call.key.startsWith('i/')) keys.push(call.key);
    return await call.send();
  };
  const { volume } = await timed.client({ around: inner => aroundStore(inner, note) });
  return { volume, keys };
}

async function makeFolders(volume: Volume, ...paths: string[]): Promise<void> {
  for (const path of paths) await makeFolder(volume, path);
}

function insertEmpty(volume: Volume, folder: Directory, name: string): Promise<void> {
  return volume.names.insert(folder, name, volume.names.newFile(FILE));
}

const LARGE = { xattrs: [{ key: 'user.large', value: new Uint8Array(2000) }] };

describe('a change that makes an object of its folder', () => {
  it.each<[string, (volume: Volume) => Promise<unknown>]>([
    [
      'the second change of names',
      async volume => {
        const folder = await volume.directory('/a/b');
        await insertEmpty(volume, folder, 'y');
        expect(folder.isEmbedded).toBe(false);
      },
    ],
    [
      'attributes that do not fit',
      async volume => volume.names.setDirectoryAttributes(await volume.directory('/a/b'), LARGE),
    ],
  ])('is one swap of the host: %s', async (_, change) => {
    timed = await TimedVolume.create();
    const { volume, keys } = await countingClient();
    await makeFolders(volume, '/a', '/a/b');
    await insertEmpty(volume, await volume.directory('/a/b'), 'x');
    const { version } = await (await volume.directory('/a/b')).read();
    expect(await puts(keys, () => change(volume))).toEqual({ root: 1, others: 2 });
    const inode = await (await volume.directory('/a/b')).read();
    expect(inode.version).toBe(version + 1);
    expect(inode.parent).toBe((await volume.directory('/a')).key);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('is one swap of the host: a folder that cannot be embedded comes into an embedded one', async () => {
    timed = await TimedVolume.create();
    const { volume, keys } = await countingClient();
    await makeFolders(volume, '/a', '/a/b');
    const child = volume.names.newDirectory({ ...FILE, ...LARGE }, volume.root.id);
    const b = await volume.directory('/a/b');
    expect(await puts(keys, () => volume.names.insertDirectory(b, 'c', child))).toEqual({
      root: 1,
      others: 3,
    });
    expect((await child.read()).parent).toBe(b.key);
    await insertEmpty(volume, child, 'x');
    expect(Object.keys(Object.fromEntries(await treeOf(volume)))).toEqual([
      '/a/',
      '/a/b/',
      '/a/b/c/',
      '/a/b/c/x',
    ]);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('carries the departure of what it moves to another host', async () => {
    timed = await TimedVolume.create();
    const { volume, keys } = await countingClient();
    await makeObjectFolder(volume, '/to');
    await makeFolders(volume, '/a', '/a/b');
    await writeFile(volume, '/a/b/file', bytesOf(1, 3000));
    const [from, to] = [await volume.place('/a/b/file'), await volume.place('/to/file')];
    const sent = await puts(keys, () => volume.names.rename(from, to));
    // The path of two; then the arrival, and clearing source and target.
    expect(sent).toEqual({ root: 1, others: 5 });
    expect(await readFile(volume, '/to/file')).toEqual(bytesOf(1, 3000));
    expect(await namesIn(volume, '/a/b')).toEqual([]);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('is refused as everywhere, and then nothing is changed', async () => {
    timed = await TimedVolume.create();
    const { volume } = await timed.client();
    await makeFolders(volume, '/a', '/a/b');
    const folder = await volume.directory('/a/b');
    await insertEmpty(volume, folder, 'x');
    expect(await codeOf(insertEmpty(volume, folder, 'x'))).toBe('EEXIST');
    expect((await volume.directory('/a/b')).isEmbedded).toBe(true);
    expect(await timed.keys('i/')).toHaveLength(1);
  });

  it('comes with the third attempt when the host was lost to others twice', async () => {
    timed = await TimedVolume.create();
    const { volume: rival } = await timed.client();
    await makeFolders(rival, '/a', '/a/b', '/rival');
    const rivalFolder = await rival.directory('/rival');
    let lost = 0;
    const { volume } = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          if (call.operation === 'put' && call.key === `i/${timed.test.rootId}` && lost < 2) {
            lost += 1;
            await rival.namespace.insert(rivalFolder, `n${lost}`, rival.names.newFile(FILE));
          }
          return await call.send();
        }),
    });
    await insertEmpty(volume, await volume.directory('/a/b'), 'x');
    expect(lost).toBe(2);
    expect((await volume.directory('/a/b')).isEmbedded).toBe(false);
    expect(await namesIn(rival, '/a/b')).toEqual(['x']);
    expect(await namesIn(rival, '/rival')).toEqual(['n1', 'n2']);
    await timed.collectAll();
    expect(await deepCheck(rival)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('puts other objects when the answer for one was lost', async () => {
    timed = await TimedVolume.create();
    let isLosing = false;
    const { volume } = await timed.client({
      faults: ({ operation, key }) => {
        if (!isLosing || operation !== 'put' || !key.startsWith('i/')) return undefined;
        isLosing = false;
        return { kind: 'lost' };
      },
    });
    await makeFolders(volume, '/a', '/a/b');
    isLosing = true;
    await volume.moves.promote(await volume.directory('/a/b'));
    expect(isLosing).toBe(false);
    expect((await volume.directory('/a/b')).isEmbedded).toBe(false);
    expect((await timed.keys('i/')).length).toBeGreaterThan(3);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('has happened, with its change, or not at all when its client stops after any request', async () => {
    for (let requests = 0; ; requests += 1) {
      timed = await TimedVolume.create();
      const dying = new DyingStore(timed.store);
      const { volume: first } = await timed.client({ around: () => dying.store });
      await makeFolders(first, '/a', '/a/b', '/a/b/c');
      await writeFile(first, '/a/b/c/file', bytesOf(1, 3000));
      dying.dieAfter(requests);
      const code = await codeOf(writeFile(first, '/a/b/c/second', bytesOf(2, 3000)));
      expect(['ok', 'EDENIED']).toContain(code);
      const { volume: other } = await timed.client();
      const names = await namesIn(other, '/a/b/c');
      const folder = await other.directory('/a/b/c');
      // The change and the promotion are one.
      expect(names.length === 2).toBe(!folder.isEmbedded);
      if (code === 'ok') expect(names).toEqual(['file', 'second']);
      await writeFile(other, '/a/b/c/third', bytesOf(3, 3000));
      await other.moves.promote(folder);
      expect(await namesIn(other, '/a/b/c')).toEqual([...names, 'third']);
      await timed.collectAll();
      expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
      const isWhole = code === 'ok' && !dying.isDead;
      await timed.test.close();
      if (isWhole) break;
    }
  });

  it('loses nothing beside rivals that do the same, on the path and below it', async () => {
    for (let round = 0; round < 4; round += 1) {
      timed = await TimedVolume.create();
      const { volume: first } = await timed.client();
      await makeFolders(first, '/a', '/a/b', '/a/b/c', '/a/b/d');
      const seed = SEED + round;
      const chance = seededChance(seed);
      const clients = await Promise.all(
        [0, 1, 2].map(async at => {
          const { volume } = await timed.client({ around: store => jitteryStore(store, seed * 10 + at) });
          return volume;
        }),
      );
      const paths = ['/a/b', '/a/b/c', '/a/b/d'];
      const expected = new Set<string>();
      const work = clients.map(async (volume, at) => {
        for (let step = 0; step < 4; step += 1) {
          const path = paths[Math.floor(chance() * paths.length)] ?? '/a';
          const name = `n${at}-${step}`;
          expected.add(`${path}/${name}`);
          await insertEmpty(volume, await volume.directory(path), name);
        }
      });
      await Promise.all(work);
      const { volume } = await timed.client();
      const tree = [...(await treeOf(volume)).keys()].filter(path => !path.endsWith('/'));
      expect(tree.sort(), `seed ${seed}`).toEqual([...expected].sort());
      await timed.collectAll();
      expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
      for (const client of clients) expect(await codeOf(client.close())).toBe('ok');
      await timed.test.close();
    }
  });
});
