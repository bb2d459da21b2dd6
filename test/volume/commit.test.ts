/** Commits: lost answers, shared swaps, round trips, and inodes that become objects. */
import { afterEach, describe, expect, it } from 'vitest';
import { randomId } from '../../src/base/ids.ts';
import type { Fault, FaultKind, FaultPlan } from '../../src/server/faults.ts';
import { inodeKey } from '../../src/server/sealed/object-keys.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEED, soakSize } from '../support/soak.ts';
import {
  aroundStore,
  bytesOf,
  type Client,
  codeOf,
  DyingStore,
  FILE,
  jitteryStore,
  namesIn,
  quiet,
  readFile,
  TestVolume,
  writeFile,
  writePacked,
} from './support.ts';

let test: TestVolume;

afterEach(() => test.close());

/** Gives the first puts of inode objects these faults, in order, and later ones none. */
function onCommits(...faults: readonly (Fault | undefined)[]): FaultPlan {
  let next = 0;
  return ({ operation, key }) => {
    if (operation !== 'put' || !key.startsWith('i/')) return undefined;
    next += 1;
    return faults[next - 1];
  };
}

async function createNames(volume: Volume, names: readonly string[]): Promise<string[]> {
  return await Promise.all(
    names.map(name => codeOf(volume.names.insert(volume.root, name, volume.names.newFile(FILE)))),
  );
}

/** Returns the codes that a commit may end with when its first puts meet these faults. */
function possibleCodes(first: FaultKind, second: FaultKind | undefined): readonly string[] {
  if (first === 'refused') return ['EUNAVAILABLE'];
  if (second !== 'refused') return ['ok'];
  // The client reads the inode after the first put. Only when it does not see its change does it put again.
  if (first === 'dropped') return ['EUNCERTAIN'];
  return first === 'late' ? ['ok', 'EUNCERTAIN'] : ['ok'];
}

/**
 * Returns the codes of later commits. Only a second fault that the first commit did not meet affects them.
 */
function laterCodes(second: FaultKind | undefined, firstCode: string | undefined): string[][] {
  return second === 'refused' && firstCode !== 'EUNCERTAIN'
    ? [['EUNAVAILABLE'], ['ok', 'ok']]
    : [['ok'], ['EEXIST', 'ok']];
}

describe('a commit whose answer was lost', () => {
  const kinds: readonly FaultKind[] = ['lost', 'dropped', 'late', 'vague', 'refused'];
  for (const first of kinds) {
    for (const second of [undefined, ...kinds]) {
      it(`is found or repeated: ${first}, then ${second ?? 'well'}`, async () => {
        test = await TestVolume.create();
        const faults = onCommits(
          { kind: first, delayMs: 2 },
          second === undefined ? undefined : { kind: second, delayMs: 5 },
        );
        const { volume } = await test.client({ faults });
        await volume.root.read();
        const [code] = await createNames(volume, ['a']);
        await new Promise(resolve => setTimeout(resolve, 15));
        const names = await namesIn((await test.client()).volume, '/');
        expect(possibleCodes(first, second)).toContain(code);
        if (code === 'ok') expect(names).toEqual(['a']);
        if (code === 'EUNAVAILABLE') expect(names).toEqual([]);
        const later = [await createNames(volume, ['b']), await createNames(volume, ['b', 'c'])];
        expect(later).toEqual(laterCodes(second, code));
        await volume.names.unlink(volume.root, 'c');
        const { root } = (await test.client()).volume;
        expect((await root.read()).entryCount).toBe(names.length + 1);
        expect(await namesIn((await test.client()).volume, '/')).toEqual([...names, 'b']);
      });
    }
  }

  it('is a refusal only once the lost attempt cannot arrive any more', async () => {
    test = await TestVolume.create();
    const { volume } = await test.client({ faults: onCommits({ kind: 'late', delayMs: 200 }) });
    await volume.root.read();
    let attempts = 0;
    // Like a change that depends on another object: when it is validated again, it is not allowed any more.
    const work = volume.root.apply(
      draft => {
        draft.update({ mode: 0o700 });
      },
      {
        validate: async () => {
          attempts += 1;
          if (attempts > 1) throw new Error('not any more');
        },
      },
    );
    await expect(work).rejects.toThrow('not any more');
    await new Promise(resolve => setTimeout(resolve, 250));
    const { root } = (await test.client()).volume;
    expect((await root.read()).mode).toBe(0o755);
  });

  it('is uncertain when reading afterwards fails', async () => {
    test = await TestVolume.create();
    let isLost = false;
    const { volume } = await test.client({
      faults: ({ operation, key }) => {
        if (operation === 'put' && key.startsWith('i/')) {
          isLost = true;
          return { kind: 'lost' };
        }
        return isLost ? { kind: 'refused' } : undefined;
      },
    });
    await volume.root.read();
    expect(await createNames(volume, ['a'])).toEqual(['EUNCERTAIN']);
    expect(await namesIn((await test.client()).volume, '/')).toEqual(['a']);
  });

  it('is uncertain when what it needs for another attempt cannot be stored', async () => {
    test = await TestVolume.create();
    let isLost = false;
    const { volume } = await test.client({
      faults: ({ operation, key }) => {
        if (operation !== 'put') return undefined;
        if (key.startsWith('s/')) return isLost ? { kind: 'refused' } : undefined;
        isLost = true;
        return { kind: 'late', delayMs: 10 };
      },
    });
    // So many names that there are name nodes to store.
    const names = Array.from({ length: 1200 }, (_, at) => `file-${at}`);
    expect(new Set(await createNames(volume, names))).toEqual(new Set(['EUNCERTAIN']));
    await new Promise(resolve => setTimeout(resolve, 25));
    expect((await namesIn((await test.client()).volume, '/')).length).toBe(1200);
  });

  it('is uncertain when so many others came after it that the inode does not list it any more', async () => {
    test = await TestVolume.create();
    const other = await test.client();
    let isLost = false;
    const { volume } = await test.client({
      faults: onCommits({ kind: 'lost' }),
      around: inner =>
        aroundStore(inner, async call => {
          if (call.operation !== 'put' || isLost) return await call.send();
          isLost = true;
          try {
            return await call.send();
          } finally {
            for (let count = 0; count < 16; count += 1) {
              await other.volume.names.setDirectoryAttributes(other.volume.root, { mode: 0o700 + count });
            }
          }
        }),
    });
    await volume.root.read();
    expect(await createNames(volume, ['a'])).toEqual(['EUNCERTAIN']);
    expect(await namesIn(other.volume, '/')).toEqual(['a']);
    expect(await createNames(volume, ['b'])).toEqual(['ok']);
  });

  it('is known when fifteen others came after it', async () => {
    test = await TestVolume.create();
    const other = await test.client();
    let isLost = false;
    const { volume } = await test.client({
      faults: onCommits({ kind: 'lost' }),
      around: inner =>
        aroundStore(inner, async call => {
          if (call.operation !== 'put' || isLost) return await call.send();
          isLost = true;
          try {
            return await call.send();
          } finally {
            for (let count = 0; count < 15; count += 1) {
              await other.volume.names.setDirectoryAttributes(other.volume.root, { mode: 0o700 + count });
            }
          }
        }),
    });
    await volume.root.read();
    expect(await createNames(volume, ['a'])).toEqual(['ok']);
  });
});

describe('a commit that is overtaken', () => {
  it('is acknowledged though a reader saw the next version before its answer came', async () => {
    test = await TestVolume.create();
    const other = await test.client();
    let mine: Volume | undefined;
    const { volume } = await test.client({
      around: inner =>
        aroundStore(inner, async call => {
          const result = await call.send();
          if (call.operation === 'put' && call.key.startsWith('i/') && mine !== undefined) {
            await createNames(other.volume, ['theirs']);
            await mine.root.read(0);
            mine = undefined;
          }
          return result;
        }),
    });
    await volume.root.read();
    mine = volume;
    expect(await createNames(volume, ['ours'])).toEqual(['ok']);
    expect(await namesIn(volume, '/')).toEqual(['ours', 'theirs']);
    expect(await createNames(volume, ['more'])).toEqual(['ok']);
  });

  it('keeps what others did: many clients, one folder', async () => {
    test = await TestVolume.create();
    const clients = await Promise.all(
      Array.from({ length: 5 }, (_, at) =>
        test.client({ around: store => jitteryStore(store, SEED + at, 3) }),
      ),
    );
    const codes = await Promise.all(
      clients.flatMap(({ volume }, client) =>
        Array.from({ length: 40 }, async (_, at) => {
          await quiet(at % 7);
          return await createNames(volume, [`${client}-${at}`]);
        }),
      ),
    );
    expect(new Set(codes.flat())).toEqual(new Set(['ok']));
    const { volume } = await test.client();
    expect((await namesIn(volume, '/')).length).toBe(200);
    expect((await volume.root.read()).entryCount).toBe(200);
  });
});

describe('a segment that cannot be stored', () => {
  it('fails the files that lie in it, and no other that is committed at the same time', async () => {
    test = await TestVolume.create();
    let uploads = 0;
    const client = await test.client({
      segmentBytes: 20_000,
      faults: ({ operation, key }) => {
        if (operation !== 'put') return undefined;
        if (!key.startsWith('s/')) return { kind: 'slow', delayMs: 10 };
        uploads += 1;
        return uploads % 4 === 2 ? { kind: 'refused' } : { kind: 'slow', delayMs: 5 };
      },
    });
    const codes = await Promise.all(
      Array.from({ length: 40 }, (_, at) => codeOf(writeFile(client.volume, `/f${at}`, bytesOf(at, 3000)))),
    );
    const { volume } = await test.client();
    const names = await namesIn(volume, '/');
    for (const [at, code] of codes.entries()) {
      expect(code === 'ok').toBe(names.includes(`f${at}`));
      if (code === 'ok') expect((await readFile(volume, `/f${at}`)).equals(bytesOf(at, 3000))).toBe(true);
      else expect(code).toBe('EUNAVAILABLE');
    }
    // A segment has six files, and a quarter of the segments is lost.
    expect(codes.filter(code => code !== 'ok').length).toBeGreaterThan(0);
    expect(codes.filter(code => code === 'ok').length).toBeGreaterThan(20);
  });
});

describe('how many requests', () => {
  async function tripsOf({ meter }: Client, work: () => Promise<unknown>): Promise<number> {
    meter.resetRoundTrips();
    await work();
    return meter.roundTripCount;
  }

  /** A client that has read the root and committed before. */
  async function warmClient(faults?: FaultPlan): Promise<Client> {
    test = await TestVolume.create({ unitSizeBytes: 64 * 1024 });
    const client = await test.client({ freshMs: 60_000, faults });
    await writeFile(client.volume, '/first', Buffer.from('x'));
    return client;
  }

  it('create, write and commit wait for two', async () => {
    const client = await warmClient();
    const trips = await tripsOf(client, async () => {
      const writer = await client.volume.createFile('/a', FILE);
      await writer.write(bytesOf(1, 4096));
      await writer.commit();
    });
    expect(trips).toBe(2);
  });

  it('appending 4 KiB and committing waits for two, again and again', async () => {
    const client = await warmClient();
    const writer = await client.volume.createFile('/log', FILE);
    const trips: number[] = [];
    for (let append = 0; append < 40; append += 1) {
      trips.push(
        await tripsOf(client, async () => {
          await writer.write(bytesOf(append, 4096));
          await writer.commit();
        }),
      );
      // Waits until the inode has become an object of its own: no commit waits for that, but the meter counts
      // it.
      await client.volume.sync();
    }
    expect(Math.max(...trips), trips.join()).toBe(2);
    const { entry } = await client.volume.find('/log');
    expect(entry?.node.kind).toBe('object');
    const expected = Buffer.concat(Array.from({ length: 40 }, (_, at) => bytesOf(at, 4096)));
    expect((await readFile((await test.client()).volume, '/log')).equals(expected)).toBe(true);
  });

  it('appending to a file that ends with a unit waits for two as well', async () => {
    const client = await warmClient();
    await writeFile(client.volume, '/log', bytesOf(1, 64 * 1024));
    const trips = await tripsOf(client, async () => {
      const writer = await client.volume.openWriter('/log');
      await writer.write(bytesOf(2, 4096), 64 * 1024);
      await writer.commit();
    });
    expect(trips).toBe(2);
  });

  it('a hundred files at once are a few puts, as soon as a put takes some time', async () => {
    const client = await warmClient(() => ({ kind: 'slow', delayMs: 100 }));
    const before = client.meter.snapshot().put.requestCount;
    await Promise.all(
      Array.from({ length: 100 }, (_, at) => writeFile(client.volume, `/f${at}`, bytesOf(at, 4096))),
    );
    // Ten on a free machine. Each by itself would take two.
    expect(client.meter.snapshot().put.requestCount - before).toBeLessThanOrEqual(50);
    expect((await namesIn(client.volume, '/')).length).toBe(101);
  });

  it('ten thousand names at once are a few puts', async () => {
    const client = await warmClient();
    const before = client.meter.requestCount;
    await createNames(
      client.volume,
      Array.from({ length: 10_000 }, (_, at) => `n${at}`),
    );
    expect(client.meter.requestCount - before).toBeLessThan(8);
  });
});

describe('a file whose inode becomes an object', () => {
  async function change(volume: Volume, path: string, uid: number): Promise<string> {
    // Too large to be embedded.
    const xattrs = [{ key: `user.${uid}`, value: Buffer.alloc(1500, uid) }];
    const work = async (): Promise<void> => {
      const { parent, entry } = await volume.find(path);
      if (parent === undefined || entry === undefined) throw new Error('no file');
      await volume.names.setAttributes(parent, entry, { uid, xattrs });
    };
    return await codeOf(work());
  }

  it('is changed by two clients at once, whatever the order', async () => {
    for (let round = 0; round < soakSize(12, 200); round += 1) {
      test = await TestVolume.create();
      const [first, second, third] = await Promise.all(
        [0, 1, 2].map(at => test.client({ around: store => jitteryStore(store, SEED + 31 * round + at) })),
      );
      if (first === undefined || second === undefined || third === undefined) throw new Error('no clients');
      await writeFile(first.volume, '/f', Buffer.from('content'));
      const small = async (): Promise<string> => {
        const { parent, entry } = await third.volume.find('/f');
        if (parent === undefined || entry === undefined) return 'ENOENT';
        return await codeOf(third.volume.names.setAttributes(parent, entry, { gid: 9 }));
      };
      const codes = await Promise.all([
        change(first.volume, '/f', 1),
        change(second.volume, '/f', 2),
        small(),
      ]);
      expect(codes).toEqual(['ok', 'ok', 'ok']);
      const { volume } = await test.client();
      const { inode, entry } = await volume.find('/f');
      expect(entry?.node.kind).toBe('object');
      expect([1, 2]).toContain(inode.uid);
      expect(inode.gid).toBe(9);
      expect(inode.xattrs.length).toBe(1);
      expect((await readFile(volume, '/f')).toString()).toBe('content');
      await test.close();
    }
  });

  it('is unchanged or changed when its client stops after any request, and others go on changing it', async () => {
    const writers = [writePacked, writeFile, writeFile];
    let isDone = false;
    for (let requests = 0; !isDone; requests += 1) {
      test = await TestVolume.create();
      const dying = new DyingStore(test.store);
      const maker = await test.client({ around: () => dying.store });
      const other = await test.client();
      await writers[requests % 3]?.(other.volume, '/f', Buffer.from('content'));
      dying.dieAfter(requests);
      const code = await change(maker.volume, '/f', 1);
      isDone = !dying.isDead;
      expect(isDone ? ['ok'] : ['ok', 'EDENIED']).toContain(code);
      const before = (await other.volume.find('/f')).inode;
      expect(code === 'ok' ? [1] : [0, 1]).toContain(before.uid);
      if (requests % 2 === 0) {
        const { parent, entry } = await other.volume.find('/f');
        if (parent === undefined || entry === undefined) throw new Error('lost');
        await other.volume.names.setAttributes(parent, entry, { gid: 7 });
      }
      expect(await change(other.volume, '/f', 2)).toBe('ok');
      const { volume } = await test.client();
      const { inode } = await volume.find('/f');
      expect(inode).toMatchObject({ uid: 2, gid: requests % 2 === 0 ? 7 : 0 });
      expect((await readFile(volume, '/f')).toString()).toBe('content');
      await test.close();
    }
  });

  it('does not get later what its client was told had failed', async () => {
    for (const path of ['/f', '/moved']) {
      test = await TestVolume.create();
      let isRefusing = false;
      const rootKey = (volume: Volume): string => inodeKey(volume.settings.rootId);
      let root = '';
      const failing = await test.client({
        faults: ({ operation, key }) =>
          isRefusing && operation === 'put' && key === root ? { kind: 'refused' } : undefined,
      });
      root = rootKey(failing.volume);
      const other = await test.client();
      await writeFile(other.volume, '/f', Buffer.from('content'));
      isRefusing = true;
      expect(await change(failing.volume, '/f', 1)).toBe('EUNAVAILABLE');
      if (path !== '/f') {
        await other.volume.names.rename(await other.volume.place('/f'), await other.volume.place(path));
      }
      await other.volume.names.link(await other.volume.place(path), other.volume.root, 'g');
      const { inode } = await other.volume.find('/g');
      expect(inode).toMatchObject({ uid: 0, xattrs: [], linkCount: 2 });
      await test.close();
    }
  });

  it('loses no commit of two that write to it at once', async () => {
    for (let round = 0; round < soakSize(4, 60); round += 1) {
      test = await TestVolume.create();
      const clients = await Promise.all(
        [0, 1].map(at => test.client({ around: store => jitteryStore(store, SEED + 17 * round + at) })),
      );
      await writeFile((await test.client()).volume, '/f', Buffer.from('-'));
      const written: string[][] = await Promise.all(
        clients.map(async ({ volume }, client) => {
          const done: string[] = [];
          for (let attempt = 0; attempt < 12; attempt += 1) {
            const writer = await volume.openWriter('/f');
            // Several commits: the third makes the inode an object of its own.
            for (let part = 0; part < 4; part += 1) {
              const text = `<${client}.${attempt}.${part}>`;
              await writer.write(Buffer.from(text), writer.sizeBytes);
              const code = await codeOf(writer.commit());
              expect(['ok', 'ECONFLICT']).toContain(code);
              if (code !== 'ok') break;
              done.push(text);
            }
          }
          return done;
        }),
      );
      const text = (await readFile((await test.client()).volume, '/f')).toString();
      const all = written.flat();
      expect(all.length, `seed ${SEED}, round ${round}`).toBeGreaterThan(0);
      for (const part of all) expect(text, `seed ${SEED}, round ${round}`).toContain(part);
      expect(text.length).toBe(1 + all.join('').length);
      await test.close();
    }
  });
});

describe('an inode that the store does not have yet', () => {
  /** Looks at so many others that idle ones are forgotten. */
  function lookAtOthers(volume: Volume): void {
    for (let count = 0; count < 5000; count += 1) volume.inodes.get(randomId());
  }

  it('is kept until it is put, and forgotten when that has failed', async () => {
    test = await TestVolume.create();
    let dying: DyingStore | undefined;
    const { volume } = await test.client({
      around: store => {
        dying = new DyingStore(store);
        return dying.store;
      },
    });
    const [waiting, failed] = [0, 1].map(() => volume.inodes.unborn(volume.names.newFile(FILE)));
    lookAtOthers(volume);
    expect(volume.inodes.get(failed!.key)).toBe(failed);
    dying?.dieAfter(0);
    expect(await codeOf(failed!.create())).toBe('EDENIED');
    lookAtOthers(volume);
    expect(volume.inodes.get(failed!.key)).not.toBe(failed);
    expect(volume.inodes.get(waiting!.key)).toBe(waiting);
    // Its owner may try again all the same.
    dying?.dieAfter(Number.POSITIVE_INFINITY);
    await failed!.create();
    expect(await volume.inodes.get(failed!.key).read()).toMatchObject({ type: 'file' });
  });
});
