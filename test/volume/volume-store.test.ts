/** Files of a volume as a store: the contract, and what the volume shows of it. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { describeStore } from '../../src/server/store-contract.ts';
import { Volume } from '../../src/volume/volume.ts';
import { volumeStore } from '../../src/volume/volume-store.ts';
import { codeOf } from '../keys/helpers.ts';
import { errorCodeOf } from '../support/errors.ts';
import { IS_LONG, SEED } from '../support/soak.ts';
import { aroundStore, TestVolume } from './support.ts';

/** Hundreds of names, each asked of the store anew, take many seconds. */
const SLOW = 'every valid key is its own object';

const counted = (title: string, body: () => Promise<void>): void => {
  it.runIf(IS_LONG || !title.startsWith(SLOW))(title, () => expect(body()).resolves.toBeUndefined());
};

describeStore(
  'files of a volume',
  async () => {
    // A store that answers in the same turn would never let a writer go on beside a reader.
    const distant = aroundStore(new MemoryStore(), async call => {
      await setImmediate();
      return await call.send();
    });
    const made = await TestVolume.create({}, distant);
    const [one, two] = [await made.client(), await made.client()];
    return {
      store: volumeStore(one.volume, { prefix: '/objects of a program' }),
      other: volumeStore(two.volume, { prefix: 'objects of a program/' }),
      remove: () => made.close(),
    };
  },
  {
    describe,
    it: counted,
    seed: SEED,
    declared: {
      createIfAbsent: 'atomic',
      replaceIfMatch: 'atomic',
      atomicPut: true,
      rangedGet: true,
      listIsConsistent: true,
      listHasVersions: true,
    },
  },
);

describe('files of a volume as a store', () => {
  it('are what the volume shows: readable names, and nothing but objects in lists', async () => {
    const made = await TestVolume.create();
    const { volume } = await made.client();
    const store = volumeStore(volume);
    await volume.fs.mkdir('/photos');
    await volume.fs.writeFile('/readme+', 'no object');
    await store.put('docs/Read me.txt', [Buffer.from('hello')]);
    await store.put('docs', [Buffer.from('beside its folder')]);
    expect(await volume.fs.readFile('/docs+/Read me.txt', 'utf8')).toBe('hello');
    const { entries } = await store.list({ limit: 10 });
    expect(entries.map(({ key }) => key)).toEqual(['docs', 'docs/Read me.txt']);
    expect(entries[1]?.version).toBe((await store.stat('docs/Read me.txt')).version);
    expect(await codeOf(() => store.put('photos', []))).toBe('EFORMAT');
    expect(await codeOf(() => store.get('photos'))).toBe('EMISSING');
    await store.delete('docs/Read me.txt');
    expect(await volume.fs.readdir('/')).toEqual(['docs', 'photos', 'readme+']);
    await made.close();
  });

  it('have another version when a program edits them in place, and a swap notices', async () => {
    const made = await TestVolume.create();
    const { volume } = await made.client();
    const store = volumeStore(volume, { prefix: 'x' });
    const { version } = await store.put('a', [Buffer.from('one')]);
    const file = await volume.open('/x/a', 'r+');
    await file.write(Buffer.from('two'), 0, 3, 0);
    await file.close();
    const found = await store.get('a');
    expect([Buffer.from(found.bytes).toString(), found.version === version]).toEqual(['two', false]);
    expect(await codeOf(() => store.put('a', [], { condition: { ifMatch: version } }))).toBe('ECONFLICT');
    await store.put('a', [], { condition: { ifMatch: found.version } });
    await made.close();
  });

  it('survive puts and deletes that make and remove the same folder at once', async () => {
    const made = await TestVolume.create();
    const stores = [volumeStore((await made.client()).volume), volumeStore((await made.client()).volume)];
    await Promise.all(
      stores.map(async (store, client) => {
        for (let round = 0; round < 12; round += 1) {
          await store.put(`f/${client}`, [Buffer.from(String(round))]);
          await store.delete(`f/${client}`);
        }
        await store.put(`f/g/${client}`, []);
      }),
    );
    for (const store of stores) {
      expect((await store.list({ limit: 9 })).entries.map(({ key }) => key)).toEqual(['f/g/0', 'f/g/1']);
    }
    await made.close();
  });

  it('need a prefix that is a path', () => {
    for (const prefix of ['..', 'a/./b', 'a\0b']) {
      expect(errorCodeOf(() => volumeStore(Object.create(Volume.prototype), { prefix }))).toBe('EINVAL');
    }
  });
});
