/** One object of each class that the library gives out, all of them open. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as netseal from '../../src/index.ts';
import { ATTRIBUTES, OBJECT_ID, RAW_KEY, SLOT, sealedUnit, TAG, VOLUME_ID } from './argument-values.ts';

const { DirectoryStore, Keyring, MemoryStore, PlainCache } = netseal;

export interface Objects {
  readonly folder: string;
  readonly store: netseal.DirectoryStore;
  readonly memory: netseal.MemoryStore;
  readonly wrapped: netseal.ObjectStore;
  readonly state: netseal.ClientState;
  readonly memoryState: netseal.ClientState;
  readonly pipeline: netseal.Pipeline;
  readonly volume: netseal.Volume;
  readonly writer: netseal.FileWriter;
  readonly opened: netseal.VolumeFile;
  readonly reader: netseal.FileReader;
  readonly found: netseal.Found;
  readonly entry: NonNullable<netseal.Found['entry']>;
  readonly inode: netseal.Inode;
  readonly child: netseal.Directory;
  readonly place: { readonly directory: netseal.Directory; readonly name: string };
  readonly cache: netseal.Cache;
  readonly cacheVolume: netseal.CacheVolume;
  readonly plain: netseal.PlainCache;
  readonly header: netseal.VolumeHeader;
  readonly pin: netseal.HeaderPin;
  readonly keyring: netseal.Keyring;
  readonly keys: netseal.KeyHandle;
  readonly record: object;
  readonly lease: netseal.Lease;
  readonly sealedLease: netseal.Lease;
  readonly unitAt: object;
  readonly batch: netseal.SealedBatch;
  /** A unit to put into a cache, and one to get. */
  readonly unit: object;
  readonly get: object;
  /** Of a plain cache. */
  readonly object: object;
  /** The keys of all objects in `store`. */
  readonly storedKeys: () => Promise<string[]>;
  readonly closeAll: () => Promise<void>;
}

/** Whoever calls it removes `folder`, after `closeAll`. */
export async function openObjects(): Promise<Objects> {
  const folder = await mkdtemp(join(tmpdir(), 'netseal-arguments-'));
  const store = await DirectoryStore.open(join(folder, 'store'), { create: true });
  const memory = new MemoryStore();
  const wrapped = netseal.wrapStore(new MemoryStore(), { retry: {}, limit: { concurrency: 2 } });
  const state = await netseal.openStateFolder(join(folder, 'state'), 'store');
  const memoryState = netseal.memoryState();
  await netseal.createVolume({ store, slots: [SLOT] });
  const pipeline = await netseal.openPipeline({ workers: 0 });
  const volume = await netseal.openVolume({ store, secrets: RAW_KEY, state, pipeline });
  const writer = await volume.createFile('/f', ATTRIBUTES);
  await writer.write(Buffer.from('content'));
  await writer.commit();
  const opened = await volume.open('/f', 'r+');
  const reader = await volume.openFile('/f');
  const found = await volume.find('/f');
  const entry = found.entry;
  const { inode } = found;
  if (entry === undefined || inode.type !== 'file') throw new Error('no file');
  const cache = await netseal.openCache(join(folder, 'cache'), { disk: false }, { key: 'memory' });
  const cacheVolume = cache.volume(VOLUME_ID);
  const plain = new PlainCache(cache, pipeline, 4096);
  const header = await netseal.createVolumeHeader({ slots: [SLOT] });
  const keyring = Keyring.create();
  const keys = pipeline.addKeyring(keyring);
  const lease = await pipeline.reservePlain(64);
  const sealedLease = await pipeline.reserveSealed(64);
  const unitAt = {
    objectId: OBJECT_ID,
    kind: 'unit',
    index: 0,
    unitSizeBytes: 4096,
    offsetBytes: 0,
    lengthBytes: 64,
  };
  const batch = await pipeline.seal({ keys, from: lease, units: [{ ...unitAt, kind: 'unit' }] });
  const unit = sealedUnit(0);
  const get = { objectId: OBJECT_ID, index: 0, expectedTag: TAG, into: new Uint8Array(100) };
  const object = { server: Buffer.from('s'), name: Buffer.from('n'), version: Buffer.from('v') };
  const pin = netseal.pinOf(header);
  const place = { directory: volume.root, name: 'f' };
  const child = volume.names.newDirectory(ATTRIBUTES, volume.root.id);
  const record = { epoch: 1, kind: 'unit', suite: 'xaes-256-gcm', objectId: OBJECT_ID };
  return {
    folder,
    store,
    memory,
    wrapped,
    state,
    memoryState,
    pipeline,
    volume,
    writer,
    opened,
    reader,
    found,
    entry,
    cache,
    cacheVolume,
    plain,
    header,
    keyring,
    keys,
    lease,
    sealedLease,
    unitAt,
    batch,
    unit,
    get,
    object,
    pin,
    place,
    child,
    record,
    inode,
    storedKeys: async (): Promise<string[]> =>
      (await store.list({ limit: 1000 })).entries.map(({ key }) => key),
    closeAll: async (): Promise<void> => {
      plain.close();
      await cache.close();
      await writer.close();
      await opened.close();
      await volume.close();
      keyring.destroy();
      await pipeline.close();
      await state.close();
      await memoryState.close();
      for (const closed of [store, memory, wrapped]) await closed.close();
    },
  };
}
