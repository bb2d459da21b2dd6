/** Walks of trees whose name nodes are more than one call reads ahead. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import type { Directory } from '../../src/volume/names/directory.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { IS_LONG } from '../support/soak.ts';
import { type Client, FILE, FOLDER, TestVolume } from './support.ts';

const FOLDERS = 700;
/** Of 120 bytes each, which do not compress: 8 KiB a folder, 5.6 MiB in all. */
const NAMES = 60;
/** Ten are enough. It takes 240 when all that is over the first call's bound is fetched folder by folder. */
const REQUESTS_MAX = 50;

let test: TestVolume;
let reader: Client;

beforeEach(async () => {
  test = await TestVolume.create();
  const { volume } = await test.client();
  const { root } = volume;
  await Promise.all(
    Array.from({ length: FOLDERS }, async (_, at) => {
      const folder = volume.namespace.newDirectoryAt({ directory: root, name: `folder-${at}` }, FOLDER);
      const items = Array.from({ length: NAMES }, () => ({
        name: randomBytes(120).toString('latin1').replace(/[\0/]/g, 'x'),
        inode: volume.names.newFile(FILE),
        segments: [],
      }));
      await volume.namespace.insertMany(folder, items);
    }),
  );
  await volume.close();
  reader = await test.client({ freshMs: 1000 });
});

afterEach(() => test.close());

async function countBelow(volume: Volume, directory: Directory): Promise<number> {
  let count = 0;
  for await (const entries of volume.namespace.entries(directory, { isWalk: true })) {
    for (const entry of entries) {
      const isFolder = entry.node.kind === 'embedded' && entry.node.inode.type === 'directory';
      count += isFolder ? await countBelow(volume, volume.namespace.directoryOf(directory, entry)) : 1;
    }
  }
  return count;
}

it.runIf(IS_LONG)('fetch the nodes of many folders together, all the way', async () => {
  expect(await countBelow(reader.volume, reader.volume.root)).toBe(FOLDERS * NAMES);
  expect(reader.meter.snapshot().get.requestCount).toBeLessThan(REQUESTS_MAX);
});

it.runIf(IS_LONG)('do so in gc as well', async () => {
  await collectGarbage(reader.volume, { dryRun: true });
  expect(reader.meter.snapshot().get.requestCount).toBeLessThan(REQUESTS_MAX);
});
