/**
 * Ctrl-C, and the other signals that ask a command to end: SIGTERM, and the SIGHUP of a terminal that is
 * closed. The first signal asks the command to stop and tidy up. The second one ends the process at once.
 */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs `work` with a signal that aborts at the first SIGINT, SIGTERM or SIGHUP. The abort's reason is an
 * `AbortError`, which becomes exit code 130.
 */
export async function withInterrupt<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const onSignal = (): void => {
    controller.abort(new DOMException('interrupted', 'AbortError'));
    // With no listener left, the next signal ends the process.
    stopListening();
  };
  const stopListening = (): void => {
    for (const name of SIGNALS) process.off(name, onSignal);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
  }
}

/**
 * Settles as `work` does, or rejects with the signal's reason as soon as it aborts, even while `work` is
 * stuck.
 */
export async function untilAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  // After an abort nothing awaits `work`: its failure must not count as unhandled.
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
