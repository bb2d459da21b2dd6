/**
 * The two ends of a Web Stream whose batches are worked on in parallel and come out in order.
 *
 * Invariants
 *   1. The reader pulls. It gets a batch only when it has taken all batches before it, and a fault only when
 *      it has taken all bytes before the fault. So an error never drops good bytes, and the output does not
 *      depend on how the input was cut into chunks.
 *   2. At most `limit` batches are in work or wait for the reader, whatever their length. Beyond that,
 *      writers wait.
 *   3. A batch goes out as soon as it and all batches before it are done, whether or not more input comes.
 *   4. When the reader cancels or the writer aborts, both ends finish at once. Results still in work are
 *      dropped.
 */

/** The two ends of a transform, as `pipeThrough` takes them. */
export interface StreamPair {
  readonly writable: WritableStream<Uint8Array>;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** The result of one batch. */
export interface BatchResult {
  /** Bytes for the reader, who owns them. May be empty. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The error that the reader meets after these bytes. */
  readonly fault?: Error | undefined;
}

/** Turns input into batches. Calls of `write` and `end` never overlap; `onIdle` is called at any time. */
export interface BatchSource {
  write(chunk: Uint8Array): Promise<void>;
  /**
   * Called after the last write. An error that it throws fails the stream. It may await
   * {@link OrderedOutput.drain}.
   */
  end(): Promise<void>;
  /** Called when the reader has taken everything. The source may send on what does not fill a batch yet. */
  onIdle(): void;
}

/** Joins a source of batches with the two ends of a stream. */
export class OrderedOutput {
  readonly #limit: number;
  /** Batches that the reader has not taken, oldest first. */
  readonly #batches: Promise<BatchResult>[] = [];
  #failure: { readonly error: unknown } | undefined;
  /** Resolved, and replaced, whenever a batch comes or goes or the stream fails. */
  #change = Promise.withResolvers<void>();
  #onIdle: () => void = () => undefined;
  #readable: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStreamDefaultController | undefined;

  constructor(workerCount: number) {
    // Each worker has a batch to work on while one more is handed to the reader.
    this.#limit = Math.max(1, workerCount) + 1;
  }

  /** Makes the two ends of the stream. Call it once. */
  connect(source: BatchSource): StreamPair {
    this.#onIdle = () => source.onIdle();
    const readable = new ReadableStream<Uint8Array<ArrayBuffer>>(
      {
        start: controller => {
          this.#readable = controller;
        },
        pull: controller => this.#pull(controller),
        cancel: reason => this.#fail(reason),
      },
      { highWaterMark: 0 },
    );
    const writable = new WritableStream<Uint8Array>({
      start: controller => {
        this.#writable = controller;
        // The sink's abort() would be called only after the current write, which this has to wake.
        const { signal } = controller as WritableStreamDefaultController & { readonly signal: AbortSignal };
        signal.addEventListener('abort', () => this.#failReader(signal.reason));
      },
      write: chunk => this.#inTurn(() => source.write(chunk)),
      close: () =>
        this.#inTurn(async () => {
          await source.end();
          await this.drain();
          this.#readable?.close();
        }),
    });
    return { readable, writable };
  }

  /** True when the reader has taken everything. */
  get isIdle(): boolean {
    return this.#batches.length === 0;
  }

  /** Appends a batch that is being worked on. Await {@link room} before the next one. */
  add(batch: Promise<BatchResult>): void {
    // The batch is awaited in its turn; until then a failure must not count as unhandled.
    batch.catch(() => undefined);
    if (this.#failure !== undefined) return;
    this.#batches.push(batch);
    this.#changed();
  }

  /** Resolves when another batch may be added. Rejects when the stream has failed. */
  async room(): Promise<void> {
    await this.#waitUntil(() => this.#batches.length < this.#limit);
  }

  /** Resolves when the reader has taken everything. Rejects when the stream has failed. */
  async drain(): Promise<void> {
    await this.#waitUntil(() => this.#batches.length === 0);
  }

  /**
   * Calls `work`. When it fails, waits until the reader has taken everything before it, then fails the
   * stream.
   */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.drain();
      this.#fail(error);
      throw error;
    }
  }

  /** Gives the reader one chunk, or fails the stream. */
  async #pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      for (let given = false; !given; ) {
        await this.#waitUntil(() => this.#batches.length > 0);
        const { bytes, fault } = (await this.#batches[0]) ?? { bytes: new Uint8Array(0) };
        if (this.#failure !== undefined) return;
        given = bytes.byteLength > 0;
        if (given) controller.enqueue(bytes);
        else if (fault !== undefined) throw fault;
        // The fault waits until the reader has taken the bytes before it.
        const rest = fault === undefined ? [] : [Promise.resolve({ bytes: new Uint8Array(0), fault })];
        this.#batches.splice(0, 1, ...rest);
        this.#changed();
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.isIdle) this.#onIdle();
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failReader(error);
    this.#writable?.error(error);
  }

  /**
   * Fails the reader's end only. Used when the writer aborts: failing the writer's end as well would make its
   * call of `abort` reject.
   */
  #failReader(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#batches.length = 0;
    this.#readable?.error(error);
    this.#changed();
  }

  async #waitUntil(condition: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (condition()) return;
      await this.#change.promise;
    }
  }

  #changed(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}
