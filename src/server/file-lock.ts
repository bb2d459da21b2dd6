/**
 * A lock between processes that the kernel releases when its holder dies, however it dies.
 *
 * Node has no `flock`, but SQLite locks files reliably: holding the lock means to be inside a transaction
 * that changes nothing, on a database that stays empty.
 *
 * Never open a lock file by other means in the same process: when a process closes any descriptor of a file,
 * it gives up all its locks on that file (POSIX). SQLite takes care of that for its own descriptors.
 */
import { closeSync, constants, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { NetsealError } from '../base/errors.ts';

const SQLITE_BUSY = 5;

export class FileLock {
  readonly #database: DatabaseSync;

  /** Opens a lock file that {@link createLockFile} made. */
  constructor(path: string) {
    if (!lstatSync(path).isFile()) throw new NetsealError('EFORMAT', `not a lock file: ${path}`);
    const url = pathToFileURL(path);
    // Opens, never creates: a symbolic link may have taken the file's place by now.
    url.search = 'mode=rw';
    this.#database = new (loadSqlite().DatabaseSync)(url, { timeout: 0 });
    try {
      // Otherwise SQLite might create a journal file beside it.
      this.#database.exec('PRAGMA journal_mode = MEMORY');
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** Takes the lock if it is free. Returns whether it did. Never waits. */
  tryAcquire(): boolean {
    try {
      this.#database.exec('BEGIN IMMEDIATE');
      return true;
    } catch (error) {
      if (isBusy(error)) return false;
      throw error;
    }
  }

  release(): void {
    this.#database.exec('ROLLBACK');
  }

  /** Releases the lock and closes the file. */
  close(): void {
    this.#database.close();
  }
}

/**
 * Makes a lock file at `path` unless there is one. It is made at `temporaryPath`, on the same file system,
 * and then linked.
 *
 * @param prepare called with the descriptor of the new file, before others can see it.
 */
export function createLockFile(
  path: string,
  temporaryPath: string,
  prepare: (fd: number) => void = () => undefined,
): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  const fd = openSync(temporaryPath, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o666);
  try {
    try {
      prepare(fd);
    } finally {
      closeSync(fd);
    }
    // Created and closed under another name: under its own, another thread of this process may have locked it
    // already.
    linkSync(temporaryPath, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    unlinkSync(temporaryPath);
  }
}

function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // Deno gives no SQLite code, only the message.
  if (!('errcode' in error)) return error.message === 'database is locked';
  // The lower byte is the primary code.
  return (Number(error.errcode) & 0xff) === SQLITE_BUSY;
}

let sqlite: typeof import('node:sqlite') | undefined;

/**
 * Loads SQLite when the first writer needs it: on Node 22 that prints a warning, and readers need no lock.
 */
function loadSqlite(): typeof import('node:sqlite') {
  sqlite ??= process.getBuiltinModule('node:sqlite');
  if (sqlite === undefined) {
    throw new NetsealError('EUNSUPPORTED', 'a directory store needs a Node with node:sqlite to write');
  }
  return sqlite;
}
