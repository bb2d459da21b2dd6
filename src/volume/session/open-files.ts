/**
 * The files that this session has open. Its head tells other clients since when, and their gc keeps the
 * objects that such files may still read.
 */
export class OpenFiles {
  readonly #since = new Set<{ readonly atMs: number }>();

  get count(): number {
    return this.#since.size;
  }

  /** When the file that is open longest was opened, by this machine's clock; undefined when none is open. */
  get oldestMs(): number | undefined {
    let oldestMs: number | undefined;
    for (const { atMs } of this.#since) if (oldestMs === undefined || atMs < oldestMs) oldestMs = atMs;
    return oldestMs;
  }

  /** Notes an open file. Returns the function that ends it; a second call of that does nothing. */
  open(atMs: number): () => void {
    const file = { atMs };
    this.#since.add(file);
    return () => {
      this.#since.delete(file);
    };
  }
}
