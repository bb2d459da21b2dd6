/**
 * Fetches records from the local cache or the server and opens them. Callers that want the same record at the
 * same time share one fetch.
 *
 *   wanted ──▶ batched: as many records of one source as memory allows are read and opened together
 *          ──▶ opened: every caller gets the plain bytes, in one turn; then they are gone
 *
 * A record that the cache has comes from there. One that it does not deliver after all, or that does not open,
 * is dropped there, and comes from the server. What came from the server goes to the cache as it came.
 *
 * Records may be wanted ahead of those who will want them. Such fetches wait until nothing else is fetched, a few
 * at a time; one that somebody wants meanwhile goes on at once. Their errors are nobody's.
 *
 * Invariants
 *   1. Memory is taken in the order of the pipeline: sealed, then plain. Whoever waits for a fetch holds
 *      neither, so fetches end whatever else waits.
 *   2. A record is opened against the tag and the place that its receipt names. Others see nothing of one that
 *      does not open.
 *   3. Callers that give up leave; the fetch goes on.
 */
import { abortable } from '../base/abortable.ts';
import { equalBytes, toByteString } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { KIB, MIB } from '../base/geometry.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { OpenedUnit, UnitToOpen } from '../pipeline/requests.ts';
import type { Lease } from '../pipeline/slab.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { FileForm, NetfsServer, Receipt } from './server.ts';
import type { StreamUnit } from './streams.ts';
import type { UnitCache, UnitVersion } from './unit-cache.ts';

/** A unit whose record is wanted. */
export interface WantedUnit {
  readonly unit: number;
  readonly receipt: Receipt;
  /**
   * Takes the unit's plain bytes, in shared memory, valid during the call. They may be shorter than the unit:
   * zeros follow.
   */
  deliver(plain: Uint8Array): void;
}

/** One record that is being fetched. */
interface Fetching {
  readonly unit: number;
  readonly receipt: Receipt;
  readonly takers: Set<WantedUnit>;
  readonly ended: PromiseWithResolvers<void>;
}

/**
 * Where a batch comes from. `passing`: from the server, and not to the cache, as that cannot be asked.
 */
type Source = 'cache' | 'server' | 'passing';

/**
 * How many plain, and how many sealed bytes a batch has at most, unless it is one record. Not many: the slabs must
 * have room for them in one piece.
 */
const BATCH_BYTES: number = MIB;
/** The share of a slab that one batch may take. */
const SLAB_SHARE = 8;
/** Batches that are fetched ahead at once, while nothing else is. */
const AHEAD_AT_ONCE = 4;
/**
 * The longest unit that is opened on this thread: when nothing else is to be sealed or opened, and otherwise. Asking a
 * worker takes longer than opening 32 KiB (100 µs and more), and 256 KiB take this thread 0.3 ms.
 */
const INLINE_BYTES_MAX: number = 256 * KIB;
const INLINE_BUSY_BYTES_MAX: number = 32 * KIB;
/** Of what is wanted ahead, so many records are looked at for one batch. */
const AHEAD_BATCH_MAX = 256;

export interface FetchParts<Handle> {
  readonly pipeline: Pipeline;
  readonly server: NetfsServer<Handle>;
  readonly handle: Handle;
  readonly form: FileForm;
  /** Sees every unit that was opened, after those who wanted it. */
  onOpened(unit: number, receipt: Receipt, plain: Uint8Array): void;
  readonly cache?: UnitCache | undefined;
  /** True for a record that is worth keeping: that which the unit is now, and that nothing is written over. */
  isCurrent(unit: number, receipt: Receipt): boolean;
  /** Takes records for the cache that came from the server and opened. They lie in the lease. */
  keep(units: readonly StreamUnit[], lease: Lease): void;
  /** Records did not get to the cache, as it could not be asked. */
  notKept(count: number): void;
}

/** The fetches of one file. */
export class Fetches<Handle> {
  readonly #parts: FetchParts<Handle>;
  /** By what is fetched: a place and a tag. */
  readonly #fetching = new Map<string, Fetching>();
  readonly #running = new Set<Promise<void>>();
  /** Wanted ahead, and not begun; in this order. */
  readonly #ahead = new Map<string, Fetching>();
  /** Batches that were begun ahead. */
  #aheadCount = 0;

  constructor(parts: FetchParts<Handle>) {
    this.#parts = parts;
  }

  /**
   * Delivers units, in any order, and resolves when all of them have been delivered or have failed: with the
   * error of each that did, by its position. What `deliver` throws is the error of its unit.
   *
   * Rejects with the signal's reason; then nothing is delivered any more.
   */
  async fetch(wanted: readonly WantedUnit[], signal?: AbortSignal): Promise<ReadonlyMap<number, unknown>> {
    signal?.throwIfAborted();
    const errors = new Map<number, unknown>();
    const joined = wanted.map((given, at) => {
      const one = { ...given, deliver: (plain: Uint8Array) => deliverTo(given, plain, at, errors) };
      return { one, fetching: this.#join(one) };
    });
    this.#start();
    const all = Promise.all(
      joined.map(({ fetching }, at) =>
        fetching.ended.promise.catch(error => {
          errors.set(at, error);
        }),
      ),
    );
    await abortable(all, signal, () => {
      for (const { one, fetching } of joined) fetching.takers.delete(one);
    });
    return errors;
  }

  /**
   * Fetches records that somebody may want soon, for `onOpened` alone, when nothing else is fetched. Those that
   * do not come fail nobody.
   */
  fetchAhead(wanted: readonly Pick<WantedUnit, 'unit' | 'receipt'>[]): void {
    for (const { unit, receipt } of wanted) {
      const key = keyOf(unit, receipt);
      if (!this.#fetching.has(key)) this.#ahead.set(key, newFetching(unit, receipt));
    }
    this.#pumpAhead();
  }

  /** True when nothing is wanted ahead, or being fetched for that. */
  get isAheadIdle(): boolean {
    return this.#ahead.size === 0 && this.#aheadCount === 0;
  }

  /** Forgets what was wanted ahead and is not begun. */
  dropAhead(): void {
    this.#ahead.clear();
  }

  /** Resolves when no fetch is under way. */
  async idle(): Promise<void> {
    this.dropAhead();
    while (this.#running.size > 0) await Promise.all(this.#running);
  }

  readonly #unstarted: Fetching[] = [];

  #join(one: WantedUnit): Fetching {
    const { unit, receipt } = one;
    const key = keyOf(unit, receipt);
    const known = this.#fetching.get(key);
    if (known !== undefined) {
      known.takers.add(one);
      return known;
    }
    const fetching = this.#ahead.get(key) ?? newFetching(unit, receipt);
    this.#ahead.delete(key);
    fetching.takers.add(one);
    this.#fetching.set(key, fetching);
    this.#unstarted.push(fetching);
    return fetching;
  }

  /** Begins all that is wanted, in batches: the slabs make them wait their turn. */
  #start(): void {
    for (const [source, batch] of this.#cut(this.#unstarted.splice(0))) void this.#run(batch, source);
  }

  /** Begins what is wanted ahead, some of it, unless somebody waits for something else. */
  #pumpAhead(): void {
    const isQuiet = (): boolean =>
      this.#running.size === this.#aheadCount && this.#aheadCount < AHEAD_AT_ONCE;
    while (this.#ahead.size > 0 && isQuiet()) {
      if (this.#parts.pipeline.memory.some(({ waiterCount }) => waiterCount > 0)) return;
      const [first] = this.#cut([...this.#ahead.values()].slice(0, AHEAD_BATCH_MAX));
      if (first === undefined) return;
      const [source, batch] = first;
      for (const fetching of batch) {
        const key = keyOf(fetching.unit, fetching.receipt);
        this.#ahead.delete(key);
        this.#fetching.set(key, fetching);
      }
      this.#aheadCount += 1;
      void this.#run(batch, source).then(() => {
        this.#aheadCount -= 1;
        this.#pumpAhead();
      });
    }
  }

  /** Says where a record is to come from. */
  #sourceOf({ unit, receipt }: Fetching): Source {
    const { cache, form } = this.#parts;
    if (cache === undefined) return 'server';
    const found = cache.look(versionOf(unit, receipt, form));
    if (found === 'present') return 'cache';
    return found === 'absent' ? 'server' : 'passing';
  }

  /** Cuts fetches into batches, each of one source. */
  #cut(fetchings: readonly Fetching[]): [Source, Fetching[]][] {
    const bySource = new Map<Source, Fetching[]>();
    for (const fetching of fetchings) {
      const source = this.#sourceOf(fetching);
      const those = bySource.get(source);
      if (those === undefined) bySource.set(source, [fetching]);
      else those.push(fetching);
    }
    return [...bySource].flatMap(([source, those]) =>
      this.#cutBySize(those).map((batch): [Source, Fetching[]] => [source, batch]),
    );
  }

  #cutBySize(fetchings: readonly Fetching[]): Fetching[][] {
    const { pipeline, server, form } = this.#parts;
    const shareBytes = Math.min(BATCH_BYTES, pipeline.slabBytes / SLAB_SHARE);
    const sealedMax = Math.min(shareBytes, server.capabilities.rsizeBytes);
    const batches: Fetching[][] = [];
    let batch: Fetching[] = [];
    let sealedBytes = 0;
    let plainBytes = 0;
    const end = (): void => {
      if (batch.length > 0) batches.push(batch);
      batch = [];
      sealedBytes = 0;
      plainBytes = 0;
    };
    for (const fetching of fetchings) {
      const { receipt } = fetching;
      const plainMax = receipt.slice?.packBytes ?? form.unitSizeBytes;
      if (sealedBytes + receipt.lengthBytes > sealedMax || plainBytes + plainMax > shareBytes) end();
      batch.push(fetching);
      sealedBytes += receipt.lengthBytes;
      plainBytes += plainMax;
    }
    end();
    return batches;
  }

  /** Resolves when the batch has ended, however that was. */
  #run(batch: readonly Fetching[], source: Source): Promise<void> {
    const running = this.#fetchSurely(batch, source).catch(error => {
      for (const fetching of batch) this.#end(fetching, { error });
    });
    this.#running.add(running);
    return running.then(() => {
      this.#running.delete(running);
      this.#pumpAhead();
    });
  }

  /** Fetches a batch; from the server what the cache does not deliver. */
  async #fetchSurely(batch: readonly Fetching[], source: Source): Promise<void> {
    const { cache, form } = this.#parts;
    const failed = await this.#fetchBatch(batch, source);
    if (cache === undefined || failed.length === 0) return;
    cache.counters.failed += failed.length;
    for (const { unit, receipt } of failed) cache.drop(versionOf(unit, receipt, form));
    for (const rest of this.#cutBySize(failed)) await this.#fetchBatch(rest, 'server');
  }

  /** Reads records of a source into memory. Returns, by position, which are not there, and why. */
  async #read(
    batch: readonly Fetching[],
    source: Source,
    into: Uint8Array,
  ): Promise<ReadonlyMap<number, unknown>> {
    const { server, handle, form, cache } = this.#parts;
    if (source !== 'cache' || cache === undefined) {
      const receipts = batch.map(({ receipt }) => receipt);
      return (await server.read({ handle, receipts, into })).errors;
    }
    let endBytes = 0;
    const wanted = batch.map(({ unit, receipt }) => {
      endBytes += receipt.lengthBytes;
      const part = into.subarray(endBytes - receipt.lengthBytes, endBytes);
      return { version: versionOf(unit, receipt, form), into: part };
    });
    const errors = new Map<number, unknown>();
    for (const [at, isThere] of (await cache.read(wanted)).entries()) {
      if (!isThere) errors.set(at, new NetsealError('EMISSING', 'the cache does not have it any more'));
    }
    return errors;
  }

  /** Fetches a batch from one source. Returns what the cache did not deliver: nothing has become of it yet. */
  async #fetchBatch(batch: readonly Fetching[], source: Source): Promise<Fetching[]> {
    const { pipeline, form } = this.#parts;
    const failed: Fetching[] = [];
    const end = (fetching: Fetching, outcome: Outcome): void => {
      if (source === 'cache' && 'error' in outcome) failed.push(fetching);
      else this.#end(fetching, outcome);
    };
    const lease = await pipeline.reserveSealed(sumOf(batch.map(({ receipt }) => receipt.lengthBytes)));
    try {
      const errors = await this.#read(batch, source, lease.bytes);
      const present: { fetching: Fetching; record: UnitToOpen }[] = [];
      let offsetBytes = 0;
      for (const [at, fetching] of batch.entries()) {
        const error = errors.get(at);
        if (error === undefined) present.push({ fetching, record: recordOf(fetching, form, offsetBytes) });
        else end(fetching, { error });
        offsetBytes += fetching.receipt.lengthBytes;
      }
      if (present.length === 0) return failed;
      const units = present.map(({ record }) => record);
      const inline = this.#isSoonerHere(present);
      const opened = await pipeline.open({ keys: form.keys, from: lease, units, inline });
      const good: { fetching: Fetching; record: UnitToOpen }[] = [];
      try {
        for (const [at, one] of present.entries()) {
          const { fetching } = one;
          const outcome = checked(fetching.receipt, opened.units[at], form.unitSizeBytes);
          if (!('error' in outcome)) good.push(one);
          end(fetching, outcome);
        }
      } finally {
        opened.release();
      }
      this.#count(source, good.length);
      if (source === 'server') this.#keep(good, lease);
      return failed;
    } finally {
      lease.release();
    }
  }

  /** True for a lone unit that somebody waits for, if it is open sooner than a worker could be asked. */
  #isSoonerHere(present: readonly { readonly fetching: Fetching }[]): boolean {
    const [first] = present;
    if (present.length !== 1 || first === undefined || first.fetching.takers.size === 0) return false;
    const { pipeline, form } = this.#parts;
    const plainMax = first.fetching.receipt.slice?.packBytes ?? form.unitSizeBytes;
    return plainMax <= (pipeline.isIdle ? INLINE_BYTES_MAX : INLINE_BUSY_BYTES_MAX);
  }

  #count(source: Source, count: number): void {
    const { cache, notKept } = this.#parts;
    if (cache === undefined) return;
    if (source === 'cache') cache.counters.hits += count;
    else cache.counters.misses += count;
    if (source === 'passing') notKept(count);
  }

  /** Gives records that came from the server to the cache. */
  #keep(good: readonly { readonly fetching: Fetching; readonly record: UnitToOpen }[], lease: Lease): void {
    const { cache, form, keep, isCurrent } = this.#parts;
    if (cache === undefined) return;
    const units: StreamUnit[] = [];
    for (const { fetching, record } of good) {
      const { unit, receipt } = fetching;
      const { objectId, index } = versionOf(unit, receipt, form);
      if (!isCurrent(unit, receipt) || cache.isWriting({ objectId, index })) continue;
      const { offsetBytes, lengthBytes } = record;
      units.push({ objectId, index, bytes: lease.bytes.subarray(offsetBytes, offsetBytes + lengthBytes) });
    }
    if (units.length > 0) keep(units, lease);
  }

  /** Tells everybody who wanted a record what became of it. Again does nothing. */
  #end(fetching: Fetching, outcome: Outcome): void {
    const key = keyOf(fetching.unit, fetching.receipt);
    if (this.#fetching.get(key) !== fetching) return;
    this.#fetching.delete(key);
    if ('error' in outcome) {
      fetching.ended.reject(outcome.error);
      return;
    }
    try {
      for (const taker of fetching.takers) taker.deliver(outcome.bytes);
      this.#parts.onOpened(fetching.unit, fetching.receipt, outcome.bytes);
      fetching.ended.resolve();
    } catch (error) {
      // Nobody waits for ever for a fault of netfs.
      fetching.ended.reject(error);
    }
  }
}

/** Throws EINVAL when a unit of this size cannot be fetched or sealed within the pipeline's memory. */
export function requireFits({ unitSizeBytes, padding }: FileForm, { slabBytes }: Pipeline): void {
  if (sealedBytesMax(unitSizeBytes, padding) <= slabBytes) return;
  const problem = `units of ${unitSizeBytes} bytes do not fit into slabs of ${slabBytes}: give it more memory`;
  throw new NetsealError('EINVAL', problem);
}

/** True when both name the same bytes. */
export function isSameRecord(one: Receipt, other: Receipt): boolean {
  if (!equalBytes(one.tag, other.tag)) return false;
  const { slice } = one;
  if (slice === undefined || other.slice === undefined) return slice === other.slice;
  return slice.startBytes === other.slice.startBytes && slice.lengthBytes === other.slice.lengthBytes;
}

/**
 * Delivers a unit to one who wants it. If they cannot take it, that is their error alone: their buffer may have been
 * given to another thread meanwhile.
 */
function deliverTo(one: WantedUnit, plain: Uint8Array, at: number, errors: Map<number, unknown>): void {
  try {
    one.deliver(plain);
  } catch (error) {
    errors.set(at, error);
  }
}

function keyOf(unit: number, { tag, slice }: Receipt): string {
  const part = slice === undefined ? '' : `${slice.startBytes}+${slice.lengthBytes}`;
  return `${unit}/${part}/${toByteString(tag)}`;
}

function recordOf({ unit, receipt }: Fetching, form: FileForm, offsetBytes: number): UnitToOpen {
  const { tag: expectedTag, lengthBytes, origin, slice } = receipt;
  const place = { offsetBytes, lengthBytes, expectedTag };
  if (slice !== undefined) {
    const { packId: objectId, packBytes: plainBytesMax } = slice;
    return { ...place, kind: 'pack', objectId, index: 0, unitSizeBytes: 0, plainBytesMax };
  }
  const { objectId, index } = origin ?? { objectId: form.objectId, index: unit };
  return { ...place, kind: 'unit', objectId, index, unitSizeBytes: form.unitSizeBytes };
}

/** What became of a fetch: the unit's plain bytes, or why there are none. */
type Outcome = { readonly bytes: Uint8Array } | { readonly error: unknown };

function newFetching(unit: number, receipt: Receipt): Fetching {
  const fetching = { unit, receipt, takers: new Set<WantedUnit>(), ended: Promise.withResolvers<void>() };
  // Every caller that waits for it handles the rejection itself; one that has left does not.
  fetching.ended.promise.catch(() => undefined);
  return fetching;
}

/** Returns the place that a unit's record was sealed for, and its tag. */
function versionOf(unit: number, { tag, origin, slice }: Receipt, form: FileForm): UnitVersion {
  if (slice !== undefined) return { objectId: slice.packId, index: 0, tag };
  return { ...(origin ?? { objectId: form.objectId, index: unit }), tag };
}

/** Returns what of an opened record is the unit's. */
function checked({ slice }: Receipt, opened: OpenedUnit | undefined, unitSizeBytes: number): Outcome {
  if (opened === undefined) return { error: new NetsealError('EBUG', 'a record was not opened') };
  if (opened.error !== undefined) return { error: opened.error };
  if (slice === undefined) return { bytes: opened.bytes };
  const { packBytes, startBytes, lengthBytes } = slice;
  const isWhole = opened.bytes.byteLength === packBytes && startBytes + lengthBytes <= packBytes;
  if (!isWhole || lengthBytes > unitSizeBytes) {
    return { error: new NetsealError('EFORMAT', 'a pack is not as long as the receipt of its slice says') };
  }
  return { bytes: opened.bytes.subarray(startBytes, startBytes + lengthBytes) };
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}
