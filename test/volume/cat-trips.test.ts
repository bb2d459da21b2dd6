/** What reading a little of a large file asks of the store, request by request. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/geometry.ts';
import { createVolumeHeader } from '../../src/keys/unlock.ts';
import type { VolumeHeader } from '../../src/keys/volume-header.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { type MeterEvent, StoreMeter } from '../../src/server/meter.ts';
import { wrapStore } from '../../src/server/wrap.ts';
import { attachState, createHeaderObject, unlockHeaderObject } from '../../src/volume/header-object.ts';
import { createRoot } from '../../src/volume/root.ts';
import { checkVolumeSettings, encodeSettings } from '../../src/volume/session/volume-settings.ts';
import { memoryState } from '../../src/volume/state/client-state.ts';
import { Volume } from '../../src/volume/volume.ts';
import { aroundStore, quiet } from './support.ts';

const SECRET = { type: 'raw-key', key: randomBytes(32) } as const;
const FOLDER = { mode: 0o755, uid: 0, gid: 0, mtimeNs: 5n, xattrs: [] };
const FILE = { ...FOLDER, mode: 0o644 };
const GIB: number = 1024 * MIB;
const READ_BYTES = 4096;
const UNIT_BYTES = 256 * 1024;

const store = new MemoryStore();
let pipeline: Pipeline;

/** One byte a MiB, so that it compresses and no unit is a hole. */
function byteAt(offsetBytes: number): number {
  return (Math.floor(offsetBytes / MIB) % 255) + 1;
}

beforeAll(async () => {
  pipeline = await openPipeline({ workers: 1 });
  const header = await createVolumeHeader({
    slots: [{ label: 'test', secret: SECRET }],
    settings: encodeSettings(checkVolumeSettings({ unitSizeBytes: UNIT_BYTES })),
  });
  await createRoot(store, header, FOLDER);
  await createHeaderObject(store, header);
  const volume = await openVolume(store, header);
  for (const path of ['/a', '/a/b']) {
    const { directory, name } = await volume.place(path);
    const child = volume.names.newDirectory(FOLDER, directory.id);
    await volume.names.insertDirectory(directory, name, child);
  }
  const large = await volume.createFile('/a/b/large', FILE);
  for (let at = 0; at < GIB; at += MIB) await large.write(Buffer.alloc(MIB, byteAt(at)));
  await large.close();
  const small = await volume.createFile('/small', FILE);
  await small.write(Buffer.alloc(READ_BYTES, 7));
  await small.close();
  await volume.close();
  header.keyring.destroy();
}, 120_000);

afterAll(async () => {
  await pipeline.close();
});

async function openVolume(
  client: MemoryStore | ReturnType<typeof wrapStore>,
  header: VolumeHeader,
): Promise<Volume> {
  const state = memoryState();
  await attachState(state, header);
  return await Volume.open({ store: client, pipeline, header, state });
}

interface Read {
  readonly bytes: Buffer;
  readonly requests: readonly MeterEvent[];
  readonly tripCount: number;
}

/** As a client that has seen nothing yet: unlocks the volume and reads. */
async function readCold(path: string, offsetBytes: number): Promise<Read> {
  const requests: MeterEvent[] = [];
  const meter = new StoreMeter(event => requests.push(event));
  // Answers take a few turns: what is asked for in one turn is under way at the same time.
  const distant = aroundStore(store, async call => {
    await quiet();
    return await call.send();
  });
  const client = wrapStore(distant, {}, { meter });
  const header = await unlockHeaderObject(client, SECRET);
  const volume = await openVolume(client, header);
  const bytes = Buffer.alloc(READ_BYTES);
  const file = await volume.openFile(path);
  expect(await file.read(bytes, offsetBytes)).toBe(READ_BYTES);
  const read = { bytes, requests: [...requests], tripCount: meter.roundTripCount };
  await volume.close();
  header.keyring.destroy();
  return read;
}

/** Of requests for anything but heads: `get i/`, say. */
function kinds(requests: readonly MeterEvent[]): string[] {
  return allKinds(requests).filter(kind => !kind.endsWith(' heads/'));
}

function allKinds(requests: readonly MeterEvent[]): string[] {
  return requests.map(({ operation, key }) => `${operation} ${key.replace(/[0-9a-f]{32}$/, '')}`);
}

/** One list, beside the first inode, and a request for each head. Whoever has state makes none. */
function headKinds(requests: readonly MeterEvent[]): string[] {
  return allKinds(requests).filter(kind => kind.endsWith(' heads/'));
}

describe('reading 4 KiB of a file of 1 GiB, cold', () => {
  it.each([0, GIB / 2 + 5 * UNIT_BYTES, GIB - READ_BYTES])(
    'takes one request a step, at byte %d',
    async at => {
      const { bytes, requests, tripCount } = await readCold('/a/b/large', at);
      expect(bytes.equals(Buffer.alloc(READ_BYTES, byteAt(at)))).toBe(true);
      // The header; the inode of /, in which those of /a, /a/b and the file lie; a map page; the unit.
      expect(kinds(requests)).toEqual(['get volume', 'get i/', 'get s/', 'get s/']);
      expect(headKinds(requests)).toEqual(['list heads/', 'get heads/']);
      // Only the head itself is waited for: the list runs beside the root.
      expect(tripCount).toBe(kinds(requests).length + 1);
      const [page, unit] = requests.slice(-2);
      // Not the segments that these lie in.
      expect(page?.receivedBytes).toBeLessThan(MIB / 8);
      expect(unit?.receivedBytes).toBeLessThan(UNIT_BYTES + READ_BYTES);
    },
  );

  it('takes no more when it goes over the edge of two units that lie side by side', async () => {
    const at = GIB / 2 + 5 * UNIT_BYTES - READ_BYTES / 2;
    const { requests } = await readCold('/a/b/large', at);
    expect(kinds(requests).slice(-2)).toEqual(['get s/', 'get s/']);
    expect(kinds(requests)).toHaveLength(4);
  });

  it('takes one more when the inode is an object of its own', async () => {
    const header = await unlockHeaderObject(store, SECRET);
    const volume = await openVolume(store, header);
    await volume.names.link(await volume.place('/a/b/large'), volume.root, 'link');
    await volume.close();
    header.keyring.destroy();
    const { requests } = await readCold('/link', GIB / 4);
    // The header, the inodes of / and of the file, a map page, the unit.
    expect(kinds(requests)).toEqual(['get volume', 'get i/', 'get i/', 'get s/', 'get s/']);
  });
});

describe('reading a small file, cold', () => {
  it('takes the header, the folder with the inode in it, and the unit', async () => {
    const { bytes, requests, tripCount } = await readCold('/small', 0);
    expect(bytes.equals(Buffer.alloc(READ_BYTES, 7))).toBe(true);
    expect(kinds(requests)).toEqual(['get volume', 'get i/', 'get s/']);
    expect(tripCount).toBe(4);
  });

  it('asks for heads only once, whatever else is read', async () => {
    const requests: MeterEvent[] = [];
    const client = wrapStore(store, {}, { meter: new StoreMeter(event => requests.push(event)) });
    const header = await unlockHeaderObject(client, SECRET);
    const state = memoryState();
    await attachState(state, header);
    for (let round = 0; round < 2; round += 1) {
      const volume = await Volume.open({ store: client, pipeline, header, state });
      for (const path of ['/small', '/a', '/a/b/large']) await volume.find(path);
      await volume.close();
    }
    header.keyring.destroy();
    expect(headKinds(requests).filter(kind => kind.startsWith('list'))).toHaveLength(1);
  });
});
