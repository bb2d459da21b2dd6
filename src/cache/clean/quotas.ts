/**
 * Makes room for a volume that has used up its share. A quarter of the share, the oldest units, leaves the index;
 * units that were hit stay, with one hit less. So a volume does not stay with the units that came first.
 *
 * Nothing is read, written or moved: the bytes stay where they are until their zones are given up. Works through the
 * whole table, in turns.
 */
import { giveTurn } from '../../base/turns.ts';
import type { Counters } from '../base/statistics.ts';
import { BUCKET_WORDS, type IndexTable, type VolumeEntry, volumeEntries } from '../index/index-table.ts';
import type { VolumeState } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import type { UnitIndex } from './unit-index.ts';

const PART = 0.25;
/** Looked at without a turn for others: about a millisecond. */
const WORDS_PER_TURN: number = 2048 * BUCKET_WORDS;

export class Quotas {
  readonly #unitIndex: UnitIndex;
  readonly #zones: Zones;
  readonly #counters: Counters;
  readonly #trimming = new Set<VolumeState>();

  constructor({ counters }: CacheContext, zones: Zones, unitIndex: UnitIndex) {
    this.#unitIndex = unitIndex;
    this.#zones = zones;
    this.#counters = counters;
  }

  /** Makes room in a volume's share, unless that is being done. */
  async trim(volume: VolumeState): Promise<void> {
    if (this.#trimming.has(volume)) return;
    this.#trimming.add(volume);
    try {
      const { number } = volume;
      const bytesOf = new Float64Array(0x1_0000);
      await this.#each(number, ({ zoneId, lengthBytes }) => {
        const slot = zoneId & 0xffff;
        bytesOf[slot] = (bytesOf[slot] ?? 0) + lengthBytes;
      });
      const oldest = this.#oldest(bytesOf, PART * volume.shareBytes);
      await this.#each(number, ({ at, zoneId, hits }) => {
        if (!oldest.has(zoneId)) return;
        if (hits > 0) this.#unitIndex.cool(at);
        else {
          this.#unitIndex.drop(at);
          this.#counters.evicted += 1;
        }
      });
    } finally {
      this.#trimming.delete(volume);
    }
  }

  /** Ids of the zones that are next to be given up, with so many bytes of the volume in them. */
  #oldest(bytesOf: Float64Array, bytes: number): ReadonlySet<number> {
    const rank = ({ queue }: Zone): number => (queue === 'small' ? 0 : 1);
    const zones = this.#zones
      .all()
      .filter(({ queue }) => queue === 'small' || queue === 'main')
      .sort((left, right) => rank(left) - rank(right) || left.sequence - right.sequence);
    const chosen = new Set<number>();
    let left = bytes;
    for (const { id } of zones) {
      if (left <= 0) break;
      const here = bytesOf[id & 0xffff] ?? 0;
      if (here > 0) chosen.add(id);
      left -= here;
    }
    return chosen;
  }

  async #each(volumeNumber: number, action: (entry: VolumeEntry) => void): Promise<void> {
    const { table }: { table: IndexTable } = this.#unitIndex;
    for (let from = 0; from < table.words.length; from += WORDS_PER_TURN) {
      volumeEntries(table, volumeNumber, from, from + WORDS_PER_TURN, action);
      await giveTurn();
    }
  }
}
