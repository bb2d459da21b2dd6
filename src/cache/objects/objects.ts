/**
 * Objects as a cache knows them: what their units are found by, coherency data, cookies, pins. An object's units are found under a
 * prefix that the generations of object and volume are part of; an invalidation is a new generation, and no generation comes twice:
 * so what was invalidated is never found again.
 */
import { toByteString } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { giveTurn } from '../../base/turns.ts';
import { equalPrefixes, type Fingerprinter, type Prefix } from '../index/fingerprints.ts';
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

/** One object, with what a look-up needs. Kept as long as it is in use. */
export interface ObjectState {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  /** The two ids as a string. */
  readonly key: string;
  generation: number;
  prefix: Prefix;
  pin: boolean;
  /** The generation is in a row of the object's own. */
  hasRow: boolean;
  /** Of its row, had it one; see `object-rows.ts`. */
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
  /** Grows whenever anything is invalidated. */
  invalidations = 0;
  readonly cookies: Cookies;
  readonly pins: Pins;
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #objectRows: ObjectRows;
  readonly #volumes: Volumes;
  readonly #objects = new Map<string, ObjectState>();
  /** False while pins are being read: any volume may have one. */
  #knowsPins = false;
  /** Something is pinned no more. */
  loosened: () => void = () => undefined;

  constructor(rows: Rows, fingerprinter: Fingerprinter, nowMs: () => number) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#objectRows = new ObjectRows(rows, fingerprinter, nowMs);
    this.#volumes = new Volumes(rows, fingerprinter, volume => this.#mayForget(volume));
    this.cookies = new Cookies(rows, fingerprinter, nowMs);
    this.pins = new Pins({
      rows,
      fingerprinter,
      volumes: this.#volumes,
      cookies: this.cookies,
      changed: (volume, objectId) => {
        this.#pinChanged(volume, objectId);
      },
      loosened: () => {
        this.loosened();
      },
    });
    this.#knowsPins = true;
  }

  /** The volume of an id, known from now on. EFULL when there are 4,096 others. */
  volume(id: Uint8Array): VolumeState {
    return this.#volumes.volume(id);
  }

  /** What counts the bytes under a volume's number, also one that the volume has no more. */
  account(number: number): VolumeAccount {
    return this.#volumes.account(number);
  }

  /** Also for a number that the volume had before. */
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

  /** An object with a prefix that is valid now. */
  object(volume: VolumeState, id: Uint8Array): ObjectState {
    const key = toByteString(volume.id) + toByteString(id);
    const known = this.#objects.get(key);
    if (known !== undefined) return this.#refreshed(known);
    requireArgument(id.byteLength === ID_BYTES, `object id must be 16 bytes, not ${id.byteLength}`);
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
    // Whoever still works with a volume that made room must not hand its state to those who use the id anew.
    if (volume.isForgotten) return object;
    if (this.#objects.size >= OBJECTS_KEPT_MAX) this.#forgetOldest();
    this.#objects.set(key, object);
    return object;
  }

  /** Of what lies in a zone; undefined when nobody knows its volume any more: nothing finds it, then. */
  objectOf({ volumeId, objectId }: ObjectIds): ObjectState | undefined {
    const volume = this.#volumes.known(volumeId);
    return volume === undefined ? undefined : this.object(volume, objectId);
  }

  /** True while the prefix of `object` is what its units are found by, or would be if it were asked for again. */
  isCurrent({ volume, id }: ObjectState, prefix: Prefix): boolean {
    // Not of what the caller holds: that may have been forgotten here, and made again.
    return equalPrefixes(this.object(volume, id).prefix, prefix);
  }

  /** Nothing that was cached of the object is found any more. @param coherency what is remembered; by default, what was. */
  invalidateObject(object: ObjectState, coherency?: Coherency): void {
    this.invalidations += 1;
    const remembered = coherency ?? (object.hasRow ? this.coherency(object) : undefined);
    object.generation = newGeneration();
    object.hasRow = true;
    this.#objectRows.save(object, remembered);
    this.#renew(object);
  }

  invalidateVolume(volume: VolumeState): void {
    this.invalidations += 1;
    this.#volumes.invalidate(volume);
  }

  /** What {@link setCoherency} has kept. */
  coherency({ volume, id }: ObjectState): Coherency | undefined {
    return this.#objectRows.load(volume, id).coherency;
  }

  /** @param isChanging the cached data is about to become another than this says: after a crash it is not to be believed. */
  setCoherency(object: ObjectState, coherency: Uint8Array, isChanging: boolean): void {
    // A power cut must not bring back the state before, with data that is newer.
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
    requireArgument(
      objectId.byteLength === ID_BYTES,
      `object id must be 16 bytes, not ${objectId.byteLength}`,
    );
    checkCookie(cookie);
    this.#rows.inOneTransaction(() => {
      for (const changed of this.cookies.set(volume, objectId, cookie)) this.pins.judge(volume, changed);
    });
  }

  /** False when there was none. */
  removeCookie(volume: VolumeState, objectId: Uint8Array): boolean {
    let wasThere = false;
    this.#rows.inOneTransaction(() => {
      wasThere = this.cookies.remove(volume, objectId);
      if (wasThere) this.pins.judge(volume, objectId);
    });
    return wasThere;
  }

  /** The cookies of a volume, read in bounded steps. EIO. @param requireOpen throws when the cache was closed. */
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

  /** Gives the object a row, so that no sweep takes its units. */
  keep(object: ObjectState): void {
    if (object.hasRow) return;
    this.#objectRows.save(object, undefined);
    object.hasRow = true;
  }

  /**
   * Removes the oldest rows of objects in buckets from `from` to `to`, but for those that are pinned or dirty; those in use go last.
   * Their units, and those of objects there that have no row and are not in use, are not found any more.
   *
   * @param part of the rows.
   * @param rowsMax how many rows there may be.
   * @param mustStay whether an object has dirty units.
   * @returns how many rows there are less; undefined when nothing can be written now, and nothing was changed.
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
      // That of the volume may still be on the disk, and would find what this one has invalidated.
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
   * Takes rows of objects out of memory that the database does not take now, but for those of pinned and dirty ones: what their
   * volumes have of objects without rows is not found any more.
   *
   * @param mustStay whether an object has dirty units.
   */
  forgetUnsaved(mustStay: (key: string) => boolean): void {
    const rows = this.#objectRows.unsaved().filter(row => !this.#staysRow(row, mustStay));
    const volumes = new Set(rows.flatMap(({ volumeId }) => this.#volumes.known(volumeId) ?? []));
    this.#volumes.raiseAllFloors(volumes);
    this.invalidations += 1;
    this.#objectRows.forgetUnsaved(rows);
    // They have other prefixes now, and are made again when they are asked for.
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
   * Objects in use that have no row: those that are to be given one before the floors of their volumes are raised, and those that are
   * too many for that, with their buckets.
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

  /** Removes the oldest cookies with names between two, but for those of pinned objects. Returns how many went. */
  sweepCookies(after: Uint8Array, before: Uint8Array, part: number): number | undefined {
    const free = this.cookies.rowsOf(after, before).filter(row => !this.#staysCookie(row));
    const victims = oldest(free, part);
    return this.cookies.removeRows(victims) ? victims.length : undefined;
  }

  #staysCookie({ volumeId, objectId, key }: CookieRow): boolean {
    const volume = this.#volumes.known(volumeId);
    // A prefix may not have come to it yet.
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

  /** Many at once: finding the first key of a map whose first keys were deleted takes as long as there were many. */
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
