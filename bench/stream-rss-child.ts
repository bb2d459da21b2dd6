/** The process that `stream-rss` measures: seals a stream of executable code, opens it again, compares, and reports. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { Keyring } from '../src/keys/keyring.ts';
import { openStream } from '../src/pipeline/open-stream.ts';
import { openPipeline } from '../src/pipeline/pipeline.ts';
import { sealStream } from '../src/pipeline/seal-stream.ts';
import type { StreamRssReport } from './targets/stream-rss.ts';

const CHUNK_BYTES = 256 * 1024;
const streamBytes = Number(process.argv[2]);
const plainHash = createHash('sha256');
const openedHash = createHash('sha256');

/** The Node binary over and over. */
async function* source(): AsyncGenerator<Uint8Array> {
  const file = await open(process.execPath);
  try {
    const { size } = await file.stat();
    for (let sent = 0; sent < streamBytes; ) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, streamBytes - sent));
      const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, sent % size);
      const part = chunk.subarray(0, bytesRead);
      plainHash.update(part);
      sent += bytesRead;
      yield part;
    }
  } finally {
    await file.close();
  }
}

const pipeline = await openPipeline();
const keys = pipeline.addKeyring(Keyring.create());
const startedMs = performance.now();
let sealedBytes = 0;
let openedBytes = 0;
let steadyBytes = 0;
const count = new TransformStream<Uint8Array, Uint8Array>({
  transform(chunk, controller) {
    sealedBytes += chunk.byteLength;
    controller.enqueue(chunk);
  },
});
const sampling = setInterval(() => {
  if (openedBytes > streamBytes / 10) steadyBytes = Math.max(steadyBytes, process.memoryUsage.rss());
}, 20);
const opened = ReadableStream.from(source())
  .pipeThrough(sealStream({ pipeline, keys }))
  .pipeThrough(count)
  .pipeThrough(openStream({ pipeline, keys }));
for await (const chunk of opened) {
  openedHash.update(chunk);
  openedBytes += chunk.byteLength;
}
const seconds = (performance.now() - startedMs) / 1000;
clearInterval(sampling);
steadyBytes = Math.max(steadyBytes, process.memoryUsage.rss());
await pipeline.close();
const isSame = plainHash.digest('hex') === openedHash.digest('hex');
const report: StreamRssReport = { streamBytes: openedBytes, sealedBytes, steadyBytes, seconds, isSame };
console.log(JSON.stringify(report));
