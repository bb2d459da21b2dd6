/**
 * Jobs that wait for a worker, in numbered queues. A queue keeps its jobs in order, and queues take turns: a
 * long flush in one queue does not hold up a read that arrives later in another.
 */
export class JobQueues<Job> {
  /** Queues that have jobs. The first one's turn is next. */
  readonly #queues = new Map<number, Job[]>();

  /** Appends `job` to the queue of this number. */
  push(queue: number, job: Job): void {
    const jobs = this.#queues.get(queue);
    if (jobs === undefined) this.#queues.set(queue, [job]);
    else jobs.push(job);
  }

  /**
   * Takes the next job, from the queue that has waited longest for its turn; undefined when there is none.
   */
  shift(): Job | undefined {
    for (const [queue, jobs] of this.#queues) {
      const job = jobs.shift();
      // The queue goes behind the others; an empty one is dropped.
      this.#queues.delete(queue);
      if (jobs.length > 0) this.#queues.set(queue, jobs);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  /** Takes all jobs out. */
  clear(): Job[] {
    const all = [...this.#queues.values()].flat();
    this.#queues.clear();
    return all;
  }
}
