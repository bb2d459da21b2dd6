/** Access traces: the numbers of the units in the order of access. The same seed makes the same trace. */
import { seededChance } from '../../src/base/chance.ts';

export interface Trace {
  readonly name: TraceName;
  /** One sentence. */
  readonly about: string;
  /** The number of units that cache sizes are parts of: those asked for again, or one round of all. */
  readonly workingSet: number;
  readonly accesses: readonly number[];
}

export type TraceName = 'Zipf mix' | 'scan over a hot set' | 'loop';

/** Units with numbers from here on are asked for once. */
const ONCE_FROM = 100_000_000;
const ONCE_PART = 0.2;
const ROUNDS = 6;

/** Makes the three traces over a working set of so many units, with six times as many accesses. */
export function tracesOf(workingSet: number): Trace[] {
  return [zipfMix(workingSet), scanOverHotSet(workingSet), loop(workingSet)];
}

/** Popular units; a fifth of the accesses goes to units that are never asked for again. */
function zipfMix(workingSet: number): Trace {
  const popular = zipf(workingSet, 0.9, 1);
  const chance = seededChance(2);
  let once = ONCE_FROM;
  const accesses = Array.from({ length: ROUNDS * workingSet }, () => {
    if (chance() >= ONCE_PART) return popular();
    once += 1;
    return once;
  });
  const about =
    'Zipf-distributed (0.9) over the working set; a fifth of accesses to units never asked for again';
  return { name: 'Zipf mix', about, workingSet, accesses };
}

/** A hot set, and now and then a scan of four times as many units, none of which comes back. */
function scanOverHotSet(workingSet: number): Trace {
  const hotCount = Math.floor(workingSet / 5);
  const hot = zipf(hotCount, 0.6, 3);
  const accesses: number[] = [];
  let once = ONCE_FROM;
  while (accesses.length < ROUNDS * workingSet) {
    for (let at = 0; at < 8 * hotCount; at += 1) accesses.push(hot());
    for (let at = 0; at < 4 * hotCount; at += 1) accesses.push(once + at);
    once += 4 * hotCount;
  }
  accesses.length = ROUNDS * workingSet;
  const about = 'a hot set (a fifth of the working set, Zipf 0.6), flooded by scans of the other four fifths';
  return { name: 'scan over a hot set', about, workingSet, accesses };
}

function loop(workingSet: number): Trace {
  const accesses = Array.from({ length: ROUNDS * workingSet }, (_, at) => at % workingSet);
  return { name: 'loop', about: 'the working set from end to end, again and again', workingSet, accesses };
}

/** Zipf-distributed numbers below `count`. */
function zipf(count: number, exponent: number, seed: number): () => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let at = 0; at < count; at += 1) {
    sum += 1 / (at + 1) ** exponent;
    sums[at] = sum;
  }
  const chance = seededChance(seed);
  return () => {
    const target = chance() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
