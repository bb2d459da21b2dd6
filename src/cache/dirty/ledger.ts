/**
 * The ledger: per volume, what is dirty, what somebody is sending, and what has arrived. The last is the sum of all that was ever
 * released, kept in a row a volume:
 *
 *   volume id[16], batches u64, units u64, bytes u64, time of the latest release u64 (milliseconds since 1970)
 */
import { getU64, setU64, toHex, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

/** Batches with units of a volume, and those units. A batch with units of two volumes counts in both. */
export interface LedgerCount {
  readonly batches: number;
  readonly units: number;
  /** Of sealed units as they came. */
  readonly bytes: number;
}

/** What of a volume is on its way to the server. Batches without units are nobody's. */
export interface LedgerEntry {
  readonly volumeId: Uint8Array;
  /** On the disk, not on the server, and nobody has said that they are being sent. `oldestMs`: when the first was appended. */
  readonly dirty: LedgerCount & { readonly oldestMs?: number };
  /** The same, taken up for sending. Forgotten when the cache is closed. */
  readonly queued: LedgerCount & { readonly oldestMs?: number };
  /** Released, in the life of the cache. `latestMs`: when the last was released. */
  readonly durable: LedgerCount & { readonly latestMs?: number };
}

/** What a batch holds of one volume. */
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

/** The part that is on the disk. */
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

  /** Adds released batches; returns the rows that have to be saved. */
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

/** One entry for each volume that has ever had a dirty unit, in no order. */
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
      // Not always the first: the clock may have been set.
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
