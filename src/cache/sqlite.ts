/** `node:sqlite`, whatever it calls its class, without its warning on the user's terminal. */
import { createRequire } from 'node:module';
import { NetsealError } from '../base/errors.ts';

/** As much of it as a cache uses. */
export interface Statement {
  get(...values: readonly SqlValue[]): Record<string, SqlValue> | undefined;
  all(...values: readonly SqlValue[]): Record<string, SqlValue>[];
  run(...values: readonly SqlValue[]): unknown;
}
export interface Database {
  exec(sql: string): void;
  prepare(sql: string): Statement;
  close(): void;
}
export type SqlValue = number | string | Uint8Array | null;

type DatabaseClass = new (path: string, options?: object) => Database;

let databaseClass: DatabaseClass | undefined;

/** EUNSUPPORTED when this Node has no SQLite. */
export function openDatabase(path: string): Database {
  databaseClass ??= load();
  return new databaseClass(path, { timeout: 0 });
}

function load(): DatabaseClass {
  // Node says once that the module is experimental; users of a cache cannot do anything about that.
  const { emitWarning } = process;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (String(warning).includes('SQLite')) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    const module = createRequire(import.meta.url)('node:sqlite') as Record<string, DatabaseClass | undefined>;
    const found = module.DatabaseSync ?? module.Database;
    if (found === undefined) throw new Error('node:sqlite exports no database class that is known here');
    return found;
  } catch (cause) {
    throw new NetsealError('EUNSUPPORTED', 'a cache needs a Node with node:sqlite', { cause });
  } finally {
    process.emitWarning = emitWarning;
  }
}

const SQLITE_BUSY = 5;

export function isBusy(error: unknown): boolean {
  // The lower byte is the primary code.
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;
}
