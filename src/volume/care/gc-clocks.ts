/**
 * The two clocks that a pass of gc counts on: the store's and this machine's. They must agree, because a pass
 * with a wrong clock would leave wrong times in the store. A time in the store that lies in the future was
 * written by an earlier pass, or a session, under a clock that was ahead. See "Wrong clocks" in `docs/GC.md`.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Session } from '../session/session.ts';

/** The clocks may differ by so much. A time that is later than both by more than this is of a wrong clock. */
export const CLOCKS_APART_MS_MAX: number = 60 * 60 * 1000;

/** Both clocks at one moment, in whole ms since 1970. */
export interface Clocks {
  readonly earlierMs: number;
  readonly laterMs: number;
  /** By how much the store's clock is ahead of this machine's; negative when it is behind. */
  readonly storeAheadMs: number;
}

/** Reads both clocks. Errors: the store's. */
export async function readClocks(
  { sealing, nowMs }: Pick<Session, 'sealing' | 'nowMs'>,
  signal?: AbortSignal,
): Promise<Clocks> {
  const storeMs = Math.trunc(await sealing.store.now({ signal }));
  const machineMs = Math.trunc(nowMs());
  return {
    earlierMs: Math.min(storeMs, machineMs),
    laterMs: Math.max(storeMs, machineMs),
    storeAheadMs: storeMs - machineMs,
  };
}

/** EUNAVAILABLE when the clocks differ by more than {@link CLOCKS_APART_MS_MAX}. */
export function requireClocksAgree({ storeAheadMs }: Clocks): void {
  if (Math.abs(storeAheadMs) <= CLOCKS_APART_MS_MAX) return;
  const hours = Math.round(Math.abs(storeAheadMs) / 3_600_000);
  const which = storeAheadMs > 0 ? 'behind' : 'ahead of';
  throw new NetsealError(
    'EUNAVAILABLE',
    `this machine's clock is ${hours} h ${which} the store's, and gc counts on both: nothing was deleted; set the clock that is wrong, and run gc again`,
  );
}

/** True for a time so far in the future that the clock which gave it must have been ahead. */
export function isAhead({ laterMs }: Pick<Clocks, 'laterMs'>, timeMs: number): boolean {
  return timeMs > laterMs + CLOCKS_APART_MS_MAX;
}
