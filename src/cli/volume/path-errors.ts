/** Errors that say which path they are about, and what to do. */
import { ERROR_CODES, isNetsealError, NetsealError } from '../../base/errors.ts';
import { showPath, type VolumePath } from './paths.ts';

/** Codes that are about the path itself. The message is then the code's meaning, which says everything. */
const PATH_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ENOTEMPTY', 'EEXIST']);
const DAMAGE_CODES: ReadonlySet<string> = new Set(['EFORMAT', 'ETRUNCATED', 'EAUTH', 'EMISSING']);

/** An error whose message already names its path. */
class ErrorAtPath extends NetsealError {}

/**
 * Returns `error` with its path, and what to do. Errors that are no NetsealError, and bugs, are returned as
 * they are.
 */
export function errorAt(path: VolumePath, error: unknown): unknown {
  if (!isNetsealError(error) || error instanceof ErrorAtPath || error.code === 'EBUG') return error;
  const { code, message } = error;
  const text = PATH_CODES.has(code) ? ERROR_CODES[code] : message;
  const next = DAMAGE_CODES.has(code) ? '; "netseal verify" finds everything that is damaged' : '';
  return new ErrorAtPath(code, `${showPath(path)}: ${text}${next}`, {
    cause: error,
    path: showPath(path),
  });
}

/** Returns an error at a path with a text of the command's own. */
export function failAt(path: VolumePath, code: NetsealError['code'], text: string): NetsealError {
  return new ErrorAtPath(code, `${showPath(path)}: ${text}`, { path: showPath(path) });
}

/** Waits for `work`; its errors then name the path. */
export async function at<Result>(path: VolumePath, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw errorAt(path, error);
  }
}
