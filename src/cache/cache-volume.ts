/** One volume's part of a cache: what most callers work with. */
import type { CallOptions } from '../base/call-options.ts';
import { requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { TAG_BYTES } from '../unit/record-format.ts';
import type { IncomingUnit } from './clean/clean-writer.ts';
import type { UnitToRead } from './clean/reads.ts';
import type { Core } from './core/core.ts';
import type { WriteBehind } from './core/write-behind.ts';
import type { Prefix } from './index/fingerprints.ts';
import type { Cookie, ListedCookie } from './objects/cookies.ts';
import type { ObjectState, VolumeState } from './objects/objects.ts';
import { type UnitPlace, type UnitToPut, withObjects } from './objects/unit-place.ts';

export interface UnitToGet extends UnitPlace {
  /** 16 bytes, from the extent map: with another tag it is a miss. */
  readonly expectedTag: Uint8Array;
  /** Where the record goes, shared memory or not; at least as long as the record. Undefined after a miss. */
  readonly into: Uint8Array;
}

export interface UnitRange {
  /** First unit. Default 0. */
  readonly from?: number;
  /** One behind the last. Default: all there are. */
  readonly to?: number;
}

export class CacheVolume {
  readonly #core: Core;
  readonly #state: VolumeState;
  readonly #writeBehind: WriteBehind;

  /** @internal `cache.volume` is the way in. */
  constructor(core: Core, state: VolumeState, writeBehind: WriteBehind) {
    this.#core = core;
    this.#state = state;
    this.#writeBehind = writeBehind;
  }

  /** The volume's id, 16 bytes. They are the cache's own: do not change them. */
  get id(): Uint8Array {
    return this.#state.id;
  }

  /** Bytes of units of this volume that the index finds. */
  get bytes(): number {
    return this.#state.liveBytes;
  }

  /**
   * Reads sealed units into the caller's memory. Resolves with the length of each, 0 for a miss. Only opening a unit with
   * the same tag tells that it is right.
   *
   * Speed: each object id is looked up once as long as units that follow one another share the same array for it. With
   * equal ids in different arrays, every unit pays for a look-up.
   *
   * What the cache cannot read is a miss, not an error. EINVAL, ECLOSED, or the signal's reason: by then no read is
   * under way.
   */
  async get(units: readonly UnitToGet[], options: CallOptions = {}): Promise<number[]> {
    this.#core.requireOpen();
    const reads = this.#toReads(units);
    if (this.#core.context.health.isAway) {
      this.#core.context.counters.misses += units.length;
      return new Array<number>(units.length).fill(0);
    }
    return this.#core.reads.read(reads, options.signal);
  }

  /** @internal For who seals here, and so may do without a tag. */
  async getAny(
    units: readonly (UnitPlace & { readonly into: Uint8Array })[],
    options: CallOptions,
  ): Promise<number[]> {
    this.#core.requireOpen();
    if (this.#core.context.health.isAway) return new Array<number>(units.length).fill(0);
    const reads = withObjects(this.#core.objects, this.#state, units).map(({ unit, object }) => ({
      object,
      index: unit.index,
      expectedTag: undefined,
      into: unit.into,
    }));
    return this.#core.reads.read(reads, options.signal);
  }

  /** Whether the index has this version of a unit: what a read of it most likely will find. */
  has(unit: UnitPlace & { readonly expectedTag?: Uint8Array }): boolean {
    this.#core.requireOpen();
    if (this.#core.context.health.isAway) return false;
    const { prefix } = this.#object(unit.objectId);
    return this.#core.unitIndex.has(prefix, unit.index, unit.expectedTag);
  }

  /** Returns what another thread finds the object's units by, until they are invalidated. See `ThreadReader`. */
  prefix(objectId: Uint8Array): Prefix {
    this.#core.requireOpen();
    return this.#object(objectId).prefix;
  }

  /**
   * Stores clean units. Resolves with how many are stored now; the statistics count why others were dropped.
   *
   * The bytes of the units must not change until the call has settled; their ids may. An abort ends waiting at once, but a
   * write that is under way is waited for. For speed, share id arrays as for {@link get}.
   *
   * EINVAL, ECLOSED, or the signal's reason: then some may be stored.
   */
  async put(units: readonly UnitToPut[], options: CallOptions = {}): Promise<number> {
    this.#core.requireOpen();
    return this.#core.cleanWriter.store(this.#incoming(units), options.signal);
  }

  /**
   * Takes copies of clean units, and writes them when there is time. Returns how many were taken; the rest is dropped.
   * Afterwards the bytes are the caller's again.
   */
  offer(units: readonly UnitToPut[]): number {
    this.#core.requireOpen();
    return this.#writeBehind.offer(this.#incoming(units));
  }

  /**
   * Invalidates the clean units of an object, or of a range of it: none is found from now on, and reads under way become
   * misses. A range of more than 65,536 units invalidates the whole object. Invalidations of objects survive the death of
   * the process. Those of ranges do not: after that, only the tag keeps an old unit from being used.
   */
  invalidate(objectId: Uint8Array, { from = 0, to = Number.POSITIVE_INFINITY }: UnitRange = {}): void {
    this.#core.requireOpen();
    requireArgument(from >= 0 && to >= from, `a range of units from ${from} to ${to} makes no sense`);
    this.#core.invalidator.invalidateRange(this.#object(objectId), from, to);
  }

  /** Invalidates all clean units of the volume. */
  invalidateAll(): void {
    this.#core.requireOpen();
    this.#core.invalidator.invalidateVolume(this.#state);
  }

  /**
   * Compares what is remembered of the object's state with what the server says it is: equal, and its units stay; anything else, also
   * another length, nothing remembered, or a change that was begun and not finished, and they are dropped. Remembers `coherency`, at
   * most 1 KiB, in any case.
   */
  revalidate(objectId: Uint8Array, coherency: Uint8Array): 'kept' | 'dropped' {
    this.#core.requireOpen();
    const object = this.#object(objectId);
    const known = this.#core.objects.coherency(object);
    const isSame = known !== undefined && !known.isChanging && Buffer.compare(known.bytes, coherency) === 0;
    if (isSame) return 'kept';
    this.#core.invalidator.invalidateObject(object, { bytes: coherency, isChanging: false });
    return 'dropped';
  }

  /**
   * Remembers an object's state, at most 1 KiB, for {@link revalidate}. Survives the death of the process; a power cut after `flush`.
   *
   * @param isChanging its data is about to become another than this says: until this is called again, `revalidate` drops it.
   */
  setCoherency(objectId: Uint8Array, coherency: Uint8Array, isChanging = false): void {
    this.#core.requireOpen();
    this.#core.objects.setCoherency(this.#object(objectId), coherency, isChanging);
  }

  /** What was remembered; a copy. */
  coherency(objectId: Uint8Array): Uint8Array | undefined {
    this.#core.requireOpen();
    return this.#core.objects.coherency(this.#object(objectId))?.bytes;
  }

  /**
   * Keeps the units of an object, those that come as well; without an id, of the whole volume.
   *
   * @param options `unitCount`, for `incomplete`; by default what the object's cookie says.
   */
  pin(objectId?: Uint8Array, { unitCount }: { readonly unitCount?: number | undefined } = {}): void {
    this.#core.requireOpen();
    this.#core.objects.pins.set(this.#state, this.#checked(objectId), unitCount);
  }

  /** False when there was no such pin. Its units then go the way of all others, unless a prefix pins them. */
  unpin(objectId?: Uint8Array): boolean {
    this.#core.requireOpen();
    return this.#core.objects.pins.remove(this.#state, this.#checked(objectId));
  }

  /**
   * Keeps the units of every object whose cookie begins with `prefix` (at most 4,096 bytes), now or later. It holds for cookies that
   * are set from now on; resolves when those that are there have been looked at, in bounded steps. EINVAL; ECLOSED when the cache is
   * closed meanwhile, EIO when cookies cannot be read: the rest is done when it is opened again.
   */
  pinPrefix(prefix: Uint8Array): Promise<void> {
    this.#core.requireOpen();
    return this.#core.objects.pins.setPrefix(this.#state, prefix);
  }

  /**
   * False when that prefix was not pinned. Objects that another prefix or a pin of their own holds stay pinned. Resolves when the
   * others are not; ECLOSED and EIO as for {@link pinPrefix}.
   */
  unpinPrefix(prefix: Uint8Array): Promise<boolean> {
    this.#core.requireOpen();
    return this.#core.objects.pins.removePrefix(this.#state, prefix);
  }

  /**
   * Says what people call an object. A cookie that it had before goes, and so does that of another object with the same key: of one
   * name, the object that came last has the pins. Survives the death of the process; sealed on the disk. EINVAL.
   */
  setCookie(objectId: Uint8Array, cookie: Cookie): void {
    this.#core.requireOpen();
    this.#core.objects.setCookie(this.#state, objectId, cookie);
  }

  /** A copy. */
  cookie(objectId: Uint8Array): Cookie | undefined {
    this.#core.requireOpen();
    return this.#core.objects.cookie(this.#state, objectId);
  }

  /** False when there was none. */
  removeCookie(objectId: Uint8Array): boolean {
    this.#core.requireOpen();
    return this.#core.objects.removeCookie(this.#state, objectId);
  }

  /** All cookies of the volume, in no order, read in bounded steps; those set meanwhile may be among them. EIO, ECLOSED. */
  async *cookies(): AsyncGenerator<ListedCookie> {
    this.#core.requireOpen();
    yield* this.#core.objects.listCookies(this.#state, () => this.#core.requireOpen());
  }

  /** What the volume may take of the cache; more of it is dropped. Infinity for no limit. */
  setShare(shareBytes: number): void {
    this.#core.requireOpen();
    requireArgument(shareBytes > 0, `a share must be more than ${shareBytes} bytes`);
    this.#core.objects.setShare(this.#state, shareBytes);
  }

  #incoming(units: readonly UnitToPut[]): IncomingUnit[] {
    return withObjects(this.#core.objects, this.#state, units).map(({ unit, object }) => ({
      object,
      index: unit.index,
      bytes: unit.bytes,
    }));
  }

  #toReads(units: readonly UnitToGet[]): UnitToRead[] {
    return withObjects(this.#core.objects, this.#state, units).map(({ unit, object }) => {
      const { index, expectedTag, into } = unit;
      requireArgument(
        expectedTag instanceof Uint8Array && expectedTag.byteLength === TAG_BYTES,
        `unit ${index}: an expected tag of ${TAG_BYTES} bytes is needed`,
      );
      return { object, index, expectedTag, into };
    });
  }

  #checked(objectId: Uint8Array | undefined): Uint8Array | undefined {
    requireArgument(
      objectId === undefined || objectId.byteLength === ID_BYTES,
      `object id must be ${ID_BYTES} bytes, not ${objectId?.byteLength}`,
    );
    return objectId;
  }

  #object(objectId: Uint8Array): ObjectState {
    return this.#core.objects.object(this.#state, objectId);
  }
}
