/**
 * How a command tells of failures: one line each on standard error. With `--json` each line is a JSON object,
 * `{ "error": { code, message, exitCode } }`.
 */
import { getSystemErrorMessage } from 'node:util';
import { isNetsealError, isSystemError, messageOf, type NetsealError } from '../../base/errors.ts';
import { EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, exitCodeOf } from './exit-codes.ts';
import { toJson } from './json-text.ts';
import { beginNotes } from './notes.ts';
import { printable } from './printable.ts';

let isJson = false;

/** Sets how failures are reported, from the arguments of the command line. */
export function chooseReports(args: readonly string[]): void {
  const end = args.indexOf('--');
  isJson = args.slice(0, end === -1 ? undefined : end).includes('--json');
  beginNotes(isJson);
}

/** Writes that the command line is wrong. */
export function reportUsage(text: string, help = 'netseal help'): void {
  write('EINVAL', text, EXIT_USAGE, `${text}; see "${help}"`);
}

/** Reports an error, and returns its exit code. */
export function reportError(error: unknown): number {
  const { code, message, exitCode } = errorFields(error);
  const isPlain = exitCode === EXIT_INTERRUPTED || exitCode === EXIT_BUG;
  write(code, message, exitCode, isPlain && !isNetsealError(error) ? message : `${message} (${code})`);
  if (exitCode === EXIT_BUG && process.env.NETSEAL_DEBUG === '1') console.error(error);
  return exitCode;
}

/** What a JSON document says of an error. */
export interface ErrorFields {
  readonly code: string;
  readonly message: string;
  readonly exitCode: number;
}

export function errorFields(error: unknown): ErrorFields {
  const exitCode = exitCodeOf(error);
  if (exitCode === EXIT_INTERRUPTED) return { code: 'EINTR', message: 'interrupted', exitCode };
  if (isNetsealError(error)) return { code: error.code, message: withAdvice(error), exitCode };
  if (isSystemError(error))
    return { code: error.code ?? 'EIO', message: describeSystemError(error), exitCode };
  return { code: 'EBUG', message: `unexpected: ${messageOf(error)}; please report it`, exitCode };
}

/** Returns the message, and what to do when a store shows what cannot be. */
export function withAdvice({ code, message }: Pick<NetsealError, 'code' | 'message'>): string {
  if (code !== 'EROLLBACK' && code !== 'EFORK') return message;
  return `${message}; if you restored the store from a backup, see "netseal state forget --help"`;
}

/** @param line the text for people. */
function write(code: string, message: string, exitCode: number, line: string): void {
  process.stderr.write(
    isJson ? `${toJson({ error: { code, message, exitCode } })}\n` : `netseal: ${printable(line)}\n`,
  );
}

function describeSystemError({ errno, path, syscall, message }: NodeJS.ErrnoException): string {
  if (syscall === 'uv_cwd') return 'the working folder was removed: go to another one';
  const text = errno === undefined ? message : getSystemErrorMessage(errno);
  return `${path ?? `cannot ${syscall}`}: ${text}`;
}
