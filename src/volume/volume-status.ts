/** What a program can ask of a volume that it works on: is everything in the store, and what is going on. */
import type { NetfsStatistics } from '../netfs/netfs.ts';
import type { PageUse } from '../netfs/pages/pages.ts';
import type { SlabUse } from '../pipeline/pipeline.ts';
import type { KnownFile } from './volume-files.ts';

/** A file whose changes cannot be committed. */
export interface FailingFile {
  /** Undefined when it has no name any more. */
  readonly path: string | undefined;
  readonly error: Error;
}

export interface VolumeStatus {
  /** Bytes that were written and that the store does not have yet. */
  readonly dirtyBytes: number;
  /** Bytes of sealed units that the store has, and that no commit holds yet. */
  readonly uploadedBytes: number;
  /** The files whose last commit or upload has failed. They are tried again. */
  readonly failing: readonly FailingFile[];
  /** True when the store has everything, and others see it. */
  readonly isCommitted: boolean;
}

/** What is going on in files that are open. */
export interface VolumeInspection {
  readonly files: readonly KnownFile[];
  /** Memory for pages; undefined as long as no file was opened. */
  readonly pages: PageUse | undefined;
  /** Memory of the pipeline, which the volume may share with others. */
  readonly memory: readonly SlabUse[];
  /** Where units came from, and where they went. */
  readonly statistics: NetfsStatistics | undefined;
}

/** Adds up what is known of files. */
export function statusOf(files: Iterable<Pick<KnownFile, 'path' | 'status'>>): VolumeStatus {
  let [dirtyBytes, uploadedBytes, isCommitted] = [0, 0, true];
  const failing: FailingFile[] = [];
  for (const { path, status } of files) {
    dirtyBytes += status.dirtyBytes;
    uploadedBytes += status.uploadedBytes;
    isCommitted &&= status.isCommitted;
    if (status.failing !== undefined) failing.push({ path, error: status.failing });
  }
  return { dirtyBytes, uploadedBytes, failing, isCommitted };
}
