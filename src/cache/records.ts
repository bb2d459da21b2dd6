/**
 * The small slow things, in SQLite: volumes, objects that were invalidated or have coherency data, pins, released dirty batches.
 * Names of rows are keyed hashes, values are sealed for their row. What cannot be written now is kept in memory, and written
 * when it can be: a cache goes on without.
 */
import { closeSync, openSync } from 'node:fs';
import { toHex } from '../base/bytes.ts';
import { messageOf, NetsealError } from '../base/errors.ts';
import { isDamage, type Seals } from './seals.ts';
import { type Database, openDatabase, type Statement } from './sqlite.ts';

/** The number is on the disk: append only. */
export const ROW_KINDS = { setting: 1, volume: 2, object: 3, pin: 4, released: 5 } as const;
export type RowKind = keyof typeof ROW_KINDS;

export class Records {
  readonly #path: string;
  readonly #seals: Seals;
  readonly #onProblem: (error: unknown) => void;
  /** Rows that the database does not have as they are; undefined for a row that is to go. */
  readonly #unsaved = new Map<string, { kind: RowKind; name: Uint8Array; value: Uint8Array | undefined }>();
  #database: Database;
  #get: Statement;
  #counts = new Map<RowKind, number>();

  /**
   * Opens or makes the database at `path`.
   *
   * @param reset called with what was wrong when it has to be made anew, and is to remove the files.
   */
  constructor(
    path: string,
    seals: Seals,
    onProblem: (error: unknown) => void,
    reset: (error: unknown) => void,
  ) {
    this.#path = path;
    this.#seals = seals;
    this.#onProblem = onProblem;
    try {
      this.#database = this.#openDatabase();
    } catch (error) {
      reset(error);
      this.#database = this.#openDatabase();
    }
    this.#get = this.#database.prepare('SELECT value FROM rows WHERE kind = ? AND name = ?');
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) this.#counts.set(kind, this.#count(kind));
  }

  /** Whether there may be any row of this kind: saves asking for each. */
  hasAny(kind: RowKind): boolean {
    return (this.#counts.get(kind) ?? 0) > 0;
  }

  /** Undefined when there is none, or none that can be read. */
  get(kind: RowKind, name: Uint8Array): Uint8Array | undefined {
    const unsaved = this.#unsaved.get(rowKey(kind, name));
    if (unsaved !== undefined) return unsaved.value;
    if (!this.hasAny(kind)) return undefined;
    try {
      const row = this.#get.get(ROW_KINDS[kind], name);
      return row?.value instanceof Uint8Array ? this.#unseal(kind, name, row.value) : undefined;
    } catch (error) {
      this.#onProblem(error);
      return undefined;
    }
  }

  /** Every row of a kind that can be read. */
  all(kind: RowKind): { readonly name: Uint8Array; readonly value: Uint8Array }[] {
    const found = new Map<string, { name: Uint8Array; value: Uint8Array }>();
    try {
      const rows = this.#database.prepare('SELECT name, value FROM rows WHERE kind = ?').all(ROW_KINDS[kind]);
      for (const { name, value } of rows) {
        if (!(name instanceof Uint8Array && value instanceof Uint8Array)) continue;
        const plain = this.#unseal(kind, name, value);
        if (plain !== undefined) found.set(rowKey(kind, name), { name, value: plain });
      }
    } catch (error) {
      this.#onProblem(error);
    }
    for (const [key, row] of this.#unsaved) {
      if (row.kind !== kind) continue;
      if (row.value === undefined) found.delete(key);
      else found.set(key, { name: row.name, value: row.value });
    }
    return [...found.values()];
  }

  /** Survives the death of the process at once, a power cut after {@link flush}. False when it could not be written yet. */
  put(kind: RowKind, name: Uint8Array, value: Uint8Array): boolean {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    return this.#save(kind, name, value);
  }

  remove(kind: RowKind, name: Uint8Array): boolean {
    return this.#save(kind, name, undefined);
  }

  /** Writes what could not be written before, and syncs. False when that does not work. */
  flush(): boolean {
    for (const { kind, name, value } of [...this.#unsaved.values()]) this.#save(kind, name, value);
    try {
      this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch (error) {
      this.#onProblem(error);
      return false;
    }
    return this.#unsaved.size === 0;
  }

  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /** Seals all rows anew, after a change of keys. */
  resealAll(): void {
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) {
      for (const { name, value } of this.all(kind)) this.#save(kind, name, value);
    }
  }

  close(): void {
    try {
      this.#database.close();
    } catch (error) {
      this.#onProblem(error);
    }
  }

  #openDatabase(): Database {
    // SQLite gives what belongs to it the same permissions. Nobody has it open yet, so closing loses no lock.
    closeSync(openSync(this.#path, 'a', 0o600));
    const database = openDatabase(this.#path);
    try {
      database.exec(
        'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL',
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

  #count(kind: RowKind): number {
    const row = this.#database
      .prepare('SELECT count(*) AS count FROM rows WHERE kind = ?')
      .get(ROW_KINDS[kind]);
    return Number(row?.count ?? 0);
  }

  #save(kind: RowKind, name: Uint8Array, value: Uint8Array | undefined): boolean {
    const key = rowKey(kind, name);
    try {
      const number = ROW_KINDS[kind];
      if (value === undefined) {
        this.#database.prepare('DELETE FROM rows WHERE kind = ? AND name = ?').run(number, name);
      } else {
        const sealed = this.#seals.seal('cacheIndex', name, number, value);
        this.#database
          .prepare('INSERT OR REPLACE INTO rows (kind, name, value) VALUES (?, ?, ?)')
          .run(number, name, sealed);
      }
      this.#unsaved.delete(key);
      return true;
    } catch (error) {
      this.#unsaved.set(key, { kind, name, value });
      this.#onProblem(error);
      return false;
    }
  }

  #unseal(kind: RowKind, name: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    try {
      return this.#seals.open('cacheIndex', name, ROW_KINDS[kind], sealed);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#onProblem(new NetsealError('EFORMAT', `a row of the cache is damaged: ${messageOf(error)}`));
      return undefined;
    }
  }
}

function rowKey(kind: RowKind, name: Uint8Array): string {
  return `${kind}/${toHex(name)}`;
}
