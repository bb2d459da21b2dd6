/** Copies many small files in and out, compared with `cp -r`, and lists them. */
import type { ContestResult } from '../contest.ts';
import { executableCode } from '../data.ts';
import { writeSmallFiles } from '../files.ts';
import { fillFolder, fillName } from '../fill.ts';
import { inEachPlace } from '../places.ts';
import { type SpreadTree, type WrittenTree, writeSpreadTree } from '../spread-tree.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';
import { contestGet, contestPut, copyName, fileRates, type TreeSides, withTree } from '../tree-contest.ts';
import { type OpenVolume, VolumeSide } from '../volume-side.ts';

const MIB = 1024 * 1024;

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
  measure: size => {
    const count = size === 'real' ? 10_000 : 50;
    const data = executableCode(size === 'real' ? 48 * MIB : MIB);
    const write = (source: string) => writeSmallFiles(source, data, { count, lengthBytes: 4096 });
    return withTree({ size, roomBytes: count * 64 * 1024, write }, async (sides, place) => {
      const first = await sides.side.open();
      await first.put(sides.source, '/files');
      await first.close();
      const getting = await contestGet(sides);
      const isDurable = place === 'disk';
      const putting = await contestPut(sides, isDurable);
      const theirs = copyName(isDurable);
      const what = `${count} files of 4 KiB`;
      return [
        {
          what: `put on ${place}`,
          measured: first.requests.length,
          bound: 200,
          sense: '<=',
          unit: 'requests',
          detail: `${requestKinds(first)}; from opening the volume to closing it`,
        },
        {
          what: `put on ${place}, of ${theirs}`,
          measured: putting.ratio('put -r', theirs),
          bound: isDurable ? 1 : 0.35,
          sense: '>=',
          unit: 'x',
          detail: `${what}; ${fileRates(count, putting)}`,
        },
        {
          what: `get on ${place}, of cp -r`,
          measured: getting.ratio('get -r', 'cp -r'),
          bound: 0.3,
          sense: '>=',
          unit: 'x',
          detail: `${what}; ${fileRates(count, getting)}`,
        },
      ] satisfies Measurement[];
    });
  },
};

/** A tree of source files, as a project with its packages is. */
function treeOf(size: TargetSize): SpreadTree {
  return size === 'real' ? { files: 6000, folders: 1500 } : { files: 40, folders: 12 };
}

async function withSourceTree(
  size: TargetSize,
  measure: (sides: TreeSides, tree: WrittenTree) => Promise<Measurement>,
): Promise<Measurement[]> {
  let written: WrittenTree | undefined;
  const write = async (source: string): Promise<void> => {
    written = await writeSpreadTree(source, treeOf(size));
  };
  const setting = { size, roomBytes: 1024 * MIB, place: 'tmpfs', write } as const;
  return await withTree(setting, async sides => {
    if (written === undefined) throw new Error('no tree was written');
    return [await measure(sides, written)];
  });
}

function treeDetail({ files, folders, bytes }: WrittenTree, result: ContestResult): string {
  const size = `${(bytes / MIB).toFixed(0)} MiB`;
  return `${files} source files, ${size}, in ${folders} folders; ${fileRates(files, result)}`;
}

export const treePut: Target = {
  id: 'tree-put',
  about: 'put -r of 6,000 source files in 1,500 folders into an open volume in memory, against cp -r',
  measure: size =>
    withSourceTree(size, async (sides, tree) => {
      const result = await contestPut(sides, false);
      const measured = result.ratio('put -r', 'cp -r');
      const detail = treeDetail(tree, result);
      return { what: 'on tmpfs, of cp -r', measured, bound: 0.35, sense: '>=', unit: 'x', detail };
    }),
};

export const treeGet: Target = {
  id: 'tree-get',
  about: 'get -r of 6,000 source files in 1,500 folders from an open volume in memory, against cp -r',
  measure: size =>
    withSourceTree(size, async (sides, tree) => {
      const writer = await sides.side.open();
      await writer.put(sides.source, '/files');
      await writer.close();
      const result = await contestGet(sides);
      const measured = result.ratio('get -r', 'cp -r');
      const detail = treeDetail(tree, result);
      return { what: 'on tmpfs, of cp -r', measured, bound: 0.3, sense: '>=', unit: 'x', detail };
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
