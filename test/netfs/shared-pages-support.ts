/** Page caches in shared memory of a given size. */
import { SharedPages, type SharedPagesSettings } from '../../src/netfs/pages/shared-pages.ts';

/** What a frame takes of the budget, with its share of the tables. */
const FRAME_COST_BYTES = 65_536 + 16 * 34 * 4 + 76;

/** Returns a cache with exactly so many frames of 64 KiB. */
export function sharedPages(frames: number, settings: SharedPagesSettings = { slots: 8 }): SharedPages {
  const slotBytes = 64 * (settings.slots ?? 4096);
  const pages = new SharedPages(frames * FRAME_COST_BYTES + slotBytes + 160, settings);
  if (pages.use.budgetBytes !== frames * 65_536) throw new Error(`not ${frames} frames`);
  return pages;
}
