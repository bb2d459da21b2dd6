/**
 * Where sealed units go beside the server: the local cache, and what else a caller adds.
 *
 *   offered ──▶ held: the stream reads the sealed bytes in the memory that they were sealed in, or fetched to
 *      │           ├──▶ passed: the memory goes back
 *      │           └──▶ failed, or too late ──▶ an optional stream is dropped for this file; it is told once
 *      └──▶ not offered, and counted: the stream was dropped, or holds as much as it may
 *
 * A required stream is waited for, and a write fails with it.
 *
 * Invariants
 *   1. Streams go on independently: none waits for another, and neither does the server.
 *   2. Optional streams hold at most a quarter of a slab, so sealing and fetching always get on without them.
 *   3. An optional stream fails no read and no write.
 */
import { OVER } from '../base/abortable.ts';
import { NetsealError } from '../base/errors.ts';
import type { Scheduler } from '../base/scheduler.ts';

/** A sealed unit on its way to streams. */
export interface StreamUnit {
  /** 16 bytes: the object that it was sealed for. Neighbours share one array. */
  readonly objectId: Uint8Array;
  readonly index: number;
  /** The record. It holds still until the call has settled. */
  readonly bytes: Uint8Array;
}

export interface StreamSub {
  readonly units: readonly StreamUnit[];
  /** Aborts when the stream takes too long. The call then settles as soon as it is done with the bytes. */
  readonly signal?: AbortSignal;
}

/** Takes sealed units as they are. */
export interface WriteStream {
  /** For messages. */
  readonly name: string;
  /** True: a write that this stream does not take fails. */
  readonly isRequired: boolean;
  /**
   * Takes units, in any order. Settles when it reads their bytes no more. Rejects when the stream is of no
   * more use: an optional one is dropped then.
   */
  write(sub: StreamSub): Promise<void>;
}

/** An optional stream that a file does without from now on. */
export interface StreamDropped {
  readonly stream: string;
  /** The file's key. */
  readonly key: Uint8Array;
  readonly error: unknown;
}

/** What streams have done, of all files. */
export interface StreamCounters {
  /** Units that optional streams were given. */
  offered: number;
  /** Units that an optional stream did not get, as it held too much, or was dropped. */
  notOffered: number;
  /** Optional streams that were dropped, each once for a file. */
  dropped: number;
}

/** Keeps memory as it is while it is read: a lease, or a batch of the pipeline. */
export interface Holder {
  /** Returns a function that ends this hold. */
  hold(): () => void;
}

/** How long an optional stream may take for one write. */
const LAG_MS = 30_000;

/** Sealed bytes that optional streams hold, with their bound. */
export class HeldBytes {
  readonly maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** Counts bytes as held. False when that would be too many. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }
}

export interface StreamParts {
  readonly key: Uint8Array;
  readonly scheduler: Scheduler;
  readonly counters: StreamCounters;
  /** The longest record of the file. */
  readonly unitBytesMax: number;
  readonly onDropped: (event: StreamDropped) => void;
}

/** The streams of one file. */
export class Streams {
  readonly #parts: StreamParts;
  readonly #streams: readonly WriteStream[];
  readonly #dropped = new Set<WriteStream>();
  /** None of these rejects. */
  readonly #running = new Set<Promise<void>>();

  constructor(parts: StreamParts, streams: readonly WriteStream[]) {
    this.#parts = parts;
    this.#streams = streams;
  }

  /**
   * Gives units to all streams. Resolves when the required ones have them. Rejects with the error of a
   * required stream, once no required stream reads the bytes any more. Optional ones go on, and hold what
   * they read.
   */
  async write(units: readonly StreamUnit[], holder: Holder, held: HeldBytes): Promise<void> {
    const required: Promise<void>[] = [];
    for (const stream of this.#streams) {
      if (stream.isRequired) required.push(stream.write({ units }));
      else this.offer(stream, units, holder, held);
    }
    const results = await Promise.allSettled(required);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Gives units to one optional stream, unless that holds too much or was dropped. */
  offer(stream: WriteStream, units: readonly StreamUnit[], holder: Holder, held: HeldBytes): void {
    const { counters, unitBytesMax } = this.#parts;
    const bytes = units.reduce((sum, unit) => sum + unit.bytes.byteLength, 0);
    if (this.#dropped.has(stream) || unitBytesMax > held.maxBytes || !held.take(bytes)) {
      counters.notOffered += units.length;
      return;
    }
    counters.offered += units.length;
    const unhold = holder.hold();
    const running = this.#send(stream, units).then(() => {
      unhold();
      held.give(bytes);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  /** Resolves when no optional stream holds anything. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  /** Never rejects. */
  async #send(stream: WriteStream, units: readonly StreamUnit[]): Promise<void> {
    const late = new AbortController();
    const ended = new AbortController();
    const lagging = this.#parts.scheduler.sleep(LAG_MS, ended.signal).then(
      () => late.abort(new NetsealError('EUNAVAILABLE', `${stream.name} takes too long`)),
      () => undefined,
    );
    try {
      await stream.write({ units, signal: late.signal });
    } catch (error) {
      this.#drop(stream, error);
    } finally {
      ended.abort(OVER);
      await lagging;
    }
  }

  #drop(stream: WriteStream, error: unknown): void {
    if (this.#dropped.has(stream)) return;
    this.#dropped.add(stream);
    const { key, counters, onDropped } = this.#parts;
    counters.dropped += 1;
    try {
      onDropped({ stream: stream.name, key, error });
    } catch (thrown) {
      // An error that the listener throws is left uncaught, as with listeners of events.
      queueMicrotask(() => {
        throw thrown;
      });
    }
  }
}
