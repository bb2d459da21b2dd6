/** The settings of a pipeline: plain values that are checked once, when it opens. */

import { availableParallelism } from 'node:os';
import { requireInteger, requireObject } from '../base/arguments.ts';
import { requireArgument } from '../base/errors.ts';
import { MIB, UNIT_BYTES_DEFAULT } from '../base/geometry.ts';
import type { ProviderSettings } from '../unit/providers.ts';
import { RECORD_OVERHEAD_BYTES } from '../unit/record-format.ts';

export interface PipelineSettings {
  /**
   * Worker threads, 0 to 256. With 0, the calling thread does the work. Default: as many as the machine runs
   * at once. In a bundle that includes netseal it is always 0, with a warning unless 0 was asked for.
   */
  readonly workers?: number;
  /**
   * Memory for bounce buffers, 128 MiB by default. It is split evenly into four slabs: plain and sealed, for
   * sealing and for opening. So the largest unit that fits is one whose record fits in a quarter of it. Pages
   * that are never touched take no memory.
   */
  readonly memoryBytes?: number;
  /** The libraries that do the work. Default: the fastest that this machine has. */
  readonly providers?: ProviderSettings;
}

export const WORKERS_MAX = 256;
const MEMORY_BYTES_DEFAULT = 128 * MIB;
const SLAB_COUNT = 4;
/** With less than this, not even one unit of the default size would fit. */
const MEMORY_BYTES_MIN = SLAB_COUNT * (UNIT_BYTES_DEFAULT + RECORD_OVERHEAD_BYTES);

/** Settings with every default filled in. */
export interface CheckedSettings {
  readonly workers: number;
  /** The size of each of the four slabs. */
  readonly slabBytes: number;
  readonly providers: ProviderSettings;
}

/** Fills in defaults. Throws EINVAL when a value is out of range. */
export function checkSettings(settings: PipelineSettings): CheckedSettings {
  requireObject('settings', settings);
  if (settings.providers !== undefined) requireObject('settings.providers', settings.providers);
  const { workers = availableParallelism(), memoryBytes = MEMORY_BYTES_DEFAULT, providers = {} } = settings;
  requireInteger('workers', workers, 0, WORKERS_MAX);
  requireArgument(
    Number.isSafeInteger(memoryBytes) && memoryBytes >= MEMORY_BYTES_MIN,
    `pipeline memory of ${memoryBytes} bytes is too little: the least that works is ${MEMORY_BYTES_MIN}`,
  );
  return { workers, slabBytes: Math.floor(memoryBytes / SLAB_COUNT), providers };
}
