/** Translates errors of the operating system into those of a store. */
import { type ErrorCode, messageOf, NetsealError, systemCodeOf } from '../base/errors.ts';

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
  const systemCode = systemCodeOf(error);
  if (systemCode === undefined) return sqliteError(store, error);
  const code = systemCode === 'ENOENT' ? codeOfMissing : (CODE_OF_SYSTEM_CODE[systemCode] ?? 'EIO');
  // The system's message is about a path through a descriptor, which tells the user nothing.
  const text = code === 'EMISSING' ? 'no such object' : messageOf(error);
  return new NetsealError(code, `${store}: ${text}: ${key}`, { cause: error });
}

function sqliteError(store: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errcode' in error)) return error;
  return new NetsealError('EIO', `${store}: its lock does not work: ${error.message}`, { cause: error });
}
