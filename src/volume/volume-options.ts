/** How a volume is opened: the options of a session, and their checks. */
import {
  requireCallback,
  requireInstance,
  requireInteger,
  requireMethods,
  requireNumber,
  requireObject,
} from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { Scheduler } from '../base/scheduler.ts';
import type { Cache } from '../cache/cache.ts';
import { VolumeHeader } from '../keys/volume-header.ts';
import { GRANULE_BYTES } from '../netfs/pages/pages.ts';
import { Pipeline } from '../pipeline/pipeline.ts';
import { SEGMENT_BYTES_DEFAULT, type SegmentSettings } from '../server/sealed/segment-writer.ts';
import { type ObjectStore, requireStore } from '../server/store.ts';
import type { ProviderSettings } from '../unit/providers.ts';
import type { HistoryOptions } from './history/history.ts';
import { type ClientState, requireState } from './state/client-state.ts';

export interface OpenVolumeOptions extends SegmentSettings, HistoryOptions {
  readonly store: ObjectStore;
  readonly pipeline: Pipeline;
  /** The unlocked header. Its keyring must outlive the volume, which does not destroy it. */
  readonly header: VolumeHeader;
  /** What this client remembers between sessions. It must be attached to the same header. */
  readonly state: ClientState;
  /** How long an inode that was read is used without asking the store again. Default 1000; 0 for never. */
  readonly freshMs?: number;
  /** How long gc keeps objects that nothing refers to. Default 24 h; it must be the same for all clients. */
  readonly graceMs?: number;
  readonly providers?: ProviderSettings;
  /**
   * Memory for the pages of open files, a multiple of 4 KiB from 1 MiB. Default 64 MiB; taken as it is used.
   */
  readonly pageBytes?: number;
  /**
   * Keeps what open files read and write, sealed as in the store, so that it need not be fetched again, by
   * this session or a later one. It stays the caller's, and must be closed after the volume. Default: none.
   */
  readonly cache?: Cache;
  /** The clock by which open files are committed by themselves. Default: the system's. */
  readonly scheduler?: Scheduler;
  /** Called once, after the volume was closed. `openVolume` ends its own pipeline and keyring here. */
  readonly onClosed?: () => Promise<void>;
}

export const PAGE_BYTES_DEFAULT: number = 64 * MIB;
export const GRACE_MS_DEFAULT: number = 24 * 60 * 60 * 1000;
export const FRESH_MS_DEFAULT = 1000;
/** Of a slab of the pipeline, so much fits into one segment: each upload under way holds that much memory. */
const SEGMENT_SHARE = 4;

/** Returns the size of segments where the options name none: less than the usual one if there is little memory. */
export function segmentBytesFor({ slabBytes }: Pick<Pipeline, 'slabBytes'>): number {
  return Math.min(SEGMENT_BYTES_DEFAULT, Math.ceil(slabBytes / SEGMENT_SHARE));
}

/** Checks the options of `openVolume` that are about the session. Throws EINVAL. */
export function checkSessionOptions(options: Partial<OpenVolumeOptions>): void {
  requireObject('options', options);
  requireStore('options.store', options.store);
  const { freshMs, graceMs, segmentBytes, uploadsMax, uploadTimesMax } = options;
  for (const [name, value] of Object.entries({ freshMs, graceMs })) {
    if (value !== undefined) requireNumber(`options.${name}`, value, 0, Number.POSITIVE_INFINITY);
  }
  for (const [name, value] of Object.entries({ segmentBytes, uploadsMax, uploadTimesMax })) {
    if (value !== undefined) requireInteger(`options.${name}`, value, 1);
  }
  if (options.pageBytes !== undefined) {
    requireInteger('options.pageBytes', options.pageBytes, MIB);
    requireArgument(options.pageBytes % GRANULE_BYTES === 0, 'options.pageBytes must be a multiple of 4 KiB');
  }
  if (options.cache !== undefined) requireMethods('options.cache', options.cache, ['volume']);
  if (options.scheduler !== undefined)
    requireMethods('options.scheduler', options.scheduler, ['now', 'sleep']);
  const { onClosed, onProblem, nowMs } = options;
  for (const [name, value] of Object.entries({ onClosed, onProblem, nowMs })) {
    requireCallback(`options.${name}`, value);
  }
}

/** Checks the options of `Volume.open`. Throws EINVAL. */
export function checkOpenOptions(options: OpenVolumeOptions): void {
  checkSessionOptions(options);
  requireInstance('options.pipeline', options.pipeline, Pipeline);
  requireInstance('options.header', options.header, VolumeHeader);
  requireState('options.state', options.state);
}
