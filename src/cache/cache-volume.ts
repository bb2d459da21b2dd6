/** The units of one volume in a cache: reads and writes them, and keeps what is known of their objects. */
import {
  requireBytes,
  requireFlag,
  requireInteger,
  requireNumber,
  requireObject,
  requireOptions,
} from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { ID_BYTES } from '../base/ids.ts';
import { TAG_BYTES } from '../unit/record-format.ts';
import type { IncomingUnit } from './clean/clean-writer.ts';
import type { UnitToRead } from './clean/reads.ts';
import type { Core } from './core/core.ts';
import type { WriteBehind } from './core/write-behind.ts';
import type { Prefix } from './index/fingerprints.ts';
import type { Cookie, ListedCookie } from './objects/cookies.ts';
import type { ObjectState, VolumeState } from './objects/objects.ts';
import { storedIndexOf, type UnitPlace, type UnitToPut, withObjects } from './objects/unit-place.ts';

export interface UnitToGet extends UnitPlace {
  /** The tag that the unit's pointer has, 16 bytes. A unit with another tag is a miss. */
  readonly expectedTag: Uint8Array;
  /**
   * Where the record goes, shared memory or not. A record that is longer is a miss. The content is undefined
   * after a miss.
   */
  readonly into: Uint8Array;
}

export interface UnitRange {
  /** The first unit. Default 0. */
  readonly from?: number;
  /** The unit after the last. Default: all there are. */
  readonly to?: number;
}

export class CacheVolume {
  readonly #core: Core;
  readonly #state: VolumeState;
  readonly #writeBehind: WriteBehind;

  /** @internal Call `cache.volume` instead. */
  constructor(core: Core, state: VolumeState, writeBehind: WriteBehind) {
    this.#core = core;
    this.#state = state;
    this.#writeBehind = writeBehind;
  }

  /** The volume's id, 16 bytes. They are the cache's own: do not change them. */
  get id(): Uint8Array {
    return this.#state.id;
  }

  /** False once the cache was closed: every call fails with ECLOSED then. */
  get isOpen(): boolean {
    return !this.#core.isClosed;
  }

  /** The bytes of this volume's units that the index finds. */
  get bytes(): number {
    return this.#state.liveBytes;
  }

  /**
   * Reads sealed units into the caller's memory. Resolves with the length of each, 0 for a miss. Length and
   * tag are compared; whether the bytes between are sound is only known once the unit is opened.
   *
   * Speed: an object id costs a look-up, except when the unit before had its id in the same array.
   *
   * A unit that cannot be read is a miss, not an error. EINVAL, ECLOSED, or the signal's reason; no read is
   * under way then.
   */
  async get(units: readonly UnitToGet[], options: CallOptions = {}): Promise<number[]> {
    this.#core.requireOpen();
    requireOptions('options', options);
    const reads = this.#toReads(units);
    if (this.#core.context.health.isAway) {
      this.#core.context.counters.misses += units.length;
      return new Array<number>(units.length).fill(0);
    }
    return this.#core.reads.read(reads, options.signal);
  }

  /**
   * @internal Reads units of whatever tag. Only for callers that seal their own units, and so need not know
   *   the tag.
   */
  async getAny(
    units: readonly (UnitPlace & { readonly into: Uint8Array })[],
    options: CallOptions,
  ): Promise<number[]> {
    this.#core.requireOpen();
    if (this.#core.context.health.isAway) return new Array<number>(units.length).fill(0);
    const reads = withObjects(this.#core.objects, this.#state, units).map(({ unit, object, index }) => ({
      object,
      index,
      expectedTag: undefined,
      into: unit.into,
    }));
    return this.#core.reads.read(reads, options.signal);
  }

  /** True when the index has this version of a unit, so that a read will most likely find it. */
  has(unit: UnitPlace & { readonly expectedTag?: Uint8Array }): boolean {
    this.#core.requireOpen();
    requireObject('unit', unit);
    requireBytes('objectId', unit.objectId, ID_BYTES);
    const index = storedIndexOf(unit);
    if (unit.expectedTag !== undefined) requireBytes('expectedTag', unit.expectedTag, TAG_BYTES);
    if (this.#core.context.health.isAway) return false;
    const { prefix } = this.#object(unit.objectId);
    return this.#core.unitIndex.has(prefix, index, unit.expectedTag);
  }

  /**
   * Drops this version of a unit, which did not open, and counts it as damaged. Another version stays, and so
   * does a dirty unit, which no server has.
   */
  drop(unit: UnitPlace & { readonly expectedTag: Uint8Array }): void {
    this.#core.requireOpen();
    requireObject('unit', unit);
    requireBytes('objectId', unit.objectId, ID_BYTES);
    requireBytes('expectedTag', unit.expectedTag, TAG_BYTES);
    const index = storedIndexOf(unit);
    this.#core.reads.drop(this.#object(unit.objectId).prefix, index, unit.expectedTag);
  }

  /** Returns the prefix by which a `ThreadReader` finds the object's units until they are invalidated. */
  prefix(objectId: Uint8Array): Prefix {
    this.#core.requireOpen();
    return this.#object(objectId).prefix;
  }

  /**
   * Stores clean units. Resolves with how many were stored. `statistics.dropped` counts why others were not.
   *
   * The bytes of the units must not change until the call has settled; their ids may. An abort ends waiting
   * at once, but a write that is under way is waited for. For speed, share id arrays as for {@link get}.
   *
   * EINVAL, ECLOSED, or the signal's reason; some units may be stored then.
   */
  async put(units: readonly UnitToPut[], options: CallOptions = {}): Promise<number> {
    this.#core.requireOpen();
    requireOptions('options', options);
    return this.#core.cleanWriter.store(this.#incoming(units), options.signal);
  }

  /**
   * Copies clean units, and writes them in the background. Returns how many were taken; the others are
   * dropped. The units' bytes are the caller's again at once.
   */
  offer(units: readonly UnitToPut[]): number {
    this.#core.requireOpen();
    return this.#writeBehind.offer(this.#incoming(units));
  }

  /**
   * Invalidates the clean units of an object, or of a range of it: none is found from now on, and reads under
   * way become misses. A range of more than 65,536 units invalidates the whole object.
   *
   * The invalidation of an object survives the death of the process. That of a range does not: in the next
   * process, only the tag keeps an old unit from being used.
   */
  invalidate(objectId: Uint8Array, range: UnitRange = {}): void {
    this.#core.requireOpen();
    requireObject('range', range);
    const { from = 0, to = Number.POSITIVE_INFINITY } = range;
    requireInteger('range.from', from);
    if (to !== Number.POSITIVE_INFINITY) requireInteger('range.to', to, from);
    this.#core.invalidator.invalidateRange(this.#object(objectId), from, to);
  }

  /** Invalidates all clean units of the volume. */
  invalidateAll(): void {
    this.#core.requireOpen();
    this.#core.invalidator.invalidateVolume(this.#state);
  }

  /**
   * Compares the server's state of an object with the one that is remembered, and remembers it. The object's
   * units stay if the two are equal. They are dropped if the two differ, if none was remembered, or if a
   * change was begun (`isChanging`) and not finished.
   *
   * @param coherency any bytes that stand for the state, at most 1 KiB.
   */
  revalidate(objectId: Uint8Array, coherency: Uint8Array): 'kept' | 'dropped' {
    this.#core.requireOpen();
    requireCoherency(coherency);
    const object = this.#object(objectId);
    const known = this.#core.objects.coherency(object);
    const isSame = known !== undefined && !known.isChanging && Buffer.compare(known.bytes, coherency) === 0;
    if (isSame) return 'kept';
    this.#core.invalidator.invalidateObject(object, { bytes: coherency, isChanging: false });
    return 'dropped';
  }

  /**
   * Remembers an object's state for {@link revalidate}. It survives the death of the process at once, and a
   * power cut after `flush`.
   *
   * @param coherency any bytes that stand for the state, at most 1 KiB.
   * @param isChanging the cached data is about to differ from this state: until the next call, `revalidate`
   *   drops it.
   */
  setCoherency(objectId: Uint8Array, coherency: Uint8Array, isChanging = false): void {
    this.#core.requireOpen();
    requireCoherency(coherency);
    requireFlag('isChanging', isChanging);
    this.#core.objects.setCoherency(this.#object(objectId), coherency, isChanging);
  }

  /** Returns a copy of the state that is remembered of an object. */
  coherency(objectId: Uint8Array): Uint8Array | undefined {
    this.#core.requireOpen();
    return this.#core.objects.coherency(this.#object(objectId))?.bytes;
  }

  /**
   * Pins an object, or without an id the whole volume: its units are kept, also those that come later.
   *
   * @param options `unitCount` is how many units the object has, for `cache.incomplete`. Default: what its
   *   cookie says.
   */
  pin(objectId?: Uint8Array, options: { readonly unitCount?: number | undefined } = {}): void {
    this.#core.requireOpen();
    requireObject('options', options);
    const { unitCount } = options;
    if (unitCount !== undefined) requireInteger('options.unitCount', unitCount);
    this.#core.objects.pins.set(this.#state, this.#checked(objectId), unitCount);
  }

  /**
   * Removes a pin. False when there was none. Its units may be given up from now on, unless a prefix pins
   * them.
   */
  unpin(objectId?: Uint8Array): boolean {
    this.#core.requireOpen();
    return this.#core.objects.pins.remove(this.#state, this.#checked(objectId));
  }

  /**
   * Pins every object whose cookie begins with `prefix`, now or later. Holds at once for cookies that are set
   * from now on. Resolves when all cookies that are there have been looked at.
   *
   * EINVAL. ECLOSED when the cache is closed meanwhile, EIO when cookies cannot be read: the rest is done
   * after the next opening.
   *
   * @param prefix at most 4,096 bytes.
   */
  async pinPrefix(prefix: Uint8Array): Promise<void> {
    this.#core.requireOpen();
    requireBytes('prefix', prefix);
    return await this.#core.objects.pins.setPrefix(this.#state, prefix);
  }

  /**
   * Removes a pinned prefix. False when it was not pinned. Objects with another pinned prefix or a pin of
   * their own stay pinned. Resolves when the others are not pinned any more. ECLOSED and EIO as for {@link
   * pinPrefix}.
   */
  async unpinPrefix(prefix: Uint8Array): Promise<boolean> {
    this.#core.requireOpen();
    requireBytes('prefix', prefix);
    return await this.#core.objects.pins.removePrefix(this.#state, prefix);
  }

  /**
   * Sets an object's cookie: the name by which people know it. It replaces the object's cookie from before.
   * If another object has a cookie with this key, it loses it: the pins of a name are those of the object
   * that got the name last.
   *
   * Survives the death of the process. Sealed on the disk. EINVAL.
   */
  setCookie(objectId: Uint8Array, cookie: Cookie): void {
    this.#core.requireOpen();
    this.#core.objects.setCookie(this.#state, objectId, cookie);
  }

  /** Returns a copy of an object's cookie. */
  cookie(objectId: Uint8Array): Cookie | undefined {
    this.#core.requireOpen();
    requireBytes('objectId', objectId, ID_BYTES);
    return this.#core.objects.cookie(this.#state, objectId);
  }

  /** Removes an object's cookie. False when there was none. */
  removeCookie(objectId: Uint8Array): boolean {
    this.#core.requireOpen();
    requireBytes('objectId', objectId, ID_BYTES);
    return this.#core.objects.removeCookie(this.#state, objectId);
  }

  /**
   * Lists the volume's cookies, in no order, in bounded steps. Those set meanwhile may be among them. EIO,
   * ECLOSED.
   */
  async *cookies(): AsyncGenerator<ListedCookie> {
    this.#core.requireOpen();
    yield* this.#core.objects.listCookies(this.#state, () => this.#core.requireOpen());
  }

  /**
   * Sets how much of the cache the volume's clean units may take, rounded up to a byte. Infinity for no
   * limit.
   */
  setShare(shareBytes: number): void {
    this.#core.requireOpen();
    if (shareBytes !== Number.POSITIVE_INFINITY) requireNumber('shareBytes', shareBytes, 1);
    this.#core.objects.setShare(this.#state, Math.ceil(shareBytes));
  }

  #incoming(units: readonly UnitToPut[]): IncomingUnit[] {
    return withObjects(this.#core.objects, this.#state, units).map(({ unit, object, index }) => {
      const { bytes } = unit;
      requireBytes('bytes', bytes);
      return { object, index, bytes };
    });
  }

  #toReads(units: readonly UnitToGet[]): UnitToRead[] {
    return withObjects(this.#core.objects, this.#state, units).map(({ unit, object, index }) => {
      const { expectedTag, into } = unit;
      requireBytes('expectedTag', expectedTag, TAG_BYTES);
      requireBytes('into', into);
      return { object, index, expectedTag, into };
    });
  }

  #checked(objectId: Uint8Array | undefined): Uint8Array | undefined {
    if (objectId !== undefined) requireBytes('objectId', objectId, ID_BYTES);
    return objectId;
  }

  #object(objectId: Uint8Array): ObjectState {
    return this.#core.objects.object(this.#state, objectId);
  }
}

const COHERENCY_BYTES_MAX = 1024;

function requireCoherency(coherency: Uint8Array): void {
  requireBytes('coherency', coherency);
  requireInteger('coherency.byteLength', coherency.byteLength, 0, COHERENCY_BYTES_MAX);
}
