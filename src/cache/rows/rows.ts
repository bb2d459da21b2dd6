/**
 * The rows of a cache's database: small facts that change seldom, such as volumes, invalidated objects, pins,
 * cookies and released dirty batches.
 *
 * Names of rows are keyed hashes. Values are sealed together with the name of their row. A change that cannot
 * be written now stays in memory and is written later, so that the cache works while its database does not.
 */
import { concatBytes, equalBytes, utf8 } from '../../base/bytes.ts';
import { isDamage, messageOf, NetsealError } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Seals } from '../base/seals.ts';
import type { SqlValue } from '../base/sqlite.ts';
import {
  AFTER_ALL_NAMES,
  BEFORE_ALL_NAMES,
  ROW_KINDS,
  type Row,
  type RowChange,
  type RowKind,
  rowKey,
} from './row.ts';
import { RowDatabase, type SealedRowChange } from './row-database.ts';

/**
 * The object id that all rows are sealed for, so that they share one key: deriving a key for each row would
 * take longer than all the rest. Each value has its row's name before it, which tells a value that was moved
 * to another row.
 */
const ROWS_ID: Uint8Array = utf8('rows of the cache').subarray(0, 16);

const NAME_BYTES = 16;
const RESEAL_ROWS = 128;
/** Many rows are written in transactions of this many. */
const CHUNK_ROWS = 256;

export class Rows {
  readonly #seals: Seals;
  readonly #onProblem: (error: unknown) => void;
  /** Changes that the database does not have yet. */
  readonly #unsaved = new Map<string, RowChange>();
  /**
   * Changes of the action that {@link inOneTransaction} is in, if it is. They are among `#unsaved` until they
   * are written.
   */
  #transaction: Map<string, RowChange> | undefined;
  /** True when a change should survive a power cut before long: {@link flush} soon. */
  isFlushDue = false;
  #database: RowDatabase;
  /** How many rows of each kind there are at most. */
  readonly #counts = new Map<RowKind, number>();

  /**
   * Opens the database at `path`, or makes one.
   *
   * @param removeFiles removes the files of a database that is damaged; a new one is then made. Called with
   *   the reason.
   */
  constructor(
    path: string,
    seals: Seals,
    onProblem: (error: unknown) => void,
    removeFiles: (error: unknown) => void,
  ) {
    this.#seals = seals;
    this.#onProblem = onProblem;
    this.#database = new RowDatabase(path, removeFiles);
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) this.recount(kind);
  }

  /** False when there is no row of this kind, which saves asking the database for one. */
  mayHaveAny(kind: RowKind): boolean {
    return this.countMax(kind) > 0;
  }

  /** How many rows of this kind there are at most. */
  countMax(kind: RowKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Counts the rows of a kind, and returns {@link countMax}. Takes about 10 ms for 300,000. */
  recount(kind: RowKind): number {
    try {
      let count = this.#database.count(ROW_KINDS[kind]);
      for (const unsaved of this.#unsaved.values())
        if (unsaved.kind === kind && unsaved.value !== undefined) count += 1;
      this.#counts.set(kind, count);
    } catch (error) {
      this.#onProblem(error);
      // If 0 were assumed, what the rows invalidated would be found again.
      this.#counts.set(kind, Math.max(1, this.countMax(kind)));
    }
    return this.countMax(kind);
  }

  /** The value of a row. Undefined when there is no such row, or it cannot be read. */
  get(kind: RowKind, name: Uint8Array): Uint8Array | undefined {
    const value = this.read(kind, name);
    return value === 'unreadable' ? undefined : value;
  }

  /** As {@link get}, but tells a row that cannot be read from one that is not there. */
  read(kind: RowKind, name: Uint8Array): Uint8Array | 'unreadable' | undefined {
    const unsaved = this.#unsaved.get(rowKey(kind, name));
    if (unsaved !== undefined) return unsaved.value;
    if (!this.mayHaveAny(kind)) return undefined;
    try {
      const row = this.#database.get(ROW_KINDS[kind], name);
      if (row === undefined) return undefined;
      const value = row.value instanceof Uint8Array ? this.#unseal(kind, name, row.value) : undefined;
      return value ?? 'unreadable';
    } catch (error) {
      this.#onProblem(error);
      return 'unreadable';
    }
  }

  /**
   * Returns a page of the rows of a kind, sorted by name. Rows that cannot be read are left out. EIO when the
   * database cannot be read.
   *
   * @param after names are greater than this. It may be shorter than a name, as may `before`.
   * @param before names are smaller than this.
   * @param limit at most so many rows are read from the database; rows that are only in memory come on top.
   * @returns `next` is the `after` of the next page; undefined at the end.
   */
  page(
    kind: RowKind,
    after: Uint8Array,
    before: Uint8Array,
    limit: number,
  ): { readonly rows: Row[]; readonly next: Uint8Array | undefined } {
    let stored: Record<string, SqlValue>[] = [];
    try {
      stored = this.#database.page(ROW_KINDS[kind], after, before, limit);
    } catch (error) {
      this.#onProblem(error);
      throw new NetsealError('EIO', `rows of the cache cannot be read: ${messageOf(error)}`, {
        cause: error,
      });
    }
    const last = stored.length < limit ? undefined : stored.at(-1)?.name;
    const next = last instanceof Uint8Array ? last : undefined;
    const rows = this.#plainRows(kind, stored, name => {
      const isBefore = Buffer.compare(name, before) < 0;
      return (
        Buffer.compare(name, after) > 0 && isBefore && (next === undefined || Buffer.compare(name, next) <= 0)
      );
    });
    return { rows, next };
  }

  /** Returns every row of a kind that can be read. */
  all(kind: RowKind): Row[] {
    return this.#plainRows(kind, this.#storedRows(kind) ?? [], () => true);
  }

  /** Undefined when the database cannot be read. */
  #storedRows(kind: RowKind): Record<string, SqlValue>[] | undefined {
    try {
      return this.#database.all(ROW_KINDS[kind]);
    } catch (error) {
      this.#onProblem(error);
      return undefined;
    }
  }

  /**
   * Returns the rows of a kind that are in memory only, or newer there. Rows to be deleted are not among
   * them.
   */
  unsavedRows(kind: RowKind): Row[] {
    const found: Row[] = [];
    for (const { kind: itsKind, name, value } of this.#unsaved.values()) {
      if (itsKind === kind && value !== undefined) found.push({ name, value });
    }
    return found;
  }

  /** Unseals rows of the database, and applies the changes that it does not have yet. */
  #plainRows(
    kind: RowKind,
    stored: readonly Record<string, SqlValue>[],
    isWanted: (name: Uint8Array) => boolean,
  ): Row[] {
    const found: Row[] = [];
    for (const { name, value } of stored) {
      if (!(name instanceof Uint8Array && value instanceof Uint8Array)) continue;
      // Name and value are sealed as one string: with a shorter name, its end could pass as the beginning of
      // the value.
      if (name.byteLength !== NAME_BYTES) continue;
      if (this.#unsaved.size > 0 && this.#unsaved.has(rowKey(kind, name))) continue;
      const plain = this.#unseal(kind, name, value);
      if (plain !== undefined) found.push({ name, value: plain });
    }
    for (const { kind: itsKind, name, value } of this.#unsaved.values()) {
      if (itsKind === kind && value !== undefined && isWanted(name)) found.push({ name, value });
    }
    return found;
  }

  /**
   * Writes a row. It survives the death of the process at once, and a power cut after {@link flush}. False
   * when it could not be written yet and is in memory only.
   *
   * @param isDurable it survives a power cut at once. Waits for the disk.
   */
  put(kind: RowKind, name: Uint8Array, value: Uint8Array, isDurable = false): boolean {
    const row = { kind, name, value };
    this.#countAll([row]);
    if (!isDurable) return this.#save(row);
    this.#setSynchronous('FULL');
    const isSaved = this.#saveAll([row]);
    this.#setSynchronous('NORMAL');
    return isSaved;
  }

  remove(kind: RowKind, name: Uint8Array): boolean {
    return this.#save({ kind, name, value: undefined });
  }

  /**
   * Makes several changes. The death of the process leaves all or none of them. Otherwise as {@link put};
   * changes that cannot be written now are written later, and then in parts.
   */
  saveAll(rows: readonly RowChange[]): boolean {
    this.#countAll(rows);
    if (this.#transaction === undefined) return this.#saveAll(rows);
    for (const row of rows) this.#save(row);
    return true;
  }

  /** As {@link saveAll}; but when the changes cannot be written now, none is made. */
  trySaveAll(rows: readonly RowChange[]): boolean {
    this.#countAll(rows);
    return this.#write(rows);
  }

  /**
   * Writes what `action` saves in one transaction, after `action` has returned. Reads find it at once.
   * Durable rows are written at once and by themselves. False when the transaction could not be written yet.
   */
  inOneTransaction(action: () => void): boolean {
    if (this.#transaction !== undefined) {
      action();
      return true;
    }
    const transaction = new Map<string, RowChange>();
    this.#transaction = transaction;
    try {
      action();
    } catch (error) {
      this.#endTransaction(transaction);
      throw error;
    }
    return this.#endTransaction(transaction);
  }

  #endTransaction(transaction: ReadonlyMap<string, RowChange>): boolean {
    this.#transaction = undefined;
    return this.#saveAll([...transaction.values()]);
  }

  #countAll(rows: readonly RowChange[]): void {
    for (const { kind, value } of rows)
      if (value !== undefined) this.#counts.set(kind, this.countMax(kind) + 1);
  }

  /**
   * Forgets unsaved rows of these names, except where the database has an older version of the row. Returns
   * how many.
   */
  forgetUnsaved(kind: RowKind, names: readonly Uint8Array[]): number {
    let count = 0;
    for (const name of names) {
      const key = rowKey(kind, name);
      if (this.#unsaved.has(key) && !this.#isStored(kind, name) && this.#unsaved.delete(key)) count += 1;
    }
    return count;
  }

  /**
   * Writes unsaved changes, at most so many, and puts everything on the disk. False when some are still
   * unsaved, or it failed.
   */
  flush(rowsMax: number = Number.POSITIVE_INFINITY): boolean {
    this.isFlushDue = false;
    this.#saveUnsaved(rowsMax);
    try {
      this.#database.checkpoint();
    } catch (error) {
      this.#onProblem(error);
      return false;
    }
    return this.#unsaved.size === 0;
  }

  #saveUnsaved(rowsMax: number): void {
    const rows = [...this.#unsaved.values()].slice(0, rowsMax);
    for (let at = 0; at < rows.length; at += CHUNK_ROWS) {
      const chunk = rows.slice(at, at + CHUNK_ROWS);
      if (this.#write(chunk)) continue;
      // One change may be the cause: each is tried alone. When none works, later chunks are not tried.
      const savedCount = chunk.filter(row => this.#write([row])).length;
      if (savedCount === 0) return;
      for (const row of chunk) {
        const key = rowKey(row.kind, row.name);
        // It is tried after the others the next time.
        if (this.#unsaved.delete(key)) this.#unsaved.set(key, row);
      }
    }
  }

  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /**
   * Seals all rows again, after a change of keys. Gives others their turn; what they write meanwhile has the
   * new key anyway.
   */
  async resealAll(): Promise<void> {
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) {
      let after: Uint8Array | undefined = BEFORE_ALL_NAMES;
      while (after !== undefined) {
        const { rows, next } = this.page(kind, after, AFTER_ALL_NAMES, RESEAL_ROWS);
        this.#saveAll(rows.map(row => ({ kind, ...row })));
        after = next;
        await giveTurn();
      }
    }
  }

  /**
   * Makes the database again when its file was lost, with all rows that are read from the open one. False
   * when rows were lost because it could not be read.
   */
  restore(): boolean {
    if (!this.#database.isLost) return true;
    let isWhole = true;
    const rows = (Object.keys(ROW_KINDS) as RowKind[]).flatMap(kind => {
      const stored = this.#storedRows(kind);
      if (stored === undefined) isWhole = false;
      return this.#plainRows(kind, stored ?? [], () => true).map(row => ({ kind, ...row }));
    });
    const old = this.#database;
    this.#database = old.recreate();
    old.close();
    for (let at = 0; at < rows.length; at += CHUNK_ROWS) this.#saveAll(rows.slice(at, at + CHUNK_ROWS));
    return isWhole;
  }

  close(): void {
    try {
      this.#database.close();
    } catch (error) {
      this.#onProblem(error);
    }
  }

  #setSynchronous(mode: 'FULL' | 'NORMAL'): void {
    try {
      this.#database.setSynchronous(mode);
    } catch (error) {
      this.#onProblem(error);
    }
  }

  #save(row: RowChange): boolean {
    if (this.#transaction === undefined) return this.#saveAll([row]);
    const key = rowKey(row.kind, row.name);
    this.#transaction.set(key, row);
    this.#unsaved.set(key, row);
    return true;
  }

  #saveAll(rows: readonly RowChange[]): boolean {
    if (this.#write(rows)) return true;
    for (const row of rows) {
      const { kind, name, value } = row;
      const key = rowKey(kind, name);
      // A row to delete that the database does not have: nothing is left to do.
      if (value === undefined && !this.#isStored(kind, name)) this.#unsaved.delete(key);
      else this.#unsaved.set(key, row);
    }
    return false;
  }

  /** Writes all of the changes or none. */
  #write(rows: readonly RowChange[]): boolean {
    try {
      this.#database.write(rows.map(row => this.#sealed(row)));
    } catch (error) {
      this.#onProblem(error);
      return false;
    }
    for (const { kind, name } of rows) this.#unsaved.delete(rowKey(kind, name));
    return true;
  }

  #sealed({ kind, name, value }: RowChange): SealedRowChange {
    const number = ROW_KINDS[kind];
    if (value === undefined) return { kind: number, name, sealed: undefined };
    const sealed = this.#seals.seal('cacheIndex', ROWS_ID, number, concatBytes(name, value));
    return { kind: number, name, sealed };
  }

  /** Whether the database has a row of this name. True when it cannot be read. */
  #isStored(kind: RowKind, name: Uint8Array): boolean {
    try {
      return this.#database.get(ROW_KINDS[kind], name) !== undefined;
    } catch {
      return true;
    }
  }

  #unseal(kind: RowKind, name: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    try {
      const plain = this.#seals.open('cacheIndex', ROWS_ID, ROW_KINDS[kind], sealed);
      const isItsOwn = equalBytes(plain.subarray(0, name.byteLength), name);
      if (!isItsOwn) throw new NetsealError('EAUTH', 'it is the value of another row');
      return plain.subarray(name.byteLength);
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.#onProblem(new NetsealError('EFORMAT', `a row of the cache is damaged: ${messageOf(error)}`));
      return undefined;
    }
  }
}
