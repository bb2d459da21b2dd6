/** Counts the requests of single operations: commits of 4 KiB, and reading 4 KiB of a large file. */
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
