/**
 * Pins: what a cache never gives up. A pin names an object, a volume, or all objects of a volume whose
 * cookies begin with a prefix.
 *
 * The objects that prefixes pin are kept as sets, in rows of their own, so that opening a cache reads no
 * cookies.
 *
 * - A change of a cookie checks its object again, by the cookie and the prefixes of that moment.
 * - A change of a prefix checks every cookie of its volume, in steps: a scan. Until the scan has ended, a
 *   flag in the prefix's row says so, and the next opening scans again.
 * - Each check uses what is true at its moment. So the order of changes does not matter.
 *
 *   kind             name is the hash of     value
 *   pin              volume and object;      volume id[16], object id[16], flags u8 (FLAG_*),
 *                    volume;                 unit count u64, prefix
 *                    volume and prefix
 *   pinnedByPrefix   number of a bucket      volume id[16] and object id[16] of each object of the bucket
 *
 * These buckets only divide the set into rows. They are not those of the index, nor those of
 * floors.
 */
import { fromByteString, getU64, setU64, toByteString, viewOf } from '../../base/bytes.ts';
import { codeOf, NetsealError, requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Rows } from '../rows/rows.ts';
import { COOKIE_BYTES_MAX, type Cookies, checkUnitCount } from './cookies.ts';
import type { VolumeState, Volumes } from './volumes.ts';

export interface Pin {
  readonly volumeId: Uint8Array;
  /** Absent for a whole volume, or a prefix. */
  readonly objectId: Uint8Array | undefined;
  /** What keys of cookies begin with; absent for an object or a volume. */
  readonly prefix: Uint8Array | undefined;
  /** How many units the object has; undefined when the pin does not say. */
  readonly unitCount: number | undefined;
}

const FLAG_OBJECT = 1;
const FLAG_UNIT_COUNT = 2;
const FLAG_PREFIX = 4;
/** Not all cookies were compared with the prefix yet. */
const FLAG_SCAN_PENDING = 8;
/** The prefix was unpinned. Objects that it pinned may still be among those pinned by prefix. */
const FLAG_REMOVED = 16;
const PIN_PREFIX_BYTES = 41;
const BUCKET_COUNT = 256;
const STEP_OBJECTS = 64;

/** The pinned prefixes of one volume, as byte strings. */
interface Prefixes {
  readonly volume: VolumeState;
  /** By prefix: whether not all cookies were compared with it yet. */
  readonly texts: Map<string, { readonly isScanPending: boolean }>;
  /** How many prefixes there are of each length. */
  readonly lengths: Map<number, number>;
}

export interface PinCalls {
  /** Called when this object, or any object of the volume, may have been pinned or unpinned. */
  readonly changed: (volume: VolumeState, objectId: Uint8Array | undefined) => void;
  /** Called when something is no longer pinned. */
  readonly loosened: () => void;
}

export class Pins {
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #volumes: Volumes;
  readonly #cookies: Cookies;
  readonly #calls: PinCalls;
  readonly #pins = new Map<string, Pin>();
  readonly #prefixes = new Map<string, Prefixes>();
  /** Objects that prefixes pin. Each bucket is one row. */
  readonly #pinnedByPrefix: Set<string>[] = Array.from({ length: BUCKET_COUNT }, () => new Set());
  readonly #changedBuckets = new Set<number>();
  /** Prefixes whose scan an earlier process has not ended. */
  readonly #unfinished = new Set<Pin>();
  /** The latest change of each prefix whose scan is under way. */
  readonly #changes = new Map<string, symbol>();
  #pinnedByPrefixCount = 0;
  #isClosed = false;
  #scans: Promise<unknown> = Promise.resolve();

  constructor({ rows, fingerprinter }: CacheContext, volumes: Volumes, cookies: Cookies, calls: PinCalls) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#volumes = volumes;
    this.#cookies = cookies;
    this.#calls = calls;
    for (const { value } of rows.all('pin')) this.#load(value);
    const buckets = rows.all('pinnedByPrefix');
    for (const { value } of buckets) {
      for (let at = 0; at + 2 * ID_BYTES <= value.byteLength; at += 2 * ID_BYTES) {
        this.#setPinnedByPrefix(toByteString(value.subarray(at, at + 2 * ID_BYTES)), true);
      }
    }
    this.#changedBuckets.clear();
    // Buckets that cannot be read are made again.
    if (buckets.length < rows.countMax('pinnedByPrefix')) {
      for (const { volume, texts } of this.#prefixes.values())
        for (const text of texts.keys()) this.#unfinished.add(prefixPin(volume, text));
    }
  }

  /** Returns all pins, as they were set. */
  list(): Pin[] {
    const prefixes = [...this.#prefixes.values()].flatMap(({ volume, texts }) =>
      [...texts.keys()].map(text => prefixPin(volume, text)),
    );
    return [...this.#pins.values(), ...prefixes];
  }

  /** Yields the ids of all objects that prefixes pin. Pins may change meanwhile. */
  *byPrefix(): Generator<{ readonly volumeId: Uint8Array; readonly objectId: Uint8Array }> {
    for (const bucket of this.#pinnedByPrefix) {
      for (const key of bucket) {
        const bytes = fromByteString(key);
        yield { volumeId: bytes.slice(0, ID_BYTES), objectId: bytes.slice(ID_BYTES) };
      }
    }
  }

  get(volume: VolumeState, objectId: Uint8Array | undefined): Pin | undefined {
    return this.#pins.get(pinKey(volume.id, objectId));
  }

  isPinned(volume: VolumeState, objectId: Uint8Array): boolean {
    if (volume.pin) return true;
    if (this.#pins.size === 0 && this.#pinnedByPrefixCount === 0) return false;
    const key = pinKey(volume.id, objectId);
    return this.#pins.has(key) || this.#pinnedByPrefix[bucketOf(key)]?.has(key) === true;
  }

  /**
   * True when there is a pin of this volume, or of an object or prefix in it. Objects that prefixes pin need
   * no check: their prefix counts.
   */
  hasAnyOf(volume: VolumeState): boolean {
    const start = toByteString(volume.id);
    if (this.#prefixes.has(start)) return true;
    for (const key of this.#pins.keys()) if (key.startsWith(start)) return true;
    return false;
  }

  set(volume: VolumeState, objectId: Uint8Array | undefined, unitCount: number | undefined): void {
    checkUnitCount(unitCount);
    const id = objectId === undefined ? undefined : new Uint8Array(objectId);
    const pin: Pin = { volumeId: volume.id, objectId: id, prefix: undefined, unitCount };
    this.#pins.set(pinKey(volume.id, id), pin);
    if (id === undefined) volume.pin = true;
    this.#rows.inOneTransaction(() => {
      this.#rows.put('pin', this.#name(pin), encodePin(pin, 0));
      this.#calls.changed(volume, id);
    });
  }

  /** Removes the pin of an object or a volume. False when there was none. */
  remove(volume: VolumeState, objectId: Uint8Array | undefined): boolean {
    const pin = this.get(volume, objectId);
    if (pin === undefined) return false;
    this.#pins.delete(pinKey(volume.id, objectId));
    this.#rows.remove('pin', this.#name(pin));
    if (objectId === undefined) volume.pin = false;
    this.#calls.changed(volume, objectId);
    this.#calls.loosened();
    return true;
  }

  /**
   * Pins every object whose cookie begins with the prefix, now or later. Resolves when those that have such a
   * cookie now are pinned. EINVAL, ECLOSED, EIO.
   */
  async setPrefix(volume: VolumeState, prefix: Uint8Array): Promise<void> {
    requireArgument(
      prefix instanceof Uint8Array && prefix.byteLength <= COOKIE_BYTES_MAX,
      `a prefix must be of at most ${COOKIE_BYTES_MAX} bytes`,
    );
    const text = toByteString(prefix);
    const pin = prefixPin(volume, text);
    if (this.#prefixes.get(toByteString(volume.id))?.texts.get(text)?.isScanPending === false) return;
    this.#enterPrefix(volume, text, true);
    this.#savePrefix(pin, FLAG_SCAN_PENDING);
    await this.#finish(volume, pin);
  }

  /**
   * Removes a prefix. Resolves when the objects that only it pinned are unpinned; to false when there was no
   * such pin. ECLOSED, EIO.
   */
  async removePrefix(volume: VolumeState, prefix: Uint8Array): Promise<boolean> {
    const pin = prefixPin(volume, toByteString(prefix));
    if (!this.#removePrefix(volume, toByteString(prefix))) return false;
    this.#savePrefix(pin, FLAG_REMOVED);
    await this.#finish(volume, pin);
    return true;
  }

  /** Checks an object again. Call it when its cookie was set, changed or removed. */
  recheck(volume: VolumeState, objectId: Uint8Array): void {
    if (this.#pinnedByPrefixCount === 0 && !this.#prefixes.has(toByteString(volume.id))) return;
    if (this.#recheck(volume, objectId, this.#cookies.get(volume, objectId)?.key)) this.#calls.loosened();
    this.#saveChangedBuckets();
  }

  /** Starts the scans that an earlier process has not ended. */
  resume(): void {
    for (const pin of [...this.#unfinished]) {
      const volume = this.#volumes.known(pin.volumeId);
      this.#unfinished.delete(pin);
      if (volume !== undefined) void this.#finish(volume, pin).catch(() => undefined);
    }
  }

  /** Stops scans. They are started again when the cache is next opened. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#scans;
  }

  /** Scans for a prefix that was pinned or unpinned, and then says so in its row. */
  async #finish(volume: VolumeState, pin: Pin): Promise<void> {
    const text = toByteString(pin.prefix ?? NONE);
    const key = toByteString(volume.id) + text;
    const change = Symbol('change of a prefix');
    this.#changes.set(key, change);
    const scan = this.#recheckAll(volume);
    this.#scans = Promise.allSettled([this.#scans, scan]);
    await scan;
    // The prefix was pinned or unpinned again meanwhile: that call does the rest.
    if (this.#changes.get(key) !== change) return;
    this.#changes.delete(key);
    const texts = this.#prefixes.get(toByteString(volume.id))?.texts;
    if (texts?.has(text) === true) {
      texts.set(text, { isScanPending: false });
      this.#savePrefix(pin, 0);
    } else {
      this.#rows.remove('pin', this.#name(pin));
    }
  }

  async #recheckAll(volume: VolumeState): Promise<void> {
    const cookies = this.#cookies;
    const rows = this.#rows;
    for (let after: Uint8Array | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) {
      const { cookies: some, next } = cookies.page(volume, after, STEP_OBJECTS);
      rows.inOneTransaction(() => {
        for (const { objectId, key } of some) this.#recheck(volume, objectId, key);
      });
      after = next;
      await this.#turn();
    }
    // Objects that were pinned by a prefix and have no cookie any more.
    const start = toByteString(volume.id);
    let count = 0;
    for (const bucket of this.#pinnedByPrefix) {
      for (const key of bucket) {
        if (!key.startsWith(start)) continue;
        const objectId = fromByteString(key.slice(ID_BYTES));
        this.#recheck(volume, objectId, cookies.get(volume, objectId)?.key);
        count += 1;
        if (count % STEP_OBJECTS === 0) await this.#turn();
      }
    }
    // After everything: a process that dies before this leaves a flag, and the next one scans again.
    this.#saveChangedBuckets();
    this.#calls.loosened();
  }

  async #turn(): Promise<void> {
    await giveTurn();
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the cache was closed meanwhile');
  }

  /** Checks one object against the prefixes. True when it was pinned by one, and no longer is. */
  #recheck(volume: VolumeState, objectId: Uint8Array, cookie: Uint8Array | undefined): boolean {
    const isPinned = cookie !== undefined && this.isUnderPrefix(volume, cookie);
    if (!this.#setPinnedByPrefix(pinKey(volume.id, objectId), isPinned)) return false;
    this.#calls.changed(volume, objectId);
    return !isPinned;
  }

  /** Whether a pinned prefix covers this cookie. */
  isUnderPrefix(volume: VolumeState, cookie: Uint8Array): boolean {
    const prefixes = this.#prefixes.get(toByteString(volume.id));
    if (prefixes === undefined) return false;
    const text = toByteString(cookie);
    for (const length of prefixes.lengths.keys()) {
      if (length <= text.length && prefixes.texts.has(text.slice(0, length))) return true;
    }
    return false;
  }

  /** False when that changes nothing. */
  #setPinnedByPrefix(key: string, isPinned: boolean): boolean {
    const number = bucketOf(key);
    const bucket = this.#pinnedByPrefix[number];
    if (bucket === undefined || bucket.has(key) === isPinned) return false;
    if (isPinned) bucket.add(key);
    else bucket.delete(key);
    this.#pinnedByPrefixCount += isPinned ? 1 : -1;
    this.#changedBuckets.add(number);
    return true;
  }

  #saveChangedBuckets(): void {
    const rows = this.#rows;
    const fingerprinter = this.#fingerprinter;
    for (const number of this.#changedBuckets) {
      const name = fingerprinter.name('pinned by prefix', Uint8Array.of(number));
      const keys = [...(this.#pinnedByPrefix[number] ?? [])];
      if (keys.length === 0) rows.remove('pinnedByPrefix', name);
      else rows.put('pinnedByPrefix', name, fromByteString(keys.join('')));
    }
    this.#changedBuckets.clear();
  }

  #enterPrefix(volume: VolumeState, text: string, isScanPending: boolean): void {
    const key = toByteString(volume.id);
    const known = this.#prefixes.get(key) ?? { volume, texts: new Map(), lengths: new Map() };
    this.#prefixes.set(key, known);
    if (!known.texts.has(text)) known.lengths.set(text.length, (known.lengths.get(text.length) ?? 0) + 1);
    known.texts.set(text, { isScanPending });
  }

  #removePrefix(volume: VolumeState, text: string): boolean {
    const known = this.#prefixes.get(toByteString(volume.id));
    if (known === undefined || !known.texts.delete(text)) return false;
    const left = (known.lengths.get(text.length) ?? 1) - 1;
    if (left === 0) known.lengths.delete(text.length);
    else known.lengths.set(text.length, left);
    if (known.texts.size === 0) this.#prefixes.delete(toByteString(volume.id));
    return true;
  }

  #savePrefix(pin: Pin, flags: number): void {
    this.#rows.put('pin', this.#name(pin), encodePin(pin, flags));
  }

  #load(value: Uint8Array): void {
    if (value.byteLength < PIN_PREFIX_BYTES) return;
    const { pin, flags } = decodePin(value);
    const volume = this.#volumeOf(pin);
    if (volume === undefined) return;
    if (pin.prefix === undefined) {
      this.#pins.set(pinKey(pin.volumeId, pin.objectId), pin);
      if (pin.objectId === undefined) volume.pin = true;
      return;
    }
    const isScanPending = (flags & FLAG_SCAN_PENDING) !== 0;
    if ((flags & FLAG_REMOVED) === 0) this.#enterPrefix(volume, toByteString(pin.prefix), isScanPending);
    if (flags & (FLAG_SCAN_PENDING | FLAG_REMOVED)) this.#unfinished.add(pin);
  }

  /** Undefined when the volume's row was lost, and there are as many volumes in use as there can be. */
  #volumeOf({ volumeId }: Pin): VolumeState | undefined {
    try {
      return this.#volumes.volume(volumeId);
    } catch (error) {
      if (codeOf(error) === 'EFULL') return undefined;
      throw error;
    }
  }

  #name({ volumeId, objectId, prefix }: Pin): Uint8Array {
    const fingerprinter = this.#fingerprinter;
    return prefix === undefined
      ? fingerprinter.name('pin', volumeId, objectId ?? NONE)
      : fingerprinter.name('pinned prefix', volumeId, prefix);
  }
}

const NONE = new Uint8Array(0);

function prefixPin(volume: VolumeState, text: string): Pin {
  const prefix = fromByteString(text);
  return { volumeId: volume.id, objectId: undefined, prefix, unitCount: undefined };
}

/** Returns the map key of a pin. The key of a volume is the beginning of its objects' keys. */
function pinKey(volumeId: Uint8Array, objectId: Uint8Array | undefined): string {
  return objectId === undefined ? toByteString(volumeId) : toByteString(volumeId) + toByteString(objectId);
}

function bucketOf(key: string): number {
  return (key.charCodeAt(ID_BYTES) ^ key.charCodeAt(2 * ID_BYTES - 1)) & (BUCKET_COUNT - 1);
}

function encodePin({ volumeId, objectId, prefix, unitCount }: Pin, flags: number): Uint8Array {
  const value = new Uint8Array(PIN_PREFIX_BYTES + (prefix?.byteLength ?? 0));
  value.set(volumeId);
  if (objectId !== undefined) value.set(objectId, ID_BYTES);
  value[32] =
    flags |
    (objectId === undefined ? 0 : FLAG_OBJECT) |
    (unitCount === undefined ? 0 : FLAG_UNIT_COUNT) |
    (prefix === undefined ? 0 : FLAG_PREFIX);
  setU64(viewOf(value), 33, unitCount ?? 0);
  if (prefix !== undefined) value.set(prefix, PIN_PREFIX_BYTES);
  return value;
}

function decodePin(value: Uint8Array): { readonly pin: Pin; readonly flags: number } {
  const flags = value[32] ?? 0;
  const pin = {
    volumeId: value.slice(0, ID_BYTES),
    objectId: (flags & FLAG_OBJECT) === 0 ? undefined : value.slice(ID_BYTES, 2 * ID_BYTES),
    prefix: (flags & FLAG_PREFIX) === 0 ? undefined : value.slice(PIN_PREFIX_BYTES),
    unitCount: (flags & FLAG_UNIT_COUNT) === 0 ? undefined : getU64(viewOf(value), 33),
  };
  return { pin, flags };
}
