/** The path in errors of the operating system. Those of calls on an open file come without it. */
import { isSystemError } from '../base/errors.ts';

/**
 * Returns a system error with `path` in it, unless it has a path already. Anything else is returned as it is.
 *
 * @param path as the user knows it.
 */
export function withPath(path: string, error: unknown): unknown {
  if (isSystemError(error) && error.path === undefined) error.path = path;
  return error;
}

/** Waits for `work`; its system errors then have the path. */
export async function atPath<Result>(path: string, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw withPath(path, error);
  }
}
