/** Failures at single paths, kept by a command that goes on with its other paths. */
import { isNetsealError, isSystemError } from '../../base/errors.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { warn } from '../lib/notes.ts';
import { reportError } from '../lib/report.ts';
import { errorAt } from './path-errors.ts';
import type { VolumePath } from './paths.ts';

const SHOWN_MAX = 100;

export class Failures {
  readonly #shown: unknown[] = [];
  #count = 0;
  #exitCode: number | undefined;

  get count(): number {
    return this.#count;
  }

  /** Keeps an error at a path. Throws it instead if it concerns the whole command: an interruption, a bug. */
  add(path: VolumePath, error: unknown): void {
    const atPath = errorAt(path, error);
    if (!concernsPath(atPath)) throw atPath;
    this.#count += 1;
    const code = exitCodeOf(atPath);
    // Damage matters more than any other failure.
    if (this.#exitCode === undefined || code === EXIT_DAMAGED) this.#exitCode = code;
    if (this.#shown.length < SHOWN_MAX) this.#shown.push(atPath);
  }

  /**
   * Lists the failures on standard error. Sets the exit code: that of damage if there is any, else that of
   * the first failure.
   */
  report(): void {
    if (this.#exitCode === undefined) return;
    for (const error of this.#shown) reportError(error);
    const more = this.#count - this.#shown.length;
    if (more > 0) warn(`and ${more} more`);
    process.exitCode = this.#exitCode;
  }
}

function concernsPath(error: unknown): error is Error & { readonly code: string } {
  if (isNetsealError(error)) return error.code !== 'EBUG' && error.code !== 'ECLOSED';
  return isSystemError(error);
}
