import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { isAllZero } from '../../src/base/bytes.ts';
import { GENERATED_KINDS, makeCorpus } from '../../src/bench/corpus.ts';
import { cutIntoUnits } from '../../src/bench/plan.ts';

const KIB = 1024;

it('the generated kinds are the same everywhere and always', () => {
  const hashes = GENERATED_KINDS.map(({ name, make }) => [
    name,
    createHash('sha256')
      .update(make(64 * KIB))
      .digest('hex')
      .slice(0, 16),
  ]);
  expect(hashes).toMatchInlineSnapshot(`
    [
      [
        "source text",
        "e469bd31b954f221",
      ],
      [
        "JSON logs",
        "c179698f26cb58ea",
      ],
      [
        "database",
        "a9175040ba23f50f",
      ],
      [
        "CSV floats",
        "cd7bf6481cd192bb",
      ],
      [
        "incompressible",
        "a9ffc9bf81cc79b8",
      ],
      [
        "sparse",
        "de2f256064a0af79",
      ],
    ]
  `);
});

it('every kind has the length that was asked for, the executable first', async () => {
  const { samples, notes } = await makeCorpus({ chunkBytes: 64 * KIB, kindBytes: 128 * KIB });
  expect(notes).toEqual([]);
  expect(samples.map(({ name }) => name)).toEqual([
    'executable code',
    ...GENERATED_KINDS.map(({ name }) => name),
  ]);
  for (const sample of samples) {
    expect(sample.sampledBytes).toBe(128 * KIB);
    expect(sample.sizeBytes).toBe(128 * KIB);
  }
});

it('no kind is smaller than the largest unit', async () => {
  const { samples } = await makeCorpus({ chunkBytes: 256 * KIB, kindBytes: 4 * KIB });
  expect(samples.map(({ sampledBytes }) => sampledBytes)).toEqual(Array(7).fill(256 * KIB));
});

it('the sparse kind is mostly holes, the others have none', () => {
  for (const { name, make } of GENERATED_KINDS) {
    const units = cutIntoUnits([{ offsetBytes: 0, bytes: make(1024 * KIB) }], 4 * KIB);
    const holes = units.filter(({ plain }) => isAllZero(plain)).length;
    if (name === 'sparse') expect(holes).toBeGreaterThan(units.length / 2);
    else expect(holes).toBe(0);
  }
});
