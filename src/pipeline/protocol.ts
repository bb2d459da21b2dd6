/**
 * What the main thread and a worker say to each other. Everything large or secret lies in shared memory that the worker
 * maps when it starts; a message is a few words.
 */
import type { ProviderReport } from '../unit/providers.ts';
import { type BatchRunner, describeError, type ErrorData, type JobReply } from './batch.ts';

export type WorkerRequest =
  /** Answered when the worker has its providers. */
  | { readonly type: 'hello' }
  /** Do the job at this offset of the job slab. */
  | { readonly type: 'job'; readonly jobOffset: number };

export type WorkerReply =
  | { readonly type: 'ready'; readonly providers: ProviderReport }
  | { readonly type: 'done'; readonly reply: JobReply }
  /** The worker could not start, or the job as a whole failed. Errors travel as data: cloning one drops its code. */
  | ({ readonly type: 'failed' } & ErrorData);

/** A worker's answer to one request. Never rejects. */
export async function answer(starting: Promise<BatchRunner>, request: WorkerRequest): Promise<WorkerReply> {
  try {
    const runner = await starting;
    if (request.type === 'hello') return { type: 'ready', providers: runner.providerReport };
    return { type: 'done', reply: runner.run(request.jobOffset) };
  } catch (error) {
    return { type: 'failed', ...describeError(error) };
  }
}
