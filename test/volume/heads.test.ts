/** What clients find out by reading one another's heads. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { randomId } from '../../src/base/ids.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import type { Head } from '../../src/server/sealed/head-format.ts';
import { putHeadObject } from '../../src/server/sealed/head-object.ts';
import { HEAD_PREFIX, inodeKey } from '../../src/server/sealed/object-keys.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { mergeHeads } from '../../src/volume/history/heads.ts';
import { memoryState, memoryStateOf } from '../../src/volume/state/client-state.ts';
import { HeadMemory } from '../../src/volume/state/head-memory.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import {
  copyOf,
  DAY_MS,
  errorOf,
  HOUR_MS,
  headOf,
  joinStores,
  MINUTE_MS,
  restore,
  snapshot,
  TestClock,
} from './heads-support.ts';
import { hashOf, idOf } from './mark-values.ts';
import {
  aroundStore,
  bytesOf,
  type Client,
  type ClientOptions,
  FILE,
  makeObjectFolder as makeFolder,
  TestVolume,
  writeFile,
} from './support.ts';

const SOME = bytesOf(1, 100);

let clock: TestClock;
let store: ObjectStore;
let shared: TestVolume;

beforeEach(async () => {
  clock = new TestClock();
  store = new MemoryStore({}, clock);
  shared = await TestVolume.create({}, store);
});

afterEach(() => shared.close());

/** One that merged a minute ago. */
async function client(options: ClientOptions = {}): Promise<Client> {
  const state = memoryStateOf(HeadMemory.fresh());
  state.heads.noteMerged(clock.ms - MINUTE_MS);
  return await shared.client({ nowMs: clock.now, state, ...options });
}

/** A client whose last merge was too long ago, so that it merges at once. */
async function lateReader(options: ClientOptions = {}): Promise<Client> {
  const state = memoryStateOf(HeadMemory.fresh());
  state.heads.noteMerged(clock.ms - 2 * HOUR_MS);
  return await client({ state, ...options });
}

/** One session that adds a file and ends. */
async function visit(name: string, options: ClientOptions = {}): Promise<Client> {
  const visitor = await client(options);
  await writeFile(visitor.volume, name, SOME);
  await visitor.volume.close();
  return visitor;
}

describe('forks', () => {
  it('come to light though neither client looks at what the other one sees', async () => {
    const one = await client();
    const folder = await makeFolder(one.volume, '/folder');
    const other = joinStores(HEAD_PREFIX, store, await copyOf(store));
    const two = await client({ around: () => other });
    await writeFile(one.volume, '/folder/a', SOME);
    await writeFile(two.volume, '/folder/b', SOME);
    await one.volume.close();

    const { forks, problems } = await mergeHeads(two.volume.session);
    expect(problems).toEqual([]);
    expect(forks.map(({ id, clients }) => [id, [...clients].sort()])).toContainEqual([
      folder.key,
      [one.state.heads.clientId, two.state.heads.clientId].sort(),
    ]);
    expect((await errorOf(two.volume.directory('/folder')))?.code).toBe('EFORK');
  });

  it('refuse the first commit of a session, name both clients, and stay known', async () => {
    const one = await client();
    await makeFolder(one.volume, '/folder');
    const forked = await copyOf(store);
    const other = joinStores(HEAD_PREFIX, store, forked);
    const two = await client({ around: () => other });
    await writeFile(two.volume, '/folder/b', SOME);
    await two.volume.close();
    await writeFile(one.volume, '/folder/a', SOME);
    await one.volume.close();

    for (let round = 0; round < 2; round += 1) {
      const again = await client({ around: () => other, state: two.state });
      const error = await errorOf(makeFolder(again.volume, `/elsewhere-${round}`));
      expect(error?.code).toBe('EFORK');
      expect(error?.message).toContain(one.state.heads.clientId);
      // And none begins any more.
      const before = (await snapshot(forked, 'i/')).size;
      expect((await errorOf(makeFolder(again.volume, '/other')))?.code).toBe('EFORK');
      expect((await snapshot(forked, 'i/')).size).toBe(before);
      expect((await errorOf(again.volume.close()))?.code).toBe('EFORK');
    }
  });

  it('are waited for when comparing takes longer than the commit', async () => {
    const one = await client();
    await makeFolder(one.volume, '/folder');
    const other = joinStores(HEAD_PREFIX, store, await copyOf(store));
    const slowly = aroundStore(other, async call => {
      if (call.operation === 'list') await new Promise(resolve => setTimeout(resolve, 50));
      return await call.send();
    });
    await writeFile(one.volume, '/folder/a', SOME);
    await one.volume.close();
    const two = await client({ around: () => slowly });
    const folder = await two.volume.directory('/folder');
    const file = two.volume.names.newFile(FILE);
    expect((await errorOf(two.volume.names.insert(folder, 'b', file)))?.code).toBe('EFORK');
  });

  it('are told on by whoever knows of them', async () => {
    const id = idOf(7);
    const one = await client();
    one.state.marks.note(id, 5, hashOf(1));
    one.state.marks.learn(id, { version: 5, hash: hashOf(2) });
    await writeFile(one.volume, '/a', SOME);
    await one.volume.close();
    const two = await client();
    const { forks } = await mergeHeads(two.volume.session);
    expect(forks.map(fork => [fork.id, fork.version])).toEqual([[id, 5]]);
  });
});

describe('a client that has never merged', () => {
  /** Without any memory. */
  const stranger = (options: ClientOptions = {}): Promise<Client> =>
    client({ state: memoryState(), ...options });

  it('is refused an old inode that a head tells of, and served its neighbours', async () => {
    const writer = await client();
    const folder = await makeFolder(writer.volume, '/old');
    await makeFolder(writer.volume, '/good');
    await writeFile(writer.volume, '/good/file', SOME);
    const key = inodeKey(folder.key);
    const before = await snapshot(store, key);
    await writeFile(writer.volume, '/old/new', SOME);
    await writer.volume.close();
    await restore(store, before, key);

    const reader = await stranger();
    const error = await errorOf(reader.volume.find('/old'));
    expect(error?.code).toBe('EROLLBACK');
    expect(error?.message).toContain(`inode ${folder.key} (/old)`);
    expect((await errorOf(reader.volume.inodes.directory(folder.key).read()))?.code).toBe('EROLLBACK');
    expect((await reader.volume.find('/good/file')).inode.type).toBe('file');
    // One old inode does not fail the session of a reader.
    expect(await errorOf(reader.volume.close())).toBeUndefined();
  });

  it('waits for heads that are slow, and is not told old content meanwhile', async () => {
    const old = await snapshot(store, 'i/');
    await visit('/a');
    await restore(store, old, 'i/');
    const slowly = aroundStore(store, async call => {
      if (call.key.startsWith(HEAD_PREFIX)) await new Promise(resolve => setTimeout(resolve, 30));
      return await call.send();
    });
    const reader = await stranger({ around: () => slowly });
    expect((await errorOf(reader.volume.find('/')))?.code).toBe('EROLLBACK');
  });

  it('refuses a fork at the first read', async () => {
    const other = await copyOf(store);
    const one = await visit('/a');
    const two = await shared.client({ around: () => other, nowMs: clock.now });
    await writeFile(two.volume, '/b', SOME);
    await two.volume.close();
    const reader = await stranger({ around: () => joinStores(HEAD_PREFIX, store, other) });
    const error = await errorOf(reader.volume.find('/'));
    expect(error?.code).toBe('EFORK');
    expect((await errorOf(reader.volume.close()))?.message ?? '').not.toContain(one.state.heads.clientId);
  });

  it('reads when heads cannot be, and says so once', async () => {
    await visit('/a');
    const deaf = aroundStore(store, async call => {
      if (call.key.startsWith(HEAD_PREFIX)) throw new NetsealError('EDENIED', 'no');
      return await call.send();
    });
    const problems: NetsealError[] = [];
    const reader = await stranger({ around: () => deaf, onProblem: problem => problems.push(problem) });
    expect((await reader.volume.find('/a')).inode.type).toBe('file');
    await reader.volume.close();
    expect(problems.map(({ code }) => code)).toEqual(['EDENIED']);
  });

  it('does not wait in a later session of the same state', async () => {
    const { state } = await stranger().then(async first => {
      await first.volume.find('/');
      await first.volume.close();
      return first;
    });
    const again = await client({ state });
    await again.volume.find('/');
    expect(again.meter.snapshot().list.requestCount).toBe(0);
  });
});

describe('rollback', () => {
  it('of a whole store is found by a client that was there', async () => {
    const old = await snapshot(store);
    const one = await visit('/a');
    await restore(store, old);
    const again = await client({ state: one.state });
    expect((await errorOf(again.volume.find('/')))?.code).toBe('EROLLBACK');
  });

  it('of a whole store is found by a client that only merged the head of one that was there', async () => {
    const old = await snapshot(store);
    await visit('/a');
    const two = await client();
    await mergeHeads(two.volume.session);
    await restore(store, old);
    expect((await errorOf(two.volume.find('/')))?.code).toBe('EROLLBACK');
    // What it learned is saved like what it saw.
    const again = await client({ state: two.state });
    expect((await errorOf(again.volume.find('/')))?.code).toBe('EROLLBACK');
    // A client that knows nothing cannot tell.
    const fresh = await client();
    expect((await fresh.volume.find('/')).inode.type).toBe('directory');
  });

  it('that a reader met before it had read the heads is found before it ends', async () => {
    const old = await snapshot(store, 'i/');
    await visit('/a');
    const current = await snapshot(store, 'i/');
    await restore(store, old, 'i/');
    const reader = await lateReader();
    const { inode } = await reader.volume.find('/');
    expect(inode.type).toBe('directory');
    expect((await errorOf(reader.volume.close()))?.code).toBe('EROLLBACK');

    // Even if the server behaves from then on: an hour later it was an old version in any case.
    clock.pass(HOUR_MS);
    const root = inodeKey(reader.volume.settings.rootId);
    let isFirst = true;
    const sly = aroundStore(store, async call => {
      if (call.operation === 'list') await new Promise(resolve => setTimeout(resolve, 20));
      const result = await call.send();
      if (call.operation === 'get' && call.key === root && isFirst) {
        isFirst = false;
        await restore(store, current, 'i/');
      }
      return result;
    });
    const second = await lateReader({ around: () => sly });
    await second.volume.find('/');
    expect((await errorOf(second.volume.close()))?.code).toBe('EROLLBACK');
  });

  it('is not what another client did meanwhile', async () => {
    const reader = await lateReader({ around: slow });
    await reader.volume.find('/');
    await visit('/a');
    await visit('/b');
    expect(await errorOf(reader.volume.close())).toBeUndefined();
  });

  it('of a head does not pass for whoever saw a newer one', async () => {
    const two = await visit('/a');
    const one = await client();
    await mergeHeads(one.volume.session);
    const old = await snapshot(store, HEAD_PREFIX);
    await visit('/b', { state: two.state });
    expect((await mergeHeads(one.volume.session)).problems).toEqual([]);
    await restore(store, old, HEAD_PREFIX);
    const { problems, heads } = await mergeHeads(one.volume.session);
    expect(problems.map(({ code }) => code)).toEqual(['EROLLBACK']);
    expect(heads).toEqual([]);
    // What the newer one said still holds.
    const root = one.volume.settings.rootId;
    expect(one.state.marks.get(root)?.version).toBe(two.state.marks.get(root)?.version);
  });

  it('of the own head is reported, and the next one is newer than both', async () => {
    const one = await visit('/a');
    const old = await snapshot(store, HEAD_PREFIX);
    await visit('/b', { state: one.state });
    await restore(store, old, HEAD_PREFIX);
    const problems: NetsealError[] = [];
    const again = await visit('/c', { state: one.state, onProblem: problem => problems.push(problem) });
    expect(problems.map(({ code }) => code)).toEqual(['EROLLBACK']);
    expect((await headOf(again, store)).version).toBe(3);
  });
});

/** Answers take a while. */
function slow(inner: ObjectStore): ObjectStore {
  return aroundStore(inner, async call => {
    const result = await call.send();
    await new Promise(resolve => setTimeout(resolve, 20));
    return result;
  });
}

describe('heads that are not as they should be', () => {
  it('are reported, and the others are read', async () => {
    const one = await visit('/a');
    const two = await visit('/b');
    const key = HEAD_PREFIX + one.state.heads.clientId;
    const bytes = (await store.get(key)).bytes.slice();
    bytes[60] = (bytes[60] ?? 0) ^ 1;
    await store.put(key, [bytes]);
    // Somebody else's head under a name of their own.
    const copied = HEAD_PREFIX + idOf(3);
    await store.put(copied, [(await store.get(HEAD_PREFIX + two.state.heads.clientId)).bytes.slice()]);
    await store.put(`${HEAD_PREFIX}junk`, [SOME]);
    await store.put(HEAD_PREFIX + idOf(4), [SOME]);
    const three = await client();
    const { heads, headCount, problems, forks } = await mergeHeads(three.volume.session);
    expect(problems.map(({ code }) => code).sort()).toEqual(['EAUTH', 'EAUTH', 'EFORMAT']);
    expect([heads.map(({ client: from }) => from), headCount, forks]).toEqual([
      [two.state.heads.clientId],
      4,
      [],
    ]);
  });

  it('are reported when they are gone', async () => {
    const one = await visit('/a');
    const two = await client();
    await mergeHeads(two.volume.session);
    await store.delete(HEAD_PREFIX + one.state.heads.clientId);
    const merged = async (): Promise<string[]> =>
      (await mergeHeads(two.volume.session)).problems.map(({ code, message }) => `${code} ${message}`);
    expect(await merged()).toEqual([
      expect.stringContaining(`EMISSING head of client ${one.state.heads.clientId}`),
    ]);
    // Later, gc may have removed it.
    clock.pass(91 * DAY_MS);
    expect(await merged()).toEqual([]);
  });

  it('do not stop a session, and one warning is enough', async () => {
    const denied = (inner: ObjectStore): ObjectStore =>
      aroundStore(inner, async call => {
        if (call.key.startsWith(HEAD_PREFIX) || call.operation === 'list') await inner.stat('missing');
        return await call.send();
      });
    const problems: NetsealError[] = [];
    await visit('/a', { around: denied, onProblem: problem => problems.push(problem) });
    expect(problems.map(({ code }) => code)).toEqual(['EMISSING']);
    expect((await (await client()).volume.find('/a')).inode.type).toBe('file');
  });

  it('are replaced when they are our own', async () => {
    const one = await visit('/a');
    await store.put(HEAD_PREFIX + one.state.heads.clientId, [SOME]);
    const problems: NetsealError[] = [];
    const again = await visit('/b', { state: one.state, onProblem: problem => problems.push(problem) });
    expect(problems.map(({ code }) => code)).toEqual(['EFORMAT']);
    expect((await headOf(again, store)).version).toBe(2);
  });
});

describe('what heads cost', () => {
  it('is nothing for a short look', async () => {
    await visit('/a');
    const reader = await client();
    await reader.volume.openFile('/a');
    await reader.volume.close();
    const { list, now, put } = reader.meter.snapshot();
    expect([list.requestCount, now.requestCount, put.requestCount]).toEqual([0, 0, 0]);
  });

  it('is a merge and a write for a session that commits, however often it does', async () => {
    await visit('/a');
    const one = await client();
    for (const name of ['b', 'c', 'd']) await writeFile(one.volume, `/${name}`, SOME);
    await one.volume.close();
    const { list, now } = one.meter.snapshot();
    expect([list.requestCount, now.requestCount]).toEqual([1, 2]);
    expect((await snapshot(store, HEAD_PREFIX)).size).toBe(2);
  });

  it('is a read for each of a thousand that has changed', async () => {
    const one = await client();
    const { sealing } = one.volume.session;
    const ids = Array.from({ length: 1000 }, randomId);
    const head: Head = { isEphemeral: false, version: 1, writtenAtMs: clock.ms, sessions: [], marks: [] };
    for (const id of ids) await putHeadObject({ ...sealing, store }, id, head, { ifAbsent: true });
    const cost = async (of: Client): Promise<number[]> => {
      const before = of.meter.snapshot();
      const { headCount } = await mergeHeads(of.volume.session);
      expect(headCount).toBe(1000);
      const after = of.meter.snapshot();
      return [
        after.list.requestCount - before.list.requestCount,
        after.get.requestCount - before.get.requestCount,
      ];
    };
    expect(await cost(one)).toEqual([1, 1000]);
    expect(await cost(one)).toEqual([1, 0]);
    for (const id of ids.slice(0, 3)) {
      const { version } = await store.get(HEAD_PREFIX + id);
      await putHeadObject({ ...sealing, store }, id, { ...head, version: 2 }, { ifMatch: version });
    }
    // Another process of the same client knows what this one has read.
    const again = await client({ state: one.state });
    expect(await cost(again)).toEqual([1, 3]);
  });
});

describe('a head', () => {
  it('says nothing in the clear', async () => {
    const one = await client();
    await makeFolder(one.volume, '/a-telling-name');
    await writeFile(one.volume, '/a-telling-name/another-one.txt', SOME);
    await one.volume.close();
    const inodes = [...(await snapshot(store, 'i/')).keys()].map(key => key.slice(2));
    const head = await headOf(one, store);
    expect(head.marks.map(({ id }) => id).sort()).toEqual(inodes.sort());
    const [bytes = SOME] = (await snapshot(store, HEAD_PREFIX)).values();
    const text = Buffer.from(bytes);
    expect(text.includes('telling')).toBe(false);
    for (const { id, hash } of head.marks) {
      expect(text.includes(Buffer.from(id, 'hex')) || text.includes(id)).toBe(false);
      expect(text.includes(Buffer.from(hash, 'hex'))).toBe(false);
    }
  });

  it('holds the newest marks when there are more than it takes', async () => {
    const one = await client();
    for (let number = 1; number <= 5000; number += 1) one.state.marks.note(idOf(number), 3, hashOf(number));
    await writeFile(one.volume, '/a', SOME);
    await one.volume.close();
    const { marks } = await headOf(one, store);
    expect(marks).toHaveLength(4096);
    expect(marks[0]?.id).toBe(one.volume.settings.rootId);
    expect(marks[1]).toEqual({ id: idOf(5000), version: 3, hash: hashOf(5000) });
    expect(marks.at(-1)?.id).toBe(idOf(5000 - 4094));
  });

  it('is shared by processes of one client that run at once', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'netseal-heads-'));
    try {
      const problems: NetsealError[] = [];
      const open = async (): Promise<Client> =>
        await client({
          state: await openStateFolder(folder, 'store'),
          around: slow,
          onProblem: problem => problems.push(problem),
        });
      // All are the first: they find out that they are one client.
      const runs = await Promise.all(Array.from({ length: 4 }, open));
      const folders = await Promise.all(
        runs.map(async ({ volume }, number) => {
          const made = await makeFolder(volume, `/folder-${number}`);
          await writeFile(volume, `/folder-${number}/file`, SOME);
          return made.key;
        }),
      );
      await Promise.all(runs.map(({ volume }) => volume.close()));
      expect((await snapshot(store, HEAD_PREFIX)).size).toBe(1);
      const again = await open();
      await writeFile(again.volume, '/again', SOME);
      await again.volume.close();
      expect(problems).toEqual([]);
      const head = await headOf(again, store);
      expect(head.version).toBe(5);
      for (const id of folders) {
        expect(head.marks.find(mark => mark.id === id)?.version).toBeGreaterThanOrEqual(2);
      }
      await Promise.all([again, ...runs].map(({ state }) => state.close()));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
