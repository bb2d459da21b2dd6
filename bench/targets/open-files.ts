/**
 * Compares open files with bare threads, on a store and a cache in memory: written from front to back, read cold
 * from the cache and from the store, and read here and there.
 */
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { seededChance } from '../../src/base/chance.ts';
import type { File } from '../../src/netfs/file.ts';
import { PAGE_BYTES_DEFAULT } from '../../src/volume/volume-options.ts';
import { BareStreams, type BareStreamTask } from '../bare-streams.ts';
import { BARE_NONCE_BYTES, BARE_TAG_BYTES, BareWorker } from '../bare-work.ts';
import {
  type CachedSession,
  CachedSide,
  type CachedSideSettings,
  fillCache,
  readAll,
  writeAll,
} from '../cached-side.ts';
import { type ContestResult, contest, megabytesPerSecond } from '../contest.ts';
import { executableCode } from '../data.ts';
import { inEachPlace } from '../places.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const UNIT_BYTES = 256 * KIB;
const PAGE_BYTES = 4 * KIB;
const FLOOR = 'bare threads';

interface Scale {
  readonly dataBytes: number;
  readonly repeats: number;
  readonly rounds: number;
}

function scaleOf(size: TargetSize): Scale {
  return size === 'real'
    ? { dataBytes: 64 * MIB, repeats: 16, rounds: 5 }
    : { dataBytes: 2 * MIB, repeats: 1, rounds: 1 };
}

interface Sides {
  readonly side: CachedSide;
  readonly bare: BareStreams;
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly scale: Scale;
}

/** Measures in memory, or where there is none on the disk. */
async function inMemory(
  roomBytes: number,
  measure: (folder: string) => Promise<readonly Measurement[]>,
): Promise<readonly Measurement[]> {
  let isMeasured = false;
  return await inEachPlace(roomBytes, async folder => {
    if (isMeasured) return [];
    isMeasured = true;
    return await measure(folder);
  });
}

async function withSides(
  size: TargetSize,
  settings: Omit<CachedSideSettings, 'budgetBytes'>,
  measure: (sides: Sides) => Promise<readonly Measurement[]>,
): Promise<readonly Measurement[]> {
  const scale = scaleOf(size);
  const { dataBytes, repeats } = scale;
  const fileBytes = dataBytes * repeats;
  const data = executableCode(dataBytes);
  return await inMemory(5 * fileBytes, async folder => {
    await mkdir(`${folder}/bare`);
    await mkdir(`${folder}/ours`);
    const bare = await BareStreams.start({ data, repeats, unitBytes: UNIT_BYTES, folder: `${folder}/bare` });
    const budgetBytes = 2 * fileBytes + 64 * MIB;
    const side = await CachedSide.create(`${folder}/ours`, { ...settings, budgetBytes });
    try {
      return await measure({ side, bare, data, scale });
    } finally {
      await bare.stop();
      await side.stop();
    }
  });
}

/** Lets sessions take turns with the floor. `prepare` is not timed, and neither is opening or closing. */
async function againstFloor(
  { side, bare, scale: { rounds, dataBytes, repeats } }: Sides,
  task: BareStreamTask,
  run: (session: CachedSession) => Promise<void>,
  prepare: () => Promise<void> = async () => undefined,
): Promise<{ readonly ratio: number; readonly detail: string }> {
  let session: CachedSession | undefined;
  const result = await contest(
    [
      { name: FLOOR, run: () => bare.run(task) },
      {
        name: 'open file',
        prepare: async () => {
          await session?.close();
          await prepare();
          session = await side.open();
          await session.warm();
        },
        run: async () => {
          if (session !== undefined) await run(session);
        },
      },
    ],
    rounds,
  );
  await session?.close();
  return { ratio: result.ratio('open file', FLOOR), detail: rates(dataBytes * repeats, result) };
}

function rates(fileBytes: number, { seconds }: ContestResult): string {
  const each = [...seconds].map(
    ([name, value]) => `${name} ${megabytesPerSecond(fileBytes, value).toFixed(0)} MB/s`,
  );
  return `${fileBytes / MIB} MiB of executable code, zstd:1; ${each.join(', ')}`;
}

const AT_LEAST = { sense: '>=', unit: 'x' } as const;

export const write1g: Target = {
  id: 'write-1g',
  about:
    'a file that is written from front to back and closed, to a store and a cache together, against bare threads that write both',
  measure: async size => {
    const rows: Measurement[] = [];
    const budgets = [
      { what: 'of the floor', settings: {} },
      {
        what: 'of the floor, with 64 MiB of memory',
        settings: { memoryBytes: 32 * MIB, pageBytes: 32 * MIB },
      },
    ];
    for (const { what, settings } of budgets) {
      rows.push(
        ...(await withSides(size, settings, async sides => {
          const { side, data, scale } = sides;
          const first = await side.open();
          await writeAll(first, data, scale.repeats);
          await first.close();
          const again = await side.open();
          await readAll(again, data);
          await again.close();
          const { ratio, detail } = await againstFloor(
            sides,
            'write',
            session => writeAll(session, data, scale.repeats),
            () => side.renew(),
          );
          return [{ what, measured: ratio, bound: 0.85, ...AT_LEAST, detail }];
        })),
      );
    }
    return rows;
  },
};

/** Makes the file, all of which is in the store and in the cache afterwards. */
async function makeCached({ side, data, scale: { repeats } }: Sides): Promise<void> {
  const session = await side.open();
  await writeAll(session, data, repeats);
  await session.close();
  await fillCache(side, data);
}

export const readCache: Target = {
  id: 'read-cache',
  about: 'a cold file that is read from front to back out of the cache, against bare threads that open it',
  measure: size =>
    withSides(size, {}, async sides => {
      await makeCached(sides);
      const { ratio, detail } = await againstFloor(sides, 'read', async session => {
        await readAll(session);
        if (session.fetchedCount > 0) throw new Error('a segment was fetched');
      });
      return [{ what: 'of the floor', measured: ratio, bound: 0.8, ...AT_LEAST, detail }];
    }),
};

export const readStore: Target = {
  id: 'read-store',
  about:
    'a cold file that is read from front to back out of the store, and fills an empty cache, against bare threads that open it and copy the records',
  measure: size =>
    withSides(size, {}, async sides => {
      await makeCached(sides);
      const { ratio, detail } = await againstFloor(
        sides,
        'fill',
        session => readAll(session),
        () => sides.side.emptyCache(),
      );
      return [{ what: 'of the floor', measured: ratio, bound: 0.72, ...AT_LEAST, detail }];
    }),
};

/** Units that are located together: reading one of them makes the map of all of them warm. */
const LOCATED_UNITS = 64;

/** The start of the file is read first: afterwards all memory for pages has been in use, as in a process that runs. */
function warmBytes(fileBytes: number): number {
  return Math.min(PAGE_BYTES_DEFAULT, fileBytes / 4);
}

/** Returns where to read: one page in each of `count` units at most, none of which is read before. */
function pagesToRead(fileBytes: number, unitBytes: number, count: number): number[] {
  const chance = seededChance(1);
  const units = Array.from({ length: fileBytes / unitBytes }, (_, unit) => unit).filter(
    unit => unit % LOCATED_UNITS > 0 && unit * unitBytes >= warmBytes(fileBytes),
  );
  const offsets: number[] = [];
  while (offsets.length < count && units.length > 0) {
    const [unit = 0] = units.splice(Math.floor(chance() * units.length), 1);
    offsets.push(unit * unitBytes + PAGE_BYTES * Math.floor((chance() * unitBytes) / PAGE_BYTES));
  }
  return offsets;
}

/** Reads one page after the other. Throws when one is another than in `data`, which the file repeats. */
async function readPages(file: File, offsets: readonly number[], data: Uint8Array): Promise<void> {
  const into = Buffer.allocUnsafeSlow(PAGE_BYTES);
  for (const position of offsets) {
    const { bytesRead } = await file.read(into, { position });
    const at = position % data.byteLength;
    // Eight bytes of each, so that it costs nothing.
    if (bytesRead !== PAGE_BYTES || into.compare(data, at, at + 8, 0, 8) !== 0)
      throw new Error(`another page at ${position}`);
  }
}

/** One thread that reads a sealed unit of a file, opens it, and copies a page of it. */
class BarePages {
  readonly #file: number;
  readonly #worker: BareWorker;
  readonly #records: { readonly offsetBytes: number; readonly lengthBytes: number }[] = [];
  readonly #unitBytes: number;
  readonly #record: Buffer;
  readonly #page = Buffer.allocUnsafeSlow(PAGE_BYTES);

  constructor(path: string, data: Uint8Array, unitBytes: number) {
    this.#unitBytes = unitBytes;
    this.#worker = new BareWorker(unitBytes);
    this.#record = Buffer.allocUnsafeSlow(2 * unitBytes);
    const parts: Uint8Array[] = [];
    let offsetBytes = 0;
    for (let at = 0; at < data.byteLength; at += unitBytes) {
      const { nonce, ciphertext, tag } = this.#worker.seal(data.subarray(at, at + unitBytes));
      const record = Buffer.concat([nonce, ciphertext, tag]);
      this.#records.push({ offsetBytes, lengthBytes: record.byteLength });
      offsetBytes += record.byteLength;
      parts.push(record);
    }
    writeFileSync(path, Buffer.concat(parts));
    this.#file = openSync(path, 'r');
  }

  read(offsets: readonly number[]): void {
    for (const offset of offsets) {
      const { offsetBytes, lengthBytes } =
        this.#records[Math.floor(offset / this.#unitBytes) % this.#records.length]!;
      readSync(this.#file, this.#record, 0, lengthBytes, offsetBytes);
      const plain = this.#worker.open({
        nonce: this.#record.subarray(0, BARE_NONCE_BYTES),
        ciphertext: this.#record.subarray(BARE_NONCE_BYTES, lengthBytes - BARE_TAG_BYTES),
        tag: this.#record.subarray(lengthBytes - BARE_TAG_BYTES, lengthBytes),
      });
      const within = offset % this.#unitBytes;
      this.#page.set(plain.subarray(within, within + PAGE_BYTES));
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** Pages of a file with units of one size: seconds of ours and of the floor for so many reads. */
async function randomReads(
  size: TargetSize,
  unitBytes: number,
): Promise<{ result: ContestResult; count: number; fileBytes: number }> {
  const isReal = size === 'real';
  const count = isReal ? 2000 : 20;
  const dataBytes = isReal ? 64 * MIB : 8 * MIB;
  // One unit a read, and those that are read before.
  const fileBytes = Math.max(isReal ? 256 * MIB : dataBytes, isReal ? 3072 * unitBytes : 0);
  const repeats = fileBytes / dataBytes;
  const data = executableCode(dataBytes);
  const offsets = pagesToRead(fileBytes, unitBytes, count);
  let found: ContestResult | undefined;
  await inMemory(3 * fileBytes, async folder => {
    const side = await CachedSide.create(folder, { budgetBytes: 2 * fileBytes + 64 * MIB });
    const bare = new BarePages(`${folder}/bare`, data, unitBytes);
    try {
      const writer = await side.open();
      await writeAll(writer, data, repeats, unitBytes);
      await writer.close();
      await fillCache(side, data);
      let session: CachedSession | undefined;
      let file: File | undefined;
      const close = async (): Promise<void> => {
        await file?.close();
        if (session !== undefined && session.fetchedCount > 0) throw new Error('a segment was fetched');
        await session?.close();
      };
      found = await contest(
        [
          { name: FLOOR, run: async () => bare.read(offsets) },
          {
            name: 'open file',
            prepare: async () => {
              await close();
              session = await side.open();
              file = await session.file('r');
              for (let at = 0; at < warmBytes(fileBytes); at += PAGE_BYTES) await readPages(file, [at], data);
              for (let at = 0; at < fileBytes; at += LOCATED_UNITS * unitBytes)
                await readPages(file, [at], data);
            },
            run: async () => {
              if (file !== undefined) await readPages(file, offsets, data);
            },
          },
        ],
        isReal ? 5 : 1,
      );
      await close();
      return [];
    } finally {
      bare.close();
      await side.stop();
    }
  });
  if (found === undefined) throw new Error('nothing was measured');
  return { result: found, count: offsets.length, fileBytes };
}

export const random4k: Target = {
  id: 'random-4k',
  about:
    'pages of 4 KiB at random, one at a time, each of another unit, with a warm map and all units in the cache, against a thread that reads and opens one',
  measure: async size => {
    const rows: Measurement[] = [];
    for (const unitBytes of [16 * KIB, 256 * KIB]) {
      const { result, count, fileBytes } = await randomReads(size, unitBytes);
      const rate = count / result.seconds.get('open file')!;
      const bareRate = count / result.seconds.get(FLOOR)!;
      const detail = `${count} reads in ${fileBytes / MIB} MiB, units of ${unitBytes / KIB} KiB: ${rate.toFixed(0)} a second, bare ${bareRate.toFixed(0)}`;
      if (unitBytes === UNIT_BYTES) {
        const measured = result.ratio('open file', FLOOR);
        rows.push({
          what: 'of pread and open of one, 256 KiB units',
          measured,
          bound: 0.8,
          ...AT_LEAST,
          detail,
        });
      } else {
        const what = 'of 20,000 a second, 16 KiB units';
        rows.push({ what, measured: rate / 20_000, bound: 1, ...AT_LEAST, detail });
      }
    }
    return rows;
  },
};
