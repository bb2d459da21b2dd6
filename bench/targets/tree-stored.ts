/** How much of a store a tree of source code takes. */
import { readFile } from 'node:fs/promises';
import { constants as zlib, zstdCompressSync } from 'node:zlib';
import { UNIT_BYTES_DEFAULT } from '../../src/base/geometry.ts';
import { DirectoryStore } from '../../src/server/directory-store.ts';
import { listAll } from '../../src/server/list-all.ts';
import { inEachPlace } from '../places.ts';
import { copySourceTree, type SourceTree } from '../source-tree.ts';
import type { Measurement, Target } from '../target.ts';
import { VolumeSide } from '../volume-side.ts';

const MIB = 1024 * 1024;
/** 23.5 % of a tree whose files, each alone, make 25.7 %. */
const BOUND: number = 23.5 / 25.7;

/** Returns what the files take when each unit is compressed alone, without padding and without records. */
async function aloneBytes({ files }: SourceTree): Promise<number> {
  let sum = 0;
  for (const path of files) {
    const bytes = await readFile(path);
    for (let at = 0; at < bytes.byteLength; at += UNIT_BYTES_DEFAULT) {
      const unit = bytes.subarray(at, at + UNIT_BYTES_DEFAULT);
      const packed = zstdCompressSync(unit, { params: { [zlib.ZSTD_c_compressionLevel]: 1 } });
      sum += Math.min(unit.byteLength, packed.byteLength);
    }
  }
  return sum;
}

async function storedIn(folder: string): Promise<{ bytes: number; objects: number; nodeBytes: number }> {
  const store = await DirectoryStore.open(folder);
  let [bytes, objects, nodeBytes] = [0, 0, 0];
  for await (const { key, sizeBytes } of listAll(store, '')) {
    bytes += sizeBytes;
    objects += 1;
    if (!key.startsWith('s/')) nodeBytes += sizeBytes;
  }
  await store.close();
  return { bytes, objects, nodeBytes };
}

export const treeStored: Target = {
  id: 'tree-stored',
  about:
    'all objects of a volume after put -r of a tree of source code, against its files compressed one by one',
  measure: async size => {
    const filesMax = size === 'real' ? 6000 : 200;
    const [first] = await inEachPlace(512 * MIB, async (folder, place): Promise<Measurement[]> => {
      if (place !== 'tmpfs' && size === 'small') return [];
      const tree = await copySourceTree(`${folder}/source`, filesMax);
      const side = await VolumeSide.create(`${folder}/volume`);
      try {
        const open = await side.open();
        await open.put(`${folder}/source`, '/tree');
        await open.close();
        const stored = await storedIn(side.store);
        const alone = await aloneBytes(tree);
        const percent = (bytes: number): string => `${((100 * bytes) / tree.bytes).toFixed(1)} %`;
        const detail =
          `${tree.files.length} files in ${tree.folderCount} folders, ${(tree.bytes / MIB).toFixed(1)} MiB: ` +
          `stored ${percent(stored.bytes)} in ${stored.objects} objects (inodes and heads ${percent(stored.nodeBytes)}); ` +
          `each file alone by zstd:1, unpadded, ${percent(alone)}`;
        const measured = stored.bytes / alone;
        return [{ what: 'of each alone', measured, bound: BOUND, sense: '<=', unit: 'x', detail }];
      } finally {
        await side.stop();
      }
    });
    if (first === undefined) throw new Error('nothing was measured');
    return [first];
  },
};
