/** One of the threads of bare-threads.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import type { BareStart, BareTask } from './bare-threads.ts';
import { type BareSealed, BareWorker } from './bare-work.ts';

const { data, unitBytes, fromUnit, toUnit } = workerData as BareStart;
const worker = new BareWorker(unitBytes);

function unit(at: number): Uint8Array {
  return new Uint8Array(data, at * unitBytes, unitBytes);
}

const sealed: BareSealed[] = [];
for (let at = fromUnit; at < toUnit; at += 1) {
  const record = worker.seal(unit(at));
  if (Buffer.compare(worker.open(record), unit(at)) !== 0)
    throw new Error(`bare thread: unit ${at} does not round-trip`);
  sealed.push(record);
}

parentPort?.on('message', (task: BareTask) => {
  if (task === 'seal') for (let at = fromUnit; at < toUnit; at += 1) worker.seal(unit(at));
  else for (const record of sealed) worker.open(record);
  parentPort?.postMessage('done');
});
parentPort?.postMessage('ready');
