/** Properties that are searched for a limited time. A failure prints its seed and path; `NETSEAL_SEED` replays it. */
import fc from 'fast-check';
import { GIVEN_SEED, SEARCH_MS } from './soak.ts';

/** However slow the machine is, a property is tried at least this often. */
const RUNS_MIN = 5;
const REPLAY = GIVEN_SEED === undefined ? {} : { seed: GIVEN_SEED };

/**
 * Fails when `check` throws for some value of `values`. `weight` multiplies the time of the search. The `examples` are
 * always tried, and first.
 */
export function checkProperty<Value>(
  values: fc.Arbitrary<Value>,
  check: (value: Value) => void,
  { weight = 1, examples = [] }: { weight?: number; examples?: readonly NoInfer<Value>[] } = {},
): void {
  // Whatever an assertion returns is not a verdict.
  const property = fc.property(values, value => {
    check(value);
  });
  fc.assert(property, {
    ...REPLAY,
    numRuns: examples.length + RUNS_MIN,
    examples: examples.map(value => [value]),
  });
  requireNoCounterexample(fc.check(property, searchFor(weight)));
}

/**
 * As `checkProperty`, for a `check` that waits. Returns when no `check` is running any more; fast-check leaves the
 * running one behind at the time limit.
 */
export async function checkAsyncProperty<Value>(
  values: fc.Arbitrary<Value>,
  check: (value: Value) => Promise<void>,
  weight = 1,
): Promise<void> {
  let last: Promise<void> = Promise.resolve();
  const property = fc.asyncProperty(values, value => {
    last = check(value);
    return last;
  });
  await fc.assert(property, { ...REPLAY, numRuns: RUNS_MIN });
  requireNoCounterexample(await fc.check(property, searchFor(weight)));
  await last;
}

/** As fast-check's own verdict, but for a machine so slow that the time was over before the first value. */
function requireNoCounterexample<Values>(details: fc.RunDetails<Values>): void {
  const isTooLate = details.interrupted && details.numRuns === 0 && details.counterexample === null;
  if (details.failed && !isTooLate) throw new Error(fc.defaultReportMessage(details));
}

function searchFor(weight: number): fc.Parameters<unknown> {
  return {
    ...REPLAY,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: SEARCH_MS * weight,
    skipAllAfterTimeLimit: 0x7fff_ffff,
  };
}

/**
 * Bytes of every sort that matters to a codec, of `minBytes` to `maxBytes`: random, one value, repeats, text, mixed.
 * Values are small recipes, so shrinking stays fast for large sizes.
 */
export function contents(minBytes: number, maxBytes: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  const sizes = fc.oneof(
    fc.integer({ min: minBytes, max: maxBytes }),
    fc.integer({ min: minBytes, max: Math.min(maxBytes, minBytes + 300) }),
    fc
      .tuple(fc.integer({ min: 0, max: 24 }), fc.integer({ min: -1, max: 1 }))
      .map(([log2, off]) => Math.min(maxBytes, Math.max(minBytes, 2 ** log2 + off))),
  );
  const repeats = fc.oneof(
    fc.constant(1),
    fc.integer({ min: 1, max: 40 }),
    fc.constant(Number.POSITIVE_INFINITY),
  );
  return fc.tuple(sizes, repeats, fc.integer()).map(([lengthBytes, period, seed]) => {
    const bytes = new Uint8Array(lengthBytes);
    let state = seed | 1;
    for (let at = 0; at < lengthBytes; at += 1) {
      // Xorshift: quick, and incompressible enough.
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = at < period ? state : (bytes[at - period] ?? 0);
    }
    return bytes;
  });
}

/** The bytes in shared memory, at an odd offset, with `slackBytes` behind them. */
export function shareAtOddOffset(
  bytes: Uint8Array,
  offset: number,
  slackBytes = 0,
): Uint8Array<SharedArrayBuffer> {
  const shared = new Uint8Array(new SharedArrayBuffer(offset + bytes.byteLength + slackBytes));
  shared.set(bytes, offset);
  return shared.subarray(offset, offset + bytes.byteLength + slackBytes);
}
