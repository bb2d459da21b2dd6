/** A summary of the units in a cache that are not on the server yet, in words and as fields for JSON. */
import { toHex } from '../../base/bytes.ts';
import type { Cache } from '../../cache/cache.ts';
import type { LedgerCount, LedgerEntry } from '../../cache/dirty/ledger.ts';
import { formatCount, formatSize } from '../lib/sizes.ts';
import { formatTimeMs } from '../lib/times.ts';

export interface DirtySummary {
  readonly batches: number;
  readonly units: number;
  readonly bytes: number;
  /** When the oldest batch was written, in ms since 1970. */
  readonly oldestMs: number | undefined;
  /** What has reached a server from this cache, in all its life. */
  readonly durable: { readonly units: number; readonly bytes: number; readonly latestMs: number | undefined };
  readonly volumes: readonly LedgerEntry[];
}

export function summarizeDirty(cache: Cache): DirtySummary {
  const { dirtyBatches, dirtyUnits, dirtyBytes } = cache.statistics;
  const volumes = cache.ledger();
  const oldest = volumes.flatMap(({ dirty, queued }) => [dirty.oldestMs, queued.oldestMs]);
  const latest = volumes.map(({ durable }) => durable.latestMs);
  return {
    batches: dirtyBatches,
    units: dirtyUnits,
    bytes: dirtyBytes,
    oldestMs: least(oldest, 1),
    durable: {
      units: volumes.reduce((sum, { durable }) => sum + durable.units, 0),
      bytes: volumes.reduce((sum, { durable }) => sum + durable.bytes, 0),
      latestMs: least(latest, -1),
    },
    volumes,
  };
}

/** Returns the least of the times that are defined. With a sign of -1, returns the greatest instead. */
function least(times: readonly (number | undefined)[], sign: 1 | -1): number | undefined {
  let found: number | undefined;
  for (const time of times) {
    if (time !== undefined && (found === undefined || sign * time < sign * found)) found = time;
  }
  return found;
}

/** Says in one line what is not on the server yet, so that a user knows whether the cache can be given up. */
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
  const age = oldestMs === undefined ? '' : `; the oldest since ${ageText(nowMs - oldestMs)}`;
  return `${what} are not on the server yet${age}`.replace(/^(1 batch.*) are not/, '$1 is not');
}

const AGES: readonly (readonly [number, string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
];

/** Formats an age in whole units: `2 h`. */
export function ageText(ageMs: number): string {
  for (const [unitMs, unit] of AGES) {
    if (ageMs >= unitMs) return `${Math.floor(ageMs / unitMs).toLocaleString('en-US')} ${unit}`;
  }
  return 'less than a second';
}

/** Says what has reached a server. Undefined when nothing has. */
export function describeDurable({ durable }: DirtySummary, nowMs: number = Date.now()): string | undefined {
  const { units, bytes, latestMs } = durable;
  if (units === 0) return undefined;
  const age = latestMs === undefined ? '' : `; the last ${ageText(nowMs - latestMs)} ago`;
  return `${formatCount(units, 'unit')}, ${formatSize(bytes)}${age}`;
}

/** Returns the summary and the ledger of each volume as fields for JSON. */
export function ledgerFields({
  batches,
  units,
  bytes,
  oldestMs,
  volumes,
}: DirtySummary): Record<string, unknown> {
  return {
    dirty: { batches, units, bytes, oldest: formatTimeMs(oldestMs) },
    ledger: volumes.map(({ volumeId, dirty, queued, durable }) => ({
      volume: toHex(volumeId),
      dirty: countFields(dirty, 'oldest', dirty.oldestMs),
      queued: countFields(queued, 'oldest', queued.oldestMs),
      durable: countFields(durable, 'latest', durable.latestMs),
    })),
  };
}

function countFields(
  { batches, units, bytes }: LedgerCount,
  name: string,
  timeMs: number | undefined,
): Record<string, unknown> {
  return { batches, units, bytes, [name]: formatTimeMs(timeMs) };
}
