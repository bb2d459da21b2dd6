/**
 * Inode objects that a session has put before anything refers to them: a file that becomes an object of its
 * own, or a new one that does not fit into its folder. Each has a random key that was never used before.
 *
 * A key is never used twice. So what is left of an attempt that failed is garbage like any other:
 *
 *   - It does not disturb later attempts, because each takes another key.
 *   - gc cannot mistake a later attempt for it.
 *   - No server can show it as a version of the file: it has no mark, and nothing ever refers to it.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Inode } from '../../server/sealed/inode.ts';
import { putInodeObject, type StoredInode } from '../../server/sealed/inode-object.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';
import type { Marks } from '../state/marks.ts';
import { requireWritable, type VolumeSettings } from './volume-settings.ts';
import type { WriteTimes } from './write-times.ts';

/** After so many lost answers in a row, putting an object fails. */
const PUTS_MAX = 4;
/** Beyond so many objects, those that were put first are read again when they are needed. */
const OBJECTS_MAX = 4096;
const IF_ABSENT = { ifAbsent: true } as const;

/** The parts of a session that putting an object takes. */
interface FreshParts {
  readonly sealing: Sealing;
  readonly settings: VolumeSettings;
  readonly history: { beforeCommit(): void };
  readonly writes: WriteTimes;
  readonly nowMs: () => number;
}

export class FreshObjects {
  readonly #objects = new Map<Id, { readonly stored: StoredInode; isReferred: boolean }>();

  /**
   * Puts an inode under a fresh key. Rejects with EFORK and EROLLBACK, EUNSUPPORTED when the volume can only
   * be read, and with what the store throws.
   */
  async put(session: FreshParts, inode: Inode): Promise<StoredInode> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.putAs(session, randomId(), inode);
      } catch (error) {
        if (codeOf(error) !== 'EUNCERTAIN' || attempt === PUTS_MAX) throw error;
      }
    }
  }

  /**
   * Puts an inode under a random key that was never used before. Rejects as {@link put} does; with EUNCERTAIN
   * when the answer was lost. Then that key must not be used any more.
   */
  async putAs(session: FreshParts, key: Id, inode: Inode): Promise<StoredInode> {
    const { sealing, settings, history, writes, nowMs } = session;
    requireWritable(settings);
    history.beforeCommit();
    const writers = [{ version: inode.version, nonce: randomId() }];
    const atMs = nowMs();
    try {
      const stored = await putInodeObject(
        sealing,
        key,
        { inode, writers, predecessor: undefined },
        IF_ABSENT,
      );
      writes.note(key, atMs);
      this.#add(stored);
      return stored;
    } catch (cause) {
      // An earlier try has arrived, and its answer was lost.
      if (codeOf(cause) !== 'ECONFLICT') throw cause;
      throw new NetsealError('EUNCERTAIN', `inode ${key}: the answer was lost`, { cause });
    }
  }

  /** Notes the marks of those of the objects that a commit refers to, once it is in the store. */
  committed(marks: Marks, referred: Iterable<Id>): void {
    for (const key of referred) {
      const object = this.#objects.get(key);
      if (object === undefined || object.isReferred) continue;
      object.isReferred = true;
      const { stored } = object;
      marks.note(key, stored.object.inode.version, stored.hash);
    }
  }

  /** Returns an object that a commit refers to, and forgets it. Undefined for any other. */
  take(key: Id): StoredInode | undefined {
    const object = this.#objects.get(key);
    if (object?.isReferred !== true) return undefined;
    this.#objects.delete(key);
    return object.stored;
  }

  #add(stored: StoredInode): void {
    this.#objects.set(stored.key, { stored, isReferred: false });
    if (this.#objects.size <= OBJECTS_MAX) return;
    const [oldest] = this.#objects.keys();
    if (oldest !== undefined) this.#objects.delete(oldest);
  }
}
