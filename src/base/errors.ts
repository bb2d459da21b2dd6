/**
 * The one error class, and how errors are told apart: by code, never by `instanceof`.
 *
 * Codes are chosen by what the caller would do next. `docs/ERRORS.md` lists them with causes and remedies.
 * They are stable between major versions, messages are not. Cancellation has no code: an aborted call rejects
 * with its signal's `reason`, as the platform's own calls do.
 */

/** Every code, with advice to the caller. The order is part of the worker protocol: append only. */
export const ERROR_CODES = {
  EINVAL: 'an argument is wrong: fix the call',
  EFORMAT: 'the bytes are not what they should be: restore them from another copy',
  ETRUNCATED: 'the bytes end too early: restore them, or finish the transfer',
  EAUTH: 'damaged, moved, forged or replayed bytes: restore them from another copy',
  EUNSUPPORTED: 'made by a newer netseal, or needs a part this machine lacks: upgrade',
  EKEY: 'no key fits: give the right passphrase, key file or key',
  EROLLBACK: 'older than what was seen before: do not trust this copy',
  EWORKER: 'a worker thread died: the call may be repeated',
  ECLOSED: 'used after close: open it again',
  EEXIST: 'it already exists: choose another name or ask to replace it',
  EIO: 'the operating system failed a read or write: see the cause',
  EBUG: 'netseal broke a rule of its own: please report it',
  EMISSING: 'the store has no such object: another client removed it, or it is lost',
  ECONFLICT: 'another writer was first: read again and rebase',
  EUNAVAILABLE: 'the store could not be asked, nothing happened: try again later',
  EUNCERTAIN: 'the answer was lost: look whether the change is there',
  EDENIED: 'the store does not allow it: check permissions and credentials',
  EFULL: 'the store has no room: make some, nothing was changed',
  ENOENT: 'no such file or folder: check the path',
  ENOTDIR: 'a folder is needed here: check the path',
  EISDIR: 'this is a folder: name a file',
  ENOTEMPTY: 'the folder is not empty: empty it first, or remove the tree',
  EFORK: 'two histories of one object: do not trust this store before you know why',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export class NetsealError extends Error {
  /** Says what the caller can do; see {@link ERROR_CODES}. */
  readonly code: ErrorCode;
  /** The path, or the key in a store, that the error is about; undefined where there is none. */
  readonly path: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; path?: string | undefined } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'NetsealError';
    this.code = code;
    this.path = options.path;
  }
}

/** True for a NetsealError of any copy of this library: two copies can meet in one program. */
export function isNetsealError(error: unknown): error is NetsealError {
  return (
    error instanceof Error &&
    error.name === 'NetsealError' &&
    'code' in error &&
    Object.hasOwn(ERROR_CODES, String(error.code))
  );
}

/** Returns `error` with a path, unless it has one already. Code, message and cause stay. */
export function withPath(error: NetsealError, path: string): NetsealError {
  if (error.path !== undefined) return error;
  const { code, message, cause, stack } = error;
  const located = new NetsealError(code, message, { ...(cause === undefined ? {} : { cause }), path });
  if (stack !== undefined) located.stack = stack;
  return located;
}

/** Returns the code of a {@link NetsealError}; undefined for anything else. */
export function codeOf(error: unknown): ErrorCode | undefined {
  return isNetsealError(error) ? error.code : undefined;
}

/**
 * True for what the operating system reported: `ENOENT`, `EACCES`, ... Its errors name the call that failed.
 */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

/** Returns the `code` of an error of the operating system; undefined for anything else. */
export function systemCodeOf(error: unknown): string | undefined {
  return isSystemError(error) ? error.code : undefined;
}

const DAMAGE: ReadonlySet<ErrorCode> = new Set(['EAUTH', 'EFORMAT', 'ETRUNCATED', 'EUNSUPPORTED', 'EKEY']);

/** True for the errors that damaged, foreign or forged bytes cause. */
export function isDamage(error: unknown): error is NetsealError {
  return isNetsealError(error) && DAMAGE.has(error.code);
}

/** Codes that say nothing about what was asked for: the call may work later, or should not have been made. */
const NO_LOSS: ReadonlySet<ErrorCode> = new Set([
  'ECLOSED',
  'ECONFLICT',
  'EUNAVAILABLE',
  'EWORKER',
  'EBUG',
  'EINVAL',
]);

/**
 * True when an error says that something stored cannot be had: it is damaged, missing or refused. A check of
 * a whole volume reports such a thing and goes on with the rest.
 */
export function isLoss(error: unknown): error is NetsealError {
  return isNetsealError(error) && !NO_LOSS.has(error.code);
}

/** Throws EINVAL with `message` unless `condition` holds. */
export function requireArgument(condition: boolean, message: string): asserts condition {
  if (!condition) throw new NetsealError('EINVAL', message);
}

/** Returns the message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
