/**
 * What the cache is held against: policies that count units and keep nothing, every one of them exact. They know no zones, no
 * footers, and no bytes.
 */

export interface Policy {
  /** Whether the unit was there. Afterwards it is. */
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
  /** In the order in which they came, as sets and maps of JavaScript are. */
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
/** Accesses after the first that take a unit from the small to the main queue. */
const PROMOTED_AT = 2;
const FREQUENCY_MAX = 3;

/**
 * S3-FIFO as published: Yang, Zhang, Qiu, Yue, Vinayak: FIFO queues are all you need for cache eviction, SOSP 2023, algorithm 1,
 * with the parameters of its evaluation. Where the text leaves something open it does what the authors' code does
 * (libCacheSim, S3FIFOv0.c): the small queue may take all of the room until the main queue has filled, what is promoted begins
 * again at zero, and whose ghost is found is a ghost no longer.
 */
class S3Fifo implements Policy {
  readonly #unitCount: number;
  readonly #mainCount: number;
  /** Accesses since it came into its queue, by unit, in the order in which they came. */
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
    // What is put back comes round again in this very loop.
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
