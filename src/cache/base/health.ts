/**
 * How a cache steps aside. After a failure that concerns more than one unit it is *away*: it serves and keeps
 * nothing for a while. Then it tries again by itself.
 *
 *   ready ──fail()──▶ away ──the pause is over──▶ trying ──succeed()──▶ ready
 *                      ▲                            └──────fail()─────▶ away, for twice as long
 *
 * Each kind of problem is reported once, and again only after a minute without it. So a disk that is almost
 * full, where a small write works and the next large one fails, is reported once, and its pauses go on
 * growing.
 */
import { codeOf, isNetsealError, NetsealError, systemCodeOf } from '../../base/errors.ts';
import { primaryCodeOf } from './sqlite.ts';
import type { CacheEvent, Counters, ProblemKind } from './statistics.ts';

const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 60_000;
/** After this time without a failure, the next one is reported and begins with the shortest pause. */
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

/** Returns the kind of problem that an error means. */
export function problemKindOf(error: unknown): ProblemKind {
  if (primaryCodeOf(error) !== undefined) return 'database';
  return KIND_OF_CODE[codeOf(error) ?? systemCodeOf(error) ?? ''] ?? 'io';
}

/** SQLite's primary result codes that mean what ENOSPC, EACCES and similar codes mean for files. */
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
  /** When each kind of problem was last seen, or when the cache was last back after it. */
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

  /** True during a pause: nothing is tried. */
  get isAway(): boolean {
    const since = this.#awaySinceMs;
    if (since === undefined) return false;
    const passedMs = this.#nowMs() - since;
    // A clock that was set back must not keep us away.
    return passedMs >= 0 && passedMs < this.#pauseMs;
  }

  /** True from a failure until the next success. */
  get isUnwell(): boolean {
    return this.#awaySinceMs !== undefined;
  }

  /** Counts and reports a problem that concerns single units. The cache goes on. */
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
    // Operations that were under way when the first one failed say nothing new.
    if (this.isAway) return kind;
    const isFirst = this.#awaySinceMs === undefined;
    const isNew = isFirst && this.#isLongAgo(this.#backSinceMs);
    this.#pauseMs = isNew ? PAUSE_MS_MIN : Math.min(PAUSE_MS_MAX, 2 * this.#pauseMs);
    this.#awaySinceMs = this.#nowMs();
    if (isFirst) this.#onEvent({ type: 'away', kind, error });
    return kind;
  }

  /** Called when an operation succeeds that would fail while the cache is away: the cache is back. */
  succeed(): void {
    if (this.#awaySinceMs === undefined) return;
    this.#awaySinceMs = undefined;
    this.#backSinceMs = this.#nowMs();
    for (const kind of this.#reported.keys()) this.#reported.set(kind, this.#backSinceMs);
    this.#onEvent({ type: 'back' });
  }

  /** True when a minute has passed, when the clock was set back, and for undefined. */
  #isLongAgo(timeMs: number = Number.NEGATIVE_INFINITY): boolean {
    const passedMs = this.#nowMs() - timeMs;
    return passedMs >= WELL_MS || passedMs < 0;
  }

  /**
   * Returns the error for a caller: EFULL, EDENIED or EIO with the cause, or `cause` itself if it is a
   * NetsealError.
   */
  static errorOf(what: string, cause: unknown): NetsealError {
    if (isNetsealError(cause)) return cause;
    const kind = sqliteKindOf(cause) ?? problemKindOf(cause);
    const code = kind === 'full' ? 'EFULL' : kind === 'denied' ? 'EDENIED' : 'EIO';
    return new NetsealError(code, `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
}
