/** Arithmetic between bytes and units. Pure; every size is in bytes, every range half-open. */
import { requireArgument } from './errors.ts';

export const KIB = 1024;
export const MIB: number = 1024 * KIB;

/** Bounds of the unit size. A unit is compressed and encrypted as one. */
export const UNIT_BYTES_MIN: number = 4 * KIB;
export const UNIT_BYTES_MAX: number = 16 * MIB;
export const UNIT_BYTES_DEFAULT: number = 256 * KIB;

export function isPowerOfTwo(value: number): boolean {
  // log2 alone is rounded: it calls 2^49 - 1 a power of two.
  return Number.isSafeInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value;
}

/** The largest file: larger numbers are not exact. */
export const SIZE_BYTES_MAX: number = Number.MAX_SAFE_INTEGER;

/** Rounds up to a multiple of `granule`, a power of two. Exact up to 2^53. */
export function roundUp(value: number, granule: number): number {
  const rest = value % granule;
  return rest === 0 ? value : value - rest + granule;
}

/** Returns log2 of a unit size. EINVAL unless the size is a power of two from 4 KiB to 16 MiB. */
export function unitSizeToLog2(unitSizeBytes: number): number {
  requireArgument(
    isPowerOfTwo(unitSizeBytes) && unitSizeBytes >= UNIT_BYTES_MIN && unitSizeBytes <= UNIT_BYTES_MAX,
    `unit size must be a power of two from 4 KiB to 16 MiB, not ${unitSizeBytes} bytes`,
  );
  return Math.log2(unitSizeBytes);
}

/** Returns how many units a file of `sizeBytes` has. */
export function sizeToUnitCount(sizeBytes: number, unitSizeBytes: number): number {
  return Math.ceil(sizeBytes / unitSizeBytes);
}
