/**
 * The ledger says for each volume how much is dirty and not being sent, how much is being sent, and how much
 * has reached the server.
 *
 *   appendDirty ──▶ dirty ──markQueued──▶ queued ──releaseDirty──▶ durable
 *
 * `durable` is the sum of all that was ever released. Each volume has a row for it:
 *
 * volume id[16], batches u64, units u64, bytes u64, time of the latest release u64 (milliseconds since 1970)
 */
import { getU64, setU64, toHex, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

/** A number of batches, and their units of one volume. A batch with units of two volumes counts in both. */
export interface LedgerCount {
  readonly batches: number;
  readonly units: number;
  /** The length of the sealed units. */
  readonly bytes: number;
}

/** One volume in the ledger. A batch without units belongs to no volume, and is not counted. */
export interface LedgerEntry {
  readonly volumeId: Uint8Array;
  /** Batches that are not released and not marked as being sent. `oldestMs`: when the oldest was appended. */
  readonly dirty: LedgerCount & { readonly oldestMs?: number };
  /** Batches that are not released and marked as being sent. Marks are forgotten when the cache is closed. */
  readonly queued: LedgerCount & { readonly oldestMs?: number };
  /** Batches released in the life of the cache. `latestMs`: when the latest was. */
  readonly durable: LedgerCount & { readonly latestMs?: number };
}

/** The part of a batch that belongs to one volume. */
export interface VolumeShare {
  readonly volumeId: Uint8Array;
  readonly units: number;
  readonly bytes: number;
}

const ROW_BYTES = 48;

interface Total {
  readonly volumeId: Uint8Array;
  readonly batches: number;
  readonly units: number;
  readonly bytes: number;
  readonly latestMs: number;
}

/** The sums of what was released, and their rows. */
export class DurableTotals {
  readonly #fingerprinter: Fingerprinter;
  readonly #totals = new Map<string, Total>();

  constructor(rows: Rows, fingerprinter: Fingerprinter) {
    this.#fingerprinter = fingerprinter;
    for (const { value } of rows.all('durable')) {
      const total = decode(value);
      if (total !== undefined) this.#totals.set(toHex(total.volumeId), total);
    }
  }

  all(): Iterable<Total> {
    return this.#totals.values();
  }

  /** Adds released batches. Returns the rows that the caller must save. */
  add(batches: Iterable<readonly VolumeShare[]>, nowMs: number): RowChange[] {
    const changed = new Map<string, Total>();
    for (const shares of batches) {
      for (const { volumeId, units, bytes } of shares) {
        const key = toHex(volumeId);
        const before = this.#totals.get(key);
        const total: Total = {
          volumeId,
          batches: (before?.batches ?? 0) + 1,
          units: (before?.units ?? 0) + units,
          bytes: (before?.bytes ?? 0) + bytes,
          latestMs: nowMs,
        };
        this.#totals.set(key, total);
        changed.set(key, total);
      }
    }
    return [...changed.values()].map(total => ({
      kind: 'durable',
      name: this.#fingerprinter.name('durable', total.volumeId),
      value: encode(total),
    }));
  }
}

function encode({ volumeId, batches, units, bytes, latestMs }: Total): Uint8Array {
  const value = new Uint8Array(ROW_BYTES);
  const view = viewOf(value);
  value.set(volumeId);
  for (const [at, number] of [batches, units, bytes, latestMs].entries()) setU64(view, 16 + 8 * at, number);
  return value;
}

function decode(value: Uint8Array): Total | undefined {
  if (value.byteLength !== ROW_BYTES) return undefined;
  const view = viewOf(value);
  const [batches, units, bytes, latestMs] = [16, 24, 32, 40].map(at => getU64(view, at) ?? 0);
  return {
    volumeId: value.slice(0, 16),
    batches: batches ?? 0,
    units: units ?? 0,
    bytes: bytes ?? 0,
    latestMs: latestMs ?? 0,
  };
}

/** A batch that is not released. */
export interface LedgerBatch {
  readonly appendedMs: number;
  readonly isQueued: boolean;
  readonly shares: readonly VolumeShare[];
}

interface Sum {
  batches: number;
  units: number;
  bytes: number;
  oldestMs?: number;
}

/** Returns an entry for each volume that has ever had a dirty unit, in no order. */
export function makeLedger(batches: Iterable<LedgerBatch>, totals: Iterable<Total>): LedgerEntry[] {
  const entries = new Map<string, { volumeId: Uint8Array; dirty: Sum; queued: Sum; durable: Sum }>();
  const entryOf = (volumeId: Uint8Array): { dirty: Sum; queued: Sum; durable: Sum } => {
    const key = toHex(volumeId);
    const entry = entries.get(key) ?? {
      volumeId: new Uint8Array(volumeId),
      dirty: newSum(),
      queued: newSum(),
      durable: newSum(),
    };
    entries.set(key, entry);
    return entry;
  };
  for (const { appendedMs, isQueued, shares } of batches) {
    for (const { volumeId, units, bytes } of shares) {
      const sum = entryOf(volumeId)[isQueued ? 'queued' : 'dirty'];
      sum.batches += 1;
      sum.units += units;
      sum.bytes += bytes;
      // The first batch need not have the least time: the clock may have been set back.
      sum.oldestMs = Math.min(sum.oldestMs ?? appendedMs, appendedMs);
    }
  }
  for (const { volumeId, latestMs, batches: count, units, bytes } of totals) {
    Object.assign(entryOf(volumeId).durable, { batches: count, units, bytes, latestMs });
  }
  return [...entries.values()];
}

function newSum(): Sum {
  return { batches: 0, units: 0, bytes: 0 };
}
