/**
 * The process that `copy-rss` measures: writes so many bytes of executable code into an open file and reads them
 * back. `FOLDER BYTES` are its arguments; it prints a report.
 */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { CopyRssReport } from './targets/copy-rss.ts';
import { VolumeSide } from './volume-side.ts';

const MIB = 1024 * 1024;
const BUDGET_BYTES = 64 * MIB;
const SAMPLE_BYTES = 16 * MIB;
const [folder = '', bytesText = '0'] = process.argv.slice(2);
const fileBytes = Number(bytesText);
let peakBytes = 0;
let heapBytes = 0;

function sample(doneBytes: number): void {
  if (doneBytes % SAMPLE_BYTES === 0) peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
}

/** What the heap holds without what is only waiting to be swept. */
function sampleHeap(): void {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  heapBytes = Math.max(heapBytes, process.memoryUsage().heapUsed);
}

const side = await VolumeSide.create(folder, { memoryBytes: BUDGET_BYTES / 2 });
const open = await side.open('client', { pageBytes: BUDGET_BYTES / 2 });
const buffer = Buffer.allocUnsafeSlow(MIB);
const written = createHash('sha256');
const read = createHash('sha256');
const source = openSync(process.execPath, 'r');
const sourceBytes = fstatSync(source).size - MIB;
const file = await open.volume.open('/file', 'w+');
for (let position = 0; position < fileBytes; position += MIB) {
  readSync(source, buffer, 0, MIB, position % sourceBytes);
  written.update(buffer);
  await file.write(buffer, { position });
  sample(position);
}
await file.sync();
sampleHeap();
for (let position = 0; position < fileBytes; position += MIB) {
  const { bytesRead } = await file.read(buffer, { position });
  read.update(buffer.subarray(0, bytesRead));
  sample(position);
}
sampleHeap();
await file.close();
closeSync(source);
await open.close();
await side.stop();
const isSame = written.digest('hex') === read.digest('hex');
const report: CopyRssReport = { fileBytes, peakBytes, heapBytes, isSame };
console.log(JSON.stringify(report));
