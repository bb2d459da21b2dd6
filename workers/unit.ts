/**
 * The entry point of a worker thread. A request comes in, `src/unit` seals or opens its units, a reply goes
 * out.
 */
import { workerData } from 'node:worker_threads';
import { JobWorker, type WorkerStart } from '../src/pipeline/job-worker.ts';
import { answer, type WorkerReply, type WorkerRequest } from '../src/pipeline/protocol.ts';

const runner = JobWorker.start(workerData as WorkerStart);
// When the start fails, every request is answered with that failure. It must not end the thread before the
// first one.
runner.catch(() => undefined);

export default function handle(request: WorkerRequest): Promise<WorkerReply> {
  return answer(runner, request);
}
