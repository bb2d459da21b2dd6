/** Packs: small files that arrive together share a record, and stay files of their own in every other way. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import type { Pointer } from '../../src/server/sealed/pointer.ts';
import { storedBytesOf } from '../../src/server/sealed/pointer.ts';
import { readSegmentFooter } from '../../src/server/sealed/segment-footer.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, GRACE_MS, TimedVolume } from './gc-support.ts';
import { fileAt, packed, pointerOf } from './packs-support.ts';
import {
  aroundStore,
  bytesOf,
  codeOf,
  makeFolder,
  packFiles,
  readFile,
  TestVolume,
  uploadTogether,
  writeFile,
} from './support.ts';

const UNIT = 256 * KIB;

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create({ unitSizeBytes: UNIT });
});

afterEach(async () => {
  await timed.test.close();
});

function slicesOf(files: readonly { readonly inode: FileInode }[]): unknown[] {
  return files.map(({ inode }) => {
    const { slice } = inode.map.slots[0]?.pointer ?? {};
    return slice === undefined ? undefined : [slice.packBytes, slice.startBytes, slice.lengthBytes];
  });
}

/** How often the segments were read. */
async function readsOf(work: (volume: Volume) => Promise<unknown>): Promise<number> {
  let count = 0;
  const { volume } = await timed.client({
    around: inner =>
      aroundStore(inner, async call => {
        if (call.operation === 'get' && call.key.startsWith('s/')) count += 1;
        return await call.send();
      }),
  });
  await work(volume);
  return count;
}

describe('files that arrive together', () => {
  it('lie in one pack, one behind the other, in whatever folders they are', async () => {
    const { volume } = await timed.client();
    const folder = await makeFolder(volume, '/folder');
    const contents = [10, 2000, 64 * KIB].map((lengthBytes, at) => bytesOf(at, lengthBytes));
    const files = contents.map((bytes, at) => ({
      directory: at === 1 ? folder : volume.root,
      name: `f${at}`,
      bytes,
    }));
    await packFiles(volume, files);
    const paths = ['/f0', '/folder/f1', '/f2'];
    const pointers = await Promise.all(paths.map(path => pointerOf(volume, path)));
    const packBytes = 10 + 2000 + 64 * KIB;
    const packId = pointers[0]?.slice?.packId;
    expect(pointers.map(({ slice }) => slice)).toEqual([
      { packId, packBytes, startBytes: 0, lengthBytes: 10 },
      { packId, packBytes, startBytes: 10, lengthBytes: 2000 },
      { packId, packBytes, startBytes: 2010, lengthBytes: 64 * KIB },
    ]);
    for (const [at, path] of paths.entries()) {
      expect(await readFile(volume, path)).toEqual(contents[at]);
      expect((await fileAt(volume, path)).storedBytes).toBe(storedBytesOf(pointers[at] as Pointer));
    }
    const [{ segment } = { segment: '' }] = pointers;
    const { sizeBytes } = await timed.store.stat(`s/${segment}`);
    const footer = await readSegmentFooter(volume.session.sealing, segment, sizeBytes);
    expect(footer.filter(({ kind }) => kind === 'pack')).toEqual([
      expect.objectContaining({ objectId: packId, index: 0, unitSizeLog2: 0 }),
    ]);
  });

  it('start a new pack when one is full, and leave large files and all-zero ones out', async () => {
    const { volume } = await timed.client();
    const lengths = [60 * KIB, 60 * KIB, 9 * KIB, 100 * KIB, 50, 64 * KIB];
    const contents = lengths.map((lengthBytes, at) => bytesOf(at, lengthBytes));
    contents.push(Buffer.alloc(3000), Buffer.alloc(0));
    const files = contents.map((bytes, at) => ({ directory: volume.root, name: `f${at}`, bytes }));
    const uploaded = await uploadTogether(volume, files);
    const second = 9 * KIB + 50 + 64 * KIB;
    expect(slicesOf(uploaded)).toEqual([
      [120 * KIB, 0, 60 * KIB],
      [120 * KIB, 60 * KIB, 60 * KIB],
      [second, 0, 9 * KIB],
      undefined,
      [second, 9 * KIB, 50],
      [second, 9 * KIB + 50, 64 * KIB],
      undefined,
      undefined,
    ]);
    expect(uploaded.map(({ inode }) => inode.map.slots.length)).toEqual([1, 1, 1, 1, 1, 1, 0, 0]);
    expect(uploaded.map(({ inode }) => inode.storedBytes > 0)).toEqual(
      contents.map((_, at) => at < lengths.length),
    );
    for (const { directory, ...name } of uploaded) await volume.names.insertMany(directory, [name]);
    for (const [at, bytes] of contents.entries()) expect(await readFile(volume, `/f${at}`)).toEqual(bytes);
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('of several owners never share a pack, and a single file has a unit of its own', async () => {
    const { volume } = await timed.client();
    const owners = [1, 1, 2, 1, 1, 3, 3];
    const files = owners.map((uid, at) => ({
      directory: volume.root,
      name: `f${at}`,
      bytes: bytesOf(at, 100),
      attributes: { uid },
    }));
    const uploaded = await uploadTogether(volume, files);
    const packIds = uploaded.map(({ inode }) => inode.map.slots[0]?.pointer.slice?.packId);
    expect(packIds[0]).toBe(packIds[1]);
    expect(packIds[2]).toBeUndefined();
    expect(packIds[3]).toBe(packIds[4]);
    expect(packIds[5]).toBe(packIds[6]);
    expect(new Set(packIds).size).toBe(4);
  });

  it('share no pack in a volume without packs, and only small ones where packs are small', async () => {
    for (const [packBytes, together] of [
      [0, []],
      [8 * KIB, [0, 1]],
    ] as const) {
      const test = await TestVolume.create({ unitSizeBytes: UNIT, packBytes });
      const { volume } = await test.client();
      const files = [5000, 3000, 9000].map((lengthBytes, at) => ({
        directory: volume.root,
        name: `f${at}`,
        bytes: bytesOf(at, lengthBytes),
      }));
      const slices = slicesOf(await uploadTogether(volume, files));
      expect([...slices.keys()].filter(at => slices[at] !== undefined)).toEqual(together);
      await test.close();
    }
  });
});

describe('a file in a pack', () => {
  it('is cut off without being read, grows with zeros, and gets a unit of its own when it is written', async () => {
    const { volume } = await timed.client();
    const [first = Buffer.alloc(0), second] = await packed(volume, [1000, 500]);
    const before = await pointerOf(volume, '/f0');
    const reads = await readsOf(async fresh => {
      const cutting = await fresh.openWriter('/f0');
      await cutting.truncate(600);
      await cutting.close();
    });
    expect(reads).toBe(0);
    const writer = await volume.openWriter('/f0');
    expect((await pointerOf(volume, '/f0')).slice).toEqual({ ...before.slice, lengthBytes: 600 });
    expect((await fileAt(volume, '/f0')).storedBytes).toBe(storedBytesOf(await pointerOf(volume, '/f0')));
    await writer.truncate(800);
    await writer.commit();
    expect((await pointerOf(volume, '/f0')).slice?.lengthBytes).toBe(600);
    const grown = Buffer.concat([first.subarray(0, 600), Buffer.alloc(200)]);
    expect(await readFile(volume, '/f0')).toEqual(grown);
    // Into the zeros: nothing to cut.
    await writer.truncate(700);
    await writer.commit();
    expect((await pointerOf(volume, '/f0')).slice?.lengthBytes).toBe(600);
    await writer.write(Buffer.from('own'), 650);
    await writer.close();
    grown.write('own', 650);
    expect(await pointerOf(volume, '/f0')).not.toHaveProperty('slice');
    expect(await readFile(volume, '/f0')).toEqual(grown.subarray(0, 700));
    expect(await readFile(volume, '/f1')).toEqual(second);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('is cut off by the commit of its inode alone, however old its segment is', async () => {
    const { volume } = await timed.client();
    const [first] = await packed(volume, [1000, 500]);
    timed.wait(GRACE_MS);
    const puts: string[] = [];
    const { volume: other } = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          if (call.operation === 'put') puts.push(call.key.slice(0, 2));
          return await call.send();
        }),
    });
    const writer = await other.openWriter('/f0');
    await writer.truncate(600);
    await writer.close();
    expect(puts).toEqual(['i/']);
    await timed.collectAll();
    expect(await readFile(other, '/f0')).toEqual(first?.subarray(0, 600));
  });

  it('is cut off even if its pack cannot be read', async () => {
    const { volume } = await timed.client();
    await packed(volume, [1000, 500]);
    const { segment } = await pointerOf(volume, '/f0');
    const { bytes } = await timed.store.get(`s/${segment}`);
    bytes[200] = ~(bytes[200] ?? 0);
    await timed.store.put(`s/${segment}`, [bytes]);
    const { volume: other } = await timed.client();
    const writer = await other.openWriter('/f0');
    await writer.truncate(100);
    await writer.commit();
    await writer.truncate(0);
    await writer.close();
    expect((await fileAt(other, '/f0')).map.slots).toEqual([]);
    expect(await codeOf(readFile(other, '/f1'))).toBe('EAUTH');
  });

  it('may grow into units and map pages, and its slice stays', async () => {
    const { volume } = await timed.client();
    const [first = Buffer.alloc(0)] = await packed(volume, [1000, 500]);
    const writer = await volume.openWriter('/f0');
    await writer.write(Buffer.from('far'), 300 * UNIT);
    await writer.close();
    const inode = await fileAt(volume, '/f0');
    expect(inode.map.depth).toBe(1);
    const reader = await volume.openFile('/f0');
    const start = Buffer.alloc(2000);
    await reader.read(start, 0);
    expect(start).toEqual(Buffer.concat([first, Buffer.alloc(1000)]));
    const { volume: fresh } = await timed.client();
    const cutting = await fresh.openWriter('/f0');
    await cutting.truncate(10);
    await cutting.close();
    expect(await readFile(fresh, '/f0')).toEqual(first.subarray(0, 10));
    expect(await deepCheck(fresh)).toEqual({ damages: [], unreferenced: expect.any(Number) });
  });

  it('does not keep the others from being removed, replaced, moved and linked', async () => {
    const { volume } = await timed.client();
    const [first, second, third] = await packed(volume, [1000, 500, 700]);
    const folder = await makeFolder(volume, '/folder');
    await volume.names.rename({ directory: volume.root, name: 'f0' }, { directory: folder, name: 'moved' });
    await volume.names.link(await volume.place('/f2'), folder, 'linked');
    await volume.names.unlink(volume.root, 'f2');
    await writeFile(volume, '/f1', Buffer.from('another'), { replace: true });
    expect(second?.byteLength).toBe(500);
    expect(await readFile(volume, '/folder/moved')).toEqual(first);
    expect(await readFile(volume, '/folder/linked')).toEqual(third);
    expect(String(await readFile(volume, '/f1'))).toBe('another');
    const { volume: other } = await timed.client();
    expect(await readFile(other, '/folder/moved')).toEqual(first);
    expect(await deepCheck(other)).toEqual({ damages: [], unreferenced: 0 });
  });
});

describe('reading', () => {
  it('opens a pack once for all its files, also when they are read one after another or at once', async () => {
    const { volume } = await timed.client();
    const contents = await packed(
      volume,
      Array.from({ length: 50 }, () => 1000),
    );
    const one = await readsOf(fresh => readFile(fresh, '/f0'));
    const inTurn = await readsOf(async fresh => {
      for (const [at, bytes] of contents.entries()) expect(await readFile(fresh, `/f${at}`)).toEqual(bytes);
    });
    expect(inTurn).toBe(one);
    const atOnce = await readsOf(fresh =>
      Promise.all(contents.map(async (bytes, at) => expect(await readFile(fresh, `/f${at}`)).toEqual(bytes))),
    );
    expect(atOnce).toBe(one);
    const together = await readsOf(async fresh => {
      const inodes = await Promise.all(contents.map((_, at) => fileAt(fresh, `/f${at}`)));
      const { units, release } = await fresh.readSmallFiles(inodes);
      const read = units.map(unit => Buffer.from((unit as { bytes: Uint8Array }).bytes));
      release();
      expect(read).toEqual(contents);
    });
    expect(together).toBe(one);
  });

  it('reads small files with packs and units of their own in one go', async () => {
    const { volume } = await timed.client();
    const lengths = [100 * KIB, 10, 20, 70 * KIB, 30, 0];
    const contents = await packed(volume, lengths);
    const { volume: fresh } = await timed.client();
    const inodes = await Promise.all(contents.map((_, at) => fileAt(fresh, `/f${at}`)));
    const { units, release } = await fresh.readSmallFiles(inodes);
    expect(
      units.map(unit => (unit?.error === undefined ? Buffer.from(unit?.bytes ?? []) : unit.error)),
    ).toEqual(contents);
    release();
  });

  it('gives up on an abort, and another reader of the same pack does not', async () => {
    const { volume } = await timed.client();
    const [first, second] = await packed(volume, [1000, 500]);
    const held = Promise.withResolvers<void>();
    let isFirst = true;
    const { volume: fresh } = await timed.client({
      around: inner =>
        aroundStore(inner, async call => {
          if (call.operation === 'get' && call.key.startsWith('s/') && isFirst) {
            isFirst = false;
            await held.promise;
          }
          return await call.send();
        }),
    });
    const inodes = [await fileAt(fresh, '/f0'), await fileAt(fresh, '/f1')];
    const aborting = new AbortController();
    isFirst = true;
    const failing = fresh.readSmallFiles(inodes.slice(0, 1), aborting.signal);
    failing.catch(() => undefined);
    const reading = fresh.readSmallFiles(inodes);
    aborting.abort(new Error('enough'));
    held.resolve();
    await expect(failing).rejects.toThrow('enough');
    const { units, release } = await reading;
    expect(units.map(unit => Buffer.from((unit as { bytes: Uint8Array }).bytes))).toEqual([first, second]);
    release();
    for (const { usedBytes } of fresh.session.sealing.pipeline.memory) expect(usedBytes).toBe(0);
  });

  it('does not take a pack for as long as a pointer says, nor a slice longer than its file', async () => {
    const { volume } = await timed.client();
    await packed(volume, [1000, 500]);
    const inode = await fileAt(volume, '/f0');
    const pointer = await pointerOf(volume, '/f0');
    const read = async (changes: object, sizeBytes = 1000): Promise<string> => {
      const slice = { ...pointer.slice, ...changes } as NonNullable<Pointer['slice']>;
      const map = { depth: 0, slots: [{ slot: 0, pointer: { ...pointer, slice } }] };
      const { units, release } = await volume.readSmallFiles([{ ...inode, sizeBytes, map }]);
      release();
      return units[0]?.error?.code ?? 'ok';
    };
    expect(await read({})).toBe('ok');
    expect(await read({ packBytes: 1501 })).toBe('EFORMAT');
    expect(await read({ packBytes: 1499 })).toBe('EFORMAT');
    expect(await read({}, 999)).toBe('EFORMAT');
    expect(await read({ packId: 'ab'.repeat(16) })).toBe('EAUTH');
  });
});

describe('damage to a pack', () => {
  it('is named for every file that has a slice of it, and for no other', async () => {
    const { volume } = await timed.client();
    const folder = await makeFolder(volume, '/folder');
    const files = [0, 1, 2, 3].map(at => ({
      directory: at % 2 === 0 ? folder : volume.root,
      name: `f${at}`,
      bytes: bytesOf(at, 1000 + at),
    }));
    await packFiles(volume, files);
    await writeFile(volume, '/alone', bytesOf(9, 5000));
    await volume.sync();
    const { segment, offsetBytes, lengthBytes } = await pointerOf(volume, '/f1');
    const affectedAfter = async (change: (bytes: Uint8Array) => Uint8Array | undefined): Promise<unknown> => {
      const { bytes } = await timed.store.get(`s/${segment}`);
      const before = Uint8Array.from(bytes);
      const now = change(bytes);
      if (now === undefined) await timed.store.delete(`s/${segment}`);
      else await timed.store.put(`s/${segment}`, [now]);
      const { volume: fresh } = await timed.client();
      const { damages } = await verifyVolume(fresh, { deep: true });
      await timed.store.put(`s/${segment}`, [before]);
      return damages
        .filter(({ what }) => what === 'pack')
        .map(({ key, error, affected }) => [
          key,
          error.code,
          ...affected.flatMap(({ paths, bytes: spans }) => [...paths, JSON.stringify(spans)]),
        ]);
    };
    const all = [0, 2, 1, 3].flatMap(at => [
      at % 2 === 0 ? `/folder/f${at}` : `/f${at}`,
      JSON.stringify([{ from: 0, to: 1000 + at }]),
    ]);
    const ordered = [...all.slice(4), ...all.slice(0, 4)];
    expect(await affectedAfter(bytes => bytes)).toEqual([]);
    const flipped = await affectedAfter(bytes => {
      bytes[offsetBytes + lengthBytes - 30] = ~(bytes[offsetBytes + lengthBytes - 30] ?? 0);
      return bytes;
    });
    expect(flipped).toEqual([[`s/${segment}`, 'EAUTH', ...ordered]]);
    expect(await affectedAfter(bytes => bytes.subarray(0, offsetBytes + 100))).toEqual([
      [`s/${segment}`, 'ETRUNCATED', ...ordered],
    ]);
    expect(await affectedAfter(() => undefined)).toEqual([[`s/${segment}`, 'EMISSING', ...ordered]]);
  });

  it('is found though the session has the pack opened', async () => {
    const { volume } = await timed.client();
    await packed(volume, [1000, 500]);
    await readFile(volume, '/f0');
    const { segment, offsetBytes, lengthBytes } = await pointerOf(volume, '/f0');
    const { bytes } = await timed.store.get(`s/${segment}`);
    bytes[offsetBytes + lengthBytes - 30] = ~(bytes[offsetBytes + lengthBytes - 30] ?? 0);
    await timed.store.put(`s/${segment}`, [bytes]);
    expect((await verifyVolume(volume, { deep: true })).damages.map(({ what }) => what)).toContain('pack');
  });
});
