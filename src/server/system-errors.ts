/** Errors of the operating system as those of a store. */
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
  // Something is in the place of an object or a folder that the store never puts there.
  ELOOP: 'EFORMAT',
  ENOTDIR: 'EFORMAT',
  EISDIR: 'EFORMAT',
  ENXIO: 'EFORMAT',
};

/**
 * What a store throws for `error`. What is a NetsealError, or was thrown by an abort, stays as it is.
 *
 * @param codeOfMissing for ENOENT: a change that meets it lacks a folder of the store, not an object.
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
  // The system's own text names a descriptor of this process.
  const text = code === 'EMISSING' ? 'no such object' : messageOf(error);
  return new NetsealError(code, `${store}: ${text}: ${key}`, { cause: error });
}

function sqliteError(store: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errcode' in error)) return error;
  return new NetsealError('EIO', `${store}: its lock does not work: ${error.message}`, { cause: error });
}
