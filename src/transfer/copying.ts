/** What `put` and `get` have in common: how a copy runs, and which failures end it. */
import {
  requireFlag,
  requireInstance,
  requireList,
  requireObject,
  requireOptions,
  requireTextOrBytes,
} from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { Volume } from '../volume/volume.ts';
import type { CopyFilter } from './filter.ts';
import { StoreFailure, Tally } from './tally.ts';

export interface CopyOptions {
  /** Copies folders with everything in them; without it a folder is refused. */
  readonly recursive?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Decides what is copied in folders. Default: everything is. */
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

/** Checks the arguments of a copy. Throws EINVAL. */
export function checkCopy(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  tally: Tally,
  options: CopyOptions,
): void {
  requireInstance('volume', volume, Volume);
  requireList('sources', sources);
  requireArgument(sources.length > 0, 'sources must name at least one path');
  for (const [at, source] of sources.entries()) requireTextOrBytes(`sources[${at}]`, source);
  requireTextOrBytes('target', target);
  requireInstance('tally', tally, Tally);
  requireObject('options', options);
  requireOptions('options', options);
  requireFlag('options.recursive', options.recursive);
}
