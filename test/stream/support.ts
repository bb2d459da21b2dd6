/** What the tests of streams share: whole streams in and out, however they are cut, and their parts. */
import { expect } from 'vitest';
import { concatBytes, viewOf } from '../../src/base/bytes.ts';
import { KIB } from '../../src/base/geometry.ts';
import { Keyring } from '../../src/keys/keyring.ts';
import type { KeyHandle } from '../../src/pipeline/key-table.ts';
import { openStream } from '../../src/pipeline/open-stream.ts';
import type { StreamPair } from '../../src/pipeline/ordered-output.ts';
import { openPipeline, type Pipeline } from '../../src/pipeline/pipeline.ts';
import { type SealStreamOptions, sealStream } from '../../src/pipeline/seal-stream.ts';
import type { PipelineSettings } from '../../src/pipeline/settings.ts';
import { STREAM_HEADER_BYTES } from '../../src/pipeline/stream-format.ts';

export { mixedBytes } from '../pipeline/support.ts';

export interface Bench {
  readonly pipeline: Pipeline;
  readonly keyring: Keyring;
  readonly keys: KeyHandle;
}

export async function openBench(settings: PipelineSettings = {}): Promise<Bench> {
  const pipeline = await openPipeline({ workers: 0, ...settings });
  const keyring = Keyring.create();
  return { pipeline, keyring, keys: pipeline.addKeyring(keyring) };
}

/** What came out of a stream, and what ended it if it did not end well. */
export interface Outcome {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly chunks: readonly Uint8Array<ArrayBuffer>[];
  readonly error?: unknown;
  readonly code?: unknown;
}

export async function collect(readable: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Outcome> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  try {
    for await (const chunk of readable) chunks.push(chunk);
    return { bytes: concatBytes(...chunks), chunks };
  } catch (error) {
    return { bytes: concatBytes(...chunks), chunks, error, code: (error as { code?: unknown }).code };
  }
}

export function pass(chunks: Iterable<Uint8Array>, pair: StreamPair): Promise<Outcome> {
  return collect(ReadableStream.from(chunks).pipeThrough(pair));
}

type SealOptions = Omit<SealStreamOptions, 'pipeline' | 'keys'>;

/** The whole sealed stream of some bytes, which must seal. */
export async function sealBytes(
  { pipeline, keys }: Pick<Bench, 'pipeline' | 'keys'>,
  bytes: Uint8Array | readonly Uint8Array[],
  options: SealOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks = bytes instanceof Uint8Array ? [bytes] : bytes;
  const sealed = await pass(chunks, sealStream({ pipeline, keys, ...options }));
  if (sealed.error !== undefined) throw sealed.error;
  return sealed.bytes;
}

export function openBytes(
  { pipeline, keys }: Pick<Bench, 'pipeline' | 'keys'>,
  sealed: Uint8Array | readonly Uint8Array[],
): Promise<Outcome> {
  return pass(sealed instanceof Uint8Array ? [sealed] : sealed, openStream({ pipeline, keys }));
}

/** Fails unless the stream opens to exactly these bytes. */
export async function expectOpens(
  bench: Pick<Bench, 'pipeline' | 'keys'>,
  sealed: Uint8Array | readonly Uint8Array[],
  plain: Uint8Array,
): Promise<void> {
  const { bytes, error } = await openBytes(bench, sealed);
  expect(error).toBeUndefined();
  expectSame(bytes, plain);
}

/** As toEqual, which takes seconds for megabytes. */
export function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.byteLength).toBe(expected.byteLength);
  const at =
    Buffer.compare(actual, expected) === 0 ? -1 : actual.findIndex((byte, i) => byte !== expected[i]);
  expect(at, 'first byte that differs').toBe(-1);
}

/** The header and each record of a sealed stream. */
export function partsOf(sealed: Uint8Array): { header: Uint8Array; records: Uint8Array[] } {
  const records: Uint8Array[] = [];
  for (let at = STREAM_HEADER_BYTES; at < sealed.byteLength; ) {
    const lengthBytes = viewOf(sealed).getUint32(at + 12, true);
    records.push(sealed.subarray(at, at + lengthBytes));
    at += lengthBytes;
  }
  return { header: sealed.subarray(0, STREAM_HEADER_BYTES), records };
}

/** Cuts bytes at these lengths, again and again. */
export function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.byteLength; turn += 1) {
    const lengthBytes = lengths[turn % lengths.length]!;
    chunks.push(bytes.subarray(at, at + lengthBytes));
    at += lengthBytes;
  }
  return chunks;
}

/** Small units, no padding: many records in few bytes. */
export const SMALL: SealOptions = {
  unitSizeBytes: 4 * KIB,
  padding: 'none',
  codec: { codec: 'zstd', level: 1 },
};
