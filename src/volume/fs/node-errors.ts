/**
 * Errors of open files, for programs that were written for `node:fs`. Most codes are the same there and here.
 * Where Node has another one for the same thing, the error has Node's, and netseal's own error as its cause.
 * EAUTH, EFORK, ECONFLICT and others that no file system has stay what they are.
 */
import { constants } from 'node:os';
import { codeOf, type ErrorCode, messageOf } from '../../base/errors.ts';

type NodeCode = 'EACCES' | 'EBADF' | 'EIO' | 'ENOSPC';

const NODE_CODES: Partial<Record<ErrorCode, NodeCode>> = {
  ECLOSED: 'EBADF',
  EDENIED: 'EACCES',
  EFULL: 'ENOSPC',
  EMISSING: 'EIO',
};

/** An error in the form of those of the operating system. */
export class FileSystemError extends Error implements NodeJS.ErrnoException {
  readonly code: NodeCode;
  /** Negative, as in errors of `node:fs`. */
  readonly errno: number;
  readonly syscall: string;

  constructor(code: NodeCode, syscall: string, message: string, cause?: unknown) {
    super(`${code}: ${message}, ${syscall}`, cause === undefined ? undefined : { cause });
    this.name = 'FileSystemError';
    this.code = code;
    this.errno = -constants.errno[code];
    this.syscall = syscall;
  }
}

/** Returns what a call of an open file rejects with when its work has failed with `error`. */
export function toNodeError(error: unknown, syscall: string): unknown {
  const ownCode = codeOf(error);
  const code = ownCode && NODE_CODES[ownCode];
  return code === undefined ? error : new FileSystemError(code, syscall, messageOf(error), error);
}

/** Does the work of a call, in this turn as far as it goes. Rejects as {@link toNodeError} says. */
export async function asNode<Result>(syscall: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw toNodeError(error, syscall);
  }
}
