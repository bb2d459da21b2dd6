/** Compares files: their attributes and content. */
import type { Attributes, DirectoryEntry, FileInode, Inode } from '../server/sealed/inode.ts';
import { isDevice } from '../server/sealed/inode-body.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalFile } from './local-source.ts';
import { throwIfUnreachable } from './tally.ts';

/** Compares all attributes but the time. */
export function isSameAttributes(left: Attributes, right: Attributes): boolean {
  return (
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    left.xattrs.length === right.xattrs.length &&
    left.xattrs.every(({ key, value }, at) => {
      const other = right.xattrs[at];
      return other?.key === key && Buffer.compare(other.value, value) === 0;
    })
  );
}

/** Compares two FIFOs or devices, with their attributes. False as well when one is something else. */
export function isSameSpecial(left: Inode, right: Inode): boolean {
  if (left.type !== right.type || left.mtimeNs !== right.mtimeNs || !isSameAttributes(left, right))
    return false;
  return !isDevice(left) || !isDevice(right) || (left.major === right.major && left.minor === right.minor);
}

/** How much of a local file is read at once. */
const READ_BYTES: number = 256 * 1024;
const ZEROS = Buffer.alloc(READ_BYTES);

/** Where a file of the volume was found. */
export interface FoundAt {
  readonly directory: Directory;
  readonly entry: DirectoryEntry;
}

/**
 * Compares a file of the volume with a local one, byte by byte up to the first difference. False as well when
 * a part of the volume's file is lost. Rejects with the signal's reason, what reading the local file throws,
 * and a `StoreFailure` when the store cannot be reached.
 */
export async function hasSameContent(
  volume: Volume,
  inode: FileInode,
  { directory, entry }: FoundAt,
  file: LocalFile,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { sizeBytes } = inode;
  const room = Buffer.alloc(Math.min(READ_BYTES, sizeBytes + 1));
  const reader = volume.reader(inode, { parent: directory, entry });
  for await (const { offsetBytes, lengthBytes, bytes, error } of reader.pieces(0, sizeBytes, { signal })) {
    if (error !== undefined) {
      throwIfUnreachable(error);
      return false;
    }
    const dataBytes = bytes?.byteLength ?? 0;
    for (let at = 0; bytes !== undefined && at < dataBytes; at += room.length) {
      const expected = bytes.subarray(at, at + room.length);
      const readBytes = await file.read(room.subarray(0, expected.length), offsetBytes + at, signal);
      if (readBytes < expected.length || Buffer.compare(room.subarray(0, readBytes), expected) !== 0)
        return false;
    }
    if (!(await isZero(file, offsetBytes + dataBytes, offsetBytes + lengthBytes, room, signal))) return false;
  }
  // The local file must not be longer either.
  return (await file.read(room.subarray(0, 1), sizeBytes, signal)) === 0;
}

/** True when the local file has this whole range, and it holds only zeros. Holes are not read. */
async function isZero(
  file: LocalFile,
  fromBytes: number,
  toBytes: number,
  room: Buffer,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  for (let at = fromBytes; at < toBytes; ) {
    const data = file.nextData(at);
    if (data === undefined || data.start >= toBytes) return true;
    for (at = Math.max(at, data.start); at < Math.min(toBytes, data.end); ) {
      const part = room.subarray(0, Math.min(room.length, toBytes - at, data.end - at));
      if ((await file.read(part, at, signal)) < part.length || !part.equals(ZEROS.subarray(0, part.length))) {
        return false;
      }
      at += part.length;
    }
  }
  return true;
}
