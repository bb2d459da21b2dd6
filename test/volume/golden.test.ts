/**
 * The golden volumes: version 1 of the layout is frozen, so every later netseal opens them. A test that fails here says that
 * the volumes of users do not open any more.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Secret } from '../../src/keys/secret.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { segmentKey } from '../../src/server/sealed/object-keys.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { collectGarbage, type GcReport } from '../../src/volume/care/gc.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import { unlockHeaderObject } from '../../src/volume/header-object.ts';
import { openVolume } from '../../src/volume/open.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { FIXTURES, type Golden, readGolden, STORE_FOLDERS } from '../fixtures/golden-expected.ts';
import { readObjects } from '../fixtures/independent-store.ts';
import { deepCheck, GRACE_MS, HOUR_MS } from './gc-support.ts';
import { checkAll, seenAll } from './golden-support.ts';
import { bytesOf, codeOf, FILE, FOLDER, packFiles, readFile, writeFile } from './support.ts';

const golden: Golden = readGolden();
const NAMES = ['flat', 'hex2'] as const;
type Name = (typeof NAMES)[number];

const { keyFile, rawKey, passphrase, callback } = golden.secrets;
const KEY_FILE: Secret = { type: 'key-file', contents: Buffer.from(keyFile, 'hex') };

let pipeline: Pipeline;
let folder = '';
const volumes: Volume[] = [];

beforeAll(async () => {
  pipeline = await openPipeline({ workers: 0, memoryBytes: 32 * 1024 * 1024 });
});

afterEach(async () => {
  await Promise.allSettled(volumes.splice(0).map(volume => volume.close()));
  if (folder !== '') rmSync(folder, { recursive: true });
  folder = '';
});

/** A store of which a copy is kept elsewhere. */
async function copyOf(name: Name): Promise<ObjectStore> {
  folder = mkdtempSync(join(tmpdir(), 'netseal-golden-'));
  cpSync(join(FIXTURES, STORE_FOLDERS[name]), folder, { recursive: true });
  return await DirectoryStore.open(folder, { durability: 'none' });
}

async function open(store: ObjectStore, options: { readonly nowMs?: () => number } = {}): Promise<Volume> {
  const volume = await openVolume({ store, secrets: KEY_FILE, pipeline, freshMs: 0, ...options });
  volumes.push(volume);
  return volume;
}

describe.each(NAMES)('the golden volume %s', name => {
  const expected = golden.volumes[name];

  it('opens by each of its secrets, and says what it was made with', async () => {
    const store = await copyOf(name);
    const secrets: Secret[] = [
      KEY_FILE,
      { type: 'raw-key', key: Buffer.from(rawKey, 'hex') },
      // It was made with the accent as a character of its own.
      { type: 'passphrase', passphrase: passphrase.normalize('NFC') },
      {
        type: 'callback',
        callback: ({ provider, blob }) => {
          expect([provider, Buffer.from(blob).toString('hex')]).toEqual([callback.provider, callback.blob]);
          return Buffer.from(callback.key, 'hex');
        },
      },
    ];
    for (const secret of secrets) {
      const header = await unlockHeaderObject(store, secret);
      expect(header.epoch).toBe(expected.newestEpoch);
      expect(header.slots.map(({ label }) => label)).toEqual(expected.labels);
      header.keyring.destroy();
    }
    const { settings } = await open(store);
    const { keys, suite, padding, others = {} } = settings;
    expect({ keys, suite, padding, others }).toEqual({
      keys: expected.keys,
      suite: expected.suite,
      padding: expected.padding,
      others: expected.others,
    });
    await store.close();
  });

  it('holds every file with its bytes and attributes, and is whole', async () => {
    const store = await copyOf(name);
    const before = readObjects(folder);
    const volume = await open(store);
    await checkAll(expected, await seenAll(volume));
    const { damages } = await verifyVolume(volume, { deep: true });
    expect(damages.map(({ key, error }) => `${key} ${error.message}`)).toEqual([]);
    await volume.close();
    expect(readObjects(folder)).toEqual(before);
    await store.close();
  });

  it('is written to, and holds the old and the new', async () => {
    const store = await copyOf(name);
    const volume = await open(store);
    const made = volume.names.newDirectory(FOLDER, volume.root.id);
    await volume.names.insertDirectory(volume.root, 'new', made);
    await writeFile(volume, '/new/file', bytesOf(1, 10_000));
    await packFiles(volume, [
      { directory: made, name: 'one', bytes: bytesOf(2, 500) },
      { directory: made, name: 'two', bytes: bytesOf(3, 600) },
    ]);
    await volume.close();
    const again = await open(store);
    const paths = ['/new', '/new/file', '/new/one', '/new/two'];
    await checkAll(expected, await seenAll(again), new Set(paths));
    for (const [at, path] of paths.slice(1).entries()) {
      expect(await readFile(again, path)).toEqual(bytesOf(at + 1, [10_000, 500, 600][at] ?? 0));
    }
    expect((await deepCheck(again)).damages).toEqual([]);
    await store.close();
  });

  it('loses nothing to gc and compaction', async () => {
    const clock = { ms: golden.madeAtMs + HOUR_MS, now: (): number => clock.ms };
    const nowMs = clock.now;
    const store = new MemoryStore({}, clock);
    const objects = readObjects(join(FIXTURES, STORE_FOLDERS[name]));
    for (const [key, bytes] of objects) await store.put(key, [bytes]);
    const reports: GcReport[] = [];
    for (let pass = 0; pass < 7; pass += 1) {
      const volume = await open(store, { nowMs });
      reports.push(await collectGarbage(volume));
      await volume.close();
      clock.ms += GRACE_MS + HOUR_MS;
    }
    for (const { lost, missingSegments, failures } of reports) {
      expect([lost, missingSegments, failures]).toEqual([[], [], []]);
    }
    const volume = await open(store, { nowMs });
    await checkAll(expected, await seenAll(volume));
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
    const { namedByExtension } = expected;
    if (namedByExtension !== undefined) await store.stat(segmentKey(namedByExtension));
    // There was garbage, and it went.
    const deleted = reports.reduce((sum, report) => sum + report.deleted.objects, 0);
    expect(deleted).toBeGreaterThan(0);
  });
});

describe('what others have left in the golden volume', () => {
  it('is ended by whoever needs it: moves and a removal', async () => {
    const store = await copyOf('flat');
    const volume = await open(store);
    const { names } = volume;
    const from = await volume.directory('/from');
    const to = await volume.directory('/to');
    // This one had not arrived.
    await names.rename({ directory: from, name: 'departed' }, { directory: to, name: 'departed' });
    await names.rename({ directory: to, name: 'arrived' }, { directory: from, name: 'arrived' });
    await names.rename({ directory: to, name: 'folder' }, { directory: from, name: 'folder' });
    await names.insert(from, 'dead', names.newPipe(FILE, 'fifo'));
    const seen = await seenAll(await open(store));
    expect([...seen.keys()].filter(path => /^\/(from|to)\//.test(path)).sort()).toEqual(
      ['/from/arrived', '/from/dead', '/from/folder', '/from/folder/file', '/to/departed'].sort(),
    );
    expect((await deepCheck(volume)).damages).toEqual([]);
    await store.close();
  });

  it('is kept when it is of a later netseal: what forbids changes, and what is to be ignored', async () => {
    const store = await copyOf('flat');
    const volume = await open(store);
    expect(await codeOf(volume.openWriter('/later/read-only'))).toBe('EUNSUPPORTED');
    const { extensions } = (await volume.find('/later/object')).inode;
    const writer = await volume.openWriter('/later/object');
    await writer.write(Buffer.from('changed'));
    await writer.close();
    const again = await open(store);
    expect((await readFile(again, '/later/second')).subarray(0, 7).toString()).toBe('changed');
    expect((await again.find('/later/second')).inode.extensions).toEqual(extensions);
    await store.close();
  });
});
