/** Copies many small files in and out, compared with `cp -r`, and lists them. */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { runCommand } from '../command.ts';
import { type ContestResult, contest } from '../contest.ts';
import { executableCode } from '../data.ts';
import { requireSameFolder, writeSmallFiles } from '../files.ts';
import { fillFolder, fillName } from '../fill.ts';
import { inEachPlace, type PlaceName } from '../places.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';
import { type OpenVolume, VolumeSide } from '../volume-side.ts';

const MIB = 1024 * 1024;
const run = promisify(execFile);

/** A folder of files, and an empty volume. */
interface Sides {
  readonly side: VolumeSide;
  readonly source: string;
  readonly copy: string;
  readonly got: string;
  readonly count: number;
  readonly rounds: number;
}

async function withSides(
  size: TargetSize,
  measure: (sides: Sides, place: PlaceName) => Promise<readonly Measurement[]>,
): Promise<Measurement[]> {
  const [count, rounds] = size === 'real' ? [10_000, 5] : [50, 1];
  const data = executableCode(size === 'real' ? 48 * MIB : MIB);
  return await inEachPlace(count * 64 * 1024, async (folder, place) => {
    const source = `${folder}/source`;
    await writeSmallFiles(source, data, { count, lengthBytes: 4096 });
    const side = await VolumeSide.create(`${folder}/volume`);
    try {
      return await measure(
        { side, source, copy: `${folder}/copy`, got: `${folder}/got`, count, rounds },
        place,
      );
    } finally {
      await side.stop();
    }
  });
}

/** Syncs files with `sync`, which calls fsync on many names in one process: nothing as safe is faster. */
async function copyAndSync(source: string, copy: string): Promise<void> {
  await run('sh', ['-c', 'cp -r "$0" "$1" && find "$1" -print0 | xargs -0 sync', source, copy]);
}

async function copy(source: string, target: string): Promise<void> {
  await run('cp', ['-r', source, target]);
}

function rates(count: number, { seconds }: ContestResult): string {
  const each = [...seconds].map(([name, value]) => `${name} ${(count / value).toFixed(0)}`);
  return `${count} files of 4 KiB; files/s: ${each.join(', ')}`;
}

/** Counts the requests for each kind of object, as `put s 12`. */
export function requestKinds({ requests }: Pick<OpenVolume, 'requests'>): string {
  const counts = new Map<string, number>();
  for (const { operation, key } of requests) {
    const kind = `${operation} ${key.split('/')[0]}`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ');
}

export const put10k: Target = {
  id: 'put-10k',
  about:
    'put -r and get -r of 10,000 files of 4 KiB, against cp -r; on the disk, put against cp -r and an fsync of each file',
  measure: size =>
    withSides(size, async ({ side, source, copy: copied, got, count, rounds }, place) => {
      const emptyVolume = async (): Promise<void> => {
        await rm(side.store, { recursive: true });
        await rm(`${side.state}-client`, { recursive: true, force: true });
        await rm(`${side.state}-cli`, { recursive: true, force: true });
        await side.renew();
      };
      const removeCopies = async (): Promise<void> => {
        await rm(copied, { recursive: true, force: true });
        await rm(got, { recursive: true, force: true });
      };
      const first = await side.open();
      await first.put(source, '/files');
      await first.close();
      const requests: Measurement = {
        what: `put on ${place}`,
        measured: first.requests.length,
        bound: 200,
        sense: '<=',
        unit: 'requests',
        detail: `${requestKinds(first)}; from opening the volume to closing it`,
      };
      const reader = await side.open('reader');
      await reader.get('/files', got);
      await requireSameFolder(source, got);
      const isDurable = place === 'disk';
      const getting = await contest(
        [
          { name: 'cp -r', prepare: removeCopies, run: () => copy(source, copied) },
          { name: 'get -r', prepare: removeCopies, run: () => reader.get('/files', got) },
          {
            name: 'the whole command',
            prepare: removeCopies,
            run: async () => {
              await runCommand(size, ['get', '-r', `${side.store}:/files`, got, ...side.cliArguments]);
            },
          },
        ],
        rounds,
      );
      await requireSameFolder(source, got);
      await reader.close();
      await removeCopies();
      let open: OpenVolume | undefined;
      const closeOpen = async (): Promise<void> => {
        await open?.close();
        open = undefined;
      };
      const theirs = isDurable ? 'cp -r and fsync' : 'cp -r';
      const putting = await contest(
        [
          {
            name: theirs,
            prepare: removeCopies,
            run: () => (isDurable ? copyAndSync : copy)(source, copied),
          },
          {
            name: 'put -r',
            prepare: async () => {
              await closeOpen();
              await emptyVolume();
              open = await side.open();
            },
            run: async () => open?.put(source, '/files'),
          },
          {
            name: 'the whole command',
            prepare: async () => {
              await closeOpen();
              await emptyVolume();
            },
            run: async () => {
              await runCommand(size, ['put', '-r', source, `${side.store}:/files`, ...side.cliArguments]);
            },
          },
        ],
        rounds,
      );
      await closeOpen();
      return [
        requests,
        {
          what: `put on ${place}, of ${theirs}`,
          measured: putting.ratio('put -r', theirs),
          bound: isDurable ? 1 : 0.35,
          sense: '>=',
          unit: 'x',
          detail: rates(count, putting),
        },
        {
          what: `get on ${place}, of cp -r`,
          measured: getting.ratio('get -r', 'cp -r'),
          bound: 0.3,
          sense: '>=',
          unit: 'x',
          detail: rates(count, getting),
        },
      ];
    }),
};

export const readdir100k: Target = {
  id: 'readdir-100k',
  about: 'a cold readdir with stat of 100,000 files in one folder, by a client that has seen nothing',
  measure: size => {
    const count = size === 'real' ? 100_000 : 3000;
    return inEachPlace(count * 32 * 1024, async (folder, place): Promise<Measurement[]> => {
      const side = await VolumeSide.create(`${folder}/volume`);
      try {
        const writer = await side.open();
        await fillFolder(writer, 'many', count);
        await writer.close();
        const reader = await side.open('reader');
        const startedMs = performance.now();
        let seen = 0;
        const { names, inodes } = reader.volume;
        for await (const entries of names.entries(await reader.volume.directory('/many'))) {
          for (const entry of entries) {
            const inode =
              entry.node.kind === 'embedded' ? entry.node.inode : await inodes.get(entry.node.id).read(0);
            const isRight = inode.type === 'file' && inode.sizeBytes === fillName(seen).length;
            if (!isRight || entry.name !== fillName(seen)) throw new Error(`entry ${seen} is wrong`);
            seen += 1;
          }
        }
        const seconds = (performance.now() - startedMs) / 1000;
        if (seen !== count) throw new Error(`${seen} of ${count} files are there`);
        const { requests } = reader;
        const receivedBytes = requests.reduce((sum, request) => sum + request.receivedBytes, 0);
        const measured = requests.length;
        const detail =
          `${count} files in ${(seconds * 1000).toFixed(0)} ms; ${requestKinds(reader)}; ` +
          `${(receivedBytes / MIB).toFixed(1)} MiB`;
        await reader.close();
        return [{ what: `on ${place}`, measured, bound: 800, sense: '<=', unit: 'requests', detail }];
      } finally {
        await side.stop();
      }
    });
  },
};
