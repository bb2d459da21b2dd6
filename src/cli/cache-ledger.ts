/** What of a cache is not on the server yet, in words and as fields. */
import type { Cache } from '../cache/cache.ts';
import { formatTime } from './display.ts';
import { formatCount, formatSize } from './sizes.ts';

export interface DirtySummary {
  readonly batches: number;
  readonly units: number;
  readonly bytes: number;
  readonly oldestMs: number | undefined;
}

export function summarizeDirty(cache: Cache): DirtySummary {
  const { dirtyBatches, dirtyUnits, dirtyBytes } = cache.statistics;
  return { batches: dirtyBatches, units: dirtyUnits, bytes: dirtyBytes, oldestMs: undefined };
}

/** One line: whether the cache may go. */
export function describeDirty(
  { batches, units, bytes, oldestMs }: DirtySummary,
  nowMs: number = Date.now(),
): string {
  if (batches === 0) return 'everything is on the server';
  const what = [
    formatCount(batches, 'batch').replace(/batchs$/, 'batches'),
    formatCount(units, 'unit'),
    formatSize(bytes),
  ].join(', ');
  const age = oldestMs === undefined ? '' : `; the oldest ${sinceText(nowMs - oldestMs)}`;
  return `${what} are not on the server yet${age}`.replace(/^(1 batch.*) are not/, '$1 is not');
}

const AGES: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
];

/** `since 2 h`, in whole units. */
export function sinceText(ageMs: number): string {
  for (const [unitMs, unit] of AGES) {
    if (ageMs >= unitMs) return `since ${Math.floor(ageMs / unitMs).toLocaleString('en-US')} ${unit}`;
  }
  return 'since less than a second';
}

export function ledgerFields({ batches, units, bytes, oldestMs }: DirtySummary): Record<string, unknown> {
  const oldest = oldestMs === undefined ? null : formatTime(BigInt(Math.trunc(oldestMs)) * 1_000_000n);
  return { dirty: { batches, units, bytes, oldest } };
}
