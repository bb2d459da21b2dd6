/** Compares sealing and opening with two bare threads that do the same compression and encryption. */
import { type BareTask, BareThreads } from '../bare-threads.ts';
import { contest, megabytesPerSecond } from '../contest.ts';
import { executableCode } from '../data.ts';
import { type Feed, PipelineSide } from '../pipeline-side.ts';
import type { Measurement, Target, TargetSize } from '../target.ts';

const MIB = 1024 * 1024;

const LARGE: Feed = { unitBytes: 256 * 1024, padding: 'padme', unitsPerRequest: 8, requestsAtOnce: 4 };
// Without padding both sides compress. With padding to 4 KiB, a unit of 4 KiB is stored as it is.
const SMALL_BATCH: Feed = { unitBytes: 4096, padding: 'none', unitsPerRequest: 64, requestsAtOnce: 6 };
const SMALL_SINGLE: Feed = { ...SMALL_BATCH, unitsPerRequest: 1 };
// Without the codec's share, what is left is mostly dispatch.
const STORED_BATCH: Feed = { ...SMALL_BATCH, padding: 4096 };
const STORED_SINGLE: Feed = { ...STORED_BATCH, unitsPerRequest: 1 };

interface Sides {
  readonly ours: PipelineSide;
  readonly bare: BareThreads;
  readonly records: readonly Uint8Array[];
  readonly dataBytes: number;
}

/** Starts both sides on the same executable code and checks both round trips. */
async function withSides<Result>(
  feed: Feed,
  dataBytes: number,
  measure: (sides: Sides) => Promise<Result>,
): Promise<Result> {
  const data = executableCode(dataBytes);
  const ours = await PipelineSide.start(data);
  try {
    const bare = await BareThreads.start(data, feed.unitBytes);
    try {
      return await measure({ ours, bare, dataBytes, records: await ours.roundTrip(feed) });
    } finally {
      await bare.stop();
    }
  } finally {
    await ours.stop();
  }
}

function scale(size: TargetSize, realBytes: number): { dataBytes: number; rounds: number } {
  return size === 'real' ? { dataBytes: realBytes, rounds: 11 } : { dataBytes: MIB, rounds: 1 };
}

function rates(dataBytes: number, seconds: ReadonlyMap<string, number>): string {
  return [...seconds]
    .map(([name, value]) => `${name} ${megabytesPerSecond(dataBytes, value).toFixed(0)} MB/s`)
    .join(', ');
}

/** Makes a target of 256 KiB units: netseal against the floor, in one direction. */
function against(
  id: string,
  about: string,
  work: BareTask,
  bound: number,
  ourWork: (sides: Sides) => Promise<void>,
): Target {
  return {
    id,
    about,
    measure: size => {
      const { dataBytes, rounds } = scale(size, 96 * MIB);
      return withSides(LARGE, dataBytes, async (sides): Promise<Measurement[]> => {
        const result = await contest(
          [
            { name: 'netseal', run: () => ourWork(sides) },
            { name: 'bare threads', run: () => sides.bare.run(work) },
          ],
          rounds,
        );
        const measured = result.ratio('netseal', 'bare threads');
        const detail = rates(dataBytes, result.seconds);
        return [{ what: 'of the floor', measured, bound, sense: '>=', unit: 'x', detail }];
      });
    },
  };
}

export const seal256k: Target = against(
  'seal-256k',
  'sealing 256 KiB units of executable code, zstd:1, two workers, against two bare threads',
  'seal',
  0.9,
  ({ ours }) => ours.seal(LARGE),
);

export const open256k: Target = against(
  'open-256k',
  'opening 256 KiB units of executable code, two workers, against two bare threads',
  'open',
  0.85,
  ({ ours, records }) => ours.open(LARGE, records),
);

export const seal4kBatch: Target = {
  id: 'seal-4k-batch',
  about:
    'sealing 4 KiB units, 64 a request: compressing, against two bare threads; and against one a request',
  measure: size => {
    const { dataBytes, rounds } = scale(size, 16 * MIB);
    return withSides(SMALL_BATCH, dataBytes, async ({ ours, bare }): Promise<Measurement[]> => {
      await ours.roundTrip(STORED_BATCH);
      const result = await contest(
        [
          { name: 'bare threads', run: () => bare.run('seal') },
          { name: 'batched', run: () => ours.seal(SMALL_BATCH) },
          { name: 'one a task', run: () => ours.seal(SMALL_SINGLE) },
          { name: 'batched, 4 KiB padding', run: () => ours.seal(STORED_BATCH) },
          { name: 'one a task, 4 KiB padding', run: () => ours.seal(STORED_SINGLE) },
        ],
        rounds,
      );
      const all = rates(dataBytes, result.seconds);
      const compressing = result.ratio('batched', 'one a task');
      return [
        {
          what: 'of the floor',
          measured: result.ratio('batched', 'bare threads'),
          bound: 0.6,
          sense: '>=',
          unit: 'x',
          detail: all,
        },
        {
          what: 'of one a task',
          measured: result.ratio('batched, 4 KiB padding', 'one a task, 4 KiB padding'),
          bound: 4,
          sense: '>=',
          unit: 'x',
          detail: `with padding to 4 KiB; ${compressing.toFixed(2)} x where the codec runs as well`,
        },
      ];
    });
  },
};
