/**
 * How long random tests go on, and the seed that they begin with. A soak is a test that can always go on: random
 * operations against a model, damage, crashes. Every soak has two sizes:
 *
 * | command             | `NETSEAL_TEST_LONG` | size                                                                    |
 * | ------------------- | ------------------- | ----------------------------------------------------------------------- |
 * | `npm test`          | unset               | short: the smallest at which every assertion runs                       |
 * | `npm run test:long` | 1                   | long. Runs only the test files whose imports lead here                  |
 * | for a night         | 2, 10, ...          | the long size times this number                                         |
 *
 * `NETSEAL_SEED` replays a failure: its message names the seed.
 */

const { NETSEAL_TEST_LONG, NETSEAL_SEED } = process.env;

/** How many times the long size is wanted: 0 is the short size. */
const TIMES_LONG = Number(NETSEAL_TEST_LONG ?? 0);

/** Whether this is `npm run test:long`. */
export const IS_LONG: boolean = TIMES_LONG > 0;

/** The seed that was asked for. */
export const GIVEN_SEED: number | undefined = NETSEAL_SEED === undefined ? undefined : Number(NETSEAL_SEED);

/** The seed that was asked for, or one that differs from run to run. A test that uses it names it when it fails. */
export const SEED: number = GIVEN_SEED ?? Date.now() % 1_000_000_000;

/** Returns `short` in `npm test`, and `long` in `npm run test:long`: a number of rounds, bytes or milliseconds. */
export function soakSize(short: number, long: number): number {
  return IS_LONG ? long * TIMES_LONG : short;
}

/** How long one property or search of average weight goes on. */
export const SEARCH_MS: number = soakSize(60, 2000);
