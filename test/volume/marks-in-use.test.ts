/** What clients remember against a server that shows an older volume, or two clients two different ones. */
import { afterEach, describe, expect, it } from 'vitest';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { inodeKey } from '../../src/server/sealed/object-keys.ts';
import { memoryState } from '../../src/volume/state/client-state.ts';
import {
  type Client,
  type ClientOptions,
  codeOf,
  FILE,
  makeObjectFolder as makeFolder,
  namesIn,
  TestVolume,
  writeFile,
} from './support.ts';

const tests: TestVolume[] = [];

afterEach(async () => {
  for (const test of tests.splice(0)) await test.close();
});

async function newVolume(): Promise<TestVolume> {
  const test = await TestVolume.create();
  tests.push(test);
  return test;
}

/** The same volume on a store of its own, as it is now: from here on there are two histories. */
async function forkOf(test: TestVolume): Promise<TestVolume> {
  const store = new MemoryStore();
  for (const { key } of (await test.store.list({ limit: 10_000 })).entries) {
    await store.put(key, [(await test.store.get(key)).bytes]);
  }
  const fork = new TestVolume(store, test.header);
  tests.push(fork);
  return fork;
}

async function create({ volume }: Client, name: string): Promise<string> {
  return await codeOf(volume.names.insert(volume.root, name, volume.names.newFile(FILE)));
}

async function rootCode(test: TestVolume, options: ClientOptions): Promise<string> {
  const { volume } = await test.client(options);
  return await codeOf(volume.root.read());
}

describe('a rollback', () => {
  it('to any earlier state is noticed by a client that comes back, and not by one that was never here', async () => {
    const test = await newVolume();
    const client = await test.client();
    const states: TestVolume[] = [];
    for (let step = 0; step < 4; step += 1) {
      states.push(await forkOf(test));
      expect(await create(client, `f${step}`)).toBe('ok');
    }
    for (const older of states) {
      expect(await rootCode(older, { state: client.state })).toBe('EROLLBACK');
      expect(await rootCode(older, {})).toBe('ok');
    }
    expect(await rootCode(test, { state: client.state })).toBe('ok');
  });

  it('is noticed within a session, by its readers and by its commits', async () => {
    const test = await newVolume();
    const key = inodeKey((await test.client()).volume.settings.rootId);
    const client = await test.client();
    await create(client, 'a');
    const { bytes } = await test.store.get(key);
    await create(client, 'b');
    await test.store.put(key, [bytes]);
    expect(await codeOf(client.volume.root.read(0))).toBe('EROLLBACK');
    expect(await create(client, 'c')).toBe('EROLLBACK');
    expect(await namesIn((await test.client()).volume, '/')).toEqual(['a']);
  });

  it('of a folder below does not keep anybody from the rest', async () => {
    const test = await newVolume();
    const client = await test.client();
    const { volume } = client;
    const sub = await makeFolder(volume, '/sub');
    await makeFolder(volume, '/other');
    const { bytes } = await test.store.get(inodeKey(sub.key));
    await writeFile(volume, '/sub/a', Buffer.from('a'));
    await test.store.put(inodeKey(sub.key), [bytes]);
    const again = (await test.client({ state: client.state })).volume;
    expect(await codeOf(again.find('/sub/a'))).toBe('EROLLBACK');
    await writeFile(again, '/other/a', Buffer.from('a'));
    expect(await namesIn(again, '/other')).toEqual(['a']);
  });

  it('that brings back a removed folder is noticed', async () => {
    const test = await newVolume();
    const client = await test.client();
    const { volume } = client;
    const sub = await makeFolder(volume, '/sub');
    const rootKey = inodeKey(volume.root.id);
    const [root, folder] = [await test.store.get(rootKey), await test.store.get(inodeKey(sub.key))];
    await volume.names.rmdir(volume.root, 'sub');
    await test.store.put(rootKey, [root.bytes]);
    await test.store.put(inodeKey(sub.key), [folder.bytes]);
    expect(await rootCode(test, { state: client.state })).toBe('EROLLBACK');
  });
});

describe('a fork', () => {
  it('is EFORK for who has seen one version and is shown the other of the same number', async () => {
    const test = await newVolume();
    await create(await test.client(), 'before');
    const fork = await forkOf(test);
    const [here, there] = [await test.client(), await fork.client()];
    expect([await create(here, 'here'), await create(there, 'there')]).toEqual(['ok', 'ok']);
    expect(await rootCode(fork, { state: here.state })).toBe('EFORK');
    expect(await rootCode(test, { state: there.state })).toBe('EFORK');
    // And for both as they were before: nothing is wrong.
    expect(await rootCode(test, { state: here.state })).toBe('ok');
  });

  it('is EFORK when the other history has gone one step further', async () => {
    const test = await newVolume();
    await create(await test.client(), 'before');
    const fork = await forkOf(test);
    const [here, there] = [await test.client(), await fork.client()];
    await create(here, 'here');
    await create(there, 'there');
    await create(there, 'further');
    expect(await rootCode(fork, { state: here.state })).toBe('EFORK');
  });

  it('is EFORK within the session whose acknowledged commit is gone, however far the other history went', async () => {
    for (const steps of [2, 5, 14]) {
      const test = await newVolume();
      const client = await test.client();
      const key = inodeKey(client.volume.root.id);
      const { bytes } = await test.store.get(key);
      await create(client, 'acknowledged');
      await test.store.put(key, [bytes]);
      const other = await test.client();
      for (let step = 0; step < steps; step += 1) expect(await create(other, `f${step}`)).toBe('ok');
      expect(await codeOf(client.volume.root.read(0)), `${steps} steps`).toBe('EFORK');
      expect(await create(client, 'more')).toBe('EFORK');
    }
  });

  it('is nothing that two clients of one history are ever told, whoever is slower', async () => {
    const test = await newVolume();
    const state = memoryState();
    const clients = await Promise.all([test.client({ state }), test.client({ state }), test.client()]);
    const codes = await Promise.all(
      clients.flatMap((client, at) =>
        Array.from({ length: 20 }, async (_, number) => {
          const code = await create(client, `${at}-${number}`);
          return [code, await codeOf(client.volume.root.read(0))];
        }),
      ),
    );
    expect(new Set(codes.flat())).toEqual(new Set(['ok']));
    expect((await namesIn((await test.client({ state })).volume, '/')).length).toBe(60);
  });
});
