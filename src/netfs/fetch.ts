/**
 * Fetches records from the server and opens them. Callers that want the same record at the same time share one
 * fetch.
 *
 *   wanted ──▶ batched: as many records as memory allows are read and opened together
 *          ──▶ opened: every caller gets the plain bytes, in one turn; then they are gone
 *
 * Invariants
 *   1. Memory is taken in the order of the pipeline: sealed, then plain. Whoever waits for a fetch holds
 *      neither, so fetches end whatever else waits.
 *   2. A record is opened against the tag and the place that its receipt names. Others see nothing of one that
 *      does not open.
 *   3. Callers that give up leave; the fetch goes on.
 */
import { abortable } from '../base/abortable.ts';
import { equalBytes, toByteString } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { OpenedUnit, UnitToOpen } from '../pipeline/requests.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { FileForm, NetfsServer, Receipt } from './server.ts';

/** A unit whose record is wanted. */
export interface WantedUnit {
  readonly unit: number;
  readonly receipt: Receipt;
  /**
   * Takes the unit's plain bytes, in shared memory, valid during the call. They may be shorter than the unit:
   * zeros follow.
   */
  deliver(plain: Uint8Array): void;
}

/** One record that is being fetched. */
interface Fetching {
  readonly unit: number;
  readonly receipt: Receipt;
  readonly takers: Set<WantedUnit>;
  readonly ended: PromiseWithResolvers<void>;
}

/** The share of a slab that one batch may take: four batches run at once. */
const SLAB_SHARE = 4;

export interface FetchParts<Handle> {
  readonly pipeline: Pipeline;
  readonly server: NetfsServer<Handle>;
  readonly handle: Handle;
  readonly form: FileForm;
  /** Sees every unit that was opened, after those who wanted it. */
  onOpened(unit: number, receipt: Receipt, plain: Uint8Array): void;
}

/** The fetches of one file. */
export class Fetches<Handle> {
  readonly #parts: FetchParts<Handle>;
  /** By what is fetched: a place and a tag. */
  readonly #fetching = new Map<string, Fetching>();
  readonly #running = new Set<Promise<void>>();

  constructor(parts: FetchParts<Handle>) {
    this.#parts = parts;
  }

  /**
   * Delivers units, in any order, and resolves when all of them have been delivered or have failed: with the
   * error of each that did, by its position.
   *
   * Rejects with the signal's reason; then nothing is delivered any more.
   */
  async fetch(wanted: readonly WantedUnit[], signal?: AbortSignal): Promise<ReadonlyMap<number, unknown>> {
    signal?.throwIfAborted();
    const joined = wanted.map(one => ({ one, fetching: this.#join(one) }));
    this.#start();
    const errors = new Map<number, unknown>();
    const all = Promise.all(
      joined.map(({ fetching }, at) =>
        fetching.ended.promise.catch(error => {
          errors.set(at, error);
        }),
      ),
    );
    await abortable(all, signal, () => {
      for (const { one, fetching } of joined) fetching.takers.delete(one);
    });
    return errors;
  }

  /** Resolves when no fetch is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  readonly #unstarted: Fetching[] = [];

  #join(one: WantedUnit): Fetching {
    const { unit, receipt } = one;
    const key = keyOf(unit, receipt);
    const known = this.#fetching.get(key);
    if (known !== undefined) {
      known.takers.add(one);
      return known;
    }
    const fetching = { unit, receipt, takers: new Set([one]), ended: Promise.withResolvers<void>() };
    // Every caller that waits for it handles the rejection itself; one that has left does not.
    fetching.ended.promise.catch(() => undefined);
    this.#fetching.set(key, fetching);
    this.#unstarted.push(fetching);
    return fetching;
  }

  /** Cuts what is wanted into batches, and begins all of them: the slabs make them wait their turn. */
  #start(): void {
    const { pipeline, server, form } = this.#parts;
    const shareBytes = Math.floor(pipeline.slabBytes / SLAB_SHARE);
    const sealedMax = Math.min(shareBytes, server.capabilities.rsizeBytes);
    let batch: Fetching[] = [];
    let sealedBytes = 0;
    let plainBytes = 0;
    const end = (): void => {
      if (batch.length > 0) this.#run(batch);
      batch = [];
      sealedBytes = 0;
      plainBytes = 0;
    };
    for (const fetching of this.#unstarted.splice(0)) {
      const { receipt } = fetching;
      const plainMax = receipt.slice?.packBytes ?? form.unitSizeBytes;
      if (sealedBytes + receipt.lengthBytes > sealedMax || plainBytes + plainMax > shareBytes) end();
      batch.push(fetching);
      sealedBytes += receipt.lengthBytes;
      plainBytes += plainMax;
    }
    end();
  }

  #run(batch: readonly Fetching[]): void {
    const running = this.#fetchBatch(batch).catch(error => {
      for (const fetching of batch) this.#end(fetching, { error });
    });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
  }

  async #fetchBatch(batch: readonly Fetching[]): Promise<void> {
    const { pipeline, server, handle, form } = this.#parts;
    const receipts = batch.map(({ receipt }) => receipt);
    const lease = await pipeline.reserveSealed(sumOf(receipts.map(({ lengthBytes }) => lengthBytes)));
    try {
      const { errors } = await server.read({ handle, receipts, into: lease.bytes });
      const present: { fetching: Fetching; record: UnitToOpen }[] = [];
      let offsetBytes = 0;
      for (const [at, fetching] of batch.entries()) {
        const error = errors.get(at);
        if (error === undefined) present.push({ fetching, record: recordOf(fetching, form, offsetBytes) });
        else this.#end(fetching, { error });
        offsetBytes += fetching.receipt.lengthBytes;
      }
      if (present.length === 0) return;
      const units = present.map(({ record }) => record);
      using opened = await pipeline.open({ keys: form.keys, from: lease, units });
      for (const [at, { fetching }] of present.entries()) {
        this.#end(fetching, checked(fetching.receipt, opened.units[at], form.unitSizeBytes));
      }
    } finally {
      lease.release();
    }
  }

  /** Tells everybody who wanted a record what became of it. Again does nothing. */
  #end(fetching: Fetching, outcome: { readonly bytes: Uint8Array } | { readonly error: unknown }): void {
    const key = keyOf(fetching.unit, fetching.receipt);
    if (this.#fetching.get(key) !== fetching) return;
    this.#fetching.delete(key);
    if ('error' in outcome) {
      fetching.ended.reject(outcome.error);
      return;
    }
    for (const taker of fetching.takers) taker.deliver(outcome.bytes);
    this.#parts.onOpened(fetching.unit, fetching.receipt, outcome.bytes);
    fetching.ended.resolve();
  }
}

/** Throws EINVAL when a unit of this size cannot be fetched or sealed within the pipeline's memory. */
export function requireFits({ unitSizeBytes, padding }: FileForm, { slabBytes }: Pipeline): void {
  if (sealedBytesMax(unitSizeBytes, padding) <= slabBytes) return;
  const problem = `units of ${unitSizeBytes} bytes do not fit into slabs of ${slabBytes}: give it more memory`;
  throw new NetsealError('EINVAL', problem);
}

/** True when both name the same bytes. */
export function isSameRecord(one: Receipt, other: Receipt): boolean {
  if (!equalBytes(one.tag, other.tag)) return false;
  const { slice } = one;
  if (slice === undefined || other.slice === undefined) return slice === other.slice;
  return slice.startBytes === other.slice.startBytes && slice.lengthBytes === other.slice.lengthBytes;
}

function keyOf(unit: number, { tag, slice }: Receipt): string {
  const part = slice === undefined ? '' : `${slice.startBytes}+${slice.lengthBytes}`;
  return `${unit}/${part}/${toByteString(tag)}`;
}

function recordOf({ unit, receipt }: Fetching, form: FileForm, offsetBytes: number): UnitToOpen {
  const { tag: expectedTag, lengthBytes, origin, slice } = receipt;
  const place = { offsetBytes, lengthBytes, expectedTag };
  if (slice !== undefined) {
    const { packId: objectId, packBytes: plainBytesMax } = slice;
    return { ...place, kind: 'pack', objectId, index: 0, unitSizeBytes: 0, plainBytesMax };
  }
  const { objectId, index } = origin ?? { objectId: form.objectId, index: unit };
  return { ...place, kind: 'unit', objectId, index, unitSizeBytes: form.unitSizeBytes };
}

/** Returns what of an opened record is the unit's. */
function checked(
  { slice }: Receipt,
  opened: OpenedUnit | undefined,
  unitSizeBytes: number,
): { readonly bytes: Uint8Array } | { readonly error: unknown } {
  if (opened === undefined) return { error: new NetsealError('EBUG', 'a record was not opened') };
  if (opened.error !== undefined || slice === undefined) return opened;
  const { packBytes, startBytes, lengthBytes } = slice;
  const isWhole = opened.bytes.byteLength === packBytes && startBytes + lengthBytes <= packBytes;
  if (!isWhole || lengthBytes > unitSizeBytes) {
    return { error: new NetsealError('EFORMAT', 'a pack is not as long as the receipt of its slice says') };
  }
  return { bytes: opened.bytes.subarray(startBytes, startBytes + lengthBytes) };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
