/**
 * Volumes and objects as a cache knows them: their counters, their fingerprints' prefixes, coherency data, pins, shares. Counters
 * only go up: two objects, or one at two times, never share a prefix.
 */
import { concatBytes, getU64, setU64, toHex, viewOf } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../keys/tree.ts';
import type { Fingerprinter, Prefix } from './fingerprints.ts';
import { VOLUME_NUMBER_MAX } from './index-table.ts';
import type { Records } from './records.ts';

const OBJECTS_KEPT_MAX = 65_536;
export const COHERENCY_BYTES_MAX = 1024;
const NO_ID = new Uint8Array(ID_BYTES);

export interface VolumeState {
  readonly id: Uint8Array;
  readonly name: Uint8Array;
  readonly number: number;
  counter: number;
  /** What it may take of the cache; Infinity for no limit. */
  shareBytes: number;
  /** What the index finds of it now. */
  liveBytes: number;
  pin: boolean;
  /** Prefixes made before this changed are not valid any more. */
  age: number;
}

/** One object, with what a look-up needs. Kept as long as it is in use. */
export interface ObjectState {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  /** The two ids as a string. */
  readonly key: string;
  counter: number;
  prefix: Prefix;
  pin: boolean;
  /** The volume's age when the prefix was made. */
  age: number;
}

export interface Pin {
  readonly volumeId: Uint8Array;
  /** Absent for a whole volume. */
  readonly objectId: Uint8Array | undefined;
  /** How many units the object has; undefined when the pin does not say. */
  readonly unitCount: number | undefined;
}

export class Objects {
  /** Grows whenever anything is invalidated. */
  invalidations = 0;
  readonly #records: Records;
  readonly #fingerprinter: Fingerprinter;
  readonly #volumes = new Map<string, VolumeState>();
  readonly #byNumber = new Map<number, VolumeState>();
  readonly #objects = new Map<string, ObjectState>();
  readonly #pins = new Map<string, Pin>();

  constructor(records: Records, fingerprinter: Fingerprinter) {
    this.#records = records;
    this.#fingerprinter = fingerprinter;
    for (const { name, value } of records.all('volume')) this.#loadVolume(name, value);
    for (const { value } of records.all('pin')) {
      const pin = decodePin(value);
      this.#pins.set(pinKey(pin.volumeId, pin.objectId), pin);
      if (pin.objectId === undefined) this.volume(pin.volumeId).pin = true;
    }
  }

  /** The volume of an id, known from now on. EFULL when there are 4,095 others. */
  volume(id: Uint8Array): VolumeState {
    const key = toHex(id);
    const known = this.#volumes.get(key);
    if (known !== undefined) return known;
    requireArgument(id.byteLength === ID_BYTES, `volume id must be 16 bytes, not ${id.byteLength}`);
    const volume: VolumeState = {
      id: new Uint8Array(id),
      name: this.#fingerprinter.name('volume', id),
      number: this.#freeNumber(),
      counter: 0,
      shareBytes: Number.POSITIVE_INFINITY,
      liveBytes: 0,
      pin: false,
      age: 0,
    };
    this.#enter(volume);
    this.#saveVolume(volume);
    return volume;
  }

  volumeOfNumber(number: number): VolumeState | undefined {
    return this.#byNumber.get(number);
  }

  volumes(): VolumeState[] {
    return [...this.#volumes.values()];
  }

  setShare(volume: VolumeState, shareBytes: number): void {
    volume.shareBytes = shareBytes;
    this.#saveVolume(volume);
  }

  /** An object with a prefix that is valid now. */
  object(volume: VolumeState, id: Uint8Array): ObjectState {
    // Latin-1 of both: a hexadecimal string takes three times as long.
    const key = latin1(volume.id) + latin1(id);
    const known = this.#objects.get(key);
    if (known !== undefined) return this.#refreshed(known);
    requireArgument(id.byteLength === ID_BYTES, `object id must be 16 bytes, not ${id.byteLength}`);
    const counter = this.#records.hasAny('object') ? this.#storedObject(volume, id).counter : 0;
    const object: ObjectState = {
      volume,
      id: new Uint8Array(id),
      key,
      counter,
      prefix: this.#fingerprinter.prefix(volume.id, id, volume.counter, counter),
      pin: volume.pin || this.#pins.has(pinKey(volume.id, id)),
      age: volume.age,
    };
    if (this.#objects.size >= OBJECTS_KEPT_MAX) this.#forgetOldest();
    this.#objects.set(key, object);
    return object;
  }

  /** True while the prefix of `object` is what its units are found by, or would be if it were asked for again. */
  isCurrent({ volume, id }: ObjectState, prefix: Prefix): boolean {
    // Not of what the caller holds: that may have been forgotten here, and made again.
    const now = this.object(volume, id).prefix;
    return now === prefix || now.every((word, at) => word === prefix[at]);
  }

  /** Nothing that was cached of the object is found any more. */
  invalidateObject(object: ObjectState): void {
    this.invalidations += 1;
    object.counter += 1;
    const stored = this.#storedObject(object.volume, object.id);
    this.#saveObject(object, stored.coherency, stored.isChanging);
    this.#renew(object);
  }

  invalidateVolume(volume: VolumeState): void {
    this.invalidations += 1;
    volume.counter += 1;
    volume.age += 1;
    this.#saveVolume(volume);
  }

  /** What {@link setCoherency} has kept. */
  coherency(object: ObjectState): { readonly bytes: Uint8Array; readonly isChanging: boolean } | undefined {
    const { coherency, isChanging } = this.#storedObject(object.volume, object.id);
    return coherency === undefined ? undefined : { bytes: coherency, isChanging };
  }

  /** @param isChanging the cached data is about to become another than this says: after a crash it is not to be believed. */
  setCoherency(object: ObjectState, coherency: Uint8Array, isChanging: boolean): void {
    requireArgument(
      coherency.byteLength <= COHERENCY_BYTES_MAX,
      `coherency data must be at most ${COHERENCY_BYTES_MAX} bytes, not ${coherency.byteLength}`,
    );
    this.#saveObject(object, coherency, isChanging);
  }

  pins(): Pin[] {
    return [...this.#pins.values()];
  }

  isPinned(volume: VolumeState, objectId: Uint8Array): boolean {
    return volume.pin || (this.#pins.size > 0 && this.#pins.has(pinKey(volume.id, objectId)));
  }

  setPin(volume: VolumeState, objectId: Uint8Array | undefined, unitCount: number | undefined): void {
    const pin: Pin = {
      volumeId: volume.id,
      objectId: objectId === undefined ? undefined : new Uint8Array(objectId),
      unitCount,
    };
    this.#pins.set(pinKey(volume.id, objectId), pin);
    this.#records.put('pin', this.#pinName(volume.id, objectId), encodePin(pin));
    this.#spreadPins(volume, objectId);
  }

  /** False when there was none. */
  removePin(volume: VolumeState, objectId: Uint8Array | undefined): boolean {
    if (!this.#pins.delete(pinKey(volume.id, objectId))) return false;
    this.#records.remove('pin', this.#pinName(volume.id, objectId));
    this.#spreadPins(volume, objectId);
    return true;
  }

  #spreadPins(volume: VolumeState, objectId: Uint8Array | undefined): void {
    if (objectId === undefined) volume.pin = this.#pins.has(pinKey(volume.id, undefined));
    for (const object of this.#objects.values()) {
      if (object.volume === volume) object.pin = this.isPinned(volume, object.id);
    }
  }

  #pinName(volumeId: Uint8Array, objectId: Uint8Array | undefined): Uint8Array {
    return this.#fingerprinter.name('pin', volumeId, objectId ?? new Uint8Array(0));
  }

  #refreshed(object: ObjectState): ObjectState {
    if (object.age !== object.volume.age) this.#renew(object);
    return object;
  }

  #renew(object: ObjectState): void {
    const { volume, id, counter } = object;
    object.prefix = this.#fingerprinter.prefix(volume.id, id, volume.counter, counter);
    object.age = volume.age;
  }

  #forgetOldest(): void {
    const [oldest] = this.#objects.keys();
    if (oldest !== undefined) this.#objects.delete(oldest);
  }

  #enter(volume: VolumeState): void {
    this.#volumes.set(toHex(volume.id), volume);
    this.#byNumber.set(volume.number, volume);
  }

  #freeNumber(): number {
    for (let number = 0; number <= VOLUME_NUMBER_MAX; number += 1)
      if (!this.#byNumber.has(number)) return number;
    throw new NetsealError('EFULL', `a cache serves at most ${VOLUME_NUMBER_MAX + 1} volumes`);
  }

  #loadVolume(name: Uint8Array, value: Uint8Array): void {
    if (value.byteLength !== 34) return;
    const view = viewOf(value);
    const counter = getU64(view, 18) ?? 0;
    const share = getU64(view, 26) ?? 0;
    this.#enter({
      id: value.slice(0, ID_BYTES),
      name,
      number: view.getUint16(16, true) & VOLUME_NUMBER_MAX,
      counter,
      shareBytes: share === 0 ? Number.POSITIVE_INFINITY : share,
      liveBytes: 0,
      pin: false,
      age: 0,
    });
  }

  #saveVolume({ id, name, number, counter, shareBytes }: VolumeState): void {
    const value = new Uint8Array(34);
    const view = viewOf(value);
    value.set(id);
    view.setUint16(16, number, true);
    setU64(view, 18, counter);
    setU64(view, 26, Number.isFinite(shareBytes) ? shareBytes : 0);
    this.#records.put('volume', name, value);
  }

  #objectName(volume: VolumeState, id: Uint8Array): Uint8Array {
    return this.#fingerprinter.name('object', volume.id, id);
  }

  #storedObject(volume: VolumeState, id: Uint8Array): StoredObject {
    const value = this.#records.get('object', this.#objectName(volume, id));
    if (value === undefined || value.byteLength < 10)
      return { counter: 0, coherency: undefined, isChanging: false };
    const flags = value[8] ?? 0;
    return {
      counter: getU64(viewOf(value), 0) ?? 0,
      coherency: (flags & 1) === 0 ? undefined : value.slice(10),
      isChanging: (flags & 2) !== 0,
    };
  }

  #saveObject(object: ObjectState, coherency: Uint8Array | undefined, isChanging: boolean): void {
    const head = new Uint8Array(10);
    setU64(viewOf(head), 0, object.counter);
    head[8] = (coherency === undefined ? 0 : 1) | (isChanging ? 2 : 0);
    const name = this.#objectName(object.volume, object.id);
    this.#records.put('object', name, concatBytes(head, coherency ?? new Uint8Array(0)));
  }
}

interface StoredObject {
  readonly counter: number;
  readonly coherency: Uint8Array | undefined;
  readonly isChanging: boolean;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function pinKey(volumeId: Uint8Array, objectId: Uint8Array | undefined): string {
  return `${toHex(volumeId)}/${objectId === undefined ? '' : toHex(objectId)}`;
}

function encodePin({ volumeId, objectId, unitCount }: Pin): Uint8Array {
  const value = new Uint8Array(41);
  value.set(volumeId);
  value.set(objectId ?? NO_ID, ID_BYTES);
  value[32] = (objectId === undefined ? 0 : 1) | (unitCount === undefined ? 0 : 2);
  setU64(viewOf(value), 33, unitCount ?? 0);
  return value;
}

function decodePin(value: Uint8Array): Pin {
  const flags = value[32] ?? 0;
  return {
    volumeId: value.slice(0, ID_BYTES),
    objectId: (flags & 1) === 0 ? undefined : value.slice(ID_BYTES, 2 * ID_BYTES),
    unitCount: (flags & 2) === 0 ? undefined : getU64(viewOf(value), 33),
  };
}
