/**
 * Runs jobs on worker threads, which piscina manages, or on this thread when there are no workers.
 *
 * Invariants
 *   1. `run` settles only after the worker has answered or its thread has exited. No worker writes to the
 *      job's memory after that, so the memory may be lent again.
 *   2. When a worker dies, the jobs that it had fail with EWORKER, and another worker takes its place.
 *   3. When no worker is left and none can be started, every job fails with EWORKER; none waits for ever. The
 *      next job tries to start a worker again.
 *   4. piscina never holds more jobs than the workers can take at once. The other jobs wait here
 *      (job-queues.ts).
 */
import module from 'node:module';
import type { Worker } from 'node:worker_threads';
import type { FixedQueue, Piscina } from 'piscina';
import { isNetsealError, messageOf, NetsealError } from '../base/errors.ts';
import { giveTurn } from '../base/turns.ts';
import type { ProviderReport } from '../unit/providers.ts';
import { JobQueues } from './job-queues.ts';
import { describeError, type JobReply, JobWorker, restoreError, type WorkerStart } from './job-worker.ts';
import type { WorkerReply, WorkerRequest } from './protocol.ts';

/** Does jobs, on this thread or on others. */
export interface JobRunner {
  readonly providers: ProviderReport;
  /**
   * Does the job at this offset of the job slab. Rejects with EWORKER, ECLOSED or EBUG.
   *
   * @param queue the number of the queue that the job waits in. Jobs of one queue start in order; queues take
   *   turns.
   */
  run(jobOffset: number, queue: number): Promise<JobReply>;
  /**
   * Fails the jobs that have not started with ECLOSED, waits for the others, and ends the threads. Jobs that
   * still run after `waitMs` fail with EWORKER.
   */
  close(waitMs: number): Promise<void>;
}

/**
 * Each worker has one job running and one waiting, so that it does not idle while the main thread is busy.
 */
const JOBS_PER_WORKER = 2;

/**
 * A worker's short-lived objects are small and die at once. With more room, V8 would only fill it before it
 * collects.
 */
const WORKER_YOUNG_MIB = 2;

/** The package's file that this module is in; `.ci/build.mjs` names it. */
const PACKAGE_FILE = /\/dist\/netseal-[^/]+\.js$/;

/**
 * Returns the workers' entry point: the source beside these sources or, in the package, the file beside this
 * one. Undefined in another program's bundle, because bundlers do not bring that file along.
 */
export function workerUrl(): URL | undefined {
  // In a bundle this is the bundle's address, or undefined when the bundle is CommonJS.
  const own = String(import.meta.url);
  if (own.endsWith('/src/pipeline/pool.ts')) return new URL('../../workers/unit.ts', own);
  return PACKAGE_FILE.test(own) ? new URL('worker.js', own) : undefined;
}

/**
 * Returns the environment that workers get: piscina's own switches and Node's compile cache, and nothing
 * else. The rest of the environment may hold a passphrase, which no worker needs. The compile cache halves a
 * worker's start in a checkout.
 */
function workerEnvironment(): Record<string, string | undefined> {
  const switches = Object.entries(process.env).filter(([name]) => name.startsWith('PISCINA_'));
  // Older Nodes and Deno have no such function; a named import would keep them from loading this file.
  const cache = module.getCompileCacheDir?.();
  return { ...Object.fromEntries(switches), ...(cache === undefined ? {} : { NODE_COMPILE_CACHE: cache }) };
}

interface QueuedJob {
  readonly jobOffset: number;
  readonly resolve: (reply: JobReply) => void;
  readonly reject: (error: NetsealError) => void;
}

/** Worker threads that do jobs. */
export class WorkerPool implements JobRunner {
  readonly #piscina: Piscina;
  /** This pool's own task queue. piscina's default queue is one object that all pools share. */
  readonly #piscinaQueue: FixedQueue;
  /** The threads that have not exited yet, each with the promise of its exit. */
  readonly #exits = new Map<Worker, Promise<void>>();
  readonly #queues = new JobQueues<QueuedJob>();
  readonly #capacity: number;
  readonly #idleWaiters: (() => void)[] = [];
  #running = 0;
  #closed = false;
  /** For each request that no worker has answered yet: the function that makes it fail. */
  readonly #unanswered = new Set<(error: unknown) => void>();
  #providers: ProviderReport | undefined;

  /**
   * Starts `workerCount` threads and resolves when they are ready. Rejects with the error of a worker that
   * could not start (EUNSUPPORTED for a missing provider), or with EWORKER. Then no thread is left.
   *
   * @param entry the workers' entry point: {@link workerUrl}, or another that speaks the same protocol.
   */
  static async start(workerCount: number, start: WorkerStart, entry: URL): Promise<WorkerPool> {
    // Loaded only here, so that a bundle, which has no workers, starts without it.
    const pool = new WorkerPool(await import('piscina'), workerCount, start, entry);
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

  private constructor(
    library: Pick<typeof import('piscina'), 'FixedQueue' | 'Piscina'>,
    workerCount: number,
    start: WorkerStart,
    entry: URL,
  ) {
    this.#capacity = workerCount * JOBS_PER_WORKER;
    this.#piscinaQueue = new library.FixedQueue();
    this.#piscina = new library.Piscina({
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
    // One microtask later, piscina has dropped the dead thread and started its replacement.
    this.#piscina.on('workerDestroy', () => queueMicrotask(() => this.#threadDied()));
    this.#piscina.on('error', error => this.#threadDied(error));
  }

  get providers(): ProviderReport {
    if (this.#providers === undefined) throw new NetsealError('EBUG', 'worker pool used before it was ready');
    return this.#providers;
  }

  /** The live threads. Tests end them to see what happens. */
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
    // Repeated, because piscina may still replace a thread that died just before: it does so when the
    // thread's exit is reported after `destroy` has ended.
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

  /** Sends a request to a worker. When the worker dies, rejects with EWORKER after its thread has exited. */
  async #ask(request: WorkerRequest): Promise<WorkerReply> {
    try {
      return await this.#answerOf(request);
    } catch (cause) {
      await this.#departedThreads();
      if (isNetsealError(cause)) throw cause;
      throw new NetsealError('EWORKER', `a worker thread died: ${messageOf(cause)}`, { cause });
    }
  }

  /**
   * Sends a request to a worker. Rejects with piscina's error, or with the error that {@link #failAll} was
   * given.
   */
  #answerOf(request: WorkerRequest): Promise<WorkerReply> {
    return new Promise((resolve, reject) => {
      this.#unanswered.add(reject);
      this.#piscina
        .run(request)
        .finally(() => this.#unanswered.delete(reject))
        .then(resolve, reject);
      // piscina may have started a thread for it.
      this.#trackThreads();
    });
  }

  /** Notes the pool's new threads, to know when they exit. */
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

  /**
   * Waits for the exit of all threads that have left the pool. piscina reports a death before the thread has
   * ended.
   */
  async #departedThreads(): Promise<void> {
    const live = new Set(this.#piscina.threads);
    await Promise.all([...this.#exits].filter(([thread]) => !live.has(thread)).map(([, exit]) => exit));
  }

  /** Called when a thread has died. Fails everything when no thread is left. */
  #threadDied(cause?: unknown): void {
    this.#trackThreads();
    if (this.#piscina.threads.length > 0) return;
    const why = cause === undefined ? 'all of them ended' : messageOf(cause);
    this.#failAll(new NetsealError('EWORKER', `no worker thread can be started: ${why}`, { cause }));
  }

  /** Fails everything that waits for a worker. Called when there is none. */
  #failAll(error: NetsealError): void {
    // Otherwise a worker started later would do these jobs, and write to memory that has been lent to others.
    while (this.#piscinaQueue.shift() !== null);
    for (const fail of this.#unanswered) fail(error);
    this.#unanswered.clear();
    for (const job of this.#queues.clear()) job.reject(error);
  }
}

/** Does jobs on the calling thread, one in each turn of the event loop. */
export class InlineRunner implements JobRunner {
  readonly #runner: JobWorker;
  readonly #queues = new JobQueues<QueuedJob>();
  /** Settles when all jobs are done; undefined when there are none. */
  #working: Promise<void> | undefined;
  #closed = false;

  static async start(start: WorkerStart): Promise<InlineRunner> {
    return new InlineRunner(await JobWorker.start(start));
  }

  private constructor(runner: JobWorker) {
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
    // I/O and timers get their turn between jobs.
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
      // The same error that a worker's reply would be turned into.
      reject(restoreError(describeError(cause)));
    }
  }
}
