/** Waiting that can be given up. */

/**
 * `work`, or the signal's reason as soon as it aborts; then `onAbort` is called, and `work` goes on: nobody is told any more what
 * becomes of it.
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
