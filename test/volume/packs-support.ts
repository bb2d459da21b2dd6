import type { FileInode } from '../../src/server/sealed/inode.ts';
import type { Pointer } from '../../src/server/sealed/pointer.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { bytesOf, packFiles } from './support.ts';

export async function fileAt(volume: Volume, path: string): Promise<FileInode> {
  const { inode } = await volume.find(path);
  if (inode.type !== 'file') throw new Error(`${path} is no file`);
  return inode;
}

export async function pointerOf(volume: Volume, path: string): Promise<Pointer> {
  const [slot] = (await fileAt(volume, path)).map.slots;
  if (slot === undefined) throw new Error(`${path} has no content`);
  return slot.pointer;
}

/** Files f0, f1, ... of these lengths in the root, which arrive together. Returns their bytes. */
export async function packed(volume: Volume, lengths: readonly number[]): Promise<Buffer[]> {
  const contents = lengths.map((lengthBytes, at) => bytesOf(at + 1, lengthBytes));
  const files = contents.map((bytes, at) => ({ directory: volume.root, name: `f${at}`, bytes }));
  await packFiles(volume, files);
  return contents;
}
