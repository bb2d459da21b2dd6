/** The wrappers in the one order that makes sense. */
import { requireInstance, requireObject } from '../base/arguments.ts';
import { type FaultComponents, type FaultPlan, faultyStore } from './faults.ts';
import { type LimitSettings, limitStore } from './limit.ts';
import { StoreMeter } from './meter.ts';
import { type RetryComponents, type RetrySettings, retryStore } from './retry.ts';
import { type ObjectStore, requireStore } from './store.ts';
import { type ThrottleSettings, throttleStore } from './throttle.ts';

export interface WrapSettings {
  readonly retry?: RetrySettings;
  readonly limit?: LimitSettings;
  readonly throttle?: ThrottleSettings;
}

export interface WrapComponents extends RetryComponents, FaultComponents {
  readonly meter?: StoreMeter;
  /** Faults on purpose; tests only. */
  readonly faults?: FaultPlan;
}

/**
 * Puts those wrappers around `store` that are asked for, and returns the outermost. Closing that one closes
 * `store`. From the outside in:
 *
 *   retries   outside of the limit, so that a call that pauses holds no place
 *   throttle  outside of the limit as well; each attempt takes its time
 *   limit
 *   meter     counts each request that is really sent, with its fault
 *   faults
 */
export function wrapStore(
  store: ObjectStore,
  settings: WrapSettings,
  components: WrapComponents = {},
): ObjectStore {
  requireStore('store', store);
  requireObject('settings', settings);
  requireObject('components', components);
  let wrapped = store;
  if (components.faults !== undefined) wrapped = faultyStore(wrapped, components.faults, components);
  if (components.meter !== undefined) requireInstance('components.meter', components.meter, StoreMeter);
  if (components.meter !== undefined) wrapped = components.meter.wrap(wrapped);
  if (settings.limit !== undefined) wrapped = limitStore(wrapped, settings.limit);
  if (settings.throttle !== undefined) wrapped = throttleStore(wrapped, settings.throttle, components);
  if (settings.retry !== undefined) wrapped = retryStore(wrapped, settings.retry, components);
  return wrapped;
}
