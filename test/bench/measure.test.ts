/** A small sweep for correctness; it never looks at how long anything took. */
import { describe, expect, it } from 'vitest';
import { runBench } from '../../src/bench/bench.ts';
import { GENERATED_KINDS } from '../../src/bench/corpus.ts';
import { type Engine, InlineEngine } from '../../src/bench/engine.ts';
import { LINK_DEFAULT } from '../../src/bench/link.ts';
import { sweep } from '../../src/bench/measure.ts';
import { openPipelineEngine } from '../../src/bench/pipeline-engine.ts';
import { batchBytesMax } from '../../src/bench/plan.ts';
import type { Sample } from '../../src/bench/samples.ts';
import { GRID_DEFAULT } from '../../src/bench/settings.ts';
import { CODEC_DEFAULT } from '../../src/unit/codec.ts';
import { chooseProviders, type ProviderChoice, type Providers } from '../../src/unit/providers.ts';
import { setting } from './fixtures.ts';

const KIB = 1024;

function sampleOf(name: string, bytes: Uint8Array): Sample {
  const sizeBytes = bytes.byteLength;
  return {
    name,
    description: '',
    fileCount: 1,
    sizeBytes,
    sampledBytes: sizeBytes,
    pieces: [{ offsetBytes: 0, bytes }],
  };
}

const SAMPLES = GENERATED_KINDS.filter(({ name }) => name === 'source text' || name === 'incompressible').map(
  ({ name, make }) => sampleOf(name, make(64 * KIB)),
);
const SETTINGS = [
  setting({ unitSizeBytes: 16 * KIB }),
  setting({ unitSizeBytes: 64 * KIB, codec: { codec: 'stored', level: 0 } }),
];

/** As little timing as possible. */
const QUICK = { timeMs: 1, roundBytesMin: 0 };

async function openInline(): Promise<Engine> {
  return new InlineEngine(await chooseProviders());
}

const PARTS = { openEngine: openInline, openInline };

it('every setting has every sample, with sizes that add up', async () => {
  const steps: number[] = [];
  const swept = await sweep(
    { samples: SAMPLES, settings: SETTINGS, ...QUICK },
    { ...PARTS, onProgress: (done, total) => steps.push(done / total) },
  );
  expect(swept.isComplete).toBe(true);
  expect(swept.results.map(result => result.setting)).toEqual(SETTINGS);
  const [compressed, stored] = swept.results;
  for (const sample of [...compressed!.samples, ...stored!.samples]) {
    expect(sample.plainBytes).toBe(64 * KIB);
    expect(sample.sealRates.every(rate => rate > 0)).toBe(true);
    expect(sample.sealUnitMs).toBeGreaterThan(0);
  }
  // Raw: one record of 64 KiB and 72 bytes. Incompressible text is stored raw as well.
  expect(stored!.samples.map(({ storedBytes }) => storedBytes)).toEqual([64 * KIB + 72, 64 * KIB + 72]);
  expect(stored!.samples[0]?.recordBytes).toBe(64 * KIB + 72);
  expect(compressed!.samples[1]?.storedBytes).toBe(4 * (16 * KIB + 72));
  expect(compressed!.samples[0]?.storedBytes).toBeLessThan(40 * KIB);
  expect(steps.at(-1)).toBe(1);
  expect(steps).toEqual([...steps].sort((left, right) => left - right));
});

it('holes are counted and store nothing', async () => {
  const bytes = new Uint8Array(64 * KIB);
  bytes.fill(1, 20 * KIB, 21 * KIB);
  const { results } = await sweep(
    {
      samples: [sampleOf('sparse', bytes), sampleOf('zeros', new Uint8Array(5000))],
      settings: SETTINGS,
      ...QUICK,
    },
    PARTS,
  );
  const [sparse, zeros] = results[0]!.samples;
  expect(sparse).toMatchObject({
    unitCount: 4,
    holeCount: 3,
    holeBytes: 48 * KIB,
    storedBytes: 256 + 72,
  });
  expect(zeros).toMatchObject({ unitCount: 1, holeCount: 1, storedBytes: 0, recordBytes: 0 });
});

it.each([0, 1])('files of odd lengths round trip through the pipeline with %d workers', async workers => {
  const lengths = [1, 4095, 4096, 4097, 64 * KIB - 1, 64 * KIB + 1];
  const samples = lengths.map(length => sampleOf(String(length), GENERATED_KINDS[1]!.make(length)));
  const settings = [...SETTINGS, setting({ unitSizeBytes: 64 * KIB, padding: 'none' })];
  const batchBytes = batchBytesMax(settings, workers);
  const openEngine = (providers: ProviderChoice) => openPipelineEngine({ workers, providers, batchBytes });
  const { results } = await sweep({ samples, settings, ...QUICK }, { openEngine, openInline });
  expect(results[1]!.samples.map(({ storedBytes }) => storedBytes)).toEqual([
    256 + 72,
    4096 + 72,
    4096 + 72,
    4352 + 72,
    64 * KIB + 72,
    64 * KIB + 72 + 256 + 72,
  ]);
});

describe('a codec that gives other bytes back', () => {
  /** Flips a bit of everything that zstd decompresses, as a bug in a library would. */
  async function openCorrupted(): Promise<Engine> {
    const good = await chooseProviders();
    const bad: Providers = {
      report: good.report,
      suite: name => good.suite(name),
      codec: name => {
        const codec = good.codec(name);
        return {
          codec: codec.codec,
          provider: codec.provider,
          compress: (plain, level) => codec.compress(plain, level),
          decompress: (payload, plainBytes) => {
            const plain = codec.decompress(payload, plainBytes);
            plain[plainBytes - 1]! ^= 1;
            return plain;
          },
        };
      },
    };
    return new InlineEngine(bad);
  }

  it('no results', async () => {
    const parts = { openEngine: openCorrupted, openInline };
    await expect(sweep({ samples: SAMPLES, settings: SETTINGS, ...QUICK }, parts)).rejects.toMatchObject({
      code: 'EBUG',
      message: expect.stringContaining('round trip of unit 0 of source text (16 KiB units, zstd:1'),
    });
  });
});

describe('stopping early', () => {
  it('before any setting was finished: rejects with the reason', async () => {
    const reason = new Error('enough');
    const parts = { ...PARTS, signal: AbortSignal.abort(reason) };
    await expect(sweep({ samples: SAMPLES, settings: SETTINGS, ...QUICK }, parts)).rejects.toBe(reason);
  });

  it('later: reports what was finished', async () => {
    const stop = new AbortController();
    const swept = await sweep(
      { samples: SAMPLES, settings: SETTINGS, ...QUICK },
      { ...PARTS, signal: stop.signal, onProgress: done => done === 3 && stop.abort() },
    );
    expect(swept.isComplete).toBe(false);
    expect(swept.results.map(result => result.setting)).toEqual([SETTINGS[0]]);
  });
});

it('engines are closed, also after a failure', async () => {
  let openedCount = 0;
  let closedCount = 0;
  const counted = async (): Promise<Engine> => {
    const engine = await openInline();
    openedCount += 1;
    const close = engine.close.bind(engine);
    engine.close = async () => {
      closedCount += 1;
      await close();
    };
    return engine;
  };
  const parts = { openEngine: counted, openInline: counted };
  await sweep({ samples: SAMPLES, settings: SETTINGS, ...QUICK }, parts);
  const openedFirst = openedCount;
  expect(openedFirst).toBeGreaterThanOrEqual(2);
  expect(closedCount).toBe(openedFirst);
  const aborted = { ...parts, signal: AbortSignal.abort(new Error('enough')) };
  await expect(sweep({ samples: SAMPLES, settings: SETTINGS, ...QUICK }, aborted)).rejects.toThrow('enough');
  expect(openedCount).toBeGreaterThan(openedFirst);
  expect(closedCount).toBe(openedCount);
});

it.each([0, 1])('the built-in corpus through the pipeline with %d workers', async workers => {
  const report = await runBench({
    paths: [],
    grid: {
      ...GRID_DEFAULT,
      unitSizesBytes: [4 * KIB, 64 * KIB],
      codecs: [
        { codec: 'zstd', level: 1 },
        { codec: 'deflate', level: 1 },
      ],
      suites: ['xaes-256-gcm', 'xchacha20-poly1305'],
    },
    workers,
    link: LINK_DEFAULT,
    workload: 'mixed',
    sampleBytes: 64 * KIB,
    ...QUICK,
    corpusKindBytes: 64 * KIB,
  });
  expect(report.results).toHaveLength(8);
  expect(report.samples).toHaveLength(7);
  expect(report.recommendation.ranking).toHaveLength(8);
  expect(report.notes.join()).not.toContain('stopped');
});

it('portable and native libraries can be measured side by side', async () => {
  const report = await runBench({
    paths: [],
    grid: {
      ...GRID_DEFAULT,
      unitSizesBytes: [4 * KIB],
      paddings: ['none'],
      codecs: [CODEC_DEFAULT],
      providers: ['native', 'portable'],
    },
    workers: 0,
    link: LINK_DEFAULT,
    workload: 'sequential',
    sampleBytes: 64 * KIB,
    ...QUICK,
    corpusKindBytes: 8 * KIB,
  });
  const ciphers = new Set(report.results.map(({ providers }) => providers.ciphers['xaes-256-gcm']));
  expect(ciphers).toEqual(new Set(['node', 'noble']));
});
