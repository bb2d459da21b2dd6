/**
 * Sends sealed units to the server, and to the streams beside it, and collects what becomes of them.
 *
 *   sealed ──▶ written ──placed──▶ reads find the records, and a commit may take them
 *                 │                      │
 *                 │                      └──done──▶ durable: pages are released, memory is given back
 *                 └──rejected, before or after it was placed──▶ the bytes are dirty again; the error is told
 *
 * Invariants
 *   1. Sealed bytes are given back only when the server and all streams read them no more.
 *   2. A page is released only when no byte in it is dirty or on its way: when its last flush is durable.
 *   3. Nothing is lost by a failure: pages keep the bytes until then.
 *   4. Records are placed when the server has placed them and every required stream has them.
 */
import { NetsealError } from '../base/errors.ts';
import type { SealedUnit } from '../pipeline/requests.ts';
import { GRANULE_BYTES } from './pages/pages.ts';
import type { FileParts } from './parts.ts';
import type { Prepared } from './prepare.ts';
import type { Flush } from './regions/region.ts';
import type { ByteRange } from './regions/spans.ts';
import type { UnitToWrite, Writing } from './server.ts';
import type { Holder } from './streams.ts';

export interface UploadEvents {
  /** Something was placed, has failed, or is durable; or memory of records was given back. */
  onChange(): void;
  /** The server has placed records of so many dirty bytes. It may hold them back. */
  onPlaced(dirtyBytes: number): void;
  /** The server has taken data. */
  onDurable(): void;
  /** Data could not be written. It is dirty again. */
  onFailure(error: unknown): void;
}

interface SealedRecord {
  readonly flush: Flush;
  readonly unit: SealedUnit;
}

/** A write to the server and to the streams. */
interface Write {
  /** Resolves when neither the server nor a required stream reads the records any more. */
  readonly read: Promise<unknown>;
  /** Resolves when the records are durable, or lost. */
  readonly ended: Promise<void>;
}

export class Uploads<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #events: UploadEvents;
  /** None of these rejects. */
  readonly #running = new Set<Promise<void>>();

  constructor(parts: FileParts<Handle>, events: UploadEvents) {
    this.#parts = parts;
    this.#events = events;
  }

  /** Takes over flushes, and the memory of their records. */
  begin({ sealed, failed }: Prepared): void {
    for (const [flush, error] of failed) {
      // A base that was lost was told of when it was.
      if (flush.isBaseLost) this.#parts.regions.failed(flush);
      else this.#fail([flush], error);
    }
    if (sealed === undefined) return;
    const { flushes, batch } = sealed;
    const records: SealedRecord[] = [];
    for (const [at, flush] of flushes.entries()) {
      const unit = batch.units[at];
      if (unit === undefined) this.#fail([flush], new NetsealError('EBUG', 'a unit was not sealed'));
      else if (unit.isHole) this.#placeHole(flush);
      else records.push({ flush, unit });
    }
    const writes = this.#cut(records).map(part => this.#write(part, batch));
    const read = Promise.all(writes.map(write => write.read)).then(() => {
      batch.release();
      this.#events.onChange();
    });
    const running = Promise.all([read, ...writes.map(({ ended }) => ended)]).then(() => {
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Cuts records into writes that the server takes. */
  #cut(records: readonly SealedRecord[]): SealedRecord[][] {
    const { wsizeBytes } = this.#parts.server.capabilities;
    const writes: SealedRecord[][] = [];
    let bytes = 0;
    for (const record of records) {
      const { byteLength } = record.unit.bytes;
      const last = writes.at(-1);
      if (last === undefined || bytes + byteLength > wsizeBytes) {
        writes.push([record]);
        bytes = 0;
      } else {
        last.push(record);
      }
      bytes += byteLength;
    }
    return writes;
  }

  #placeHole(flush: Flush): void {
    const { regions } = this.#parts;
    if (!regions.placed(flush, undefined)) return;
    this.#uploaded(flush);
    this.#events.onChange();
  }

  #write(records: readonly SealedRecord[], batch: Holder): Write {
    const { server, handle, form, streams, netfs } = this.#parts;
    const { objectId } = form;
    const flushes = records.map(({ flush }) => flush);
    const units = records.map(
      ({ flush, unit }): UnitToWrite => ({ index: flush.unit, bytes: unit.bytes, tag: unit.tag }),
    );
    const { placed, done } = server.write({ handle, units });
    const streamed = streams.write(
      units.map(({ index, bytes }) => ({ objectId, index, bytes })),
      batch,
      netfs.held.sealed,
    );
    const lastRead = server.capabilities.copiesWrites ? placed : done;
    return {
      read: Promise.allSettled([lastRead, streamed]),
      ended: this.#follow(flushes, { placed, done }, streamed),
    };
  }

  /** Tells what becomes of a write. Never rejects. */
  async #follow(
    flushes: readonly Flush[],
    { placed, done }: Writing,
    streamed: Promise<void>,
  ): Promise<void> {
    const { regions } = this.#parts;
    // They may reject before anybody looks at them below.
    for (const end of [done, streamed]) end.catch(() => undefined);
    try {
      const receipts = await placed;
      await streamed;
      for (const [at, flush] of flushes.entries()) {
        const receipt = receipts[at];
        if (receipt === undefined) throw new NetsealError('EBUG', 'a record was written without a receipt');
        regions.placed(flush, receipt);
      }
      this.#events.onPlaced(flushes.reduce((sum, { spans }) => sum + spans.byteCount, 0));
      await done;
      for (const flush of flushes) this.#uploaded(flush);
      this.#events.onDurable();
    } catch (error) {
      this.#fail(flushes, error);
    }
    await Promise.allSettled([done, streamed]);
  }

  #fail(flushes: readonly Flush[], error: unknown): void {
    const { regions } = this.#parts;
    const lost = flushes.filter(flush => regions.failed(flush));
    if (lost.length > 0) this.#events.onFailure(error);
    this.#events.onChange();
  }

  #uploaded(flush: Flush): void {
    const { regions } = this.#parts;
    const spans = [...flush.spans];
    regions.uploaded(flush);
    const startBytes = flush.unit * regions.unitSizeBytes;
    releasePages(
      this.#parts,
      spans.map(({ fromBytes, toBytes }) => ({
        fromBytes: startBytes + fromBytes,
        toBytes: startBytes + toBytes,
      })),
    );
  }
}

/** Releases the pages that these ranges touch, but for those with bytes that are not durable. */
export function releasePages<Handle>(
  { pages, regions }: FileParts<Handle>,
  ranges: readonly ByteRange[],
): void {
  for (const { fromBytes, toBytes } of ranges) {
    for (let at = fromBytes - (fromBytes % GRANULE_BYTES); at < toBytes; at += GRANULE_BYTES) {
      const granule = { fromBytes: at, toBytes: at + GRANULE_BYTES };
      if (!regions.isDirty(granule.fromBytes, granule.toBytes)) pages.release(granule);
    }
  }
}
