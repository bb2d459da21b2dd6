/** The cost model against figures worked out by hand; docs/BENCH.md works the first of them in words. */
import { describe, expect, it } from 'vitest';
import { costsOf, overwriteCost, readCost, sequentialMsPerMiB, summarise } from '../../src/bench/cost.ts';
import { checkLink, transferMs } from '../../src/bench/link.ts';
import { median, ratioOf, type SampleResult, workingBytes } from '../../src/bench/results.ts';
import { sampleResult, setting } from './fixtures.ts';

/** 100 bytes a ms. */
const LINK = { bytesPerSecond: 100_000, roundTripMs: 20 };
const UNIT = { recordBytes: 1000, sealUnitMs: 3, openUnitMs: 2 };

describe('random accesses', () => {
  it('a read is a round trip, the record, and opening it', () => {
    expect(readCost(LINK, UNIT)).toEqual({
      ms: 20 + 10 + 2,
      transferredBytes: 1000,
      amplification: 1000 / 4096,
    });
  });

  it('an overwrite reads, seals, uploads and commits', () => {
    const { ms, transferredBytes } = overwriteCost(LINK, UNIT, 65_536);
    expect(ms).toBe(32 + 3 + (20 + 10) + 20);
    expect(transferredBytes).toBe(2000);
  });

  it('an overwrite of a whole unit reads nothing', () => {
    const { ms, transferredBytes } = overwriteCost(LINK, UNIT, 4096);
    expect(ms).toBe(3 + (20 + 10) + 20);
    expect(transferredBytes).toBe(1000);
  });

  it('reading a hole costs nothing, filling it no read', () => {
    const hole = { recordBytes: 0, sealUnitMs: 0, openUnitMs: 0 };
    expect(readCost(LINK, hole).ms).toBe(0);
    expect(overwriteCost(LINK, hole, 65_536).ms).toBe(40);
  });
});

describe('long transfers', () => {
  const MIB = 1024 * 1024;
  const fast = { bytesPerSecond: MIB * 100, roundTripMs: 0 };

  it('the slower of link and processor decides', () => {
    expect(sequentialMsPerMiB(fast, 1, MIB * 1000, 4096)).toBe(10);
    expect(sequentialMsPerMiB(fast, 1, MIB * 50, 4096)).toBe(20);
    expect(sequentialMsPerMiB(fast, 2, MIB * 1000, 4096)).toBe(5);
  });

  it('four requests of 8 MiB share their round trips', () => {
    expect(sequentialMsPerMiB({ ...fast, roundTripMs: 32 }, 1, MIB * 1000, 4096)).toBe(10 + 32 / 4 / 8);
    expect(sequentialMsPerMiB({ ...fast, roundTripMs: 32 }, 1, MIB * 1000, 16 * MIB)).toBe(10 + 32 / 4 / 16);
  });

  it('holes need neither link nor round trips', () => {
    expect(
      sequentialMsPerMiB(
        { ...fast, roundTripMs: 32 },
        Number.POSITIVE_INFINITY,
        Number.POSITIVE_INFINITY,
        4096,
      ),
    ).toBe(0);
  });
});

describe('samples together', () => {
  const dense = sampleResult({
    plainBytes: 1000,
    storedBytes: 500,
    sealBytesPerSecond: 100,
    openBytesPerSecond: 200,
    recordBytes: 50,
  });
  const sparse = sampleResult({
    plainBytes: 1000,
    storedBytes: 100,
    holeBytes: 900,
    recordBytes: 100,
    sealBytesPerSecond: 400,
    openBytesPerSecond: 400,
    weight: 2,
  });

  it('a sample counts for the size of its files', () => {
    const summary = summarise(LINK, [dense, sparse], 65_536);
    expect(summary.plainBytes).toBe(3000);
    expect(summary.storedBytes).toBe(700);
    expect(summary.ratio).toBeCloseTo(3000 / 700);
    expect(summary.sealBytesPerSecond).toBeCloseTo(3000 / (1000 / 100 + 2000 / 400));
    expect(summary.openBytesPerSecond).toBeCloseTo(3000 / (1000 / 200 + 2000 / 400));
  });

  it('random accesses fall on stored bytes', () => {
    const { read } = summarise(LINK, [dense, sparse], 65_536).costs;
    expect(read.transferredBytes).toBeCloseTo((50 * 1000 + 100 * 200) / 1200);
  });

  it('one sample alone is its own summary', () => {
    const { costs } = summarise(LINK, [dense], 65_536);
    const own = costsOf(LINK, dense, 65_536);
    expect(costs.read.ms).toBeCloseTo(own.read.ms);
    expect(costs.overwrite.ms).toBeCloseTo(own.overwrite.ms);
    expect(costs.sequentialReadMsPerMiB).toBeCloseTo(own.sequentialReadMsPerMiB);
  });

  it('all holes: no cost, no division by zero', () => {
    const holes: SampleResult = sampleResult({
      plainBytes: 1000,
      holeBytes: 1000,
      storedBytes: 0,
      recordBytes: 0,
      sealBytesPerSecond: Number.POSITIVE_INFINITY,
      openBytesPerSecond: Number.POSITIVE_INFINITY,
    });
    const summary = summarise(LINK, [holes], 65_536);
    expect(summary.ratio).toBe(Number.POSITIVE_INFINITY);
    expect(summary.costs.read.ms).toBe(0);
    expect(summary.costs.overwrite.ms).toBe(41);
    expect(summary.costs.sequentialReadMsPerMiB).toBe(0);
  });
});

it('the example worked in docs/BENCH.md', () => {
  const link = { bytesPerSecond: 125e6, roundTripMs: 20 };
  const unit = { recordBytes: 107_900, sealUnitMs: 0.7, openUnitMs: 0.25 };
  expect(readCost(link, unit).ms).toBeCloseTo(21.1, 1);
  expect(readCost(link, unit).amplification).toBeCloseTo(26.3, 1);
  expect(overwriteCost(link, unit, 262_144).ms).toBeCloseTo(62.7, 1);
});

it('medians', () => {
  expect([[], [3], [1, 3], [9, 1, 2]].map(median)).toEqual([0, 3, 2, 2]);
});

it('transfer times and ratios', () => {
  expect(transferMs(LINK, 250)).toBe(2.5);
  expect(ratioOf({ plainBytes: 300, storedBytes: 100 })).toBe(3);
  expect(() => checkLink({ bytesPerSecond: 0, roundTripMs: 1 })).toThrow(
    expect.objectContaining({ code: 'EINVAL' }),
  );
  expect(() => checkLink({ bytesPerSecond: 1, roundTripMs: -1 })).toThrow(
    expect.objectContaining({ code: 'EINVAL' }),
  );
});

it('working memory: unit, record, plaintext and codec output for each thread', () => {
  const unit = 65_536;
  const record = unit + 72;
  expect(workingBytes(setting({ unitSizeBytes: unit }), 2)).toBe(2 * (unit + 2 * record + unit));
  expect(workingBytes(setting({ unitSizeBytes: unit, codec: { codec: 'stored', level: 0 } }), 0)).toBe(
    unit + 2 * record,
  );
});
