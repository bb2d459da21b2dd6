/** Turns errors of the local file system into ours, with the path that they are about. */
import { getSystemErrorMessage } from 'node:util';
import { type ErrorCode, messageOf, NetsealError, systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { showName } from './local-names.ts';

const CODE_OF_SYSTEM_CODE: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'ENOENT',
  ENOTDIR: 'ENOTDIR',
  EISDIR: 'EISDIR',
  EEXIST: 'EEXIST',
  ENOSPC: 'EFULL',
  EDQUOT: 'EFULL',
  EACCES: 'EDENIED',
  EPERM: 'EDENIED',
  EROFS: 'EDENIED',
  ENAMETOOLONG: 'EINVAL',
  EILSEQ: 'EINVAL',
  // A symbolic link where links are not followed.
  ELOOP: 'ENOTDIR',
};

/**
 * Returns our error for a system error of a call on the local path. Any other error is returned as it is.
 *
 *   ENOENT           it is missing
 *   EDENIED          it is not allowed
 *   EFULL            there is no room
 *   ENOTDIR, EISDIR  it is the wrong kind of thing
 *   EIO              everything else
 *
 * @param action completes `cannot ...`: `read`, `write`.
 */
export function localError(action: string, path: Name, error: unknown): unknown {
  const systemCode = systemCodeOf(error);
  if (systemCode === undefined) return error;
  const { errno } = error as NodeJS.ErrnoException;
  const why = errno === undefined ? messageOf(error) : getSystemErrorMessage(errno);
  const code = CODE_OF_SYSTEM_CODE[systemCode] ?? 'EIO';
  return new NetsealError(code, `cannot ${action} ${showName(path)}: ${why}`, {
    cause: error,
    path: Buffer.from(path, 'latin1').toString(),
  });
}
