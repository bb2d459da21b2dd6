/**
 * How a cache steps aside: after a failure that concerns more than one unit it serves and keeps nothing for a while, and then tries
 * again by itself. Each kind of problem is reported once until the cache was well for a minute.
 *
 *   ready ──fail()──▶ away ──the pause is over──▶ trying ──succeed()──▶ ready
 *                      ▲                            └──────fail()─────▶ away, for twice as long
 *
 * On a disk that is almost full a small write may work and the next large one not. What fails again within the minute is the same
 * trouble: it is not reported again, and the pauses go on growing.
 */
import { codeOf, isNetsealError, NetsealError, systemCodeOf } from '../../base/errors.ts';
import { primaryCodeOf } from './sqlite.ts';
import type { CacheEvent, Counters, ProblemKind } from './statistics.ts';

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 60_000;
/** After so long without a failure the cache is well again. */
const WELL_MS = 60_000;

const KIND_OF_CODE: Readonly<Record<string, ProblemKind>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EFULL: 'full',
  ENOENT: 'gone',
  ENOTDIR: 'gone',
  ESTALE: 'gone',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  EDENIED: 'denied',
  EAUTH: 'damaged',
  EFORMAT: 'damaged',
  ETRUNCATED: 'damaged',
  EUNSUPPORTED: 'damaged',
  EKEY: 'damaged',
};

/** What a failure means to a cache. */
export function problemKindOf(error: unknown): ProblemKind {
  if (primaryCodeOf(error) !== undefined) return 'database';
  return KIND_OF_CODE[codeOf(error) ?? systemCodeOf(error) ?? ''] ?? 'io';
}

/** SQLite's primary result codes for what a file system says by ENOSPC, EACCES and their like. */
const KIND_OF_SQLITE_CODE: Readonly<Record<number, ProblemKind>> = {
  3: 'denied', // PERM
  8: 'denied', // READONLY
  13: 'full',
  23: 'denied', // AUTH
};

function sqliteKindOf(error: unknown): ProblemKind | undefined {
  return KIND_OF_SQLITE_CODE[primaryCodeOf(error) ?? 0];
}

export class Health {
  readonly #counters: Counters;
  readonly #nowMs: () => number;
  readonly #onProblem: (kind: ProblemKind, error: unknown) => void;
  readonly #onEvent: (event: CacheEvent) => void;
  /** When each kind was last seen, or last over. */
  readonly #reported = new Map<ProblemKind, number>();
  #pauseMs = PAUSE_MS_MIN;
  #awaySinceMs: number | undefined;
  #backSinceMs: number | undefined;

  constructor(
    counters: Counters,
    nowMs: () => number,
    onProblem: (kind: ProblemKind, error: unknown) => void,
    onEvent: (event: CacheEvent) => void,
  ) {
    this.#counters = counters;
    this.#nowMs = nowMs;
    this.#onProblem = onProblem;
    this.#onEvent = onEvent;
  }

  /** True while nothing is to be tried. */
  get isAway(): boolean {
    const since = this.#awaySinceMs;
    if (since === undefined) return false;
    const passedMs = this.#nowMs() - since;
    // A clock that was set back must not keep us away.
    return passedMs >= 0 && passedMs < this.#pauseMs;
  }

  /** True from a failure to the next success. */
  get isUnwell(): boolean {
    return this.#awaySinceMs !== undefined;
  }

  /** Counts and reports a problem that concerns little: the cache goes on. */
  note(error: unknown): ProblemKind {
    const kind = problemKindOf(error);
    this.#counters.problems[kind] += 1;
    const isKnown = this.#reported.has(kind) && (this.isUnwell || !this.#isLongAgo(this.#reported.get(kind)));
    this.#reported.set(kind, this.#nowMs());
    if (!isKnown) this.#onProblem(kind, error);
    return kind;
  }

  /** Counts and reports a failure, and steps aside. */
  fail(error: unknown): ProblemKind {
    const kind = this.note(error);
    // What was under way when the first one failed says nothing new.
    if (this.isAway) return kind;
    const isFirst = this.#awaySinceMs === undefined;
    const isNew = isFirst && this.#isLongAgo(this.#backSinceMs);
    this.#pauseMs = isNew ? PAUSE_MS_MIN : Math.min(PAUSE_MS_MAX, 2 * this.#pauseMs);
    this.#awaySinceMs = this.#nowMs();
    if (isFirst) this.#onEvent({ type: 'away', kind, error });
    return kind;
  }

  /** Something worked that would not have worked. */
  succeed(): void {
    if (this.#awaySinceMs === undefined) return;
    this.#awaySinceMs = undefined;
    this.#backSinceMs = this.#nowMs();
    for (const kind of this.#reported.keys()) this.#reported.set(kind, this.#backSinceMs);
    this.#onEvent({ type: 'back' });
  }

  /** A minute; also when the clock was set back. Undefined is long ago. */
  #isLongAgo(timeMs: number = Number.NEGATIVE_INFINITY): boolean {
    const passedMs = this.#nowMs() - timeMs;
    return passedMs >= WELL_MS || passedMs < 0;
  }

  /** The error for callers who have to know. */
  static errorOf(what: string, cause: unknown): NetsealError {
    if (isNetsealError(cause)) return cause;
    const kind = sqliteKindOf(cause) ?? problemKindOf(cause);
    const code = kind === 'full' ? 'EFULL' : kind === 'denied' ? 'EDENIED' : 'EIO';
    return new NetsealError(code, `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
