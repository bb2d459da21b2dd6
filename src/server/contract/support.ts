/** What the parts of the contract of stores share. */
import assert from 'node:assert/strict';
import { type ErrorCode, isNetsealError } from '../../base/errors.ts';
import type { ListEntry, ObjectStore, StoreCapabilities } from '../store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** Another client of the same objects, where there can be one. */
  readonly other?: ObjectStore;
  /** Whether requests fail with EUNAVAILABLE now and then, and are repeated until the store closes. */
  readonly isRefusing?: boolean;
  /** Whether the loser of a race may be answered with EUNCERTAIN. It then has to look for its own bytes. */
  readonly mayLoseAnswers?: boolean;
  /** Takes away what the factory made, after both were closed. */
  readonly remove?: () => Promise<void>;
}

/** What the tests of one part of the contract are made with. */
export interface Contract {
  /** Defines a test. The stores that it opens are closed after it. */
  readonly it: (title: string, body: () => Promise<void>) => void;
  /** Opens an empty store. */
  readonly open: () => Promise<StoreUnderTest>;
  /** Closes the stores that are open. */
  readonly closeAll: () => Promise<void>;
  /** What the store must declare, at least. */
  readonly declared: Partial<StoreCapabilities>;
  /** Replays random operations. */
  readonly seed: number;
}

/** The code of the NetsealError that `promise` rejects with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<ErrorCode> {
  try {
    await promise;
  } catch (error) {
    if (isNetsealError(error)) return error.code;
    throw error;
  }
  return assert.fail('the call resolved, and should have failed');
}

export const text = (value: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(value));
export const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString();

/** Every key with its entry, in pages of `limit`. */
export async function listAll(store: ObjectStore, limit = 1000, prefix?: string): Promise<ListEntry[]> {
  const all: ListEntry[] = [];
  let after: string | undefined;
  do {
    const page = await store.list({ limit, after, prefix });
    assert.ok(page.entries.length <= limit);
    all.push(...page.entries);
    after = page.next;
  } while (after !== undefined);
  return all;
}

/** Asserts that an object has these fields, and maybe more. */
export function assertFields(actual: object | undefined, fields: object): void {
  assert.ok(actual !== undefined);
  for (const [name, value] of Object.entries(fields))
    assert.deepEqual(Reflect.get(actual, name), value, name);
}
