/** The worker thread: a message in, a batch of units through `src/unit`, a message out. */
import { workerData } from 'node:worker_threads';
import { BatchRunner, type WorkerStart } from '../src/pipeline/batch.ts';
import { answer, type WorkerReply, type WorkerRequest } from '../src/pipeline/protocol.ts';

const runner = BatchRunner.start(workerData as WorkerStart);
// Its failure is the answer to every request; it must not end the thread before the first one comes.
runner.catch(() => undefined);

export default function handle(request: WorkerRequest): Promise<WorkerReply> {
  return answer(runner, request);
}
