/** One of the threads of bare-streams.ts. */
import { closeSync, openSync, readSync, writeSync, writevSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { BareStreamStart, BareStreamTask } from './bare-streams.ts';
import { BARE_NONCE_BYTES, BARE_TAG_BYTES, BareWorker } from './bare-work.ts';

const { data, repeats, unitBytes, store, cache, fromUnit, toUnit } = workerData as BareStreamStart;
const worker = new BareWorker(unitBytes);
const source = new Uint8Array(data);
const plain = Buffer.allocUnsafeSlow(unitBytes);
const record = Buffer.allocUnsafeSlow(2 * unitBytes);
/** The lengths of the records that were written last. */
let recordBytes: number[] = [];

function requireWhole(done: number, wanted: number): void {
  if (done !== wanted) throw new Error(`bare thread: ${done} of ${wanted} bytes`);
}

/** Copies this thread's units, seals the copies, and writes each record into both files. */
function write(): void {
  const files = [openSync(store, 'w'), openSync(cache, 'w')];
  recordBytes = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    for (let at = fromUnit; at < toUnit; at += 1) {
      plain.set(source.subarray(at * unitBytes, (at + 1) * unitBytes));
      const { nonce, ciphertext, tag } = worker.seal(plain);
      const lengthBytes = nonce.byteLength + ciphertext.byteLength + tag.byteLength;
      for (const file of files) requireWhole(writevSync(file, [nonce, ciphertext, tag]), lengthBytes);
      recordBytes.push(lengthBytes);
    }
  }
  for (const file of files) closeSync(file);
}

/** Reads the records of one file again, opens them, and copies the units; fills the other file if asked to. */
function read(fillsCache: boolean): void {
  const from = openSync(store, 'r');
  const to = fillsCache ? openSync(cache, 'w') : undefined;
  let offsetBytes = 0;
  for (const lengthBytes of recordBytes) {
    requireWhole(readSync(from, record, 0, lengthBytes, offsetBytes), lengthBytes);
    offsetBytes += lengthBytes;
    if (to !== undefined) requireWhole(writeSync(to, record, 0, lengthBytes), lengthBytes);
    const unit = worker.open({
      nonce: record.subarray(0, BARE_NONCE_BYTES),
      ciphertext: record.subarray(BARE_NONCE_BYTES, lengthBytes - BARE_TAG_BYTES),
      tag: record.subarray(lengthBytes - BARE_TAG_BYTES, lengthBytes),
    });
    plain.set(unit);
  }
  closeSync(from);
  if (to !== undefined) closeSync(to);
}

parentPort?.on('message', (task: BareStreamTask) => {
  if (task === 'write') write();
  else read(task === 'fill');
  parentPort?.postMessage('done');
});
parentPort?.postMessage('ready');
