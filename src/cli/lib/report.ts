/**
 * How a command tells of failures: one line each on standard error. With `--json` each line is a JSON object,
 * `{ "error": { code, message, exitCode } }`.
 */
import { getSystemErrorMessage } from 'node:util';
import { isNetsealError, isSystemError, messageOf, type NetsealError } from '../../base/errors.ts';
import { EXIT_BUG, EXIT_INTERRUPTED, EXIT_USAGE, exitCodeOf } from './exit-codes.ts';
import { toJson } from './json.ts';
import { printable } from './printable.ts';

let isJson = false;

/** Sets how failures are reported, from the arguments of the command line. */
export function chooseReports(args: readonly string[]): void {
  const end = args.indexOf('--');
  isJson = args.slice(0, end === -1 ? undefined : end).includes('--json');
}

/** Writes that the command line is wrong. */
export function reportUsage(text: string, help = 'netseal help'): void {
  write('EINVAL', text, EXIT_USAGE, `${text}; see "${help}"`);
}

/** Reports an error, and returns its exit code. */
export function reportError(error: unknown): number {
  const exitCode = exitCodeOf(error);
  if (exitCode === EXIT_INTERRUPTED) write('EINTR', 'interrupted', exitCode, 'interrupted');
  else if (isNetsealError(error)) write(error.code, withAdvice(error), exitCode);
  else if (isSystemError(error)) write(error.code ?? 'EIO', describeSystemError(error), exitCode);
  else {
    const text = `unexpected: ${messageOf(error)}; please report it`;
    write('EBUG', text, exitCode, text);
  }
  if (exitCode === EXIT_BUG && process.env.NETSEAL_DEBUG === '1') console.error(error);
  return exitCode;
}

/** Returns the message, and what to do when a store shows what cannot be. */
export function withAdvice({ code, message }: Pick<NetsealError, 'code' | 'message'>): string {
  if (code !== 'EROLLBACK' && code !== 'EFORK') return message;
  return `${message}; if you restored the store from a backup, see "netseal state forget --help"`;
}

/** @param line the text for people. Default: the message with the code behind it. */
function write(code: string, message: string, exitCode: number, line = `${message} (${code})`): void {
  process.stderr.write(
    isJson ? `${toJson({ error: { code, message, exitCode } })}\n` : `netseal: ${printable(line)}\n`,
  );
}

function describeSystemError({ errno, path, syscall, message }: NodeJS.ErrnoException): string {
  if (syscall === 'uv_cwd') return 'the working folder was removed: go to another one';
  const text = errno === undefined ? message : getSystemErrorMessage(errno);
  return `${path ?? `cannot ${syscall}`}: ${text}`;
}
