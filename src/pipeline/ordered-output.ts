/**
 * The two ends of a stream whose batches are worked on side by side and come out in order.
 *
 * Invariants
 *   1. The reader pulls: a batch, and what is wrong after it, is given out only when the reader has taken all before it.
 *      So an error never drops bytes that were good, and what comes out does not depend on how the input was cut.
 *   2. At most `limit` batches are in work or wait for the reader, however much one of them opens to; then writers wait.
 *   3. A batch goes out as soon as it and all before it are done, whether or not more input comes.
 *   4. A reader that cancels and a writer that aborts end both sides at once; results still in work are dropped.
 */
/** What `pipeThrough` takes. */
export interface StreamPair {
  readonly writable: WritableStream<Uint8Array>;
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** What came of a batch. */
export interface BatchResult {
  /** For the reader, who owns them. May be empty. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What is wrong after these bytes. */
  readonly fault?: Error | undefined;
}

/** What turns input into batches. Its calls never overlap, but for `onIdle`, which comes at any time. */
export interface BatchSource {
  write(chunk: Uint8Array): Promise<void>;
  /** Called after the last write. What it throws, and it may wait for {@link OrderedOutput.drain}, ends the stream. */
  end(): Promise<void>;
  /** The reader has everything: it may be glad of what does not fill a batch yet. */
  onIdle(): void;
}

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
    // Enough for each worker to have work while one is handed over.
    this.#limit = Math.max(1, workerCount) + 1;
  }

  /** Makes the two ends. Call it once. */
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
        // The sink's own abort() comes only after the write that this has to wake.
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

  /** True when the reader has everything. */
  get isIdle(): boolean {
    return this.#batches.length === 0;
  }

  /** Takes a batch that is being worked on. Wait for {@link room} before the next. */
  add(batch: Promise<BatchResult>): void {
    // It is looked at in its turn, and may not count as unhandled before that.
    batch.catch(() => undefined);
    if (this.#failure !== undefined) return;
    this.#batches.push(batch);
    this.#changed();
  }

  /** Resolves when there is room for another batch. Rejects when the stream has failed. */
  async room(): Promise<void> {
    await this.#waitUntil(() => this.#batches.length < this.#limit);
  }

  /** Resolves when the reader has everything. Rejects when the stream has failed. */
  async drain(): Promise<void> {
    await this.#waitUntil(() => this.#batches.length === 0);
  }

  /** Fails the stream when `work` fails, after everything before it has come out. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      await this.drain();
      this.#fail(error);
      throw error;
    }
  }

  /** Gives out one chunk, or ends. */
  async #pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    try {
      for (let given = false; !given; ) {
        await this.#waitUntil(() => this.#batches.length > 0);
        const { bytes, fault } = (await this.#batches[0]) ?? { bytes: new Uint8Array(0) };
        if (this.#failure !== undefined) return;
        given = bytes.byteLength > 0;
        if (given) controller.enqueue(bytes);
        else if (fault !== undefined) throw fault;
        // What is wrong waits until the bytes before it have been taken.
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

  /** As {@link #fail}, for a writer that aborts: it knows, and would be told that its abort failed. */
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
