/**
 * The policies that the cache is compared with. They are exact, count units and keep no bytes; zones and
 * footers do not exist for them.
 */

export interface Policy {
  /** Accesses a unit. Returns true when it was there; afterwards it is. */
  access(unit: number): boolean;
}

export type PolicyName = 'FIFO' | 'LRU' | 'S3-FIFO';

export const POLICIES: Readonly<Record<PolicyName, (unitCount: number) => Policy>> = {
  FIFO: unitCount => new Fifo(unitCount),
  LRU: unitCount => new Lru(unitCount),
  'S3-FIFO': unitCount => new S3Fifo(unitCount),
};

class Fifo implements Policy {
  readonly #unitCount: number;
  /** In the order of insertion, which sets and maps of JavaScript keep. */
  readonly #kept = new Set<number>();

  constructor(unitCount: number) {
    this.#unitCount = unitCount;
  }

  access(unit: number): boolean {
    if (this.#kept.has(unit)) return true;
    if (this.#kept.size >= this.#unitCount) this.#kept.delete(oldest(this.#kept));
    this.#kept.add(unit);
    return false;
  }
}

class Lru implements Policy {
  readonly #unitCount: number;
  readonly #kept = new Set<number>();

  constructor(unitCount: number) {
    this.#unitCount = unitCount;
  }

  access(unit: number): boolean {
    const isHit = this.#kept.delete(unit);
    if (this.#kept.size >= this.#unitCount) this.#kept.delete(oldest(this.#kept));
    this.#kept.add(unit);
    return isHit;
  }
}

const SMALL_PART = 0.1;
/** So many accesses after the first move a unit from the small queue to the main one. */
const PROMOTED_AT = 2;
const FREQUENCY_MAX = 3;

/**
 * S3-FIFO as published: Yang, Zhang, Qiu, Yue, Vinayak: FIFO queues are all you need for cache eviction, SOSP
 * 2023, algorithm 1, with the parameters of its evaluation. Where the text leaves something open, it follows
 * the authors' code (libCacheSim, S3FIFOv0.c):
 *
 *   - The small queue may take all room until the main queue has filled.
 *   - The count of a promoted unit starts again at zero.
 *   - A ghost that was found is removed.
 */
class S3Fifo implements Policy {
  readonly #unitCount: number;
  readonly #mainCount: number;
  /** Accesses of each unit since it entered its queue, in the order of insertion. */
  readonly #small = new Map<number, number>();
  readonly #main = new Map<number, number>();
  readonly #ghosts = new Set<number>();

  constructor(unitCount: number) {
    this.#unitCount = unitCount;
    this.#mainCount = unitCount - Math.floor(unitCount * SMALL_PART);
  }

  access(unit: number): boolean {
    for (const queue of [this.#small, this.#main]) {
      const frequency = queue.get(unit);
      if (frequency === undefined) continue;
      queue.set(unit, Math.min(frequency + 1, FREQUENCY_MAX));
      return true;
    }
    const queue = this.#ghosts.delete(unit) ? this.#main : this.#small;
    while (this.#small.size + this.#main.size >= this.#unitCount) this.#evict();
    queue.set(unit, 0);
    return false;
  }

  #evict(): void {
    if (this.#main.size > this.#mainCount || this.#small.size === 0) this.#evictFromMain();
    else this.#evictFromSmall();
  }

  #evictFromSmall(): void {
    for (const [unit, frequency] of this.#small) {
      this.#small.delete(unit);
      if (frequency < PROMOTED_AT) {
        this.#addGhost(unit);
        return;
      }
      this.#main.set(unit, 0);
    }
  }

  #evictFromMain(): void {
    // This same loop reaches the units that it puts back.
    for (const [unit, frequency] of this.#main) {
      this.#main.delete(unit);
      if (frequency === 0) return;
      this.#main.set(unit, frequency - 1);
    }
  }

  #addGhost(unit: number): void {
    if (this.#ghosts.size >= this.#mainCount) this.#ghosts.delete(oldest(this.#ghosts));
    this.#ghosts.add(unit);
  }
}

function oldest(units: ReadonlySet<number>): number {
  for (const unit of units) return unit;
  throw new RangeError('there is none');
}
