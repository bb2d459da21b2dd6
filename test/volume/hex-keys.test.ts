/** A volume whose objects are spread over folders: everything that lists or names objects. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { storedKey } from '../../src/server/sealed/object-keys.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import { TimedVolume } from './gc-support.ts';
import {
  bytesOf,
  makeObjectFolder as makeFolder,
  readFile,
  TestVolume,
  treeOf,
  writeFile,
} from './support.ts';

const SPREAD = /^[si]\/([0-9a-f]{2})\/\1[0-9a-f]{30}$/;

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create({ keys: 'hex2' });
});

afterEach(() => timed.test.close());

it('lies where it should, and is collected, compacted and verified', async () => {
  const { volume } = await timed.client({ segmentBytes: 64 * 1024 });
  await makeFolder(volume, '/folder');
  for (let at = 0; at < 20; at += 1) await writeFile(volume, `/folder/${at}`, bytesOf(at, 20_000));
  await writeFile(volume, '/large', bytesOf(3, 4096 * 300));
  for (const prefix of ['s/', 'i/']) {
    const keys = await timed.keys(prefix);
    expect(keys.length).toBeGreaterThan(1);
    for (const key of keys) expect(key).toMatch(SPREAD);
  }
  const { directory } = await volume.place('/folder/x');
  for (let at = 0; at < 20; at += 1) if (at % 4 > 0) await volume.names.unlink(directory, `${at}`);
  await volume.close();
  const before = await timed.bytesIn('s/');
  // Somebody else's objects are nobody's garbage.
  const strange = ['s/strange', `s/${'0'.repeat(32)}`, `i/${'0'.repeat(32)}`, `i/ff/${'0'.repeat(32)}`];
  for (const key of strange) await timed.store.put(key, [Buffer.of(1)]);
  const reports = await timed.collectAll();
  expect(reports.reduce((sum, { deleted }) => sum + deleted.objects, 0)).toBeGreaterThan(0);
  expect(await timed.bytesIn('s/')).toBeLessThan(before);
  for (const key of strange) await timed.store.delete(key);

  const other = (await timed.client()).volume;
  expect([...(await treeOf(other)).keys()].sort()).toEqual(
    ['/folder/', '/folder/0', '/folder/12', '/folder/16', '/folder/4', '/folder/8', '/large'].sort(),
  );
  expect(await readFile(other, '/folder/8')).toEqual(bytesOf(8, 20_000));
  const report = await verifyVolume(other, { deep: true });
  expect(report.damages).toEqual([]);
});

it('is damaged under the names that its objects have in the store', async () => {
  const { volume } = await timed.client();
  const folder = await makeFolder(volume, '/folder');
  await writeFile(volume, '/file', bytesOf(1, 10_000));
  await timed.store.delete(storedKey(`i/${folder.key}`, 'hex2'));
  const { damages } = await verifyVolume((await timed.client()).volume);
  expect(damages.map(({ key }) => key)).toEqual([storedKey(`i/${folder.key}`, 'hex2')]);
  const { lost } = await timed.collect();
  expect(lost.map(({ key }) => key)).toEqual([storedKey(`i/${folder.key}`, 'hex2')]);
});

it('is spread over folders of a directory store', async () => {
  const path = await mkdtemp(join(tmpdir(), 'netseal-hex-'));
  const store = await DirectoryStore.open(path, { durability: 'none', create: true });
  const test = await TestVolume.create({ keys: 'hex2' }, store);
  try {
    const { volume } = await test.client();
    for (let at = 0; at < 5; at += 1) await makeFolder(volume, `/${at}`);
    const { rootId } = volume.settings;
    expect(await readdir(join(path, 'objects', 'i+', `${rootId.slice(0, 2)}+`))).toContain(rootId);
    await writeFile(volume, '/file', bytesOf(1, 10_000));
    expect(await readFile((await test.client()).volume, '/file')).toEqual(bytesOf(1, 10_000));
  } finally {
    await test.close();
    await store.close();
    await rm(path, { recursive: true });
  }
});
