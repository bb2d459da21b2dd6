/**
 * An inode that is an object of its own. Its reads are shared, its changes are committed in groups.
 *
 * A change is a function of the inode. If another client was first, the change is applied again to the inode
 * as that client left it: a rebase. So a change must only read the draft and change it.
 *
 *   queued ──▶ applied to a draft ──▶ leaves, segments, promoted ──▶ put, if the inode is unchanged
 *     ▲                               objects durable                    │ ECONFLICT, EUNCERTAIN
 *     └──────────────────── read again, see what became of it ◀──────────┘
 *
 * Invariants
 *   1. One commit at a time. A change resolves when a commit that holds it was acknowledged, or was found in
 *      the store.
 *   2. A change is refused (it rejects) only on a state that was read after the change was submitted.
 *   3. After a lost answer the inode is read again, and its list of the last 16 writers decides:
 *      - our nonce is in it: the commit happened
 *      - our version is there under another nonce, or not there yet: it did not happen, and is tried again
 *      - our version is older than the list: unknown, EUNCERTAIN
 *   4. A version that was acknowledged and is gone later is reported as EFORK.
 *   5. A mark is noted for each version that was read or acknowledged.
 *   6. A commit that proves to refer to lost objects is taken back, if nobody has changed the inode since;
 *      see `take-back.ts`.
 *   7. A change fails if its own segments fail, or its own values cannot be encoded. It does not fail because
 *      of another change in its group.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { bestEffort } from '../../base/best-effort.ts';
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Inode, InodeObject, Writer } from '../../server/sealed/inode.ts';
import { WRITERS_MAX } from '../../server/sealed/inode-format.ts';
import { putInodeObject, readInodeObject, type StoredInode } from '../../server/sealed/inode-object.ts';
import { keepYoung, Reliance, requireStillKept } from '../session/keep-young.ts';
import { makeDurable, type Session } from '../session/session.ts';
import { requireWritable } from '../session/volume-settings.ts';
import { readBesideMark } from '../state/marks.ts';
import {
  type ApplyOptions,
  type Attempt,
  applyAll,
  type Change,
  covers,
  type GroupCommit,
  type Pending,
  refuseInvalid,
  refuseUnstored,
  settle,
  uncertain,
} from './commit-group.ts';
import { Draft } from './draft.ts';
import { takeBack } from './take-back.ts';

/** The inode that changes are applied to. One that is being made has no stored version. */
interface Base {
  readonly stored: StoredInode | undefined;
  readonly inode: Inode;
  readonly readAtMs: number;
}

/** The most changes in one commit. */
const GROUP_MAX = 20_000;
/** The commit fails after so many lost swaps in a row. */
const ATTEMPTS_MAX = 64;
const PAUSE_MS_MAX = 100;
/** The most promoted objects that one commit puts at once. */
const PUTS_MAX = 32;

export class LiveInode {
  /** The key of the inode's object. */
  readonly key: Id;
  readonly #session: Session;
  readonly #pathOf: () => string | undefined;
  #base: Base | undefined;
  #reading: Promise<Base> | undefined;
  /** The read that starts after the present one has ended. */
  #nextReading: Promise<Base> | undefined;
  #queue: Pending[] = [];
  #committing: Promise<void> | undefined;
  /** The last commit of this session that was acknowledged. */
  #acknowledged: Writer | undefined;
  #hasFailed = false;
  #lostSwapCount = 0;

  /** @param pathOf returns the path at which the inode was met, for messages; undefined for none. */
  constructor(session: Session, key: Id, pathOf: () => string | undefined = () => undefined) {
    this.#session = session;
    this.key = key;
    this.#pathOf = pathOf;
  }

  /**
   * Returns an inode that the store does not have yet. Its first change, or {@link create}, puts it there.
   */
  static unborn(session: Session, inode: Inode): LiveInode {
    const live = new LiveInode(session, inode.id);
    live.#base = { stored: undefined, inode, readAtMs: Number.POSITIVE_INFINITY };
    return live;
  }

  /**
   * Takes over an object that this session has put, once something in the store refers to it. Throws EFORK
   * when its mark says otherwise.
   */
  adopt(stored: StoredInode): void {
    this.#acknowledge(stored);
  }

  /** True when no read and no commit is under way. */
  get isIdle(): boolean {
    return this.#committing === undefined && this.#reading === undefined;
  }

  /** How often another client was first, or an answer was lost, since this session met the inode. */
  get lostSwapCount(): number {
    return this.#lostSwapCount;
  }

  /** True unless the inode is known not to be in the store yet. */
  get isBorn(): boolean {
    return this.#base?.stored !== undefined || this.#base === undefined;
  }

  /**
   * True for an unborn inode that may be put into the store yet: it exists only here. One whose put has
   * failed lasts as long as its owner keeps it, to try again.
   */
  get isAwaited(): boolean {
    return !this.isBorn && !this.#hasFailed;
  }

  /**
   * The version that was read or committed last, and the epoch that it is sealed under; undefined for none.
   */
  get seen(): { readonly version: number; readonly readAtMs: number; readonly epoch: number } | undefined {
    const { stored, inode, readAtMs } = this.#base ?? {};
    return stored === undefined || inode === undefined || readAtMs === undefined
      ? undefined
      : { version: inode.version, readAtMs, epoch: stored.epoch };
  }

  /**
   * Returns the inode as it was at most `maxAgeMs` ago. Default: the session's freshness. With 0 the store is
   * asked after this call. Rejects with EMISSING, EROLLBACK, EFORK, and what reading it throws.
   */
  async read(maxAgeMs: number = this.#session.freshMs): Promise<Inode> {
    this.#session.requireOpen();
    const base = this.#base;
    const isFresh = base !== undefined && this.#session.nowMs() - base.readAtMs <= maxAgeMs;
    if (isFresh && (maxAgeMs > 0 || base.stored === undefined)) return base.inode;
    return (await this.#load()).inode;
  }

  /**
   * Commits a change. Changes that wait at the same time share a commit.
   *
   * @returns what the change returned, once it is committed. Rejects with what the change threw, and nothing
   *   is changed then; with EUNCERTAIN when it is unknown whether it happened; with what the store throws.
   *   EUNSUPPORTED is thrown at once when the volume can only be read.
   */
  apply<Result>(change: Change<Result>, { validate }: ApplyOptions = {}): Promise<Result> {
    this.#session.requireOpen();
    requireWritable(this.#session.settings);
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#queue.push({ change, validate, resolve: resolve as (result: unknown) => void, reject });
    this.#committing ??= this.#drain();
    return promise;
  }

  /** Waits until no change waits for a commit, even if commits fail. */
  async settled(): Promise<void> {
    while (this.#committing !== undefined) await this.#committing;
  }

  /** Puts an unborn inode into the store as it is. */
  async create(): Promise<void> {
    if (!this.isBorn) await this.apply(draft => draft.update({}));
  }

  async #drain(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        // Changes that are submitted in the same turn share the commit.
        await giveTurn();
        await this.#commitGroup(this.#queue.splice(0, GROUP_MAX));
      }
    } finally {
      this.#committing = undefined;
    }
  }

  async #commitGroup(group: Pending[]): Promise<void> {
    try {
      await this.#commit(group);
    } catch (error) {
      if (codeOf(error) === 'EINVAL' && group.length > 1) {
        // One change cannot be encoded. Halving the group finds it, and the others are committed.
        const half = group.length >> 1;
        await this.#commitGroup(group.slice(0, half));
        await this.#commitGroup(group.slice(half));
        return;
      }
      this.#hasFailed = true;
      for (const { reject } of group) reject(error);
    }
  }

  async #commit(group: readonly Pending[]): Promise<void> {
    const commit: GroupCommit = {
      group,
      attempts: new Map(),
      refused: new Map(),
      lost: undefined,
      mustRead: this.#base === undefined,
      reliance: new Reliance(),
    };
    try {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
        const became = await this.#attempt(commit);
        if (became === 'settled') return;
        if (became === 'lost') await pause(Math.random() * Math.min(PAUSE_MS_MAX, 2 ** attempt));
      }
      throw new NetsealError(
        'ECONFLICT',
        `inode ${this.key}: lost ${ATTEMPTS_MAX} swaps in a row: try again`,
      );
    } catch (error) {
      // Whatever failed last, an earlier attempt may have happened.
      throw commit.lost === undefined ? error : uncertain(this.key, error);
    }
  }

  async #attempt(commit: GroupCommit): Promise<'settled' | 'again' | 'lost'> {
    const { group } = commit;
    const base = commit.mustRead || this.#base === undefined ? await this.#load() : this.#base;
    const writers = base.stored?.object.writers ?? [];
    const won = writers.find(({ nonce }) => commit.attempts.has(nonce));
    if (won !== undefined) {
      this.#acknowledged = won;
      await this.#session.history.afterCommit();
      await this.#checkKept(commit, won.nonce);
      return this.#settle(group, commit.attempts.get(won.nonce));
    }
    if (commit.lost !== undefined && !covers(writers, commit.lost.oldestVersion)) throw uncertain(this.key);
    if (commit.lost !== undefined && base.stored?.version !== commit.lost.replacing) commit.lost = undefined;

    const draft = Draft.of(this.#session, base.inode, this.key);
    const outcomes = await applyAll(commit, draft);
    if (!commit.mustRead && base.stored !== undefined && outcomes.some(outcome => 'error' in outcome)) {
      // A change must not be refused on a state that was read long ago.
      commit.mustRead = true;
      return 'again';
    }
    // A lost attempt may still arrive: a refusal is certain only once another version is in its place.
    if (!draft.isChanged && base.stored !== undefined && commit.lost === undefined) {
      settle(group, outcomes);
      return 'settled';
    }
    this.#session.history.beforeCommit();
    const nonce = randomId();
    let object: InodeObject;
    try {
      object = await this.#encode(commit, base, draft, nonce);
    } catch (error) {
      if (error instanceof LostPutError) return 'lost';
      if (await refuseUnstored(this.#session, commit, outcomes)) return 'again';
      throw error;
    }
    if (await refuseInvalid(commit, outcomes)) return 'again';
    const before = base.stored === undefined ? undefined : base.inode;
    const attempt = { outcomes, referred: draft.referred, before, draft };
    commit.attempts.set(nonce, attempt);
    return await this.#swap(commit, base, object, attempt);
  }

  async #swap(
    commit: GroupCommit,
    { stored }: Base,
    object: InodeObject,
    attempt: Attempt,
  ): Promise<'settled' | 'lost'> {
    try {
      const condition = stored === undefined ? IF_ABSENT : { ifMatch: stored.version };
      this.#acknowledge(await putInodeObject(this.#session.sealing, this.key, object, condition));
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EUNCERTAIN') {
        commit.lost ??= { oldestVersion: object.inode.version, replacing: stored?.version };
      } else if (code !== 'ECONFLICT') {
        throw error;
      }
      commit.mustRead = true;
      this.#lostSwapCount += 1;
      return 'lost';
    }
    await this.#session.history.afterCommit();
    await this.#checkKept(commit, object.writers[0]?.nonce);
    return this.#settle(commit.group, attempt);
  }

  /** Ends a commit whose attempt is in the store. */
  #settle(group: readonly Pending[], attempt: Attempt | undefined): 'settled' {
    if (attempt !== undefined) this.#session.fresh.committed(this.#session.marks, attempt.referred);
    settle(group, attempt?.outcomes ?? []);
    return 'settled';
  }

  /** Returns the next inode object, once everything that it refers to is in the store. */
  async #encode({ reliance }: GroupCommit, base: Base, draft: Draft, nonce: Id): Promise<InodeObject> {
    const { dataSegments, nodeSegments } = this.#session;
    // Leaves go into the segment of units that the commit waits for anyway: one upload instead of two.
    const isUrgent = [...draft.segments].some(segment => dataSegments.isOpen(segment));
    const inode = await draft.build(isUrgent ? dataSegments : nodeSegments);
    const needed = draft.segments;
    await Promise.all([makeDurable(this.#session, needed), this.#putPromoted(draft)]);
    await keepYoung(this.#session, { segments: needed, inodes: draft.referred }, reliance);
    const version = Math.max(base.inode.version, inode.version) + 1;
    const writers = [{ version, nonce }, ...(base.stored?.object.writers ?? [])].slice(0, WRITERS_MAX);
    return { inode: { ...inode, version }, writers, predecessor: base.stored?.hash };
  }

  /** Puts the objects that embedded directories become. Rejects with {@link LostPutError}. */
  async #putPromoted({ promoted }: Draft): Promise<void> {
    await inParallel(promoted, PUTS_MAX, async ({ key, inode }) => {
      try {
        await this.#session.fresh.putAs(this.#session, key, inode);
      } catch (error) {
        // Its key cannot be used again, so everything that names it is built anew.
        throw codeOf(error) === 'EUNCERTAIN' ? new LostPutError(error) : error;
      }
    });
  }

  /**
   * Checks, after a commit that took long, that the objects which it refers to are still there. If they are
   * not, takes the commit back.
   */
  async #checkKept({ attempts, reliance }: GroupCommit, nonce: Id | undefined): Promise<void> {
    this.#session.writes.note(this.key, reliance.checkedAtMs ?? this.#session.nowMs());
    try {
      await requireStillKept(this.#session, reliance);
    } catch (error) {
      const attempt = nonce === undefined ? undefined : attempts.get(nonce);
      if (attempt !== undefined && codeOf(error) === 'EIO') await bestEffort(this.#takeBack(attempt, nonce));
      throw error;
    }
  }

  /** If another client has changed the inode since, it stays as it is. */
  async #takeBack(attempt: Attempt, nonce: Id | undefined): Promise<void> {
    const stored = this.#base?.stored;
    if (stored === undefined || stored.object.writers[0]?.nonce !== nonce) return;
    const back = await takeBack(this.#session, stored, attempt);
    if (back !== undefined) this.#acknowledge(back);
  }

  #acknowledge(stored: StoredInode): void {
    const { object, hash } = stored;
    const { inode } = object;
    this.#acknowledged = object.writers[0];
    // While our answer was on its way, a read may have found a newer version.
    if ((this.#session.marks.get(this.key)?.version ?? 0) > inode.version) return;
    this.#session.marks.note(this.key, inode.version, hash);
    this.#base = { stored, inode, readAtMs: this.#session.nowMs() };
  }

  /**
   * Reads from the store. It never shares a read that is under way: that may see a state from before this
   * call.
   */
  #load(): Promise<Base> {
    if (this.#reading === undefined) return this.#startReading();
    this.#nextReading ??= this.#reading
      .catch(() => undefined)
      .then(() => {
        this.#nextReading = undefined;
        return this.#startReading();
      });
    return this.#nextReading;
  }

  #startReading(): Promise<Base> {
    const reading = this.#readStore().finally(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#reading = reading;
    return reading;
  }

  async #readStore(): Promise<Base> {
    const { marks, sealing, nowMs, history } = this.#session;
    const read = async (): Promise<Base> => {
      const readAtMs = nowMs();
      const base = this.#base;
      try {
        // Marks learned from heads meanwhile count: an answer older than them is asked for again, then
        // refused.
        const [stored] = await Promise.all([readInodeObject(sealing, this.key), history.beforeServing()]);
        return { stored, inode: stored.object.inode, readAtMs };
      } catch (error) {
        // The store has no object yet: our first put has not arrived.
        const isUnborn = base !== undefined && base.stored === undefined;
        if (isUnborn && codeOf(error) === 'EMISSING') return base;
        throw error;
      }
    };
    const versionOf = ({ stored }: Base): number | undefined => stored?.object.inode.version;
    return await readBesideMark(marks, this.key, read, versionOf, found => {
      const { stored } = found;
      if (stored === undefined) return found;
      this.#checkMark(stored);
      marks.note(this.key, stored.object.inode.version, stored.hash);
      this.#base = found;
      return found;
    });
  }

  /** Throws EROLLBACK and EFORK, with the inode's path. */
  #checkMark({ object, hash }: StoredInode): void {
    const { marks } = this.#session;
    const mark = marks.get(this.key);
    try {
      marks.check(this.key, object.inode.version, hash);
      this.#checkHistory(object, mark);
    } catch (error) {
      const path = this.#pathOf();
      if (!isNetsealError(error) || path === undefined) throw error;
      const message = error.message.replace(`inode ${this.key}`, `inode ${this.key} (${path})`);
      throw new NetsealError(error.code, message, { cause: error });
    }
  }

  /** Throws EFORK when a version does not follow from those that were seen before. */
  #checkHistory(object: InodeObject, mark: { version: number; hash: string } | undefined): void {
    const { version } = object.inode;
    if (mark !== undefined && version === mark.version + 1 && object.predecessor !== mark.hash) {
      throw new NetsealError(
        'EFORK',
        `inode ${this.key}: version ${version} does not follow from the one seen before`,
      );
    }
    const ours = this.#acknowledged;
    if (ours === undefined || version < ours.version || !covers(object.writers, ours.version)) return;
    if (object.writers.some(({ nonce }) => nonce === ours.nonce)) return;
    throw new NetsealError(
      'EFORK',
      `inode ${this.key}: version ${ours.version}, which was acknowledged, is gone`,
    );
  }
}

const IF_ABSENT = { ifAbsent: true } as const;

/** Signals that the answer for an object was lost that the commit would have led to. */
class LostPutError extends NetsealError {
  constructor(cause: unknown) {
    super('EUNCERTAIN', 'the answer for a new object was lost', { cause });
  }
}
