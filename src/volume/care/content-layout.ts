/**
 * Describes where the content of a file lies: which records hold its units, and how many of them this machine
 * keeps.
 */
import { sizeToUnitCount } from '../../base/geometry.ts';
import { idBytes } from '../../base/ids.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { isSlicePointer, type Pointer, storedBytesOf } from '../../server/sealed/pointer.ts';
import { UnitMap } from '../../server/sealed/unit-map.ts';
import type { Volume } from '../volume.ts';

/** Counts of what a file is made of. */
export interface ContentLayout {
  readonly unitCount: number;
  /** Units that are all zeros, and so have no record. */
  readonly holeCount: number;
  /** Units with a record of their own, and the bytes of those. */
  readonly recordCount: number;
  readonly recordBytes: number;
  /** Units that lie in packs with other files, and their share of the packs' records. */
  readonly packedCount: number;
  readonly packedBytes: number;
  /** The segments and the packs that they lie in. */
  readonly segmentCount: number;
  readonly packCount: number;
  /** Units whose record the local cache has; undefined without a cache. */
  readonly cachedCount: number | undefined;
  /** Units whose records are not known, because a page of the map cannot be read. */
  readonly lostCount: number;
}

/**
 * Reads the extent map of a file, and no content. Rejects with the signal's reason, and what reading the map
 * throws; a page of it that is damaged counts as lost.
 */
export async function contentLayout(
  { session }: Volume,
  inode: FileInode,
  signal?: AbortSignal,
): Promise<ContentLayout> {
  const map = new UnitMap(session.sealing, inode.id, session.mapNodes);
  const unitCount = sizeToUnitCount(inode.sizeBytes, inode.unitSizeBytes);
  const [segments, packs] = [new Set<string>(), new Set<string>()];
  const sums = {
    recordCount: 0,
    recordBytes: 0,
    packedCount: 0,
    packedBytes: 0,
    cachedCount: 0,
    lostCount: 0,
  };
  for await (const part of map.walk(inode.map, 0, unitCount, signal)) {
    if ('error' in part) {
      sums.lostCount += Math.min(part.to, unitCount) - part.from;
      continue;
    }
    for (const { index, pointer } of part.units) {
      segments.add(pointer.segment);
      if (isSlicePointer(pointer)) {
        packs.add(pointer.slice.packId);
        sums.packedCount += 1;
        sums.packedBytes += storedBytesOf(pointer);
      } else {
        sums.recordCount += 1;
        sums.recordBytes += pointer.lengthBytes;
      }
      if (isCached(session.cache, inode, index, pointer)) sums.cachedCount += 1;
    }
  }
  return {
    ...sums,
    unitCount,
    holeCount: unitCount - sums.recordCount - sums.packedCount - sums.lostCount,
    segmentCount: segments.size,
    packCount: packs.size,
    cachedCount: session.cache === undefined ? undefined : sums.cachedCount,
  };
}

function isCached(
  cache: Volume['session']['cache'],
  inode: FileInode,
  index: number,
  pointer: Pointer,
): boolean {
  if (cache === undefined || !cache.isOpen) return false;
  const { slice, origin, tag } = pointer;
  const objectId = slice?.packId ?? origin?.objectId ?? inode.id;
  const at = slice === undefined ? (origin?.index ?? index) : 0;
  return cache.has({ objectId: idBytes(objectId), index: at, expectedTag: tag });
}
