/** Keeping the event loop responsive during long work. */
import { setImmediate as atOnce } from 'node:timers';
import { setImmediate } from 'node:timers/promises';

/**
 * Resolves after everything else that is ready has had its turn: I/O, timers, other callers. Long loops await
 * it every millisecond or so of work. Check afterwards whatever the others may have changed: whether the
 * owner is still open, whether the signal has aborted.
 */
export function giveTurn(): Promise<void> {
  return setImmediate();
}

/** How long short pieces of work may take together before others have their turn, in ms. */
export const TURN_MS = 1;
/** The clock is read once in so many pieces. */
const PIECES_PER_LOOK = 8;

/**
 * Tells when many short pieces of work have taken so long together that others must have their turn. Awaiting
 * a promise that is resolved already lets no I/O in between, so a loop of such awaits could keep others out
 * for ever.
 */
export class TurnClock {
  readonly #turnMs: number;
  #pieceCount = 0;
  #endMs = 0;
  /** True until the event loop has gone on. */
  #isRunning = false;

  constructor(turnMs: number = TURN_MS) {
    this.#turnMs = turnMs;
  }

  /** Counts a piece. Returns true when {@link giveTurn} should be awaited. */
  count(): boolean {
    if (!this.#isRunning) {
      this.#isRunning = true;
      this.#pieceCount = 0;
      this.#endMs = performance.now() + this.#turnMs;
      atOnce(() => {
        this.#isRunning = false;
      });
    }
    this.#pieceCount += 1;
    return this.#pieceCount % PIECES_PER_LOOK === 0 && performance.now() >= this.#endMs;
  }
}
