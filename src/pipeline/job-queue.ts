/**
 * Jobs that wait for a worker: in order within a lane, and lanes in turn, so that a long flush does not hold up a
 * read that comes after it.
 */
export class JobQueue<Job> {
  readonly #lanes = new Map<number, Job[]>();

  push(lane: number, job: Job): void {
    const jobs = this.#lanes.get(lane);
    if (jobs === undefined) this.#lanes.set(lane, [job]);
    else jobs.push(job);
  }

  /** The next job, of the lane that has waited longest for its turn; undefined when there is none. */
  shift(): Job | undefined {
    for (const [lane, jobs] of this.#lanes) {
      const job = jobs.shift();
      // To the end; an empty lane leaves.
      this.#lanes.delete(lane);
      if (jobs.length > 0) this.#lanes.set(lane, jobs);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  /** Takes all jobs out. */
  clear(): Job[] {
    const all = [...this.#lanes.values()].flat();
    this.#lanes.clear();
    return all;
  }
}
