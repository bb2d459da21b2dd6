/**
 * `node:sqlite`, without the warning that it is experimental, and under whatever name it exports its class.
 */
import { NetsealError } from '../../base/errors.ts';

/** The part of `node:sqlite`'s statement that a cache uses. */
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

/** Opens a database, without waiting for locks. EUNSUPPORTED when this Node has no SQLite. */
export function openDatabase(path: string): Database {
  databaseClass ??= load();
  return new databaseClass(path, { timeout: 0 });
}

function load(): DatabaseClass {
  // Node warns once that the module is experimental. Users of a cache cannot do anything about that.
  const { emitWarning } = process;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (String(warning).includes('SQLite')) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    const builtin: object | undefined = process.getBuiltinModule('node:sqlite');
    const module = builtin as Record<string, DatabaseClass | undefined> | undefined;
    if (module === undefined) throw new Error('this Node has no node:sqlite');
    const found = module.DatabaseSync ?? module.Database ?? Object.values(module).find(isDatabaseClass);
    if (found === undefined) throw new Error('node:sqlite exports no database class that is known here');
    return found;
  } catch (cause) {
    throw new NetsealError('EUNSUPPORTED', 'a cache needs a Node with node:sqlite', { cause });
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Recognises the class by its methods, should a later Node give it another name. */
function isDatabaseClass(value: DatabaseClass | undefined): boolean {
  const prototype: Partial<Database> | undefined = typeof value === 'function' ? value.prototype : undefined;
  return prototype !== undefined && prototype !== null && 'exec' in prototype && 'prepare' in prototype;
}

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

export function isBusy(error: unknown): boolean {
  return primaryCodeOf(error) === SQLITE_BUSY;
}

/** True when the file is damaged or is no database. False for errors of the system. */
export function isNoDatabase(error: unknown): boolean {
  const code = primaryCodeOf(error);
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB;
}

/** The messages of SQLite's codes that matter here: Deno's errors carry no code. */
const CODE_OF_MESSAGE: ReadonlyMap<string, number> = new Map([
  ['database is locked', SQLITE_BUSY],
  ['database disk image is malformed', SQLITE_CORRUPT],
  ['file is not a database', SQLITE_NOTADB],
]);

/** Returns SQLite's primary result code, the low byte of its code. Undefined for errors of another origin. */
export function primaryCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  return 'errcode' in error ? Number(error.errcode) & 0xff : CODE_OF_MESSAGE.get(error.message);
}
