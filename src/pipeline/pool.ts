/**
 * Runs jobs on worker threads (by piscina), or on this thread when there are none.
 *
 * Invariants
 *   1. `run` settles only after the worker has answered or its thread has exited: nobody writes to a job's memory
 *      afterwards, so its slots may be used again.
 *   2. A worker that dies fails the jobs that it had with EWORKER and is replaced.
 *   3. When no worker is left and none can be started, every job fails with EWORKER; none waits for ever. The next one
 *      tries to start a worker again.
 *   4. piscina itself never holds more jobs than the workers can take at once; the rest wait here, see job-queues.ts.
 */
import { getCompileCacheDir } from 'node:module';
import type { Worker } from 'node:worker_threads';
import { FixedQueue, Piscina } from 'piscina';
import { isNetsealError, messageOf, NetsealError } from '../base/errors.ts';
import { giveTurn } from '../base/turns.ts';
import type { ProviderReport } from '../unit/providers.ts';
import { BatchRunner, describeError, type JobReply, restoreError, type WorkerStart } from './batch.ts';
import { JobQueues } from './job-queues.ts';
import type { WorkerReply, WorkerRequest } from './protocol.ts';

/** Something that does jobs. */
export interface JobRunner {
  readonly providers: ProviderReport;
  /**
   * Does the job at this offset of the job slab. Rejects with EWORKER, ECLOSED or EBUG.
   *
   * @param queue the number of the queue that the job waits in. Jobs of one queue start in order; queues take turns.
   */
  run(jobOffset: number, queue: number): Promise<JobReply>;
  /**
   * Fails what has not started with ECLOSED, waits for what has, ends the threads. Jobs that still run after `waitMs` fail
   * with EWORKER.
   */
  close(waitMs: number): Promise<void>;
}

/** One job running and one waiting in each worker, so that none idles while the main thread is busy. */
const JOBS_PER_WORKER = 2;

/** A worker's short-lived objects are small and die at once: more room for them would only be filled before it is swept. */
const WORKER_YOUNG_MIB = 2;

/** The entry point beside these sources or, in the package, beside their build. */
function workerUrl(): URL {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return new URL(`../../workers/unit.${extension}`, import.meta.url);
}

/**
 * Nothing of the environment but piscina's own switches: it may hold a passphrase, and no worker needs one. Where this process
 * keeps compiled code, workers do too: it halves their start in a checkout.
 */
function workerEnvironment(): Record<string, string | undefined> {
  const switches = Object.entries(process.env).filter(([name]) => name.startsWith('PISCINA_'));
  const cache = getCompileCacheDir?.();
  return { ...Object.fromEntries(switches), ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }) };
}

interface QueuedJob {
  readonly jobOffset: number;
  readonly resolve: (reply: JobReply) => void;
  readonly reject: (error: NetsealError) => void;
}

export class WorkerPool implements JobRunner {
  readonly #piscina: Piscina;
  /** Of our own: piscina's default queue is one object for all pools. */
  readonly #piscinaQueue = new FixedQueue();
  /** Every thread that has not exited yet, with its exit. */
  readonly #exits = new Map<Worker, Promise<void>>();
  readonly #queues = new JobQueues<QueuedJob>();
  readonly #capacity: number;
  readonly #idleWaiters: (() => void)[] = [];
  #running = 0;
  #closed = false;
  /** How to fail each request that a worker has not answered yet. */
  readonly #unanswered = new Set<(error: unknown) => void>();
  #providers: ProviderReport | undefined;

  /**
   * Starts `workerCount` threads and waits until they are ready. Rejects with what a worker's start failed with
   * (EUNSUPPORTED for a missing provider), or EWORKER.
   *
   * @param entry another entry point with the same protocol; tests only.
   */
  static async start(workerCount: number, start: WorkerStart, entry: URL = workerUrl()): Promise<WorkerPool> {
    const pool = new WorkerPool(workerCount, start, entry);
    try {
      const replies = Array.from({ length: workerCount }, () => pool.#ask({ type: 'hello' }));
      for (const reply of await Promise.all(replies)) {
        if (reply.type === 'ready') pool.#providers = reply.providers;
        if (reply.type === 'failed') throw restoreError(reply);
      }
      return pool;
    } catch (error) {
      await pool.close(0);
      throw error;
    }
  }

  private constructor(workerCount: number, start: WorkerStart, entry: URL) {
    this.#capacity = workerCount * JOBS_PER_WORKER;
    this.#piscina = new Piscina({
      filename: entry.href,
      minThreads: workerCount,
      maxThreads: workerCount,
      concurrentTasksPerWorker: JOBS_PER_WORKER,
      taskQueue: this.#piscinaQueue,
      recordTiming: false,
      resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_MIB },
      workerData: start,
      env: workerEnvironment(),
    });
    this.#trackThreads();
    this.#piscina.on('workerCreate', () => this.#trackThreads());
    // A microtask later, piscina has dropped the thread that died and started the one in its place.
    this.#piscina.on('workerDestroy', () => queueMicrotask(() => this.#threadDied()));
    this.#piscina.on('error', error => this.#threadDied(error));
  }

  get providers(): ProviderReport {
    if (this.#providers === undefined) throw new NetsealError('EBUG', 'worker pool used before it was ready');
    return this.#providers;
  }

  /** The live threads; tests end them to see what happens. */
  get threads(): readonly Worker[] {
    return this.#piscina.threads;
  }

  run(jobOffset: number, queue: number): Promise<JobReply> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new NetsealError('ECLOSED', 'the pipeline is closed'));
        return;
      }
      this.#queues.push(queue, { jobOffset, resolve, reject });
      this.#startQueued();
    });
  }

  async close(waitMs: number): Promise<void> {
    this.#closed = true;
    for (const job of this.#queues.clear()) {
      job.reject(new NetsealError('ECLOSED', 'the pipeline was closed before this job started'));
    }
    await this.#idle(waitMs);
    // Again, as piscina replaces a thread that died just before when that one's exit comes later than the end of this.
    do {
      await this.#piscina.destroy();
      await Promise.all(this.#exits.values());
    } while (this.#piscina.threads.length > 0);
  }

  /** Resolves when no job runs, or after `waitMs`. */
  async #idle(waitMs: number): Promise<void> {
    if (this.#running === 0) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>(resolve => {
      this.#idleWaiters.push(resolve);
      timer = setTimeout(resolve, waitMs);
    });
    clearTimeout(timer);
  }

  #startQueued(): void {
    while (this.#running < this.#capacity) {
      const job = this.#queues.shift();
      if (job === undefined) return;
      this.#running += 1;
      this.#runJob(job.jobOffset)
        .finally(() => this.#jobEnded())
        .then(job.resolve, job.reject);
    }
  }

  #jobEnded(): void {
    this.#running -= 1;
    this.#startQueued();
    if (this.#running === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  async #runJob(jobOffset: number): Promise<JobReply> {
    const reply = await this.#ask({ type: 'job', jobOffset });
    if (reply.type === 'done') return reply.reply;
    if (reply.type === 'failed') throw restoreError(reply);
    throw new NetsealError('EBUG', `worker answered "${reply.type}" to a job`);
  }

  /** Sends a request to some worker. Rejects with EWORKER after the worker's thread has exited. */
  async #ask(request: WorkerRequest): Promise<WorkerReply> {
    try {
      return await this.#answerOf(request);
    } catch (cause) {
      await this.#departedThreads();
      if (isNetsealError(cause)) throw cause;
      throw new NetsealError('EWORKER', `a worker thread died: ${messageOf(cause)}`, { cause });
    }
  }

  /** Rejects with what piscina rejects with, or {@link #failAll} was told. */
  #answerOf(request: WorkerRequest): Promise<WorkerReply> {
    return new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      this.#piscina
        .run(request)
        .finally(() => this.#unanswered.delete(reject))
        .then(resolve, reject);
      // It may have started one.
      this.#trackThreads();
    });
  }

  #trackThreads(): void {
    for (const thread of this.#piscina.threads) {
      if (this.#exits.has(thread)) continue;
      const exit = new Promise<void>(resolve => {
        thread.once('exit', () => {
          this.#exits.delete(thread);
          resolve();
        });
      });
      this.#exits.set(thread, exit);
    }
  }

  /** Waits for the threads that left the pool. piscina reports a death before the thread has ended. */
  async #departedThreads(): Promise<void> {
    const live = new Set(this.#piscina.threads);
    await Promise.all([...this.#exits].filter(([thread]) => !live.has(thread)).map(([, exit]) => exit));
  }

  #threadDied(cause?: unknown): void {
    this.#trackThreads();
    if (this.#piscina.threads.length > 0) return;
    const why = cause === undefined ? 'all of them ended' : messageOf(cause);
    this.#failAll(new NetsealError('EWORKER', `no worker thread can be started: ${why}`, { cause }));
  }

  /** Fails everything that waits for a worker, while there is none. */
  #failAll(error: NetsealError): void {
    // Or a worker started later would write to memory that is somebody else's by then.
    while (this.#piscinaQueue.shift() !== null);
    for (const fail of this.#unanswered) fail(error);
    this.#unanswered.clear();
    for (const job of this.#queues.clear()) job.reject(error);
  }
}

/** No threads: jobs run here, one a turn of the event loop. */
export class InlineRunner implements JobRunner {
  readonly #runner: BatchRunner;
  readonly #queues = new JobQueues<QueuedJob>();
  /** Runs while there are jobs. */
  #working: Promise<void> | undefined;
  #closed = false;

  static async start(start: WorkerStart): Promise<InlineRunner> {
    return new InlineRunner(await BatchRunner.start(start));
  }

  private constructor(runner: BatchRunner) {
    this.#runner = runner;
  }

  get providers(): ProviderReport {
    return this.#runner.providerReport;
  }

  run(jobOffset: number, queue: number): Promise<JobReply> {
    return new Promise((resolve, reject) => {
      this.#queues.push(queue, { jobOffset, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#working;
    this.#runner.close();
  }

  async #work(): Promise<void> {
    // Lets I/O and timers in between jobs.
    await giveTurn();
    for (let job = this.#queues.shift(); job !== undefined; job = this.#queues.shift()) {
      this.#runJob(job);
      await giveTurn();
    }
    this.#working = undefined;
  }

  #runJob({ jobOffset, resolve, reject }: QueuedJob): void {
    if (this.#closed) {
      reject(new NetsealError('ECLOSED', 'the pipeline was closed before this job started'));
      return;
    }
    try {
      resolve(this.#runner.run(jobOffset));
    } catch (cause) {
      // As a worker would report it.
      reject(restoreError(describeError(cause)));
    }
  }
}
