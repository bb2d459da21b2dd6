/**
 * Objects as a cache knows them: the prefixes that their units are found by, coherency data, cookies and
 * pins.
 *
 * A prefix is made from the generations of object and volume. An invalidation is a new generation, and no
 * generation comes twice, so invalidated units are never found again.
 */
import { requireBytes } from '../../base/arguments.ts';
import { toByteString } from '../../base/bytes.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { giveTurn } from '../../base/turns.ts';
import { equalPrefixes, type Fingerprinter, type Prefix } from '../index/fingerprints.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { BEFORE_ALL_NAMES, type RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';
import { type Cookie, type CookieRow, Cookies, checkCookie, type ListedCookie } from './cookies.ts';
import { type Coherency, type ObjectRow, ObjectRows } from './object-rows.ts';
import { Pins } from './pins.ts';
import { floorBucketOf, newGeneration, type VolumeAccount, type VolumeState, Volumes } from './volumes.ts';

export type { Pin } from './pins.ts';
export type { VolumeState } from './volumes.ts';

const OBJECTS_KEPT_MAX = 65_536;
const OBJECTS_FORGOTTEN = 4096;

/**
 * An object, with all that a look-up needs. The least recently made are forgotten, and made again when they
 * are asked for.
 */
export interface ObjectState {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  /** The two ids as a string. */
  readonly key: string;
  generation: number;
  prefix: Prefix;
  pin: boolean;
  /** True when the object has a row, which has its generation. */
  hasRow: boolean;
  /** The bucket that the object's row belongs to, or would belong to; see `object-rows.ts`. */
  bucket: number | undefined;
  /** The volume's age when the prefix was made. */
  age: number;
}

/** 16 bytes each. */
interface ObjectIds {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
}

export class Objects {
  /** Counts invalidations: it differs when anything was invalidated meanwhile. */
  invalidations = 0;
  /**
   * Grows whenever units in pinned zones may no longer have to stay: something was unpinned or invalidated.
   */
  loosenings = 0;
  readonly cookies: Cookies;
  readonly pins: Pins;
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #objectRows: ObjectRows;
  readonly #volumes: Volumes;
  readonly #objects = new Map<string, ObjectState>();
  /** False while pins are being read. Until then, any volume may have one. */
  #knowsPins = false;

  constructor(context: CacheContext) {
    const { rows, fingerprinter, nowMs } = context;
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#objectRows = new ObjectRows(rows, fingerprinter, nowMs);
    this.#volumes = new Volumes(rows, fingerprinter, volume => this.#mayForget(volume));
    this.cookies = new Cookies(rows, fingerprinter, nowMs);
    this.pins = new Pins(context, this.#volumes, this.cookies, {
      changed: (volume, objectId) => {
        this.#pinChanged(volume, objectId);
      },
      loosened: () => {
        this.loosenings += 1;
      },
    });
    this.#knowsPins = true;
  }

  /** Returns the volume of an id, and makes it known. EFULL when there are 4,096 others that are needed. */
  volume(id: Uint8Array): VolumeState {
    return this.#volumes.volume(id);
  }

  /** Returns the account of a volume number, also of a number that its volume has given up. */
  account(number: number): VolumeAccount {
    return this.#volumes.account(number);
  }

  /** Returns the volume that has a number, or had it last. */
  volumeOfNumber(number: number): VolumeState | undefined {
    return this.#volumes.ofNumber(number);
  }

  accounts(): Iterable<VolumeAccount> {
    return this.#volumes.accounts();
  }

  volumes(): VolumeState[] {
    return this.#volumes.all();
  }

  setShare(volume: VolumeState, shareBytes: number): void {
    volume.shareBytes = shareBytes;
    this.#volumes.save(volume);
  }

  /** Returns an object, with the prefix that is valid now. EINVAL when the id is not 16 bytes. */
  object(volume: VolumeState, id: Uint8Array): ObjectState {
    requireBytes('objectId', id, ID_BYTES);
    const key = toByteString(volume.id) + toByteString(id);
    const known = this.#objects.get(key);
    if (known !== undefined) return this.#refreshed(known);
    const { generation, hasRow, bucket } = this.#objectRows.load(volume, id);
    const object: ObjectState = {
      volume,
      id: new Uint8Array(id),
      key,
      generation,
      prefix: this.#fingerprinter.prefix(volume.id, id, volume.generation, generation),
      pin: this.pins.isPinned(volume, id),
      hasRow,
      bucket,
      age: volume.age,
    };
    // A caller may still hold a volume that was forgotten. Its objects must not reach those who use the id
    // again.
    if (volume.isForgotten) return object;
    if (this.#objects.size >= OBJECTS_KEPT_MAX) this.#forgetOldest();
    this.#objects.set(key, object);
    return object;
  }

  /**
   * Returns the object of a unit in a zone. Undefined when the volume was forgotten: then nothing finds the
   * unit.
   */
  objectOf({ volumeId, objectId }: ObjectIds): ObjectState | undefined {
    const volume = this.#volumes.known(volumeId);
    return volume === undefined ? undefined : this.object(volume, objectId);
  }

  /** True while units of `object` are found by `prefix`. */
  isCurrent({ volume, id }: ObjectState, prefix: Prefix): boolean {
    // The caller's object may have been forgotten here, and made again: the present one decides.
    return equalPrefixes(this.object(volume, id).prefix, prefix);
  }

  /**
   * Invalidates an object: none of its cached units is found any more.
   *
   * @param coherency replaces its coherency data; by default it stays.
   */
  invalidateObject(object: ObjectState, coherency?: Coherency): void {
    this.invalidations += 1;
    if (object.pin) this.loosenings += 1;
    const remembered = coherency ?? (object.hasRow ? this.coherency(object) : undefined);
    object.generation = newGeneration();
    object.hasRow = true;
    this.#objectRows.save(object, remembered);
    this.#renew(object);
  }

  invalidateVolume(volume: VolumeState): void {
    this.invalidations += 1;
    this.loosenings += 1;
    this.#volumes.invalidate(volume);
  }

  /** Returns what {@link setCoherency} was given last. */
  coherency({ volume, id }: ObjectState): Coherency | undefined {
    return this.#objectRows.load(volume, id).coherency;
  }

  /**
   * Keeps an object's coherency data.
   *
   * @param isChanging the cached data is about to differ from what `coherency` says. After a crash it is then
   *   not trusted.
   */
  setCoherency(object: ObjectState, coherency: Uint8Array, isChanging: boolean): void {
    // Otherwise a power cut could bring back the old row, which trusts data that has changed since.
    const isDurable = isChanging && this.coherency(object)?.isChanging !== true;
    this.#objectRows.save(object, { bytes: coherency, isChanging }, isDurable);
    object.hasRow = true;
  }

  isPinned(volume: VolumeState, objectId: Uint8Array): boolean {
    return this.pins.isPinned(volume, objectId);
  }

  cookie(volume: VolumeState, objectId: Uint8Array): Cookie | undefined {
    const cookie = this.cookies.get(volume, objectId);
    return cookie === undefined ? undefined : { key: cookie.key, unitCount: cookie.unitCount };
  }

  setCookie(volume: VolumeState, objectId: Uint8Array, cookie: Cookie): void {
    requireBytes('objectId', objectId, ID_BYTES);
    checkCookie(cookie);
    this.#rows.inOneTransaction(() => {
      for (const changed of this.cookies.set(volume, objectId, cookie)) this.pins.recheck(volume, changed);
    });
  }

  /** Removes an object's cookie. False when there was none. */
  removeCookie(volume: VolumeState, objectId: Uint8Array): boolean {
    let wasThere = false;
    this.#rows.inOneTransaction(() => {
      wasThere = this.cookies.remove(volume, objectId);
      if (wasThere) this.pins.recheck(volume, objectId);
    });
    return wasThere;
  }

  /**
   * Yields the cookies of a volume, read in bounded steps. EIO.
   *
   * @param requireOpen throws when the cache was closed.
   */
  async *listCookies(volume: VolumeState, requireOpen: () => void): AsyncGenerator<ListedCookie> {
    for (let after: Uint8Array | undefined = BEFORE_ALL_NAMES; after !== undefined; ) {
      const { cookies, next } = this.cookies.page(volume, after);
      for (const { objectId, key, unitCount } of cookies) {
        yield { objectId, key, unitCount };
        requireOpen();
      }
      after = next;
      await giveTurn();
      requireOpen();
    }
  }

  /** Gives an object a row, so that raising its floor does not drop its units. */
  keep(object: ObjectState): void {
    if (object.hasRow) return;
    this.#objectRows.save(object, undefined);
    object.hasRow = true;
  }

  /**
   * Removes the oldest rows of objects in buckets from `from` up to `to`. Rows of pinned and dirty objects
   * stay; those of objects in use go last. The removed objects' units are not found any more, nor are those
   * of objects in these buckets that have no row and are not in use.
   *
   * @param part the share of the rows to remove, from 0 to 1.
   * @param rowsMax how many rows there may be.
   * @param mustStay whether an object has dirty units.
   * @returns by how many rows there are fewer; undefined when nothing can be written now and nothing was
   *   changed.
   */
  sweepObjects(
    from: number,
    to: number,
    part: number,
    rowsMax: number,
    mustStay: (key: string) => boolean,
  ): number | undefined {
    const free = this.#objectRows.rowsOf(from, to).flatMap(row => {
      const { volumeId, objectId, day } = row;
      const key = toByteString(volumeId) + toByteString(objectId);
      const volume = this.#volumes.known(volumeId);
      if (this.#staysRow(row, mustStay)) return [];
      // The row of the forgotten volume may still be on the disk, and would find what this row has
      // invalidated.
      if (volume === undefined && this.#rows.unsavedCount > 0) return [];
      const known = this.#objects.get(key);
      return [{ row, volume, known, day: known === undefined ? day : Number.POSITIVE_INFINITY }];
    });
    const victims = oldest(free, part);
    if (victims.length === 0) return 0;
    const volumes = new Set(victims.flatMap(({ volume }) => volume ?? []));
    const { kept, others: changed } = this.#inUse(volumes, from, to, rowsMax);
    const rows: RowChange[] = [
      ...kept.map(object => this.#objectRows.rowOf(object)),
      ...victims.map(({ row: { name } }): RowChange => ({ kind: 'object', name, value: undefined })),
    ];
    if (!this.#volumes.raiseFloors(volumes, from, to, rows)) return undefined;
    for (const object of kept) object.hasRow = true;
    for (const { row, known } of victims)
      if (known !== undefined) changed.push({ object: known, bucket: floorBucketOf(row.name) });
    this.invalidations += 1;
    for (const { object, bucket } of changed) {
      object.generation = object.volume.floors?.[bucket] ?? 0;
      object.hasRow = false;
      this.#renew(object);
    }
    return victims.length - kept.length;
  }

  /**
   * Frees memory while the database cannot be written: forgets unsaved rows of objects and cookies, except
   * those of pinned and dirty objects. To keep what they invalidated invalidated, the volumes' floors are
   * raised, which drops the units of all their objects without rows.
   *
   * @param mustStay whether an object has dirty units.
   */
  forgetUnsaved(mustStay: (key: string) => boolean): void {
    const rows = this.#objectRows.unsaved().filter(row => !this.#staysRow(row, mustStay));
    const volumes = new Set(rows.flatMap(({ volumeId }) => this.#volumes.known(volumeId) ?? []));
    this.#volumes.raiseAllFloors(volumes);
    this.invalidations += 1;
    this.#objectRows.forgetUnsaved(rows);
    // Their prefixes have changed. They are made again when they are asked for.
    for (const [key, { volume }] of this.#objects) if (volumes.has(volume)) this.#objects.delete(key);
    this.cookies.removeRows(this.cookies.unsaved().filter(row => !this.#staysCookie(row)));
  }

  #staysRow({ volumeId, objectId }: ObjectRow, mustStay: (key: string) => boolean): boolean {
    const volume = this.#volumes.known(volumeId);
    return (
      mustStay(toByteString(volumeId) + toByteString(objectId)) ||
      (volume !== undefined && this.pins.isPinned(volume, objectId))
    );
  }

  /**
   * Returns the objects in use that have no row, in two parts: `kept` are given a row before the floors are
   * raised. `others` are not, because there are too many; they come with their buckets.
   */
  #inUse(
    volumes: ReadonlySet<VolumeState>,
    from: number,
    to: number,
    rowsMax: number,
  ): { readonly kept: ObjectState[]; readonly others: { object: ObjectState; bucket: number }[] } {
    const isWorthIt = this.#objects.size <= rowsMax / 2;
    const kept: ObjectState[] = [];
    const others: { object: ObjectState; bucket: number }[] = [];
    for (const object of this.#objects.values()) {
      if (object.hasRow || !volumes.has(object.volume)) continue;
      object.bucket ??= floorBucketOf(this.#objectRows.name(object.volume, object.id));
      const { bucket } = object;
      if (bucket < from || bucket >= to) continue;
      if (isWorthIt) kept.push(object);
      else others.push({ object, bucket });
    }
    return { kept, others };
  }

  /**
   * Removes the oldest cookies whose rows have names between two, except those of pinned objects. Returns how
   * many; undefined when it could not be written yet.
   */
  sweepCookies(after: Uint8Array, before: Uint8Array, part: number): number | undefined {
    const free = this.cookies.rowsOf(after, before).filter(row => !this.#staysCookie(row));
    const victims = oldest(free, part);
    return this.cookies.removeRows(victims) ? victims.length : undefined;
  }

  #staysCookie({ volumeId, objectId, key }: CookieRow): boolean {
    const volume = this.#volumes.known(volumeId);
    // A prefix whose scan has not reached this cookie yet may pin it.
    return (
      volume !== undefined && (this.pins.isPinned(volume, objectId) || this.pins.isUnderPrefix(volume, key))
    );
  }

  #mayForget(volume: VolumeState): boolean {
    if (volume.pin || !this.#knowsPins || this.pins.hasAnyOf(volume)) return false;
    for (const [key, object] of this.#objects) if (object.volume === volume) this.#objects.delete(key);
    return true;
  }

  #pinChanged(volume: VolumeState, objectId: Uint8Array | undefined): void {
    if (objectId === undefined) {
      for (const object of this.#objects.values()) {
        if (object.volume === volume) object.pin = this.pins.isPinned(volume, object.id);
      }
      return;
    }
    const isPinned = this.pins.isPinned(volume, objectId);
    const known = this.#objects.get(keyOf(volume.id, objectId));
    if (known !== undefined) known.pin = isPinned;
    if (!isPinned || known?.hasRow === true) return;
    const { generation, hasRow } = this.#objectRows.load(volume, objectId);
    if (!hasRow) this.#objectRows.save({ volume, id: objectId, generation }, undefined);
    if (known !== undefined) known.hasRow = true;
  }

  #refreshed(object: ObjectState): ObjectState {
    if (object.age !== object.volume.age) this.#renew(object);
    return object;
  }

  #renew(object: ObjectState): void {
    const { volume, id, generation } = object;
    object.prefix = this.#fingerprinter.prefix(volume.id, id, volume.generation, generation);
    object.age = volume.age;
  }

  /**
   * Forgets many at once: in a map whose first keys were deleted, finding the first key takes time for each
   * of those.
   */
  #forgetOldest(): void {
    let count = 0;
    for (const key of this.#objects.keys()) {
      if (count === OBJECTS_FORGOTTEN) return;
      this.#objects.delete(key);
      count += 1;
    }
  }
}

function keyOf(volumeId: Uint8Array, objectId: Uint8Array): string {
  return toByteString(volumeId) + toByteString(objectId);
}

function oldest<Row extends { readonly day: number }>(rows: Row[], part: number): Row[] {
  rows.sort((left, right) => left.day - right.day);
  return rows.slice(0, Math.ceil(rows.length * part));
}
