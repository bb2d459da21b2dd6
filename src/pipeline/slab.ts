/**
 * A slab: one block of shared memory, which is lent out in leases. Its size never changes. A caller that asks
 * for more than is free waits its turn.
 *
 * Invariants
 *   1. Free ranges and live leases partition the slab: no byte is in two of them.
 *   2. A lease's bytes return to the free list only when its owner has released it and every hold has ended.
 *   3. Waiters are served strictly in order: a later, smaller request never overtakes an earlier, larger one,
 *      so no request starves.
 *   4. When all leases have ended, the slab is one free range again. So every request up to the slab's size
 *      is served in the end, unless callers wait for one lease while they keep another of the same slab.
 *
 * Lease:  lent ──hold()──▶ lent, held ──last hold ends──▶ lent ──release()──▶ free
 *                            └─release()─▶ quarantined (counted, not reusable) ──last hold ends──▶ free
 */
import { NetsealError, requireArgument } from '../base/errors.ts';
import { roundUp } from '../base/geometry.ts';
import { Waiters } from '../base/waiters.ts';

/** Leases start and end on multiples of this, so that views of them are aligned for any codec. */
const GRANULE_BYTES = 64;

/** Shared memory with a fixed budget. One thread lends it; other threads only use what is lent. */
export class Slab {
  /** Says what the slab is for, in messages and statistics. */
  readonly name: string;
  readonly memory: SharedArrayBuffer;
  /** Free ranges by ascending offset, never adjacent. */
  readonly #free: { offset: number; length: number }[];
  /** Waiters want a length in whole granules, and are granted the offset of a free range. */
  readonly #waiters = new Waiters((lengthBytes: number) => this.#take(lengthBytes));
  #freeBytes: number;
  #closed = false;

  /**
   * Allocates the memory. Throws EINVAL when the budget is out of range or the system does not give so much.
   *
   * @param budgetBytes rounded up to a multiple of 64; below 4 GiB, because offsets travel as u32.
   */
  constructor(name: string, budgetBytes: number) {
    requireArgument(
      Number.isSafeInteger(budgetBytes) && budgetBytes > 0 && budgetBytes < 2 ** 32 - GRANULE_BYTES,
      `${name}: a budget must be from 1 byte to 4 GiB, not ${budgetBytes}`,
    );
    this.name = name;
    this.memory = allocate(name, roundUp(budgetBytes, GRANULE_BYTES));
    this.#free = [{ offset: 0, length: this.memory.byteLength }];
    this.#freeBytes = this.memory.byteLength;
  }

  get budgetBytes(): number {
    return this.memory.byteLength;
  }

  /** Bytes that are lent or quarantined now. */
  get usedBytes(): number {
    return this.budgetBytes - this.#freeBytes;
  }

  /** Callers that wait now. */
  get waiterCount(): number {
    return this.#waiters.count;
  }

  /**
   * Lends `lengthBytes` of the slab; waits while there is no room.
   *
   * Rejects with EINVAL when the slab could never hold so much, with ECLOSED when the slab is closed or gets
   * closed, and with the signal's reason.
   */
  async reserve(lengthBytes: number, signal?: AbortSignal): Promise<Lease> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closedError();
    requireArgument(
      Number.isSafeInteger(lengthBytes) && lengthBytes > 0 && lengthBytes <= this.budgetBytes,
      `${this.name}: cannot reserve ${lengthBytes} bytes of a budget of ${this.budgetBytes}`,
    );
    const granuleBytes = roundUp(lengthBytes, GRANULE_BYTES);
    const offset = this.#waiters.tryNow(granuleBytes) ?? (await this.#waiters.wait(granuleBytes, signal));
    return new Lease(this, offset, lengthBytes);
  }

  /**
   * Fails all waiters and all later requests with ECLOSED. Live leases stay valid until they are released.
   */
  close(): void {
    this.#closed = true;
    this.#waiters.failAll(this.#closedError());
  }

  /** Takes a range of whole granules back and serves the waiters. For {@link Lease} only. */
  giveBack(offset: number, length: number): void {
    let at = this.#free.findIndex(range => range.offset > offset);
    if (at === -1) at = this.#free.length;
    const before = this.#free[at - 1];
    const after = this.#free[at];
    const joinsBefore = before !== undefined && before.offset + before.length === offset;
    const joinsAfter = after !== undefined && offset + length === after.offset;
    if (joinsBefore && joinsAfter) {
      before.length += length + after.length;
      this.#free.splice(at, 1);
    } else if (joinsBefore) {
      before.length += length;
    } else if (joinsAfter) {
      after.offset = offset;
      after.length += length;
    } else {
      this.#free.splice(at, 0, { offset, length });
    }
    this.#freeBytes += length;
    this.#waiters.serve();
  }

  /** Takes the first free range that is long enough; undefined when there is none. */
  #take(lengthBytes: number): number | undefined {
    const at = this.#free.findIndex(range => range.length >= lengthBytes);
    const range = this.#free[at];
    if (range === undefined) return undefined;
    const { offset } = range;
    range.offset += lengthBytes;
    range.length -= lengthBytes;
    if (range.length === 0) this.#free.splice(at, 1);
    this.#freeBytes -= lengthBytes;
    return offset;
  }

  #closedError(): NetsealError {
    return new NetsealError('ECLOSED', `${this.name}: the pipeline is closed`);
  }
}

function allocate(name: string, lengthBytes: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(lengthBytes);
  } catch (cause) {
    throw new NetsealError('EINVAL', `${name}: the system does not give ${lengthBytes} bytes of memory`, {
      cause,
    });
  }
}

/** A range of bytes in a slab. */
interface Range {
  readonly offset: number;
  readonly length: number;
}

/**
 * Bytes lent from a slab. The caller that reserved them owns them until `release()` and must not touch them
 * after.
 */
export class Lease {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly #slab: Slab;
  /**
   * The ranges that are still lent, by ascending offset. They are the whole lease unless {@link keepOnly} was
   * called.
   */
  #ranges: readonly Range[];
  #holds = 0;
  #released = false;

  /** @internal Made by {@link Slab.reserve} only. */
  constructor(slab: Slab, offsetBytes: number, lengthBytes: number) {
    this.#slab = slab;
    this.offsetBytes = offsetBytes;
    this.lengthBytes = lengthBytes;
    this.#ranges = [{ offset: offsetBytes, length: roundUp(lengthBytes, GRANULE_BYTES) }];
  }

  /** The lent memory, which the workers share. Throws ECLOSED after release. */
  get bytes(): Uint8Array<SharedArrayBuffer> {
    this.#requireLent();
    return new Uint8Array(this.#slab.memory, this.offsetBytes, this.lengthBytes);
  }

  /** @internal True when the lease is from this slab and has not been released. */
  isOf(slab: Slab): boolean {
    return this.#slab === slab && !this.#released;
  }

  /**
   * Keeps the memory from being lent again while a worker or an I/O operation uses it. While one hold lasts,
   * more holds can begin, even after the owner has released the lease. Throws ECLOSED when the memory is back
   * in the slab.
   *
   * @returns a function that ends this hold and no other. Call it when the operation has truly ended. Calling
   *   it again does nothing.
   */
  hold(): () => void {
    if (this.#holds === 0) this.#requireLent();
    this.#holds += 1;
    let hasEnded = false;
    return () => {
      if (hasEnded) return;
      hasEnded = true;
      this.#holds -= 1;
      this.#freeIfDone();
    };
  }

  /**
   * Gives back all granules that `used` does not touch; they are no longer the owner's. The lease must not be
   * held.
   *
   * @internal For outputs of the pipeline only.
   * @param used ranges of this lease in slab offsets: ascending, not overlapping.
   */
  keepOnly(used: readonly Range[]): void {
    this.#requireLent();
    if (this.#holds > 0) throw new NetsealError('EBUG', 'a held lease was trimmed');
    const kept: { offset: number; length: number }[] = [];
    for (const { offset, length } of used) {
      if (length === 0) continue;
      const from = offset - (offset % GRANULE_BYTES);
      const to = roundUp(offset + length, GRANULE_BYTES);
      const last = kept.at(-1);
      if (last !== undefined && from <= last.offset + last.length) last.length = to - last.offset;
      else kept.push({ offset: from, length: to - from });
    }
    const before = this.#ranges;
    this.#ranges = kept;
    for (const range of without(before, kept)) this.#slab.giveBack(range.offset, range.length);
  }

  /**
   * Gives the memory back to the slab, or leaves it quarantined until every hold has ended. Again does
   * nothing.
   */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#freeIfDone();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #requireLent(): void {
    if (this.#released) throw new NetsealError('ECLOSED', 'the lease was released');
  }

  #freeIfDone(): void {
    if (!this.#released || this.#holds > 0) return;
    const ranges = this.#ranges;
    this.#ranges = [];
    for (const { offset, length } of ranges) this.#slab.giveBack(offset, length);
  }
}

/**
 * Returns the parts of `ranges` that `kept` does not cover. Each kept range lies inside one of `ranges`;
 * ascending.
 */
function without(ranges: readonly Range[], kept: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  for (const { offset, length } of ranges) {
    let at = offset;
    for (const inside of kept) {
      if (inside.offset < offset || inside.offset >= offset + length) continue;
      if (inside.offset > at) gaps.push({ offset: at, length: inside.offset - at });
      at = inside.offset + inside.length;
    }
    if (at < offset + length) gaps.push({ offset: at, length: offset + length - at });
  }
  return gaps;
}
