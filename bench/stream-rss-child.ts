/**
 * The processes that `stream-rss` measures. `seal BYTES` seals so many bytes of executable code to standard
 * output; `open` opens a sealed stream from standard input. Both report on standard error.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { read } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { Keyring } from '../src/keys/keyring.ts';
import { openStream } from '../src/pipeline/open-stream.ts';
import { openPipeline } from '../src/pipeline/pipeline.ts';
import { sealStream } from '../src/pipeline/seal-stream.ts';
import { median } from './contest.ts';
import type { StreamRssReport } from './targets/stream-rss.ts';

/** The length of one read of Node's own file streams. */
const CHUNK_BYTES = 64 * 1024;
const SAMPLE_MS = 20;
const [mode, bytesText] = process.argv.slice(2);
const streamBytes = Number(bytesText);
const hash = createHash('sha256');
let plainBytes = 0;
const samples: number[] = [];

function countPlain(bytes: Uint8Array): void {
  hash.update(bytes);
  plainBytes += bytes.byteLength;
}

type Source = (buffer: Uint8Array) => Promise<number>;

/** Writes all that `source` gives. One buffer is enough: a stream has copied the bytes when a write resolves. */
async function feed(writable: WritableStream<Uint8Array>, source: Source): Promise<void> {
  const writer = writable.getWriter();
  const buffer = new Uint8Array(CHUNK_BYTES);
  for (let bytesRead = await source(buffer); bytesRead > 0; bytesRead = await source(buffer)) {
    await writer.write(buffer.subarray(0, bytesRead));
  }
  await writer.close();
}

/** Reads the Node binary again and again. */
async function readCode(file: FileHandle, buffer: Uint8Array): Promise<number> {
  const { size } = await file.stat();
  const lengthBytes = Math.min(buffer.byteLength, streamBytes - plainBytes);
  if (lengthBytes === 0) return 0;
  const { bytesRead } = await file.read(buffer, 0, lengthBytes, plainBytes % size);
  countPlain(buffer.subarray(0, bytesRead));
  return bytesRead;
}

/** Reads standard input, which is a pipe. */
async function readInput(buffer: Uint8Array): Promise<number> {
  return (await promisify(read)(0, buffer, 0, buffer.byteLength, null)).bytesRead;
}

const pipeline = await openPipeline();
// Both processes use the same key. It protects nothing.
const keys = pipeline.addKeyring(new Keyring(new Uint8Array(16), new Map([[1, new Uint8Array(32).fill(7)]])));
const sampling = setInterval(() => {
  if (plainBytes > streamBytes / 10) samples.push(process.memoryUsage.rss());
}, SAMPLE_MS);
const startedMs = performance.now();
const file = mode === 'seal' ? await open(process.execPath) : undefined;
const stream = mode === 'seal' ? sealStream({ pipeline, keys }) : openStream({ pipeline, keys });
const fed = feed(stream.writable, buffer =>
  file === undefined ? readInput(buffer) : readCode(file, buffer),
);
for await (const chunk of stream.readable) {
  if (mode === 'open') countPlain(chunk);
  else if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
}
await fed;
await file?.close();
const seconds = (performance.now() - startedMs) / 1000;
clearInterval(sampling);
samples.push(process.memoryUsage.rss());
await pipeline.close();
const report: StreamRssReport = {
  mode: mode === 'seal' ? 'sealing' : 'opening',
  plainBytes,
  steadyBytes: median(samples),
  peakBytes: Math.max(...samples),
  seconds,
  sha256: hash.digest('hex'),
};
console.error(JSON.stringify(report));
