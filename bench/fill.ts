/** Makes folders with many files quickly: through the library, without local files to copy. */
import { FILE_ATTRIBUTES, FOLDER_ATTRIBUTES, type OpenVolume } from './volume-side.ts';

const FILES_PER_COMMIT = 2000;

export function fillName(index: number): string {
  return `file-${String(index).padStart(6, '0')}`;
}

/** Makes a folder in the root with `count` files of a few bytes. Each has a unit, as a file of 4 KiB would. */
export async function fillFolder({ volume }: OpenVolume, name: string, count: number): Promise<void> {
  const { names, session, root } = volume;
  const folder = names.newDirectory(FOLDER_ATTRIBUTES, root.id);
  await names.insertDirectory(root, name, folder);
  for (let from = 0; from < count; from += FILES_PER_COMMIT) {
    const indexes = Array.from({ length: Math.min(FILES_PER_COMMIT, count - from) }, (_, at) => from + at);
    const contents = indexes.map(index => Buffer.from(fillName(index)));
    const lengthBytes = contents.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const batch = await session.units.reserve(lengthBytes);
    let offsetBytes = 0;
    const inodes = contents.map(content => {
      const inode = names.newFile(FILE_ATTRIBUTES);
      batch.bytes.set(content, offsetBytes);
      batch.add(inode.id, 0, inode.unitSizeBytes, offsetBytes, content.byteLength);
      offsetBytes += content.byteLength;
      return { ...inode, sizeBytes: content.byteLength };
    });
    const pointers = await batch.submit();
    await session.dataSegments.flush();
    const items = inodes.map((inode, at) => {
      const pointer = pointers[at];
      if (pointer === undefined) throw new Error('a file became a hole');
      const map = { depth: 0, slots: [{ slot: 0, pointer }] };
      return {
        name: fillName(indexes[at]!),
        inode: { ...inode, storedBytes: pointer.lengthBytes, map },
        segments: [pointer.segment],
      };
    });
    const failures = await names.insertMany(folder, items);
    for (const failure of failures) if (failure !== undefined) throw failure;
  }
  await volume.sync();
}
