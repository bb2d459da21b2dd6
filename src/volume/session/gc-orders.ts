/**
 * Orders. A gc publishes a list of the objects that it is about to delete, then looks at the volume once
 * more. Orders settle who was first when a writer comes back from a long pause while a gc is deleting:
 *
 *   gc       publish the order ──▶ look again, spare what is in use or was rewritten ──▶ delete ──▶ withdraw
 *   writer   rewrite, or commit ──▶ look for orders ──▶ check that every object is still there
 *
 * Each acts before it looks. So either the gc sees what the writer did, or the writer sees the order or the
 * loss.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import type { CandidateList } from '../../server/sealed/gc-format.ts';
import { candidateListIds, putCandidateList, readCandidateList } from '../../server/sealed/gc-objects.ts';
import { inodeKey, ORDER_PREFIX, segmentKey } from '../../server/sealed/object-keys.ts';
import { recordEpoch } from '../../server/sealed/record-epoch.ts';
import type { Sealing } from '../../server/sealed/sealing.ts';

/** The objects that a commit refers to, or is about to. */
export interface Referred {
  readonly segments: Iterable<Id>;
  readonly inodes: Iterable<Id>;
}

const STATS_MAX = 16;

/** Publishes an order; returns its key. Deleting that withdraws the order. */
export async function publishOrder(
  sealing: Sealing,
  order: CandidateList,
  signal?: AbortSignal,
): Promise<string> {
  const id = randomId();
  const key = ORDER_PREFIX + id;
  await putCandidateList(sealing, key, id, order, signal);
  return key;
}

/** Returns all orders in the store: of passes that are deleting now, and of passes that died. */
export async function readOrders(sealing: Sealing, signal?: AbortSignal): Promise<StoredOrder[]> {
  return (await readAllOrders(sealing, signal)).orders;
}

/**
 * Does the same, and also returns the keys of orders whose epoch was dropped. Their pass was opened before a
 * rekey. It can read no inode any more, so when it looks at the volume once more, it deletes nothing.
 */
async function readAllOrders(
  sealing: Sealing,
  signal: AbortSignal | undefined,
): Promise<{ orders: StoredOrder[]; void: string[] }> {
  const orders: StoredOrder[] = [];
  const voidKeys: string[] = [];
  for (const id of await candidateListIds(sealing, ORDER_PREFIX, signal)) {
    const key = ORDER_PREFIX + id;
    try {
      orders.push({ key, order: await readCandidateList(sealing, key, id, signal) });
    } catch (error) {
      // A missing order was withdrawn since they were listed.
      if (codeOf(error) === 'EMISSING') continue;
      const epoch = codeOf(error) === 'EKEY' ? await recordEpoch(sealing, key, signal) : undefined;
      if (epoch === undefined || epoch >= sealing.control.oldestEpoch) throw error;
      voidKeys.push(key);
    }
  }
  return { orders, void: voidKeys };
}

export interface DropOrdersOptions {
  /** True for a time so far in the future that the clock which gave it must have been ahead. */
  readonly isAhead: (timeMs: number) => boolean;
  /** The present time, for orders that get a new one. */
  readonly nowMs: number;
  /** Deletes an object; resolves to false when it cannot be. */
  readonly drop: (key: string) => Promise<boolean>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Drops the orders of passes that died: those older than `beforeMs`.
 *
 * If an order's time lies in the future, its age is unknown. It gets a twin, an order for the same objects
 * with the present time. When the twin is old, both are dropped. So a writer always finds one of them.
 */
export async function dropOldOrders(
  sealing: Sealing,
  beforeMs: number,
  { isAhead, nowMs, drop, signal }: DropOrdersOptions,
): Promise<void> {
  const { orders, void: voidKeys } = await readAllOrders(sealing, signal);
  for (const key of voidKeys) await drop(key);
  const isOld = ({ order }: StoredOrder): boolean => order.timeMs < beforeMs;
  const dated = orders.filter(({ order }) => !isAhead(order.timeMs));
  for (const { key, order } of orders.filter(({ order }) => isAhead(order.timeMs))) {
    const twin = dated.find(other => hasSame(other.order, order));
    if (twin === undefined) await publishOrder(sealing, { ...order, timeMs: nowMs }, signal);
    else if (isOld(twin)) await drop(key);
  }
  for (const old of dated.filter(isOld)) await drop(old.key);
}

interface StoredOrder {
  readonly key: string;
  readonly order: CandidateList;
}

/** True when both name the same objects. */
function hasSame(one: CandidateList, other: CandidateList): boolean {
  return (['segments', 'inodes'] as const).every(
    kind => one[kind].size === other[kind].size && [...one[kind].keys()].every(id => other[kind].has(id)),
  );
}

/**
 * Checks, for a writer that was away for long, that no gc has deleted these objects or is about to. EIO when
 * one has, or may have.
 */
export async function requireKept(sealing: Sealing, { segments, inodes }: Referred): Promise<void> {
  const wanted = { segments: [...segments], inodes: [...inodes] };
  const keys = [...wanted.segments.map(segmentKey), ...wanted.inodes.map(inodeKey)];
  if (keys.length === 0) return;
  for (const { order } of await readOrders(sealing)) {
    for (const kind of ['segments', 'inodes'] as const) {
      const doomed = wanted[kind].find(id => order[kind].has(id));
      if (doomed !== undefined) throw takenError(`a gc is deleting ${doomed}`);
    }
  }
  // This comes after reading the orders: what a pass deleted before it withdrew its order is missing by now.
  await inParallel(keys, STATS_MAX, async key => {
    try {
      await sealing.store.stat(key);
    } catch (cause) {
      if (codeOf(cause) !== 'EMISSING') throw cause;
      throw takenError(`${key} is gone`, cause);
    }
  });
}

/** Returns the error for objects that waited for their commit for so long that a gc took them for garbage. */
export function takenError(what: string, cause?: unknown): NetsealError {
  return new NetsealError(
    'EIO',
    `what was written was not committed for so long that a gc has taken it for garbage: ${what}`,
    { cause },
  );
}
