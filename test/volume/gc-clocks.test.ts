/** gc and wrong clocks: a pass under one does no lasting harm, and none deletes anything too early. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { ORDER_PREFIX } from '../../src/server/sealed/object-keys.ts';
import { collectGarbage, type GcReport } from '../../src/volume/care/gc.ts';
import { readStoredLists } from '../../src/volume/care/gc-candidates.ts';
import { publishOrder, readOrders } from '../../src/volume/session/gc-orders.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import { aroundStore, bytesOf, codeOf, quiet, readFile, writeFile } from './support.ts';

const YEAR_MS: number = 365 * 24 * HOUR_MS;

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});
afterEach(() => timed.test.close());

/** Writes a file, and removes its name. */
async function makeGarbage(name = 'gone', seed = 1): Promise<void> {
  const { volume } = await timed.client();
  await writeFile(volume, `/${name}`, bytesOf(seed, 9000));
  await volume.names.unlink(volume.root, name);
  await volume.close();
}

async function collectAt(ownAheadMs: number, options = {}): Promise<GcReport> {
  const { volume } = await timed.client({ nowMs: () => timed.clock.ms + ownAheadMs });
  return await collectGarbage(volume, options).finally(() => volume.close());
}

describe('a pass whose clock is not the store’s', () => {
  it.each([
    ['ahead by a year', YEAR_MS],
    ['behind by a year', -YEAR_MS],
    ['ahead by two hours', 2 * HOUR_MS],
  ])('is refused when it is %s, and writes nothing', async (_, aheadMs) => {
    await makeGarbage();
    await timed.collect();
    timed.wait(2 * GRACE_MS);
    const before = await timed.keys('');
    expect(await codeOf(collectAt(aheadMs))).toBe('EUNAVAILABLE');
    expect(await timed.keys('')).toEqual(before);
    // A dry run writes nothing in any case, and tells.
    expect((await collectAt(aheadMs, { dryRun: true })).storeAheadMs).toBe(-aheadMs);
    expect(await timed.keys('')).toEqual(before);
    expect((await timed.collect()).deleted.objects).toBe(1);
  });

  it('goes on when they differ by minutes', async () => {
    await makeGarbage();
    await collectAt(30 * 60_000);
    timed.wait(GRACE_MS + HOUR_MS);
    expect((await collectAt(-30 * 60_000)).deleted.objects).toBe(1);
  });
});

describe('after a pass under clocks that were both a year ahead', () => {
  it('the grace begins anew, and passes', async () => {
    await makeGarbage();
    await timed.collect();
    timed.wait(YEAR_MS);
    // What both clocks say wrongly gc cannot know. With this grace it deletes nothing, and leaves a list.
    await makeGarbage('other', 2);
    await collectAt(0, { graceMs: 2 * YEAR_MS });
    timed.wait(-YEAR_MS);

    const dry = await timed.collect({ dryRun: true });
    expect([dry.beginsAnew, dry.waiting.firstDueMs]).toEqual([true, timed.clock.ms + GRACE_MS]);
    const first = await timed.collect();
    expect([first.beginsAnew, first.deleted.objects, first.waiting.objects]).toEqual([true, 0, 2]);
    const { volume } = await timed.client();
    const { lists } = await readStoredLists(volume.session.sealing);
    expect(lists.map(({ timeMs }) => timeMs)).toEqual([timed.clock.ms]);
    timed.wait(GRACE_MS - 1);
    expect((await timed.collect()).deleted.objects).toBe(0);
    timed.wait(1);
    // Also what the store had dated ahead.
    expect((await timed.collect()).deleted.objects).toBe(2);
    expect(await timed.keys('s/')).toEqual([]);
    expect(await timed.keys('gc/')).toEqual([]);
  });

  it('is cut short while it drops lists: the next one begins anew as well', async () => {
    await makeGarbage();
    await timed.collect();
    timed.wait(YEAR_MS);
    await makeGarbage('other', 2);
    await collectAt(0, { graceMs: 2 * YEAR_MS });
    timed.wait(-YEAR_MS + HOUR_MS);
    const dying = aroundStore(timed.store, async call => {
      if (call.operation === 'delete') throw new NetsealError('EUNAVAILABLE', 'this client is dead');
      return await call.send();
    });
    const { volume } = await timed.client({ around: () => dying });
    expect(await codeOf(collectGarbage(volume))).toBe('EUNAVAILABLE');
    timed.wait(GRACE_MS + HOUR_MS);
    // The list of the pass that died is a grace old, and yet does not count.
    const again = await timed.collect();
    expect([again.beginsAnew, again.deleted.objects]).toEqual([true, 0]);
    timed.wait(GRACE_MS);
    expect((await timed.collect()).deleted.objects).toBe(2);
  });
});

it('does not take a list for older than what it names: it was made while both clocks were behind', async () => {
  await makeGarbage();
  await timed.collect();
  timed.wait(HOUR_MS);
  timed.wait(-YEAR_MS);
  expect((await timed.collect()).beginsAnew).toBe(true);
  timed.wait(YEAR_MS);
  expect((await timed.collect()).deleted.objects).toBe(0);
  timed.wait(GRACE_MS - 1);
  expect((await timed.collect()).deleted.objects).toBe(0);
  timed.wait(GRACE_MS);
  expect((await timed.collect()).deleted.objects).toBe(1);
});

it('writes anew what the store has dated ahead, before a commit refers to it', async () => {
  const { volume } = await timed.client();
  await writeFile(volume, '/file', bytesOf(1, 9000));
  const [key = ''] = await timed.keys('s/');
  // As if an earlier session had uploaded it, under a store's clock that was ahead.
  timed.wait(YEAR_MS);
  await timed.store.put(key, [(await timed.store.get(key)).bytes]);
  timed.wait(-YEAR_MS);
  const entry = await volume.root.find('file');
  if (entry?.node.kind !== 'embedded' || entry.node.inode.type !== 'file') throw new Error('not found');
  const { volume: other } = await timed.client();
  const segments = [key.slice(2)];
  const { map, sizeBytes, storedBytes } = entry.node.inode;
  const inode = { ...other.names.newFile(entry.node.inode), map, sizeBytes, storedBytes };
  await other.names.insert(other.root, 'again', inode, { segments });
  expect((await timed.store.stat(key)).modifiedAtMs).toBe(timed.clock.ms);
});

describe('a head that the store has dated ahead', () => {
  it('of a session that died does not hold garbage for as long', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/open', bytesOf(3, 9000));
    timed.wait(YEAR_MS);
    let tick = (): void => undefined;
    const dead = await timed.client({
      headTimer: (_, work) => {
        tick = work;
        return () => undefined;
      },
    });
    await dead.volume.openWriter('/open');
    tick();
    await quiet(60);
    timed.wait(-YEAR_MS);
    expect(await timed.keys('heads/')).toHaveLength(1);

    await makeGarbage();
    await timed.collect();
    timed.wait(GRACE_MS);
    // Nobody knows how long the head is silent: it counts as alive for an hour more.
    const second = await timed.collect();
    timed.wait(GRACE_MS);
    const third = await timed.collect();
    expect(second.deleted.objects + third.deleted.objects).toBe(1);
    expect(third.held.objects).toBe(0);
  });

  it('of a session that lives protects what it has open, though its clock was set back', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/open', bytesOf(3, 9000));
    timed.wait(YEAR_MS);
    const ticks: (() => void)[] = [];
    const reader = await timed.client({
      headTimer: (_, work) => {
        ticks.push(work);
        return () => undefined;
      },
    });
    const file = await reader.volume.openFile('/open');
    const pieces = file.pieces(0, 9000);
    await pieces.next();
    timed.wait(-YEAR_MS);
    for (const tick of ticks) tick();
    await quiet(60);
    await volume.names.unlink(volume.root, 'open');
    for (let pass = 0; pass < 4; pass += 1) {
      timed.wait(GRACE_MS);
      for (const tick of ticks) tick();
      await quiet(60);
      expect((await timed.collect()).deleted.objects).toBe(0);
    }
    await pieces.return(undefined);
  });
});

it('drops an order of the future once a twin with the right time is old', async () => {
  const { volume } = await timed.client();
  const { sealing } = volume.session;
  const doomed = '1'.repeat(32);
  const order = { segments: new Map([[doomed, 5]]), inodes: new Map() };
  await publishOrder(sealing, { ...order, timeMs: timed.clock.ms + YEAR_MS });
  await timed.collect();
  expect((await readOrders(sealing)).map(({ order: { timeMs } }) => timeMs).sort()).toEqual([
    timed.clock.ms,
    timed.clock.ms + YEAR_MS,
  ]);
  timed.wait(GRACE_MS);
  await timed.collect();
  expect(await timed.keys(ORDER_PREFIX)).toHaveLength(2);
  timed.wait(HOUR_MS);
  await timed.collect();
  expect(await timed.keys(ORDER_PREFIX)).toEqual([]);
});

describe('an object that cannot be deleted', () => {
  it.each(['EDENIED', 'EIO', 'EUNCERTAIN'] as const)(
    'with %s is reported, and everything else is deleted',
    async code => {
      const names = ['a', 'b', 'c'];
      for (const [at, name] of names.entries()) await makeGarbage(name, at);
      await timed.collect();
      timed.wait(GRACE_MS);
      const [stuck = ''] = await timed.keys('s/');
      const around = aroundStore(timed.store, async call => {
        if (call.operation === 'delete' && call.key === stuck) throw new NetsealError(code, 'stuck');
        return await call.send();
      });
      const { volume } = await timed.client({ around: () => around });
      const report = await collectGarbage(volume);
      expect([report.deleted.objects, report.deletable.objects]).toEqual([2, 1]);
      expect(report.failures.map(({ key, error }) => [key, error.code])).toEqual([[stuck, code]]);
      expect(await timed.keys('s/')).toEqual([stuck]);
      // It can go as soon as the store allows it, without another grace.
      expect((await timed.collect()).deleted.objects).toBe(1);
    },
  );

  it('ends the pass when the store cannot be asked at all', async () => {
    await makeGarbage();
    await timed.collect();
    timed.wait(GRACE_MS);
    const around = aroundStore(timed.store, async call => {
      if (call.operation === 'delete') throw new NetsealError('EUNAVAILABLE', 'away');
      return await call.send();
    });
    const { volume } = await timed.client({ around: () => around });
    expect(await codeOf(collectGarbage(volume))).toBe('EUNAVAILABLE');
  });

  it('costs no file that is in use', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/stays', bytesOf(8, 9000));
    for (const ahead of [0, YEAR_MS, -YEAR_MS, 0]) {
      await makeGarbage(`g${ahead}`, 4);
      timed.wait(ahead);
      await timed.collect();
      timed.wait(-ahead);
    }
    const { volume: reader } = await timed.client();
    expect(await readFile(reader, '/stays')).toEqual(bytesOf(8, 9000));
    expect((await deepCheck(reader)).damages).toEqual([]);
  });
});
