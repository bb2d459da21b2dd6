/**
 * A wrapper that makes a store fail as real ones do, by a plan. The same plan and order of calls give the
 * same faults:
 *   refused     nothing happens: EUNAVAILABLE
 *   lost        a change happens, but its answer is lost: EUNCERTAIN (a read: EUNAVAILABLE)
 *   dropped     a change does not happen, but is reported as lost: EUNCERTAIN
 *   late        a change is reported as lost (EUNCERTAIN), and happens `delayMs` later
 *   vague       a condition does not hold, but the answer is EUNCERTAIN instead of ECONFLICT
 *   torn        a put leaves only its first bytes: EUNCERTAIN. Only where `atomicPut` is false
 *   short       a get gives too few bytes, as if they were all there are
 *   stale       a list does not show the latest changes. Only where `listIsConsistent` is false
 *   slow        the call succeeds, `delayMs` later
 */
import type { CallOptions } from '../base/call-options.ts';
import { seededChance } from '../base/chance.ts';
import { isNetsealError, NetsealError, requireArgument } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import type { StoreOperation } from './forward.ts';
import {
  compareKeys,
  type GetOptions,
  type GetResult,
  type ListEntry,
  type ListOptions,
  type ListPage,
  type ObjectStat,
  type ObjectStore,
  type PutOptions,
  type StoreCapabilities,
  totalBytes,
  type Version,
} from './store.ts';

export type FaultKind =
  | 'refused'
  | 'lost'
  | 'dropped'
  | 'late'
  | 'vague'
  | 'torn'
  | 'short'
  | 'stale'
  | 'slow';

export interface Fault {
  readonly kind: FaultKind;
  /** The delay of `slow` and `late`. */
  readonly delayMs?: number;
  /** The share of the bytes that `torn` and `short` leave, from 0 to 1. Default: 0.5. */
  readonly share?: number;
}

/**
 * Returns the fault of a request; undefined for none. Requests are counted from 0 in the order of the calls.
 */
export type FaultPlan = (request: {
  readonly index: number;
  readonly operation: StoreOperation;
  readonly key: string;
}) => Fault | undefined;

export interface FaultComponents {
  readonly scheduler?: Scheduler;
}

const KINDS_OF_OPERATION: Readonly<Record<StoreOperation, readonly FaultKind[]>> = {
  get: ['refused', 'lost', 'short', 'slow'],
  put: ['refused', 'lost', 'dropped', 'late', 'vague', 'torn', 'slow'],
  stat: ['refused', 'lost', 'slow'],
  delete: ['refused', 'lost', 'dropped', 'late', 'slow'],
  list: ['refused', 'lost', 'stale', 'slow'],
  now: ['refused', 'lost', 'slow'],
};

/**
 * Returns a plan with random faults. Each request has a fault with probability `rate`, of one of the `kinds`
 * that its operation can have. It depends only on the seed and on the number and operation of the request.
 */
export function seededFaults(
  seed: number,
  rate: number,
  kinds: readonly FaultKind[],
  delayMsMax = 1000,
): FaultPlan {
  return ({ index, operation }) => {
    const chance = seededChance(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b));
    const possible = KINDS_OF_OPERATION[operation].filter(kind => kinds.includes(kind));
    if (chance() >= rate) return undefined;
    const kind = possible[Math.floor(chance() * possible.length)];
    return kind === undefined ? undefined : { kind, delayMs: chance() * delayMsMax, share: chance() };
  };
}

/** Returns `inner` with the faults of a plan. A fault that the operation cannot have is ignored. */
export function faultyStore(
  inner: ObjectStore,
  plan: FaultPlan,
  components: FaultComponents = {},
): ObjectStore {
  return new FaultyStore(inner, plan, components.scheduler ?? systemScheduler);
}

class FaultyStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #inner: ObjectStore;
  readonly #plan: FaultPlan;
  readonly #scheduler: Scheduler;
  /** Each key as it was before its latest change: what a stale list still shows. */
  readonly #past = new Map<string, ListEntry | undefined>();
  readonly #late = new Set<Promise<void>>();
  #requestCount = 0;

  constructor(inner: ObjectStore, plan: FaultPlan, scheduler: Scheduler) {
    this.name = inner.name;
    this.capabilities = inner.capabilities;
    this.#inner = inner;
    this.#plan = plan;
    this.#scheduler = scheduler;
  }

  get(key: string, options: GetOptions = {}): Promise<GetResult> {
    return this.#read('get', key, options, async fault => {
      const result = await this.#inner.get(key, options);
      if (fault?.kind !== 'short') return result;
      const kept = Math.floor(result.bytes.byteLength * (fault.share ?? 0.5));
      return { ...result, bytes: result.bytes.subarray(0, kept) };
    });
  }

  put(key: string, parts: readonly Uint8Array[], options: PutOptions = {}): Promise<{ version: Version }> {
    return this.#change(
      'put',
      key,
      options,
      settings => this.#inner.put(key, parts, settings),
      async fault => {
        if (fault.kind === 'torn') {
          requireArgument(!this.capabilities.atomicPut, `${this.name}: puts cannot tear`);
          const kept = Math.floor(totalBytes(parts) * (fault.share ?? 0.5));
          await this.#inner.put(key, firstBytes(parts, kept), options);
          throw this.#lostError('put', key);
        }
        if (fault.kind !== 'late') return;
        // By then the caller may use its memory for something else.
        const copies = parts.map(part => Uint8Array.from(part));
        this.#happenLater(fault, () =>
          this.#inner.put(key, copies, { ...options, signal: undefined }).then(() => undefined),
        );
      },
    );
  }

  stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    return this.#read('stat', key, options, () => this.#inner.stat(key, options));
  }

  delete(key: string, options: CallOptions = {}): Promise<void> {
    return this.#change(
      'delete',
      key,
      options,
      settings => this.#inner.delete(key, settings),
      async fault => {
        if (fault.kind === 'late') this.#happenLater(fault, () => this.#inner.delete(key));
      },
    );
  }

  list(options: ListOptions): Promise<ListPage> {
    return this.#read('list', options.prefix ?? '', options, async fault => {
      const page = await this.#inner.list(options);
      if (fault?.kind !== 'stale') return page;
      requireArgument(!this.capabilities.listIsConsistent, `${this.name}: lists cannot be stale`);
      return this.#stalePage(page, options);
    });
  }

  now(options: CallOptions = {}): Promise<number> {
    return this.#read('now', '', options, () => this.#inner.now(options));
  }

  /** Waits for the changes that happen late. */
  async close(): Promise<void> {
    await Promise.all(this.#late);
    await this.#inner.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #faultOf(operation: StoreOperation, key: string): Fault | undefined {
    const fault = this.#plan({ index: this.#requestCount, operation, key });
    this.#requestCount += 1;
    return fault !== undefined && KINDS_OF_OPERATION[operation].includes(fault.kind) ? fault : undefined;
  }

  async #read<Result>(
    operation: StoreOperation,
    key: string,
    options: CallOptions,
    send: (fault: Fault | undefined) => Promise<Result>,
  ): Promise<Result> {
    const fault = this.#faultOf(operation, key);
    await this.#begin(fault, operation, key, options);
    const result = await send(fault);
    if (fault?.kind === 'lost') throw this.#refusedError(operation, key);
    return result;
  }

  async #change<Result>(
    operation: StoreOperation,
    key: string,
    options: CallOptions,
    send: (options: CallOptions) => Promise<Result>,
    /** Does what is special about the fault, before the answer is reported as lost. */
    special: (fault: Fault) => Promise<void>,
  ): Promise<Result> {
    const fault = this.#faultOf(operation, key);
    await this.#begin(fault, operation, key, options);
    if (fault !== undefined) await special(fault);
    if (fault?.kind === 'dropped' || fault?.kind === 'late') throw this.#lostError(operation, key);
    await this.#remember(key);
    try {
      const result = await send(options);
      if (fault?.kind !== 'lost') return result;
    } catch (error) {
      // A lost answer hides a conflict as well.
      const isVague = fault?.kind === 'vague' || fault?.kind === 'lost';
      if (!isVague || !isNetsealError(error) || error.code !== 'ECONFLICT') throw error;
    }
    throw this.#lostError(operation, key);
  }

  async #begin(
    fault: Fault | undefined,
    operation: StoreOperation,
    key: string,
    { signal }: CallOptions,
  ): Promise<void> {
    signal?.throwIfAborted();
    if (fault?.kind === 'slow') await this.#scheduler.sleep(fault.delayMs ?? 0, signal);
    if (fault?.kind === 'refused') throw this.#refusedError(operation, key);
  }

  #happenLater(fault: Fault, effect: () => Promise<void>): void {
    const happening = this.#scheduler
      .sleep(fault.delayMs ?? 0)
      .then(effect)
      // The caller has its answer already: there is nowhere to report this.
      .catch(() => undefined)
      .then(() => {
        this.#late.delete(happening);
      });
    this.#late.add(happening);
  }

  /** Notes the entry of a key before it changes. Only for stores whose lists may be stale. */
  async #remember(key: string): Promise<void> {
    if (this.capabilities.listIsConsistent) return;
    this.#past.delete(key);
    const stat = await this.#inner.stat(key).catch(() => undefined);
    this.#past.set(key, stat === undefined ? undefined : { key, ...stat });
    for (const oldest of this.#past.keys()) {
      if (this.#past.size <= PAST_CHANGES) return;
      this.#past.delete(oldest);
    }
  }

  #stalePage(page: ListPage, { prefix = '', after, limit }: ListOptions): ListPage {
    const entries = new Map(page.entries.map(entry => [entry.key, entry]));
    for (const [key, entry] of this.#past) {
      const isOnPage =
        key.startsWith(prefix) &&
        (after === undefined || compareKeys(key, after) > 0) &&
        (page.next === undefined || compareKeys(key, page.next) <= 0);
      if (!isOnPage) continue;
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
    }
    const sorted = [...entries.values()].sort((left, right) => compareKeys(left.key, right.key));
    if (sorted.length <= limit) return { ...page, entries: sorted };
    const cut = sorted.slice(0, limit);
    return { entries: cut, next: cut.at(-1)?.key };
  }

  #refusedError(operation: StoreOperation, key: string): NetsealError {
    return new NetsealError('EUNAVAILABLE', `${this.name}: a ${operation} was refused on purpose: ${key}`);
  }

  #lostError(operation: StoreOperation, key: string): NetsealError {
    return new NetsealError(
      'EUNCERTAIN',
      `${this.name}: the answer to a ${operation} was lost on purpose: ${key}`,
    );
  }
}

const PAST_CHANGES = 16;

function firstBytes(parts: readonly Uint8Array[], lengthBytes: number): Uint8Array[] {
  let left = lengthBytes;
  return parts.map(part => {
    const kept = part.subarray(0, left);
    left -= kept.byteLength;
    return kept;
  });
}
