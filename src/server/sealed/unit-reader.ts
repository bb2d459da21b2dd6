/**
 * Reads units, of one file or many, through the pipeline. For a unit that cannot be read, its error stands in
 * its place.
 *
 *   - A unit with a record of its own lies in shared memory until the result is released.
 *   - A unit in a pack is a view of the opened pack, which lies in ordinary memory. A pack is fetched and
 *     opened once for all its units; `OpenedPacks` keeps it for later calls.
 */
import { abortable } from '../../base/abortable.ts';
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { OpenedUnit, UnitToOpen } from '../../pipeline/requests.ts';
import type { Lease } from '../../pipeline/slab.ts';
import { type Fetch, type FetchPlan, fetchAll, planFetches } from './fetch.ts';
import type { ContentRecords, ContentVersion } from './kept-records.ts';
import { packKey } from './opened-packs.ts';
import { isSamePack, isSlicePointer, type Pointer, type SlicePointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';

export interface UnitToRead {
  readonly objectId: Id;
  readonly index: number;
  readonly unitSizeBytes: number;
  readonly pointer: Pointer;
  /**
   * How long the unit may be, by the file's size. Longer is EFORMAT. A shorter unit is valid: the rest reads
   * as zeros.
   */
  readonly plainBytesMax: number;
}

/** The units that were read, in the order of the request, with the shared memory that they lie in. */
export interface ReadUnits {
  readonly units: readonly OpenedUnit[];
  /** Gives the memory back. The units' bytes must not be used afterwards. */
  release(): void;
}

/** How many unneeded bytes before a record may be fetched along with it, see `planFetches`. */
const GAP_BYTES_MAX: number = 64 * KIB;

/** Counts the memory that reading some units together takes. A pack counts whole, and once. */
export class ReadCost {
  #plainBytes = 0;
  #sealedBytes = 0;
  readonly #packs = new Set<string>();
  /** The latest unit's pack: neighbours mostly share one. */
  #last: SlicePointer | undefined;

  get plainBytes(): number {
    return this.#plainBytes;
  }

  /** With the gaps between the records, at most. */
  get sealedBytes(): number {
    return this.#sealedBytes;
  }

  /** Returns the cost with another unit. */
  with(unit: Pick<UnitToRead, 'pointer' | 'plainBytesMax'>): { plainBytes: number; sealedBytes: number } {
    const { pointer, plainBytesMax } = unit;
    const isKnown = isSlicePointer(pointer) && this.#has(pointer);
    const { lengthBytes } = pointer;
    return {
      plainBytes: this.#plainBytes + (isKnown ? 0 : (pointer.slice?.packBytes ?? plainBytesMax)),
      sealedBytes: this.#sealedBytes + (isKnown ? 0 : lengthBytes + Math.min(GAP_BYTES_MAX, 2 * lengthBytes)),
    };
  }

  add(unit: Pick<UnitToRead, 'pointer' | 'plainBytesMax'>): void {
    const { pointer } = unit;
    if (isSlicePointer(pointer) && this.#has(pointer)) return;
    const { plainBytes, sealedBytes } = this.with(unit);
    this.#plainBytes = plainBytes;
    this.#sealedBytes = sealedBytes;
    if (!isSlicePointer(pointer)) return;
    this.#packs.add(packKey(pointer));
    this.#last = pointer;
  }

  #has(pointer: SlicePointer): boolean {
    const isSame = this.#last !== undefined && isSamePack(this.#last, pointer);
    return isSame || this.#packs.has(packKey(pointer));
  }
}

/**
 * Fetches and opens units.
 *
 * Rejects with EINVAL unless the sealed units with the gaps between them, and the plain units, fit into a
 * quarter of the pipeline's memory each, those in packs left out; with ECLOSED, EWORKER, or the signal's
 * reason.
 *
 * The error of a single unit is EMISSING (the segment is gone), ETRUNCATED (it is too short), EFORMAT (a pack
 * or a slice is not as long as it should be), an error of the store, or one that `Pipeline.open` reports.
 */
export async function readUnits(
  sealing: Sealing,
  requests: readonly UnitToRead[],
  signal?: AbortSignal,
): Promise<ReadUnits> {
  const whole = requests.filter(({ pointer }) => !isSlicePointer(pointer));
  const packs = new PackReading(
    sealing,
    requests.map(({ pointer }) => pointer).filter(isSlicePointer),
    signal,
  );
  const own = await packs.open(whole);
  try {
    while (!packs.areAllOpen) {
      await packs.othersOpened();
      await packs.open([]);
    }
  } catch (error) {
    own.release();
    throw error;
  }
  let next = 0;
  const units = requests.map(({ pointer, plainBytesMax }, at): OpenedUnit => {
    if (!isSlicePointer(pointer)) return own.units[next++] ?? { error: notRead(at) };
    return packs.sliceOf(pointer, plainBytesMax);
  });
  return { units, release: () => own.release() };
}

type RecordToOpen = Omit<UnitToOpen, 'offsetBytes'> & { readonly expectedTag: Uint8Array };

/** Sealed records in memory, or the errors of those that are not there; by position. */
interface Fetched {
  readonly lease: Lease;
  readonly offsets: readonly number[];
  readonly errors: ReadonlyMap<number, NetsealError>;
  /** Those that came from this machine. */
  readonly kept: ReadonlySet<number>;
  readonly content: ContentRecords | undefined;
}

/** A record that was kept on this machine does not open. The store has it still. */
const KEPT_DAMAGED: Error = new NetsealError('EBUG', 'a record that was kept on this machine does not open');

const NONE: ReadUnits = { units: [], release: () => undefined };

/** The packs of one call, opened or not. */
class PackReading {
  readonly #sealing: Sealing;
  readonly #signal: AbortSignal | undefined;
  /** One pointer into each pack that is not open yet. */
  readonly #left = new Map<string, SlicePointer>();
  readonly #opened = new Map<string, Uint8Array | NetsealError>();
  /** What the latest call of {@link sliceOf} found: neighbours mostly share a pack. */
  #last: { readonly pointer: SlicePointer; readonly pack: Uint8Array | NetsealError | undefined } | undefined;

  constructor(sealing: Sealing, pointers: readonly SlicePointer[], signal: AbortSignal | undefined) {
    this.#sealing = sealing;
    this.#signal = signal;
    let last: SlicePointer | undefined;
    for (const pointer of pointers) {
      if (last === undefined || !isSamePack(last, pointer)) this.#left.set(packKey(pointer), pointer);
      last = pointer;
    }
  }

  get areAllOpen(): boolean {
    return this.#left.size === 0;
  }

  /** Waits for the packs that others are opening. */
  async othersOpened(): Promise<void> {
    const { packs } = this.#sealing;
    await abortable(Promise.all([...this.#left.values()].map(at => packs.opened(at))), this.#signal);
  }

  /**
   * Opens the packs that are left and that nobody else is opening. Opens some whole units along with the
   * first of them, so that records that lie together are fetched together.
   */
  async open(whole: readonly UnitToRead[]): Promise<ReadUnits> {
    let own: ReadUnits | undefined;
    try {
      for (;;) {
        const claimed = this.#claim();
        if (claimed.length === 0 && (own !== undefined || whole.length === 0)) return own ?? NONE;
        own = await this.#openClaimed(claimed, own === undefined ? whole : []).then(read => own ?? read);
      }
    } catch (error) {
      own?.release();
      throw error;
    }
  }

  /** Returns the slice of an opened pack, or why it cannot be read. */
  sliceOf(pointer: SlicePointer, plainBytesMax: number): OpenedUnit {
    const isSame = this.#last !== undefined && isSamePack(this.#last.pointer, pointer);
    const pack = isSame ? this.#last?.pack : this.#opened.get(packKey(pointer));
    this.#last = { pointer, pack };
    const { startBytes, lengthBytes } = pointer.slice;
    if (pack === undefined) return { error: new NetsealError('EBUG', 'a pack was not read') };
    if (isNetsealError(pack)) return { error: pack };
    if (lengthBytes > plainBytesMax) {
      const problem = `${lengthBytes} bytes of a pack where at most ${plainBytesMax} belong`;
      return { error: new NetsealError('EFORMAT', problem) };
    }
    return { bytes: pack.subarray(startBytes, startBytes + lengthBytes), isLast: false };
  }

  /** Takes the packs that are kept. Returns some of the others, which this call opens. */
  #claim(): SlicePointer[] {
    const { packs, pipeline } = this.#sealing;
    const bytesMax = pipeline.slabBytes / 8;
    const claimed: SlicePointer[] = [];
    let plainBytes = 0;
    let sealedBytes = 0;
    for (const [key, pointer] of this.#left) {
      const kept = packs.get(pointer);
      if (kept !== undefined) {
        this.#opened.set(key, kept);
        this.#left.delete(key);
        continue;
      }
      const isFull =
        plainBytes + pointer.slice.packBytes > bytesMax || sealedBytes + pointer.lengthBytes > bytesMax;
      if ((claimed.length > 0 && isFull) || !packs.claim(pointer)) continue;
      claimed.push(pointer);
      plainBytes += pointer.slice.packBytes;
      sealedBytes += pointer.lengthBytes;
    }
    return claimed;
  }

  /**
   * Fetches records into the lease. A stretch comes from the store if any of its records is not kept on this
   * machine.
   */
  async #fetch(
    plan: FetchPlan,
    records: readonly RecordToOpen[],
    lease: Lease,
    content: ContentRecords | undefined,
  ): Promise<Fetched> {
    const { offsets } = plan;
    const wanted = records.map(({ objectId, index, lengthBytes, expectedTag }, at) => {
      const offset = offsets[at] ?? 0;
      return { objectId, index, tag: expectedTag, into: lease.bytes.subarray(offset, offset + lengthBytes) };
    });
    const isThere = (await content?.read(wanted)) ?? [];
    this.#signal?.throwIfAborted();
    const [kept, absent] = [new Set<number>(), [] as Fetch[]];
    for (const fetch of plan.fetches) {
      if (!fetch.members.every(({ at }) => isThere[at] === true)) absent.push(fetch);
      else for (const { at } of fetch.members) kept.add(at);
    }
    const errors = await fetchAll(
      this.#sealing.store,
      { ...plan, fetches: absent },
      lease.bytes,
      this.#signal,
    );
    return { lease, offsets, errors, kept, content };
  }

  async #openClaimed(claimed: readonly SlicePointer[], whole: readonly UnitToRead[]): Promise<ReadUnits> {
    const { packs, content } = this.#sealing;
    try {
      return await this.#openOnce(claimed, whole, content).catch(async error => {
        if (error !== KEPT_DAMAGED || content === undefined) throw error;
        return await this.#openOnce(claimed, whole, unread(content));
      });
    } finally {
      for (const pointer of claimed) packs.abandon(pointer);
    }
  }

  /**
   * Opens the units once. Rejects with {@link KEPT_DAMAGED} when a record that this machine kept did not
   * open. It was dropped then.
   */
  async #openOnce(
    claimed: readonly SlicePointer[],
    whole: readonly UnitToRead[],
    content: ContentRecords | undefined,
  ): Promise<ReadUnits> {
    const records = [...claimed.map(packToOpen), ...whole.map(unitToOpen)];
    const plan = planFetches([...claimed, ...whole.map(({ pointer }) => pointer)]);
    const lease = await this.#sealing.pipeline.reserveSealed(plan.totalBytes, { signal: this.#signal });
    try {
      const fetched = await this.#fetch(plan, records, lease, content);
      const opening = this.#openFrom(fetched, records.slice(claimed.length), claimed.length);
      const [packsOpened, own] = await Promise.allSettled([this.#openPacks(fetched, claimed), opening]);
      if (own.status === 'rejected') throw own.reason;
      if (packsOpened.status === 'fulfilled') return own.value;
      own.value.release();
      throw packsOpened.reason;
    } finally {
      lease.release();
    }
  }

  /**
   * Opens packs and copies them out of shared memory, so that no caller holds that memory while it waits for
   * more.
   */
  async #openPacks(fetched: Fetched, claimed: readonly SlicePointer[]): Promise<void> {
    const { units, release } = await this.#openFrom(fetched, claimed.map(packToOpen), 0);
    for (const [at, pointer] of claimed.entries()) this.#take(pointer, units[at]);
    release();
  }

  #take(pointer: SlicePointer, opened: OpenedUnit | undefined): void {
    const key = packKey(pointer);
    this.#left.delete(key);
    const { packBytes } = pointer.slice;
    if (opened?.error !== undefined) this.#opened.set(key, opened.error);
    else if (opened?.bytes.byteLength === packBytes) {
      // Not shared memory, and of its own: it lasts as long as anyone uses it.
      const plain = new Uint8Array(opened.bytes);
      this.#opened.set(key, plain);
      this.#sealing.packs.keep(pointer, plain);
    } else {
      const problem = `a pack of ${opened?.bytes.byteLength} bytes, not of ${packBytes} as its pointer says`;
      this.#opened.set(key, new NetsealError('EFORMAT', problem));
    }
  }

  /**
   * Opens records that were fetched. Those that were not have their errors in the result.
   *
   * @param firstAt the position of the first of them among all that were fetched.
   */
  async #openFrom(fetched: Fetched, units: readonly RecordToOpen[], firstAt: number): Promise<ReadUnits> {
    const { lease, offsets, errors } = fetched;
    const { pipeline, keys } = this.#sealing;
    const present = units.flatMap((unit, at) =>
      errors.has(firstAt + at)
        ? []
        : [{ ...unit, at: firstAt + at, offsetBytes: offsets[firstAt + at] ?? 0 }],
    );
    const opened =
      present.length === 0
        ? NONE
        : await pipeline.open({ keys, from: lease, units: present }, { signal: this.#signal });
    try {
      judgeKept(fetched, present, opened.units);
    } catch (error) {
      opened.release();
      throw error;
    }
    let next = 0;
    const results = units.map((_, at): OpenedUnit => {
      const error = errors.get(firstAt + at);
      return error === undefined ? (opened.units[next++] ?? { error: notRead(at) }) : { error };
    });
    return { units: results, release: () => opened.release() };
  }
}

/** Returns the same records, but with reads that find nothing. */
function unread(content: ContentRecords): ContentRecords {
  return {
    read: async () => [],
    keep: records => content.keep(records),
    drop: version => content.drop(version),
  };
}

/**
 * Keeps records that came from the store and opened. Throws {@link KEPT_DAMAGED}, and drops what was kept and
 * did not.
 */
function judgeKept(
  { lease, kept, content }: Fetched,
  records: readonly (RecordToOpen & { readonly at: number; readonly offsetBytes: number })[],
  opened: readonly OpenedUnit[],
): void {
  if (content === undefined) return;
  let isDamaged = false;
  const fresh: (ContentVersion & { readonly bytes: Uint8Array })[] = [];
  for (const [
    order,
    { at, objectId, index, expectedTag: tag, offsetBytes, lengthBytes },
  ] of records.entries()) {
    const isGood = opened[order]?.error === undefined;
    if (kept.has(at) && !isGood) {
      content.drop({ objectId, index, tag });
      isDamaged = true;
    } else if (!kept.has(at) && isGood) {
      fresh.push({
        objectId,
        index,
        tag,
        bytes: lease.bytes.subarray(offsetBytes, offsetBytes + lengthBytes),
      });
    }
  }
  if (fresh.length > 0) content.keep(fresh);
  if (isDamaged) throw KEPT_DAMAGED;
}

function packToOpen({ slice, lengthBytes, tag }: SlicePointer): RecordToOpen {
  return {
    kind: 'pack',
    objectId: idBytes(slice.packId),
    index: 0,
    unitSizeBytes: 0,
    lengthBytes,
    plainBytesMax: slice.packBytes,
    expectedTag: tag,
  };
}

function unitToOpen(unit: UnitToRead): RecordToOpen {
  const { pointer, objectId, index, unitSizeBytes, plainBytesMax } = unit;
  return {
    kind: 'unit',
    objectId: idBytes(pointer.origin?.objectId ?? objectId),
    index: pointer.origin?.index ?? index,
    unitSizeBytes,
    lengthBytes: pointer.lengthBytes,
    plainBytesMax,
    expectedTag: pointer.tag,
  };
}

function notRead(at: number): NetsealError {
  return new NetsealError('EBUG', `request ${at} was not read`);
}
