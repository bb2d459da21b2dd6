/**
 * Keeps a session in touch with the other clients of its volume: merges their heads, and writes its own.
 *
 *   heads are merged         at the session's start, if this client never did so: no inode is served before
 *                            at the session's start, if the last merge was more than an hour ago
 *                            beside the first commit, which is acknowledged only after the merge
 *                            every 10 minutes
 *   our own head is written  every 10 minutes, if something was committed or files are open
 *                            at the session's end, if something was committed or the head lists open files
 *
 * Invariants
 *   1. Only a fork or a rollback fails a session. Any other error is counted, and the first of them is
 *      reported.
 *   2. Once a fork or rollback is known, no commit begins or is acknowledged, and the session's end fails
 *      with it.
 *   3. There is one merge or write at a time.
 *   4. An inode that the session read before a merge is read again if the merge shows that it was old.
 *      EROLLBACK if it was old already when it was read.
 */
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { HistoryCheck, Session } from '../session/session.ts';
import { isWritable } from '../session/volume-settings.ts';
import { type Fork, type Learned, type MergedHeads, mergeHeads } from './heads.ts';
import { writeOwnHead } from './own-head.ts';

/** Calls `tick` once a period; returns a function that ends that. It must not keep the process alive. */
export type HeadTimer = (periodMs: number, tick: () => void) => () => void;

export interface HistoryOptions {
  /** Called with the first error about heads that does not fail the session. */
  readonly onProblem?: ((problem: NetsealError) => void) | undefined;
  /** Default: the system's timer. */
  readonly headTimer?: HeadTimer | undefined;
}

/** An inode that this session has read in an older version than another client knows of. */
export interface InodeBehind {
  readonly live: { readonly key: Id; read(maxAgeMs: number): Promise<unknown> };
  /** When the session read it, by its own clock. */
  readonly readAtMs: number;
  readonly known: Learned;
}

/** The inodes that this session holds in memory. */
export interface InodesHeld {
  /** Returns those that the session has read in an older version than `learned` tells of. */
  behind(learned: ReadonlyMap<Id, Learned>): readonly InodeBehind[];
  /** Returns the path at which the session met an inode, for messages; undefined for none. */
  pathOf(id: Id): string | undefined;
}

export const HEAD_PERIOD_MS: number = 10 * 60 * 1000;
const MERGE_AGE_MS_MAX: number = 60 * 60 * 1000;
/** A read counts as later than a head only by more than this, as clocks may disagree. */
const CLOCK_SKEW_MS_MAX: number = 5 * 60 * 1000;

const systemTimer: HeadTimer = (periodMs, tick) => {
  const timer = setInterval(tick, periodMs).unref();
  return () => clearInterval(timer);
};

export class History implements HistoryCheck {
  readonly #options: HistoryOptions;
  #parts: { readonly session: Session; readonly inodes: InodesHeld } | undefined;
  #verdict: NetsealError | undefined;
  #firstMerge: Promise<void> | undefined;
  /** Resolves when a client that never merged has done so. Undefined for any other client. */
  #introduction: PromiseWithResolvers<void> | undefined;
  /** Settles when all merges and writes begun so far have ended. Never rejects. */
  #turn: Promise<void> = Promise.resolve();
  #stopTimer: (() => void) | undefined;
  #isTicking = false;
  #hasCommitted = false;
  /** True when our head in the store lists this session as one with open files. */
  #isListed = false;
  #problemCount = 0;

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** How many errors there were that did not fail the session. */
  get problemCount(): number {
    return this.#problemCount;
  }

  /** Begins merging and writing. Call it once. */
  start(session: Session, inodes: InodesHeld): void {
    this.#parts = { session, inodes };
    const { hasMerged, mergedAtMs } = session.state.heads;
    if (!hasMerged) this.#introduction = Promise.withResolvers();
    const sinceMergeMs = session.nowMs() - mergedAtMs;
    // The absolute value: a clock that was set back must not put the merge off.
    if (!hasMerged || Math.abs(sinceMergeMs) > MERGE_AGE_MS_MAX) this.#mergeOnce();
    const timer = this.#options.headTimer ?? systemTimer;
    this.#stopTimer = timer(HEAD_PERIOD_MS, () => void this.#tick());
  }

  async beforeServing(): Promise<void> {
    await this.#introduction?.promise;
  }

  beforeCommit(): void {
    if (this.#verdict !== undefined) throw this.#verdict;
    this.#mergeOnce();
  }

  async afterCommit(): Promise<void> {
    this.#hasCommitted = true;
    await this.#firstMerge;
    if (this.#verdict !== undefined) throw this.#verdict;
  }

  /**
   * Stops merging, and writes the head a last time if that is due. Rejects with EFORK or EROLLBACK if one is
   * known. May be called again.
   */
  async close(): Promise<void> {
    this.#stopTimer?.();
    await this.#turn;
    if (this.#hasCommitted || this.#isListed)
      await this.#inTurn((session, inodes) => this.#write(session, inodes));
    if (this.#verdict !== undefined) throw this.#verdict;
  }

  #mergeOnce(): void {
    this.#firstMerge ??= this.#inTurn((session, inodes) => this.#merge(session, inodes));
  }

  async #tick(): Promise<void> {
    if (this.#isTicking) return;
    this.#isTicking = true;
    await this.#inTurn(async (session, inodes) => {
      await this.#merge(session, inodes);
      if (this.#hasCommitted || this.#isListed || session.openFiles.count > 0)
        await this.#write(session, inodes);
      await session.state.flush();
    });
    this.#isTicking = false;
  }

  #inTurn(work: (session: Session, inodes: InodesHeld) => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(async () => {
      if (this.#parts === undefined) return;
      try {
        await work(this.#parts.session, this.#parts.inodes);
      } catch (error) {
        this.#report(error);
      }
    });
    return this.#turn;
  }

  async #merge(session: Session, inodes: InodesHeld): Promise<void> {
    // Resolves also when the merge failed, which is only a warning: a failing network looks the same as a
    // lying server.
    const merged = await mergeHeads(session).finally(() => this.#introduction?.resolve());
    for (const problem of merged.problems) this.#report(problem);
    this.#verdict ??= forkError(merged.forks[0], inodes);
    await recheck(inodes, merged, session.nowMs());
  }

  async #write(session: Session, inodes: InodesHeld): Promise<void> {
    if (!isWritable(session.settings)) return;
    this.#hasCommitted = false;
    const isListed = session.openFiles.count > 0;
    try {
      const { forks, problems } = await writeOwnHead(session);
      this.#isListed = isListed;
      for (const problem of problems) this.#report(problem);
      this.#verdict ??= forkError(forks[0], inodes);
    } catch (error) {
      this.#hasCommitted = true;
      throw error;
    }
  }

  #report(error: unknown): void {
    const problem = isNetsealError(error)
      ? error
      : new NetsealError('EBUG', 'heads: an unexpected error', { cause: error });
    if (problem instanceof HistoryError) {
      this.#verdict ??= problem;
      return;
    }
    this.#problemCount += 1;
    if (this.#problemCount === 1) this.#options.onProblem?.(problem);
  }
}

/** EROLLBACK of an inode that this session has read. */
class HistoryError extends NetsealError {}

/** Reads again the inodes that this session read before it heard of a newer version. */
async function recheck(
  inodes: InodesHeld,
  { learned, storeAheadMs }: MergedHeads,
  nowMs: number,
): Promise<void> {
  for (const { live, readAtMs, known } of inodes.behind(learned)) {
    // Our clock may have been set back since the read; then the two times cannot be compared.
    const isKnownLate = readAtMs <= nowMs && readAtMs + storeAheadMs > known.existedAtMs + CLOCK_SKEW_MS_MAX;
    if (isKnownLate) throw oldError(placed(live.key, inodes), known);
    try {
      await live.read(0);
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EROLLBACK' || code === 'EFORK') throw oldError(placed(live.key, inodes), known, error);
      // Any other error (removed, damaged, out of reach) is left for the next read of the inode to report.
    }
  }
}

/** Returns the error of a fork, with the path if it is known. */
function forkError(fork: Fork | undefined, inodes: InodesHeld): NetsealError | undefined {
  if (fork === undefined) return undefined;
  const { id, error } = fork;
  const message = error.message.replace(`inode ${id}`, placed(id, inodes));
  return new NetsealError(error.code, message, { cause: error });
}

/** Returns `inode ID`, with its path if that is known. */
function placed(id: Id, inodes: InodesHeld): string {
  const path = inodes.pathOf(id);
  return path === undefined ? `inode ${id}` : `inode ${id} (${path})`;
}

function oldError(inode: string, { version, client }: Learned, cause?: unknown): HistoryError {
  return new HistoryError(
    'EROLLBACK',
    `${inode}: the store shows an older version than ${version}, which client ${client} has seen`,
    { cause },
  );
}
