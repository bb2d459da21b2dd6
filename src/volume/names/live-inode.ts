/**
 * An inode that is an object of its own, as a session works on it: reads are shared, changes are committed in groups.
 *
 * A change is a function of the inode as it is. If another client was first, it runs again on what that one left: a
 * rebase. So it must do nothing but look at the draft and change it.
 *
 *   queued ──▶ applied to a draft ──▶ leaves and segments durable ──▶ put, if the store still has what we started from
 *     ▲                                                                  │ ECONFLICT, EUNCERTAIN
 *     └──────────────────── read again, see what became of it ◀──────────┘
 *
 * Invariants
 *   1. One commit at a time. A change resolves when a commit that holds it was acknowledged, or was found in the store.
 *   2. A change that is refused (rejects) was judged on what the store held after it was submitted.
 *   3. After a lost answer: our nonce is there = won; our version is there under another nonce, or not yet = lost, again;
 *      no longer covered by the 16 writers that are kept = nobody knows, EUNCERTAIN.
 *   4. What was acknowledged and is gone later is reported as EFORK.
 *   5. A mark is noted for each version read or acknowledged.
 *   6. A change fails with what its own segments fail with, not with another's of its group.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { codeOf, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Inode, InodeRecord, Writer } from '../../server/sealed/inode.ts';
import { WRITERS_MAX } from '../../server/sealed/inode-format.ts';
import { putInodeObject, readInodeObject, type StoredInode } from '../../server/sealed/inode-object.ts';
import { NameTree } from '../../server/sealed/name-tree.ts';
import { keepYoung, Reliance, requireStillKept } from '../session/keep-young.ts';
import { makeDurable, type Session } from '../session/session.ts';
import { readBesideMark } from '../state/marks.ts';
import {
  type ApplyOptions,
  applyAll,
  type Change,
  type CommitRun,
  covers,
  type Outcome,
  type Pending,
  refuseInvalid,
  refuseUnstored,
  settle,
  uncertain,
} from './commit-group.ts';
import { Draft } from './draft.ts';

/** Read from the store, or being made: then there is no version yet. */
interface Base {
  readonly stored: StoredInode | undefined;
  readonly inode: Inode;
  readonly readAtMs: number;
}

/** Changes in one commit. */
const GROUP_MAX = 20_000;
/** More lost swaps in a row than this, and something is wrong. */
const ATTEMPTS_MAX = 64;
const PAUSE_MS_MAX = 100;

export class LiveInode {
  readonly id: Id;
  readonly #session: Session;
  #base: Base | undefined;
  #reading: Promise<Base> | undefined;
  /** The read after the one that is running. */
  #nextReading: Promise<Base> | undefined;
  #queue: Pending[] = [];
  #committing: Promise<void> | undefined;
  /** The last commit of ours that was acknowledged. */
  #acknowledged: Writer | undefined;

  constructor(session: Session, id: Id) {
    this.#session = session;
    this.id = id;
  }

  /** One that the store does not have yet: the first change, or {@link create}, puts it there. */
  static unborn(session: Session, inode: Inode): LiveInode {
    const live = new LiveInode(session, inode.id);
    live.#base = { stored: undefined, inode, readAtMs: Number.POSITIVE_INFINITY };
    return live;
  }

  /** Nothing is going on. */
  get isIdle(): boolean {
    return this.#committing === undefined && this.#reading === undefined;
  }

  /** In the store, as far as this session knows. */
  get isBorn(): boolean {
    return this.#base?.stored !== undefined || this.#base === undefined;
  }

  /** What was read or committed last. */
  get seen(): { readonly version: number; readonly readAtMs: number } | undefined {
    const { stored, inode, readAtMs } = this.#base ?? {};
    return stored === undefined || inode === undefined || readAtMs === undefined
      ? undefined
      : { version: inode.version, readAtMs };
  }

  /**
   * The inode, at most `maxAgeMs` old (default: the session's freshness; 0: asked for after this call). EMISSING,
   * EROLLBACK, EFORK, and what reading it throws.
   */
  async read(maxAgeMs: number = this.#session.freshMs): Promise<Inode> {
    const base = this.#base;
    const isFresh = base !== undefined && this.#session.nowMs() - base.readAtMs <= maxAgeMs;
    if (isFresh && (maxAgeMs > 0 || base.stored === undefined)) return base.inode;
    return (await this.#load()).inode;
  }

  /**
   * Applies a change with the next commit; changes that wait for the same commit share it.
   *
   * @returns what the change returned, once it is committed. Rejects with what it threw, nothing changed; EUNCERTAIN
   *   when nobody can tell any more; what the store throws.
   */
  apply<Result>(change: Change<Result>, { validate }: ApplyOptions = {}): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#queue.push({ change, validate, resolve: resolve as (result: unknown) => void, reject });
    this.#committing ??= this.#drain();
    return promise;
  }

  /** Resolves when nothing waits for a commit any more, whatever became of it. */
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
        // Whoever acts in the same turn shares the commit.
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
      for (const { reject } of group) reject(error);
    }
  }

  async #commit(group: readonly Pending[]): Promise<void> {
    const run: CommitRun = {
      group,
      attempts: new Map(),
      refused: new Map(),
      lost: undefined,
      mustRead: this.#base === undefined,
      reliance: new Reliance(),
    };
    try {
      for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
        const became = await this.#attempt(run);
        if (became === 'settled') return;
        if (became === 'lost') await pause(Math.random() * Math.min(PAUSE_MS_MAX, 2 ** attempt));
      }
      throw new NetsealError('ECONFLICT', `inode ${this.id}: lost ${ATTEMPTS_MAX} swaps in a row: try again`);
    } catch (error) {
      // Whatever went wrong last: an earlier attempt may have happened.
      throw run.lost === undefined ? error : uncertain(this.id, error);
    }
  }

  async #attempt(run: CommitRun): Promise<'settled' | 'again' | 'lost'> {
    const { group } = run;
    const base = run.mustRead || this.#base === undefined ? await this.#load() : this.#base;
    const writers = base.stored?.record.writers ?? [];
    const won = writers.find(({ nonce }) => run.attempts.has(nonce));
    if (won !== undefined) {
      this.#acknowledged = won;
      await this.#session.history.afterCommit();
      await this.#checkKept(run);
      settle(group, run.attempts.get(won.nonce) ?? []);
      return 'settled';
    }
    if (run.lost !== undefined && !covers(writers, run.lost.oldestVersion)) throw uncertain(this.id);
    if (run.lost !== undefined && base.stored?.version !== run.lost.replacing) run.lost = undefined;

    const draft = new Draft(this.#session, base.inode);
    const outcomes = await applyAll(run, draft);
    if (!run.mustRead && base.stored !== undefined && outcomes.some(outcome => 'error' in outcome)) {
      // A refusal must not come of what was read long ago.
      run.mustRead = true;
      return 'again';
    }
    // A lost attempt may arrive yet: refusals are true only once something else has taken its place.
    if (!draft.isChanged && base.stored !== undefined && run.lost === undefined) {
      settle(group, outcomes);
      return 'settled';
    }
    this.#session.history.beforeCommit();
    const nonce = randomId();
    let record: InodeRecord;
    try {
      record = await this.#encode(run, base, draft, nonce);
    } catch (error) {
      if (await refuseUnstored(this.#session, run, outcomes)) return 'again';
      throw error;
    }
    if (await refuseInvalid(run, outcomes)) return 'again';
    run.attempts.set(nonce, outcomes);
    return await this.#swap(run, base, record, outcomes);
  }

  async #swap(
    run: CommitRun,
    { stored }: Base,
    record: InodeRecord,
    outcomes: readonly Outcome[],
  ): Promise<'settled' | 'lost'> {
    try {
      const condition = stored === undefined ? IF_ABSENT : { ifMatch: stored.version };
      this.#acknowledge(await putInodeObject(this.#session.sealing, record, condition));
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EUNCERTAIN') {
        run.lost ??= { oldestVersion: record.inode.version, replacing: stored?.version };
      } else if (code !== 'ECONFLICT') {
        throw error;
      }
      run.mustRead = true;
      return 'lost';
    }
    await this.#session.history.afterCommit();
    await this.#checkKept(run);
    settle(run.group, outcomes);
    return 'settled';
  }

  /** The next record, with everything that it refers to in the store. */
  async #encode({ reliance }: CommitRun, base: Base, draft: Draft, nonce: Id): Promise<InodeRecord> {
    const { dataSegments, nodeSegments, sealing, nameNodes } = this.#session;
    let { inode } = draft;
    const needed = new Set(draft.segments);
    if (inode.type === 'directory' && draft.changes.length > 0) {
      // With the units that it waits for anyway: one upload instead of two.
      const isUrgent = [...needed].some(segment => dataSegments.isOpen(segment));
      const tree = new NameTree(sealing, inode.id, nameNodes);
      const writer = isUrgent ? dataSegments : nodeSegments;
      const { root, nextIndex, segments } = await tree.update(
        inode.tree,
        draft.changes,
        inode.nextIndex,
        writer,
      );
      inode = { ...inode, tree: root, nextIndex };
      for (const segment of segments) needed.add(segment);
    }
    await makeDurable(this.#session, needed);
    await keepYoung(this.#session, { segments: needed, inodes: draft.referred }, reliance);
    const version = Math.max(base.inode.version, inode.version) + 1;
    const writers = [{ version, nonce }, ...(base.stored?.record.writers ?? [])].slice(0, WRITERS_MAX);
    return { inode: { ...inode, version }, writers, predecessor: base.stored?.hash };
  }

  /** The commit is there: so must be what it refers to. */
  async #checkKept({ reliance }: CommitRun): Promise<void> {
    this.#session.writes.note(this.id, reliance.checkedAtMs ?? this.#session.nowMs());
    await requireStillKept(this.#session, reliance);
  }

  #acknowledge(stored: StoredInode): void {
    const { record, hash } = stored;
    const { inode } = record;
    this.#acknowledged = record.writers[0];
    // Others may have gone on from there, and a read may have been quicker than our answer.
    if ((this.#session.marks.get(this.id)?.version ?? 0) > inode.version) return;
    this.#session.marks.note(this.id, inode.version, hash);
    this.#base = { stored, inode, readAtMs: this.#session.nowMs() };
  }

  /** Reads from the store. Never shares a read that was already under way: what it sees may be older than the call. */
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
    const { marks, sealing, nowMs } = this.#session;
    const read = async (): Promise<Base> => {
      const readAtMs = nowMs();
      const base = this.#base;
      try {
        const stored = await readInodeObject(sealing, this.id);
        return { stored, inode: stored.record.inode, readAtMs };
      } catch (error) {
        // Nothing there: our first put has not arrived.
        const isUnborn = base !== undefined && base.stored === undefined;
        if (isUnborn && codeOf(error) === 'EMISSING') return base;
        throw error;
      }
    };
    const versionOf = ({ stored }: Base): number | undefined => stored?.record.inode.version;
    return await readBesideMark(marks, this.id, read, versionOf, found => {
      const { stored } = found;
      if (stored === undefined) return found;
      const { version } = stored.record.inode;
      const mark = marks.get(this.id);
      marks.check(this.id, version, stored.hash);
      this.#checkHistory(stored.record, mark);
      marks.note(this.id, version, stored.hash);
      this.#base = found;
      return found;
    });
  }

  /** EFORK when a version does not follow from what was seen before. */
  #checkHistory(record: InodeRecord, mark: { version: number; hash: string } | undefined): void {
    const { version } = record.inode;
    if (mark !== undefined && version === mark.version + 1 && record.predecessor !== mark.hash) {
      throw new NetsealError(
        'EFORK',
        `inode ${this.id}: version ${version} does not follow from the one seen before`,
      );
    }
    const ours = this.#acknowledged;
    if (ours === undefined || version < ours.version || !covers(record.writers, ours.version)) return;
    if (record.writers.some(({ nonce }) => nonce === ours.nonce)) return;
    throw new NetsealError(
      'EFORK',
      `inode ${this.id}: version ${ours.version}, which was acknowledged, is gone`,
    );
  }
}

const IF_ABSENT = { ifAbsent: true } as const;
