/**
 * A wrapper that keeps to a rate of object bytes a second, sent and received together. Each request waits
 * until those before it have had their time. A request itself runs at full speed, so the rate holds on
 * average.
 */
import { requireArgument } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { ForwardingStore, type StoreCall } from './forward.ts';
import { closedError, type ObjectStore } from './store.ts';

export interface ThrottleSettings {
  /** Above 0. */
  readonly bytesPerSecond: number;
}

/** How much of the newest answer counts in the guess how long the next one will be. */
const NEWEST_SHARE = 0.2;

export function throttleStore(
  inner: ObjectStore,
  { bytesPerSecond }: ThrottleSettings,
  { scheduler = systemScheduler }: { readonly scheduler?: Scheduler } = {},
): ObjectStore {
  requireArgument(bytesPerSecond > 0, `a rate must be above 0, not ${bytesPerSecond} bytes a second`);
  const throttle = new Throttle(inner.name, bytesPerSecond, scheduler);
  return new ForwardingStore(
    inner,
    call => throttle.run(call),
    async () => throttle.close(),
  );
}

class Throttle {
  readonly #name: string;
  readonly #bytesPerSecond: number;
  readonly #scheduler: Scheduler;
  readonly #closing = new AbortController();
  /** When the time of all requests so far is over, in ms. */
  #freeAtMs = 0;
  /** How many bytes an answer to a get is expected to have. */
  #answerBytes = 0;

  constructor(name: string, bytesPerSecond: number, scheduler: Scheduler) {
    this.#name = name;
    this.#bytesPerSecond = bytesPerSecond;
    this.#scheduler = scheduler;
  }

  /** Ends all waits with ECLOSED. */
  close(): void {
    this.#closing.abort(closedError(this.#name));
  }

  async run<Result>(call: StoreCall<Result>): Promise<Result> {
    const isGet = call.operation === 'get';
    const guessedBytes = isGet ? this.#answerBytes : 0;
    await this.#wait(call.sentBytes + guessedBytes, call.signal);
    const result = await call.send();
    if (isGet) {
      const receivedBytes = call.receivedBytes(result);
      this.#take(receivedBytes - guessedBytes);
      this.#answerBytes += NEWEST_SHARE * (receivedBytes - this.#answerBytes);
    }
    return result;
  }

  /** Takes time for so many bytes, and waits until it begins. */
  async #wait(lengthBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const nowMs = this.#scheduler.now();
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs);
    const waitMs = this.#freeAtMs - nowMs;
    this.#take(lengthBytes);
    if (waitMs <= 0) return;
    const ending = this.#closing.signal;
    await this.#scheduler.sleep(waitMs, signal === undefined ? ending : AbortSignal.any([signal, ending]));
  }

  #take(lengthBytes: number): void {
    this.#freeAtMs += (lengthBytes / this.#bytesPerSecond) * 1000;
  }
}
