/** `netseal/unstorage`, through unstorage itself: its own cases for drivers, in our words, and what only this driver has. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createStorage, restoreSnapshot, type Storage, snapshot } from 'unstorage';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import volumeDriver from '../../src/unstorage.ts';
import { codeOf } from '../keys/helpers.ts';
import { errorCodeOf } from '../support/errors.ts';
import { TestVolume } from '../volume/support.ts';

let made: TestVolume;
let storage: Storage;

beforeEach(async () => {
  made = await TestVolume.create();
  const { volume } = await made.client();
  storage = createStorage({ driver: volumeDriver({ volume }) });
});

afterEach(async () => {
  await storage.dispose();
  await made.close();
});

const sorted = async (keys: Promise<string[]>): Promise<string[]> => (await keys).sort();

describe('what unstorage asks of every driver', () => {
  it('a snapshot is restored, and cleared', async () => {
    await restoreSnapshot(storage, { initial: 'works' });
    expect(await snapshot(storage, '')).toEqual({ initial: 'works' });
    await storage.clear();
    expect(await storage.getItem('initial')).toBe(null);
  });

  it('at first there is nothing', async () => {
    expect(await storage.hasItem('s1:a')).toBe(false);
    expect(await storage.getItem('s2:a')).toBe(null);
    expect(await storage.getItemRaw('s2:a')).toBe(null);
    expect(await storage.getKeys()).toEqual([]);
  });

  it('an item is there once it is set, whatever stands behind a "?"', async () => {
    await storage.setItem('s1:a', 'text');
    await storage.setItem('s3:a?q=1', 'text');
    expect(await storage.hasItem('s1:a')).toBe(true);
    expect(await storage.getItem('s1:a')).toBe('text');
    expect(await storage.getItem('s3:a?q=2')).toBe('text');
  });

  it('keys are listed, all or below a base', async () => {
    for (const key of ['s1:a', 's2:a', 's3:a?q=1']) await storage.setItem(key, 'text');
    expect(await sorted(storage.getKeys())).toEqual(['s1:a', 's2:a', 's3:a']);
    expect(await storage.getKeys('s1')).toEqual(['s1:a']);
  });

  it('keys are listed down to a depth', async () => {
    const keys = ['d:e:f', 'd:e:g', 'd:h', 'd:i', 'j'];
    for (const key of keys) await storage.setItem(key, 'text');
    expect(await storage.getKeys(undefined, { maxDepth: 0 })).toEqual(['j']);
    expect(await sorted(storage.getKeys(undefined, { maxDepth: 1 }))).toEqual(['d:h', 'd:i', 'j']);
    expect(await sorted(storage.getKeys(undefined, { maxDepth: 2 }))).toEqual(keys);
  });

  it.each([
    ['an object', { json: 'works' }, { json: 'works' }],
    ['true', true, true],
    ['0', 0, 0],
    ['false', false, false],
    ['what toJSON makes text of', { toJSON: () => 'SERIALIZED' }, 'SERIALIZED'],
    ['what toJSON makes an object of', { toJSON: () => ({ a: 'b' }) }, { a: 'b' }],
  ])('%s comes back', async (_, value, expected) => {
    await storage.setItem('/data/value.json', value);
    expect(await storage.getItem('/data/value.json')).toEqual(expected);
  });

  it('an instance of a class is refused by unstorage', async () => {
    class Test {}
    await expect(storage.setItem('a', new Test())).rejects.toThrow('Cannot stringify');
  });

  it('raw bytes come back as they were', async () => {
    const value = Uint8Array.of(0, 255, 128, 10);
    await storage.setItemRaw('/data/raw.bin', value);
    expect(new Uint8Array((await storage.getItemRaw<Uint8Array>('/data/raw.bin')) ?? [])).toEqual(value);
  });

  it('many items are set and got at once', async () => {
    const items = Array.from({ length: 30 }, (_, at) => ({ key: `t:${at}`, value: `text ${at}` }));
    await storage.setItems(items);
    expect(await storage.getItems(['t:7', { key: 't:29?x' }, 'none'])).toEqual([
      { key: 't:7', value: 'text 7' },
      { key: 't:29', value: 'text 29' },
      { key: 'none', value: null },
    ]);
  });

  it('a removed item is gone', async () => {
    await storage.setItem('s1:a', 'text');
    await storage.removeItem('s1:a', true);
    expect(await storage.hasItem('s1:a')).toBe(false);
    expect(await storage.getItem('s1:a')).toBe(null);
  });

  it('clearing takes everything, or what is below a base, and may be repeated', async () => {
    for (const key of ['a:1', 'a:2:3', 'b:1']) await storage.setItem(key, 'text');
    // unstorage itself clears whole mounts only.
    await storage.getMount('').driver.clear?.('a:', {});
    expect(await storage.getKeys()).toEqual(['b:1']);
    for (let round = 0; round < 2; round += 1) {
      await storage.clear();
      expect(await storage.getKeys()).toEqual([]);
    }
  });
});

describe('the driver over a volume', () => {
  it('has an item beside those below it, tells time and size, and keeps meta of programs', async () => {
    await storage.setItem('a', 'up');
    await storage.setItem('a:b', 'below');
    expect([await storage.getItem('a'), await storage.getItem('a:b')]).toEqual(['up', 'below']);
    await storage.setMeta('a', { ttl: 5 });
    const { mtime, size, ttl } = await storage.getMeta('a');
    expect([size, ttl]).toEqual([2, 5]);
    expect(Math.abs(Date.now() - (mtime?.getTime() ?? 0))).toBeLessThan(60_000);
  });

  it('refuses raw values that are no bytes', async () => {
    expect(await codeOf(() => storage.setItemRaw('a', { b: 1 }))).toBe('EINVAL');
    expect(await storage.hasItem('a')).toBe(false);
  });

  it('needs a store or a volume, and not both', () => {
    for (const options of [{}, { store: 5 }, { store: 'x', prefix: 5 }, { store: 'x', create: 'yes' }]) {
      expect(errorCodeOf(() => volumeDriver(options as never))).toBe('EINVAL');
    }
  });

  it('opens the volume of a folder by itself, makes it if asked to, and finds everything again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'netseal-unstorage-'));
    const [store, keyFile] = [join(folder, 'store'), join(folder, 'key')];
    await writeFile(keyFile, 'x'.repeat(32));
    const options = { store, keyFile, state: join(folder, 'state') };
    try {
      const missing = volumeDriver(options);
      expect(await codeOf(async () => missing.getItem('a'))).toBe('EMISSING');
      const one = createStorage({ driver: volumeDriver({ ...options, create: true }) });
      await one.setItem('a:b', { c: 1 });
      await one.dispose();
      const two = createStorage({ driver: volumeDriver({ ...options, cache: join(folder, 'cache') }) });
      expect(await two.getItem('a:b')).toEqual({ c: 1 });
      await two.dispose();
      await writeFile(keyFile, 'y'.repeat(32));
      const locked = volumeDriver(options);
      expect(await codeOf(async () => locked.getItem('a'))).toBe('EKEY');
      await locked.dispose?.();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
