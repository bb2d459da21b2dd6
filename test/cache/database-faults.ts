/**
 * Faults of SQLite, whose files are not a cache's `CacheFiles`, and copies of its databases as a death of the
 * process would leave them.
 */
import { cpSync, existsSync, readFileSync, truncateSync } from 'node:fs';
import { DatabaseSync, StatementSync } from 'node:sqlite';
import { onTestFinished, vi } from 'vitest';
import { viewOf } from '../../src/base/bytes.ts';
import { newFolder } from './support.ts';

/** Which statements fail now, and which were made. */
export interface DatabaseFaults {
  /** Whether a row of this kind cannot be written, or taken away. Undefined: any can. */
  writes: ((kind: number) => boolean) | undefined;
  /** Whether rows of this kind cannot be looked through. */
  pages: ((kind: number) => boolean) | undefined;
  /** Whether a statement for one row, or for counting rows, fails. */
  gets: ((kind: number, isCount: boolean) => boolean) | undefined;
  writeCount: number;
  pageCount: number;
}

/** Makes all databases fail as told, until the end of the test. */
export function failDatabases(): DatabaseFaults {
  const faults: DatabaseFaults = {
    writes: undefined,
    pages: undefined,
    gets: undefined,
    writeCount: 0,
    pageCount: 0,
  };
  const { run, all, get } = StatementSync.prototype;
  const spies = [
    vi.spyOn(StatementSync.prototype, 'run').mockImplementation(function (this: StatementSync, ...values) {
      faults.writeCount += 1;
      if (faults.writes?.(Number(values[0])) === true) throw sqliteError(13, 'database or disk is full');
      return Reflect.apply(run, this, values);
    }),
    vi.spyOn(StatementSync.prototype, 'all').mockImplementation(function (this: StatementSync, ...values) {
      faults.pageCount += 1;
      if (faults.pages?.(Number(values[0])) === true) throw sqliteError(10, 'disk I/O error');
      return Reflect.apply(all, this, values);
    }),
    vi.spyOn(StatementSync.prototype, 'get').mockImplementation(function (this: StatementSync, ...values) {
      const isCount = this.sourceSQL.includes('count(');
      if (faults.gets?.(Number(values[0]), isCount) === true) throw sqliteError(10, 'disk I/O error');
      return Reflect.apply(get, this, values);
    }),
  ];
  onTestFinished(() => {
    for (const spy of spies) spy.mockRestore();
  });
  return faults;
}

function sqliteError(errcode: number, message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode });
}

export function rowCount(folder: string, kind: number): number {
  const copy = crashed(folder);
  const database = new DatabaseSync(`${copy}/cache.db`);
  const row = database.prepare('SELECT count(*) AS count FROM rows WHERE kind = ?').get(kind);
  database.close();
  return Number(row?.count);
}

/** Copies the folder, as a death of the process would leave it. */
export function crashed(folder: string): string {
  const copy = newFolder();
  cpSync(folder, copy, { recursive: true });
  return copy;
}

const WAL_HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;

/**
 * What deaths after each transaction since the last `flush` would leave, oldest first; the first is before
 * all of them.
 */
export function* crashedAtEach(folder: string): Generator<string> {
  const log = `${folder}/cache.db-wal`;
  const bytes = existsSync(log) ? new Uint8Array(readFileSync(log)) : new Uint8Array(0);
  const view = viewOf(bytes);
  const ends = [0];
  if (bytes.byteLength >= WAL_HEADER_BYTES) {
    const frameBytes = FRAME_HEADER_BYTES + view.getUint32(8);
    for (let at = WAL_HEADER_BYTES; at + frameBytes <= bytes.byteLength; at += frameBytes) {
      if (view.getUint32(at + 4) !== 0) ends.push(at + frameBytes);
    }
  }
  for (const end of ends) {
    const copy = crashed(folder);
    if (bytes.byteLength > 0) truncateSync(`${copy}/cache.db-wal`, end);
    yield copy;
  }
}
