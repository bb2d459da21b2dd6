/** Counts the requests for a tree of many small folders: copying it in and out, listing it, changing one file. */
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { executableCode } from '../data.ts';
import { inEachPlace } from '../places.ts';
import type { Measurement, Target } from '../target.ts';
import { FILE_ATTRIBUTES, type OpenVolume, VolumeSide } from '../volume-side.ts';
import { requestKinds } from './small-files.ts';

const MIB = 1024 * 1024;
const FILES_IN_FOLDER = 4;
/** How many folders lie in each folder, as far as they go. */
const FOLDERS_IN_FOLDER = 6;

interface Tree {
  readonly folders: readonly string[];
  readonly files: readonly string[];
}

/** Writes folders within folders, each with a few files of up to some 20 KiB. */
async function writeTree(root: string, folderCount: number, data: Uint8Array): Promise<Tree> {
  const folders: string[] = [];
  const files: string[] = [];
  for (let at = 0; at < folderCount; at += 1) {
    const parent = folders[Math.floor((at - 1) / FOLDERS_IN_FOLDER)];
    const folder = parent === undefined ? root : `${parent}/folder-${String(at).padStart(5, '0')}`;
    await mkdir(folder);
    folders.push(folder);
    for (let file = 0; file < FILES_IN_FOLDER; file += 1) {
      const path = `${folder}/file-${file}.txt`;
      const lengthBytes = 200 + ((at * 7919 + file * 104_729) % 20_000);
      const from = (files.length * 4099) % (data.byteLength - lengthBytes);
      await writeFile(path, data.subarray(from, from + lengthBytes));
      // Older than the copy, so that a second one can tell that nothing has changed.
      await utimes(path, 1_700_000_000, 1_700_000_000);
      files.push(path);
    }
  }
  return { folders, files };
}

/** Lists all names with their inodes, folder by folder, as `netseal ls -lR` does. Returns how many there are. */
async function listAll(volume: Volume, directory: Directory): Promise<number> {
  let count = 0;
  const below: Directory[] = [];
  for await (const entries of volume.namespace.entries(directory, { isWalk: true })) {
    for (const entry of entries) {
      count += 1;
      const inode = await volume.inodeOf(entry);
      if (inode.type === 'directory') below.push(volume.directoryOf(directory, entry));
    }
  }
  for (const child of below) count += await listAll(volume, child);
  return count;
}

function requests(what: string, open: OpenVolume, before: number, bound: number): Measurement {
  const own = open.requests.slice(before);
  return {
    what,
    measured: own.length,
    bound,
    sense: '<=',
    unit: 'requests',
    detail: requestKinds({ requests: own }),
  };
}

/** Replaces a file deep inside, in a path that is known. Returns the dependent requests. */
async function changeOne(open: OpenVolume, path: string, bytes: Uint8Array): Promise<Measurement> {
  await open.volume.find(path);
  open.meter.resetRoundTrips();
  const before = open.requests.length;
  const writer = await open.volume.createFile(path, FILE_ATTRIBUTES, { replace: true });
  await writer.write(bytes);
  await writer.commit();
  const measured = open.meter.roundTripCount;
  const detail = requestKinds({ requests: open.requests.slice(before) });
  await writer.close();
  return { what: 'change one', measured, bound: 2, sense: '<=', unit: 'trips', detail };
}

async function requireSameTree(source: string, copy: string, { files }: Tree): Promise<void> {
  for (const path of files) {
    const [left, right] = await Promise.all([readFile(path), readFile(copy + path.slice(source.length))]);
    if (!left.equals(right)) throw new Error(`${path} is another one`);
  }
}

export const treeObjects: Target = {
  id: 'tree-objects',
  about:
    'requests for a tree of 6,000 small files in 1,500 folders: put, get -r, ls -lR, put again, one change',
  measure: size => {
    const [folderCount, dataBytes] = size === 'real' ? [1500, 32 * MIB] : [60, MIB];
    const data = executableCode(dataBytes);
    return inEachPlace(folderCount * 256 * 1024, async (folder, place): Promise<Measurement[]> => {
      const source = `${folder}/source`;
      const got = `${folder}/got`;
      const tree = await writeTree(source, folderCount, data);
      const side = await VolumeSide.create(`${folder}/volume`);
      const on = (measurement: Measurement): Measurement => ({
        ...measurement,
        what: `${measurement.what} on ${place}`,
      });
      try {
        const measured: Measurement[] = [];
        const writer = await side.open();
        await writer.put(source, '/tree');
        await writer.close();
        measured.push(on(requests('put', writer, 0, 60)));

        const getter = await side.open('getter');
        await getter.get('/tree', got);
        await getter.close();
        measured.push(on(requests('get', getter, 0, 40)));
        await requireSameTree(source, got, tree);
        await rm(got, { recursive: true });

        const lister = await side.open('lister');
        const count = await listAll(lister.volume, await lister.volume.directory('/tree'));
        await lister.close();
        const expected = tree.folders.length - 1 + tree.files.length;
        if (count !== expected) throw new Error(`${count} of ${expected} names are there`);
        measured.push(on(requests('ls -lR', lister, 0, 40)));

        const again = await side.open('again');
        await again.put(source, '/tree');
        await again.close();
        measured.push(on(requests('put again', again, 0, 40)));

        const changer = await side.open('changer');
        const deep = `/tree${(tree.files.at(-1) ?? '').slice(source.length)}`;
        measured.push(on(await changeOne(changer, deep, data.subarray(0, 4096))));
        await changer.close();
        return measured;
      } finally {
        await side.stop();
      }
    });
  },
};
