/** Segments under way: order, failures, memory. And units on their way into them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../../src/base/chance.ts';
import { NetsealError } from '../../../src/base/errors.ts';
import { randomId } from '../../../src/base/ids.ts';
import type { Pipeline } from '../../../src/pipeline/pipeline.ts';
import { MemoryStore } from '../../../src/server/memory-store.ts';
import { segmentKey } from '../../../src/server/sealed/object-keys.ts';
import type { Pointer } from '../../../src/server/sealed/pointer.ts';
import {
  type RecordToPlace,
  type SegmentSettings,
  SegmentWriter,
} from '../../../src/server/sealed/segment-writer.ts';
import { readUnits } from '../../../src/server/sealed/unit-reader.ts';
import { UnitWriter } from '../../../src/server/sealed/unit-writer.ts';
import type { ObjectStore } from '../../../src/server/store.ts';
import { SEED } from '../../support/soak.ts';
import { aroundStore, bytesOf, codeOf, quiet } from '../../volume/support.ts';
import { openSealing, type TestSealing } from './support.ts';

const KIB = 1024;
let open: TestSealing;
const rejections: unknown[] = [];
const onRejection = (reason: unknown): void => void rejections.push(reason);
process.on('unhandledRejection', onRejection);

afterEach(async () => {
  await open.close();
  await quiet();
  expect(rejections.splice(0)).toEqual([]);
});

/** Counts segments on their way, and fails or holds uploads as asked. */
class Uploads {
  readonly inner: ObjectStore = new MemoryStore();
  running = 0;
  runningMax = 0;
  count = 0;
  failing: (upload: number) => boolean = () => false;
  delayMs = 0;

  readonly store: ObjectStore = aroundStore(this.inner, async call => {
    if (call.operation !== 'put') return await call.send();
    const upload = this.count;
    this.count += 1;
    this.running += 1;
    this.runningMax = Math.max(this.runningMax, this.running);
    try {
      if (this.delayMs > 0) await sleep(this.delayMs);
      else await quiet(2);
      if (this.failing(upload)) throw new NetsealError('EFULL', `upload ${upload} fails on purpose`);
      return await call.send();
    } finally {
      this.running -= 1;
    }
  });
}

async function newWriter(
  settings: SegmentSettings = {},
): Promise<{ uploads: Uploads; writer: SegmentWriter }> {
  const uploads = new Uploads();
  open = await openSealing(uploads.store);
  return { uploads, writer: new SegmentWriter(open.sealing, settings) };
}

function recordOf(seed: number, lengthBytes: number): RecordToPlace {
  const bytes = bytesOf(seed, Math.max(72, lengthBytes));
  return { kind: 'unit', objectId: randomId(), index: seed, unitSizeLog2: 18, bytes, tag: bytes.slice(-16) };
}

async function readBack(store: ObjectStore, { segment, offsetBytes, lengthBytes }: Pointer): Promise<Buffer> {
  const { bytes } = await store.get(segmentKey(segment), { range: { offsetBytes, lengthBytes } });
  return Buffer.from(bytes);
}

describe('a segment writer', () => {
  it('places what many callers give it, in their order, each where its pointer says', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 300 * KIB });
    const chance = seededChance(SEED);
    const placed: { record: RecordToPlace; pointer: Pointer }[] = [];
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 60 }, async (_, caller) => {
        const records = Array.from({ length: 1 + Math.floor(chance() * 6) }, (_, at) =>
          recordOf(caller * 100 + at, Math.floor(chance() ** 3 * 200 * KIB)),
        );
        if (caller % 3 === 0) records.push(recordOf(caller, 400 * KIB));
        const pointers = await writer.place(records);
        order.push(caller);
        for (const [at, pointer] of pointers.entries())
          placed.push({ record: records[at] ?? recordOf(0, 72), pointer });
        if (caller % 5 === 0) writer.closeIfOpen(pointers.at(-1)?.segment ?? '');
        if (caller % 7 === 0) await writer.flush();
        if (caller % 4 === 0) {
          const segment = pointers[0]?.segment ?? '';
          writer.closeIfOpen(segment);
          await writer.durable(segment);
          expect(await codeOf(uploads.inner.stat(segmentKey(segment)))).toBe('ok');
        }
      }),
    );
    await writer.flush();
    for (const { record, pointer } of placed) {
      expect((await readBack(uploads.inner, pointer)).equals(Buffer.from(record.bytes))).toBe(true);
    }
    expect(new Set(placed.map(({ pointer }) => pointer.segment)).size).toBe(uploads.count);
    expect(uploads.runningMax).toBeLessThanOrEqual(3);
  });

  it('has no more segments on their way than it may, and lets nobody place more', async () => {
    for (const uploadsMax of [1, 2, 4]) {
      const { uploads, writer } = await newWriter({ segmentBytes: 64 * KIB, uploadsMax });
      uploads.delayMs = 1;
      await Promise.all(
        Array.from({ length: 100 }, async (_, at) => {
          const [pointer] = await writer.place([recordOf(at, 20 * KIB)]);
          if (at % 3 === 0) writer.closeIfOpen(pointer?.segment ?? '');
        }),
      );
      await writer.flush();
      expect(uploads.runningMax).toBeLessThanOrEqual(uploadsMax + 1);
      if (uploadsMax < 4) await open.close();
    }
  });

  it('tells exactly those of a failed upload who wait for its segment', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 64 * KIB });
    uploads.failing = upload => upload % 3 === 1;
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, async (_, at) => {
        const record = recordOf(at, 30 * KIB);
        // Placing itself never fails with what became of another segment.
        const [pointer] = await writer.place([record]);
        if (pointer === undefined) throw new Error('not placed');
        writer.closeIfOpen(pointer.segment);
        const code = await codeOf(writer.durable(pointer.segment));
        return { pointer, record, code };
      }),
    );
    for (const { pointer, record, code } of outcomes) {
      const isThere = (await codeOf(uploads.inner.stat(segmentKey(pointer.segment)))) === 'ok';
      expect(code).toBe(isThere ? 'ok' : 'EFULL');
      if (isThere)
        expect((await readBack(uploads.inner, pointer)).equals(Buffer.from(record.bytes))).toBe(true);
      // It stays so, whoever asks later.
      expect(await codeOf(writer.durable(pointer.segment))).toBe(code);
    }
    expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set(['ok', 'EFULL']));
  });

  it('copies records out of memory until their segment is stored or lost', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 3 * 1024 * KIB });
    // Across the chunks that a segment grows by.
    const records = [recordOf(1, 700 * KIB), recordOf(2, 700 * KIB), recordOf(3, 1300 * KIB)];
    const pointers = await writer.place(records);
    const copyOf = (at: number): Buffer | undefined => {
      const into = Buffer.alloc(records[at]?.bytes.byteLength ?? 0);
      return writer.copyHeld(pointers[at] ?? expect.fail('not placed'), into) ? into : undefined;
    };
    const expectHeld = (): void => {
      for (const [at, { bytes }] of records.entries()) expect(copyOf(at)?.equals(bytes)).toBe(true);
    };
    const [{ segment } = expect.fail('not placed')] = pointers;
    expectHeld();
    expect(writer.isUnstored(segment)).toBe(true);
    uploads.delayMs = 1;
    writer.push();
    expect(writer.isOpen(segment)).toBe(false);
    expectHeld();
    await writer.durable(segment);
    expect(copyOf(0)).toBeUndefined();
    expect(writer.isUnstored(segment)).toBe(false);
    uploads.failing = () => true;
    const [lost = expect.fail('not placed')] = await writer.place([recordOf(4, 100)]);
    writer.push();
    expect(await codeOf(writer.durable(lost.segment))).toBe('EFULL');
    expect(writer.copyHeld(lost, new Uint8Array(100))).toBe(false);
    expect(writer.isUnstored(lost.segment)).toBe(true);
  });

  it('sends with a push also what still waits for its place', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 64 * KIB, uploadsMax: 1 });
    uploads.delayMs = 1;
    const placed = Array.from({ length: 5 }, (_, at) => writer.place([recordOf(at, 40 * KIB)]));
    writer.push();
    const pointers = (await Promise.all(placed)).flat();
    for (const { segment } of pointers) await writer.durable(segment);
    expect(uploads.count).toBe(5);
  });

  it('keeps its order and its bounds when a caller gives up while it waits', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 64 * KIB, uploadsMax: 1 });
    uploads.delayMs = 1;
    const stops = Array.from({ length: 20 }, () => new AbortController());
    const outcomes = stops.map((stop, at) =>
      writer.place([recordOf(at, 60 * KIB)], stop.signal).then(
        pointers => pointers[0],
        error => error,
      ),
    );
    const reason = new Error('enough');
    for (const at of [3, 4, 11, 19]) stops[at]?.abort(reason);
    const ends = await Promise.all(outcomes);
    await writer.flush();
    for (const [at, end] of ends.entries()) {
      if ([3, 4, 11, 19].includes(at)) expect(end).toBe(reason);
      else
        expect((await readBack(uploads.inner, end)).equals(Buffer.from(recordOf(at, 60 * KIB).bytes))).toBe(
          true,
        );
    }
    expect(uploads.count).toBe(16);
    expect(uploads.runningMax).toBeLessThanOrEqual(2);
  });

  it('fails a flush with an upload that failed, and nobody when nobody asked', async () => {
    const { uploads, writer } = await newWriter({ segmentBytes: 64 * KIB });
    uploads.failing = upload => upload === 0;
    await writer.place([recordOf(1, 10 * KIB)]);
    expect(await codeOf(writer.flush())).toBe('EFULL');
    await writer.place([recordOf(1, 10 * KIB)]);
    expect(await codeOf(writer.flush())).toBe('ok');
    uploads.failing = () => true;
    const [pointer] = await writer.place([recordOf(1, 10 * KIB)]);
    writer.closeIfOpen(pointer?.segment ?? '');
    await quiet(30);
  });

  it('waits for a segment that is still open until somebody closes it', async () => {
    const { writer } = await newWriter();
    const [pointer] = await writer.place([recordOf(1, 100)]);
    let isDurable = false;
    const durable = writer.durable(pointer?.segment ?? '').then(() => {
      isDurable = true;
    });
    await quiet(20);
    expect(isDurable).toBe(false);
    await writer.flush();
    await durable;
  });

  it('remembers a bounded number of segments, but every one that failed', async () => {
    let puts = 0;
    const store = aroundStore(new MemoryStore(), async call => {
      if (call.operation !== 'put') return await call.send();
      puts += 1;
      if (puts % 100 === 7) throw new NetsealError('EFULL', 'fails on purpose');
      return await call.send();
    });
    open = await openSealing(store);
    let nowMs = 0;
    const writer = new SegmentWriter(open.sealing, {
      segmentBytes: 72,
      uploadTimesMax: 100,
      nowMs: () => nowMs,
    });
    const segments: string[] = [];
    const failed: string[] = [];
    for (let at = 0; at < 500; at += 1) {
      nowMs += 1;
      const [pointer] = await writer.place([recordOf(at, 72)]);
      const segment = pointer?.segment ?? '';
      writer.closeIfOpen(segment);
      segments.push(segment);
      if ((await codeOf(writer.durable(segment))) !== 'ok') failed.push(segment);
    }
    expect(failed).toHaveLength(5);
    expect(writer.rememberedCount).toBeLessThanOrEqual(100 + failed.length);
    // The latest are known by their age, the first only by the store.
    expect(writer.ageMs(segments.at(-1) ?? '')).toBe(0);
    expect(writer.ageMs(segments.at(-100) ?? '')).toBe(99);
    expect(writer.ageMs(segments.at(-101) ?? '')).toBeUndefined();
    expect(await codeOf(writer.durable(segments[0] ?? ''))).toBe('ok');
    for (const segment of failed) expect(await codeOf(writer.durable(segment))).toBe('EFULL');
  });
});

describe('a unit writer', () => {
  const UNIT = 64 * KIB;

  async function seal(
    units: UnitWriter,
    id: string,
    index: number,
    bytes: Uint8Array,
  ): Promise<Pointer | undefined> {
    const batch = await units.reserve(bytes.byteLength);
    batch.bytes.set(bytes);
    batch.add(id, index, UNIT, 0, bytes.byteLength);
    const [pointer] = await batch.submit();
    return pointer;
  }

  async function readOne(
    pipeline: TestSealing,
    id: string,
    index: number,
    pointer: Pointer,
  ): Promise<Buffer> {
    const request = { objectId: id, index, unitSizeBytes: UNIT, pointer, plainBytesMax: UNIT };
    const { units, release } = await readUnits(pipeline.sealing, [request]);
    try {
      const [unit] = units;
      if (unit?.error !== undefined) throw unit.error;
      return Buffer.from(unit?.bytes ?? []);
    } finally {
      release();
    }
  }

  function expectIdle(pipeline: Pipeline): void {
    for (const { usedBytes, waiterCount } of pipeline.memory)
      expect([usedBytes, waiterCount]).toEqual([0, 0]);
  }

  it('passes many batches, with as little memory as is allowed, while others read', async () => {
    const uploads = new Uploads();
    open = await openSealing(uploads.store, { workers: 2, memoryBytes: 4 * (256 * KIB + 72) });
    const writer = new SegmentWriter(open.sealing, { segmentBytes: 200 * KIB, uploadsMax: 1 });
    const units = new UnitWriter(open.sealing, writer);
    const id = randomId();
    const chance = seededChance(SEED);
    const sizes = Array.from({ length: 150 }, () => 1 + Math.floor(chance() * UNIT));
    await Promise.all(
      sizes.map(async (lengthBytes, index) => {
        const bytes = index % 10 === 0 ? Buffer.alloc(lengthBytes) : bytesOf(index, lengthBytes);
        // Zeros at its end would not be stored.
        if (index % 10 !== 0) bytes[lengthBytes - 1] = 1;
        const pointer = await seal(units, id, index, bytes);
        if (index % 10 === 0) {
          expect(pointer).toBeUndefined();
          return;
        }
        if (pointer === undefined) throw new Error('a hole');
        writer.closeIfOpen(pointer.segment);
        await writer.durable(pointer.segment);
        expect((await readOne(open, id, index, pointer)).equals(bytes)).toBe(true);
      }),
    );
    expectIdle(open.pipeline);
  });

  it('places batches in the order in which they were handed in, though some are sealed sooner', async () => {
    const uploads = new Uploads();
    open = await openSealing(uploads.store, { workers: 2, memoryBytes: 16 * KIB * KIB });
    const writer = new SegmentWriter(open.sealing);
    const units = new UnitWriter(open.sealing, writer);
    const id = randomId();
    const pointers = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        seal(units, id, index, bytesOf(index, index % 2 === 0 ? UNIT : 10)),
      ),
    );
    const offsets = pointers.map(pointer => pointer?.offsetBytes ?? -1);
    expect(offsets).toEqual([...offsets].sort((left, right) => left - right));
    let isPlaced = false;
    const late = seal(units, id, 99, bytesOf(9, UNIT)).then(() => {
      isPlaced = true;
    });
    await quiet(1);
    await units.placed();
    await quiet(1);
    expect(isPlaced).toBe(true);
    await late;
    await writer.flush();
  });

  it('goes on after a batch that failed', async () => {
    const uploads = new Uploads();
    open = await openSealing(uploads.store);
    const writer = new SegmentWriter(open.sealing);
    const units = new UnitWriter(open.sealing, writer);
    const id = randomId();
    const wrong = await units.reserve(100);
    // Reaches beyond its memory.
    wrong.add(id, 0, UNIT, 50, 100);
    const failing = codeOf(wrong.submit());
    const good = seal(units, id, 1, bytesOf(1, 100));
    expect(await failing).toBe('EINVAL');
    const pointer = await good;
    const dropped = await units.reserve(100);
    dropped.drop();
    await units.placed();
    await writer.flush();
    expect(await codeOf(uploads.inner.stat(segmentKey(pointer?.segment ?? '')))).toBe('ok');
    expectIdle(open.pipeline);
  });
});
