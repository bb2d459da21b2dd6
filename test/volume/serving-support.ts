/** Files of a volume as netfs opens them. */
import { expect } from 'vitest';
import type { Receipt } from '../../src/netfs/server.ts';
import type { ServedFile } from '../../src/volume/serving/served-file.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { OpenFile, UNIT_BYTES, unitBytes } from '../netfs/server-contract.ts';
import { type Client, FILE, readFile, testPipeline, writeFile } from './support.ts';

export type File = OpenFile<ServedFile>;

/** Opens a file at its path. */
export async function openFile({ volume }: Pick<Client, 'volume'>, path: string): Promise<File> {
  const { inode, parent, entry } = await volume.find(path);
  if (parent === undefined || entry === undefined) throw new Error(`${path} is no file`);
  const object = entry.node.kind === 'object' ? entry.node : undefined;
  const key = volume.server.register({ directory: parent, name: entry.name, id: inode.id, object });
  return await OpenFile.open(await testPipeline(), volume.server, key);
}

/** Opens a file that the first commit puts into the store. */
export async function newFile(
  { volume }: Pick<Client, 'volume'>,
  path: string,
  replace = false,
): Promise<File> {
  const key = volume.server.registerNew(volume.names.newFile(FILE), await volume.place(path), { replace });
  return await OpenFile.open(await testPipeline(), volume.server, key);
}

/** Makes a file of some units, all of one seed. */
export async function makeFile(
  { volume }: Pick<Client, 'volume'>,
  path: string,
  unitCount: number,
  seed: number,
): Promise<void> {
  await writeFile(volume, path, contentOf(Array.from({ length: unitCount }, () => seed)));
}

/** The bytes of whole units, by the seed of each; undefined for a hole. */
export function contentOf(seeds: readonly (number | undefined)[]): Buffer {
  return Buffer.concat(
    seeds.map((seed, index) => (seed === undefined ? Buffer.alloc(UNIT_BYTES) : unitBytes(seed, index))),
  );
}

/** Fails unless a file has exactly these units, read as any program reads it. */
export async function expectSeeds(
  { volume }: Pick<Client, 'volume'>,
  path: string,
  seeds: readonly (number | undefined)[],
): Promise<void> {
  const bytes = await readFile(volume, path);
  expect(bytes.byteLength).toBe(seeds.length * UNIT_BYTES);
  const wrong = seeds.flatMap((seed, index) => {
    const unit = bytes.subarray(index * UNIT_BYTES, (index + 1) * UNIT_BYTES);
    const expected = seed === undefined ? Buffer.alloc(UNIT_BYTES) : unitBytes(seed, index);
    return Buffer.compare(unit, expected) === 0 ? [] : [index];
  });
  expect(wrong).toEqual([]);
}

/** What a commit of these receipts on a file as it was opened says. */
export function subOf(
  file: File,
  receipts: ReadonlyMap<number, Receipt | undefined>,
  sizeBytes: number,
): Parameters<Volume['server']['commit']>[1] {
  const cutBytes = Math.min(file.sizeBytes, sizeBytes);
  return { receipts, sizeBytes, cutBytes, ifVersion: file.version };
}
