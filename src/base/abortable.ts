/** Waiting that can be given up. */

/**
 * The reason to abort work that nobody waits for any more. It is made once, because `abort()` without a
 * reason makes an error with a stack each time.
 */
export const OVER: Error = new Error('it is over');

/**
 * Resolves and rejects as `work` does, unless the signal aborts first: then it rejects with the signal's
 * reason at once.
 *
 * After an abort `work` goes on, and its outcome is dropped, even if it is a failure.
 *
 * @param onAbort called once, when the signal aborts.
 */
export function abortable<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
  onAbort: () => void = () => undefined,
): Promise<Result> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      onAbort();
      reject(signal.reason);
    };
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    work.finally(() => signal.removeEventListener('abort', abort)).then(resolve, reject);
  });
}
