/**
 * Orders: what a gc is about to delete, published before it looks for the last time. They settle who was first when a writer
 * comes back from a long pause while a gc runs:
 *
 *   gc       publish the order ──▶ look again: what is referred to, or was written anew, is spared ──▶ delete ──▶ withdraw
 *   writer   write anew, or commit ──▶ look for orders, then whether everything is still there
 *
 * Each does its own before it looks. So either the gc sees what the writer did, or the writer sees the order or the loss.
 */
import { NetsealError } from '../../base/errors.ts';
import { inParallel } from '../../base/in-parallel.ts';
import type { GcNote } from '../../server/sealed/gc-format.ts';
import { listGcNotes, putGcNote, readGcNote } from '../../server/sealed/gc-notes.ts';
import { type Id, inodeKey, ORDER_PREFIX, randomId, segmentKey } from '../../server/sealed/ids.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';

/** What a commit refers to, or is about to. */
export interface Referred {
  readonly segments: Iterable<Id>;
  readonly inodes: Iterable<Id>;
}

const STATS_MAX = 16;

/** Publishes an order; returns its key, for {@link withdrawOrder}. */
export async function publishOrder(sealing: Sealing, order: GcNote, signal?: AbortSignal): Promise<string> {
  const id = randomId();
  const key = ORDER_PREFIX + id;
  await putGcNote(sealing, key, id, order, signal);
  return key;
}

export async function withdrawOrder({ store }: Sealing, key: string): Promise<void> {
  await store.delete(key);
}

/** Orders of runs that did not come to their end, with the times of their publication. */
export async function readOrders(
  sealing: Sealing,
  signal?: AbortSignal,
): Promise<{ readonly key: string; readonly note: GcNote }[]> {
  const orders: { key: string; note: GcNote }[] = [];
  for (const id of await listGcNotes(sealing, ORDER_PREFIX, signal)) {
    const key = ORDER_PREFIX + id;
    try {
      orders.push({ key, note: await readGcNote(sealing, key, id, signal) });
    } catch (error) {
      // Withdrawn meanwhile.
      if (!(error instanceof NetsealError) || error.code !== 'EMISSING') throw error;
    }
  }
  return orders;
}

/**
 * For a writer that has been away for long: makes sure that no gc has deleted, or is about to delete, what it relies on.
 * EIO when one has, or may.
 */
export async function requireKept(sealing: Sealing, { segments, inodes }: Referred): Promise<void> {
  const wanted = { segments: [...segments], inodes: [...inodes] };
  const keys = [...wanted.segments.map(segmentKey), ...wanted.inodes.map(inodeKey)];
  if (keys.length === 0) return;
  for (const { note } of await readOrders(sealing)) {
    for (const kind of ['segments', 'inodes'] as const) {
      const doomed = wanted[kind].find(id => note[kind].has(id));
      if (doomed !== undefined) throw takenError(`a gc is deleting ${doomed}`);
    }
  }
  // After the orders: what an order that is gone already has deleted is missing now.
  await inParallel(keys, STATS_MAX, async key => {
    try {
      await sealing.store.stat(key);
    } catch (cause) {
      if (!(cause instanceof NetsealError) || cause.code !== 'EMISSING') throw cause;
      throw takenError(`${key} is gone`, cause);
    }
  });
}

/** What was written so long ago that a gc took it for garbage. */
export function takenError(what: string, cause?: unknown): NetsealError {
  return new NetsealError(
    'EIO',
    `what was written was not committed for so long that a gc has taken it for garbage: ${what}`,
    { cause },
  );
}
