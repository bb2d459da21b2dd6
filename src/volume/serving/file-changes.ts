/** Computes a file's content after a commit of netfs: its extent map with the new receipts. */
import { requireArgument } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { CommitSub } from '../../netfs/server.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { isSlicePointer, type Pointer } from '../../server/sealed/pointer.ts';
import { FileContent, type UploadedContent } from '../content/file-content.ts';
import type { Session } from '../session/session.ts';
import { requireReceipt } from './receipts.ts';

export type Changes = Pick<CommitSub, 'receipts' | 'sizeBytes' | 'cutBytes'>;

/**
 * Throws EINVAL for changes that no file of this unit size can have. Returns where the new units lie;
 * undefined for new holes.
 */
export function checkChanges(
  { receipts, sizeBytes, cutBytes }: Changes,
  unitSizeBytes: number,
): ReadonlyMap<number, Pointer | undefined> {
  const unitCount = sizeToUnitCount(sizeBytes, unitSizeBytes);
  requireArgument(cutBytes <= sizeBytes, `a file of ${sizeBytes} bytes was never cut down to ${cutBytes}`);
  const pointers = new Map<number, Pointer | undefined>();
  for (const [index, receipt] of receipts) {
    requireArgument(index < unitCount, `unit ${index} lies beyond a size of ${sizeBytes} bytes`);
    pointers.set(index, receipt === undefined ? undefined : requireReceipt(receipt).pointer);
  }
  return pointers;
}

/**
 * Returns the content of `base` with changes. EINVAL when the unit that the file was cut in needs a new
 * record and has none. Rejects with the error of a page of the map that is needed and lost.
 *
 * @param pointers as {@link checkChanges} has returned them.
 */
export async function contentAfter(
  session: Session,
  base: FileInode,
  { sizeBytes, cutBytes }: Changes,
  pointers: ReadonlyMap<number, Pointer | undefined>,
): Promise<UploadedContent> {
  requireArgument(
    cutBytes <= base.sizeBytes,
    `a file of ${base.sizeBytes} bytes was not cut down to ${cutBytes}`,
  );
  const content = new FileContent(session, base);
  if (cutBytes < base.sizeBytes) {
    const { index, lengthBytes } = cutUnit(cutBytes, base.unitSizeBytes);
    const rest =
      lengthBytes === 0 || pointers.has(index)
        ? undefined
        : shortened(index, await content.find(index), lengthBytes);
    await content.truncate(cutBytes);
    if (rest !== undefined) content.set(index, rest);
  }
  for (const [index, pointer] of pointers) content.set(index, pointer);
  return { content: await content.finish(sizeBytes), segments: content.segments };
}

/** Returns the unit that a file is cut in, and how many bytes it keeps; 0 when the cut is where it begins. */
export function cutUnit(
  cutBytes: number,
  unitSizeBytes: number,
): { readonly index: number; readonly lengthBytes: number } {
  const index = Math.floor(cutBytes / unitSizeBytes);
  return { index, lengthBytes: cutBytes - index * unitSizeBytes };
}

/** Returns what is left of a unit that has no new record. EINVAL unless it is a hole or lies in a pack. */
export function shortened(
  index: number,
  pointer: Pointer | undefined,
  lengthBytes: number,
): Pointer | undefined {
  if (pointer === undefined) return undefined;
  requireArgument(
    isSlicePointer(pointer),
    `unit ${index} was cut down to ${lengthBytes} bytes, and has no new record`,
  );
  const { slice } = pointer;
  return { ...pointer, slice: { ...slice, lengthBytes: Math.min(slice.lengthBytes, lengthBytes) } };
}
