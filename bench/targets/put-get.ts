/**
 * Compares copying a large file in and out with sealing and opening alone and, in memory, with bare threads that
 * do the same work on files. Measures the memory.
 */
import { mkdir, rm } from 'node:fs/promises';
import { BareFileThreads } from '../bare-file-threads.ts';
import { runCommand } from '../command.ts';
import { type Contender, type ContestResult, contest, megabytesPerSecond } from '../contest.ts';
import { executableCode } from '../data.ts';
import { requireSameFile, requireSameFolder, writeLargeFile } from '../files.ts';
import { type Feed, PipelineSide } from '../pipeline-side.ts';
import { inEachPlace, type PlaceName } from '../places.ts';
import { writeSpreadTree } from '../spread-tree.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';
import { type OpenVolume, VolumeSide } from '../volume-side.ts';

const MIB = 1024 * 1024;
const FLOOR = 'bare threads with files';
const GIB: number = 1024 * MIB;
const FEED: Feed = { unitBytes: 256 * 1024, padding: 'padme', unitsPerRequest: 8, requestsAtOnce: 4 };

interface Scale {
  /** The data that the file repeats. Sealing and opening alone repeat it as often. */
  readonly dataBytes: number;
  readonly repeats: number;
  readonly rounds: number;
}

function scaleOf(size: TargetSize): Scale {
  return size === 'real'
    ? { dataBytes: 64 * MIB, repeats: 16, rounds: 5 }
    : { dataBytes: MIB, repeats: 2, rounds: 1 };
}

interface Sides {
  readonly alone: PipelineSide;
  readonly records: readonly Uint8Array[];
  readonly side: VolumeSide;
  /** Undefined on a disk, whose speed would be what is measured. */
  readonly bare: BareFileThreads | undefined;
  readonly source: string;
  readonly folder: string;
  readonly scale: Scale;
}

/** Runs both sides on the same data in each place. Sealing alone has been checked for its round trip before. */
async function withSides(
  size: TargetSize,
  measure: (sides: Sides, place: PlaceName) => Promise<readonly Measurement[]>,
): Promise<Measurement[]> {
  const scale = scaleOf(size);
  const fileBytes = scale.dataBytes * scale.repeats;
  const data = executableCode(scale.dataBytes);
  const alone = await PipelineSide.start(data);
  try {
    const records = await alone.roundTrip(FEED);
    return await inEachPlace(4 * fileBytes, async (folder, place) => {
      const source = `${folder}/source`;
      await writeLargeFile(source, data, fileBytes);
      const side = await VolumeSide.create(`${folder}/volume`);
      const bareFiles = { source, sealed: `${folder}/bare-sealed`, target: `${folder}/bare-target` };
      const { unitBytes } = FEED;
      const bare =
        place === 'tmpfs' ? await BareFileThreads.start({ ...bareFiles, unitBytes, fileBytes }) : undefined;
      try {
        await bare?.run('put');
        await bare?.run('get');
        if (bare !== undefined) await requireSameFile(source, bareFiles.target);
        return await measure({ alone, records, side, bare, source, folder, scale }, place);
      } finally {
        await bare?.stop();
        await side.stop();
      }
    });
  } finally {
    await alone.stop();
  }
}

/** The bare threads as a contender, where they are measured. */
function floorOf(bare: BareFileThreads | undefined, task: 'put' | 'get'): Contender[] {
  if (bare === undefined) return [];
  return [
    {
      name: FLOOR,
      prepare: async () => bare.removeFiles(task),
      run: () => bare.run(task),
    },
  ];
}

/** The measurements of one place: against the floor, where it is measured, and against the pipeline alone. */
function compare(
  name: 'put' | 'get',
  place: PlaceName,
  result: ContestResult,
  old: { readonly name: string; readonly short: string; readonly bound: number },
  detail: string,
): Measurement[] {
  const rows: Measurement[] = [];
  const common = { sense: '>=', unit: 'x', detail } as const;
  if (result.seconds.has(FLOOR)) {
    const measured = result.ratio(name, FLOOR);
    rows.push({ what: `on ${place}, of the floor`, measured, bound: 0.9, ...common });
  }
  const measured = result.ratio(name, old.name);
  rows.push({ what: `on ${place}, of ${old.short}`, measured, bound: old.bound, ...common });
  return rows;
}

async function repeat(count: number, work: () => Promise<void>): Promise<void> {
  for (let round = 0; round < count; round += 1) await work();
}

function rates(fileBytes: number, { seconds }: ContestResult, sealedBytes: number): string {
  const each = [...seconds].map(
    ([name, value]) => `${name} ${megabytesPerSecond(fileBytes, value).toFixed(0)} MB/s`,
  );
  return `${(fileBytes / MIB).toFixed(0)} MiB, sealed ${(sealedBytes / MIB).toFixed(0)}; ${each.join(', ')}`;
}

function sentBytes({ requests }: OpenVolume): number {
  return requests.reduce((sum, request) => sum + request.sentBytes, 0);
}

export const put1g: Target = {
  id: 'put-1g',
  about:
    'put of a file of executable code into a volume in a directory store, against bare threads that do so, and against sealing alone',
  measure: size =>
    withSides(size, async ({ alone, side, bare, source, folder, scale }, place) => {
      const { repeats, rounds, dataBytes } = scale;
      const fileBytes = dataBytes * repeats;
      const emptyVolume = async (): Promise<void> => {
        await rm(side.store, { recursive: true });
        await rm(`${side.state}-client`, { recursive: true, force: true });
        await rm(`${side.state}-cli`, { recursive: true, force: true });
        await side.renew();
      };
      const first = await side.open();
      await first.put(source, '/file');
      const sealedBytes = sentBytes(first);
      await first.get('/file', `${folder}/back`);
      await first.close();
      await requireSameFile(source, `${folder}/back`);
      await rm(`${folder}/back`);
      let open: OpenVolume | undefined;
      const result = await contest(
        [
          ...floorOf(bare, 'put'),
          { name: 'sealing alone', run: () => repeat(repeats, () => alone.seal(FEED)) },
          {
            name: 'put',
            prepare: async () => {
              await open?.close();
              await emptyVolume();
              open = await side.open();
            },
            run: async () => open?.put(source, '/file'),
          },
          {
            name: 'the whole command',
            prepare: async () => {
              await open?.close();
              open = undefined;
              await emptyVolume();
            },
            run: async () => {
              await runCommand(['put', source, `${side.store}:/file`, ...side.cliArguments]);
            },
          },
        ],
        rounds,
      );
      await open?.close();
      const detail = rates(fileBytes, result, sealedBytes);
      return compare('put', place, result, { name: 'sealing alone', short: 'sealing', bound: 0.75 }, detail);
    }),
};

export const get1g: Target = {
  id: 'get-1g',
  about:
    'get of a file of executable code from a volume in a directory store, against bare threads that do so, and against opening alone',
  measure: size =>
    withSides(size, async ({ alone, records, side, bare, source, folder, scale }, place) => {
      const { repeats, rounds, dataBytes } = scale;
      const fileBytes = dataBytes * repeats;
      const target = `${folder}/target`;
      const writer = await side.open();
      await writer.put(source, '/file');
      const sealedBytes = sentBytes(writer);
      await writer.close();
      const reader = await side.open();
      const removeTarget = (): Promise<void> => rm(target, { force: true });
      await reader.get('/file', target);
      await requireSameFile(source, target);
      const result = await contest(
        [
          ...floorOf(bare, 'get'),
          { name: 'opening alone', run: () => repeat(repeats, () => alone.open(FEED, records)) },
          { name: 'get', prepare: removeTarget, run: () => reader.get('/file', target) },
          {
            name: 'the whole command',
            prepare: removeTarget,
            run: async () => {
              await runCommand(['get', `${side.store}:/file`, target, ...side.cliArguments]);
            },
          },
        ],
        rounds,
      );
      await reader.close();
      await requireSameFile(source, target);
      const detail = rates(fileBytes, result, sealedBytes);
      return compare('get', place, result, { name: 'opening alone', short: 'opening', bound: 0.6 }, detail);
    }),
};

/** Puts `source` into a new volume and gets it back. Checks nothing. Returns both peaks. */
async function peaksOf(
  folder: string,
  source: string,
  { flags, place, bound, detail }: PeakSetting,
): Promise<Measurement[]> {
  const side = await VolumeSide.create(`${folder}/volume`);
  await side.stop();
  const path = `${side.store}:/copied`;
  const commands = [
    { name: 'put', args: ['put', ...flags, source, path] },
    { name: 'get', args: ['get', ...flags, path, `${folder}/target`] },
  ];
  const rows: Measurement[] = [];
  for (const { name, args } of commands) {
    const { peakBytes, seconds } = await runCommand([...args, ...side.cliArguments]);
    if (peakBytes === undefined) throw new Error('this system does not tell the peak of a process');
    const what = `${name} on ${place}`;
    const measured = peakBytes / MIB;
    const time = `in ${seconds.toFixed(1)} s, the start of the command included`;
    rows.push({ what, measured, bound, sense: '<=', unit: 'MiB', detail: `${detail} ${time}` });
  }
  return rows;
}

interface PeakSetting {
  readonly flags: readonly string[];
  readonly place: string;
  readonly bound: number;
  /** What was copied. */
  readonly detail: string;
}

export const putRss: Target = {
  id: 'put-rss',
  about:
    'peak resident memory of the commands put and get, with a file of 4 GiB and with a tree of 6,000 files',
  measure: size => {
    const fileBytes = size === 'real' ? 4 * GIB : 4 * MIB;
    const data = executableCode(size === 'real' ? 64 * MIB : MIB);
    const tree = size === 'real' ? { files: 6000, folders: 1500 } : { files: 40, folders: 12 };
    return inEachPlace(3 * fileBytes, async (folder, place) => {
      const source = `${folder}/source`;
      await mkdir(`${folder}/file`);
      await writeLargeFile(source, data, fileBytes);
      const large = { flags: [], place, bound: 300, detail: `${fileBytes / MIB} MiB` };
      const rows = await peaksOf(`${folder}/file`, source, large);
      await requireSameFile(source, `${folder}/file/target`);
      await rm(`${folder}/file`, { recursive: true });
      await rm(source);
      await mkdir(`${folder}/tree`);
      const { bytes } = await writeSpreadTree(source, tree);
      const detail = `${tree.files} source files, ${(bytes / MIB).toFixed(0)} MiB, in ${tree.folders} folders`;
      const small = { flags: ['-r'], place: `${place}, a tree`, bound: 200, detail };
      rows.push(...(await peaksOf(`${folder}/tree`, source, small)));
      await requireSameFolder(source, `${folder}/tree/target`);
      return rows;
    });
  },
};
