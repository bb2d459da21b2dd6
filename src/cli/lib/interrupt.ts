/** Ctrl-C: the first one asks the command to stop and tidy up, the second one ends the process at once. */

/**
 * Runs `work` with a signal that aborts at the first SIGINT or SIGTERM. The abort's reason is an `AbortError`, which
 * becomes exit code 130.
 */
export async function withInterrupt<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const onSignal = (): void => {
    controller.abort(new DOMException('interrupted', 'AbortError'));
    // With no listener left, the next one has its usual effect.
    stopListening();
  };
  const stopListening = (): void => {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
  }
}

/** Settles as `work` does, or rejects with the signal's reason as soon as it aborts, whatever `work` waits for. */
export async function untilAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  // Once it has been left behind, nobody listens to how it fails.
  work.catch(() => undefined);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    signal.throwIfAborted();
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
