/**
 * Which errors of writing in the background each open file has been told: one sequence a file, one cursor an
 * open file.
 *
 * Invariants
 *   1. A cursor is told each error once: those recorded after the last time it was asked.
 *   2. A new cursor starts at the present. It is also told earlier errors that no cursor has been told.
 *   3. Of errors with one code only the newest is kept, so the memory is bounded. It stands for the older
 *      ones.
 */
import { codeOf, messageOf, NetsealError } from '../../base/errors.ts';

interface Recorded {
  readonly number: number;
  readonly error: unknown;
}

export class ErrorSequence {
  /** By code, in the order of their numbers. */
  readonly #errors = new Map<string, Recorded>();
  #newest = 0;
  /** Errors up to this number have been told to some cursor. */
  #told = 0;

  /** The newest error, told or not; undefined when there was none. */
  get last(): unknown {
    return [...this.#errors.values()].at(-1)?.error;
  }

  /** Notes that data could not be written. */
  record(error: unknown): void {
    this.#newest += 1;
    const key = codeOf(error) ?? 'other';
    this.#errors.delete(key);
    this.#errors.set(key, { number: this.#newest, error });
  }

  /** Begins a cursor, for a file that is opened now. */
  open(): ErrorCursor {
    return new ErrorCursor(this, this.#told);
  }

  /** For {@link ErrorCursor} only: returns the errors after `number`, oldest first, and the newest number. */
  tellAfter(number: number): { errors: unknown[]; newest: number } {
    this.#told = this.#newest;
    const errors = [...this.#errors.values()].filter(recorded => recorded.number > number);
    return { errors: errors.map(({ error }) => error), newest: this.#newest };
  }
}

/** What one open file has been told. */
export class ErrorCursor {
  readonly #sequence: ErrorSequence;
  #told: number;

  /** @internal Made by {@link ErrorSequence.open} only. */
  constructor(sequence: ErrorSequence, told: number) {
    this.#sequence = sequence;
    this.#told = told;
  }

  /**
   * Returns what went wrong since the last call, and counts it as told. Undefined when nothing did. When
   * errors of several kinds did, the newest is returned as a copy whose cause has all of them.
   */
  take(): unknown {
    const { errors, newest } = this.#sequence.tellAfter(this.#told);
    this.#told = newest;
    const last = errors.at(-1);
    if (errors.length < 2) return last;
    const cause = new AggregateError(errors, 'several errors');
    return new NetsealError(codeOf(last) ?? 'EIO', messageOf(last), { cause });
  }
}
