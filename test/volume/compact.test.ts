/** Compaction: what it moves, what it costs, and clients that are at work meanwhile. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { Name } from '../../src/base/name.ts';
import type { FileInode } from '../../src/server/sealed/inode.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEARCH_MS, SEED } from '../support/soak.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import {
  aroundStore,
  bytesOf,
  codeOf,
  FILE,
  makeFolder,
  readFile,
  treeOf,
  writeFile,
  writePacked,
} from './support.ts';

const UNIT_BYTES = 4096;

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create();
});

afterEach(async () => {
  await timed.test.close();
});

/** Files of one unit each in one folder, which share segments. */
async function fill(volume: Volume, path: string, count: number, seed: number): Promise<Name[]> {
  const folder = await makeFolder(volume, path);
  const { session } = volume;
  const batch = await session.units.reserve(count * UNIT_BYTES);
  const inodes = Array.from({ length: count }, () => volume.names.newFile(FILE));
  for (const [at, { id }] of inodes.entries()) {
    batch.bytes.set(bytesOf(seed + at, UNIT_BYTES), at * UNIT_BYTES);
    batch.add(id, 0, UNIT_BYTES, at * UNIT_BYTES, UNIT_BYTES);
  }
  const pointers = await batch.submit();
  const names = inodes.map((_, at) => `file-${String(at).padStart(4, '0')}`);
  await volume.names.insertMany(
    folder,
    inodes.map((inode, at) => {
      const pointer = pointers[at];
      if (pointer === undefined) throw new Error('no unit');
      const map = { depth: 0, slots: [{ slot: 0, pointer }] };
      const whole = { ...inode, sizeBytes: UNIT_BYTES, storedBytes: pointer.lengthBytes, map };
      return { name: names[at] ?? '', inode: whole, segments: [pointer.segment] };
    }),
  );
  return names;
}

async function fileAt(volume: Volume, path: string): Promise<FileInode> {
  const { inode } = await volume.find(path);
  if (inode.type !== 'file') throw new Error(`${path} is no file`);
  return inode;
}

/** Overwrites single units of a file. */
async function overwrite(
  volume: Volume,
  path: string,
  units: readonly number[],
  seed: number,
): Promise<void> {
  const writer = await volume.openWriter(path);
  for (const unit of units) await writer.write(bytesOf(seed + unit, UNIT_BYTES), unit * UNIT_BYTES);
  await writer.close();
}

describe('compaction', () => {
  it('leaves a small file alone in its segment where it is, whatever the footer takes', async () => {
    const { volume } = await timed.client();
    await writeFile(volume, '/small', bytesOf(1, 100));
    await volume.close();
    for (const { compaction } of await timed.collectAll()) expect(compaction?.segments).toBe(0);
  });

  it('empties segments that are mostly garbage, for less than it frees', async () => {
    const { volume } = await timed.client({ segmentBytes: 256 * 1024 });
    const names = await fill(volume, '/folder', 400, 1000);
    const folder = await volume.directory('/folder');
    const kept = names.filter((_, at) => at % 4 === 0);
    for (const name of names) if (!kept.includes(name)) await volume.names.unlink(folder, name);
    const before = await timed.bytesIn('s/');
    const versions = new Map(
      await Promise.all(
        kept.map(async name => [name, (await fileAt(volume, `/folder/${name}`)).dataVersion] as const),
      ),
    );
    const { dataVersion } = await folder.read(0);
    timed.wait(GRACE_MS);

    const { compaction } = await timed.collect();
    if (compaction === undefined) throw new Error('nothing was compacted');
    expect(compaction.segments).toBeGreaterThan(3);
    // What is copied is less than half of what is freed; with the new nodes it is less still than all of it.
    expect(compaction.movedBytes).toBeLessThanOrEqual(compaction.freedBytes / 2);
    expect(compaction.writtenBytes).toBeLessThan(compaction.freedBytes / 2);
    expect((await folder.read(0)).dataVersion).toBe(dataVersion);
    for (const [at, name] of names.entries()) {
      if (!kept.includes(name)) continue;
      expect((await fileAt(volume, `/folder/${name}`)).dataVersion).toBe(versions.get(name));
      expect(await readFile(volume, `/folder/${name}`)).toEqual(bytesOf(1000 + at, UNIT_BYTES));
    }
    timed.wait(HOUR_MS);
    const reports = await timed.collectAll();
    for (const { compaction: again } of reports) expect(again?.segments).toBe(0);
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
    expect(await timed.bytesIn('s/')).toBeLessThan(0.35 * before);
  });

  it('moves units and pages of a large file, and leaves those that stay', async () => {
    const { volume } = await timed.client({ segmentBytes: 256 * 1024 });
    const unitCount = 1500;
    const content = bytesOf(5, unitCount * UNIT_BYTES);
    await writeFile(volume, '/large', content);
    const changed = Array.from({ length: unitCount }, (_, at) => at).filter(at => at % 10 < 7);
    await overwrite(volume, '/large', changed, 9000);
    for (const unit of changed) content.set(bytesOf(9000 + unit, UNIT_BYTES), unit * UNIT_BYTES);
    timed.wait(GRACE_MS);
    const { dataVersion, version } = await fileAt(volume, '/large');

    const { compaction } = await timed.collect();
    expect(compaction?.segments).toBeGreaterThan(10);
    const now = await fileAt(volume, '/large');
    expect(now.dataVersion).toBe(dataVersion);
    expect(now.version).toBeGreaterThan(version);
    await timed.collectAll();
    expect(await readFile(volume, '/large')).toEqual(content);
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
    expect(await timed.bytesIn('s/')).toBeLessThan(1.3 * content.byteLength);
  });

  it('copies no more than it may, and goes on in the next run', async () => {
    const { volume } = await timed.client({ segmentBytes: 64 * 1024 });
    const names = await fill(volume, '/folder', 200, 1);
    const folder = await volume.directory('/folder');
    for (const [at, name] of names.entries()) if (at % 4 !== 0) await volume.names.unlink(folder, name);
    timed.wait(GRACE_MS);
    const copyBytesMax = 50_000;
    const { compaction } = await timed.collect({ copyBytesMax });
    expect(compaction?.movedBytes).toBeGreaterThan(0);
    expect(compaction?.movedBytes).toBeLessThanOrEqual(copyBytesMax);
    expect(compaction?.left).toBeGreaterThan(0);
    timed.wait(GRACE_MS);
    const next = await timed.collect();
    expect(next.compaction?.segments).toBeGreaterThanOrEqual(compaction?.left ?? 0);
    expect(next.compaction?.left).toBe(0);
  });

  it('leaves young segments alone, and all of them when told to', async () => {
    const { volume } = await timed.client({ segmentBytes: 64 * 1024 });
    const names = await fill(volume, '/folder', 100, 1);
    const folder = await volume.directory('/folder');
    for (const name of names.slice(1)) await volume.names.unlink(folder, name);
    timed.wait(GRACE_MS - HOUR_MS);
    expect((await timed.collect()).compaction?.segments).toBe(0);
    timed.wait(HOUR_MS);
    expect((await timed.collect({ compact: false })).compaction).toBeUndefined();
    expect((await timed.collect()).compaction?.segments).toBe(1);
  });

  it('loses nothing of a writer that began before it and commits after the old segments would be gone', async () => {
    const { volume } = await timed.client();
    const unitCount = 600;
    const content = bytesOf(5, unitCount * UNIT_BYTES);
    await writeFile(volume, '/large', content);
    const changed = Array.from({ length: unitCount }, (_, at) => at).filter(at => at % 10 < 8);
    await overwrite(volume, '/large', changed, 9000);
    for (const unit of changed) content.set(bytesOf(9000 + unit, UNIT_BYTES), unit * UNIT_BYTES);
    timed.wait(GRACE_MS);
    for (const waitMs of [0, GRACE_MS / 2, GRACE_MS]) {
      const writer = await volume.openWriter('/large');
      await writer.write(bytesOf(3 + waitMs, UNIT_BYTES), 2 * UNIT_BYTES);
      const { compaction } = await timed.collect();
      if (waitMs === 0) expect(compaction?.segments).toBeGreaterThan(0);
      timed.wait(waitMs);
      await timed.collect();
      await writer.close();
      content.set(bytesOf(3 + waitMs, UNIT_BYTES), 2 * UNIT_BYTES);
      await timed.collectAll();
      expect(await readFile(volume, '/large'), `${waitMs}`).toEqual(content);
      expect((await deepCheck(volume)).damages, `${waitMs}`).toEqual([]);
    }
  });

  it('and gc may take what a writer still points into: then its commit fails, and the file is as it was', async () => {
    const { volume } = await timed.client();
    const unitCount = 600;
    const content = bytesOf(5, unitCount * UNIT_BYTES);
    await writeFile(volume, '/large', content);
    const changed = Array.from({ length: unitCount }, (_, at) => at).filter(at => at % 10 < 8);
    await overwrite(volume, '/large', changed, 9000);
    for (const unit of changed) content.set(bytesOf(9000 + unit, UNIT_BYTES), unit * UNIT_BYTES);
    timed.wait(GRACE_MS);
    const writer = await volume.openWriter('/large');
    await writer.write(bytesOf(3, UNIT_BYTES), 2 * UNIT_BYTES);
    // Silent for so long that its head does not count.
    await timed.collectAll();
    expect(await codeOf(writer.close())).toBe('EIO');
    expect(await readFile(volume, '/large')).toEqual(content);
    expect((await deepCheck(volume)).damages).toEqual([]);
  });

  it('replaces only what is still what it has copied', async () => {
    const { volume } = await timed.client();
    const names = await fill(volume, '/folder', 20, 50);
    const folder = await volume.directory('/folder');
    for (const name of names.slice(3)) await volume.names.unlink(folder, name);
    timed.wait(GRACE_MS);
    let isFirst = true;
    const interrupted = aroundStore(timed.store, async call => {
      if (isFirst && call.operation === 'put' && call.key.startsWith('s/')) {
        isFirst = false;
        await overwrite(volume, `/folder/${names[0]}`, [0], 700);
        await volume.names.unlink(folder, names[1] ?? '');
      }
      return await call.send();
    });
    const { volume: collecting } = await timed.client({ around: () => interrupted });
    const { compaction } = await collectGarbage(collecting);
    expect([compaction?.segments, isFirst]).toEqual([1, false]);
    expect(await readFile(volume, `/folder/${names[0]}`)).toEqual(bytesOf(700, UNIT_BYTES));
    expect(await readFile(volume, `/folder/${names[2]}`)).toEqual(bytesOf(52, UNIT_BYTES));
    expect(await codeOf(volume.find(`/folder/${names[1]}`))).toBe('ENOENT');
    // What it copied in vain makes its own segment one to compact.
    await timed.collectAll();
    await timed.collectAll();
    expect(await deepCheck(volume)).toEqual({ damages: [], unreferenced: 0 });
  });

  it('is noticed by a reader only after the old segment is gone, and then it reads on', async () => {
    const { volume } = await timed.client();
    const names = await fill(volume, '/folder', 20, 50);
    const folder = await volume.directory('/folder');
    const reader = await volume.openFile(`/folder/${names[0]}`);
    for (const name of names.slice(1)) await volume.names.unlink(folder, name);
    timed.wait(GRACE_MS);
    await timed.collectAll();
    const { pointer } = reader.inode.map.slots[0] ?? {};
    expect(await timed.keys('s/')).not.toContain(`s/${pointer?.segment}`);
    const bytes = Buffer.alloc(UNIT_BYTES);
    await reader.read(bytes, 0);
    expect(bytes).toEqual(bytesOf(50, UNIT_BYTES));
  });

  it('does not move what is not what its pointer says', async () => {
    const { volume } = await timed.client();
    const names = await fill(volume, '/folder', 20, 50);
    const folder = await volume.directory('/folder');
    for (const name of names.slice(2)) await volume.names.unlink(folder, name);
    const { pointer } = (await fileAt(volume, `/folder/${names[0]}`)).map.slots[0] ?? {};
    if (pointer === undefined) throw new Error('no unit');
    const key = `s/${pointer.segment}`;
    const { bytes } = await timed.store.get(key);
    bytes[pointer.offsetBytes + pointer.lengthBytes - 1] = ~(
      bytes[pointer.offsetBytes + pointer.lengthBytes - 1] ?? 0
    );
    await timed.store.put(key, [bytes]);
    timed.wait(GRACE_MS);
    await timed.collectAll();
    expect(await timed.keys('s/')).toContain(key);
    expect(await readFile(volume, `/folder/${names[1]}`)).toEqual(bytesOf(51, UNIT_BYTES));
    expect((await deepCheck(volume)).damages).toHaveLength(1);
  });
});

describe('a volume under random work, gc and time', () => {
  it('holds what a plain model holds, and two graces of quiet later nothing else', async () => {
    const endMs = performance.now() + 10 * SEARCH_MS;
    for (let round = 0; round < 2 || performance.now() < endMs; round += 1) {
      await randomRound(SEED + round);
    }
  });

  async function randomRound(seed: number): Promise<void> {
    const hint = `seed ${seed}`;
    const chance = seededChance(seed);
    const below = (limit: number): number => Math.floor(chance() * limit);
    const world = await TimedVolume.create({ keys: below(2) === 0 ? 'flat' : 'hex2' });
    const clients = [await world.client({ segmentBytes: 64 * 1024 }), await world.client()];
    const model = new Map<string, Buffer>();
    const folders = ['', '/f', '/g', '/f/h'];
    const [first] = clients;
    if (first === undefined) throw new Error('no client');
    for (const folder of folders.slice(1)) await makeFolder(first.volume, folder);
    const pathAt = (): string => `${folders[below(folders.length)]}/${'ABCDEFGH'[below(8)]}`;

    const act = async (volume: Volume): Promise<void> => {
      const path = pathAt();
      const known = model.get(path);
      const kind = below(10);
      if (kind < 4) {
        const bytes = bytesOf(below(1e6), below(2) === 0 ? below(8_000) : below(40) * UNIT_BYTES);
        if (bytes.byteLength > 0 && bytes.byteLength <= UNIT_BYTES) await writePacked(volume, path, bytes);
        else await writeFile(volume, path, bytes, { replace: true });
        model.set(path, bytes);
      } else if (known === undefined) {
        return;
      } else if (kind < 6) {
        const { directory, name } = await volume.place(path);
        await volume.names.unlink(directory, name);
        model.delete(path);
      } else if (kind < 8) {
        const to = pathAt();
        await volume.names.rename(await volume.place(path), await volume.place(to));
        model.delete(path);
        model.set(to, known);
      } else {
        const at = below(known.byteLength + 1);
        const bytes = bytesOf(below(1e6), 1 + below(9000));
        const writer = await volume.openWriter(path);
        await writer.write(bytes, at);
        await writer.close();
        const longer = Buffer.alloc(Math.max(known.byteLength, at + bytes.byteLength));
        longer.set(known);
        longer.set(bytes, at);
        model.set(path, longer);
      }
    };

    for (let step = 0; step < 60; step += 1) {
      const { volume } = clients[below(2)] ?? first;
      if (chance() < 0.8) await act(volume);
      else {
        world.wait(below(1.2 * GRACE_MS));
        const collecting = chance() < 0.5 ? volume : (await world.client()).volume;
        // Somebody goes on working meanwhile.
        const [report] = await Promise.all([collectGarbage(collecting), act(volume)]);
        expect([report.lost, report.missingSegments], hint).toEqual([[], []]);
      }
    }
    for (let run = 0; run < 4; run += 1) {
      world.wait(GRACE_MS + 1);
      await world.collect();
    }
    const { volume } = await world.client();
    const tree = await treeOf(volume);
    const files = [...tree].filter(([path]) => !path.endsWith('/'));
    expect(new Map(files), hint).toEqual(
      new Map([...model].map(([path, bytes]) => [path, bytes.toString('latin1')])),
    );
    expect(await deepCheck(volume), hint).toEqual({ damages: [], unreferenced: 0 });
    expect(await world.keys('gc/'), hint).toEqual([]);
    await world.test.close();
  }
});
