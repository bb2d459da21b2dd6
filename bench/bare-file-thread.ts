/** One of the threads of bare-file-threads.ts. */
import { closeSync, openSync, readSync, writeSync, writevSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import type { BareFileStart, BareFileTask } from './bare-file-threads.ts';
import { BARE_NONCE_BYTES, BARE_TAG_BYTES, BareWorker } from './bare-work.ts';

const { source, sealed, target, unitBytes, fromUnit, toUnit } = workerData as BareFileStart;
const worker = new BareWorker(unitBytes);
const plain = Buffer.allocUnsafeSlow(unitBytes);
const record = Buffer.allocUnsafeSlow(2 * unitBytes);
/** The lengths of the records that were written last. */
let recordBytes: number[] = [];

/** Throws unless `done` is `wanted`. Files in memory and on a disk with room take all at once. */
function requireWhole(done: number, wanted: number): void {
  if (done !== wanted) throw new Error(`bare thread: ${done} of ${wanted} bytes`);
}

/** Reads this thread's units of the source, and writes their records one behind the other. */
function put(): void {
  const from = openSync(source, 'r');
  const to = openSync(sealed, 'w');
  recordBytes = [];
  for (let at = fromUnit; at < toUnit; at += 1) {
    requireWhole(readSync(from, plain, 0, unitBytes, at * unitBytes), unitBytes);
    const { nonce, ciphertext, tag } = worker.seal(plain);
    const lengthBytes = nonce.byteLength + ciphertext.byteLength + tag.byteLength;
    requireWhole(writevSync(to, [nonce, ciphertext, tag]), lengthBytes);
    recordBytes.push(lengthBytes);
  }
  closeSync(from);
  closeSync(to);
}

/** Reads the records again, and writes their units into the target, which is there. */
function get(): void {
  const from = openSync(sealed, 'r');
  const to = openSync(target, 'r+');
  let offsetBytes = 0;
  for (const [at, lengthBytes] of recordBytes.entries()) {
    requireWhole(readSync(from, record, 0, lengthBytes, offsetBytes), lengthBytes);
    offsetBytes += lengthBytes;
    const unit = worker.open({
      nonce: record.subarray(0, BARE_NONCE_BYTES),
      ciphertext: record.subarray(BARE_NONCE_BYTES, lengthBytes - BARE_TAG_BYTES),
      tag: record.subarray(lengthBytes - BARE_TAG_BYTES, lengthBytes),
    });
    requireWhole(writeSync(to, unit, 0, unit.byteLength, (fromUnit + at) * unitBytes), unitBytes);
  }
  closeSync(from);
  closeSync(to);
}

parentPort?.on('message', (task: BareFileTask) => {
  if (task === 'put') put();
  else get();
  parentPort?.postMessage('done');
});
parentPort?.postMessage('ready');
