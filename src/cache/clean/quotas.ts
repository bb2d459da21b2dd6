/**
 * Makes room for a volume that has used up its share, so that new units can take the place of the oldest
 * ones.
 *
 * It removes units from the index: a quarter of the share, from the zones that are given up next. Units that
 * were hit stay, with one hit less. Nothing is read, written or moved: the bytes stay on the disk until their
 * zones are given up. Works through the whole index, and gives others their turn.
 */
import { giveTurn } from '../../base/turns.ts';
import type { Counters } from '../base/statistics.ts';
import { BUCKET_WORDS, type IndexTable, type VolumeEntry, volumeEntries } from '../index/index-table.ts';
import type { VolumeState } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import type { UnitIndex } from './unit-index.ts';

/** The part of the share that is made free. */
const PART = 0.25;
/** How much of the index is looked at before others get their turn: about a millisecond. */
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

  /** Makes room in a volume's share. Returns at once when that is being done already. */
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

  /**
   * Returns the ids of the zones that are given up next and together hold at least `bytes` of the volume.
   *
   * @param bytesOf the volume's bytes in each zone, by slot.
   */
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
