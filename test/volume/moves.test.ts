/** Moves between folders, when their client stops after any request or meets other clients in any order. */
import { isDeepStrictEqual } from 'node:util';
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
  makeFolder as makeEmbeddedFolder,
  makeObjectFolder as makeFolder,
  namesIn,
  packFiles,
  quiet,
  readFile,
  SteppedStore,
  TestVolume,
  treeOf,
  writeFile,
  writePacked,
} from './support.ts';

let test: TestVolume;

afterEach(() => test.close());

async function rename(volume: Volume, from: string, to: string): Promise<void> {
  await volume.names.rename(await volume.place(from), await volume.place(to));
}

/** A client that can be stopped, and another. */
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
  /** The whole tree before and after the move, as `treeOf` has it. The same when the move is refused. */
  readonly before: Record<string, string>;
  readonly after: Record<string, string>;
  /** The tree after the move was undone, if not `before`. */
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
    name: 'a file in a pack',
    setUp: async volume => writePacked(volume, '/s/a', Buffer.from('one')),
    from: '/s/a',
    to: '/d/b',
    before: { '/d/': 'folder', '/s/': 'folder', '/s/a': 'one' },
    after: { '/d/': 'folder', '/d/b': 'one', '/s/': 'folder' },
  },
  {
    name: 'a file in a pack over another of the same pack',
    setUp: async volume => {
      const [source, target] = [await volume.directory('/s'), await volume.directory('/d')];
      await packFiles(volume, [
        { directory: source, name: 'a', bytes: Buffer.from('one') },
        { directory: target, name: 'b', bytes: Buffer.from('two') },
      ]);
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
    name: 'an embedded folder with something in it',
    setUp: async volume => {
      await makeEmbeddedFolder(volume, '/s/a');
      await makeEmbeddedFolder(volume, '/s/a/deep');
      await writeFile(volume, '/s/a/deep/x', Buffer.from('one'));
    },
    from: '/s/a',
    to: '/d/b',
    before: {
      '/d/': 'folder',
      '/s/': 'folder',
      '/s/a/': 'folder',
      '/s/a/deep/': 'folder',
      '/s/a/deep/x': 'one',
    },
    after: {
      '/d/': 'folder',
      '/d/b/': 'folder',
      '/d/b/deep/': 'folder',
      '/d/b/deep/x': 'one',
      '/s/': 'folder',
    },
  },
  {
    name: 'an embedded folder over an empty one',
    setUp: async volume => {
      await makeEmbeddedFolder(volume, '/s/a');
      await writeFile(volume, '/s/a/x', Buffer.from('one'));
      await makeEmbeddedFolder(volume, '/d/b');
    },
    from: '/s/a',
    to: '/d/b',
    before: { '/d/': 'folder', '/d/b/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x': 'one' },
    after: { '/d/': 'folder', '/d/b/': 'folder', '/d/b/x': 'one', '/s/': 'folder' },
    back: { '/d/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x': 'one' },
  },
  {
    name: 'a file between embedded folders of two objects',
    setUp: async volume => {
      await makeEmbeddedFolder(volume, '/s/a');
      await makeEmbeddedFolder(volume, '/d/b');
      await writeFile(volume, '/s/a/x', Buffer.from('one'));
    },
    from: '/s/a/x',
    to: '/d/b/y',
    before: { '/d/': 'folder', '/d/b/': 'folder', '/s/': 'folder', '/s/a/': 'folder', '/s/a/x': 'one' },
    after: { '/d/': 'folder', '/d/b/': 'folder', '/d/b/y': 'one', '/s/': 'folder', '/s/a/': 'folder' },
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

/** Removes everything in a folder, and expects nothing to be in the way. */
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

/** Returns the codes that a call may end with: `whole`, or EDENIED if its client stopped. */
function possibleCodes(dying: DyingStore, whole = 'ok'): string[] {
  return dying.isDead ? [whole, 'EDENIED'] : [whole];
}

/**
 * Stops a client after so many requests of a move, and has another finish the move. True when the move needed
 * no more.
 */
async function stopAfter(requests: number, moving: Case): Promise<boolean> {
  const { setUp, from, to, before, after, back } = moving;
  const { mover, dying, other } = await moverAndOther();
  await makeFolder(other.volume, '/s');
  await makeFolder(other.volume, '/d');
  await setUp(other.volume);
  dying.dieAfter(requests);
  const code = await codeOf(rename(mover.volume, from, to));
  const isDone = !dying.isDead;
  expect(possibleCodes(dying, isDeepStrictEqual(before, after) ? 'EINVAL' : 'ok')).toContain(code);

  const seen = Object.fromEntries(await treeOf(other.volume));
  expect(code === 'ok' ? [after] : [before, after], `after ${requests}`).toContainEqual(seen);
  // The next client sees the same, and so does one that comes after both names have been used again.
  const isMoved = seen[from] === undefined && seen[`${from}/`] === undefined;
  if (isMoved) await rename(other.volume, to, from);
  else if (back === undefined) await thereAndBack(other.volume, from);
  const { volume } = await test.client();
  const tree = Object.fromEntries(await treeOf(volume));
  expect(tree, `after ${requests}`).toEqual(isMoved ? (back ?? before) : before);
  await clear(volume, '/');
  expect(await namesIn(volume, '/')).toEqual([]);
  await test.close();
  return isDone;
}

describe('a move whose client stops after any of its requests', () => {
  for (const moving of CASES) {
    it(`${moving.name}: is at one of the two names at any time, and any client finishes it`, async () => {
      let requests = 0;
      while (!(await stopAfter(requests, moving))) requests += 1;
      expect(requests).toBeLessThan(60);
    });
  }

  it('does not come back from a folder that was removed after it had arrived there', async () => {
    let arrivedCount = 0;
    for (let requests = 0; requests < 30; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/d');
      await writeFile(volume, '/s/a', Buffer.from('one'));
      dying.dieAfter(requests);
      const code = await codeOf(rename(mover.volume, '/s/a', '/d/b'));
      expect(possibleCodes(dying)).toContain(code);
      const hasArrived = (await namesIn(volume, '/d')).length === 1;
      if (code === 'ok') expect(hasArrived, `after ${requests}`).toBe(true);
      if (!hasArrived) {
        await test.close();
        continue;
      }
      arrivedCount += 1;
      await volume.names.unlink(await volume.directory('/d'), 'b');
      const { id } = await volume.directory('/d');
      await volume.names.rmdir(volume.root, 'd');
      expect(await namesIn(volume, '/s'), `after ${requests}`).toEqual([]);
      // gc does the same in the end.
      await test.store.delete(inodeKey(id));
      expect(await namesIn((await test.client()).volume, '/s'), `after ${requests}`).toEqual([]);
      await volume.names.rmdir(volume.root, 's');
      await test.close();
    }
    expect(arrivedCount).toBeGreaterThan(1);
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
      const code = await codeOf(rename(mover.volume, '/s/a', '/d/b'));
      expect(possibleCodes(dying)).toContain(code);
      // The entry of this name may still be departing.
      await rename(volume, '/d/c', '/s/a');
      expect((await readFile(volume, '/s/a')).toString()).toBe('two');
      await test.close();
    }
  });
});

describe('a removal whose client stops after any of its requests', () => {
  it('happens or not, and what it leaves behind hinders no other operation', async () => {
    let isDone = false;
    for (let requests = 0; !isDone; requests += 1) {
      const { mover, dying, other } = await moverAndOther();
      const { volume } = other;
      await makeFolder(volume, '/s');
      await makeFolder(volume, '/s/a');
      dying.dieAfter(requests);
      const code = await codeOf(mover.volume.directory('/s').then(at => mover.volume.names.rmdir(at, 'a')));
      isDone = !dying.isDead;
      expect(possibleCodes(dying)).toContain(code);
      const found = await volume.names.find(await volume.directory('/s'), 'a');
      if (code === 'ok') expect(found).toBeUndefined();
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
      const code = await codeOf(mover.volume.directory('/s').then(at => mover.volume.names.rmdir(at, 'a')));
      isDone = !dying.isDead;
      expect(possibleCodes(dying)).toContain(code);
      const found = await volume.names.find(await volume.directory('/s'), 'a');
      if (code === 'ok') expect(found).toBeUndefined();
      expect(await codeOf(volume.names.rmdir(volume.root, 's'))).toBe(
        found === undefined ? 'ok' : 'ENOTEMPTY',
      );
      await test.close();
    }
  });
});

/** Returns the paths of everything below the root. */
async function shapeOf(volume: Volume): Promise<string[]> {
  return [...(await treeOf(volume)).keys()];
}

describe('folders that are moved into one another at the same time', () => {
  /**
   * Starts all moves, and lets their requests through in an order that `order` seeds. Returns their codes.
   */
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
    // Some moves wait for time to pass, not for a request.
    for (const { stepped } of movers) stepped.open();
    return await Promise.all(results);
  }

  async function expectTree(codes: readonly string[], names: readonly string[]): Promise<void> {
    for (const code of codes) expect(['ok', 'EINVAL', 'ECONFLICT', 'ENOENT']).toContain(code);
    const { volume } = await test.client();
    const shape = await shapeOf(volume);
    // Each folder is there once, however deep: none is lost, and none is above itself.
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
    let movedCount = 0;
    for (let round = 0; round < soakSize(15, 300); round += 1) {
      const order = Math.imul(SEED + round, 0x85ebca6b) >>> 0;
      const codes = await interleave(order, [
        ['/a', '/b/x/a'],
        ['/b', '/c/x/b'],
        ['/c', '/a/x/c'],
      ]);
      expect(codes.filter(code => code === 'ok').length, `seed ${SEED}, order ${order}`).toBeLessThan(3);
      movedCount += codes.filter(code => code === 'ok').length;
      await expectTree(codes, ['a', 'b', 'c']);
    }
    expect(movedCount).toBeGreaterThan(0);
  });

  it('one name moved by two clients goes to one place', async () => {
    let movedCount = 0;
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
      const places = [...tree].filter(([, what]) => what === 'here').map(([path]) => path);
      const targets = ['/a/f', '/b/f'].filter((_, at) => codes[at] === 'ok');
      expect(places, `seed ${SEED}, round ${round}`).toHaveLength(1);
      if (targets.length === 1) expect(places).toEqual(targets);
      movedCount += targets.length;
      await test.close();
    }
    expect(movedCount, `seed ${SEED}`).toBeGreaterThan(0);
  });
});
