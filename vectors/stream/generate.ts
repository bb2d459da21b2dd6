/**
 * Writes the golden stream, if it is not there: `node vectors/stream/generate.ts`. Its keys are known, but its
 * ids and nonces are random, so it is made once and kept.
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { Keyring } from '../../src/keys/keyring.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { type SealStreamOptions, sealStream } from '../../src/pipeline/seal-stream.ts';
import { parseCodec } from '../../src/unit/codec.ts';
import type { SuiteName } from '../../src/unit/record-format.ts';

/** The volume and the key of its epoch 3, under which the streams are sealed. */
export const GOLDEN_VOLUME_ID: Uint8Array = new Uint8Array(16).fill(0x56);
export const GOLDEN_EPOCH = 3;
export const GOLDEN_EPOCH_KEY: Uint8Array = new Uint8Array(32).fill(0x4b);

export interface GoldenStream {
  readonly file: string;
  readonly suite: SuiteName;
  readonly codec: string;
  readonly plainBytes: number;
}

export const GOLDEN_STREAMS: readonly GoldenStream[] = [
  { file: 'empty.bin', suite: 'xaes-256-gcm', codec: 'zstd:1', plainBytes: 0 },
  { file: 'three-units.bin', suite: 'xaes-256-gcm', codec: 'zstd:1', plainBytes: 3 * 4096 },
  { file: 'stored.bin', suite: 'xchacha20-poly1305', codec: 'stored', plainBytes: 4097 },
  { file: 'deflate.bin', suite: 'xchacha20-poly1305', codec: 'deflate:6', plainBytes: 10_000 },
];

/** One line, repeated. */
export function goldenPlain(plainBytes: number): Uint8Array {
  const line = 'the quick brown fox jumps over the lazy dog\n';
  return new TextEncoder().encode(line.repeat(Math.ceil(plainBytes / line.length))).subarray(0, plainBytes);
}

export function goldenKeyring(): Keyring {
  return new Keyring(GOLDEN_VOLUME_ID, new Map([[GOLDEN_EPOCH, GOLDEN_EPOCH_KEY]]));
}

async function generate(): Promise<void> {
  await using pipeline = await openPipeline({ workers: 0 });
  const keys = pipeline.addKeyring(goldenKeyring());
  for (const { file, suite, codec, plainBytes } of GOLDEN_STREAMS) {
    const path = new URL(file, import.meta.url);
    if (existsSync(path)) continue;
    const options: Omit<SealStreamOptions, 'pipeline' | 'keys'> = {
      unitSizeBytes: 4096,
      padding: 'none',
      suite,
      codec: parseCodec(codec),
    };
    const sealed = ReadableStream.from([goldenPlain(plainBytes)]).pipeThrough(
      sealStream({ pipeline, keys, ...options }),
    );
    await writeFile(path, sealed);
  }
}

if (import.meta.main) await generate();
