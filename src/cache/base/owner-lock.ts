/**
 * The lock by which one process owns a cache's folder. It is SQLite's lock on an empty database, `lock`: the
 * kernel releases it when its holder dies, however it dies, so that no stale lock is left. The file `owner`
 * beside it names the holder, for messages only.
 *
 * Nothing here opens `lock` except through SQLite: under POSIX, closing any descriptor of a file releases the
 * process's locks on it.
 */
import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  realpathSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { NetsealError } from '../../base/errors.ts';
import { fileIdentity } from './files.ts';
import { type Database, isBusy, isNoDatabase, openDatabase } from './sqlite.ts';

/** Folders that this process owns. POSIX locks do not exclude the process that holds them. */
const ownedHere = new Set<string>();

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
}

export class OwnerLock {
  #database: Database;
  readonly #path: string;
  /** Device and inode number of the file that the lock is on. */
  #file: string;

  /**
   * Takes the lock of the cache in `folder`, which must exist. EDENIED, naming the owner, when another
   * process has it.
   */
  static acquire(folder: string, nowMs: number): OwnerLock {
    const path = realpathSync(folder);
    if (ownedHere.has(path)) throw deniedError(path, readOwner(path));
    const database = lockDatabase(path);
    ownedHere.add(path);
    writeOwner(path, nowMs);
    return new OwnerLock(database, path);
  }

  private constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
    this.#file = fileIdentity(`${path}/lock`) ?? '';
  }

  /** False when the folder was removed or replaced. Another process may own what is there now. */
  get isHeld(): boolean {
    return fileIdentity(`${this.#path}/lock`) === this.#file;
  }

  /**
   * Takes the lock in the folder that is there now, if the folder was replaced. EDENIED when another process
   * has it.
   */
  retake(nowMs: number): void {
    if (this.isHeld) return;
    const database = lockDatabase(this.#path);
    this.#database.close();
    this.#database = database;
    this.#file = fileIdentity(`${this.#path}/lock`) ?? '';
    writeOwner(this.#path, nowMs);
  }

  release(): void {
    ownedHere.delete(this.#path);
    this.#database.close();
  }
}

function lockDatabase(path: string): Database {
  try {
    return lockOnce(path);
  } catch (error) {
    if (!isNoDatabase(error)) throw error;
    // The file is damaged. It is emptied, not removed: two processes could otherwise lock two files.
    truncateSync(`${path}/lock`);
    return lockOnce(path);
  }
}

function lockOnce(path: string): Database {
  const database = openDatabase(`${path}/lock`);
  try {
    database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY');
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) throw deniedError(path, readOwner(path));
    throw error;
  }
}

/** Writes the owner's name. It only serves messages, so a failure is ignored. */
function writeOwner(path: string, nowMs: number): void {
  try {
    chmodSync(`${path}/lock`, 0o600);
    // Within the `try`: a clock may be set to a time that no date can express.
    const owner: Owner = {
      pid: process.pid,
      host: hostname(),
      startedAt: new Date(nowMs - process.uptime() * 1000).toISOString(),
    };
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants;
    const descriptor = openSync(
      `${path}/owner`,
      O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK,
      0o600,
    );
    try {
      writeSync(descriptor, JSON.stringify(owner));
    } finally {
      closeSync(descriptor);
    }
  } catch {}
}

/** Undefined when there is no name that can be read. */
function readOwner(path: string): Owner | undefined {
  try {
    const owner = JSON.parse(readFileSync(`${path}/owner`, 'utf8')) as Partial<Owner>;
    const { pid, host, startedAt } = owner;
    if (typeof pid !== 'number' || typeof host !== 'string' || typeof startedAt !== 'string')
      return undefined;
    return { pid, host, startedAt };
  } catch {
    return undefined;
  }
}

function deniedError(path: string, owner: Owner | undefined): NetsealError {
  const who =
    owner === undefined
      ? 'another process'
      : `process ${owner.pid} on ${owner.host}, running since ${owner.startedAt}`;
  return new NetsealError('EDENIED', `the cache is in use by ${who}: ${path}`);
}
