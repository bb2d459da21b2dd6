/**
 * Gives an existing file new content, by one swap of the object that holds its inode. All ways of writing an
 * existing file end here, once their units are placed in segments.
 */
import { NetsealError } from '../../base/errors.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import type { InodeChange } from '../names/file-place.ts';
import { isSameMap, segmentsLeft } from '../session/compacted.ts';
import { requireNewestEpoch } from '../session/newest-epoch.ts';
import type { Session } from '../session/session.ts';
import type { UploadedContent } from './file-content.ts';

/** Commits a change of the file's inode, wherever that lies. */
export type ChangeInode = (change: (inode: FileInode) => InodeChange<FileInode>) => Promise<FileInode>;

/** One commit of new content, which replaces that of `base`. */
export interface ContentCommit extends UploadedContent {
  /** The inode that the content was made from. */
  readonly base: FileInode;
  readonly times: Pick<FileInode, 'mtimeNs' | 'ctimeNs'>;
  /**
   * Makes the content again, from an inode that was compacted meanwhile. Without it the content goes on
   * pointing into the segments that compaction has emptied.
   */
  readonly remake?: ((base: FileInode) => Promise<UploadedContent>) | undefined;
}

/** How often a file may be compacted while one commit of it is under way. */
const COMPACTED_MAX = 8;

/**
 * Commits new content of an existing file. Returns the inode as it is afterwards.
 *
 * Rejects with ECONFLICT when another client has changed the content since `base`, has sealed it anew after a
 * rekey (unless there is `remake`), or has compacted the file too often; EFORK, EROLLBACK, and what `apply`
 * and `remake` reject with.
 */
export async function commitContent(
  session: Session,
  apply: ChangeInode,
  { base, content, segments, times, remake }: ContentCommit,
): Promise<FileInode> {
  let current = base;
  let uploaded: UploadedContent = { content, segments };
  for (let attempt = 1; ; attempt += 1) {
    let compacted: FileInode | undefined;
    try {
      return await apply(now => {
        compacted = undefined;
        if (now.dataVersion !== base.dataVersion) throw changedByAnother();
        if (!isSameMap(now.map, current.map)) {
          compacted = now;
          throw compactedMeanwhile();
        }
        return {
          patch: { ...uploaded.content, ...times, dataVersion: base.dataVersion + 1 },
          segments: uploaded.segments,
        };
      });
    } catch (error) {
      if (compacted === undefined || attempt === COMPACTED_MAX) throw error;
      current = compacted;
      if (remake === undefined) {
        const left = await segmentsLeft(session, base.id, content.map, current.map);
        await requireNewestEpoch(session, left);
        uploaded = { content, segments: new Set([...segments, ...left]) };
      } else {
        uploaded = await remake(current);
      }
    }
  }
}

function changedByAnother(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client changed the content of the file: read it again');
}

function compactedMeanwhile(): NetsealError {
  return new NetsealError('ECONFLICT', 'the file was compacted meanwhile: try again');
}
