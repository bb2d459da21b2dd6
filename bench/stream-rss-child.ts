/**
 * The processes that `stream-rss` measures. `seal BYTES` seals that much executable code to standard output; `open` opens
 * what comes on standard input. Both report to their parent.
 */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open } from 'node:fs/promises';
import { Keyring } from '../src/keys/keyring.ts';
import { openStream } from '../src/pipeline/open-stream.ts';
import { openPipeline } from '../src/pipeline/pipeline.ts';
import { sealStream } from '../src/pipeline/seal-stream.ts';
import { median } from './contest.ts';
import type { StreamRssReport } from './targets/stream-rss.ts';

/** What Node's own file streams read at a time. */
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

/** The Node binary over and over. */
async function* source(): AsyncGenerator<Uint8Array> {
  const file = await open(process.execPath);
  try {
    const { size } = await file.stat();
    while (plainBytes < streamBytes) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, streamBytes - plainBytes));
      const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, plainBytes % size);
      const part = chunk.subarray(0, bytesRead);
      countPlain(part);
      yield part;
    }
  } finally {
    await file.close();
  }
}

const pipeline = await openPipeline();
// The same for both processes; it protects nothing.
const keys = pipeline.addKeyring(new Keyring(new Uint8Array(16), new Map([[1, new Uint8Array(32).fill(7)]])));
const sampling = setInterval(() => {
  if (plainBytes > streamBytes / 10) samples.push(process.memoryUsage.rss());
}, SAMPLE_MS);
const startedMs = performance.now();
if (mode === 'seal') {
  for await (const chunk of ReadableStream.from(source()).pipeThrough(sealStream({ pipeline, keys }))) {
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
  }
} else {
  for await (const chunk of ReadableStream.from(process.stdin).pipeThrough(openStream({ pipeline, keys }))) {
    countPlain(chunk);
  }
}
const seconds = (performance.now() - startedMs) / 1000;
clearInterval(sampling);
samples.push(process.memoryUsage.rss());
await pipeline.close();
const report: StreamRssReport = {
  plainBytes,
  steadyBytes: median(samples),
  peakBytes: Math.max(...samples),
  seconds,
  sha256: hash.digest('hex'),
};
process.send?.(report);
process.disconnect();
