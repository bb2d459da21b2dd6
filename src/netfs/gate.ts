/** Keeps writers out of a file while something must see it without any. */
import { abortable } from '../base/abortable.ts';

export class Gate {
  #closeCount = 0;
  #opened = Promise.withResolvers<void>();

  get isClosed(): boolean {
    return this.#closeCount > 0;
  }

  /**
   * Closes the gate.
   *
   * @returns a function that opens it, unless others have closed it, too. Calling it again does nothing.
   */
  close(): () => void {
    if (this.#closeCount === 0) this.#opened = Promise.withResolvers();
    this.#closeCount += 1;
    let hasEnded = false;
    return () => {
      if (hasEnded) return;
      hasEnded = true;
      this.#closeCount -= 1;
      if (this.#closeCount === 0) this.#opened.resolve();
    };
  }

  /**
   * Resolves when the closed gate opens. It may be closed again by the time that the caller goes on: look
   * again.
   */
  async whenOpened(signal?: AbortSignal): Promise<void> {
    await abortable(this.#opened.promise, signal);
  }
}
