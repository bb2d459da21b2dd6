/**
 * The small slow things, in SQLite: volumes, objects that were invalidated or have coherency data, pins, released dirty batches.
 * Names of rows are keyed hashes, values are sealed for their row. What cannot be written now is kept in memory, and written
 * when it can be: a cache goes on without.
 */
import { concatBytes, equalBytes, utf8 } from '../../base/bytes.ts';
import { isDamage, messageOf, NetsealError } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Seals } from '../base/seals.ts';
import type { SqlValue } from '../base/sqlite.ts';
import { RowDatabase, type SealedRow } from './row-database.ts';
import {
  FIRST_NAME,
  LAST_NAME,
  ROW_KINDS,
  type Row,
  type RowKind,
  type RowToSave,
  rowKey,
} from './row-kinds.ts';

/**
 * What all rows are sealed for; which one a value belongs to is said by the name before it, as keys for each row would take longer to
 * derive than all the rest.
 */
const ROWS_ID: Uint8Array = utf8('rows of the cache').subarray(0, 16);

const NAME_BYTES = 16;
const RESEAL_ROWS = 128;
/** Rows written in one transaction where there are many. */
const CHUNK_ROWS = 256;

export class Rows {
  readonly #seals: Seals;
  readonly #onProblem: (error: unknown) => void;
  /** Rows that the database does not have as they are; undefined for a row that is to go. */
  readonly #unsaved = new Map<string, RowToSave>();
  /** What is written together when the action that saves it has ended; it is among `#unsaved` until then. */
  #batch: Map<string, RowToSave> | undefined;
  /** Something should survive a power cut before long. */
  isFlushDue = false;
  #database: RowDatabase;
  /** Rows of each kind; no fewer than there are. */
  readonly #counts = new Map<RowKind, number>();

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
    this.#seals = seals;
    this.#onProblem = onProblem;
    this.#database = new RowDatabase(path, reset);
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) this.recount(kind);
  }

  /** Whether there may be any row of this kind: saves asking for each. */
  hasAny(kind: RowKind): boolean {
    return this.countMax(kind) > 0;
  }

  /** No fewer rows of this kind than there are. */
  countMax(kind: RowKind): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Counts the rows of a kind; takes about 10 ms for 300,000. */
  recount(kind: RowKind): number {
    try {
      let count = this.#database.count(ROW_KINDS[kind]);
      for (const unsaved of this.#unsaved.values())
        if (unsaved.kind === kind && unsaved.value !== undefined) count += 1;
      this.#counts.set(kind, count);
    } catch (error) {
      this.#onProblem(error);
      // To be asked for: that there are none would bring back what they have invalidated.
      this.#counts.set(kind, Math.max(1, this.countMax(kind)));
    }
    return this.countMax(kind);
  }

  /** Undefined when there is none, or none that can be read. */
  get(kind: RowKind, name: Uint8Array): Uint8Array | undefined {
    const value = this.read(kind, name);
    return value === 'unreadable' ? undefined : value;
  }

  /** For whom no row and one that cannot be read are not the same. */
  read(kind: RowKind, name: Uint8Array): Uint8Array | 'unreadable' | undefined {
    const unsaved = this.#unsaved.get(rowKey(kind, name));
    if (unsaved !== undefined) return unsaved.value;
    if (!this.hasAny(kind)) return undefined;
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
   * At most `limit` rows of a kind that can be read, by name, all of them behind `after` and before `before`; shorter names than
   * those of rows will do. `next` is what to go on behind; undefined at the end. EIO: nobody knows whether that is all.
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

  /** Every row of a kind that can be read. */
  all(kind: RowKind): Row[] {
    return this.#plainRows(kind, this.#storedRows(kind) ?? [], () => true);
  }

  /** Undefined when the database does not say. */
  #storedRows(kind: RowKind): Record<string, SqlValue>[] | undefined {
    try {
      return this.#database.all(ROW_KINDS[kind]);
    } catch (error) {
      this.#onProblem(error);
      return undefined;
    }
  }

  /** Rows of a kind that the database does not have as they are. */
  unsavedRows(kind: RowKind): Row[] {
    const found: Row[] = [];
    for (const { kind: itsKind, name, value } of this.#unsaved.values()) {
      if (itsKind === kind && value !== undefined) found.push({ name, value });
    }
    return found;
  }

  /** What the database has, unsealed, as it is with what it does not have yet. */
  #plainRows(
    kind: RowKind,
    stored: readonly Record<string, SqlValue>[],
    isWanted: (name: Uint8Array) => boolean,
  ): Row[] {
    const found: Row[] = [];
    for (const { name, value } of stored) {
      if (!(name instanceof Uint8Array && value instanceof Uint8Array)) continue;
      // What begins a shorter name's value may be the end of a longer one.
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
   * Survives the death of the process at once, a power cut after {@link flush}. False when it could not be written yet.
   *
   * @param isDurable it survives a power cut at once, which takes as long as the disk does.
   */
  put(kind: RowKind, name: Uint8Array, value: Uint8Array, isDurable = false): boolean {
    const row = { kind, name, value };
    this.#countAll([row]);
    if (!isDurable) return this.#save(row);
    // The log of changes is synced up to this one.
    this.#setSynchronous('FULL');
    const isSaved = this.#saveAll([row]);
    this.#setSynchronous('NORMAL');
    return isSaved;
  }

  remove(kind: RowKind, name: Uint8Array): boolean {
    return this.#save({ kind, name, value: undefined });
  }

  /**
   * Writes several rows, or takes them away: a death of the process leaves all or none of them. As {@link put} otherwise; where it
   * cannot be written now, it is written later, in parts.
   */
  saveAll(rows: readonly RowToSave[]): boolean {
    this.#countAll(rows);
    if (this.#batch === undefined) return this.#saveAll(rows);
    for (const row of rows) this.#save(row);
    return true;
  }

  /** As {@link saveAll}; but what cannot be written now is not kept either, and everything is as it was. */
  tryAll(rows: readonly RowToSave[]): boolean {
    this.#countAll(rows);
    return this.#write(rows);
  }

  /**
   * What `action` saves is written together when it has ended, as by {@link saveAll}, but for what has to be durable. Reading finds
   * it at once. False when it could not be written yet.
   */
  together(action: () => void): boolean {
    if (this.#batch !== undefined) {
      action();
      return true;
    }
    const batch = new Map<string, RowToSave>();
    this.#batch = batch;
    try {
      action();
    } catch (error) {
      this.#endBatch(batch);
      throw error;
    }
    return this.#endBatch(batch);
  }

  #endBatch(batch: ReadonlyMap<string, RowToSave>): boolean {
    this.#batch = undefined;
    return this.#saveAll([...batch.values()]);
  }

  #countAll(rows: readonly RowToSave[]): void {
    for (const { kind, value } of rows)
      if (value !== undefined) this.#counts.set(kind, this.countMax(kind) + 1);
  }

  /** Forgets rows that could not be written yet, and of which the database has no other version. Returns how many. */
  forgetUnsaved(kind: RowKind, names: readonly Uint8Array[]): number {
    let count = 0;
    for (const name of names) {
      const key = rowKey(kind, name);
      if (this.#unsaved.has(key) && !this.#isStored(kind, name) && this.#unsaved.delete(key)) count += 1;
    }
    return count;
  }

  /** Writes what could not be written before, at most so many rows, and syncs. False when that does not work. */
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
      // It may be one of them; what works not at all is not tried for all the others.
      const savedCount = chunk.filter(row => this.#write([row])).length;
      if (savedCount === 0) return;
      for (const row of chunk) {
        const key = rowKey(row.kind, row.name);
        // Behind the others.
        if (this.#unsaved.delete(key)) this.#unsaved.set(key, row);
      }
    }
  }

  get unsavedCount(): number {
    return this.#unsaved.size;
  }

  /** Seals all rows anew, after a change of keys. Others get their turn meanwhile; what they write is sealed anew anyway. */
  async resealAll(): Promise<void> {
    for (const kind of Object.keys(ROW_KINDS) as RowKind[]) {
      let after: Uint8Array | undefined = FIRST_NAME;
      while (after !== undefined) {
        const { rows, next } = this.page(kind, after, LAST_NAME, RESEAL_ROWS);
        this.#saveAll(rows.map(row => ({ kind, ...row })));
        after = next;
        await giveTurn();
      }
    }
  }

  /**
   * Puts the database back, with all that was in it, when its folder was lost: what is open can still be read. False when it could
   * not be read, and rows were lost.
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
    this.#database = old.again();
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

  #save(row: RowToSave): boolean {
    if (this.#batch === undefined) return this.#saveAll([row]);
    const key = rowKey(row.kind, row.name);
    this.#batch.set(key, row);
    this.#unsaved.set(key, row);
    return true;
  }

  #saveAll(rows: readonly RowToSave[]): boolean {
    if (this.#write(rows)) return true;
    for (const row of rows) {
      const { kind, name, value } = row;
      const key = rowKey(kind, name);
      // To go, and not there: nothing is left to do.
      if (value === undefined && !this.#isStored(kind, name)) this.#unsaved.delete(key);
      else this.#unsaved.set(key, row);
    }
    return false;
  }

  /** All of them or none. */
  #write(rows: readonly RowToSave[]): boolean {
    try {
      this.#database.write(rows.map(row => this.#sealed(row)));
    } catch (error) {
      this.#onProblem(error);
      return false;
    }
    for (const { kind, name } of rows) this.#unsaved.delete(rowKey(kind, name));
    return true;
  }

  #sealed({ kind, name, value }: RowToSave): SealedRow {
    const number = ROW_KINDS[kind];
    if (value === undefined) return { kind: number, name, sealed: undefined };
    const sealed = this.#seals.seal('cacheIndex', ROWS_ID, number, concatBytes(name, value));
    return { kind: number, name, sealed };
  }

  /** Whether the database has a row of this name, as far as it says. */
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
