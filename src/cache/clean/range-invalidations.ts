/**
 * Remembers ranges of units that were invalidated while other units were on their way, so that a unit that came before
 * is not found afterwards. A range is forgotten when no unit that came before it is on its way any more.
 */
import type { Prefix } from '../index/fingerprints.ts';
import type { ObjectState } from '../objects/objects.ts';

/** A moment, as invalidations see it. */
export interface Since {
  readonly prefix: Prefix;
  readonly stamp: number;
}

interface Range {
  readonly key: string;
  readonly from: number;
  readonly to: number;
  readonly stamp: number;
}

export class RangeInvalidations {
  #ranges: Range[] = [];
  #stamp = 0;
  /** How much is on its way since each stamp, oldest first. */
  readonly #onTheWay = new Map<number, number>();

  /** Now. */
  get stamp(): number {
    return this.#stamp;
  }

  /** Call it when a unit comes that is stored later, and {@link forget} when it is. */
  remember({ prefix }: ObjectState): Since {
    return { prefix, stamp: this.arrive() };
  }

  forget({ stamp }: Since): void {
    this.leave(stamp);
  }

  /** Something is on its way, until {@link leave} is called with what this returns. */
  arrive(): number {
    this.#onTheWay.set(this.#stamp, (this.#onTheWay.get(this.#stamp) ?? 0) + 1);
    return this.#stamp;
  }

  leave(stamp: number): void {
    const left = (this.#onTheWay.get(stamp) ?? 0) - 1;
    if (left > 0) {
      this.#onTheWay.set(stamp, left);
      return;
    }
    this.#onTheWay.delete(stamp);
    const [oldest = Number.POSITIVE_INFINITY] = this.#onTheWay.keys();
    const kept = this.#ranges.findIndex(range => range.stamp > oldest);
    this.#ranges = kept < 0 ? [] : this.#ranges.slice(kept);
  }

  /** These units of an object are invalidated. @param key as {@link ObjectState.key}. */
  add(key: string, from: number, to: number): void {
    this.#stamp += 1;
    if (this.#onTheWay.size > 0) this.#ranges.push({ key, from, to, stamp: this.#stamp });
  }

  /** Whether a unit was invalidated after `stamp`. */
  covers(key: string, index: number, stamp: number): boolean {
    return this.#ranges.some(
      range => range.stamp > stamp && range.key === key && index >= range.from && index < range.to,
    );
  }
}
