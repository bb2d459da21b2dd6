/**
 * One process owns a cache folder. The lock is SQLite's on an empty database: the kernel lets go of it when its holder dies,
 * however it dies, so nothing is ever stale. A small file beside it names the owner, for people only.
 */
import { chmodSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { NetsealError } from '../base/errors.ts';
import { type Database, isBusy, openDatabase } from './sqlite.ts';

/** POSIX locks do not keep a process from itself. */
const ownedHere = new Set<string>();

export interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly startedAt: string;
}

export class OwnerLock {
  readonly #database: Database;
  readonly #path: string;

  /** Takes the lock of the cache in `folder`, which is there. EDENIED, naming the owner, when another process has it. */
  static acquire(folder: string, nowMs: number): OwnerLock {
    const path = realpathSync(folder);
    if (ownedHere.has(path)) throw deniedError(path, readOwner(path));
    const database = openDatabase(`${path}/lock`);
    try {
      database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY');
      database.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      if (isBusy(error)) throw deniedError(path, readOwner(path));
      throw error;
    }
    ownedHere.add(path);
    const owner: Owner = {
      pid: process.pid,
      host: hostname(),
      startedAt: new Date(nowMs - process.uptime() * 1000).toISOString(),
    };
    try {
      chmodSync(`${path}/lock`, 0o600);
      writeFileSync(`${path}/owner`, JSON.stringify(owner), { mode: 0o600 });
    } catch {
      // It only serves messages.
    }
    return new OwnerLock(database, path);
  }

  private constructor(database: Database, path: string) {
    this.#database = database;
    this.#path = path;
  }

  release(): void {
    ownedHere.delete(this.#path);
    this.#database.close();
  }
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
