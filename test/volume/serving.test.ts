/** The server of netfs over the sealed layout: what the contract of servers cannot say. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { NetsealError } from '../../src/base/errors.ts';
import type { Receipt } from '../../src/netfs/server.ts';
import type { StoreCall } from '../../src/server/forward.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { UNIT_BYTES } from '../netfs/server-contract.ts';
import { rejectionCode } from '../pipeline/support.ts';
import { SEED } from '../support/soak.ts';
import { packed } from './packs-support.ts';
import { contentOf, expectSeeds, makeFile, newFile, openFile, subOf } from './serving-support.ts';
import { aroundStore, type Client, namesIn, quiet, readFile, TestVolume } from './support.ts';

let test: TestVolume;

beforeEach(async () => {
  test = await TestVolume.create();
});

afterEach(async () => {
  await test.close();
});

async function inodeAt(volume: Volume, path: string): Promise<FileInode> {
  const { inode } = await volume.find(path);
  return inode.type === 'file' ? inode : expect.fail(`${path} is no file`);
}

/** A client whose store does what `handle` says with the calls that it knows. */
async function troubledClient(
  handle: <Result>(call: StoreCall<Result>) => Promise<Result> | undefined,
): Promise<Client> {
  const around = (inner: ObjectStore): ObjectStore => aroundStore(inner, call => handle(call) ?? call.send());
  return await test.client({ around });
}

const isSegmentPut = ({ operation, key }: StoreCall<unknown>): boolean =>
  operation === 'put' && key.startsWith('s/');
const isInodePut = ({ operation, key }: StoreCall<unknown>): boolean =>
  operation === 'put' && key.startsWith('i/');

describe('two clients', () => {
  it('change different units: the second commits again on what the first has left', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    await makeFile(mine, '/file', 3, 1);
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const changes = await here.place([0], 2);
    await there.commit(await there.place([2], 3), 3 * UNIT_BYTES);
    expect(await rejectionCode(here.commit(changes, 3 * UNIT_BYTES))).toBe('ECONFLICT');
    expect(await here.refresh()).toBe(true);
    expect(await here.seeds(0, 3)).toEqual([1, 1, 3]);
    await here.commit(changes, 3 * UNIT_BYTES);
    await expectSeeds(theirs, '/file', [2, 1, 3]);
  });

  it('change the same unit: the changes of the second are stashed beside the file', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    await makeFile(mine, '/file', 3, 1);
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const changes = new Map([...(await here.place([0, 3], 2)), [1, undefined]] as const);
    const sub = subOf(here, changes, 4 * UNIT_BYTES);
    await there.commit(await there.place([0], 3), 3 * UNIT_BYTES);
    expect(await rejectionCode(here.server.commit(here.handle, sub))).toBe('ECONFLICT');
    await here.refresh();
    const name = await mine.volume.server.stash(here.handle, sub);
    expect(name).toMatch(/^file\.conflict-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/);
    const second = await mine.volume.server.stash(here.handle, sub);
    expect(second).not.toBe(name);
    expect(await namesIn(theirs.volume, '/')).toEqual(['file', name, second].sort());
    await expectSeeds(theirs, '/file', [3, 1, 1]);
    for (const each of [name, second]) await expectSeeds(theirs, `/${each}`, [2, undefined, 1, 2]);
    // The stash has no more in common with the file: it can be changed by itself.
    const stash = await openFile(theirs, `/${name}`);
    const located = await stash.locate(0, 4);
    const originId = Buffer.from(here.form.objectId);
    expect(located.map(receipt => receipt?.origin?.index)).toEqual([0, undefined, 2, 3]);
    expect(Buffer.from(located[0]?.origin?.objectId ?? [])).toEqual(originId);
    await stash.commit(await stash.place([0], 4), 4 * UNIT_BYTES);
    await expectSeeds(mine, `/${name}`, [4, undefined, 1, 2]);
    await expectSeeds(mine, '/file', [3, 1, 1]);
  });

  it('a version that is long gone cannot be stashed', async () => {
    const client = await test.client();
    await makeFile(client, '/file', 1, 1);
    const file = await openFile(client, '/file');
    const sub = subOf(file, await file.place([0], 2), UNIT_BYTES);
    for (const seed of [3, 4]) await file.commit(await file.place([0], seed), UNIT_BYTES);
    expect(await rejectionCode(client.volume.server.stash(file.handle, sub))).toBe('EINVAL');
  });

  it('S7: one truncates what the other has appended to', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    await makeFile(mine, '/file', 4, 1);
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const appended = await here.place([4], 2);
    await there.commit(new Map(), UNIT_BYTES);
    expect(await rejectionCode(here.commit(appended, 5 * UNIT_BYTES))).toBe('ECONFLICT');
    await here.refresh();
    expect(here.sizeBytes).toBe(UNIT_BYTES);
    await here.commit(appended, 5 * UNIT_BYTES);
    await expectSeeds(theirs, '/file', [1, undefined, undefined, undefined, 2]);
  });

  it('one changes attributes, or makes the file an object: that is no conflict', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    await makeFile(mine, '/file', 1, 1);
    const here = await openFile(mine, '/file');
    const changes = await here.place([0], 2);
    const { volume } = theirs;
    const entry = await volume.names.find(volume.root, 'file');
    await volume.names.setAttributes(volume.root, entry!, { mode: 0o600 });
    await volume.names.link({ directory: volume.root, name: 'file' }, volume.root, 'second');
    expect(await here.refresh()).toBe(false);
    await here.commit(changes, UNIT_BYTES);
    await expectSeeds(theirs, '/second', [2]);
    expect((await inodeAt(volume, '/file')).mode).toBe(0o600);
  });

  it('S62: a commit whose answer is lost, and whose state cannot be asked for, has happened once', async () => {
    let isLosing = false;
    const mine = await troubledClient(call => {
      if (!isLosing) return undefined;
      if (isInodePut(call)) {
        return call.send().then(() => {
          throw new NetsealError('EUNCERTAIN', 'the answer was lost');
        });
      }
      const isInode = call.operation === 'get' && call.key.startsWith('i/');
      return isInode ? Promise.reject(new NetsealError('EUNAVAILABLE', 'not now')) : undefined;
    });
    await makeFile(mine, '/file', 2, 1);
    const { volume } = await test.client();
    for (const path of ['/file', '/object']) {
      if (path === '/object') {
        await volume.names.link({ directory: volume.root, name: 'file' }, volume.root, 'object');
      }
      const file = await openFile(mine, path);
      const sub = subOf(file, await file.place([1], 2), 2 * UNIT_BYTES);
      const { dataVersion } = await inodeAt(volume, path);
      isLosing = true;
      expect(await rejectionCode(file.server.commit(file.handle, sub))).toBe('EUNCERTAIN');
      isLosing = false;
      const { version } = await file.server.commit(file.handle, sub);
      expect(await file.refresh()).toBe(true);
      expect(file.version).toBe(version);
      expect((await inodeAt(volume, path)).dataVersion).toBe(dataVersion + 1);
      await expectSeeds({ volume }, path, [1, 2]);
      // A truncate leaves no record to know it by.
      const cut = { ...subOf(file, new Map(), UNIT_BYTES), ifVersion: version };
      isLosing = true;
      expect(await rejectionCode(file.server.commit(file.handle, cut))).toBe('EUNCERTAIN');
      isLosing = false;
      await file.server.commit(file.handle, cut);
      await expectSeeds({ volume }, path, [1]);
      await file.refresh();
      await file.commit(await file.place([1], 3), 2 * UNIT_BYTES);
      await file.server.close(file.handle);
    }
  });

  it('after a lost answer another client has changed the same units: that is a conflict', async () => {
    let isLosing = false;
    const mine = await troubledClient(call => {
      if (!isLosing || !call.key.startsWith('i/')) return undefined;
      const isPut = call.operation === 'put';
      return Promise.reject(new NetsealError(isPut ? 'EUNCERTAIN' : 'EUNAVAILABLE', 'not now'));
    });
    const theirs = await test.client();
    await makeFile(mine, '/file', 2, 1);
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const sub = subOf(here, await here.place([1], 2), 2 * UNIT_BYTES);
    isLosing = true;
    expect(await rejectionCode(here.server.commit(here.handle, sub))).toBe('EUNCERTAIN');
    isLosing = false;
    await there.commit(await there.place([1], 3), 2 * UNIT_BYTES);
    expect(await rejectionCode(here.server.commit(here.handle, sub))).toBe('ECONFLICT');
    await expectSeeds(theirs, '/file', [1, 3]);
  });
});

describe('records', () => {
  it('are read from the open segment, while it is uploaded, and from the store', async () => {
    let release: (() => void) | undefined;
    const client = await troubledClient(call => {
      if (!isSegmentPut(call) || release !== undefined) return undefined;
      return new Promise<void>(resolve => {
        release = resolve;
      }).then(() => call.send());
    });
    const file = await newFile(client, '/file');
    const units = await file.seal([0, 1], 1);
    const { placed, done } = file.server.write({ handle: file.handle, units });
    const receipts = await placed;
    const before = client.meter.snapshot().get.requestCount;
    const expectGets = (count: number): void => {
      expect(client.meter.snapshot().get.requestCount - before).toBe(count);
    };
    const expectRead = async (): Promise<void> => {
      const records = await file.read(receipts);
      expect(records.map(record => Buffer.from(record))).toEqual(
        units.map(({ bytes }) => Buffer.from(bytes)),
      );
    };
    await expectRead();
    expectGets(0);
    file.server.push();
    await quiet();
    await expectRead();
    expectGets(0);
    release?.();
    await done;
    await expectRead();
    // Both with one request.
    expectGets(1);
  });

  it('come in any order, from several segments, side by side and scattered, in one call', async () => {
    const client = await test.client();
    const file = await newFile(client, '/file');
    const indices = Array.from({ length: 90 }, (_, at) => at);
    const receipts = new Map<number, Receipt>();
    const records = new Map<number, Uint8Array>();
    for (const part of [indices.slice(0, 30), indices.slice(30, 60), indices.slice(60)]) {
      const units = await file.seal(part, 1);
      const { placed, done } = file.server.write({ handle: file.handle, units });
      for (const [at, receipt] of (await placed).entries()) receipts.set(part[at] ?? 0, receipt);
      for (const { index, bytes } of units) records.set(index, bytes);
      // The last part stays in memory.
      if (part[0] === 60) continue;
      file.server.push();
      await done;
    }
    const chance = seededChance(SEED);
    const orders = [
      indices,
      indices.filter(at => at % 2 === 0),
      [...indices].reverse(),
      [3, 4, 5, 40, 41, 2, 4],
    ];
    for (let round = 0; round < 20; round += 1) {
      const from = Math.floor(chance() * 80);
      orders.push([...indices.slice(from, from + 15), ...indices.filter(() => chance() < 0.2)]);
    }
    for (const order of orders) {
      const read = await file.read(order.map(index => receipts.get(index)!));
      const isWrong = (index: number, at: number): boolean =>
        Buffer.compare(read[at] ?? Buffer.alloc(0), records.get(index)!) !== 0;
      expect(order.filter(isWrong)).toEqual([]);
    }
  });

  it('of a segment that fails are lost to all that wrote into it, and to nobody else', async () => {
    let isFull = false;
    const client = await troubledClient(call =>
      isFull && isSegmentPut(call) ? Promise.reject(new NetsealError('EFULL', 'no room')) : undefined,
    );
    await makeFile(client, '/one', 1, 1);
    await makeFile(client, '/two', 1, 1);
    const [one, two] = [await openFile(client, '/one'), await openFile(client, '/two')];
    isFull = true;
    const writings = await Promise.all(
      [one, two].map(async file =>
        file.server.write({ handle: file.handle, units: await file.seal([0], 2) }),
      ),
    );
    const [first] = await Promise.all(writings.map(({ placed }) => placed));
    one.server.push();
    for (const { done } of writings) expect(await rejectionCode(done)).toBe('EFULL');
    isFull = false;
    const [receipt] = first ?? [];
    const into = new Uint8Array(receipt!.lengthBytes);
    const { errors } = await one.server.read({ handle: one.handle, receipts: [receipt!], into });
    expect([...errors.values()]).toMatchObject([{ code: 'EFULL' }]);
    expect(await rejectionCode(one.commit(new Map([[0, receipt]]), UNIT_BYTES))).toBe('EFULL');
    for (const [at, file] of [one, two].entries())
      await file.commit(await file.place([0], 3 + at), UNIT_BYTES);
    await expectSeeds(client, '/one', [3]);
    await expectSeeds(client, '/two', [4]);
  });

  it('of packs are read whole, and a cut shortens the slice', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    const [first, second] = await packed(mine.volume, [3000, 1000]);
    const [one, two] = [await openFile(theirs, '/f0'), await openFile(theirs, '/f1')];
    const [receipts, others] = [await one.locate(0, 2), await two.locate(0, 1)];
    const receipt = receipts[0]!;
    expect(receipt.slice).toMatchObject({ packBytes: 4000, startBytes: 0, lengthBytes: 3000 });
    expect(others[0]?.slice).toMatchObject({ packBytes: 4000, startBytes: 3000, lengthBytes: 1000 });
    expect(Buffer.from(others[0]!.tag)).toEqual(Buffer.from(receipt.tag));
    const { pipeline, form } = one;
    const from = await pipeline.reserveSealed(receipt.lengthBytes);
    from.bytes.set((await one.read([receipt]))[0]!);
    const { packId: objectId, packBytes: plainBytesMax } = receipt.slice!;
    const pack = {
      kind: 'pack',
      objectId,
      index: 0,
      unitSizeBytes: 0,
      offsetBytes: 0,
      plainBytesMax,
    } as const;
    const unit = { ...pack, lengthBytes: receipt.lengthBytes, expectedTag: receipt.tag };
    const opened = await pipeline.open({ keys: form.keys, from, units: [unit] });
    const [plain] = opened.units;
    expect(plain?.error).toBeUndefined();
    const bytes = plain?.error === undefined ? Buffer.from(plain?.bytes ?? []) : Buffer.alloc(0);
    expect(bytes).toEqual(Buffer.concat([first!, second!]));
    opened.release();
    from.release();
    await one.commit(new Map(), 500);
    await one.commit(new Map(), 4096);
    const expected = Buffer.concat([first!.subarray(0, 500), Buffer.alloc(4096 - 500)]);
    expect(Buffer.compare(await readFile(mine.volume, '/f0'), expected)).toBe(0);
    expect(Buffer.compare(await readFile(mine.volume, '/f1'), second!)).toBe(0);
  });

  it('that nobody can be asked for are no answer; single ones that are gone are', async () => {
    let isDown = false;
    const client = await troubledClient(() =>
      isDown ? Promise.reject(new NetsealError('EUNAVAILABLE', 'not now')) : undefined,
    );
    await makeFile(client, '/file', 1, 1);
    const file = await openFile(client, '/file');
    await file.commit(await file.place([1], 2), 2 * UNIT_BYTES);
    const [old, fresh] = await file.locate(0, 2);
    const receipts = [old!, fresh!];
    const into = new Uint8Array(old!.lengthBytes + fresh!.lengthBytes);
    isDown = true;
    expect(await rejectionCode(file.server.read({ handle: file.handle, receipts, into }))).toBe(
      'EUNAVAILABLE',
    );
    isDown = false;
    const segments = (await inodeAt(client.volume, '/file')).map.slots.map(({ pointer }) => pointer.segment);
    await test.store.delete(`s/${segments[0]}`);
    const { errors } = await file.server.read({ handle: file.handle, receipts, into });
    expect([...errors].map(([at, error]) => [at, 'code' in error ? error.code : ''])).toEqual([
      [0, 'EMISSING'],
    ]);
    expect(await file.seeds(1, 2)).toEqual([2]);
  });
});

describe('a file that is not in the store yet', () => {
  it('gets its name with its first content', async () => {
    const [mine, theirs] = [await test.client(), await test.client()];
    const file = await newFile(mine, '/new');
    expect(await file.refresh()).toBe(false);
    expect(await file.locate(0, 1)).toEqual([undefined]);
    const receipts = await file.place([0], 1);
    expect(await namesIn(theirs.volume, '/')).toEqual([]);
    await file.commit(receipts, UNIT_BYTES);
    await expectSeeds(theirs, '/new', [1]);
    await file.commit(await file.place([1], 2), 2 * UNIT_BYTES);
    await expectSeeds(theirs, '/new', [1, 2]);
    const empty = await newFile(mine, '/empty');
    await empty.commit(new Map(), 0);
    expect((await inodeAt(theirs.volume, '/empty')).sizeBytes).toBe(0);
  });

  it('is refused while the name is taken, and tried again', async () => {
    const client = await test.client();
    const { volume } = client;
    await makeFile(client, '/taken', 1, 1);
    const file = await newFile(client, '/taken');
    const receipts = await file.place([0], 2);
    expect(await rejectionCode(file.commit(receipts, UNIT_BYTES))).toBe('EEXIST');
    await expectSeeds(client, '/taken', [1]);
    await volume.names.unlink(volume.root, 'taken');
    await file.commit(receipts, UNIT_BYTES);
    await expectSeeds(client, '/taken', [2]);
    const other = await newFile(client, '/taken', true);
    await other.commit(await other.place([0], 3), UNIT_BYTES);
    await expectSeeds(client, '/taken', [3]);
  });

  it('is there once, also when the answer was lost', async () => {
    let isLosing: 'answers' | 'requests' | undefined;
    const client = await troubledClient(call => {
      // Files of many units have objects of their own: those arrive.
      if (isLosing === undefined || call.key !== `i/${test.rootId}`) return undefined;
      if (call.operation !== 'put') return Promise.reject(new NetsealError('EUNAVAILABLE', 'not now'));
      const sent = isLosing === 'answers' ? call.send() : Promise.resolve();
      return sent.then(() => {
        throw new NetsealError('EUNCERTAIN', 'the answer was lost');
      });
    });
    // Makes the client read the root.
    await makeFile(client, '/file', 1, 1);
    const unitCounts = [1, 200];
    for (const losing of ['answers', 'requests'] as const) {
      for (const unitCount of unitCounts) {
        const path = `/${losing}-${unitCount}`;
        const file = await newFile(client, path);
        const indices = Array.from({ length: unitCount }, (_, at) => at);
        const sub = subOf(file, await file.place(indices, 2), unitCount * UNIT_BYTES);
        isLosing = losing;
        expect(await rejectionCode(file.server.commit(file.handle, sub))).toBe('EUNCERTAIN');
        isLosing = undefined;
        const { version } = await file.server.commit(file.handle, sub);
        await expectSeeds(
          client,
          path,
          indices.map(() => 2),
        );
        await file.refresh();
        expect(file.version).toBe(version);
        await file.commit(await file.place([0], 3), unitCount * UNIT_BYTES);
        await expectSeeds(
          client,
          path,
          indices.map(at => (at === 0 ? 3 : 2)),
        );
      }
    }
    expect(await namesIn(client.volume, '/')).toHaveLength(1 + 2 * unitCounts.length);
  });

  it('can be saved under another name before it has its own', async () => {
    const client = await test.client();
    const file = await newFile(client, '/new');
    const sub = subOf(file, await file.place([0], 1), UNIT_BYTES);
    const { volume } = client;
    await volume.server.saveAs(file.handle, sub, { directory: volume.root, name: 'saved' });
    expect(await namesIn(volume, '/')).toEqual(['saved']);
    await expectSeeds(client, '/saved', [1]);
  });
});

it('an append and its commit take two trips: the segment, with the pages and leaves that it needs, and the swap', async () => {
  const client = await test.client();
  for (const unitCount of [1, 1000]) {
    const path = `/${unitCount}`;
    await makeFile(client, path, unitCount, 1);
    const file = await openFile(client, path);
    for (let round = 0; round < 5; round += 1) {
      const index = unitCount + round;
      const { meter } = client;
      meter.resetRoundTrips();
      const before = meter.requestCount;
      await file.commit(await file.place([index], 2), (index + 1) * UNIT_BYTES);
      const cost = [meter.roundTripCount, meter.requestCount - before];
      // The first reads the map, the third makes a small file an object of its own, in the background.
      if (round !== 0 && round !== 2) expect(cost).toEqual([2, 2]);
      await client.volume.sync();
    }
  }
});

it('a file that is committed again and again becomes an object of its own', async () => {
  const client = await test.client();
  await makeFile(client, '/file', 1, 1);
  const file = await openFile(client, '/file');
  for (let round = 2; round < 7; round += 1) await file.commit(await file.place([0], round), UNIT_BYTES);
  await client.volume.sync();
  const entry = await client.volume.names.find(client.volume.root, 'file');
  expect(entry?.node.kind).toBe('object');
  await file.commit(await file.place([0], 7), UNIT_BYTES);
  await expectSeeds(client, '/file', [7]);
});

it('files are closed and opened again by their key', async () => {
  const client = await test.client();
  const { volume } = client;
  const file = await newFile(client, '/file');
  await file.commit(await file.place([0], 1), UNIT_BYTES);
  await volume.names.rename(
    { directory: volume.root, name: 'file' },
    { directory: volume.root, name: 'renamed' },
  );
  await file.server.close(file.handle);
  expect(volume.session.openFiles.count).toBe(0);
  const opened = await file.server.open(file.form.objectId, {});
  expect(opened.state).toEqual({ version: file.version, sizeBytes: UNIT_BYTES });
  expect(volume.session.openFiles.count).toBe(1);
  await file.server.close(opened.handle);
  expect(contentOf([1])).toEqual(await readFile(volume, '/renamed'));
});
