/** Files whose claimed size is wrong. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findEnd, readChunks } from '../../src/bench/sample-files.ts';
import { readSamples } from '../../src/bench/samples.ts';
import { cutIntoChunks } from '../../src/bench/sampling.ts';

const CHUNK_BYTES = 100;
const content = Buffer.from(Array.from({ length: 1050 }, (_, at) => at % 251));

let folder = '';
let path = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-claims-'));
  path = join(folder, 'file');
  await writeFile(path, content);
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Reads a file of 1050 bytes as if the file system had told another size. */
async function readAs(claimedBytes: number, roomBytes: number) {
  const chunks = cutIntoChunks([{ path, sizeBytes: claimedBytes }], CHUNK_BYTES);
  const { pieces, ...rest } = await readChunks(path, {
    chunks,
    claimedBytes,
    chunkBytes: CHUNK_BYTES,
    roomBytes,
  });
  for (const { offsetBytes } of pieces) expect(offsetBytes % CHUNK_BYTES).toBe(0);
  return { ...rest, bytes: Buffer.concat(pieces.map(({ bytes }) => bytes)) };
}

describe('a file is read to its end', () => {
  it.each([1, 100, 130, 1049, 1050, 1051, 1100, 4096])('that claims %i bytes', async claimedBytes => {
    expect(await readAs(claimedBytes, 5000)).toEqual({ sizeBytes: 1050, isCut: false, bytes: content });
  });

  it.each([130, 1000])('that claims %i bytes, as far as there is room', async claimedBytes => {
    const read = await readAs(claimedBytes, 20);
    expect(read).toMatchObject({ sizeBytes: claimedBytes + 20, isCut: true });
    expect(read.bytes).toEqual(content.subarray(0, claimedBytes + 20));
  });

  it('that ends before every chosen chunk', async () => {
    const chunks = [{ path, offsetBytes: 5000, lengthBytes: 100 }];
    const plan = { chunks, claimedBytes: 9000, chunkBytes: CHUNK_BYTES, roomBytes: 2000 };
    const { pieces, sizeBytes } = await readChunks(path, plan);
    expect(Buffer.concat(pieces.map(({ bytes }) => bytes))).toEqual(content);
    expect(sizeBytes).toBe(1050);
  });

  it('its end is found, or that it lies beyond the limit', async () => {
    expect(await findEnd(path, 1050)).toBe(1050);
    expect(await findEnd(path, 1049)).toBeGreaterThan(1049);
  });
});

describe.runIf(process.platform === 'linux')('files that the kernel makes up', () => {
  const settings = { capBytes: 65_536, chunkBytes: 4096 };

  it('claim no size, and are measured', async () => {
    const expected = await readFile('/proc/version');
    const { samples, notes } = await readSamples(['/proc/version'], settings);
    expect(notes).toEqual([]);
    expect(samples[0]).toMatchObject({ sizeBytes: expected.byteLength, sampledBytes: expected.byteLength });
    expect(Buffer.from(samples[0]!.pieces[0]!.bytes)).toEqual(expected);
  });

  it('are measured in folders, too, and none is called empty that is not', async () => {
    const { samples, notes } = await readSamples(['/proc/sys/kernel/random'], settings);
    expect(samples[0]?.sampledBytes).toBeGreaterThan(30);
    expect(notes.join()).not.toContain('empty');
  });

  it('that are longer than the cap are cut, with a note', async () => {
    const { samples, notes } = await readSamples(['/proc/kallsyms'], settings);
    expect(samples[0]).toMatchObject({ sizeBytes: 65_536, sampledBytes: 65_536 });
    expect(notes.join()).toContain('longer than claimed');
  });
});
