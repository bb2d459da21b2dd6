/** Reads many small files at a time. The content of each is one unit or none; all share one request. */
import type { OpenedUnit } from '../../pipeline/requests.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { type Pointer, storedBytesOf } from '../../server/sealed/pointer.ts';
import { readUnits, type UnitToRead } from '../../server/sealed/unit-reader.ts';
import type { Session } from '../session/session.ts';

/** Returns a new file with its content in one unit, or in none if there is no pointer. */
export function withSmallContent(inode: FileInode, pointer: Pointer | undefined): FileInode {
  if (pointer === undefined) return inode;
  const map = { depth: 0, slots: [{ slot: 0, pointer }] };
  return { ...inode, dataVersion: 1, storedBytes: storedBytesOf(pointer), map };
}

/** The contents of small files, in the order of the files, and the shared memory that holds them. */
export interface SmallContents {
  /** Undefined where a file is empty or a hole. A unit may be shorter than its file: the rest is zeros. */
  readonly units: readonly (OpenedUnit | undefined)[];
  /** The units' bytes must not be used afterwards. */
  release(): void;
}

/**
 * Reads the content of small files. What `ReadCost` says of it must fit in a quarter of the pipeline's
 * memory, sealed and plain: else EINVAL. Acquire the plain bytes from the read budget first.
 *
 * A unit that cannot be read is reported in its place, as `readUnits` does. Rejects with the signal's reason,
 * ECLOSED, EWORKER.
 */
export async function readSmallFiles(
  { sealing }: Session,
  files: readonly FileInode[],
  signal?: AbortSignal,
): Promise<SmallContents> {
  const requests = files.map(unitOfSmall);
  const wanted = requests.filter(request => request !== undefined);
  const { units, release } = await readUnits(sealing, wanted, signal);
  let next = 0;
  return { units: requests.map(request => (request === undefined ? undefined : units[next++])), release };
}

/** Returns the unit of a small file; undefined for a file that is empty or a hole. */
export function unitOfSmall({ id, unitSizeBytes, sizeBytes, map }: FileInode): UnitToRead | undefined {
  const [slot] = map.slots;
  if (slot === undefined || sizeBytes === 0) return undefined;
  return { objectId: id, index: 0, unitSizeBytes, pointer: slot.pointer, plainBytesMax: sizeBytes };
}
