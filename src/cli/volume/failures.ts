/** What went wrong at single paths of a command that goes on with the others. */
import { isNetsealError, isSystemError, messageOf } from '../../base/errors.ts';
import { EXIT_DAMAGED, exitCodeOf } from '../lib/exit-codes.ts';
import { printable } from '../lib/printable.ts';
import { errorAt, type VolumePath } from './paths.ts';

const SHOWN_MAX = 100;

function isOfPath(error: unknown): error is Error & { readonly code: string } {
  if (isNetsealError(error)) return error.code !== 'EBUG' && error.code !== 'ECLOSED';
  return isSystemError(error);
}

export class Failures {
  readonly #shown: string[] = [];
  #count = 0;
  #exitCode: number | undefined;

  get count(): number {
    return this.#count;
  }

  /** Keeps an error of one path. Throws what is about the whole command: an interruption, a bug. */
  add(path: VolumePath, error: unknown): void {
    const told = errorAt(path, error);
    if (!isOfPath(told)) throw told;
    this.#count += 1;
    const code = exitCodeOf(told);
    // Damage is what one must hear of.
    if (this.#exitCode === undefined || code === EXIT_DAMAGED) this.#exitCode = code;
    if (this.#shown.length < SHOWN_MAX) this.#shown.push(`${messageOf(told)} (${told.code})`);
  }

  /** Lists them on standard error, and sets the exit code: that of the first, or of damage if there is any. */
  report(): void {
    if (this.#exitCode === undefined) return;
    for (const line of this.#shown) process.stderr.write(`netseal: ${printable(line)}\n`);
    const more = this.#count - this.#shown.length;
    if (more > 0) process.stderr.write(`netseal: and ${more} more\n`);
    process.exitCode = this.#exitCode;
  }
}
