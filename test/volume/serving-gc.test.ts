/** Changes that wait long for their commit, while garbage is collected and segments are compacted; and crashes. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { UNIT_BYTES } from '../netfs/server-contract.ts';
import { rejectionCode } from '../pipeline/support.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import { pointerOf } from './packs-support.ts';
import { expectSeeds, type File, makeFile, newFile, openFile, subOf } from './serving-support.ts';
import { type Client, DyingStore, namesIn, quiet } from './support.ts';

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** Lets hours pass. Every hour the client looks after its segments, every third there is a collection. */
async function passHours({ volume }: Client, collector: Client, hours: number): Promise<void> {
  for (let hour = 1; hour <= hours; hour += 1) {
    timed.wait(HOUR_MS);
    await volume.server.keepYoung();
    if (hour % 3 === 0) await collectGarbage(collector.volume);
  }
}

async function expectClean(client: Client): Promise<void> {
  expect((await deepCheck(client.volume)).damages).toEqual([]);
}

/** Places records, and has them stored without a commit. */
async function upload(file: File, indices: readonly number[], seed: number): ReturnType<File['place']> {
  const receipts = await file.place(indices, seed);
  file.server.push();
  return receipts;
}

describe.each([13, 30, 100])('changes that wait for %i hours', hours => {
  it('can be read and committed, while gc runs', async () => {
    const [mine, theirs] = [await timed.client(), await timed.client()];
    await makeFile(mine, '/file', 2, 1);
    const file = await openFile(mine, '/file');
    const receipts = await upload(file, [1], 2);
    const started = await newFile(mine, '/new');
    const others = await upload(started, [0], 3);
    await passHours(mine, theirs, hours);
    const [first, second] = [receipts.get(1)!, others.get(0)!];
    await file.read([first]);
    await started.read([second]);
    expect(await file.seeds(0, 2)).toEqual([1, 1]);
    await file.commit(receipts, 2 * UNIT_BYTES);
    await started.commit(others, UNIT_BYTES);
    await passHours(mine, theirs, 3 * (GRACE_MS / HOUR_MS));
    await expectSeeds(theirs, '/file', [1, 2]);
    await expectSeeds(theirs, '/new', [3]);
    await expectClean(theirs);
  });
});

it('segments of committed and of given up records are not written anew', async () => {
  const mine = await timed.client();
  await makeFile(mine, '/file', 2, 1);
  const file = await openFile(mine, '/file');
  await file.commit(await upload(file, [0], 2), 2 * UNIT_BYTES);
  const sentBefore = mine.meter.snapshot().put.requestCount;
  timed.wait(20 * HOUR_MS);
  await mine.volume.server.keepYoung();
  expect(mine.meter.snapshot().put.requestCount).toBe(sentBefore);
  const pending = await upload(file, [1], 3);
  await mine.volume.flushContent();
  timed.wait(7 * HOUR_MS);
  await mine.volume.server.keepYoung();
  expect(mine.meter.snapshot().put.requestCount).toBe(sentBefore + 2);
  expect(await file.read([...pending.values()])).toHaveLength(1);
});

it('a timer writes pending segments anew, until nothing is pending or the volume is closed', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  try {
    const mine = await timed.client({ headTimer: () => () => undefined });
    await makeFile(mine, '/file', 1, 1);
    const file = await openFile(mine, '/file');
    expect(vi.getTimerCount()).toBe(0);
    const receipts = await upload(file, [0], 2);
    await mine.volume.flushContent();
    const puts = (): number => mine.meter.snapshot().put.requestCount;
    const before = puts();
    const passHour = async (): Promise<void> => {
      timed.wait(HOUR_MS);
      vi.advanceTimersByTime(HOUR_MS);
      await quiet();
    };
    for (let hour = 0; hour < 15; hour += 1) await passHour();
    expect(puts() - before).toBe(2);
    await file.commit(receipts, UNIT_BYTES);
    await passHour();
    expect(vi.getTimerCount()).toBe(0);
    await upload(file, [0], 3);
    expect(vi.getTimerCount()).toBe(1);
    await mine.volume.close();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it('a machine that slept for so long that a gc has taken what was pending: EIO, and nothing is damaged', async () => {
  const [mine, theirs] = [await timed.client(), await timed.client()];
  await makeFile(mine, '/file', 1, 1);
  const file = await openFile(mine, '/file');
  const receipts = await upload(file, [0], 2);
  await mine.volume.flushContent();
  for (let pass = 0; pass < 4; pass += 1) {
    timed.wait(GRACE_MS);
    await collectGarbage(theirs.volume);
  }
  expect(await rejectionCode(mine.volume.server.keepYoung())).toBe('EIO');
  expect(await rejectionCode(file.commit(receipts, UNIT_BYTES))).toBe('EIO');
  await file.commit(await file.place([0], 3), UNIT_BYTES);
  await expectSeeds(theirs, '/file', [3]);
  await expectClean(theirs);
});

it('a stash of a version that was replaced long ago is whole, or is refused', async () => {
  const [mine, theirs] = [await timed.client(), await timed.client()];
  for (const isTaken of [false, true]) {
    const name = `${isTaken}`;
    await makeFile(mine, `/${name}`, 2, 1);
    const { segment } = await pointerOf(mine.volume, `/${name}`);
    const [here, there] = [await openFile(mine, `/${name}`), await openFile(theirs, `/${name}`)];
    const sub = subOf(here, await upload(here, [0], 2), 2 * UNIT_BYTES);
    await there.commit(await there.place([0, 1], 3), 2 * UNIT_BYTES);
    await passHours(mine, theirs, 100);
    const { openFiles } = mine.volume.session;
    const since = openFiles.oldestMs;
    expect(await rejectionCode(here.server.commit(here.handle, sub))).toBe('ECONFLICT');
    await here.refresh();
    // Other clients' gc keeps what the old version refers to, until the changes are somewhere.
    expect(openFiles.oldestMs).toBe(since);
    // As a gc would that has not heard of the open file.
    if (isTaken) await timed.store.delete(`s/${segment}`);
    const stashing = mine.volume.server.stash(here.handle, sub);
    if (!isTaken) await expectSeeds(theirs, `/${await stashing}`, [2, 1]);
    else expect(await rejectionCode(stashing)).toBe('EIO');
    await here.commit(await here.place([0], 4), 2 * UNIT_BYTES);
    expect(openFiles.oldestMs).toBe(timed.clock.ms);
    await here.server.close(here.handle);
  }
});

describe('compaction', () => {
  /** A file of many units whose segments are mostly garbage, with a small rest that is moved by the next pass. */
  async function scattered(client: Client): Promise<void> {
    const file = await newFile(client, '/file');
    const indices = Array.from({ length: 60 }, (_, at) => at);
    await file.commit(await file.place(indices, 1), 60 * UNIT_BYTES);
    await file.commit(await file.place(indices.slice(3), 2), 60 * UNIT_BYTES);
    await file.server.close(file.handle);
  }

  const unitsOf = (first: number, rest: number): number[] =>
    Array.from({ length: 60 }, (_, at) => (at < 3 ? first : rest));

  it('between the open and the commit of a file is no conflict, and is not undone', async () => {
    const [mine, theirs] = [await timed.client(), await timed.client()];
    await scattered(mine);
    timed.wait(GRACE_MS + HOUR_MS);
    const file = await openFile(mine, '/file');
    const located = await file.locate(0, 60);
    const receipts = await file.place([59], 3);
    const before = new Set(await timed.keys('s/'));
    const { compaction } = await collectGarbage(theirs.volume);
    expect(compaction?.segments ?? 0).toBeGreaterThan(0);
    expect((await timed.keys('s/')).length).toBeGreaterThan(before.size);
    await file.commit(receipts, 60 * UNIT_BYTES);
    const now = await file.locate(0, 60);
    // The records that were moved are the same ones, elsewhere.
    expect(now.slice(0, 59).map(receipt => receipt?.tag)).toEqual(
      located.slice(0, 59).map(each => each?.tag),
    );
    await timed.collectAll();
    // Even if a reader has kept receipts until the old segments are gone.
    const records = await file.read(located.slice(0, 3).map(receipt => receipt!));
    expect(records).toHaveLength(3);
    const left = await timed.keys('s/');
    expect([...before].filter(key => !left.includes(key))).not.toEqual([]);
    await expectSeeds(theirs, '/file', [...unitsOf(1, 2).slice(0, 59), 3]);
    await expectClean(theirs);
  });

  it('of what a stash shares with its file', async () => {
    const [mine, theirs] = [await timed.client(), await timed.client()];
    await scattered(mine);
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const sub = subOf(here, await here.place([59], 3), 60 * UNIT_BYTES);
    await there.commit(await there.place([59], 4), 60 * UNIT_BYTES);
    expect(await rejectionCode(here.server.commit(here.handle, sub))).toBe('ECONFLICT');
    const name = await mine.volume.server.stash(here.handle, sub);
    for (const file of [here, there]) await file.server.close(file.handle);
    await timed.collectAll();
    await timed.collectAll();
    await expectSeeds(theirs, '/file', [...unitsOf(1, 2).slice(0, 59), 4]);
    await expectSeeds(theirs, `/${name}`, [...unitsOf(1, 2).slice(0, 59), 3]);
    await expectClean(theirs);
    // The file goes, the stash stays.
    await theirs.volume.names.unlink(theirs.volume.root, 'file');
    await timed.collectAll();
    await timed.collectAll();
    await expectSeeds(theirs, `/${name}`, [...unitsOf(1, 2).slice(0, 59), 3]);
    await expectClean(theirs);
  });
});

it('a client that dies between upload and commit leaves garbage that is collected', async () => {
  const dying = new DyingStore(timed.store);
  const mine = await timed.client({ around: () => dying.store });
  await makeFile(mine, '/file', 300, 1);
  const file = await openFile(mine, '/file');
  const started = await newFile(mine, '/new');
  const receipts = await file.place([0, 299], 2);
  const others = await started.place([0], 3);
  await mine.volume.flushContent();
  // Far enough for the pages of the map, not for the inode.
  dying.dieAfter(1);
  expect(await rejectionCode(file.commit(receipts, 300 * UNIT_BYTES))).toBe('EDENIED');
  expect(await rejectionCode(started.commit(others, UNIT_BYTES))).toBe('EDENIED');
  const theirs = await timed.client();
  await expectSeeds(
    theirs,
    '/file',
    Array.from({ length: 300 }, () => 1),
  );
  expect(await namesIn(theirs.volume, '/')).toEqual(['file']);
  expect((await deepCheck(theirs.volume)).unreferenced).toBeGreaterThan(0);
  await timed.collectAll();
  expect(await deepCheck(theirs.volume)).toEqual({ damages: [], unreferenced: 0 });
});
