/**
 * One process owns a cache folder. The lock is SQLite's on an empty database: the kernel lets go of it when its holder dies,
 * however it dies, so nothing is ever stale. A small file beside it names the owner, for people only.
 *
 * Nobody here opens the file `lock` by other means: closing any descriptor of it would let go of the lock, as POSIX has it.
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

/** POSIX locks do not keep a process from itself. */
const ownedHere = new Set<string>();

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
}

export class OwnerLock {
  #database: Database;
  readonly #path: string;
  /** Which file the lock is on. */
  #file: string;

  /** Takes the lock of the cache in `folder`, which is there. EDENIED, naming the owner, when another process has it. */
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

  /** False when the folder was removed, or is another one by now, in which somebody else may have a cache. */
  get isHeld(): boolean {
    return fileIdentity(`${this.#path}/lock`) === this.#file;
  }

  /** Takes the lock in the folder that is there now, if it is another one. EDENIED when somebody else has that. */
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
    // Somebody has damaged it. It is emptied, not removed: there must not be two of it.
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

/** It only serves messages: that it cannot be written is nobody's trouble. */
function writeOwner(path: string, nowMs: number): void {
  try {
    chmodSync(`${path}/lock`, 0o600);
    // In here: there are clocks of which no date can be made.
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

/** Undefined when nobody has left a name. */
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
