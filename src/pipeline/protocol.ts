/**
 * The messages between the main thread and a worker. Each is a few words long. Everything large or secret
 * lies in the shared memory that the worker maps when it starts.
 */
import type { ProviderReport } from '../unit/providers.ts';
import { describeError, type ErrorData, type JobReply, type JobWorker } from './job-worker.ts';

export type WorkerRequest =
  /** Answered by `ready` when the worker has chosen its providers. */
  | { readonly type: 'hello' }
  /** Asks for the job at this offset of the job slab. Answered by `done`. */
  | { readonly type: 'job'; readonly jobOffset: number };

export type WorkerReply =
  | { readonly type: 'ready'; readonly providers: ProviderReport }
  | { readonly type: 'done'; readonly reply: JobReply }
  /** The worker could not start, or the job as a whole failed. */
  | ({ readonly type: 'failed' } & ErrorData);

/** Returns a worker's answer to one request. Never rejects: a failure is an answer as well. */
export async function answer(starting: Promise<JobWorker>, request: WorkerRequest): Promise<WorkerReply> {
  try {
    const runner = await starting;
    if (request.type === 'hello') return { type: 'ready', providers: runner.providerReport };
    return { type: 'done', reply: runner.run(request.jobOffset) };
  } catch (error) {
    return { type: 'failed', ...describeError(error) };
  }
}
