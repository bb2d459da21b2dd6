/** Cuts a request into jobs. Pure. */
import { KIB, MIB } from '../base/geometry.ts';

/** Below this, another job costs more in messages than a second worker gains. */
const JOB_BYTES_MIN = 128 * KIB;
/** Above this, a job only delays whoever waits for its first unit. */
const JOB_BYTES_MAX = 1 * MIB;

/** Units [from, to) of a request. */
export interface JobSpan {
  readonly from: number;
  readonly to: number;
}

/**
 * Contiguous spans that cover all units in order, none empty: one for each worker, unless that makes them larger than
 * 1 MiB or smaller than 128 KiB of input. A unit is never cut.
 */
export function splitIntoJobs(unitBytes: readonly number[], workers: number): JobSpan[] {
  const totalBytes = unitBytes.reduce((sum, bytes) => sum + bytes, 0);
  const shareBytes = Math.ceil(totalBytes / Math.max(1, workers));
  const targetBytes = Math.min(JOB_BYTES_MAX, Math.max(JOB_BYTES_MIN, shareBytes));
  const spans: JobSpan[] = [];
  let from = 0;
  let spanBytes = 0;
  for (const [at, bytes] of unitBytes.entries()) {
    if (at > from && spanBytes + bytes > targetBytes) {
      spans.push({ from, to: at });
      from = at;
      spanBytes = 0;
    }
    spanBytes += bytes;
  }
  if (from < unitBytes.length) spans.push({ from, to: unitBytes.length });
  return spans;
}
