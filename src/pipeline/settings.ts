/** Settings of a pipeline: plain values, checked once, at open. */
import { availableParallelism } from 'node:os';
import { requireArgument } from '../base/errors.ts';
import { MIB, UNIT_BYTES_DEFAULT } from '../base/geometry.ts';
import type { ProviderSettings } from '../unit/providers.ts';
import { RECORD_OVERHEAD_BYTES } from '../unit/record-format.ts';

export interface PipelineSettings {
  /** Worker threads; 0 works on the calling thread. Default: as many as the machine runs at once. */
  readonly workers?: number;
  /**
   * Bounce buffers for sealing and opening together, split evenly over four slabs: plain and sealed of either direction.
   * Memory that is never touched is never resident. Default 128 MiB. A unit fits when a quarter of this holds it
   * sealed.
   */
  readonly memoryBytes?: number;
  /** Which libraries do the work; by default what is fastest here. */
  readonly providers?: ProviderSettings;
}

export const WORKERS_MAX = 256;
const MEMORY_BYTES_DEFAULT = 128 * MIB;
const SLAB_COUNT = 4;
/** Below this not even one unit of the default size would pass. */
const MEMORY_BYTES_MIN = SLAB_COUNT * (UNIT_BYTES_DEFAULT + RECORD_OVERHEAD_BYTES);

/** Settings with every default filled in. */
export interface CheckedSettings {
  readonly workers: number;
  /** Of each of the four slabs. */
  readonly slabBytes: number;
  readonly providers: ProviderSettings;
}

/** Fills in defaults. EINVAL when a value is out of range. */
export function checkSettings(settings: PipelineSettings): CheckedSettings {
  const { workers = availableParallelism(), memoryBytes = MEMORY_BYTES_DEFAULT, providers = {} } = settings;
  requireArgument(
    Number.isInteger(workers) && workers >= 0 && workers <= WORKERS_MAX,
    `workers must be a whole number from 0 to ${WORKERS_MAX}, not ${workers}`,
  );
  requireArgument(
    Number.isSafeInteger(memoryBytes) && memoryBytes >= MEMORY_BYTES_MIN,
    `pipeline memory of ${memoryBytes} bytes is too little: the least that works is ${MEMORY_BYTES_MIN}`,
  );
  return { workers, slabBytes: Math.floor(memoryBytes / SLAB_COUNT), providers };
}
