/** Compares hits in the page cache with bare copies of the same memory. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Worker } from 'node:worker_threads';
import { copyRange, viewOf } from '../../src/base/bytes.ts';
import { seededChance } from '../../src/base/chance.ts';
import type { SharedFilePages } from '../../src/netfs/pages/file-pages.ts';
import { SharedPages } from '../../src/netfs/pages/shared-pages.ts';
import { contest, median, megabytesPerSecond } from '../contest.ts';
import type { ReaderCounts, ReaderData } from '../page-reader-thread.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';
import { VolumeSide } from '../volume-side.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK_BYTES: number = 64 * KIB;
const GRANULE_BYTES: number = 4 * KIB;
const KEY = Uint8Array.of(1);
const FOR_EVER = 2n ** 62n;

interface Filled {
  readonly cache: SharedPages;
  readonly pages: SharedFilePages;
  /** All of the memory that pages lie in. */
  readonly slab: Uint8Array<SharedArrayBuffer>;
  readonly lengthBytes: number;
}

function shuffled(count: number): number[] {
  const chance = seededChance(1);
  const list = Array.from({ length: count }, (_, at) => at);
  for (let at = count - 1; at > 0; at -= 1) {
    const other = Math.floor(chance() * (at + 1));
    [list[at], list[other]] = [list[other]!, list[at]!];
  }
  return list;
}

/** Makes a cache and fills it with one file, whose blocks lie in order, or in none. */
function fillCache(lengthBytes: number, isScattered: boolean): Filled {
  const cache = new SharedPages(lengthBytes + lengthBytes / 16 + MIB);
  const pages = cache.addFile(KEY);
  const block = new Uint8Array(BLOCK_BYTES);
  const count = lengthBytes / BLOCK_BYTES;
  for (const index of isScattered ? shuffled(count) : Array.from({ length: count }, (_, at) => at)) {
    const fromBytes = index * BLOCK_BYTES;
    for (let at = 0; at < BLOCK_BYTES; at += 512) viewOf(block).setUint32(at, (fromBytes + at) / 512, true);
    pages.fill({ fromBytes, toBytes: fromBytes + BLOCK_BYTES }, block, []);
  }
  return { cache, pages, slab: cache.memory.slabs[0]!, lengthBytes };
}

function check(bytes: Uint8Array, offset: number): void {
  const first = Math.ceil(offset / 512);
  for (let sector = first; (sector + 1) * 512 <= offset + bytes.byteLength; sector += 1) {
    if (viewOf(bytes).getUint32(sector * 512 - offset, true) !== sector)
      throw new Error(`sector ${sector} is another`);
  }
}

async function measureLarge(size: TargetSize, isScattered: boolean, skewBytes: number): Promise<Measurement> {
  const [lengthBytes, repeats, rounds] = size === 'real' ? [128 * MIB, 8, 9] : [4 * MIB, 1, 1];
  const { pages, slab } = fillCache(lengthBytes, isScattered);
  const into = new Uint8Array(new SharedArrayBuffer(MIB + 64)).subarray(skewBytes, skewBytes + MIB);
  // As with 4 KiB, one after the other would be too kind to the processor.
  const offsets = shuffled(lengthBytes / MIB - 1).map(at => at * MIB + 3 * skewBytes);
  for (const offset of offsets) {
    if (pages.read(offset, into) !== MIB) throw new Error('a miss');
    check(into, offset);
  }
  const each = (act: (offset: number) => void) => async (): Promise<void> => {
    for (let round = 0; round < repeats; round += 1) for (const offset of offsets) act(offset);
  };
  const result = await contest(
    [
      { name: 'pages', run: each(offset => pages.read(offset, into)) },
      { name: 'copy', run: each(offset => copyRange(slab, offset, into, 0, MIB)) },
    ],
    rounds,
  );
  const bytes = repeats * offsets.length * MIB;
  const rates = [...result.seconds].map(
    ([name, seconds]) => `${name} ${(megabytesPerSecond(bytes, seconds) / 1000).toFixed(1)}`,
  );
  return {
    what: `${isScattered ? 'scattered' : 'adjacent'}${skewBytes === 0 ? '' : ', odd'}, of copy`,
    measured: result.ratio('pages', 'copy'),
    bound: isScattered ? 0.75 : 0.9,
    sense: '>=',
    unit: 'x',
    detail: `GB/s: ${rates.join(', ')}`,
  };
}

export const pageRead1m: Target = {
  id: 'page-read-1m',
  about:
    'hits of 1 MiB in the page cache, against native copies of as many bytes of the same memory, random order',
  measure: async size => {
    const rows: Measurement[] = [];
    for (const isScattered of [false, true]) {
      for (const skewBytes of [0, 5]) rows.push(await measureLarge(size, isScattered, skewBytes));
    }
    return rows;
  },
};

async function measureSmall(size: TargetSize): Promise<Measurement> {
  const [lengthBytes, repeats, rounds] = size === 'real' ? [128 * MIB, 8, 9] : [MIB, 1, 1];
  const { pages, slab } = fillCache(lengthBytes, false);
  const into = new Uint8Array(GRANULE_BYTES);
  const offsets = Float64Array.from(shuffled(lengthBytes / GRANULE_BYTES), at => at * GRANULE_BYTES);
  for (const offset of offsets) {
    if (pages.read(offset, into) !== GRANULE_BYTES) throw new Error('a miss');
    check(into, offset);
  }
  const result = await contest(
    [
      {
        name: 'pages',
        run: async () => {
          for (let round = 0; round < repeats; round += 1)
            for (const offset of offsets) pages.read(offset, into);
        },
      },
      {
        name: 'copy',
        run: async () => {
          for (let round = 0; round < repeats; round += 1) {
            for (const offset of offsets) copyRange(slab, offset, into, 0, GRANULE_BYTES);
          }
        },
      },
    ],
    rounds,
  );
  const count = repeats * offsets.length;
  const rates = [...result.seconds].map(([name, seconds]) => `${name} ${(count / seconds / 1e6).toFixed(2)}`);
  return {
    what: 'of bare copies',
    measured: result.ratio('pages', 'copy'),
    bound: 0.75,
    sense: '>=',
    unit: 'x',
    detail: `millions a second: ${rates.join(', ')}`,
  };
}

/** Lets a thread read 4 KiB at a time while this one writes, for so many reads. Returns how it went. */
async function readBeside(filled: Filled, isChecked: boolean, readCount: number): Promise<ReaderCounts> {
  const { cache, pages, lengthBytes } = filled;
  pages.publish({ sizeBytes: lengthBytes, freshUntilNs: FOR_EVER });
  const control = new Int32Array(new SharedArrayBuffer(8));
  const workerData: ReaderData = {
    memory: cache.memory,
    ref: pages.ref!,
    control,
    lengthBytes,
    readCount,
    isChecked,
  };
  const worker = new Worker(new URL('../page-reader-thread.ts', import.meta.url), { workerData });
  const answer = once(worker, 'message') as Promise<[ReaderCounts]>;
  const chance = seededChance(2);
  const bytes = new Uint8Array(GRANULE_BYTES);
  const granules = lengthBytes / GRANULE_BYTES;
  for (let stamp = 1; Atomics.load(control, 0) === 0; stamp += 1) {
    for (let index = 0; index < 500; index += 1) {
      for (let at = 0; at < GRANULE_BYTES; at += 512) viewOf(bytes).setUint32(at, stamp * 500 + index, true);
      viewOf(bytes).setUint32(GRANULE_BYTES - 4, stamp * 500 + index, true);
      const offset = Math.floor(chance() * granules) * GRANULE_BYTES;
      if (pages.write(offset, bytes) !== GRANULE_BYTES) throw new Error('no room');
    }
    await new Promise(resolve => setImmediate(resolve));
  }
  const [counts] = await answer;
  await worker.terminate();
  return counts;
}

async function measureThread(size: TargetSize): Promise<Measurement> {
  const [lengthBytes, readCount, rounds] = size === 'real' ? [64 * MIB, 1_000_000, 5] : [MIB, 20_000, 1];
  const rates: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const counts = await readBeside(fillCache(lengthBytes, false), true, readCount);
    if (counts.torn > 0) throw new Error(`${counts.torn} reads were torn`);
    rates.push(counts.hits / counts.seconds);
  }
  // The same on few blocks and without the last check: until something is torn.
  const control = await readBeside(fillCache(MIB, false), false, 1_000_000_000);
  if (control.torn === 0) throw new Error('nothing was torn without the last check either');
  const rate = median(rates);
  return {
    what: 'of 500,000 by a thread',
    measured: rate / 500_000,
    bound: 1,
    sense: '>=',
    unit: 'x',
    detail: `${rate.toFixed(0)} a second beside a thread that writes; none torn, without the last check after ${control.hits}`,
  };
}

/** Awaits one read of an open file of a volume after the other; all of it is in memory. */
async function measureAwaited(size: TargetSize): Promise<Measurement> {
  const [lengthBytes, readCount, rounds] = size === 'real' ? [16 * MIB, 500_000, 5] : [MIB, 1000, 1];
  const folder = mkdtempSync(`${tmpdir()}/netseal-bench-pages-`);
  const side = await VolumeSide.create(`${folder}/volume`);
  const open = await side.open();
  try {
    const file = await open.volume.open('/file', 'w+');
    for (let at = 0; at < lengthBytes; at += BLOCK_BYTES) {
      const block = new Uint8Array(BLOCK_BYTES);
      for (let sector = 0; sector < BLOCK_BYTES; sector += 512) {
        viewOf(block).setUint32(sector, (at + sector) / 512, true);
      }
      await file.write(block, { position: at });
    }
    await file.sync();
    const into = new Uint8Array(GRANULE_BYTES);
    const order = shuffled(lengthBytes / GRANULE_BYTES);
    const rates: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const startMs = performance.now();
      for (let read = 0; read < readCount; read += 1) {
        const position = order[read % order.length]! * GRANULE_BYTES;
        const { bytesRead } = await file.read(into, { position });
        if (bytesRead !== GRANULE_BYTES) throw new Error('a short read');
      }
      rates.push(readCount / ((performance.now() - startMs) / 1000));
    }
    check(into, order[(readCount - 1) % order.length]! * GRANULE_BYTES);
    await file.close();
    const rate = median(rates);
    return {
      what: 'of 700,000 awaited',
      measured: rate / 700_000,
      bound: 1,
      sense: '>=',
      unit: 'x',
      detail: `${rate.toFixed(0)} a second, by file.read of an open file, one by one`,
    };
  } finally {
    await open.close();
    await side.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

export const pageRead4k: Target = {
  id: 'page-read-4k',
  about:
    'hits of 4 KiB in the page cache in random order, against bare copies, awaited one by one, and by a thread beside a writer',
  measure: async size => [await measureSmall(size), await measureAwaited(size), await measureThread(size)],
};
