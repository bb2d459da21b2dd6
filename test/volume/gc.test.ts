/** gc: which objects it deletes, and when, while clients pause at bad moments. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import { randomId } from '../../src/base/ids.ts';
import { decodeCandidateList, encodeCandidateList } from '../../src/server/sealed/gc-format.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { readStoredLists, storeList, superfluousLists } from '../../src/volume/care/gc-candidates.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import {
  aroundStore,
  bytesOf,
  codeOf,
  FILE,
  FOLDER,
  makeObjectFolder as makeFolder,
  namesIn,
  quiet,
  readFile,
  SteppedStore,
  writeFile,
  writePacked,
} from './support.ts';

const CONTENT = bytesOf(7, 20_000);

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** Uploads the units of a file that nothing leads to yet. Returns the function that commits it. */
async function uploaded({ session, names, root }: Volume, name: string): Promise<() => Promise<void>> {
  const inode = names.newFile(FILE);
  const batch = await session.units.reserve(4096);
  batch.bytes.set(CONTENT.subarray(0, 4096));
  batch.add(inode.id, 0, 4096, 0, 4096);
  const placing = batch.submit();
  await session.units.placed();
  await session.dataSegments.flush();
  const [pointer] = await placing;
  if (pointer === undefined) throw new Error('no unit');
  const map = { depth: 0, slots: [{ slot: 0, pointer }] };
  const whole = { ...inode, sizeBytes: 4096, storedBytes: pointer.lengthBytes, map };
  return () => names.insert(root, name, whole, { segments: [pointer.segment] });
}

describe('gc', () => {
  it('says what it needs when the store has no room for its notes, and deletes nothing', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/gone', bytesOf(1, 50_000));
    await volume.names.unlink(volume.root, 'gone');
    await collectGarbage(volume, { graceMs: GRACE_MS });
    timed.wait(2 * GRACE_MS);
    const full = await timed.client({
      around: store =>
        aroundStore(store, async call => {
          if (call.operation === 'put') throw new NetsealError('EFULL', 'no space left');
          return await call.send();
        }),
    });
    const keys = async (): Promise<string[]> =>
      (await timed.test.store.list({ limit: 1000 })).entries.map(({ key }) => key);
    const before = await keys();
    await expect(collectGarbage(full.volume, { graceMs: GRACE_MS })).rejects.toMatchObject({
      code: 'EFULL',
      message: expect.stringMatching(/^gc must note what it will delete .* no space left$/),
    });
    expect(await keys()).toEqual(before);
    expect((await collectGarbage(volume, { graceMs: GRACE_MS })).deleted.objects).toBeGreaterThan(0);
  });

  it('deletes nothing in its first pass, and in a later one what was unreferenced for a grace', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/gone', bytesOf(1, 50_000));
    await writeFile(volume, '/stays', bytesOf(2, 50_000));
    await volume.names.unlink(volume.root, 'gone');
    timed.wait(10 * GRACE_MS);

    const first = await timed.collect();
    expect(first.deleted.objects).toBe(0);
    expect(first.waiting.objects).toBe(1);
    expect(first.waiting.firstDueMs).toBe(timed.clock.ms + GRACE_MS);
    timed.wait(GRACE_MS - 1);
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(1);
    const dry = await timed.collect({ dryRun: true });
    expect([dry.deletable.objects, dry.deleted.objects]).toEqual([1, 0]);
    expect(await timed.keys('s/')).toHaveLength(2);
    expect((await timed.collect()).deleted.objects).toBe(1);
    expect(await timed.keys('s/')).toHaveLength(1);
    expect(await timed.keys('gc/')).toEqual([]);
    expect(await readFile(volume, '/stays')).toEqual(bytesOf(2, 50_000));
  });

  it('takes inodes, name nodes and map pages that nothing leads to', async () => {
    const { volume } = await timed.client();
    const folder = await makeFolder(volume, '/folder');
    for (let at = 0; at < 40; at += 1) await makeFolder(volume, `/folder/${at}`);
    await writeFile(volume, '/large', bytesOf(3, 4096 * 300));
    for (let at = 0; at < 40; at += 1) await volume.names.rmdir(folder, `${at}`);
    await volume.names.rmdir(volume.root, 'folder');
    await volume.names.unlink(volume.root, 'large');
    await timed.collectAll();
    expect(await timed.keys('i/')).toEqual([`i/${volume.settings.rootId}`]);
    expect(await timed.keys('s/')).toEqual([]);
  });

  it('leaves alone what was rewritten since it became a candidate', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/gone', bytesOf(1, 5000));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS);
    const [key = ''] = await timed.keys('s/');
    const { bytes } = await timed.store.get(key);
    await timed.store.put(key, [bytes]);
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(GRACE_MS);
    expect((await timed.collect()).deleted.objects).toBe(1);
  });

  it('does not count lists from before an object was in use again', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/file', bytesOf(1, 5000));
    const entry = await volume.root.find('file');
    await volume.names.unlink(volume.root, 'file');
    await timed.collect();
    timed.wait(GRACE_MS);
    if (entry === undefined) throw new Error('not found');
    await volume.names.insertNode(volume.root, 'file', entry.node);
    await timed.collect();
    await volume.names.unlink(volume.root, 'file');
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(GRACE_MS);
    expect((await timed.collect()).deleted.objects).toBe(1);
  });

  it('keeps what open files may still read, and counts lists from before their opening', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/gone', bytesOf(1, 5000));
    timed.wait(GRACE_MS);
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS);
    const held = await timed.collect({ protectedSinceMs: timed.clock.ms - GRACE_MS });
    expect([held.held.objects, held.deleted.objects]).toEqual([1, 0]);
    const later = await timed.collect({ protectedSinceMs: timed.clock.ms - GRACE_MS + 1 });
    expect([later.held.objects, later.deleted.objects]).toEqual([0, 1]);
  });

  it('keeps what open files may still read, although it was a candidate while it was being uploaded', async () => {
    const { volume } = await timed.client();
    const commit = await uploaded(volume, 'file');
    await timed.collect();
    await commit();
    timed.wait(GRACE_MS - HOUR_MS);
    const openedMs = timed.clock.ms;
    const reader = await volume.openFile('/file');
    await volume.names.unlink(volume.root, 'file');
    timed.wait(2 * HOUR_MS);
    const held = await timed.collect({ protectedSinceMs: openedMs });
    expect([held.held.objects, held.deleted.objects]).toEqual([1, 0]);
    expect(await reader.read(Buffer.alloc(4096), 0)).toBe(4096);

    // That pass stored a list, made when no commit could take the object any more: it counts for files opened later.
    timed.wait(1);
    const still = await timed.collect({ protectedSinceMs: openedMs });
    expect([still.held.objects, still.deleted.objects]).toEqual([1, 0]);
    const later = await timed.collect({ protectedSinceMs: timed.clock.ms });
    expect([later.held.objects, later.deleted.objects]).toEqual([0, 1]);
  });

  it('deletes nothing when anything cannot be read, and says what', async () => {
    const { volume } = await timed.client();
    const folder = await makeFolder(volume, '/folder');
    await writeFile(volume, '/gone', bytesOf(1, 5000));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS);
    await timed.store.delete(`i/${folder.key}`);
    const report = await timed.collect();
    expect(report.lost.map(({ key, place, error }) => [key, place.path, error.code])).toEqual([
      [`i/${folder.key}`, '/folder', 'EMISSING'],
    ]);
    expect(report.deleted.objects).toBe(0);
    expect(await timed.keys('s/')).toHaveLength(1);
  });

  it('deletes nothing when a segment is missing', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/lost', bytesOf(1, 5000));
    const [key = ''] = await timed.keys('s/');
    await writeFile(volume, '/gone', bytesOf(2, 5000));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS);
    await timed.store.delete(key);
    const report = await timed.collect();
    expect(report.missingSegments).toEqual([key.slice(2)]);
    expect([report.deleted.objects, report.deletable.objects]).toEqual([0, 0]);
  });

  it('gives up on a volume that changes all the time', async () => {
    const { volume } = await timed.client();
    await makeFolder(volume, '/a');
    const other = await timed.client();
    let count = 0;
    const restless = aroundStore(timed.store, async call => {
      if (call.operation === 'list' && call.key.startsWith('i/')) {
        count += 1;
        await writeFile(volume, `/a/${count}`, bytesOf(count, 10));
      }
      return await call.send();
    });
    const { volume: collecting } = await timed.client({ around: () => restless });
    expect(await codeOf(collectGarbage(collecting))).toBe('ECONFLICT');
    expect(count).toBeGreaterThan(3);
    await other.volume.close();
  });

  it('misses no file that is moved between folders while it walks', async () => {
    const { volume } = await timed.client();
    const names = ['a', 'b', 'c'];
    for (const name of names) await makeFolder(volume, `/${name}`);
    await writeFile(volume, '/a/file', bytesOf(1, 5000));
    await makeFolder(volume, '/a/folder');
    await writeFile(volume, '/a/folder/below', bytesOf(2, 5000));
    timed.wait(GRACE_MS);
    const chance = seededChance(SEED);
    let where = 'a';
    let moves = 0;
    let isMoving = false;
    const moving = aroundStore(timed.store, async call => {
      if (call.operation === 'get' && !isMoving && moves < 30 && chance() < 0.5) {
        moves += 1;
        isMoving = true;
        const to = names[Math.floor(chance() * 3)] ?? 'a';
        for (const name of ['file', 'folder']) {
          if (to === where) continue;
          await volume.names.rename(
            await volume.place(`/${where}/${name}`),
            await volume.place(`/${to}/${name}`),
          );
        }
        where = to;
        isMoving = false;
      }
      return await call.send();
    });
    const { volume: collecting } = await timed.client({ around: () => moving });
    for (let pass = 0; pass < 4; pass += 1) {
      moves = 0;
      const report = await collectGarbage(collecting);
      expect(report.lost, `seed ${SEED}`).toEqual([]);
      timed.wait(GRACE_MS + 1);
    }
    expect(await readFile(volume, `/${where}/file`), `seed ${SEED}`).toEqual(bytesOf(1, 5000));
    expect(await readFile(volume, `/${where}/folder/below`), `seed ${SEED}`).toEqual(bytesOf(2, 5000));
  });
});

describe('a writer that pauses', () => {
  /** Lets a commit's requests through one by one. Between them `plan` may run gc passes and let time go by. */
  async function pausedCommit(
    plan: (step: number) => Promise<void>,
    commit: (volume: Awaited<ReturnType<TimedVolume['client']>>['volume']) => Promise<unknown>,
    prepare: (volume: Awaited<ReturnType<TimedVolume['client']>>['volume']) => Promise<void> = async () =>
      undefined,
  ): Promise<{ error: unknown; steps: number }> {
    const stepped = new SteppedStore(timed.store);
    const { volume } = await timed.client({ around: () => stepped.store });
    await prepare(volume);
    stepped.hold();
    let error: unknown;
    let isDone = false;
    const work = commit(volume)
      .catch(failure => {
        error = failure;
      })
      .finally(() => {
        isDone = true;
      });
    let steps = 0;
    for (; !isDone; steps += 1) {
      await quiet();
      await plan(steps);
      if (!stepped.step()) await quiet();
    }
    await work;
    stepped.open();
    return { error, steps };
  }

  /** Lets requests through, up to and including the first that matches. Throws when the sender ends before that. */
  async function letThrough(
    { waiting }: SteppedStore,
    isRunning: () => boolean,
    [operation, prefix]: readonly [operation: string, prefix: string],
  ): Promise<void> {
    for (let isDone = false; !isDone; ) {
      await quiet();
      const request = waiting.shift();
      if (request === undefined && !isRunning())
        throw new Error(`it ended without a ${operation} of ${prefix}`);
      isDone = request?.operation === operation && request.key.startsWith(prefix);
      request?.go();
    }
    await quiet();
  }

  /** Turns `work` into a promise that never rejects, and a function that returns its error. */
  function settled(work: Promise<unknown>, then: () => void): [work: Promise<void>, error: () => unknown] {
    let error: unknown;
    const ended = work
      .then(
        () => undefined,
        failure => {
          error = failure;
        },
      )
      .finally(then);
    return [ended, () => error];
  }

  it('for longer than the grace, with one gc pass before, commits its data intact', async () => {
    for (let at = 0; at < 6; at += 1) {
      const path = `/file${at}`;
      const { error } = await pausedCommit(
        async step => {
          if (step !== at) return;
          await timed.collect();
          timed.wait(2 * GRACE_MS);
        },
        volume => writeFile(volume, path, CONTENT),
      );
      expect(error, `paused at ${at}`).toBeUndefined();
      const { volume } = await timed.client();
      expect(await readFile(volume, path)).toEqual(CONTENT);
    }
  });

  it('at any point, with gc passes at any other, commits its data intact or fails and has committed nothing', async () => {
    const chance = seededChance(SEED);
    let failed = 0;
    let succeeded = 0;
    for (let round = 0; round < soakSize(25, 400); round += 1) {
      const path = `/round${round}`;
      const isPacked = round % 3 === 0;
      const content = isPacked ? CONTENT.subarray(0, 1000) : CONTENT;
      const pauses = new Set(Array.from({ length: 3 }, () => Math.floor(chance() * 8)));
      const { error } = await pausedCommit(
        async step => {
          if (!pauses.has(step)) return;
          for (let pass = Math.floor(chance() * 3); pass >= 0; pass -= 1) {
            timed.wait(Math.floor(chance() * 1.5 * GRACE_MS));
            await timed.collect();
          }
        },
        volume => (isPacked ? writePacked(volume, path, content) : writeFile(volume, path, content)),
      );
      const { volume } = await timed.client();
      const hint = `seed ${SEED}, round ${round}`;
      if (error === undefined) {
        succeeded += 1;
        expect(await readFile(volume, path), hint).toEqual(content);
      } else {
        failed += 1;
        expect(error, hint).toBeInstanceOf(NetsealError);
        expect(['EIO', 'EMISSING'], hint).toContain((error as NetsealError).code);
        // A commit that reported a loss may have happened: then the name leads to the loss.
        expect(['ok', 'ENOENT']).toContain(await codeOf(volume.names.unlink(volume.root, path.slice(1))));
      }
      expect((await deepCheck(volume)).damages, hint).toEqual([]);
      await volume.close();
    }
    expect(succeeded, `seed ${SEED}`).toBeGreaterThan(0);
    expect(failed, `seed ${SEED}`).toBeGreaterThan(0);
  });

  it('before its swap, until a gc has taken what it wrote, takes the swap back: no other name is lost', async () => {
    const stepped = new SteppedStore(timed.store);
    const { volume: writer } = await timed.client({ around: () => stepped.store });
    const names = Array.from({ length: 200 }, (_, at) => ({
      name: `other${at}`,
      inode: writer.names.newFile(FILE),
      segments: [],
    }));
    await writer.names.insertMany(writer.root, names);
    stepped.hold();
    let isRunning = true;
    const [committed, error] = settled(writeFile(writer, '/file', CONTENT), () => {
      isRunning = false;
    });
    for (; isRunning; stepped.step()) {
      await quiet();
      const [next] = stepped.waiting;
      if (next?.operation === 'put' && next.key.startsWith('i/')) break;
    }
    await grow();
    await timed.collect();
    stepped.open();
    await committed;
    expect((error() as NetsealError).code).toBe('EIO');
    const { volume } = await timed.client();
    expect(await namesIn(volume, '/')).toEqual(names.map(({ name }) => name).sort());
    expect((await deepCheck(volume)).damages).toEqual([]);
    // The writer goes on.
    await writeFile(writer, '/file', CONTENT);
    expect(await readFile(volume, '/file')).toEqual(CONTENT);
  });

  /** Makes everything that nothing leads to a candidate that is old enough to be deleted. */
  async function grow(): Promise<void> {
    await timed.collect();
    timed.wait(GRACE_MS + HOUR_MS);
  }

  /** Lets a commit that was paused for longer than the grace go on beside a gc. Returns the error of the commit. */
  async function race(path: string, chance: Chance): Promise<unknown> {
    const writing = new SteppedStore(timed.store);
    const collecting = new SteppedStore(timed.store);
    const { volume: writer } = await timed.client({ around: () => writing.store });
    const { volume: collector } = await timed.client({ around: () => collecting.store });
    const isBeforeCheck = chance() < 0.5;
    const commit = isBeforeCheck
      ? await uploaded(writer, path.slice(1))
      : () => writeFile(writer, path, CONTENT);
    writing.hold();
    const running = new Set(['commit', 'gc']);
    try {
      if (isBeforeCheck) await grow();
      const [committed, error] = settled(commit(), () => running.delete('commit'));
      if (!isBeforeCheck) {
        await letThrough(writing, () => running.has('commit'), ['put', 's/']);
        await grow();
      }
      collecting.hold();
      const [collected, gcError] = settled(collectGarbage(collector, { compact: false }), () =>
        running.delete('gc'),
      );
      // Often the gc gets some way towards its deletions before the writer goes on.
      const stages = [
        ['list', 's/'],
        ['put', 'gc/orders/'],
        ['list', 's/'],
      ] as const;
      for (const stage of stages.slice(0, Math.floor(chance() * 4))) {
        await letThrough(collecting, () => running.has('gc'), stage);
      }
      let lead = chance();
      while (running.size > 0) {
        await quiet(4);
        if (chance() < 0.1) lead = chance();
        (chance() < lead ? writing : collecting).step();
      }
      await Promise.all([committed, collected]);
      expect(gcError()).toBeUndefined();
      return error();
    } finally {
      writing.open();
      collecting.open();
      await Promise.allSettled([writer.close(), collector.close()]);
    }
  }

  it('races a gc that deletes what it wrote, request by request: its data is there, or it is told that it is not', async () => {
    const chance = seededChance(SEED);
    let failed = 0;
    let succeeded = 0;
    for (let round = 0; round < soakSize(30, 500); round += 1) {
      const path = `/race${round}`;
      const hint = `seed ${SEED}, round ${round}`;
      const error = await race(path, chance).catch(failure => {
        throw new Error(hint, { cause: failure });
      });
      const { volume } = await timed.client();
      if (error === undefined) {
        succeeded += 1;
        const bytes = await readFile(volume, path);
        expect(bytes, hint).toEqual(CONTENT.subarray(0, bytes.byteLength));
        expect([4096, CONTENT.byteLength], hint).toContain(bytes.byteLength);
      } else {
        failed += 1;
        expect((error as NetsealError).code, hint).toBe('EIO');
        expect(['ok', 'ENOENT']).toContain(await codeOf(volume.names.unlink(volume.root, path.slice(1))));
      }
      expect((await deepCheck(volume)).damages, hint).toEqual([]);
      await volume.close();
    }
    expect(succeeded, `seed ${SEED}`).toBeGreaterThan(0);
    expect(failed, `seed ${SEED}`).toBeGreaterThan(0);
  });

  it.each([
    ['remembers writing', 0],
    ['has forgotten writing', 65_536],
  ])('before it names a folder that it made long ago and %s rewrites the folder', async (_, laterWrites) => {
    const { error } = await pausedCommit(
      async () => undefined,
      async volume => {
        const folder = volume.names.newDirectory(FOLDER, volume.root.id);
        await folder.create();
        for (let at = 0; at < laterWrites; at += 1) volume.session.writes.note(randomId(), timed.clock.ms);
        timed.wait(0.9 * GRACE_MS);
        await volume.names.insertDirectory(volume.root, 'folder', folder);
      },
    );
    expect(error).toBeUndefined();
    const { volume } = await timed.client();
    const id = (await volume.directory('/folder')).id;
    const { modifiedAtMs } = await timed.store.stat(`i/${id}`);
    expect(modifiedAtMs).toBe(timed.clock.ms);
  });
});

describe('candidate lists', () => {
  it('of passes at one moment are in the order of the passes', async () => {
    const { volume } = await timed.client();
    for (let at = 0; at < 12; at += 1) {
      await writeFile(volume, `/${at}`, bytesOf(at, 5000));
      await volume.names.unlink(volume.root, `${at}`);
      // The clock stands still, as a coarse one would.
      await timed.collect();
    }
    const { lists } = await readStoredLists(volume.session.sealing);
    expect(lists).toHaveLength((await timed.keys('gc/')).length);
    expect(lists[0]?.segments.size).toBe(12);
    timed.wait(GRACE_MS + HOUR_MS);
    expect((await timed.collect()).deleted.objects).toBe(12);
  });

  it('are later than one that a wrong clock has dated ahead', async () => {
    const { volume } = await timed.client();
    const { sealing } = volume.session;
    const aheadMs = timed.clock.ms + HOUR_MS;
    await storeList(sealing, { timeMs: aheadMs, segments: new Map(), inodes: new Map() });
    await writeFile(volume, '/gone', bytesOf(1, 5000));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    const { lists } = await readStoredLists(sealing);
    expect(lists.map(({ timeMs, segments }) => [timeMs, segments.size])).toEqual([
      [aheadMs + 1, 1],
      [aheadMs, 0],
    ]);
    timed.wait(GRACE_MS + HOUR_MS);
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(1);
    expect((await timed.collect()).deleted.objects).toBe(1);
  });

  it('of one time, from concurrent passes, count as one with the candidates that all of them have', async () => {
    const { volume } = await timed.client();
    const { sealing } = volume.session;
    await writeFile(volume, '/gone', bytesOf(1, 5000));
    await writeFile(volume, '/also', bytesOf(2, 5000));
    await volume.names.unlink(volume.root, 'gone');
    await volume.names.unlink(volume.root, 'also');
    const timeMs = timed.clock.ms;
    const [one = '', other = ''] = (await timed.keys('s/')).map(key => key.slice(2));
    const inodes = new Map<string, number>();
    const rewritten = randomId();
    const of = (...ids: string[]): Map<string, number> => new Map(ids.map(id => [id, timeMs]));
    await storeList(sealing, { timeMs, segments: of(one, other, rewritten), inodes });
    await storeList(sealing, { timeMs, segments: of(one).set(rewritten, timeMs - 1), inodes });
    const { lists } = await readStoredLists(sealing);
    expect(lists.map(({ keys }) => keys.length)).toEqual([2]);
    expect(lists[0]?.segments).toEqual(of(one));

    timed.wait(GRACE_MS);
    const report = await timed.collect();
    expect([report.deleted.objects, report.waiting.objects]).toEqual([1, 1]);
    timed.wait(GRACE_MS);
    expect((await timed.collect()).deleted.objects).toBe(1);
    expect(await timed.keys('gc/')).toEqual([]);
  });

  it('are dropped oldest first, so that a pass that is cut short makes no candidate look older than it is', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/file', bytesOf(1, 5000));
    const entry = await volume.root.find('file');
    if (entry === undefined) throw new Error('not found');
    await volume.names.unlink(volume.root, 'file');
    await timed.collect();
    timed.wait(GRACE_MS);
    await volume.names.insertNode(volume.root, 'file', entry.node);
    let deletes = 0;
    const dying = aroundStore(timed.store, async call => {
      if (call.operation === 'delete') deletes += 1;
      if (deletes > 1) throw new NetsealError('EUNAVAILABLE', 'this client is dead');
      return await call.send();
    });
    const { volume: collecting } = await timed.client({ around: () => dying });
    expect(await codeOf(collectGarbage(collecting))).toBe('EUNAVAILABLE');
    expect(await timed.keys('gc/')).toHaveLength(1);

    await volume.names.unlink(volume.root, 'file');
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(GRACE_MS + HOUR_MS);
    expect((await timed.collect()).deleted.objects).toBe(1);
  });

  it('survive encoding and decoding, in as many records as they need', () => {
    const segments = new Map(Array.from({ length: 7 }, (_, at) => [randomId(), at * 1000] as const));
    const inodes = new Map(Array.from({ length: 5 }, (_, at) => [randomId(), at] as const));
    for (const most of [1, 2, 3, 7, 8, 12, 100]) {
      const records = encodeCandidateList({ timeMs: 5, segments, inodes }, most);
      expect(records).toHaveLength(Math.ceil(12 / most));
      const decoded = records.map(record => decodeCandidateList(record));
      expect(decoded.map(({ hasMore }) => hasMore)).toEqual(records.map((_, at) => at < records.length - 1));
      expect(new Map(decoded.flatMap(({ list }) => [...list.segments]))).toEqual(segments);
      expect(new Map(decoded.flatMap(({ list }) => [...list.inodes]))).toEqual(inodes);
    }
    expect(encodeCandidateList({ timeMs: 5, segments: new Map(), inodes: new Map() })).toHaveLength(1);
  });

  it('are thinned out, except for the one that is older than the grace and the next that will be', () => {
    const listOf = (timeMs: number) => ({
      keys: [`${timeMs}`],
      timeMs,
      segments: new Map(),
      inodes: new Map(),
    });
    const lists = Array.from({ length: 30 }, (_, at) => listOf(3000 - 100 * at));
    const dropped = new Set(superfluousLists(lists, 1000, 8).map(({ timeMs }) => timeMs));
    const kept = lists.map(({ timeMs }) => timeMs).filter(timeMs => !dropped.has(timeMs));
    expect(kept).toHaveLength(9);
    expect(kept).toContain(1000);
    expect(kept).toContain(1100);
    expect(kept).toContain(3000);
    expect(Math.min(...kept)).toBe(1000);
  });
});
