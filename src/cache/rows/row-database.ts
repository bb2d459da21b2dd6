/** The table of rows in SQLite, as it lies on the disk: kind, name and sealed value. Everything throws what SQLite throws. */
import { closeSync, openSync } from 'node:fs';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { fileIdentity } from '../base/files.ts';
import { type Database, isNoDatabase, openDatabase, type SqlValue, type Statement } from '../base/sqlite.ts';

/** A row as it is to be; without a value it is to go. */
export interface SealedRow {
  readonly kind: number;
  readonly name: Uint8Array;
  readonly sealed: Uint8Array | undefined;
}

interface Statements {
  readonly get: Statement;
  readonly page: Statement;
  readonly all: Statement;
  readonly put: Statement;
  readonly remove: Statement;
  readonly count: Statement;
}

export class RowDatabase {
  readonly #path: string;
  readonly #reset: (error: unknown) => void;
  readonly #database: Database;
  readonly #statements: Statements;
  /** Which file it is. */
  readonly #file: string | undefined;

  /**
   * Opens or makes the database at `path`.
   *
   * @param reset called with what was wrong when it has to be made anew, and is to remove the files.
   */
  constructor(path: string, reset: (error: unknown) => void) {
    this.#path = path;
    this.#reset = reset;
    try {
      this.#database = open(path);
    } catch (error) {
      // What the system refuses today it may do tomorrow; only damage stays.
      if (!(isNetsealError(error) || isNoDatabase(error))) throw error;
      reset(error);
      this.#database = open(path);
    }
    const prepare = (sql: string): Statement => this.#database.prepare(sql);
    this.#statements = {
      get: prepare('SELECT value FROM rows WHERE kind = ? AND name = ?'),
      page: prepare(
        'SELECT name, value FROM rows WHERE kind = ? AND name > ? AND name < ? ORDER BY name LIMIT ?',
      ),
      all: prepare('SELECT name, value FROM rows WHERE kind = ?'),
      put: prepare('INSERT OR REPLACE INTO rows (kind, name, value) VALUES (?, ?, ?)'),
      remove: prepare('DELETE FROM rows WHERE kind = ? AND name = ?'),
      count: prepare('SELECT count(*) AS count FROM rows WHERE kind = ?'),
    };
    this.#file = fileIdentity(path);
  }

  /** The file is gone, or another one by now; what is open can still be read. */
  get isLost(): boolean {
    return fileIdentity(this.#path) !== this.#file;
  }

  /** A new one in place of one that is lost; this one is still to be closed. */
  again(): RowDatabase {
    this.#reset(new NetsealError('ENOENT', 'the database of the cache was lost with its folder'));
    return new RowDatabase(this.#path, this.#reset);
  }

  get(kind: number, name: Uint8Array): Record<string, SqlValue> | undefined {
    return this.#statements.get.get(kind, name);
  }

  page(kind: number, after: Uint8Array, before: Uint8Array, limit: number): Record<string, SqlValue>[] {
    return this.#statements.page.all(kind, after, before, limit);
  }

  all(kind: number): Record<string, SqlValue>[] {
    return this.#statements.all.all(kind);
  }

  count(kind: number): number {
    return Number(this.#statements.count.get(kind)?.count ?? 0);
  }

  /**
   * All of them or none. Ends at the first that fails: SQLite may have taken back those before it by then, and those behind it would
   * be written alone.
   */
  write(rows: readonly SealedRow[]): void {
    if (rows.length <= 1) {
      this.#writeEach(rows);
      return;
    }
    try {
      this.#database.exec('BEGIN');
      this.#writeEach(rows);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#rollBack();
      throw error;
    }
  }

  #writeEach(rows: readonly SealedRow[]): void {
    const { put, remove } = this.#statements;
    for (const { kind, name, sealed } of rows) {
      if (sealed === undefined) remove.run(kind, name);
      else put.run(kind, name, sealed);
    }
  }

  #rollBack(): void {
    try {
      this.#database.exec('ROLLBACK');
    } catch {
      // The system has done so already.
    }
  }

  /** FULL: the log of changes is synced up to each change from now on. */
  setSynchronous(mode: 'FULL' | 'NORMAL'): void {
    this.#database.exec(`PRAGMA synchronous = ${mode}`);
  }

  /** Syncs. */
  checkpoint(): void {
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  close(): void {
    this.#database.close();
  }
}

function open(path: string): Database {
  // SQLite gives what belongs to it the same permissions. Nobody has it open yet, so closing loses no lock.
  closeSync(openSync(path, 'a', 0o600));
  const database = openDatabase(path);
  try {
    database.exec(
      'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 4096',
    );
    database.exec(
      'CREATE TABLE IF NOT EXISTS rows (kind INTEGER, name BLOB, value BLOB, PRIMARY KEY (kind, name)) WITHOUT ROWID',
    );
    const check = database.prepare('PRAGMA quick_check(1)').get();
    if (check?.quick_check !== 'ok') throw new NetsealError('EFORMAT', 'the cache database is damaged');
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}
