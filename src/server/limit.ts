/** At most so many requests at once; a bounded number waits, in order. */
import { ForwardingStore } from './forward.ts';
import { Gate } from './gate.ts';
import type { ObjectStore } from './store.ts';

export interface LimitSettings {
  /** Requests at once. */
  readonly concurrency: number;
  /** Requests that may wait; more fail with EUNAVAILABLE at once. Default: no bound. */
  readonly queueMax?: number;
}

export function limitStore(inner: ObjectStore, settings: LimitSettings): ObjectStore {
  const gate = new Gate(inner.name, settings.concurrency, settings.queueMax);
  return new ForwardingStore(
    inner,
    call => gate.run(call.send, call.signal),
    () => gate.close(),
  );
}
