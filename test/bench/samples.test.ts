import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchBytesMax, cutIntoBatches, cutIntoUnits, unitsForRound } from '../../src/bench/plan.ts';
import { readSamples } from '../../src/bench/samples.ts';
import { CHUNKS_MAX, cutIntoChunks, sampleEvenly, spreadIndices } from '../../src/bench/sampling.ts';
import { setting } from './fixtures.ts';

const KIB = 1024;

describe('even sampling', () => {
  const files = fc.array(fc.record({ path: fc.uuid(), sizeBytes: fc.integer({ min: 1, max: 5000 }) }), {
    minLength: 1,
    maxLength: 40,
  });

  it('never exceeds the cap unless it takes a single chunk, and keeps the order', () => {
    fc.assert(
      fc.property(files, fc.integer({ min: 1, max: 20_000 }), (candidates, capBytes) => {
        const chunks = cutIntoChunks(candidates, 512);
        const chosen = sampleEvenly(chunks, capBytes);
        const bytes = chosen.reduce((sum, chunk) => sum + chunk.lengthBytes, 0);
        expect(chosen.length).toBeGreaterThan(0);
        expect(bytes <= capBytes || chosen.length === 1).toBe(true);
        const places = chosen.map(chunk => chunks.indexOf(chunk));
        expect(places).toEqual([...new Set(places)].sort((left, right) => left - right));
      }),
    );
  });

  it('takes everything that fits', () => {
    const chunks = cutIntoChunks([{ path: 'a', sizeBytes: 1000 }], 400);
    expect(chunks.map(({ lengthBytes }) => lengthBytes)).toEqual([400, 400, 200]);
    expect(sampleEvenly(chunks, 1000)).toEqual(chunks);
  });

  it('spreads over the file', () => {
    const chunks = cutIntoChunks([{ path: 'a', sizeBytes: 100 }], 1);
    const offsets = sampleEvenly(chunks, 10).map(({ offsetBytes }) => offsetBytes);
    expect(offsets).toEqual([4, 14, 24, 34, 44, 54, 64, 74, 84, 94]);
  });

  it('takes its time from a file that claims more than there can be', () => {
    const claimed = 2 ** 47;
    const files = [
      { path: 'kcore', sizeBytes: claimed },
      { path: 'b', sizeBytes: 1000 },
    ];
    const chunks = cutIntoChunks(files, 4096);
    expect(chunks.length).toBeLessThanOrEqual(CHUNKS_MAX + files.length);
    expect(chunks.at(-1)).toEqual({ path: 'b', offsetBytes: 0, lengthBytes: 1000 });
    const chosen = sampleEvenly(chunks, 4 * 4096);
    expect(chosen.map(({ offsetBytes }) => Math.round((offsetBytes / claimed) * 8))).toEqual([1, 3, 5, 7]);
  });

  it('indices are spread, or start over', () => {
    expect(spreadIndices(10, 3)).toEqual([0, 3, 6]);
    expect(spreadIndices(2, 5)).toEqual([0, 1, 0, 1, 0]);
    expect(spreadIndices(0, 5)).toEqual([]);
  });
});

describe('files and folders', () => {
  let folder = '';
  const settings = { capBytes: 64 * KIB, chunkBytes: 4 * KIB };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netseal-bench-'));
    await mkdir(join(folder, 'tree/deep'), { recursive: true });
    await mkdir(join(folder, 'nothing'));
    await writeFile(join(folder, 'large.bin'), Buffer.alloc(256 * KIB, 7));
    await writeFile(join(folder, 'empty'), '');
    await writeFile(join(folder, 'tree/a.json'), '{}');
    await writeFile(join(folder, 'tree/deep/b.JSON'), '{"b":1}');
    await writeFile(join(folder, 'tree/deep/README'), 'read me');
    await symlink(join(folder, 'large.bin'), join(folder, 'tree/link.bin'));
  });

  afterAll(async () => {
    await rm(folder, { recursive: true });
  });

  it('a named file is a sample, capped and aligned to chunks', async () => {
    const { samples } = await readSamples([join(folder, 'large.bin')], settings);
    expect(samples).toHaveLength(1);
    expect(samples[0]).toMatchObject({ sizeBytes: 256 * KIB, sampledBytes: 64 * KIB, fileCount: 1 });
    for (const { offsetBytes } of samples[0]!.pieces) expect(offsetBytes % settings.chunkBytes).toBe(0);
  });

  it('files in folders are grouped by extension; links are not followed', async () => {
    const { samples, notes } = await readSamples([join(folder, 'tree')], settings);
    expect(samples.map(({ name, fileCount }) => [name, fileCount])).toEqual([
      ['.json', 2],
      ['no extension', 1],
    ]);
    expect(notes.join()).toContain('a symbolic link');
  });

  it('a path given twice counts once', async () => {
    const path = join(folder, 'large.bin');
    expect((await readSamples([path, path], settings)).samples).toHaveLength(1);
  });

  it('many named files are grouped, too', async () => {
    const paths = await Promise.all(
      Array.from({ length: 9 }, async (_, at) => {
        const path = join(folder, `named-${at}.txt`);
        await writeFile(path, `file ${at}`);
        return path;
      }),
    );
    const { samples } = await readSamples(paths, settings);
    expect(samples.map(({ name, fileCount }) => [name, fileCount])).toEqual([['.txt', 9]]);
  });

  it('a missing path, an empty file, an empty folder: EINVAL that names it', async () => {
    for (const name of ['missing', 'empty', 'nothing', 'large.bin/below']) {
      const path = join(folder, name);
      const error = expect.objectContaining({ code: 'EINVAL', message: expect.stringContaining(path) });
      await expect(readSamples([path], settings)).rejects.toEqual(error);
    }
  });

  it('an empty file among others is a note', async () => {
    const { samples, notes } = await readSamples(
      [join(folder, 'empty'), join(folder, 'large.bin')],
      settings,
    );
    expect(samples).toHaveLength(1);
    expect(notes).toEqual([`skipped 1 path, empty: ${join(folder, 'empty')}`]);
  });

  it('devices are not opened', async () => {
    await expect(readSamples(['/dev/zero'], settings)).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('rejects with the reason of an aborted signal', async () => {
    const reason = new Error('enough');
    await expect(readSamples([folder], settings, AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

describe('units and batches', () => {
  const bytes = new Uint8Array(10_000).map((_, at) => at);
  const units = cutIntoUnits([{ offsetBytes: 8192, bytes }], 4096);

  it('units carry their index in the file, the last one what is left', () => {
    expect(units.map(({ index, plain }) => [index, plain.byteLength])).toEqual([
      [2, 4096],
      [3, 4096],
      [4, 1808],
    ]);
  });

  it('batches hold every unit once, within their room', () => {
    const many = Array.from({ length: 5000 }, () => units).flat();
    const of = setting({ unitSizeBytes: 4096 });
    const batches = cutIntoBatches(many, of, 2);
    expect(batches.flatMap(batch => batch.units)).toEqual(many);
    for (const batch of batches) expect(batch.plainBytes).toBeLessThanOrEqual(batchBytesMax([of], 2));
  });

  it('a round gives every thread two units, from the start again if need be', () => {
    expect(unitsForRound(units, 0, 4)).toHaveLength(8);
    expect(unitsForRound(units, 1e6, 1).length).toBeGreaterThan(200);
  });
});
