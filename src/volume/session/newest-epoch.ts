/** Keeps a rekey from being undone: commits must not name old records of what was sealed anew. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { segmentKey } from '../../server/sealed/object-keys.ts';
import { recordEpoch } from '../../server/sealed/record-epoch.ts';
import type { Session } from './session.ts';

/**
 * Throws ECONFLICT when one of these segments is sealed under an older epoch: the epoch is about to be
 * dropped, or has been. Call it before a commit names segments to which nothing live may refer any more. It
 * costs nothing while there is only one epoch.
 */
export async function requireNewestEpoch(
  { sealing }: Pick<Session, 'sealing'>,
  segments: Iterable<Id>,
): Promise<void> {
  const { newestEpoch, oldestEpoch } = sealing.control;
  if (oldestEpoch === newestEpoch) return;
  for (const segment of segments) {
    if ((await recordEpoch(sealing, segmentKey(segment))) === newestEpoch) continue;
    throw new NetsealError(
      'ECONFLICT',
      'the file was sealed anew under another key meanwhile: read it again',
    );
  }
}
