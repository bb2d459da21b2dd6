/** What `put` and `get` have in common: how a copy runs, and which failures end it. */
import type { Name } from '../base/name.ts';
import type { CopyFilter } from './filter.ts';
import { StoreFailure, type Tally } from './tally.ts';

export interface CopyOptions {
  /** Copies folders with everything in them; without it a folder is refused. */
  readonly recursive?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What is copied of folders. Default: everything. */
  readonly filter?: CopyFilter | undefined;
  /** Compares the content of files of the same size, whatever their times say. */
  readonly checksum?: boolean | undefined;
  /** Changes nothing, and reports what would be done. */
  readonly dryRun?: boolean | undefined;
}

/** Runs a copy. Rejects with what ended it: the cause of a {@link StoreFailure}, anything else as it is. */
export async function runCopy(copy: () => Promise<void>): Promise<void> {
  try {
    await copy();
  } catch (error) {
    throw error instanceof StoreFailure ? error.cause : error;
  }
}

/**
 * Runs the part of a copy that concerns one path. A failure of its own is noted in the tally, and the rest
 * goes on. Rejects with what ends the copy: a {@link StoreFailure}, the signal's reason, and what
 * `Tally.fail` throws.
 */
export async function copyPart(
  path: Name,
  tally: Tally,
  signal: AbortSignal | undefined,
  work: () => Promise<void> | void,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof StoreFailure) throw error;
    signal?.throwIfAborted();
    tally.fail(path, error);
  }
}
