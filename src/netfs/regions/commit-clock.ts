/**
 * When a file's changes are to be committed without anyone asking. Syncs and closes commit at once and need
 * no clock.
 *
 * A commit is due
 *   - `age`: five seconds after the first change that no commit has begun to publish,
 *   - `records`: when the records of changes fill three quarters of their room, whatever their age.
 *
 * A file that was opened to be replaced waits a minute instead of five seconds, so that others do not see
 * half of it. That ends with the first sync or close of the handle that replaces it.
 */

/** How long changes wait for others, in milliseconds. */
export const COMMIT_AFTER_MS = 5000;

/** How long changes wait while the file is being replaced, in milliseconds. */
export const REPLACED_AFTER_MS = 60_000;

export type CommitReason = 'age' | 'records';

export class CommitClock {
  #firstChangeMs: number | undefined;
  #replacers = 0;

  /** Notes a change. */
  changed(nowMs: number): void {
    this.#firstChangeMs ??= nowMs;
  }

  /** Notes that a commit has begun to publish all changes so far. */
  began(): void {
    this.#firstChangeMs = undefined;
  }

  /**
   * Notes that a handle replaces the content.
   *
   * @returns a function to call at the handle's first sync or close. Calling it again does nothing.
   */
  beginReplacing(): () => void {
    this.#replacers += 1;
    let hasEnded = false;
    return () => {
      if (hasEnded) return;
      hasEnded = true;
      this.#replacers -= 1;
    };
  }

  /** When the next commit is due by age; undefined while there is no change. */
  get dueAtMs(): number | undefined {
    if (this.#firstChangeMs === undefined) return undefined;
    return this.#firstChangeMs + (this.#replacers > 0 ? REPLACED_AFTER_MS : COMMIT_AFTER_MS);
  }

  /** Returns why a commit is due now; undefined when none is. */
  reason(nowMs: number, usedBytes: number, roomBytes: number): CommitReason | undefined {
    if (4 * usedBytes >= 3 * roomBytes) return 'records';
    const { dueAtMs } = this;
    return dueAtMs !== undefined && nowMs >= dueAtMs ? 'age' : undefined;
  }
}
