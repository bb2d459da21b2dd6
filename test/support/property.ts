/**
 * Properties within a time limit. A failure prints its seed and path; `NETSEAL_SEED` replays it. Each property
 * searches for `NETSEAL_PROPERTY_MS` milliseconds (default 200: a few seconds for all tests; give CI more).
 */
import fc from 'fast-check';

const SEED = process.env.NETSEAL_SEED;
const LIMIT_MS = Number(process.env.NETSEAL_PROPERTY_MS ?? 200);
/** However slow the machine, a property is tried at least this often. */
const RUNS_MIN = 5;

/** What vitest should wait for a test with this many properties. */
export function propertyTimeoutMs(properties = 1): number {
  return 30_000 + 4 * properties * LIMIT_MS;
}

/**
 * Fails when `check` throws for some value of `values`. `weight` multiplies the time limit; `examples` are always tried
 * first.
 */
export function checkProperty<Value>(
  values: fc.Arbitrary<Value>,
  check: (value: Value) => void,
  { weight = 1, examples = [] }: { weight?: number; examples?: readonly NoInfer<Value>[] } = {},
): void {
  const seed = SEED === undefined ? {} : { seed: Number(SEED) };
  // Whatever an assertion returns is not a verdict.
  const property = fc.property(values, value => {
    check(value);
  });
  fc.assert(property, {
    ...seed,
    numRuns: examples.length + RUNS_MIN,
    examples: examples.map(value => [value]),
  });
  fc.assert(property, {
    ...seed,
    numRuns: 1_000_000,
    interruptAfterTimeLimit: LIMIT_MS * weight,
    skipAllAfterTimeLimit: 0x7fff_ffff,
  });
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
