/**
 * Writers of one file: who may write where, and who waits for whom.
 *
 *   pending ──▶ reserved ──▶ active ──▶ ended
 *      │          │  └◀─ unbegun ─┘
 *      └─ aborted ◀
 *
 * A writer that is active and has written nothing becomes reserved again when its group is closed: the commit
 * need not wait for it. Often it is active in the next group at once.
 *
 * Invariants
 *   1. Active and reserved writers have no byte in common. Nobody overtakes an earlier one who wants the same
 *      bytes.
 *   2. An active writer's group is the one that was open when it became active, or what that one was folded
 *      into. No unit of the writer is dirty in another group, and no active writer of another group is in its
 *      units. So a writer waits for the bounce copy of a unit that is dirty in a closed group, but not for
 *      its upload.
 *   3. Nobody becomes reserved in a unit for which an earlier writer waits reserved. So no writer waits for
 *      ever.
 *   4. Whoever waits is waiting for something: a pending writer for an earlier one, a reserved one for a copy
 *      or for a writer of a closed group.
 */
import { NetsealError } from '../../base/errors.ts';
import type { DirtyUnits } from './dirty-units.ts';
import { type Groups, hasNotBegun, tellIfPlaced } from './groups.ts';
import type { DirtyRegion, Group, Writer, WriterType } from './region.ts';
import { WriterIndex } from './writer-index.ts';

export class Writers {
  readonly #unitSizeBytes: number;
  readonly #units: DirtyUnits;
  readonly #groups: Groups;
  readonly #index = new WriterIndex();
  /** Regions that reserved writers wait for. Some may be clean by now, or of the open group. */
  readonly #awaited = new Set<DirtyRegion>();
  #nextId = 1;

  constructor(unitSizeBytes: number, units: DirtyUnits, groups: Groups) {
    this.#unitSizeBytes = unitSizeBytes;
    this.#units = units;
    this.#groups = groups;
  }

  get count(): number {
    return this.#index.count;
  }

  get all(): Iterable<Writer> {
    return this.#index;
  }

  /** Dirty regions of closed groups that a writer waits for. */
  get awaited(): Iterable<DirtyRegion> {
    for (const region of this.#awaited) if (!this.#isInTheWay(region)) this.#awaited.delete(region);
    return this.#awaited;
  }

  /** Adds a writer, which is active at once if nothing is in its way. */
  reserve(type: WriterType, fromBytes: number, toBytes: number): Writer {
    const writer: Writer = {
      id: this.#nextId,
      type,
      fromBytes,
      toBytes,
      fromUnit: Math.floor(fromBytes / this.#unitSizeBytes),
      toUnit: Math.ceil(toBytes / this.#unitSizeBytes),
      state: 'pending',
      dirtyToBytes: fromBytes,
      group: undefined,
      wake: undefined,
    };
    this.#nextId += 1;
    this.#index.add(writer);
    this.#advance([writer]);
    return writer;
  }

  /** See `Regions.whenActive`. */
  whenActive(
    writer: Writer,
    signal: AbortSignal | undefined,
    abort: (error: unknown) => void,
  ): Promise<void> {
    if (writer.state === 'active') return Promise.resolve();
    if (!isWaiting(writer)) throw new NetsealError('EBUG', `an ${writer.state} writer never becomes active`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      if (isWaiting(writer)) abort(signal?.reason);
    };
    writer.wake = error => {
      signal?.removeEventListener('abort', onAbort);
      if (writer.state === 'active') resolve();
      else reject(error);
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** Ends a writer that waits. */
  abort(writer: Writer, error: unknown): void {
    if (!isWaiting(writer)) throw new NetsealError('EBUG', `an ${writer.state} writer cannot be aborted`);
    writer.state = 'aborted';
    this.#index.remove(writer);
    this.advanceIn(writer.fromUnit, writer.toUnit);
    writer.wake?.(error);
  }

  /** Ends an active writer. */
  end(writer: Writer): void {
    const group = requireActive(writer);
    writer.state = 'ended';
    this.#index.remove(writer);
    group.writers.delete(writer);
    this.advanceIn(writer.fromUnit, writer.toUnit);
    tellIfPlaced(group);
  }

  /** Takes active writers that have written nothing out of a group that was closed. */
  takeUnbegun(group: Group): void {
    const unbegun = [...group.writers].filter(hasNotBegun).sort((a, b) => a.id - b.id);
    for (const writer of unbegun) {
      writer.state = 'reserved';
      writer.group = undefined;
      group.writers.delete(writer);
    }
    this.#advance(unbegun);
  }

  /** True when nobody waits or writes in these units, and none of them is dirty in a closed group. */
  isFree(fromUnit: number, toUnit: number): boolean {
    if (!this.#index.isFree(fromUnit, toUnit)) return false;
    if (this.#groups.isOnlyOpen) return true;
    for (let unit = fromUnit; unit < toUnit; unit += 1) {
      const region = this.#units.get(unit);
      if (region !== undefined && this.#isInTheWay(region)) return false;
    }
    return true;
  }

  /** True when an active writer may still write to the unit. */
  isBusy(unit: number): boolean {
    return this.#index.isBusy(unit, this.#unitSizeBytes);
  }

  /** Lets waiting writers of these units go on, if nothing is in their way any more. */
  advanceIn(fromUnit: number, toUnit: number): void {
    if (this.#index.count === 0) return;
    this.#advance(this.#index.sharing(fromUnit, toUnit));
  }

  /** Throws EBUG when an invariant does not hold. */
  assertInvariants(): void {
    for (const writer of this.#index) {
      if (writer.state === 'active') this.#assertActive(writer);
      else if (!isWaiting(writer)) fail(4, writer);
      else if (writer.state === 'pending' ? this.#mayReserve(writer) : this.#mayActivate(writer)) {
        fail(4, writer);
      }
    }
  }

  #advance(writers: Iterable<Writer>): void {
    const queue = [...writers];
    for (let at = 0; at < queue.length; at += 1) {
      const writer = queue[at];
      if (writer === undefined || !isWaiting(writer)) continue;
      const hasWaitedReserved = writer.state === 'reserved';
      if (writer.state === 'pending' && this.#mayReserve(writer)) writer.state = 'reserved';
      if (writer.state !== 'reserved' || !this.#mayActivate(writer)) continue;
      writer.state = 'active';
      writer.group = this.#groups.open;
      writer.group.writers.add(writer);
      writer.wake?.();
      writer.wake = undefined;
      // Other writers may have waited only because this one did.
      if (hasWaitedReserved) queue.push(...this.#index.sharing(writer.fromUnit, writer.toUnit));
    }
  }

  #mayReserve(writer: Writer): boolean {
    for (const other of this.#index.sharing(writer.fromUnit, writer.toUnit)) {
      if (other.id >= writer.id) break;
      if (overlap(other, writer) || other.state === 'reserved') return false;
    }
    return true;
  }

  /** Returns whether the writer may become active. If not, notes the regions that it waits for. */
  #mayActivate(writer: Writer): boolean {
    if (this.#groups.isOnlyOpen) return true;
    let mayActivate = true;
    for (const region of this.#regionsInTheWay(writer)) {
      this.#awaited.add(region);
      mayActivate = false;
    }
    if (!mayActivate) return false;
    const { open } = this.#groups;
    return !this.#index
      .sharing(writer.fromUnit, writer.toUnit)
      .some(({ state, group }) => state === 'active' && group !== open);
  }

  *#regionsInTheWay({ fromUnit, toUnit }: Writer): Generator<DirtyRegion, void, undefined> {
    if (toUnit === Number.POSITIVE_INFINITY) {
      for (const { dirty, state } of this.#groups.all) {
        if (state === 'open') continue;
        for (const region of dirty) if (region.unit >= fromUnit) yield region;
      }
      return;
    }
    for (let unit = fromUnit; unit < toUnit; unit += 1) {
      const region = this.#units.get(unit);
      if (region !== undefined && this.#isInTheWay(region)) yield region;
    }
  }

  #isInTheWay(region: DirtyRegion): boolean {
    return region.group.state === 'closed' && region.group.dirty.has(region);
  }

  #assertActive(writer: Writer): void {
    for (const other of this.#index.sharing(writer.fromUnit, writer.toUnit)) {
      if (other === writer || other.state === 'pending') continue;
      if (overlap(writer, other)) fail(1, writer);
      if (other.state === 'active' && other.group !== writer.group) fail(2, writer);
    }
    for (const group of this.#groups.all) {
      if (group === writer.group) continue;
      for (const { unit } of group.dirty) {
        if (unit >= writer.fromUnit && unit < writer.toUnit) fail(2, writer);
      }
    }
  }
}

/** Returns the group of an active writer. EBUG when it is not active. */
export function requireActive({ state, group, id }: Writer): Group {
  if (state !== 'active' || group === undefined) throw new NetsealError('EBUG', `writer ${id} is ${state}`);
  return group;
}

function isWaiting({ state }: Writer): boolean {
  return state === 'pending' || state === 'reserved';
}

/** True when the ranges asked for have a byte in common. */
function overlap(a: Writer, b: Writer): boolean {
  return a.fromBytes < b.toBytes && b.fromBytes < a.toBytes;
}

function fail(invariant: number, { id, state }: Writer): never {
  throw new NetsealError('EBUG', `writers, invariant ${invariant}: writer ${id} is ${state}`);
}
