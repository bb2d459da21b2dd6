/** The worked sizes of whole stores in `docs/LAYOUT.md`. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { listAll } from '../../src/server/list-all.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { createVolume, openVolume } from '../../src/volume/open.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { bytesOf, FILE, makeFolder, packFiles, testPipeline, writeFile } from './support.ts';

/** The sizes of all objects of a new volume after `work`, by what begins their keys. */
async function sizesAfter(
  work: (volume: Volume) => Promise<void>,
  settings: { readonly packBytes?: number } = {},
): Promise<Record<string, number[]>> {
  const store = new MemoryStore();
  const secret = { type: 'key-file', contents: new Uint8Array(randomBytes(64)) } as const;
  await createVolume({ store, slots: [{ label: 'key file', secret }], settings });
  const volume = await openVolume({ store, secrets: secret, pipeline: await testPipeline() });
  await work(volume);
  await volume.close();
  const sizes: Record<string, number[]> = {};
  for await (const { key, sizeBytes } of listAll(store, '')) {
    const [prefix = ''] = key.split('/');
    sizes[prefix] = [...(sizes[prefix] ?? []), sizeBytes].sort((left, right) => left - right);
  }
  return sizes;
}

it('stores take the bytes that docs/LAYOUT.md says', async () => {
  const empty = { volume: [808], i: [328] };
  expect(await sizesAfter(async () => undefined)).toEqual(empty);
  // Each segment: its records, a footer of 328, a trailer of 16.
  const end = 328 + 16;
  const heads = [328];
  expect(await sizesAfter(volume => writeFile(volume, '/file', bytesOf(1, 1000)))).toEqual({
    ...empty,
    heads,
    s: [1096 + end],
  });
  expect(await sizesAfter(volume => writeFile(volume, '/zeros', Buffer.alloc(1000)))).toEqual({
    ...empty,
    heads,
  });
  const three = (volume: Volume): Promise<void> =>
    packFiles(
      volume,
      [1000, 2000, 3000].map((lengthBytes, at) => ({
        directory: volume.root,
        name: `f${at}`,
        bytes: bytesOf(at, lengthBytes),
      })),
    );
  // Padmé of 6,000 is 6,144.
  expect(await sizesAfter(three)).toEqual({ ...empty, heads, i: [584], s: [6216 + end] });
  // Without packs each has a record: 1,024, 2,048 and 3,072 with their padding.
  const alone = await sizesAfter(three, { packBytes: 0 });
  expect(alone).toEqual({ ...empty, heads, i: [584], s: [1096 + 2120 + 3144 + end] });
  expect(await sizesAfter(async volume => void (await makeFolder(volume, '/folder')))).toEqual({
    ...empty,
    heads,
  });
  // An object for the inode, as it has two names.
  const linked = await sizesAfter(async volume => {
    await volume.names.insert(volume.root, 'fifo', volume.names.newPipe(FILE, 'fifo'));
    await volume.names.link({ directory: volume.root, name: 'fifo' }, volume.root, 'second');
  });
  expect(linked).toEqual({ ...empty, i: [328, 328], heads });
});
