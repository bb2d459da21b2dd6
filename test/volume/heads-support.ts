/** Servers that lie, and clocks that tests set. */
import { NetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import type { Head } from '../../src/server/sealed/head-format.ts';
import { readHeadObject } from '../../src/server/sealed/head-object.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import type { Client } from './support.ts';

/** The clock of a store and of everybody who uses it. */
export class TestClock {
  ms: number = Date.UTC(2026, 0, 1);
  readonly now: () => number = () => this.ms;

  pass(ms: number): void {
    this.ms += ms;
  }
}

export const MINUTE_MS: number = 60_000;
export const HOUR_MS: number = 60 * MINUTE_MS;
export const DAY_MS: number = 24 * HOUR_MS;

export type Snapshot = ReadonlyMap<string, Uint8Array>;

export async function snapshot(store: ObjectStore, prefix = ''): Promise<Snapshot> {
  const { entries } = await store.list({ prefix, limit: 100_000 });
  const objects = new Map<string, Uint8Array>();
  for (const { key } of entries) objects.set(key, (await store.get(key)).bytes.slice());
  return objects;
}

/** Everything below `prefix` as it was. */
export async function restore(store: ObjectStore, objects: Snapshot, prefix = ''): Promise<void> {
  const { entries } = await store.list({ prefix, limit: 100_000 });
  for (const { key } of entries) await store.delete(key);
  for (const [key, bytes] of objects) if (key.startsWith(prefix)) await store.put(key, [bytes]);
}

export async function copyOf(store: ObjectStore): Promise<ObjectStore> {
  const copy = new MemoryStore();
  await restore(copy, await snapshot(store));
  return copy;
}

/** What begins with `prefix` is in `one`, all else in `other`: a server that shows a client a tree of its own. */
export function joinStores(prefix: string, one: ObjectStore, other: ObjectStore): ObjectStore {
  const of = (key: string): ObjectStore => (key.startsWith(prefix) ? one : other);
  return {
    name: 'joined',
    capabilities: other.capabilities,
    get: (key, options) => of(key).get(key, options),
    put: (key, parts, options) => of(key).put(key, parts, options),
    stat: (key, options) => of(key).stat(key, options),
    delete: (key, options) => of(key).delete(key, options),
    list: options => of(options.prefix ?? '').list(options),
    now: options => other.now(options),
    close: () => other.close(),
    [Symbol.asyncDispose]: () => other.close(),
  };
}

/** The error that `work` rejects with. */
export async function errorOf(work: Promise<unknown>): Promise<NetsealError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof NetsealError) return error;
    throw error;
  }
}

/** Returns the head that a client has written to a store. */
export async function headOf({ volume, state }: Client, store: ObjectStore): Promise<Head> {
  // The session may have ended, and its keys with it.
  const reader = volume.session.sealing.control;
  const { head } = await readHeadObject({ store, control: reader }, state.heads.clientId);
  if (head instanceof Error) throw head;
  return head;
}
