/**
 * The writers of one file that wait or write now, found by unit.
 *
 * Units are keys of a map, and few writers share one: so adding and finding do not depend on how many there
 * are. Truncates reach to infinity and are kept apart; they are rare.
 */
import type { Writer } from './region.ts';

export class WriterIndex {
  readonly #byUnit = new Map<number, Writer[]>();
  readonly #openEnded: Writer[] = [];
  readonly #all = new Set<Writer>();

  get count(): number {
    return this.#all.size;
  }

  /** All writers, in the order of arrival. */
  [Symbol.iterator](): IterableIterator<Writer> {
    return this.#all.values();
  }

  add(writer: Writer): void {
    this.#all.add(writer);
    if (writer.toUnit === Number.POSITIVE_INFINITY) {
      this.#openEnded.push(writer);
      return;
    }
    for (let unit = writer.fromUnit; unit < writer.toUnit; unit += 1) {
      const sharing = this.#byUnit.get(unit);
      if (sharing === undefined) this.#byUnit.set(unit, [writer]);
      else sharing.push(writer);
    }
  }

  remove(writer: Writer): void {
    this.#all.delete(writer);
    if (writer.toUnit === Number.POSITIVE_INFINITY) {
      this.#openEnded.splice(this.#openEnded.indexOf(writer), 1);
      return;
    }
    for (let unit = writer.fromUnit; unit < writer.toUnit; unit += 1) {
      const sharing = this.#byUnit.get(unit);
      if (sharing === undefined) continue;
      if (sharing.length === 1) this.#byUnit.delete(unit);
      else sharing.splice(sharing.indexOf(writer), 1);
    }
  }

  /** Returns the writers whose units are among [fromUnit, toUnit), in the order of arrival. */
  sharing(fromUnit: number, toUnit: number): Writer[] {
    if (toUnit === Number.POSITIVE_INFINITY) {
      return [...this.#all].filter(writer => writer.toUnit > fromUnit);
    }
    const found = new Set<Writer>();
    for (let unit = fromUnit; unit < toUnit; unit += 1) {
      for (const writer of this.#byUnit.get(unit) ?? []) found.add(writer);
    }
    for (const writer of this.#openEnded) if (writer.fromUnit < toUnit) found.add(writer);
    return [...found].sort((a, b) => a.id - b.id);
  }

  /** True when no writer's units are among [fromUnit, toUnit). */
  isFree(fromUnit: number, toUnit: number): boolean {
    if (this.#all.size === 0) return true;
    for (let unit = fromUnit; unit < toUnit; unit += 1) if (this.#byUnit.has(unit)) return false;
    return !this.#openEnded.some(writer => writer.fromUnit < toUnit);
  }

  /**
   * True when an active writer has not yet come past the unit's end: more bytes of the unit may come at any
   * time.
   */
  isBusy(unit: number, unitSizeBytes: number): boolean {
    if (this.#all.size === 0) return false;
    const endBytes = (unit + 1) * unitSizeBytes;
    const isBusy = (writer: Writer): boolean =>
      writer.state === 'active' && writer.fromUnit <= unit && writer.dirtyToBytes < endBytes;
    return (this.#byUnit.get(unit) ?? []).some(isBusy) || this.#openEnded.some(isBusy);
  }
}
