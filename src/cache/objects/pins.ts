/**
 * What is never given up: objects, volumes, and all objects whose cookies begin with a prefix.
 *
 * A prefix pin is a row. The objects that prefixes pin are kept as sets, in rows of their own, so that opening a cache reads no
 * cookies. Whenever a cookie or a prefix changes, the objects concerned are judged anew by what cookies and prefixes say then; so it does
 * not matter in which order that happens. Prefixes whose objects were not all judged when the process died are marked in their rows.
 *
 *   pin               of volume and object, or volume, or volume and prefix:
 *                     volume id[16], object id[16], flags u8 (FLAG_*), unit count u64, prefix
 *   pinnedByPrefix    of a bucket: volume id[16] and object id[16] of each
 */
import { fromByteString, getU64, setU64, toByteString, viewOf } from '../../base/bytes.ts';
import { codeOf, NetsealError, requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { Rows } from '../rows/rows.ts';
import { COOKIE_BYTES_MAX, type Cookies, checkUnitCount } from './cookies.ts';
import type { VolumeState, Volumes } from './volumes.ts';

export interface Pin {
  readonly volumeId: Uint8Array;
  /** Absent for a whole volume, or a prefix. */
  readonly objectId: Uint8Array | undefined;
  /** What cookies' keys begin with; absent for an object or a volume. */
  readonly prefix: Uint8Array | undefined;
  /** How many units the object has; undefined when the pin does not say. */
  readonly unitCount: number | undefined;
}

const FLAG_OBJECT = 1;
const FLAG_UNIT_COUNT = 2;
const FLAG_PREFIX = 4;
/** Not all cookies were compared with the prefix. */
const FLAG_BEGUN = 8;
/** It pins nothing any more; what it pinned may still be marked. */
const FLAG_LEAVING = 16;
const ROW_PREFIX_BYTES = 41;
const BUCKET_COUNT = 256;
const STEP_OBJECTS = 64;

/** Prefixes of one volume. Their strings have a character a byte. */
interface Prefixes {
  readonly volume: VolumeState;
  /** By text: whether not all cookies were compared with it yet. */
  readonly texts: Map<string, { readonly isBegun: boolean }>;
  /** How many there are of each length. */
  readonly lengths: Map<number, number>;
}

export interface PinsParts {
  readonly rows: Rows;
  readonly fingerprinter: Fingerprinter;
  readonly volumes: Volumes;
  readonly cookies: Cookies;
  /** What is said of this object, or of all objects of the volume, may have changed. */
  readonly changed: (volume: VolumeState, objectId: Uint8Array | undefined) => void;
  /** Something is pinned no more. */
  readonly loosened: () => void;
}

export class Pins {
  readonly #parts: PinsParts;
  readonly #pins = new Map<string, Pin>();
  readonly #prefixes = new Map<string, Prefixes>();
  /** By prefixes, in buckets of one row each. */
  readonly #derived: Set<string>[] = Array.from({ length: BUCKET_COUNT }, () => new Set());
  readonly #touched = new Set<number>();
  /** Prefixes whose row says that there is something left to do. */
  readonly #unfinished = new Set<Pin>();
  /** The last change of each prefix that somebody is working on. */
  readonly #changes = new Map<string, symbol>();
  #derivedCount = 0;
  #isClosed = false;
  #scans: Promise<unknown> = Promise.resolve();

  constructor(parts: PinsParts) {
    this.#parts = parts;
    const { rows } = parts;
    for (const { value } of rows.all('pin')) this.#load(value);
    const buckets = rows.all('pinnedByPrefix');
    for (const { value } of buckets) {
      for (let at = 0; at + 2 * ID_BYTES <= value.byteLength; at += 2 * ID_BYTES) {
        this.#setDerived(toByteString(value.subarray(at, at + 2 * ID_BYTES)), true);
      }
    }
    this.#touched.clear();
    // What cannot be read is made again.
    if (buckets.length < rows.countMax('pinnedByPrefix')) {
      for (const { volume, texts } of this.#prefixes.values())
        for (const text of texts.keys()) this.#unfinished.add(prefixPin(volume, text));
    }
  }

  /** What was pinned, as it was pinned. */
  list(): Pin[] {
    const prefixes = [...this.#prefixes.values()].flatMap(({ volume, texts }) =>
      [...texts.keys()].map(text => prefixPin(volume, text)),
    );
    return [...this.#pins.values(), ...prefixes];
  }

  /** The ids of volume and object of all that prefixes pin. Pins may change meanwhile. */
  *byPrefix(): Generator<{ readonly volumeId: Uint8Array; readonly objectId: Uint8Array }> {
    for (const bucket of this.#derived) {
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
    if (this.#pins.size === 0 && this.#derivedCount === 0) return false;
    const key = pinKey(volume.id, objectId);
    return this.#pins.has(key) || this.#derived[bucketOf(key)]?.has(key) === true;
  }

  /** Whether any pin is of this volume or something in it. */
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
    const { rows, changed } = this.#parts;
    rows.inOneTransaction(() => {
      rows.put('pin', this.#name(pin), encodePin(pin, 0));
      changed(volume, id);
    });
  }

  /** False when there was none. */
  remove(volume: VolumeState, objectId: Uint8Array | undefined): boolean {
    const pin = this.get(volume, objectId);
    if (pin === undefined) return false;
    this.#pins.delete(pinKey(volume.id, objectId));
    this.#parts.rows.remove('pin', this.#name(pin));
    if (objectId === undefined) volume.pin = false;
    this.#parts.changed(volume, objectId);
    this.#parts.loosened();
    return true;
  }

  /** From now on every object whose cookie begins with the prefix is pinned; resolves when those that have one are. ECLOSED, EIO. */
  async setPrefix(volume: VolumeState, prefix: Uint8Array): Promise<void> {
    requireArgument(
      prefix instanceof Uint8Array && prefix.byteLength <= COOKIE_BYTES_MAX,
      `a prefix must be of at most ${COOKIE_BYTES_MAX} bytes`,
    );
    const text = toByteString(prefix);
    const pin = prefixPin(volume, text);
    if (this.#prefixes.get(toByteString(volume.id))?.texts.get(text)?.isBegun === false) return;
    this.#enterPrefix(volume, text, true);
    this.#savePrefix(pin, FLAG_BEGUN);
    await this.#finish(volume, pin);
  }

  /** False when there was no such pin. Resolves when all that only this prefix pinned is pinned no more. ECLOSED, EIO. */
  async removePrefix(volume: VolumeState, prefix: Uint8Array): Promise<boolean> {
    const pin = prefixPin(volume, toByteString(prefix));
    if (!this.#removePrefix(volume, toByteString(prefix))) return false;
    this.#savePrefix(pin, FLAG_LEAVING);
    await this.#finish(volume, pin);
    return true;
  }

  /** The cookie of this object has changed, or there is one now, or none any more. */
  judge(volume: VolumeState, objectId: Uint8Array): void {
    if (this.#derivedCount === 0 && !this.#prefixes.has(toByteString(volume.id))) return;
    if (this.#judge(volume, objectId, this.#parts.cookies.get(volume, objectId)?.key)) this.#parts.loosened();
    this.#saveTouched();
  }

  /** Goes on with what an earlier process has left. */
  resume(): void {
    for (const pin of [...this.#unfinished]) {
      const volume = this.#parts.volumes.known(pin.volumeId);
      this.#unfinished.delete(pin);
      if (volume !== undefined) void this.#finish(volume, pin).catch(() => undefined);
    }
  }

  /** Ends what is under way; it goes on when the cache is opened again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#scans;
  }

  /** Judges all objects that a prefix may concern, and then says in its row that this is done. */
  async #finish(volume: VolumeState, pin: Pin): Promise<void> {
    const text = toByteString(pin.prefix ?? NONE);
    const key = toByteString(volume.id) + text;
    const change = Symbol('change of a prefix');
    this.#changes.set(key, change);
    const scan = this.#judgeAll(volume);
    this.#scans = Promise.allSettled([this.#scans, scan]);
    await scan;
    // Pinned or unpinned again meanwhile: whoever did will end it.
    if (this.#changes.get(key) !== change) return;
    this.#changes.delete(key);
    const texts = this.#prefixes.get(toByteString(volume.id))?.texts;
    if (texts?.has(text) === true) {
      texts.set(text, { isBegun: false });
      this.#savePrefix(pin, 0);
    } else {
      this.#parts.rows.remove('pin', this.#name(pin));
    }
  }

  async #judgeAll(volume: VolumeState): Promise<void> {
    const { cookies, rows } = this.#parts;
    for (let after: Uint8Array | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) {
      const { cookies: some, next } = cookies.page(volume, after, STEP_OBJECTS);
      rows.inOneTransaction(() => {
        for (const { objectId, key } of some) this.#judge(volume, objectId, key);
      });
      after = next;
      await this.#turn();
    }
    // Objects that have no cookie any more, too.
    const start = toByteString(volume.id);
    let count = 0;
    for (const bucket of this.#derived) {
      for (const key of bucket) {
        if (!key.startsWith(start)) continue;
        const objectId = fromByteString(key.slice(ID_BYTES));
        this.#judge(volume, objectId, cookies.get(volume, objectId)?.key);
        count += 1;
        if (count % STEP_OBJECTS === 0) await this.#turn();
      }
    }
    // Not before: whoever dies before this does all of it again.
    this.#saveTouched();
    this.#parts.loosened();
  }

  async #turn(): Promise<void> {
    await giveTurn();
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the cache was closed meanwhile');
  }

  /** True when a prefix pins it no more. */
  #judge(volume: VolumeState, objectId: Uint8Array, cookie: Uint8Array | undefined): boolean {
    const isToBe = cookie !== undefined && this.isUnderPrefix(volume, cookie);
    if (!this.#setDerived(pinKey(volume.id, objectId), isToBe)) return false;
    this.#parts.changed(volume, objectId);
    return !isToBe;
  }

  /** Whether a prefix is to pin whatever has this cookie. */
  isUnderPrefix(volume: VolumeState, cookie: Uint8Array): boolean {
    const prefixes = this.#prefixes.get(toByteString(volume.id));
    if (prefixes === undefined) return false;
    const text = toByteString(cookie);
    for (const length of prefixes.lengths.keys()) {
      if (length <= text.length && prefixes.texts.has(text.slice(0, length))) return true;
    }
    return false;
  }

  /** False when it was so before. */
  #setDerived(key: string, isToBe: boolean): boolean {
    const number = bucketOf(key);
    const bucket = this.#derived[number];
    if (bucket === undefined || bucket.has(key) === isToBe) return false;
    if (isToBe) bucket.add(key);
    else bucket.delete(key);
    this.#derivedCount += isToBe ? 1 : -1;
    this.#touched.add(number);
    return true;
  }

  #saveTouched(): void {
    const { rows, fingerprinter } = this.#parts;
    for (const number of this.#touched) {
      const name = fingerprinter.name('pinned by prefix', Uint8Array.of(number));
      const keys = [...(this.#derived[number] ?? [])];
      if (keys.length === 0) rows.remove('pinnedByPrefix', name);
      else rows.put('pinnedByPrefix', name, fromByteString(keys.join('')));
    }
    this.#touched.clear();
  }

  #enterPrefix(volume: VolumeState, text: string, isBegun: boolean): void {
    const key = toByteString(volume.id);
    const known = this.#prefixes.get(key) ?? { volume, texts: new Map(), lengths: new Map() };
    this.#prefixes.set(key, known);
    if (!known.texts.has(text)) known.lengths.set(text.length, (known.lengths.get(text.length) ?? 0) + 1);
    known.texts.set(text, { isBegun });
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
    this.#parts.rows.put('pin', this.#name(pin), encodePin(pin, flags));
  }

  #load(value: Uint8Array): void {
    if (value.byteLength < ROW_PREFIX_BYTES) return;
    const { pin, flags } = decodePin(value);
    const volume = this.#volumeOf(pin);
    if (volume === undefined) return;
    if (pin.prefix === undefined) {
      this.#pins.set(pinKey(pin.volumeId, pin.objectId), pin);
      if (pin.objectId === undefined) volume.pin = true;
      return;
    }
    const isBegun = (flags & FLAG_BEGUN) !== 0;
    if ((flags & FLAG_LEAVING) === 0) this.#enterPrefix(volume, toByteString(pin.prefix), isBegun);
    if (flags & (FLAG_BEGUN | FLAG_LEAVING)) this.#unfinished.add(pin);
  }

  /** Undefined when its row was lost, and all that there may be are in use. */
  #volumeOf({ volumeId }: Pin): VolumeState | undefined {
    try {
      return this.#parts.volumes.volume(volumeId);
    } catch (error) {
      if (codeOf(error) === 'EFULL') return undefined;
      throw error;
    }
  }

  #name({ volumeId, objectId, prefix }: Pin): Uint8Array {
    const { fingerprinter } = this.#parts;
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

/** The key of a volume is what those of its objects begin with. */
function pinKey(volumeId: Uint8Array, objectId: Uint8Array | undefined): string {
  return objectId === undefined ? toByteString(volumeId) : toByteString(volumeId) + toByteString(objectId);
}

function bucketOf(key: string): number {
  return (key.charCodeAt(ID_BYTES) ^ key.charCodeAt(2 * ID_BYTES - 1)) & (BUCKET_COUNT - 1);
}

function encodePin({ volumeId, objectId, prefix, unitCount }: Pin, flags: number): Uint8Array {
  const value = new Uint8Array(ROW_PREFIX_BYTES + (prefix?.byteLength ?? 0));
  value.set(volumeId);
  if (objectId !== undefined) value.set(objectId, ID_BYTES);
  value[32] =
    flags |
    (objectId === undefined ? 0 : FLAG_OBJECT) |
    (unitCount === undefined ? 0 : FLAG_UNIT_COUNT) |
    (prefix === undefined ? 0 : FLAG_PREFIX);
  setU64(viewOf(value), 33, unitCount ?? 0);
  if (prefix !== undefined) value.set(prefix, ROW_PREFIX_BYTES);
  return value;
}

function decodePin(value: Uint8Array): { readonly pin: Pin; readonly flags: number } {
  const flags = value[32] ?? 0;
  const pin = {
    volumeId: value.slice(0, ID_BYTES),
    objectId: (flags & FLAG_OBJECT) === 0 ? undefined : value.slice(ID_BYTES, 2 * ID_BYTES),
    prefix: (flags & FLAG_PREFIX) === 0 ? undefined : value.slice(ROW_PREFIX_BYTES),
    unitCount: (flags & FLAG_UNIT_COUNT) === 0 ? undefined : getU64(viewOf(value), 33),
  };
  return { pin, flags };
}
