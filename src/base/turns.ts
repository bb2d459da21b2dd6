/** Keeping the event loop responsive during long work. */
import { setImmediate } from 'node:timers/promises';

/**
 * Resolves after everything else that is ready has had its turn: I/O, timers, other callers. Long loops await
 * it every millisecond or so of work. Check afterwards whatever the others may have changed: whether the
 * owner is still open, whether the signal has aborted.
 */
export function giveTurn(): Promise<void> {
  return setImmediate();
}
