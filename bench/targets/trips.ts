/** Counts the requests of single operations: commits of 4 KiB, syncs of open files, and reading 4 KiB of a large file. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileWriter } from '../../src/volume/content/file-writer.ts';
import { executableCode } from '../data.ts';
import { writeLargeFile } from '../files.ts';
import { fillFolder } from '../fill.ts';
import { inEachPlace, type PlaceName } from '../places.ts';
import type { Measurement, Target } from '../target.ts';
import { FILE_ATTRIBUTES, type OpenVolume, VolumeSide } from '../volume-side.ts';
import { requestKinds } from './small-files.ts';

const MIB = 1024 * 1024;
const PIECE_BYTES = 4096;
const COMMITS = 5;
const QUIET_MS = 20;

/** The cost of one operation. */
interface Cost {
  readonly tripCount: number;
  readonly requestCount: number;
  readonly sentBytes: number;
}

/** Waits for the background work of a commit, so that its requests do not count for the next commit. */
async function idle({ meter, requests }: OpenVolume): Promise<void> {
  for (let seen = -1; seen !== requests.length; ) {
    seen = requests.length;
    await sleep(QUIET_MS);
    if (Object.values(meter.snapshot()).some(({ runningCount }) => runningCount > 0)) seen = -1;
  }
}

async function costOf(open: OpenVolume, work: () => Promise<void>): Promise<Cost> {
  await idle(open);
  const { meter, requests } = open;
  const before = requests.length;
  meter.resetRoundTrips();
  await work();
  const own = requests.slice(before);
  const sentBytes = own.reduce((sum, request) => sum + request.sentBytes, 0);
  return { tripCount: meter.roundTripCount, requestCount: own.length, sentBytes };
}

function describe(costs: readonly Cost[]): string {
  const text = ({ requestCount, sentBytes }: Cost): string =>
    `${requestCount} requests ${(sentBytes / 1024).toFixed(1)} KiB`;
  return `first ${text(costs[0]!)}, then ${costs.slice(1).map(text).join(', ')}`;
}

async function commitCosts(
  open: OpenVolume,
  data: Uint8Array,
  folder: string,
): Promise<{ create: Cost[]; append: Cost[] }> {
  const { volume } = open;
  const piece = (at: number): Uint8Array => data.subarray(at * PIECE_BYTES, (at + 1) * PIECE_BYTES);
  const create: Cost[] = [];
  for (let at = 0; at < COMMITS; at += 1) {
    // The path is known, as for a client that has the folder open. After a second it would be read again.
    await volume.find(`${folder}/no-such-name`).catch(() => undefined);
    const cost = await costOf(open, async () => {
      const writer = await volume.createFile(`${folder}/new-${at}`, FILE_ATTRIBUTES);
      await writer.write(piece(at));
      await writer.commit();
    });
    create.push(cost);
  }
  const append: Cost[] = [];
  const writer: FileWriter = await volume.createFile(`${folder}/log`, FILE_ATTRIBUTES);
  await writer.write(piece(0));
  await writer.commit();
  for (let at = 1; at <= COMMITS; at += 1) {
    const cost = await costOf(open, async () => {
      await writer.write(piece(at));
      await writer.commit();
    });
    append.push(cost);
  }
  await writer.close();
  return { create, append };
}

/** Checks that another client can read everything. */
async function checkCommits(side: VolumeSide, data: Uint8Array, folder: string): Promise<void> {
  const reader = await side.open('reader');
  for (let at = 0; at < COMMITS; at += 1) {
    const bytes = Buffer.alloc(PIECE_BYTES);
    await (await reader.volume.openFile(`${folder}/new-${at}`)).read(bytes, 0);
    requireSame(bytes, data.subarray(at * PIECE_BYTES, (at + 1) * PIECE_BYTES));
  }
  const log = Buffer.alloc((COMMITS + 1) * PIECE_BYTES);
  await (await reader.volume.openFile(`${folder}/log`)).read(log, 0);
  requireSame(log, data.subarray(0, log.byteLength));
  await reader.close();
}

function requireSame(left: Uint8Array, right: Uint8Array): void {
  if (Buffer.compare(left, right) !== 0) throw new Error('what was written is not what is read');
}

export const fsyncTrips: Target = {
  id: 'fsync-trips',
  about:
    'dependent requests of create + write 4 KiB + commit in a known folder, and of append 4 KiB + commit to an open file',
  measure: size => {
    const count = size === 'real' ? 10_000 : 100;
    const data = executableCode(MIB);
    return inEachPlace(count * 32 * 1024, async (folder, place): Promise<Measurement[]> => {
      const side = await VolumeSide.create(`${folder}/volume`);
      try {
        const open = await side.open();
        await fillFolder(open, 'small', 10);
        await fillFolder(open, 'large', count);
        const measurements: Measurement[] = [];
        for (const [path, files] of [
          ['/small', 10],
          ['/large', count],
        ] as const) {
          const costs = await commitCosts(open, data, path);
          await checkCommits(side, data, path);
          measurements.push(
            toMeasurement(`create on ${place}, in ${files} files`, costs.create),
            toMeasurement(`append on ${place}, in ${files} files`, costs.append),
          );
        }
        await open.close();
        return measurements;
      } finally {
        await side.stop();
      }
    });
  },
};

function toMeasurement(what: string, costs: readonly Cost[]): Measurement {
  const measured = Math.max(...costs.map(({ tripCount }) => tripCount));
  return { what, measured, bound: 2, sense: '<=', unit: 'trips', detail: describe(costs) };
}

/** Units of the file whose bases are cold. */
const COLD_UNITS = 64;
const UNIT_BYTES = 256 * 1024;

/** Appends to an open file and syncs. The first sync is not counted: it makes the file's map and warms its leaf. */
async function appendCosts(open: OpenVolume, data: Uint8Array): Promise<Cost[]> {
  const costs: Cost[] = [];
  const file = await open.volume.open('/appended', 'w');
  for (let at = 0; at <= COMMITS; at += 1) {
    const position = at * PIECE_BYTES;
    const cost = await costOf(open, async () => {
      await file.write(data.subarray(position, position + PIECE_BYTES), { position });
      await file.sync();
    });
    if (at > 0) costs.push(cost);
  }
  await file.close();
  return costs;
}

/** Returns where the `at`th piece is written: inside a unit of which nothing was read. */
function coldPosition(at: number): number {
  return (COLD_UNITS / 2 + 3 * at) * UNIT_BYTES + 5 * PIECE_BYTES;
}

/** Overwrites parts of units that this client has never read, and syncs after each. */
async function coldCosts(open: OpenVolume, data: Uint8Array): Promise<Cost[]> {
  const costs: Cost[] = [];
  const file = await open.volume.open('/cold', 'r+', 0o644);
  // Reads the inode and the page of the map. The first sync is not counted, as above.
  await file.read(Buffer.alloc(PIECE_BYTES), { position: 7 * UNIT_BYTES + PIECE_BYTES });
  for (let at = 0; at <= COMMITS; at += 1) {
    const cost = await costOf(open, async () => {
      await file.write(data.subarray(0, PIECE_BYTES), { position: coldPosition(at) });
      await file.sync();
    });
    if (at > 0) costs.push(cost);
  }
  await file.close();
  return costs;
}

/** Checks that another client reads what was appended and overwritten, and what lies beside it. */
async function checkSyncs(side: VolumeSide, data: Uint8Array): Promise<void> {
  const reader = await side.open('reader');
  const appended = Buffer.alloc((COMMITS + 1) * PIECE_BYTES);
  const log = await reader.volume.openFile('/appended');
  await log.read(appended, 0);
  requireSame(appended, data.subarray(0, appended.byteLength));
  const cold = await reader.volume.openFile('/cold');
  const bytes = Buffer.alloc(UNIT_BYTES);
  for (let at = 0; at <= COMMITS; at += 1) {
    const position = coldPosition(at);
    const fromBytes = position - (position % UNIT_BYTES);
    await cold.read(bytes, fromBytes);
    const within = fromBytes % data.byteLength;
    const expected = Buffer.from(data.subarray(within, within + UNIT_BYTES));
    expected.set(data.subarray(0, PIECE_BYTES), position - fromBytes);
    requireSame(bytes, expected);
  }
  await reader.close();
}

export const syncTrips: Target = {
  id: 'sync-trips',
  about:
    'dependent requests of 4 KiB and a sync, in a file that stays open: appended, and into units that were never read',
  measure: () => {
    const data = executableCode(MIB);
    return inEachPlace(4 * COLD_UNITS * UNIT_BYTES, async (folder, place): Promise<Measurement[]> => {
      const side = await VolumeSide.create(`${folder}/volume`);
      try {
        const writer = await side.open();
        const file = await writer.volume.open('/cold', 'w');
        for (let at = 0; at < COLD_UNITS * UNIT_BYTES; at += MIB) await file.write(data, { position: at });
        await file.close();
        const append = await appendCosts(writer, data);
        await writer.close();
        const again = await side.open('again');
        const cold = await coldCosts(again, data);
        await again.close();
        await checkSyncs(side, data);
        return [
          toMeasurement(`append on ${place}`, append),
          { ...toMeasurement(`cold base on ${place}`, cold), bound: 3 },
        ];
      } finally {
        await side.stop();
      }
    });
  },
};

export const catTrips: Target = {
  id: 'cat-trips',
  about:
    'cat --length 4096 in a file of 1 GiB, cold: header, inode path, a map page and a ranged get (beside heads)',
  measure: size => {
    const [fileBytes, dataBytes] = size === 'real' ? [1024 * MIB, 64 * MIB] : [96 * MIB, MIB];
    const data = executableCode(dataBytes);
    return inEachPlace(3 * fileBytes, async (folder, place): Promise<Measurement[]> => {
      const source = `${folder}/source`;
      await writeLargeFile(source, data, fileBytes);
      const side = await VolumeSide.create(`${folder}/volume`);
      try {
        const writer = await side.open();
        const { names, root } = writer.volume;
        const below = names.newDirectory(FILE_ATTRIBUTES, root.id);
        await names.insertDirectory(root, 'folder', below);
        await writer.put(source, '/folder/file');
        await writer.close();
        return [await readCold(side, data, fileBytes, place)];
      } finally {
        await side.stop();
      }
    });
  },
};

async function readCold(
  side: VolumeSide,
  data: Uint8Array,
  fileBytes: number,
  place: PlaceName,
): Promise<Measurement> {
  const offsetBytes = fileBytes / 2 + 3 * 256 * 1024;
  const startedMs = performance.now();
  const reader = await side.open('cold');
  const file = await reader.volume.openFile('/folder/file');
  const bytes = Buffer.alloc(PIECE_BYTES);
  await file.read(bytes, offsetBytes);
  const milliseconds = performance.now() - startedMs;
  const within = offsetBytes % data.byteLength;
  requireSame(bytes, data.subarray(within, within + PIECE_BYTES));
  // A client without memory also reads the heads, once: a list beside the root, and a request for each head.
  const content = reader.requests.filter(({ key }) => !key.startsWith('heads/'));
  const { length: measured } = content;
  const receivedBytes = reader.requests.reduce((sum, request) => sum + request.receivedBytes, 0);
  const detail =
    `${requestKinds(reader)}; ${(receivedBytes / 1024).toFixed(0)} KiB in ${milliseconds.toFixed(0)} ms, ` +
    'unlocking included';
  await reader.close();
  // The header, the inodes of the root and of the folder (with the file's embedded), a map page, a unit.
  return { what: `on ${place}`, measured, bound: 5, sense: '<=', unit: 'requests', detail };
}
