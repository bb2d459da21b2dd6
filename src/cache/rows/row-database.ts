/**
 * The table of rows in SQLite, as it lies on the disk: kind, name and sealed value. `rows.ts` seals them.
 * Every method throws what SQLite throws.
 */
import { closeSync, openSync } from 'node:fs';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { fileIdentity } from '../base/files.ts';
import { type Database, isNoDatabase, openDatabase, type SqlValue, type Statement } from '../base/sqlite.ts';

/** What a row is to become. A change without a sealed value deletes the row. */
export interface SealedRowChange {
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
  readonly #removeFiles: (error: unknown) => void;
  readonly #database: Database;
  readonly #statements: Statements;
  /** The device and number of the database's file. */
  readonly #file: string | undefined;

  /**
   * Opens the database at `path`, or makes one.
   *
   * @param removeFiles removes the files of a database that is damaged; a new one is then made. Called with
   *   the reason.
   */
  constructor(path: string, removeFiles: (error: unknown) => void) {
    this.#path = path;
    this.#removeFiles = removeFiles;
    try {
      this.#database = open(path);
    } catch (error) {
      // A refusal of the system may pass; damage does not.
      if (!(isNetsealError(error) || isNoDatabase(error))) throw error;
      removeFiles(error);
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

  /** True when the file is gone or was replaced. The open database can still be read. */
  get isLost(): boolean {
    return fileIdentity(this.#path) !== this.#file;
  }

  /** Makes a new database in place of this one, whose file is lost. The caller closes this one. */
  recreate(): RowDatabase {
    this.#removeFiles(new NetsealError('ENOENT', 'the database of the cache was lost with its folder'));
    return new RowDatabase(this.#path, this.#removeFiles);
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
   * Makes all of the changes or none. Stops at the first that fails: SQLite may have rolled back the earlier
   * ones by then, and the later ones would be written without them.
   */
  write(rows: readonly SealedRowChange[]): void {
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

  #writeEach(rows: readonly SealedRowChange[]): void {
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
      // SQLite has rolled back already.
    }
  }

  /**
   * With FULL, each later change is on the disk when it returns. With NORMAL, it is after the next
   * {@link checkpoint}.
   */
  setSynchronous(mode: 'FULL' | 'NORMAL'): void {
    this.#database.exec(`PRAGMA synchronous = ${mode}`);
  }

  /** Puts all changes so far on the disk. */
  checkpoint(): void {
    this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  close(): void {
    this.#database.close();
  }
}

function open(path: string): Database {
  // SQLite gives its other files the permissions of this one. No lock is lost by closing: the file is not
  // open elsewhere yet.
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
