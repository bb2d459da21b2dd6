/**
 * A wrapper that repeats failed requests. The pauses between attempts grow, and each is random from 0 on
 * (full jitter).
 *
 *   call                             EUNAVAILABLE   EUNCERTAIN (the answer was lost)
 *   get, stat, list, now             repeat         repeat
 *   delete, put without condition    repeat         repeat: to do it twice does no harm
 *   put with condition, unique bytes repeat         repeat; after a conflict, compare the bytes there
 *   put with condition, other bytes  repeat         pass the error on
 *
 * After a lost answer, a conflict means that the first attempt has won, or another writer has. Where the put
 * says that its bytes are unique (`bytesAreUnique`), the bytes that are there tell which.
 *
 * So a conditional put never happens twice: both attempts have the same condition, and the first to arrive
 * makes it false for the other. Once an answer was lost, the call fails with EUNCERTAIN, whatever the last
 * attempt failed with.
 */
import { requireInteger, requireNumber, requireObject } from '../base/arguments.ts';
import { equalBytes } from '../base/bytes.ts';
import type { Chance } from '../base/chance.ts';
import { codeOf, type ErrorCode, messageOf, NetsealError } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { ForwardingStore, type StoreCall } from './forward.ts';
import { closedError, type ObjectStore, totalBytes } from './store.ts';

export interface RetrySettings {
  /** Attempts of one call, the first one included. Default: 6. */
  readonly attemptsMax?: number;
  /** The longest first pause. Each later pause may be twice as long as the one before. Default: 100. */
  readonly pauseMs?: number;
  /** The longest pause. Default: 10,000. */
  readonly pauseMsMax?: number;
  /**
   * How many requests all calls together may repeat in a row. Each call that succeeds earns a tenth of a
   * repetition. So a server that fails does not get many times the requests of one that works. Default: 50.
   */
  readonly budget?: number;
}

export interface RetryComponents {
  readonly scheduler?: Scheduler;
  readonly chance?: Chance;
}

/** In tenths of a request: sums of 0.1 are not exact. */
const BUDGET_UNITS = 10;

export function retryStore(
  inner: ObjectStore,
  settings: RetrySettings = {},
  components: RetryComponents = {},
): ObjectStore {
  checkRetry(settings);
  const retrier = new Retrier(inner, settings, components);
  return new ForwardingStore(
    inner,
    call => retrier.run(call),
    async () => retrier.close(),
  );
}

function checkRetry(settings: RetrySettings): void {
  requireObject('settings.retry', settings);
  const { attemptsMax, pauseMs, pauseMsMax, budget } = settings;
  if (attemptsMax !== undefined) requireInteger('retry.attemptsMax', attemptsMax, 1);
  for (const [name, value] of Object.entries({ pauseMs, pauseMsMax, budget })) {
    if (value !== undefined) requireNumber(`retry.${name}`, value, 0, Number.POSITIVE_INFINITY);
  }
}

class Retrier {
  readonly #inner: ObjectStore;
  readonly #settings: Required<RetrySettings>;
  readonly #scheduler: Scheduler;
  readonly #chance: Chance;
  readonly #closing = new AbortController();
  /** In tenths of a request. */
  #budget: number;

  constructor(inner: ObjectStore, settings: RetrySettings, components: RetryComponents) {
    this.#inner = inner;
    this.#settings = { attemptsMax: 6, pauseMs: 100, pauseMsMax: 10_000, budget: 50, ...settings };
    this.#scheduler = components.scheduler ?? systemScheduler;
    this.#chance = components.chance ?? Math.random;
    this.#budget = this.#settings.budget * BUDGET_UNITS;
  }

  /** Ends all pauses. The calls that pause fail with the error of their last attempt. */
  close(): void {
    this.#closing.abort(closedError(this.#inner.name));
  }

  async run<Result>(call: StoreCall<Result>): Promise<Result> {
    let lostAnswer: unknown;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await this.#attempt(call);
        this.#budget = Math.min(this.#settings.budget * BUDGET_UNITS, this.#budget + 1);
        return result;
      } catch (error) {
        const code = codeOf(error);
        if (code === 'EUNCERTAIN') lostAnswer = error;
        if (code === 'ECONFLICT' && lostAnswer !== undefined) return await this.#settle(call, lostAnswer);
        if (mayRepeat(call, code) && (await this.#pause(attempt, call.signal))) continue;
        // After an abort the caller already has to assume that the change may have happened.
        if (lostAnswer === undefined || call.signal?.aborted === true) throw error;
        throw this.#uncertainError(call, lostAnswer, error);
      }
    }
  }

  async #attempt<Result>(call: StoreCall<Result>): Promise<Result> {
    const result = await call.send();
    const problem = call.problemOf(result);
    if (problem === undefined) return result;
    throw new NetsealError(
      'EUNAVAILABLE',
      `${this.#inner.name}: the answer broke off: ${problem}: ${call.key}`,
    );
  }

  /** Waits before the next attempt. Returns false when it is time to give up. Rejects when aborted. */
  async #pause(attempt: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { attemptsMax, pauseMs, pauseMsMax } = this.#settings;
    if (attempt >= attemptsMax || this.#budget < BUDGET_UNITS || this.#closing.signal.aborted) return false;
    this.#budget -= BUDGET_UNITS;
    const delayMs = this.#chance() * Math.min(pauseMsMax, pauseMs * 2 ** (attempt - 1));
    const ending = this.#closing.signal;
    try {
      await this.#scheduler.sleep(delayMs, signal === undefined ? ending : AbortSignal.any([signal, ending]));
      return true;
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      if (ending.aborted) return false;
      throw error;
    }
  }

  /**
   * Decides what a conflict means for a conditional put that was repeated after a lost answer. If its bytes
   * are there, its own first attempt has won. If not, another writer was first, or has replaced them since:
   * EUNCERTAIN.
   */
  async #settle<Result>(call: StoreCall<Result>, lostAnswer: unknown): Promise<Result> {
    const { put } = call;
    if (put === undefined) throw new NetsealError('EBUG', `a ${call.operation} met a conflict`);
    const wantedBytes = totalBytes(put.parts);
    const into = new Uint8Array(wantedBytes);
    let version: string;
    try {
      // By way of `run`, so that this read is repeated as well. A missing object was removed since:
      // EUNCERTAIN below.
      const found = await this.run({
        operation: 'get',
        key: call.key,
        signal: call.signal,
        sentBytes: 0,
        receivedBytes: () => 0,
        problemOf: ({ bytes, sizeBytes }) =>
          bytes.byteLength === Math.min(wantedBytes, sizeBytes) ? undefined : 'too few bytes',
        put: undefined,
        send: () => this.#inner.get(call.key, { into, signal: call.signal }),
      });
      if (found.sizeBytes !== wantedBytes || !sameBytes(put.parts, found.bytes)) {
        throw new NetsealError('ECONFLICT', 'other bytes are there');
      }
      version = found.version;
    } catch (error) {
      if (call.signal?.aborted === true) throw error;
      throw this.#uncertainError(call, lostAnswer, error);
    }
    // Only a put can conflict after a lost answer, and this is the result of a put.
    return { version } as Result;
  }

  #uncertainError<Result>(call: StoreCall<Result>, lostAnswer: unknown, last: unknown): NetsealError {
    const { operation, key } = call;
    return new NetsealError(
      'EUNCERTAIN',
      `${this.#inner.name}: a ${operation} may or may not have happened (at last: ${messageOf(last)}): ${key}`,
      { cause: lostAnswer },
    );
  }
}

function mayRepeat<Result>(call: StoreCall<Result>, code: ErrorCode | undefined): boolean {
  if (code === 'EUNAVAILABLE') return true;
  if (code !== 'EUNCERTAIN') return false;
  const options = call.put?.options;
  return options?.condition === undefined || options.bytesAreUnique === true;
}

function sameBytes(parts: readonly Uint8Array[], bytes: Uint8Array): boolean {
  let offset = 0;
  return parts.every(part => {
    const from = offset;
    offset += part.byteLength;
    return equalBytes(part, bytes.subarray(from, offset));
  });
}
