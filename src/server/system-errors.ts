/** Translates errors of the operating system into those of a store. */
import { getSystemErrorMessage } from 'node:util';
import { type ErrorCode, isSystemError, messageOf, NetsealError } from '../base/errors.ts';

const CODE_OF_SYSTEM_CODE: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'EFULL',
  EDQUOT: 'EFULL',
  EACCES: 'EDENIED',
  EPERM: 'EDENIED',
  EROFS: 'EDENIED',
  EMFILE: 'EUNAVAILABLE',
  ENFILE: 'EUNAVAILABLE',
  ENOMEM: 'EUNAVAILABLE',
  EAGAIN: 'EUNAVAILABLE',
  EBUSY: 'EUNAVAILABLE',
  ESTALE: 'EUNAVAILABLE',
  ETIMEDOUT: 'EUNAVAILABLE',
  EFBIG: 'EINVAL',
  ENAMETOOLONG: 'EINVAL',
  // A link, a pipe or the like lies where the store has only files and folders.
  ELOOP: 'EFORMAT',
  ENOTDIR: 'EFORMAT',
  EISDIR: 'EFORMAT',
  ENXIO: 'EFORMAT',
};

/**
 * Returns the error that a store throws for `error`. A NetsealError, or the reason of an abort, is returned
 * as it is.
 *
 * @param codeOfMissing the code for ENOENT. When a change meets ENOENT, a folder of the store is missing, not
 *   an object.
 */
export function storeError(
  store: string,
  key: string,
  error: unknown,
  codeOfMissing: ErrorCode = 'EMISSING',
): unknown {
  if (!isSystemError(error)) return sqliteError(store, error);
  const code = codeOfSystem(error, codeOfMissing);
  const text = code === 'EMISSING' ? 'no such object' : textOf(error, code);
  return new NetsealError(code, `${store}: ${text}${key === '' ? '' : `: ${key}`}`, {
    cause: error,
    path: key,
  });
}

function codeOfSystem({ code = '' }: NodeJS.ErrnoException, codeOfMissing: ErrorCode): ErrorCode {
  return code === 'ENOENT' ? codeOfMissing : (CODE_OF_SYSTEM_CODE[code] ?? 'EIO');
}

/**
 * Returns the system's words without its path: that may lead through a descriptor, which tells the user
 * nothing.
 */
export function textOfSystemError(error: unknown): string {
  const isKnown = isSystemError(error) && error.errno !== undefined;
  return isKnown ? getSystemErrorMessage(error.errno ?? 0) : messageOf(error);
}

function textOf(error: NodeJS.ErrnoException, code: ErrorCode): string {
  const text = textOfSystemError(error);
  return code === 'EFULL' ? `${text}: make room on the file system of this folder, then try again` : text;
}

/** SQLite's result code for a file that is no database: a lock file with bytes in it. */
const SQLITE_NOTADB = 26;
/** SQLite's result code for a database with damaged content. */
const SQLITE_CORRUPT = 11;
/** SQLite's result code for a file that may not be written. */
const SQLITE_READONLY = 8;
const SQLITE_CANTOPEN = 14;

function sqliteError(store: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errcode' in error)) return error;
  const primaryCode = Number(error.errcode) & 0xff;
  if (primaryCode === SQLITE_NOTADB || primaryCode === SQLITE_CORRUPT) {
    return new NetsealError(
      'EFORMAT',
      `${store}: the file "lock" in it is damaged, and nothing can be written before it is empty: while no other netseal uses this folder, run: : >"${store}/lock"`,
      { cause: error },
    );
  }
  const isDenied = primaryCode === SQLITE_READONLY || primaryCode === SQLITE_CANTOPEN;
  const code = isDenied ? 'EDENIED' : 'EIO';
  return new NetsealError(code, `${store}: its lock does not work: ${error.message}`, { cause: error });
}
