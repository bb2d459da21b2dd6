/** The files that a session is using, so that its head can say since when: gc keeps what they were made of. */
export class OpenFiles {
  readonly #since = new Set<{ readonly atMs: number }>();

  get count(): number {
    return this.#since.size;
  }

  /** When the oldest was opened, by this machine's clock; undefined when none is open. */
  get oldestMs(): number | undefined {
    let oldestMs: number | undefined;
    for (const { atMs } of this.#since) if (oldestMs === undefined || atMs < oldestMs) oldestMs = atMs;
    return oldestMs;
  }

  /** Returns what ends it; calling that again does nothing. */
  open(atMs: number): () => void {
    const file = { atMs };
    this.#since.add(file);
    return () => {
      this.#since.delete(file);
    };
  }
}
