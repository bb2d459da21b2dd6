/**
 * Counts requests and bytes for each operation, and round trips: how many requests had to wait for one
 * another.
 */
import { requireCallback, requireMethods } from '../base/arguments.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { ForwardingStore, type StoreOperation } from './forward.ts';
import { type ObjectStore, requireStore } from './store.ts';

export interface OperationCounts {
  readonly requestCount: number;
  /** Requests that failed or were aborted. Conflicts and missing objects count as failures. */
  readonly failureCount: number;
  readonly runningCount: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly totalMs: number;
}

export interface MeterEvent {
  readonly operation: StoreOperation;
  readonly key: string;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly durationMs: number;
  /** The error of a request that failed; undefined for all others. */
  readonly error: unknown;
}

type Mutable<T> = { -readonly [Name in keyof T]: T[Name] };

const OPERATIONS: readonly StoreOperation[] = ['get', 'put', 'stat', 'delete', 'list', 'now'];

export class StoreMeter {
  readonly #scheduler: Pick<Scheduler, 'now'>;
  readonly #onRequest: ((event: MeterEvent) => void) | undefined;
  readonly #counts: Record<StoreOperation, Mutable<OperationCounts>>;
  #tripsDone = 0;

  /** @param onRequest called for each request when it has settled; must not throw. */
  constructor(onRequest?: (event: MeterEvent) => void, scheduler: Pick<Scheduler, 'now'> = systemScheduler) {
    requireCallback('onRequest', onRequest);
    requireMethods('scheduler', scheduler, ['now']);
    this.#onRequest = onRequest;
    this.#scheduler = scheduler;
    this.#counts = perOperation(() => ({
      requestCount: 0,
      failureCount: 0,
      runningCount: 0,
      sentBytes: 0,
      receivedBytes: 0,
      totalMs: 0,
    }));
  }

  /** Returns a copy of the counts. */
  snapshot(): Record<StoreOperation, OperationCounts> {
    return perOperation(operation => ({ ...this.#counts[operation] }));
  }

  get requestCount(): number {
    return OPERATIONS.reduce((sum, operation) => sum + this.#counts[operation].requestCount, 0);
  }

  /**
   * The length of the longest chain of requests, since {@link resetRoundTrips}, in which each began after the
   * one before it had ended. On a link of infinite bandwidth the work takes so many round trips, if nothing
   * unrelated runs meanwhile.
   */
  get roundTripCount(): number {
    return this.#tripsDone;
  }

  resetRoundTrips(): void {
    this.#tripsDone = 0;
  }

  /** Returns `inner` with every request counted. One meter may count several stores. */
  wrap(inner: ObjectStore): ObjectStore {
    requireStore('inner', inner);
    return new ForwardingStore(inner, async call => {
      const counts = this.#counts[call.operation];
      counts.requestCount += 1;
      counts.runningCount += 1;
      const trip = this.#tripsDone + 1;
      const startMs = this.#scheduler.now();
      const settle = (receivedBytes: number, error: unknown): void => {
        const durationMs = this.#scheduler.now() - startMs;
        counts.runningCount -= 1;
        counts.sentBytes += call.sentBytes;
        counts.receivedBytes += receivedBytes;
        counts.totalMs += durationMs;
        if (error !== undefined) counts.failureCount += 1;
        this.#tripsDone = Math.max(this.#tripsDone, trip);
        const { operation, key, sentBytes } = call;
        this.#onRequest?.({ operation, key, sentBytes, receivedBytes, durationMs, error });
      };
      try {
        const result = await call.send();
        settle(call.receivedBytes(result), undefined);
        return result;
      } catch (error) {
        settle(0, error ?? new Error('aborted without a reason'));
        throw error;
      }
    });
  }
}

function perOperation<Value>(make: (operation: StoreOperation) => Value): Record<StoreOperation, Value> {
  return {
    get: make('get'),
    put: make('put'),
    stat: make('stat'),
    delete: make('delete'),
    list: make('list'),
    now: make('now'),
  };
}
