/** Sealed streams that are whole: every size at a boundary, every setting, every way to cut them. */

import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { openStream } from '../../src/pipeline/open-stream.ts';
import type { StreamPair } from '../../src/pipeline/ordered-output.ts';
import { sealStream } from '../../src/pipeline/seal-stream.ts';
import { STREAM_HEADER_BYTES } from '../../src/pipeline/stream-format.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import { paddedBytes } from '../../src/unit/padding.ts';
import { expectIdle } from '../pipeline/support.ts';
import { checkAsyncProperty } from '../support/property.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  type Bench,
  collect,
  cut,
  expectOpens,
  expectSame,
  mixedBytes,
  type Outcome,
  openBench,
  openBytes,
  partsOf,
  SMALL,
  sealBytes,
} from './support.ts';

const BATCH_BYTES = MIB;

describe.each([0, 2])('with %i workers', workers => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench({ workers });
  });
  afterAll(async () => {
    expectIdle(bench.pipeline);
    await bench.pipeline.close();
  });

  it.runIf(IS_LONG).each([4 * KIB, 256 * KIB])(
    'units of %i bytes: every size around a boundary',
    async unitSizeBytes => {
      const edges = [0, unitSizeBytes, 2 * unitSizeBytes, BATCH_BYTES, 2 * BATCH_BYTES, 5 * BATCH_BYTES];
      const sizes = new Set(edges.flatMap(edge => [edge - 1, edge, edge + 1]).filter(size => size >= 0));
      for (const sizeBytes of sizes) {
        const plain = mixedBytes(sizeBytes, sizeBytes);
        const sealed = await sealBytes(bench, plain, { unitSizeBytes });
        expect(partsOf(sealed).records).toHaveLength(Math.max(1, Math.ceil(sizeBytes / unitSizeBytes)));
        await expectOpens(bench, sealed, plain);
      }
    },
  );

  it('units of 16 MiB', async () => {
    const plain = mixedBytes(16 * MIB + 1, 7);
    const sealed = await sealBytes(bench, plain, { unitSizeBytes: 16 * MIB });
    expect(partsOf(sealed).records).toHaveLength(2);
    await expectOpens(bench, sealed, plain);
  });

  it.each([
    ['stored', 'none'],
    ['stored', 64 * KIB],
    ['zstd:1', 512],
    ['zstd:19', 4 * KIB],
    ['deflate:1', 'none'],
    ['zstd:1', 'padme'],
    ['deflate:9', 64 * KIB],
  ] as const)('codec %s, padding %s, either suite', async (codec, padding) => {
    const plain = mixedBytes(200_001, 3);
    for (const suite of ['xaes-256-gcm', 'xchacha20-poly1305'] as const) {
      const setting = { unitSizeBytes: 64 * KIB, padding, codec: parseCodec(codec), suite };
      const sealed = await sealBytes(bench, plain, setting);
      await expectOpens(bench, sealed, plain);
      for (const record of partsOf(sealed).records) {
        expect(paddedBytes(record.byteLength - 72, padding)).toBe(record.byteLength - 72);
      }
    }
  });
});

/** Writes everything from one buffer, which is overwritten as soon as each write has resolved. */
async function passReusing(bytes: Uint8Array, bufferBytes: number, pair: StreamPair): Promise<Outcome> {
  const outcome = collect(pair.readable);
  const writer = pair.writable.getWriter();
  const buffer = new Uint8Array(bufferBytes);
  for (const part of cut(bytes, [bufferBytes])) {
    buffer.set(part);
    await writer.write(buffer.subarray(0, part.byteLength));
    buffer.fill(0xee);
  }
  await writer.close();
  return await outcome;
}

describe('inline', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
  });
  afterAll(async () => {
    expectIdle(bench.pipeline);
    await bench.pipeline.close();
  });

  it('byte by byte on both sides', async () => {
    const plain = mixedBytes(4 * KIB + 3, 1);
    const sealed = await sealBytes(bench, cut(plain, [1]), SMALL);
    await expectOpens(bench, cut(sealed, [1]), plain);
  });

  it('empty chunks change nothing, and a stream of nothing is 408 bytes', async () => {
    const nothing = new Uint8Array(0);
    const sealed = await sealBytes(bench, [nothing, nothing]);
    expect(sealed.byteLength).toBe(STREAM_HEADER_BYTES + 72 + 256);
    await expectOpens(bench, [nothing, sealed, nothing], nothing);
  });

  it('however the input is cut, the same bytes come out', async () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 8 });
    const sizes = fc.integer({ min: 0, max: 60_000 });
    await checkAsyncProperty(fc.tuple(sizes, cuts, cuts), async ([sizeBytes, plainCuts, sealedCuts]) => {
      const plain = mixedBytes(sizeBytes, sizeBytes);
      const sealed = await sealBytes(bench, cut(plain, plainCuts), SMALL);
      expect(partsOf(sealed).records).toHaveLength(Math.max(1, Math.ceil(sizeBytes / (4 * KIB))));
      await expectOpens(bench, cut(sealed, sealedCuts), plain);
    });
  });

  it('however a damaged stream is cut, the same bytes and the same error come out', async () => {
    const sealed = await sealBytes(bench, mixedBytes(40_000, 2), SMALL);
    const cuts = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 8 });
    const places = fc.integer({ min: 0, max: sealed.byteLength * 8 - 1 });
    await checkAsyncProperty(fc.tuple(places, cuts), async ([bit, lengths]) => {
      const damaged = sealed.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const whole = await openBytes(bench, damaged);
      const inParts = await openBytes(bench, cut(damaged, lengths));
      expectSame(inParts.bytes, whole.bytes);
      expect(inParts.code).toBe(whole.code);
    });
  });

  it('a chunk may be used again once its write has resolved', async () => {
    const plain = mixedBytes(3 * BATCH_BYTES, 4);
    const sealed = await passReusing(plain, 300_000, sealStream({ ...bench }));
    const opened = await passReusing(sealed.bytes, 1000, openStream({ ...bench }));
    expectSame(opened.bytes, plain);
  });

  it('what comes out is private memory, and the reader may write to it', async () => {
    const plain = mixedBytes(3 * BATCH_BYTES, 5);
    const { readable, writable } = sealStream({ ...bench });
    const written = ReadableStream.from([plain]).pipeTo(writable);
    const sealed: Uint8Array[] = [];
    for await (const chunk of readable) {
      expect(chunk.buffer).toBeInstanceOf(ArrayBuffer);
      sealed.push(chunk.slice());
      chunk.fill(0);
    }
    await written;
    const { chunks, bytes } = await openBytes(bench, sealed);
    for (const chunk of chunks) expect(chunk.buffer).toBeInstanceOf(ArrayBuffer);
    expectSame(bytes, plain);
    expect(new Set(chunks.map(({ buffer }) => buffer)).size).toBe(chunks.length);
  });
});

it('what one set of providers seals, the other opens', async () => {
  const native = await openBench({ providers: { codecs: 'native', ciphers: 'native' } });
  const portable = await openBench({ providers: { codecs: 'portable', ciphers: 'portable' } });
  const keys = portable.pipeline.addKeyring(native.keyring);
  const plain = mixedBytes(300_000, 6);
  for (const codec of ['zstd:3', 'deflate:6'].map(parseCodec)) {
    for (const suite of ['xaes-256-gcm', 'xchacha20-poly1305'] as const) {
      const options = { unitSizeBytes: 64 * KIB, codec, suite };
      await expectOpens({ ...portable, keys }, await sealBytes(native, plain, options), plain);
      await expectOpens(native, await sealBytes({ ...portable, keys }, plain, options), plain);
    }
  }
  await native.pipeline.close();
  await portable.pipeline.close();
});

describe('a pipeline with little memory', () => {
  it('carries every unit that fits it, whatever the size of a batch', async () => {
    // The least that openPipeline takes: a quarter of it holds one sealed unit of 256 KiB.
    const bench = await openBench({ memoryBytes: 4 * (256 * KIB + 72) });
    const plain = mixedBytes(BATCH_BYTES + 5, 8);
    for (const unitSizeBytes of [4 * KIB, 64 * KIB, 256 * KIB]) {
      await expectOpens(bench, await sealBytes(bench, plain, { unitSizeBytes }), plain);
    }
    expectIdle(bench.pipeline);
    await bench.pipeline.close();
  });

  it('refuses a unit that does not fit, before anything is written or read', async () => {
    const small = await openBench({ memoryBytes: 4 * (256 * KIB + 72) });
    const large = await openBench();
    const options = { unitSizeBytes: 512 * KIB };
    expect(() => sealStream({ ...small, ...options })).toThrow(/memoryBytes must be at least 2097440/);
    const sealed = await sealBytes(large, mixedBytes(10, 9), options);
    const { code, bytes } = await openBytes(
      { ...small, keys: small.pipeline.addKeyring(large.keyring) },
      sealed,
    );
    expect([code, bytes.byteLength]).toEqual(['EINVAL', 0]);
    await small.pipeline.close();
    await large.pipeline.close();
  });
});

it.each([
  [{ unitSizeBytes: 5000 }, /power of two/],
  [{ padding: 3 }, /power of two/],
  [{ codec: { codec: 'zstd', level: 99 } }, /zstd/],
  [{ suite: 'rot13' as 'xaes-256-gcm' }, /xaes-256-gcm or xchacha20-poly1305/],
] as const)('refuses options %o', async (options, message) => {
  const bench = await openBench();
  expect(() => sealStream({ ...bench, ...options })).toThrow(message);
  await bench.pipeline.close();
});

it('chunks that are no bytes fail the stream with EINVAL', async () => {
  const bench = await openBench();
  const text = ['text'] as unknown as Uint8Array[];
  await expect(sealBytes(bench, text)).rejects.toMatchObject({ code: 'EINVAL' });
  expect((await openBytes(bench, text)).code).toBe('EINVAL');
  await bench.pipeline.close();
});
