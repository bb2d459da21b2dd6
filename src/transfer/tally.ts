/** What a copy has done, and what went wrong on the way. */
import { isNetsealError, messageOf, NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';

/** Something that was not copied, or not quite as it was. */
export interface Trouble {
  readonly path: Name;
  readonly error: NetsealError;
}

export interface Counts {
  /** Copied; those that were there already are `unchanged`. */
  files: number;
  folders: number;
  symlinks: number;
  /** Further names of files. */
  links: number;
  unchanged: number;
  /** Plain bytes of the files that were copied. */
  bytes: number;
}

export class Tally {
  readonly counts: Counts = { files: 0, folders: 0, symlinks: 0, links: 0, unchanged: 0, bytes: 0 };
  /** What was not copied. */
  readonly failures: Trouble[] = [];
  /** What was copied with something missing that could not be kept: special attributes, for instance. */
  readonly notes: Trouble[] = [];
  readonly #onProgress: ((done: { readonly bytes: number; readonly files: number }) => void) | undefined;
  #bytesSeen = 0;
  #filesSeen = 0;

  constructor(onProgress?: (done: { readonly bytes: number; readonly files: number }) => void) {
    this.#onProgress = onProgress;
  }

  /** Says that so much more was dealt with, copied or not. */
  progress(bytes: number, files: number): void {
    this.#bytesSeen += bytes;
    this.#filesSeen += files;
    this.#onProgress?.({ bytes: this.#bytesSeen, files: this.#filesSeen });
  }

  /** Remembers a failure and lets the rest go on. Rethrows what the rest would meet as well. */
  fail(path: Name, error: unknown): void {
    if (isFatal(error)) throw error;
    this.failures.push({ path, error: asNetsealError(error) });
  }

  note(path: Name, message: string): void {
    this.notes.push({ path, error: new NetsealError('EUNSUPPORTED', message) });
  }
}

/** What ends a copy: going on would only repeat it. Callers get its cause. */
export class StoreFailure extends Error {
  override readonly cause: unknown;

  constructor(reason: unknown) {
    const cause = reason instanceof StoreFailure ? reason.cause : reason;
    super(messageOf(cause), { cause });
    this.cause = cause;
  }
}

/** No room on the local side is none for what follows, either. */
const FATAL_CODES: ReadonlySet<string> = new Set(['ECLOSED', 'EBUG', 'EWORKER', 'EFULL']);

/** Whether going on makes no sense: interrupted, the store or netseal itself fails, or there is no room. */
export function isFatal(error: unknown): boolean {
  return !isNetsealError(error) || FATAL_CODES.has(error.code);
}

const STORE_CODES: ReadonlySet<string> = new Set([
  'EUNAVAILABLE',
  'EDENIED',
  'EFULL',
  'EIO',
  'EROLLBACK',
  'EFORK',
]);

/** Runs work on the volume: what the store fails with is {@link StoreFailure}, so that it is not taken for the file's. */
export async function onVolume<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    throw isNetsealError(error) && STORE_CODES.has(error.code) ? new StoreFailure(error) : error;
  }
}

/** A generator that reads from the volume, as {@link onVolume}. */
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
 * Throws {@link StoreFailure} when a unit cannot be read because the store cannot be asked at all. EIO is about one object:
 * where a disk is damaged, the rest may be readable.
 */
export function throwIfUnreachable(error: NetsealError): void {
  if (error.code === 'EUNAVAILABLE' || error.code === 'EDENIED' || isFatal(error))
    throw new StoreFailure(error);
}

function asNetsealError(error: unknown): NetsealError {
  if (isNetsealError(error)) return error;
  return new NetsealError('EBUG', messageOf(error), { cause: error });
}
