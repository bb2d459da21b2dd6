/** gc and compaction of packs, which count as live by their slices. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import type { Pointer } from '../../src/server/sealed/pointer.ts';
import { storedBytesOf } from '../../src/server/sealed/pointer.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, GRACE_MS, TimedVolume } from './gc-support.ts';
import { snapshot } from './heads-support.ts';
import { fileAt, packed, pointerOf } from './packs-support.ts';
import { aroundStore, codeOf, DyingStore, readFile, TestVolume } from './support.ts';

const UNIT = 256 * KIB;

let timed: TimedVolume;

beforeEach(async () => {
  timed = await TimedVolume.create({ unitSizeBytes: UNIT });
});

afterEach(async () => {
  await timed.test.close();
});

describe('gc and compaction', () => {
  const COUNT = 100;

  /** 100 files of some 3,000 bytes each, in packs of 32; some are kept. */
  async function fill(
    kept: (at: number) => boolean,
  ): Promise<{ volume: Volume; contents: Map<string, Buffer> }> {
    const { volume } = await timed.client();
    const contents = await packed(
      volume,
      Array.from({ length: COUNT }, (_, at) => 4000 + at),
    );
    for (const at of contents.keys()) if (!kept(at)) await volume.names.unlink(volume.root, `f${at}`);
    timed.wait(GRACE_MS);
    return {
      volume,
      contents: new Map(
        [...contents.entries()].filter(([at]) => kept(at)).map(([at, bytes]) => [`/f${at}`, bytes]),
      ),
    };
  }

  async function expectAll(volume: Volume, contents: ReadonlyMap<string, Buffer>): Promise<void> {
    for (const [path, bytes] of contents) expect(await readFile(volume, path)).toEqual(bytes);
    const { volume: fresh } = await timed.client();
    for (const [path, bytes] of contents) expect(await readFile(fresh, path)).toEqual(bytes);
    expect((await deepCheck(fresh)).damages).toEqual([]);
  }

  it('counts a pack once, with the share that its slices make up', async () => {
    const { volume, contents } = await fill(at => at % 2 === 0);
    const cut = await (await import('../../src/volume/care/gc-cut.ts')).takeCut(volume);
    const packs = [...cut.packs.values()];
    expect(packs.length).toBe(4);
    const sum = [...contents.values()].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
    expect(packs.reduce((bytes, { sliceBytes }) => bytes + sliceBytes, 0)).toBe(sum);
    const segment = packs[0]?.segment ?? '';
    const live = packs.reduce(
      (bytes, pack) => bytes + Math.ceil((pack.lengthBytes * pack.sliceBytes) / pack.packBytes),
      0,
    );
    expect(cut.liveBytes.get(segment)).toBeGreaterThanOrEqual(live);
    expect(cut.liveBytes.get(segment)).toBeLessThan(live + 20_000);
  });

  it('moves a pack of which half is live whole and unopened, and packs the rest anew', async () => {
    // Of the four packs, the first is live by two thirds, the second by a quarter, the others not at all.
    const { volume, contents } = await fill(at => (at < 32 ? at % 3 !== 0 : at < 64 && at % 4 === 0));
    const before = new Map<string, Pointer>();
    for (const path of contents.keys()) before.set(path, await pointerOf(volume, path));
    const stored = await timed.bytesIn('s/');
    const { compaction } = await timed.collect();
    expect(compaction?.segments).toBe(1);
    expect(compaction?.movedBytes).toBeLessThanOrEqual((compaction?.freedBytes ?? 0) / 2);
    const anew = new Set<string | undefined>();
    let wholeCount = 0;
    for (const path of contents.keys()) {
      const [was, now] = [before.get(path), await pointerOf(volume, path)];
      expect(now.segment).not.toBe(was?.segment);
      const isWhole = now.slice?.packId === was?.slice?.packId;
      if (isWhole) wholeCount += 1;
      else anew.add(now.slice?.packId);
      if (isWhole) expect(now).toEqual({ ...was, segment: now.segment, offsetBytes: now.offsetBytes });
    }
    expect(wholeCount).toBe([...Array(32).keys()].filter(at => at % 3 !== 0).length);
    expect(anew.size).toBe(1);
    await expectAll(volume, contents);
    for (const path of contents.keys()) {
      const { storedBytes, map } = await fileAt(volume, path);
      expect(storedBytes).toBe(storedBytesOf(map.slots[0]?.pointer as Pointer));
    }
    await timed.collectAll();
    await expectAll(volume, contents);
    expect(await timed.bytesIn('s/')).toBeLessThan(0.5 * stored);
    expect((await deepCheck(volume)).unreferenced).toBe(0);
  });

  it('replaces a pointer only if slice and place are still what was moved', async () => {
    const { volume, contents } = await fill(at => at % 4 === 0);
    let isFirst = true;
    const interrupted = aroundStore(timed.store, async call => {
      if (isFirst && call.operation === 'put' && call.key.startsWith('s/')) {
        isFirst = false;
        const writer = await volume.openWriter('/f0');
        await writer.truncate(100);
        await writer.close();
        await volume.names.unlink(volume.root, 'f4');
      }
      return await call.send();
    });
    const { volume: collecting } = await timed.client({ around: () => interrupted });
    const { compaction } = await collectGarbage(collecting);
    expect([compaction?.segments, isFirst]).toEqual([1, false]);
    const cut = contents.get('/f0')?.subarray(0, 100) ?? Buffer.alloc(0);
    contents.set('/f0', cut);
    contents.delete('/f4');
    await expectAll(volume, contents);
    await timed.collectAll();
    await timed.collectAll();
    await expectAll(volume, contents);
    expect((await deepCheck(volume)).unreferenced).toBe(0);
  });

  it('goes on beside readers and writers, who lose nothing', async () => {
    const { volume, contents } = await fill(at => at % 4 === 0);
    const readers = await Promise.all(['/f0', '/f8'].map(path => volume.openFile(path)));
    const writer = await volume.openWriter('/f4');
    await writer.truncate(50);
    await timed.collect();
    timed.wait(GRACE_MS / 4);
    await writer.close();
    contents.set('/f4', contents.get('/f4')?.subarray(0, 50) ?? Buffer.alloc(0));
    await timed.collectAll();
    for (const [at, reader] of readers.entries()) {
      const bytes = Buffer.alloc(reader.sizeBytes);
      await reader.read(bytes, 0);
      expect(bytes).toEqual(contents.get(at === 0 ? '/f0' : '/f8'));
    }
    await expectAll(volume, contents);
  });

  it('that dies between any two requests leaves every file as it was, and the next pass goes on', async () => {
    const { volume, contents } = await fill(at => (at < 32 ? at % 3 !== 0 : at % 8 === 0));
    const before = await snapshot(timed.store);
    let sent = 1;
    for (let left = 0; left < sent; left += 1) {
      const store = new MemoryStore({}, timed.clock);
      for (const [key, bytes] of before) await store.put(key, [bytes]);
      timed.wait(GRACE_MS);
      const world = new TestVolume(store, timed.test.header);
      const dying = new DyingStore(store);
      const options = { nowMs: () => timed.clock.ms };
      const client = await world.client({ ...options, around: () => dying.store });
      dying.dieAfter(left === 0 ? Number.POSITIVE_INFINITY : left);
      const outcome = await codeOf(collectGarbage(client.volume));
      if (left === 0) sent = dying.sentCount;
      // A pass that dies at its very end has done its work.
      expect(outcome).toMatch(left === 0 ? 'ok' : /^(ok|EDENIED)$/);
      const { volume: fresh } = await world.client(options);
      for (const [path, bytes] of contents) expect(await readFile(fresh, path)).toEqual(bytes);
      await collectGarbage(fresh);
      expect((await deepCheck(fresh)).damages).toEqual([]);
      await world.close();
    }
    expect(sent).toBeGreaterThan(8);
    await expectAll(volume, contents);
  });

  it('leaves a pack that cannot be opened where it is, and moves the others', async () => {
    const { volume, contents } = await fill(at => at % 8 === 0);
    const { segment, offsetBytes, lengthBytes, slice } = await pointerOf(volume, '/f0');
    const { bytes } = await timed.store.get(`s/${segment}`);
    bytes[offsetBytes + lengthBytes - 30] = ~(bytes[offsetBytes + lengthBytes - 30] ?? 0);
    await timed.store.put(`s/${segment}`, [bytes]);
    timed.wait(GRACE_MS);
    const { volume: fresh } = await timed.client();
    await collectGarbage(fresh);
    for (const path of contents.keys()) {
      const now = await pointerOf(fresh, path);
      const isLost = now.slice?.packId === slice?.packId;
      expect(now.segment === segment).toBe(isLost);
      expect(await codeOf(readFile(fresh, path))).toBe(isLost ? 'EAUTH' : 'ok');
    }
  });
});
