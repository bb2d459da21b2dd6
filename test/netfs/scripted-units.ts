/** A cache of sealed units in memory, whose calls a test delays and fails. */
import { toByteString } from '../../src/base/bytes.ts';
import type { SealedUnits } from '../../src/netfs/unit-cache.ts';
import { recordTag } from '../../src/unit/record-format.ts';

export interface UnitsCall {
  readonly operation: 'has' | 'get' | 'put';
  /** From 1: counts the calls of this operation. */
  readonly number: number;
}

/** What becomes of a call. `before` and `after` are about `get` and `put` alone: `has` answers at once. */
export interface UnitsFate {
  /** The call begins when this has settled. */
  readonly before?: Promise<unknown>;
  readonly error?: Error;
}

export class ScriptedUnits implements SealedUnits {
  script: (call: UnitsCall) => UnitsFate | undefined = () => undefined;
  readonly units: Map<string, Uint8Array> = new Map();
  /** Indexes of the units that were put, in the order in which they were stored. */
  readonly stored: number[] = [];
  /** What was done to bytes that were being put. */
  readonly violations: string[] = [];
  readonly #counts = new Map<string, number>();

  count(operation: UnitsCall['operation']): number {
    return this.#counts.get(operation) ?? 0;
  }

  has({ objectId, index, expectedTag }: Parameters<SealedUnits['has']>[0]): boolean {
    const { error } = this.#fateOf('has');
    if (error !== undefined) throw error;
    const found = this.units.get(placeOf(objectId, index));
    if (found === undefined) return false;
    return expectedTag === undefined || toByteString(recordTag(found)) === toByteString(expectedTag);
  }

  async get(units: Parameters<SealedUnits['get']>[0]): Promise<number[]> {
    const { before, error } = this.#fateOf('get');
    await before;
    if (error !== undefined) throw error;
    return units.map(({ objectId, index, expectedTag, into }) => {
      const found = this.units.get(placeOf(objectId, index));
      if (found === undefined || toByteString(recordTag(found)) !== toByteString(expectedTag)) return 0;
      into.set(found);
      return found.byteLength;
    });
  }

  async put(
    units: Parameters<SealedUnits['put']>[0],
    { signal }: Parameters<SealedUnits['put']>[1] = {},
  ): Promise<number> {
    const { before, error } = this.#fateOf('put');
    const given = units.map(({ bytes }) => bytes.slice());
    const aborted = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => aborted.resolve());
    await Promise.race([before ?? Promise.resolve(), aborted.promise]);
    for (const [at, { index, bytes }] of units.entries())
      if (Buffer.compare(bytes, given[at] ?? bytes) !== 0) this.violations.push(`unit ${index} has changed`);
    signal?.throwIfAborted();
    if (error !== undefined) throw error;
    // Only now: whoever gives the memory back too early has other bytes stored.
    for (const { objectId, index, bytes } of units) {
      this.units.set(placeOf(objectId, index), bytes.slice());
      this.stored.push(index);
    }
    return units.length;
  }

  drop({ objectId, index, expectedTag }: Parameters<SealedUnits['drop']>[0]): void {
    const found = this.units.get(placeOf(objectId, index));
    if (found !== undefined && toByteString(recordTag(found)) === toByteString(expectedTag))
      this.units.delete(placeOf(objectId, index));
  }

  #fateOf(operation: UnitsCall['operation']): UnitsFate {
    const number = this.count(operation) + 1;
    this.#counts.set(operation, number);
    return this.script({ operation, number }) ?? {};
  }
}

function placeOf(objectId: Uint8Array, index: number): string {
  return `${index}/${toByteString(objectId)}`;
}
