/**
 * Times contenders against each other. They take turns within one contest, and medians are compared, so that
 * noise on the machine hits all of them alike.
 */

/** Does its work once in each round. */
export interface Contender {
  readonly name: string;
  run(): Promise<void>;
  /** Is called before each run. Its time is not counted. */
  prepare?(): Promise<void>;
}

export interface ContestResult {
  /** The median seconds of each contender, by name. */
  readonly seconds: ReadonlyMap<string, number>;
  /** Returns how many times as fast `left` was as `right`: the median of their ratios within each round. */
  ratio(left: string, right: string): number;
}

/**
 * Runs every contender once to warm up, then in `rounds` rounds. Every other round has the reverse order. A single
 * round checks results and measures nothing, so it needs no warm-up.
 */
export async function contest(contenders: readonly Contender[], rounds: number): Promise<ContestResult> {
  for (const contender of rounds > 1 ? contenders : []) {
    await contender.prepare?.();
    await contender.run();
  }
  const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < rounds; round += 1) {
    const order = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const contender of order) {
      await contender.prepare?.();
      const startedMs = performance.now();
      await contender.run();
      times.get(contender.name)?.push((performance.now() - startedMs) / 1000);
    }
  }
  const timesOf = (name: string): number[] => {
    const found = times.get(name);
    if (found === undefined) throw new Error(`no contender ${name}`);
    return found;
  };
  return {
    seconds: new Map([...times].map(([name, list]) => [name, median(list)])),
    ratio: (left, right) => {
      const rights = timesOf(right);
      return median(timesOf(left).map((seconds, round) => rights[round]! / seconds));
    },
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Returns megabytes per second. */
export function megabytesPerSecond(bytes: number, seconds: number): number {
  return bytes / 1e6 / seconds;
}
