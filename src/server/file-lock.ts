/**
 * A lock between processes that the kernel releases when its holder dies, however it dies. Node has no `flock`; SQLite
 * has done this well for decades: the lock is a transaction that changes nothing on a database that stays empty.
 *
 * Never open a lock file by other means in the same process: closing any descriptor of a file gives up all locks that the
 * process has on it (POSIX). SQLite takes care of that for its own.
 */
import { closeSync, constants, linkSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
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
    // Nothing is created where a symbolic link might point to by now.
    url.search = 'mode=rw';
    this.#database = new (loadSqlite().DatabaseSync)(url, { timeout: 0 });
    try {
      // The journal of a transaction that changes nothing; never a file.
      this.#database.exec('PRAGMA journal_mode = MEMORY');
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** True when this one has it now; false while another has. Never waits. */
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

  /** Releases it, too. */
  close(): void {
    this.#database.close();
  }
}

/** Makes sure that there is a lock file at `path`, by way of `temporaryPath` on the same file system. */
export function createLockFile(path: string, temporaryPath: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
  closeSync(openSync(temporaryPath, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o666));
  try {
    // Under its own name it is never opened and closed; another thread may have locked it at once.
    linkSync(temporaryPath, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    unlinkSync(temporaryPath);
  }
}

function isBusy(error: unknown): boolean {
  // The lower byte is the primary code.
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;
}

let sqlite: typeof import('node:sqlite') | undefined;

/** Loaded by the first writer: on Node 22 it prints a warning, and readers do without. */
function loadSqlite(): typeof import('node:sqlite') {
  try {
    sqlite ??= createRequire(import.meta.url)('node:sqlite') as typeof import('node:sqlite');
    return sqlite;
  } catch (cause) {
    throw new NetsealError('EUNSUPPORTED', 'a directory store needs a Node with node:sqlite to write', {
      cause,
    });
  }
}
