/** Counts what a copy has done, and collects its failures. */
import { requireCallback, requireObject } from '../base/arguments.ts';
import { isNetsealError, messageOf, NetsealError, withPath } from '../base/errors.ts';
import type { Name } from '../base/name.ts';

/** A path that was not copied, or not exactly. */
export interface Trouble {
  readonly path: Name;
  readonly error: NetsealError;
}

export interface Counts {
  /** Files that were copied. Those that were there already count as `unchanged`. */
  files: number;
  folders: number;
  symlinks: number;
  /** FIFOs and devices. */
  specials: number;
  /** Further names of files (hard links). */
  links: number;
  unchanged: number;
  /** Plain bytes of the files that were copied. */
  bytes: number;
  /** Files, links and folders that were removed because the source lacks them. */
  removed: number;
}

/** What was done with a path. */
export type Deed = 'file' | 'folder' | 'symlink' | 'special' | 'link' | 'attributes' | 'removed';

/** How far a copy is. */
export interface Done {
  readonly bytes: number;
  readonly files: number;
  /** The path that is being dealt with. */
  readonly path: Name;
}

/** Told of a copy while it runs. None may throw. */
export interface TallyListeners {
  onProgress?(done: Done): void;
  /** Called for each path that was copied, changed or removed; in a dry run, that would be. */
  onDeed?(path: Name, deed: Deed): void;
  /** Called when a file goes on where an interruption ended it. */
  onResumed?(path: Name, doneBytes: number, sizeBytes: number): void;
}

export class Tally {
  readonly counts: Counts = {
    files: 0,
    folders: 0,
    symlinks: 0,
    specials: 0,
    links: 0,
    unchanged: 0,
    bytes: 0,
    removed: 0,
  };
  /** Paths that were not copied. */
  readonly failures: Trouble[] = [];
  /** Paths that were copied without something that could not be kept, for instance special attributes. */
  readonly notes: Trouble[] = [];
  readonly #listeners: TallyListeners;
  #bytesSeen = 0;
  #filesSeen = 0;
  #path: Name = '';

  constructor(listeners: TallyListeners = {}) {
    requireObject('listeners', listeners);
    for (const [name, listener] of Object.entries(listeners)) requireCallback(`listeners.${name}`, listener);
    this.#listeners = listeners;
  }

  /** Reports progress: so many more bytes and files were dealt with, copied or not. */
  progress(bytes: number, files: number, path: Name = this.#path): void {
    this.#bytesSeen += bytes;
    this.#filesSeen += files;
    this.#path = path;
    this.#listeners.onProgress?.({ bytes: this.#bytesSeen, files: this.#filesSeen, path });
  }

  /** Says which path is dealt with next. */
  begin(path: Name): void {
    this.#path = path;
  }

  /** Reports what was done with a path. It counts nothing. */
  did(path: Name, deed: Deed): void {
    this.#listeners.onDeed?.(path, deed);
  }

  /** Reports that a file goes on at a place other than its beginning. */
  resumed(path: Name, doneBytes: number, sizeBytes: number): void {
    this.#listeners.onResumed?.(path, doneBytes, sizeBytes);
  }

  /** Counts a failure, so that the rest can go on. Rethrows an error that the rest would meet as well. */
  fail(path: Name, error: unknown): void {
    if (isFatal(error)) throw error;
    this.failures.push({ path, error: withPath(asNetsealError(error), textOf(path)) });
  }

  note(path: Name, message: string): void {
    this.notes.push({ path, error: new NetsealError('EUNSUPPORTED', message, { path: textOf(path) }) });
  }
}

function textOf(path: Name): string {
  return Buffer.from(path, 'latin1').toString();
}

/** An error that ends a copy, because every further step would meet it, too. Callers get its cause. */
export class StoreFailure extends Error {
  override readonly cause: unknown;

  constructor(reason: unknown) {
    const cause = reason instanceof StoreFailure ? reason.cause : reason;
    super(messageOf(cause), { cause });
    this.cause = cause;
  }
}

/** Codes of errors that later files would meet as well: netseal itself fails, or there is no room. */
const FATAL_CODES: ReadonlySet<string> = new Set(['ECLOSED', 'EBUG', 'EWORKER', 'EFULL']);

/**
 * True when a copy cannot go on: it was interrupted, the store or netseal itself fails, or there is no room.
 */
export function isFatal(error: unknown): boolean {
  return !isNetsealError(error) || FATAL_CODES.has(error.code);
}

/** Codes that are about the whole store. EROLLBACK and EFORK are not: they are about one inode only. */
const STORE_CODES: ReadonlySet<string> = new Set(['EUNAVAILABLE', 'EDENIED', 'EFULL', 'EIO']);

/**
 * Runs work on the volume. Turns the store's errors into {@link StoreFailure}, so that they are not taken for
 * the file's.
 */
export async function onVolume<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw isNetsealError(error) && STORE_CODES.has(error.code) ? new StoreFailure(error) : error;
  }
}

/** As {@link onVolume}, for a generator that reads from the volume. */
export async function* eachOnVolume<Item>(items: AsyncGenerator<Item>): AsyncGenerator<Item> {
  try {
    for (let next = await onVolume(items.next()); next.done !== true; next = await onVolume(items.next())) {
      yield next.value;
    }
  } finally {
    await items.return(undefined);
  }
}

/**
 * Throws {@link StoreFailure} when a unit cannot be read because the store cannot be reached. EIO does not
 * count: it is about one object, and the rest of a damaged disk may be readable.
 */
export function throwIfUnreachable(error: NetsealError): void {
  if (error.code === 'EUNAVAILABLE' || error.code === 'EDENIED' || isFatal(error))
    throw new StoreFailure(error);
}

function asNetsealError(error: unknown): NetsealError {
  if (isNetsealError(error)) return error;
  return new NetsealError('EBUG', messageOf(error), { cause: error });
}
