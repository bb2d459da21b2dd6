/** A wrapper that lets a bounded number of requests through at once. The others wait, in order. */
import { requireNumber, requireObject } from '../base/arguments.ts';
import { ForwardingStore } from './forward.ts';
import { Gate } from './gate.ts';
import type { ObjectStore } from './store.ts';

export interface LimitSettings {
  /** Requests that may run at once. */
  readonly concurrency: number;
  /** Requests that may wait. Any more fail at once with EUNAVAILABLE. Default: no bound. */
  readonly queueMax?: number;
}

export function limitStore(inner: ObjectStore, settings: LimitSettings): ObjectStore {
  requireObject('settings.limit', settings);
  if (settings.queueMax !== undefined)
    requireNumber('limit.queueMax', settings.queueMax, 0, Number.POSITIVE_INFINITY);
  const gate = new Gate(inner.name, settings.concurrency, settings.queueMax);
  return new ForwardingStore(
    inner,
    call => gate.run(call.send, call.signal),
    () => gate.close(),
  );
}
