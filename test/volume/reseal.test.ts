/** After a rekey everything is sealed anew, beside other clients, so that the old keys can go. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { RawKeySecret } from '../../src/keys/secret.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { listAll } from '../../src/server/list-all.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { recordEpoch } from '../../src/server/sealed/record-epoch.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { type ResealReport, resealVolume } from '../../src/volume/care/reseal.ts';
import type { NamePlace } from '../../src/volume/names/live-names.ts';
import { createRoot } from '../../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { rawSecret } from '../keys/helpers.ts';
import { UNIT_BYTES } from '../netfs/server-contract.ts';
import { SEED } from '../support/soak.ts';
import { deepCheck, GRACE_MS, HOUR_MS } from './gc-support.ts';
import { makeFile, openFile, subOf } from './serving-support.ts';
import {
  bytesOf,
  type Client,
  type ClientOptions,
  codeOf,
  DyingStore,
  FILE,
  FOLDER,
  jitteryStore,
  makeFolder,
  makeObjectFolder,
  namesIn,
  packFiles,
  readFile,
  TestVolume,
  treeOf,
  writeFile,
} from './support.ts';

const SECRET: RawKeySecret = rawSecret(5);
const NONE_LEFT = { segments: 0, inodes: 0, heads: 0, lists: 0 };

let test: TestVolume;
let clock: { ms: number; now(): number };
/** Of epoch 1, and of epoch 2. */
let old: VolumeHeader;
let rekeyed: VolumeHeader;

beforeEach(async () => {
  clock = {
    ms: 1_000_000_000_000,
    now(): number {
      return this.ms;
    },
  };
  const store = new MemoryStore({}, clock);
  const settings = encodeSettings(checkVolumeSettings({ unitSizeBytes: 4096, packBytes: 16_384 }));
  old = await createVolumeHeader({ slots: [{ label: 'test', secret: SECRET }], settings });
  rekeyed = await old.rekey(SECRET);
  await createRoot(store, old, FOLDER);
  test = new TestVolume(store, old);
});

afterEach(async () => {
  await test.close();
});

function clientOf(header: VolumeHeader, options: ClientOptions = {}): Promise<Client> {
  return test.client({ nowMs: () => clock.ms, ...options, header });
}

/** Folders, packs, map pages, name nodes, links: something of everything, sealed by two sessions of epoch 1. */
async function fill(): Promise<Map<string, string>> {
  const { volume } = await clientOf(old);
  for (const path of ['/a', '/a/b', '/empty']) await makeFolder(volume, path);
  await makeObjectFolder(volume, '/object');
  await packFiles(
    volume,
    Array.from({ length: 12 }, (_, at) => ({
      directory: volume.root,
      name: `small-${at}`,
      bytes: bytesOf(at, 1000),
    })),
  );
  await writeFile(volume, '/a/b/large', bytesOf(1, 257 * 4096 + 17));
  await writeFile(volume, '/object/file', bytesOf(2, 9000));
  await volume.names.link(await volume.place('/object/file'), volume.root, 'second');
  const link = volume.names.newSymlink(FILE, Buffer.from('a/b'));
  await volume.names.insert(volume.root, 'link', link);
  await volume.close();
  const { volume: other } = await clientOf(old);
  // Too many for a root: they go into nodes.
  const names = Array.from({ length: 160 }, (_, at) => ({
    name: bytesOf(at, 120).toString('hex').slice(0, 230),
    inode: other.names.newFile(FILE),
    segments: [],
  }));
  await other.namespace.insertMany(await other.directory('/object'), names);
  await writeFile(other, '/object/garbage', bytesOf(6, 9000));
  await other.names.unlink(await other.directory('/object'), 'garbage');
  const tree = await treeOf(other);
  await other.close();
  return tree;
}

async function reseal(options: ClientOptions = {}): Promise<ResealReport> {
  const { volume } = await clientOf(rekeyed, options);
  try {
    return await resealVolume(volume);
  } finally {
    await volume.close();
  }
}

/** Drops the free epochs. Fails unless a client with only the newest key reads everything. */
async function expectClean(report: ResealReport, tree: ReadonlyMap<string, string>): Promise<Volume> {
  expect(report.left).toEqual(NONE_LEFT);
  expect(report.freeEpochs).toEqual([1]);
  const dropped = rekeyed.dropEpochs([1]);
  const { volume } = await clientOf(dropped);
  expect(await treeOf(volume)).toEqual(tree);
  expect((await deepCheck(volume)).damages).toEqual([]);
  return volume;
}

/** Three passes of gc that has only the newest key: whatever is left is sealed under that. */
async function expectOneEpoch(): Promise<void> {
  const dropped = rekeyed.dropEpochs([1]);
  for (let pass = 0; pass < 3; pass += 1) {
    const { volume } = await clientOf(dropped);
    await collectGarbage(volume);
    await volume.close();
    clock.ms += GRACE_MS + HOUR_MS;
  }
  for (const prefix of ['s/', 'i/', 'heads/', 'gc/']) {
    for await (const { key } of listAll(test.store, prefix)) {
      expect([key, await recordEpoch({ store: test.store }, key)]).toEqual([key, 2]);
    }
  }
}

/** Renames, again and again while another client finishes the move before: who seals anew or collects does that. */
async function renameSurely(volume: Volume, from: NamePlace, to: NamePlace): Promise<void> {
  let code = 'ECONFLICT';
  while (code === 'ECONFLICT') code = await codeOf(volume.names.rename(from, to));
  expect(code, `seed ${SEED}`).toBe('ok');
}

describe('sealing anew', () => {
  it('leaves nothing under the old key: what is there then opens without it', async () => {
    const tree = await fill();
    const { volume: collector } = await clientOf(old);
    await collectGarbage(collector);
    await collector.close();
    const report = await reseal();
    expect(report.resealed.segments).toBeGreaterThan(2);
    expect(report.resealed.inodes).toBeGreaterThan(2);
    expect(report.resealed.heads).toBeGreaterThan(0);
    expect(report.resealed.lists).toBe(1);
    expect(report.movedBytes).toBeGreaterThan(1_050_000);
    const volume = await expectClean(report, tree);
    await writeFile(volume, '/after', bytesOf(3, 5000));
    await volume.close();
    await expectOneEpoch();
    const { volume: last } = await clientOf(rekeyed.dropEpochs([1]));
    expect(await readFile(last, '/after')).toEqual(bytesOf(3, 5000));
    expect(await deepCheck(last)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('changes no version that anybody compares content by, and does nothing the second time', async () => {
    await fill();
    const { volume } = await clientOf(rekeyed);
    const before = (await volume.find('/a/b/large')).inode;
    await resealVolume(volume);
    const after = (await volume.find('/a/b/large')).inode;
    expect({ ...after, map: 0, version: 0, storedBytes: 0 }).toEqual({
      ...before,
      map: 0,
      version: 0,
      storedBytes: 0,
    });
    const second = await resealVolume(volume);
    expect(second.resealed).toEqual(NONE_LEFT);
    expect(second.freeEpochs).toEqual([1]);
  });

  it('goes on where it was stopped, after any request', async () => {
    const tree = await fill();
    let stops = 0;
    for (let requests = 3; ; requests = Math.ceil(requests * 1.7)) {
      const dying = new DyingStore(test.store);
      const { volume } = await clientOf(rekeyed, { around: () => dying.store });
      dying.dieAfter(requests);
      const code = await codeOf(resealVolume(volume));
      await volume.close().catch(() => undefined);
      if (code === 'ok' && !dying.isDead) break;
      stops += 1;
    }
    expect(stops).toBeGreaterThan(3);
    await expectClean(await reseal(), tree);
  });

  it('ends sessions of the old key once their folders were sealed anew, and loses nothing that they committed', async () => {
    await fill();
    const { volume: late } = await clientOf(old);
    const { volume: sealer } = await clientOf(rekeyed);
    await writeFile(late, '/a/in time', bytesOf(4, 5000));
    const held = await late.directory('/a');
    await resealVolume(sealer);
    expect(await codeOf(late.names.insert(held, 'too late', late.names.newFile(FILE)))).toBe('EKEY');
    expect(await codeOf(late.find('/a/b/large'))).toBe('EKEY');
    await late.close().catch(() => undefined);
    const report = await resealVolume(sealer);
    const volume = await expectClean(report, await treeOf(sealer));
    expect(await readFile(volume, '/a/in time')).toEqual(bytesOf(4, 5000));
    expect((await codeOf(volume.find('/a/too late'))) === 'ENOENT').toBe(true);
    expect(await codeOf(volume.close())).toBe('ok');
    expect(await codeOf(sealer.close())).toBe('ok');
  });

  it('keeps its head from a session of the same client that has only the old key', async () => {
    await fill();
    const { volume: first, state } = await clientOf(old);
    await makeFolder(first, '/first');
    await first.close();
    const { volume: late } = await clientOf(old, { state });
    await makeFolder(late, '/late');
    const report = await reseal();
    expect(report.resealed.heads).toBeGreaterThan(0);
    await late.close().catch(() => undefined);
    // Nobody sees a fork, and the client goes on.
    expect((await reseal()).resealed).toEqual(NONE_LEFT);
    const { volume: again } = await clientOf(rekeyed, { state });
    await makeFolder(again, '/third');
    expect(await codeOf(again.close())).toBe('ok');
    const { volume: sealer } = await clientOf(rekeyed);
    await expectClean(await resealVolume(sealer), await treeOf(sealer));
  });

  it('does not let a writer bring back what it has read before', async () => {
    await fill();
    const { volume } = await clientOf(rekeyed);
    const writer = await volume.openWriter('/a/b/large');
    await writer.write(Buffer.from('changed'), 10);
    const report = await reseal();
    expect(await codeOf(writer.close())).toBe('ECONFLICT');
    await expectClean(report, await treeOf(volume));
  });

  it('makes no copy of a file that shares what was sealed anew meanwhile', async () => {
    const first = await clientOf(old);
    await makeFile(first, '/file', 3, 1);
    const [mine, theirs] = [await clientOf(rekeyed), await clientOf(rekeyed)];
    const [here, there] = [await openFile(mine, '/file'), await openFile(theirs, '/file')];
    const sub = subOf(here, await here.place([0], 2), 3 * UNIT_BYTES);
    await there.commit(await there.place([0], 3), 3 * UNIT_BYTES);
    expect(await codeOf(here.server.commit(here.handle, sub))).toBe('ECONFLICT');
    await here.refresh();
    const report = await reseal();
    expect(await codeOf(mine.volume.server.stash(here.handle, sub))).toBe('ECONFLICT');
    const volume = await expectClean(report, await treeOf(theirs.volume));
    expect(await namesIn(volume, '/')).toEqual(['file']);
  });

  it('seals anew beside clients that write, move and remove', async () => {
    await fill();
    const chance = seededChance(SEED);
    const around: ClientOptions['around'] = store => jitteryStore(store, SEED, 3);
    const { volume: worker } = await clientOf(rekeyed, { around });
    let isDone = false;
    const work = async (): Promise<void> => {
      for (let step = 0; !isDone; step += 1) {
        const pick = chance();
        if (pick < 0.4) await writeFile(worker, `/a/w${step}`, bytesOf(step, 6000));
        else if (pick < 0.6) {
          const [from, to] = [await worker.place('/object/file'), await worker.place('/a/file')];
          await renameSurely(worker, from, to);
          await renameSurely(worker, to, from);
        } else if (pick < 0.8) {
          await worker.names.setDirectoryAttributes(await worker.directory('/a/b'), {
            mode: 0o700 + (step % 8),
          });
        } else await makeFolder(worker, `/object/f${step}`);
      }
    };
    const working = work();
    // It may fail before anybody waits for it.
    working.catch(() => undefined);
    const { volume: collector } = await clientOf(rekeyed, { around });
    const collecting = collectGarbage(collector);
    await reseal({ around });
    isDone = true;
    await working;
    await collecting;
    await expectClean(await reseal(), await treeOf(worker));
  });

  it('refuses when something is damaged', async () => {
    await fill();
    for await (const { key } of listAll(test.store, 's/')) await test.store.delete(key);
    expect(await codeOf(reseal())).toBe('EMISSING');
  });

  it('leaves the old header no use but for what was copied before', async () => {
    await fill();
    await reseal();
    const { volume } = await clientOf(old);
    expect(await codeOf(volume.find('/a'))).toBe('EKEY');
  });
});
