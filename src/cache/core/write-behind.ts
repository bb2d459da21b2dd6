/**
 * The queue of semi-dirty units: units that were just read from a server wait here until they are written.
 * Its length is bounded, and `offer` never waits: a unit that does not fit is dropped and counted.
 */
import { copyBytes } from '../../base/bytes.ts';
import { DrainLoop } from '../../base/drain-loop.ts';
import type { IncomingUnit } from '../clean/clean-writer.ts';
import type { Since } from '../clean/range-invalidations.ts';
import type { Core } from './core.ts';

/** How much is taken from the queue for one write. */
const BATCH_BYTES = 8 * 1024 * 1024;
/**
 * The memory that a unit takes beside its bytes. It counts, so that a queue of many small units is bounded as
 * well.
 */
const UNIT_BYTES = 256;

type Queued = IncomingUnit & { readonly since: Since };

export class WriteBehind {
  readonly #core: Core;
  readonly #bytesMax: number;
  #queue: Queued[] = [];
  #bytes = 0;
  readonly #loop = new DrainLoop(
    () => this.#queue.length > 0,
    () => this.#storeQueued(),
  );
  #isClosed = false;

  constructor(core: Core) {
    this.#core = core;
    this.#bytesMax = core.context.settings.queueBytes;
  }

  get units(): number {
    return this.#queue.length;
  }

  /** The memory that the queue takes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Copies units into the queue. Those invalidated later are not stored. Returns how many were taken. */
  offer(units: readonly IncomingUnit[]): number {
    if (this.#core.context.health.isAway) {
      this.#core.cleanWriter.drop('away', units.length);
      return 0;
    }
    let count = 0;
    for (const { object, index, bytes } of units) {
      const costBytes = UNIT_BYTES + bytes.byteLength;
      if (this.#isClosed || this.#bytes + costBytes > this.#bytesMax) continue;
      const copy = Buffer.allocUnsafeSlow(bytes.byteLength);
      copyBytes(bytes, copy);
      this.#queue.push({ object, index, bytes: copy, since: this.#core.rangeInvalidations.remember(object) });
      this.#bytes += costBytes;
      count += 1;
    }
    this.#core.cleanWriter.drop('queue', units.length - count);
    this.#loop.start();
    return count;
  }

  /** Resolves when the queue is empty and nothing of it is being written. */
  idle(): Promise<void> {
    return this.#loop.idle();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.idle();
  }

  async #storeQueued(): Promise<void> {
    while (this.#queue.length > 0) {
      let bytes = 0;
      let count = 0;
      for (const unit of this.#queue) {
        if (count > 0 && bytes + unit.bytes.byteLength > BATCH_BYTES) break;
        bytes += UNIT_BYTES + unit.bytes.byteLength;
        count += 1;
      }
      const batch = this.#queue.slice(0, count);
      this.#queue = this.#queue.slice(count);
      await this.#core.cleanWriter.store(batch);
      for (const { since } of batch) this.#core.rangeInvalidations.forget(since);
      // The copies take memory until they are written.
      this.#bytes -= bytes;
    }
  }
}
