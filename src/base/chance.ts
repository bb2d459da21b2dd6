/**
 * Chance as a component, so that one seed replays a whole test. Never for keys, nonces or ids: see
 * `random.ts`.
 */

/** Returns a number from 0 (included) to 1 (excluded), as `Math.random` does. */
export type Chance = () => number;

/** Returns a stream of chances that is the same for the same seed (mulberry32: quick, not secret). */
export function seededChance(seed: number): Chance {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
