/**
 * Seals anew, under the newest epoch, everything that is sealed under older ones. Afterwards
 * `VolumeHeader.dropEpochs` may take the keys of the older epochs away. Clients go on working meanwhile.
 *
 *   take a cut ──▶ which live objects are under older epochs? ──▶ none: done
 *     ▲                        ▼
 *     └── empty the segments, write the inodes again
 *
 *   segment       its live records are opened and sealed anew into new segments, as compaction does it
 *   inode object  is written again; its version rises, its content, data version and times stay
 *   head          is written again with the next version
 *   list of gc    is written again under another key. An order has to be withdrawn first
 *
 * Why nothing is sealed under an older epoch after the last cut:
 *   1. A session that was opened before the rekey lacks the newest key. It cannot read an inode object that
 *      is sealed under that key. Nor can it replace one that was written since it read it. At the last cut,
 *      all live inode objects have been written since.
 *   2. Any other session seals under the newest epoch. It could only name records that were sealed earlier,
 *      and two rules prevent that. A put that is resumed takes no units of older epochs (`put-journal.ts`). A
 *      writer whose file was sealed anew meanwhile does not commit pointers to the old records
 *      (`newest-epoch.ts`).
 *   3. An entry that is being moved is, at any time, in one of two places, and a cut looks at both.
 *
 * It may be stopped at any time, and goes on with what is left when it is called again.
 */
import { requireCallback, requireInstance, requireOptions } from '../../base/arguments.ts';
import { codeOf, isLoss, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import { candidateListIds, readCandidateList } from '../../server/sealed/gc-objects.ts';
import { putHeadObject } from '../../server/sealed/head-object.ts';
import type { DirectoryEntry } from '../../server/sealed/inode.ts';
import { CANDIDATES_PREFIX, HEAD_PREFIX, ORDER_PREFIX, segmentKey } from '../../server/sealed/object-keys.ts';
import { recordEpoch } from '../../server/sealed/record-epoch.ts';
import { listHeads, mergeHeads, readCheckedHead } from '../history/heads.ts';
import type { Session } from '../session/session.ts';
import { requireWritable } from '../session/volume-settings.ts';
import { Volume } from '../volume.ts';
import { emptySegments } from './compact.ts';
import { requireNoSnapshots } from './gc.ts';
import { storeList } from './gc-candidates.ts';
import { type Cut, takeCut } from './gc-cut.ts';
import { type Visitor, Walk } from './walk.ts';

export interface ResealOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called often, with bytes. While `totalBytes` is undefined, how much there is is not known yet. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number | undefined) => void) | undefined;
}

/** How many objects of each kind. */
export interface ResealCounts {
  readonly segments: number;
  readonly inodes: number;
  readonly heads: number;
  /** Candidate lists and orders of gc. */
  readonly lists: number;
}

export interface ResealReport {
  /** What was sealed anew. In a segment, only the live records are. */
  readonly resealed: ResealCounts;
  readonly movedBytes: number;
  /** Bytes of the segments that were uploaded. */
  readonly writtenBytes: number;
  /**
   * What is still sealed under older epochs: it belongs to a newer netseal's extensions, changes all the
   * time, or a gc is running.
   */
  readonly left: ResealCounts;
  /** The epochs, but the newest, that nothing is sealed under any more; ascending. */
  readonly freeEpochs: readonly number[];
}

const ROUNDS_MAX = 6;
const OBJECTS_AT_ONCE = 32;

/**
 * Seals a volume anew. Rejects with
 *
 * - ECONFLICT: the volume changes too fast for a consistent cut.
 * - EFORK: clients have different histories.
 * - EUNSUPPORTED: the store's lists are not consistent; it holds snapshots of a newer netseal; or the volume
 *   can only be read.
 * - The error of the first object that cannot be read: what is damaged cannot be sealed anew.
 * - What the store throws; the signal's reason.
 *
 * What was sealed anew until then stays so.
 */
export async function resealVolume(volume: Volume, options: ResealOptions = {}): Promise<ResealReport> {
  requireInstance('volume', volume, Volume);
  requireOptions('options', options);
  requireCallback('options.onProgress', options.onProgress);
  const { session, settings } = volume;
  requireWritable(settings);
  await requireNoSnapshots(session.sealing.store, options.signal);
  const { forks } = await mergeHeads(session, options.signal);
  if (forks[0] !== undefined) throw forks[0].error;
  return await new Resealing(volume, options).run();
}

/** Live objects under older epochs. */
interface Old {
  readonly cut: Cut;
  /** Those that can be emptied. */
  readonly segments: ReadonlySet<Id>;
  readonly pinned: readonly Id[];
  readonly inodes: readonly Id[];
}

class Resealing {
  readonly #volume: Volume;
  readonly #session: Session;
  readonly #options: ResealOptions;
  readonly #newest: number;
  /** By segment. They never change. */
  readonly #epochs = new Map<Id, number>();
  /** The epochs of what is left. */
  readonly #leftEpochs = new Set<number>();
  readonly #resealedSegments = new Set<Id>();
  #inodeCount = 0;
  #movedBytes = 0;
  #writtenBytes = 0;

  constructor(volume: Volume, options: ResealOptions) {
    this.#volume = volume;
    this.#session = volume.session;
    this.#options = options;
    this.#newest = volume.session.sealing.control.newestEpoch;
  }

  async run(): Promise<ResealReport> {
    let old = await this.#findOld();
    for (let round = 1; round < ROUNDS_MAX && !isDone(old); round += 1) {
      if (round > 1) await this.#settleMoves();
      await this.#empty(old);
      await this.#rewriteInodes(old);
      old = await this.#findOld();
    }
    const heads = await this.#resealHeads();
    const lists = await this.#resealLists();
    for (const id of [...old.segments, ...old.pinned]) this.#leftEpochs.add(this.#epochs.get(id) ?? 0);
    for (const key of old.inodes) this.#leftEpochs.add(old.cut.inodeEpochs.get(key) ?? 0);
    const { control } = this.#session.sealing;
    return {
      resealed: {
        segments: this.#resealedSegments.size,
        inodes: this.#inodeCount,
        heads: heads.resealed,
        lists: lists.resealed,
      },
      movedBytes: this.#movedBytes,
      writtenBytes: this.#writtenBytes,
      left: {
        segments: old.segments.size + old.pinned.length,
        inodes: old.inodes.length,
        heads: heads.left,
        lists: lists.left,
      },
      freeEpochs: control.epochs.filter(epoch => epoch < this.#newest && !this.#leftEpochs.has(epoch)),
    };
  }

  async #findOld(): Promise<Old> {
    const { signal, onProgress } = this.#options;
    const cut = await takeCut(this.#volume, { signal, onProgress: () => onProgress?.(0, undefined) });
    const [lost] = cut.lost;
    if (lost !== undefined) throw unreadable(lost.error);
    const live = [...cut.liveBytes.keys()];
    const missing = live.find(id => !cut.segments.has(id));
    if (missing !== undefined)
      throw unreadable(new NetsealError('EMISSING', `segment ${missing} is not there`));
    const unknown = live.filter(id => !this.#epochs.has(id));
    await inParallel(unknown, OBJECTS_AT_ONCE, async id => {
      this.#epochs.set(id, await recordEpoch(this.#session.sealing, segmentKey(id), signal));
    });
    const old = live.filter(id => (this.#epochs.get(id) ?? 0) < this.#newest);
    return {
      cut,
      segments: new Set(old.filter(id => !cut.pinned.has(id))),
      pinned: old.filter(id => cut.pinned.has(id)),
      inodes: [...cut.inodeEpochs].flatMap(([key, epoch]) => (epoch < this.#newest ? [key] : [])),
    };
  }

  /** Moves what is live in old segments into new ones. */
  async #empty({ cut, segments }: Old): Promise<void> {
    if (segments.size === 0) return;
    const { signal, onProgress } = this.#options;
    let copyBytes = 0;
    for (const id of segments) copyBytes += cut.liveBytes.get(id) ?? 0;
    const chosen = { chosen: segments, copyBytes, packs: cut.packs };
    const emptied = await emptySegments(this.#volume, chosen, { signal, onProgress });
    for (const id of segments) this.#resealedSegments.add(id);
    this.#movedBytes += emptied.movedBytes;
    this.#writtenBytes += emptied.writtenBytes;
    this.#inodeCount += emptied.changed.size;
  }

  /** Writes those inode objects again that no segment was a reason to write. */
  async #rewriteInodes({ inodes }: Old): Promise<void> {
    await inParallel(inodes, OBJECTS_AT_ONCE, async key => {
      this.#options.signal?.throwIfAborted();
      const live = this.#volume.inodes.get(key);
      // The file's content was moved just now, which has written its inode.
      if (live.seen?.epoch === this.#newest) return;
      try {
        await live.apply(draft => draft.update({}));
        this.#inodeCount += 1;
      } catch (error) {
        // The object is gone, or only a newer netseal may change it. In that case the next cut finds it
        // again, and it counts as left.
        if (!isLoss(error)) throw error;
      }
    });
  }

  /** Ends moves whose clients have died, because entries that are being moved are not sealed anew. */
  async #settleMoves(): Promise<void> {
    const { moves, inodes } = this.#volume;
    const departing: { readonly key: Id; readonly entry: DirectoryEntry }[] = [];
    const visitor: Visitor = {
      entries: ({ stored }, entries) => {
        if (stored === undefined) return;
        for (const entry of entries)
          if (entry.departure !== undefined) departing.push({ key: stored.key, entry });
      },
      lost: () => undefined,
    };
    const { signal } = this.#options;
    await new Walk(this.#session, moves, visitor, { movesTwice: true, signal }).from();
    for (const { key, entry } of departing) {
      try {
        await moves.settle(inodes.directory(key), entry);
      } catch (error) {
        if (!isNetsealError(error)) throw error;
      }
    }
  }

  async #resealHeads(): Promise<{ resealed: number; left: number }> {
    const { sealing } = this.#session;
    const { signal } = this.#options;
    const done = { resealed: 0, left: 0 };
    await inParallel(await listHeads(sealing.store, signal), OBJECTS_AT_ONCE, async ({ client }) => {
      const epoch = await this.#epochOf(HEAD_PREFIX + client);
      if (epoch === undefined) return;
      if (await this.#resealHead(client)) done.resealed += 1;
      else {
        done.left += 1;
        this.#leftEpochs.add(epoch);
      }
    });
    return done;
  }

  /** Returns false for a head that only a newer netseal may change, or that changes all the time. */
  async #resealHead(client: Id): Promise<boolean> {
    const { sealing, marks } = this.#session;
    for (let attempt = 1; attempt <= ROUNDS_MAX; attempt += 1) {
      const found = await readCheckedHead(this.#session, client, this.#options.signal);
      if (found === undefined) return true;
      const { head, version } = found;
      // A head that cannot be read needs no key to be kept for it.
      if (isNetsealError(head)) return head.code !== 'EUNSUPPORTED';
      try {
        requireChangeable(`head of client ${client}`, head.extensions);
        const next = { ...head, version: head.version + 1 };
        marks.note(client, next.version, await putHeadObject(sealing, client, next, { ifMatch: version }));
        return true;
      } catch (error) {
        const code = codeOf(error);
        if (code === 'EUNSUPPORTED') return false;
        if (code !== 'ECONFLICT' && code !== 'EUNCERTAIN') throw error;
      }
      // The head's client was quicker. It may have the newest key: then the head is under the newest epoch by
      // now.
      if ((await this.#epochOf(HEAD_PREFIX + client)) === undefined) return true;
    }
    return false;
  }

  /** Candidate lists are stored again; orders are their passes' to withdraw. */
  async #resealLists(): Promise<{ resealed: number; left: number }> {
    const { sealing } = this.#session;
    const { signal } = this.#options;
    const done = { resealed: 0, left: 0 };
    for (const id of await candidateListIds(sealing, CANDIDATES_PREFIX, signal)) {
      const key = CANDIDATES_PREFIX + id;
      if ((await this.#epochOf(key)) === undefined) continue;
      try {
        // Two lists of one time count as one.
        await storeList(sealing, await readCandidateList(sealing, key, id, signal), signal);
      } catch (error) {
        if (!isLoss(error) || !LIST_LOST.has(error.code)) throw error;
      }
      await sealing.store.delete(key, { signal });
      done.resealed += 1;
    }
    for (const id of await candidateListIds(sealing, ORDER_PREFIX, signal)) {
      const epoch = await this.#epochOf(ORDER_PREFIX + id);
      if (epoch === undefined) continue;
      done.left += 1;
      this.#leftEpochs.add(epoch);
    }
    return done;
  }

  /** Returns the epoch of an object that is sealed under an older one; undefined for any other, or none. */
  async #epochOf(key: string): Promise<number | undefined> {
    try {
      const epoch = await recordEpoch(this.#session.sealing, key, this.#options.signal);
      return epoch < this.#newest ? epoch : undefined;
    } catch (error) {
      if (isLoss(error) && LIST_LOST.has(error.code)) return undefined;
      throw error;
    }
  }
}

/** What is so damaged, or gone, that no key would help. */
const LIST_LOST: ReadonlySet<string> = new Set(['EMISSING', 'EAUTH', 'EFORMAT', 'ETRUNCATED', 'EKEY']);

function isDone({ segments, inodes }: Old): boolean {
  return segments.size === 0 && inodes.length === 0;
}

function unreadable(cause: NetsealError): NetsealError {
  return new NetsealError(
    cause.code,
    `not everything can be read, and what is damaged cannot be sealed anew: see "netseal verify": ${cause.message}`,
    { cause },
  );
}
