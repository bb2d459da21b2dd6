/** Moves between directories whose client stops after any request, or meets others in any order. */
import { afterEach, describe, expect, it } from 'vitest';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { inodeKey } from '../../src/server/sealed/object-keys.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEED, soakSize } from '../support/soak.ts';
import {
  type Client,
  codeOf,
  DyingStore,
  FILE,
  jitteryStore,
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

afterEach(() => test.close());

async function rename(volume: Volume, from: string, to: string): Promise<void> {
  await volume.names.rename(await volume.place(from), await volume.place(to));
}

/** A mover that can be stopped, and somebody else. */
async function moverAndOther(): Promise<{ mover: Client; dying: DyingStore; other: Client }> {
  test = await TestVolume.create();
  const dying = new DyingStore(test.store);
  const mover = await test.client({ around: () => dying.store });
  return { mover, dying, other: await test.client() };
}

interface Case {
  readonly name: string;
  readonly setUp: (volume: Volume) => Promise<void>;
  readonly from: string;
  readonly to: string;
  /** Everything before and after, but for the times. */
  readonly before: Record<string, string>;
  readonly after: Record<string, string>;
  /** After it was moved back, if not as before. */
  readonly back?: Record<string, string>;
}

const CASES: readonly Case[] = [
  {
    name: 'a file',
    setUp: async volume => writeFile(volume, '/s/a', Buffer.from('one')),
    from: '/s/a',
    to: '/d/b',
    before: { '/d/': 'folder', '/s/': 'folder', '/s/a': 'one' },
    after: { '/d/': 'folder', '/d/b': 'one', '/s/': 'folder' },
  },
  {
    name: 'a file over a file',
    setUp: async volume => {
      await writeFile(volume, '/s/a', Buffer.from('one'));
      await writeFile(volume, '/d/b', Buffer.from('two'));
    },
    from: '/s/a',
    to: '/d/b',
    before: { '/d/': 'folder', '/d/b': 'two', '/s/': 'folder', '/s/a': 'one' },
    after: { '/d/': 'folder', '/d/b': 'one', '/s/': 'folder' },
    back: { '/d/': 'folder', '/s/': 'folder', '/s/a': 'one' },
  },
  {
    name: 'a folder with something in it',
    setUp: async volume => {
      await makeFolder(volume, '/s/a');
      await writeFile(volume, '/s/a/x', Buffer.from('one'));
    },
    from: '/s/a',
    to: '/d/b',
    before: { '/d/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x': 'one' },
    after: { '/d/': 'folder', '/d/b/': 'folder', '/d/b/x': 'one', '/s/': 'folder' },
  },
  {
    name: 'a folder into itself',
    setUp: async volume => {
      await makeFolder(volume, '/s/a');
      await makeFolder(volume, '/s/a/x');
    },
    from: '/s/a',
    to: '/s/a/x/b',
    before: { '/d/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x/': 'folder' },
    after: { '/d/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x/': 'folder' },
  },
];

async function thereAndBack(volume: Volume, path: string): Promise<void> {
  await rename(volume, path, '/d/there');
  await rename(volume, '/d/there', path);
}

/** Removes all that is in a folder: nothing must be in the way. */
async function clear(volume: Volume, path: string): Promise<void> {
  const folder = await volume.directory(path);
  for (const name of await namesIn(volume, path)) {
    const code = await codeOf(volume.names.unlink(folder, name));
    if (code === 'ok') continue;
    expect(code).toBe('EISDIR');
    await clear(volume, `${path}/${name}`);
    await volume.names.rmdir(folder, name);
  }
}

describe('a move whose client stops after any of its requests', () => {
  for (const { name, setUp, from, to, before, after, back } of CASES) {
    it(`${name}: is at one of the two names at any time, and anybody finishes it`, async () => {
      let isDone = false;
      for (let requests = 0; !isDone; requests += 1) {
        const { mover, dying, other } = await moverAndOther();
        await makeFolder(other.volume, '/s');
        await makeFolder(other.volume, '/d');
        await setUp(other.volume);
        dying.dieAfter(requests);
        await codeOf(rename(mover.volume, from, to));
        isDone = !dying.isDead;
        expect(requests).toBeLessThan(60);

        const seen = Object.fromEntries(await treeOf(other.volume));
        expect([before, after]).toContainEqual(seen);
        // The same to the next that comes, and after both names have been put to use again.
        const isMoved = seen['/s/a'] === undefined && seen['/s/a/'] === undefined;
        if (isMoved) await rename(other.volume, to, from);
        else if (back === undefined) await thereAndBack(other.volume, from);
        const { volume } = await test.client();
        const tree = Object.fromEntries(await treeOf(volume));
        expect(tree, `after ${requests}`).toEqual(isMoved ? (back ?? before) : before);
        await clear(volume, '/');
        expect(await namesIn(volume, '/')).toEqual([]);
        await test.close();
      }
    });
  }

  it('does not come back from a folder that was removed after it had arrived there', async () => {
    for (let requests = 0; requests < 30; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/d');
      await writeFile(volume, '/s/a', Buffer.from('one'));
      dying.dieAfter(requests);
      await codeOf(rename(mover.volume, '/s/a', '/d/b'));
      if ((await namesIn(volume, '/d')).length === 0) continue;
      await volume.names.unlink(await volume.directory('/d'), 'b');
      const { id } = await volume.directory('/d');
      await volume.names.rmdir(volume.root, 'd');
      expect(await namesIn(volume, '/s'), `after ${requests}`).toEqual([]);
      // As gc does in the end.
      await test.store.delete(inodeKey(id));
      expect(await namesIn((await test.client()).volume, '/s'), `after ${requests}`).toEqual([]);
      await volume.names.rmdir(volume.root, 's');
      await test.close();
    }
  });

  it('does not keep its target name from being used by another move', async () => {
    for (let requests = 0; requests < 30; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/d');
      await writeFile(volume, '/s/a', Buffer.from('one'));
      await writeFile(volume, '/d/c', Buffer.from('two'));
      dying.dieAfter(requests);
      await codeOf(rename(mover.volume, '/s/a', '/d/b'));
      // Onto the name that may still be departing.
      await rename(volume, '/d/c', '/s/a');
      expect((await readFile(volume, '/s/a')).toString()).toBe('two');
      await test.close();
    }
  });
});

describe('a removal whose client stops after any of its requests', () => {
  it('happened or not, and what is left keeps nobody from anything', async () => {
    let isDone = false;
    for (let requests = 0; !isDone; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/s/a');
      dying.dieAfter(requests);
      await codeOf(mover.volume.directory('/s').then(at => mover.volume.names.rmdir(at, 'a')));
      isDone = !dying.isDead;
      const found = await volume.names.find(await volume.directory('/s'), 'a');
      if (requests % 2 === 0) {
        expect(await codeOf(volume.names.rmdir(await volume.directory('/s'), 'a'))).toBe(
          found === undefined ? 'ENOENT' : 'ok',
        );
        expect(await namesIn(volume, '/s')).toEqual([]);
      } else {
        if (found !== undefined) await volume.names.rmdir(await volume.directory('/s'), 'a');
        await makeFolder(volume, '/s/a');
        await volume.names.rmdir(await volume.directory('/s'), 'a');
      }
      await volume.names.rmdir(volume.root, 's');
      expect(await namesIn(volume, '/')).toEqual([]);
      await test.close();
    }
  });

  it('does not keep the folder above from being removed', async () => {
    let isDone = false;
    for (let requests = 0; !isDone; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/s/a');
      dying.dieAfter(requests);
      await codeOf(mover.volume.directory('/s').then(at => mover.volume.names.rmdir(at, 'a')));
      isDone = !dying.isDead;
      const found = await volume.names.find(await volume.directory('/s'), 'a');
      expect(await codeOf(volume.names.rmdir(volume.root, 's'))).toBe(
        found === undefined ? 'ok' : 'ENOTEMPTY',
      );
      await test.close();
    }
  });
});

/** The folders below the root as a nested list, without their names' order. */
async function shapeOf(volume: Volume): Promise<string[]> {
  return [...(await treeOf(volume)).keys()];
}

describe('folders that are moved into one another at the same time', () => {
  /** Lets two calls' requests through in an order that the bits of a number say. */
  async function interleave(order: number, moves: readonly (readonly [string, string])[]): Promise<string[]> {
    test = await TestVolume.create({}, new MemoryStore());
    const first = await test.client();
    for (const folder of ['/a', '/b', '/c', '/a/x', '/b/x', '/c/x']) await makeFolder(first.volume, folder);
    const movers = await Promise.all(
      moves.map(async () => {
        const stepped = new SteppedStore(test.store);
        const { volume } = await test.client({ around: () => stepped.store });
        stepped.hold();
        return { stepped, volume };
      }),
    );
    let running = moves.length;
    const results = movers.map(({ volume }, at) => {
      const [from = '', to = ''] = moves[at] ?? [];
      return codeOf(rename(volume, from, to)).finally(() => {
        running -= 1;
      });
    });
    let state = order;
    for (let step = 0; running > 0 && step < 5000; step += 1) {
      await quiet(2);
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      const chosen = movers[(state >>> 16) % moves.length];
      if (chosen?.stepped.step() !== true) movers.some(({ stepped }) => stepped.step());
    }
    // Some wait for time to pass.
    for (const { stepped } of movers) stepped.open();
    return await Promise.all(results);
  }

  async function expectTree(codes: readonly string[], names: readonly string[]): Promise<void> {
    for (const code of codes) expect(['ok', 'EINVAL', 'ECONFLICT', 'ENOENT']).toContain(code);
    const { volume } = await test.client();
    const shape = await shapeOf(volume);
    // Each of them is there once, however deep: nothing is lost, and nothing is above itself.
    for (const name of names) {
      expect(shape.filter(path => path.endsWith(`/${name}/`)).length, shape.join(' ')).toBe(1);
    }
    expect(shape.filter(path => path.endsWith('/x/')).length, shape.join(' ')).toBe(3);
    await test.close();
  }

  it('two of them, each into the other: S64, at most one goes', async () => {
    let movedCount = 0;
    for (let round = 0; round < soakSize(30, 600); round += 1) {
      const order = Math.imul(SEED + round, 0x9e3779b1) >>> 8;
      const codes = await interleave(order, [
        ['/a', '/b/x/a'],
        ['/b', '/a/x/b'],
      ]);
      expect(codes.filter(code => code === 'ok').length, `seed ${SEED}, order ${order}`).toBeLessThan(2);
      movedCount += codes.filter(code => code === 'ok').length;
      await expectTree(codes, ['a', 'b', 'c']);
    }
    expect(movedCount).toBeGreaterThan(0);
  });

  it('three of them in a ring', async () => {
    for (let round = 0; round < soakSize(15, 300); round += 1) {
      const order = Math.imul(SEED + round, 0x85ebca6b) >>> 0;
      const codes = await interleave(order, [
        ['/a', '/b/x/a'],
        ['/b', '/c/x/b'],
        ['/c', '/a/x/c'],
      ]);
      expect(codes.filter(code => code === 'ok').length, `seed ${SEED}, order ${order}`).toBeLessThan(3);
      await expectTree(codes, ['a', 'b', 'c']);
    }
  });

  it('one name moved by two clients goes to one place', async () => {
    for (let round = 0; round < soakSize(12, 200); round += 1) {
      test = await TestVolume.create({}, new MemoryStore());
      const clients = await Promise.all(
        [0, 1, 2].map(at => test.client({ around: store => jitteryStore(store, SEED + 7 * round + at) })),
      );
      const [first, second, third] = clients;
      if (first === undefined || second === undefined || third === undefined) throw new Error('no clients');
      for (const folder of ['/a', '/b', '/c']) await makeFolder(first.volume, folder);
      await writeFile(first.volume, '/c/f', Buffer.from('here'));
      const codes = await Promise.all([
        codeOf(rename(first.volume, '/c/f', '/a/f')),
        codeOf(rename(second.volume, '/c/f', '/b/f')),
        codeOf(
          third.volume
            .find('/c/f')
            .then(({ parent, entry }) =>
              parent === undefined || entry === undefined
                ? undefined
                : third.volume.names.setAttributes(parent, entry, { ...FILE, mode: 0o600 }),
            ),
        ),
      ]);
      for (const code of codes) expect(['ok', 'ECONFLICT', 'ENOENT']).toContain(code);
      const tree = await treeOf((await test.client()).volume);
      expect([...tree.values()].filter(what => what === 'here').length).toBe(1);
      await test.close();
    }
  });
});
