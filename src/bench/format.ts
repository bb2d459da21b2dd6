/** Formats numbers for people: sizes, rates, times. `src/cli/lib/sizes.ts` reads them back. */
import type { Padding } from '../unit/padding.ts';

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/**
 * Formats a number with three significant digits, or as a whole number from 100 on: `1,234`, `12.3`, `0.05`.
 */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}

/** Formats bytes in binary units: `256 KiB`, `1.25 MiB`, `71 B`. Whole multiples of such a unit are exact. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let step = 0;
  while (value >= 1024 && step < BINARY.length - 1) {
    value /= 1024;
    step += 1;
  }
  const text = Number.isInteger(value) ? String(value) : formatNumber(value);
  return `${text} ${BINARY[step]}`;
}

/** Formats a padding: `padme padding`, `no padding`, `4 KiB padding`. */
export function formatPadding(padding: Padding): string {
  if (padding === 'none') return 'no padding';
  return `${padding === 'padme' ? padding : formatSize(padding)} padding`;
}

/** A unit for a whole column of sizes, and how to write a size in it without the unit. */
export interface SizeColumn {
  readonly unit: string;
  format(bytes: number): string;
}

/** Returns the binary unit that suits the largest of the sizes. */
export function sizeColumn(sizesBytes: readonly number[]): SizeColumn {
  const largestBytes = Math.max(0, ...sizesBytes);
  const step = Math.min(BINARY.length - 1, Math.floor(Math.log2(Math.max(1, largestBytes)) / 10));
  return { unit: BINARY[step] ?? 'B', format: bytes => formatNumber(bytes / 1024 ** step) };
}

/** Formats a throughput in decimal units, megabytes at most: `412 MB/s`, `43.2 kB/s`, `71 B/s`. */
export function formatThroughput(bytesPerSecond: number): string {
  if (bytesPerSecond >= 1e5 || bytesPerSecond === 0) return `${formatNumber(bytesPerSecond / 1e6)} MB/s`;
  return bytesPerSecond < 1e3
    ? `${formatNumber(bytesPerSecond)} B/s`
    : `${formatNumber(bytesPerSecond / 1e3)} kB/s`;
}

const BIT_RATES: readonly (readonly [number, string])[] = [
  [1e9, 'Gbit/s'],
  [1e6, 'Mbit/s'],
  [1e3, 'kbit/s'],
  [1, 'bit/s'],
];

/** Formats the rate of a link in bits: `1 Gbit/s`, `2.5 Mbit/s`. */
export function formatBitRate(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  const [factor, unit] = BIT_RATES.find(([least]) => bits >= least) ?? [1, 'bit/s'];
  return `${Number((bits / factor).toPrecision(12))} ${unit}`;
}

/** Formats a time: `850 µs`, `22.1 ms`, `3.5 s`, `2 min`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0 ms';
  if (ms < 1) return `${formatNumber(ms * 1000)} µs`;
  if (ms < 1000) return `${formatNumber(ms)} ms`;
  if (ms < 120_000) return `${formatNumber(ms / 1000)} s`;
  return `${formatNumber(ms / 60_000)} min`;
}

/** Says in words how `value` differs from `base`: `31% more`, `4% less`, `the same`, `2.4 times as much`. */
export function formatChange(value: number, base: number): string {
  if (base === 0) return value === 0 ? 'the same' : `${formatNumber(value)} more`;
  const percent = Math.round((value / base - 1) * 100);
  if (percent === 0) return 'the same';
  if (percent >= 100) return `${formatNumber(value / base)} times as much`;
  return percent > 0 ? `${percent}% more` : `${-percent}% less`;
}

/** Formats a count: `1 file`, `3 files`. */
export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}
