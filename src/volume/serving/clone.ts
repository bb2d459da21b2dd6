/**
 * A new file with the content of another, and changes to it. Units are shared: the new file's map points to
 * the records of the old one, by their origin, and nothing is sealed again. Changes that can no longer be
 * committed to their own file are saved like this.
 */

import { NetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { NAME_BYTES_MAX } from '../../server/sealed/inode-body.ts';
import { isSlicePointer, type Pointer } from '../../server/sealed/pointer.ts';
import { UnitMap } from '../../server/sealed/unit-map.ts';
import type { FileCommitParts } from '../content/file-commits.ts';
import { FileContent, firstVersion } from '../content/file-content.ts';
import type { NamePlace } from '../names/live-names.ts';
import { requireNewestEpoch } from '../session/newest-epoch.ts';
import { type Changes, cutUnit, shortened } from './file-changes.ts';

export interface CloneOptions {
  /** Replaces a file that has the name; otherwise EEXIST. */
  readonly replace?: boolean | undefined;
  readonly mtimeNs: bigint;
  /**
   * True when the records of `base` were referred to so lately that no gc can delete them before the new file
   * refers to them.
   */
  readonly isBaseLive: boolean;
}

/**
 * Makes a file with the content of `base` and changes, under a new name. Returns its inode.
 *
 * Rejects with EEXIST and EISDIR; ECONFLICT when `base` was sealed anew after a rekey; EINVAL as
 * `contentAfter` does; EIO when records were pending for so long that a gc has taken them; with what reading
 * the map and committing throw. No name is there then.
 *
 * @param pointers as `checkChanges` has returned them: records of `base`'s own object.
 */
export async function cloneWith(
  parts: FileCommitParts,
  base: FileInode,
  { sizeBytes, cutBytes }: Pick<Changes, 'sizeBytes' | 'cutBytes'>,
  pointers: ReadonlyMap<number, Pointer | undefined>,
  target: NamePlace,
  { replace, mtimeNs, isBaseLive }: CloneOptions,
): Promise<FileInode> {
  const { session, names } = parts;
  const { mode, uid, gid, xattrs, atimeNs, unitSizeBytes } = base;
  const inode = names.newFile({ mode, uid, gid, xattrs, atimeNs, mtimeNs }, unitSizeBytes);
  const content = new FileContent(session, inode);
  const shared = new Set<Id>();
  for await (const { index, pointer } of unitsLeft(parts, base, Math.min(cutBytes, base.sizeBytes))) {
    if (pointers.has(index)) continue;
    const { index: at, lengthBytes } = cutUnit(cutBytes, unitSizeBytes);
    const isCut = cutBytes < base.sizeBytes && index === at;
    const left = isCut ? shortened(index, pointer, lengthBytes) : pointer;
    if (left === undefined) continue;
    shared.add(left.segment);
    content.set(index, asClone(base.id, index, left));
    if (content.isLarge) await content.foldIfLarge();
  }
  const own = new Set<Id>();
  for (const [index, pointer] of pointers) {
    if (pointer === undefined) continue;
    own.add(pointer.segment);
    content.set(index, asClone(base.id, index, pointer));
  }
  await requireNewestEpoch(session, shared);
  const made = await content.finish(sizeBytes);
  const isNeeded = (segment: Id): boolean => !isBaseLive || own.has(segment) || !shared.has(segment);
  const segments = [...content.segments].filter(isNeeded);
  const first = firstVersion(inode, made);
  await names.insert(target.directory, target.name, first, { replace, segments });
  return first;
}

/** Yields the units of a file that begin before `endBytes`. Throws the error of a page that is lost. */
async function* unitsLeft(
  { session }: Pick<FileCommitParts, 'session'>,
  { id, map, unitSizeBytes }: FileInode,
  endBytes: number,
): AsyncGenerator<{ readonly index: number; readonly pointer: Pointer }> {
  const units = new UnitMap(session.sealing, id, session.mapNodes);
  for await (const part of units.walk(map, 0, sizeToUnitCount(endBytes, unitSizeBytes))) {
    if ('error' in part) throw part.error;
    yield* part.units;
  }
}

/** Returns the pointer with which another file shares a unit's record. */
function asClone(objectId: Id, index: number, pointer: Pointer): Pointer {
  if (isSlicePointer(pointer) || pointer.origin !== undefined) return pointer;
  return { ...pointer, origin: { objectId, index } };
}

/** How many names are tried for one stash. */
const NAMES_MAX = 100;

/**
 * Returns the names under which changes of a file may be stashed beside it, one after the other:
 * `NAME.conflict-2026-12-01T10-20-30Z`, then with `-2` and so on. NAME is cut short where the whole would be
 * too long.
 */
export function* stashNames(name: Name, nowMs: number): Generator<Name> {
  const time = `${new Date(nowMs).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
  for (let count = 1; count <= NAMES_MAX; count += 1) {
    const end = `.conflict-${time}${count === 1 ? '' : `-${count}`}`;
    yield cutText(name, NAME_BYTES_MAX - end.length) + end;
  }
  throw new NetsealError('EEXIST', `there are ${NAMES_MAX} files of this conflict already`);
}

/** Cuts a name at a length, between two characters of UTF-8. */
function cutText(name: Name, lengthBytes: number): Name {
  let end = Math.min(name.length, lengthBytes);
  // Bytes that continue a character.
  while (end < name.length && end > 0 && (name.charCodeAt(end) & 0xc0) === 0x80) end -= 1;
  return name.slice(0, end);
}
