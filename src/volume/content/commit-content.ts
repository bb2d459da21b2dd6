/**
 * Gives an existing file new content, by one swap of the inode that points to it. All ways of writing an
 * existing file end here, once their units are placed in segments.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { changePlaced, type FilePlace, type PlaceParts } from '../names/file-place.ts';
import { isSameMap, segmentsLeft } from '../session/compacted.ts';
import type { Content } from './file-content.ts';

/** What a commit changes of the inode. */
export interface ContentChange extends Content {
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** One commit: `change` replaces the content of `base`. */
export interface ContentCommit {
  readonly place: FilePlace;
  /** The inode that the change was made from. */
  readonly base: FileInode;
  readonly change: ContentChange;
  /** Segments that must be durable before. */
  readonly segments: Iterable<Id>;
}

/** How often a file may be compacted while one commit of it is under way. */
const COMPACTED_MAX = 8;

/**
 * Commits new content of an existing file, wherever its inode lies. Returns the inode as it is afterwards.
 *
 * Rejects with ECONFLICT when another client has changed the content since `base`, or has compacted the file
 * too often; ENOENT when the name does not lead to the file any more; EFORK, EROLLBACK, and what the store
 * throws.
 */
export async function commitContent(
  parts: PlaceParts,
  { place, base, change, segments }: ContentCommit,
): Promise<FileInode> {
  let current = base;
  let left: ReadonlySet<Id> = new Set<Id>();
  for (let attempt = 1; ; attempt += 1) {
    let compacted: FileInode | undefined;
    try {
      return await changePlaced<FileInode>(parts, place, now => {
        compacted = undefined;
        if (now.dataVersion !== base.dataVersion) throw changedByAnother();
        if (!isSameMap(now.map, current.map)) {
          compacted = now;
          throw compactedMeanwhile();
        }
        return {
          patch: { ...change, dataVersion: base.dataVersion + 1 },
          segments: [...segments, ...left],
        };
      });
    } catch (error) {
      if (compacted === undefined || attempt === COMPACTED_MAX) throw error;
      current = compacted;
      left = await segmentsLeft(parts.session, base.id, change.map, current.map);
    }
  }
}

function changedByAnother(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client changed the content of the file: read it again');
}

function compactedMeanwhile(): NetsealError {
  return new NetsealError('ECONFLICT', 'the file was compacted meanwhile: try again');
}
