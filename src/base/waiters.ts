/**
 * A queue of callers that wait for a share of something scarce: memory of a slab, a place in a gate.
 *
 * Invariants
 *   1. First come, first served: a later, smaller request never overtakes an earlier, larger one, so no
 *      request starves.
 *   2. A caller that gives up by its signal leaves the queue, takes nothing, and holds nobody up.
 */
export class Waiters<Wanted, Granted> {
  readonly #tryGrant: (wanted: Wanted) => Granted | undefined;
  /** By order of arrival: a Set keeps that order, and lets a waiter leave from the middle. */
  readonly #queue = new Set<Waiter<Wanted, Granted>>();

  /**
   * @param tryGrant takes what is wanted and returns it. While there is no room it takes nothing and returns
   *   undefined.
   */
  constructor(tryGrant: (wanted: Wanted) => Granted | undefined) {
    this.#tryGrant = tryGrant;
  }

  /** Callers that wait now. */
  get count(): number {
    return this.#queue.size;
  }

  /** Takes what is wanted at once. Undefined when there is no room, or when others wait already. */
  tryNow(wanted: Wanted): Granted | undefined {
    return this.#queue.size === 0 ? this.#tryGrant(wanted) : undefined;
  }

  /** Joins the queue. Rejects with the signal's reason when it aborts before the grant. */
  wait(wanted: Wanted, signal?: AbortSignal): Promise<Granted> {
    const { promise, resolve, reject } = Promise.withResolvers<Granted>();
    const onAbort = (): void => {
      this.#queue.delete(waiter);
      reject(signal?.reason);
      // The caller that left may have been the only one that held up the next.
      this.serve();
    };
    const leave = (): void => {
      this.#queue.delete(waiter);
      signal?.removeEventListener('abort', onAbort);
    };
    const waiter: Waiter<Wanted, Granted> = {
      wanted,
      grant: granted => {
        leave();
        resolve(granted);
      },
      fail: error => {
        leave();
        reject(error);
      },
    };
    this.#queue.add(waiter);
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** Serves waiters in order, as far as there is room. Call it whenever some has become free. */
  serve(): void {
    for (const waiter of this.#queue) {
      const granted = this.#tryGrant(waiter.wanted);
      if (granted === undefined) return;
      waiter.grant(granted);
    }
  }

  /** Rejects all who wait now. */
  failAll(error: unknown): void {
    for (const waiter of this.#queue) waiter.fail(error);
  }
}

interface Waiter<Wanted, Granted> {
  readonly wanted: Wanted;
  readonly grant: (granted: Granted) => void;
  readonly fail: (error: unknown) => void;
}
