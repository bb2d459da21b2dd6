/**
 * Remembers which ranges of units were invalidated while units are on their way into the index. A unit that
 * came before an invalidation must not be found after it.
 *
 * Time is counted in stamps: each invalidated range gets the next one, and a unit has the stamp of the moment
 * it came. A range is forgotten when no unit with an earlier stamp is on its way.
 *
 *   stamp   0         1              2
 *           │ unit a  │ range A      │ range B          a is covered by A and B, b by B only;
 *           │ comes   │   unit b     │                  once a has left, A is forgotten; once b has, B is
 */
import type { Prefix } from '../index/fingerprints.ts';
import type { ObjectState } from '../objects/objects.ts';

/** When a unit came, as invalidations see it: the stamp, and the prefix that its object had. */
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
  /** How many arrivals of each stamp have not left, oldest stamp first. */
  readonly #onTheWay = new Map<number, number>();

  /** The stamp of the present moment: that of the last invalidated range. */
  get stamp(): number {
    return this.#stamp;
  }

  /**
   * Returns the moment at which a unit came that is stored later. Call {@link forget} with it once it is
   * stored.
   */
  remember({ prefix }: ObjectState): Since {
    return { prefix, stamp: this.arrive() };
  }

  forget({ stamp }: Since): void {
    this.leave(stamp);
  }

  /** Counts something as on its way, until {@link leave} is called with the stamp that this returns. */
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

  /**
   * Notes that units of an object from `from` to before `to` are invalidated.
   *
   * @param key its {@link ObjectState.key}.
   */
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
