/** Exit codes of the command line. They are a contract, listed in `docs/ERRORS.md`: never reuse a number. */
import { type ErrorCode, isNetsealError, isSystemError } from '../../base/errors.ts';

export const EXIT_OK = 0;
/** Any failure that has no code of its own. */
export const EXIT_FAILED = 1;
/** The command line itself is wrong. */
export const EXIT_USAGE = 2;
/** Stored bytes are damaged, cut short or forged. */
export const EXIT_DAMAGED = 3;
/** No key fits. */
export const EXIT_KEY = 4;
/** A newer Node or netseal is needed. */
export const EXIT_UNSUPPORTED = 5;
/** The operating system or the store failed; a file or folder on this machine is missing. */
export const EXIT_IO = 6;
/** Something already has that name. */
export const EXIT_EXISTS = 7;
/** No such file, folder, volume or cache; or a folder where a file was expected, or the reverse. */
export const EXIT_NOT_FOUND = 8;
/** A fault in netseal itself. */
export const EXIT_BUG = 70;
/** Interrupted by Ctrl-C (128 + SIGINT), SIGTERM or SIGHUP. */
export const EXIT_INTERRUPTED = 130;

const EXIT_OF_CODE: Record<ErrorCode, number> = {
  EINVAL: EXIT_USAGE,
  EFORMAT: EXIT_DAMAGED,
  ETRUNCATED: EXIT_DAMAGED,
  EAUTH: EXIT_DAMAGED,
  EROLLBACK: EXIT_DAMAGED,
  EKEY: EXIT_KEY,
  EUNSUPPORTED: EXIT_UNSUPPORTED,
  EIO: EXIT_IO,
  EEXIST: EXIT_EXISTS,
  EWORKER: EXIT_FAILED,
  ECLOSED: EXIT_FAILED,
  EBUG: EXIT_BUG,
  EMISSING: EXIT_DAMAGED,
  ECONFLICT: EXIT_FAILED,
  EUNAVAILABLE: EXIT_IO,
  EUNCERTAIN: EXIT_IO,
  EDENIED: EXIT_IO,
  EFULL: EXIT_IO,
  ENOENT: EXIT_NOT_FOUND,
  ENOTDIR: EXIT_NOT_FOUND,
  EISDIR: EXIT_NOT_FOUND,
  ENOTEMPTY: EXIT_FAILED,
  EFORK: EXIT_DAMAGED,
};

/** Returns the exit code for the error that a command ended with. */
export function exitCodeOf(error: unknown): number {
  if (isNetsealError(error)) {
    const code = EXIT_OF_CODE[error.code];
    // A system error such as ENOENT is about a file on this machine: nothing is missing in the volume.
    return code === EXIT_NOT_FOUND && isSystemError(error.cause) ? EXIT_IO : code;
  }
  if (error instanceof Error && error.name === 'AbortError') return EXIT_INTERRUPTED;
  return isSystemError(error) ? EXIT_IO : EXIT_BUG;
}
