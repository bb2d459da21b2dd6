/** Cuts a request into jobs for the workers. Pure. */
import { KIB, MIB } from '../base/geometry.ts';

/** A smaller job costs more in messages than a second worker gains. */
const JOB_BYTES_MIN = 128 * KIB;
/** A larger job gains nothing, and makes the caller wait longer for its first unit. */
const JOB_BYTES_MAX = 1 * MIB;

/** The units [from, to) of a request. */
export interface JobSpan {
  readonly from: number;
  readonly to: number;
}

/**
 * Returns contiguous spans that cover all units in order. None is empty, and no unit is cut. There is one
 * span for each worker, unless spans of that size would hold more than 1 MiB or less than 128 KiB of input.
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
