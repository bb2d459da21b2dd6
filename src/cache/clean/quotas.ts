/**
 * What a volume does that has its share: a quarter of it, the oldest, is taken from the index, so that it does not stay with what
 * came first. What was hit there stays, with one hit less. Nothing is read, written or moved: the bytes lie where they are until
 * their regions are given up. Works in turns, over the whole table.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { Counters } from '../base/statistics.ts';
import { BUCKET_WORDS, type IndexTable, type VolumeEntry, volumeEntries } from '../index/index-table.ts';
import type { VolumeState } from '../objects/objects.ts';
import type { Region, Regions } from '../zones/zones.ts';
import type { Places } from './unit-index.ts';

const PART = 0.25;
/** Looked at without a turn for others: about a millisecond. */
const WORDS_PER_TURN: number = 2048 * BUCKET_WORDS;

export class Shares {
  readonly #places: Places;
  readonly #regions: Regions;
  readonly #counters: Counters;
  readonly #trimming = new Set<VolumeState>();

  constructor(places: Places, regions: Regions, counters: Counters) {
    this.#places = places;
    this.#regions = regions;
    this.#counters = counters;
  }

  /** Makes room in a volume's share, unless that is being done. */
  async trim(volume: VolumeState): Promise<void> {
    if (this.#trimming.has(volume)) return;
    this.#trimming.add(volume);
    try {
      const { number } = volume;
      const bytesOf = new Float64Array(0x1_0000);
      await this.#each(number, ({ regionId, lengthBytes }) => {
        const slot = regionId & 0xffff;
        bytesOf[slot] = (bytesOf[slot] ?? 0) + lengthBytes;
      });
      const oldest = this.#oldest(bytesOf, PART * volume.shareBytes);
      await this.#each(number, ({ at, regionId, hits }) => {
        if (!oldest.has(regionId)) return;
        if (hits > 0) this.#places.cool(at);
        else {
          this.#places.drop(at);
          this.#counters.evicted += 1;
        }
      });
    } finally {
      this.#trimming.delete(volume);
    }
  }

  /** Ids of the regions that are next to be given up, with so many bytes of the volume in them. */
  #oldest(bytesOf: Float64Array, bytes: number): ReadonlySet<number> {
    const rank = ({ queue }: Region): number => (queue === 'small' ? 0 : 1);
    const regions = this.#regions
      .all()
      .filter(({ queue }) => queue === 'small' || queue === 'main')
      .sort((left, right) => rank(left) - rank(right) || left.sequence - right.sequence);
    const chosen = new Set<number>();
    let left = bytes;
    for (const { id } of regions) {
      if (left <= 0) break;
      const here = bytesOf[id & 0xffff] ?? 0;
      if (here > 0) chosen.add(id);
      left -= here;
    }
    return chosen;
  }

  async #each(volumeNumber: number, action: (entry: VolumeEntry) => void): Promise<void> {
    const { table }: { table: IndexTable } = this.#places;
    for (let from = 0; from < table.words.length; from += WORDS_PER_TURN) {
      volumeEntries(table, volumeNumber, from, from + WORDS_PER_TURN, action);
      await turn();
    }
  }
}
