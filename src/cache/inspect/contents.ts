/**
 * Looks at everything that a cache holds, to list it or to find damage. Works in bounded steps and gives
 * others their turn.
 */
import { crc32 } from 'node:zlib';
import { toHex } from '../../base/bytes.ts';
import { isDamage, NetsealError, systemCodeOf } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import { type CacheFile, readFully, ShortFileError } from '../base/files.ts';
import { type Found, hasTag } from '../clean/unit-index.ts';
import type { Core } from '../core/core.ts';
import { readBatches } from '../dirty/scan.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY } from '../index/index-table.ts';
import { type CachedKind, placeOfStored } from '../objects/unit-place.ts';
import {
  type DecodedList,
  decodeList,
  readFooter,
  type ZoneEntry,
  type ZoneQueue,
} from '../zones/zone-format.ts';
import type { Zone } from '../zones/zones.ts';

/** A unit that is in the cache. */
export interface CachedUnit {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly kind: CachedKind;
  readonly index: number;
  readonly tag: Uint8Array;
  readonly lengthBytes: number;
  readonly queue: ZoneQueue;
}

/** Damage: something that is not as it was written. */
export type Damage =
  | ({ readonly what: 'unit' } & CachedUnit)
  /**
   * A zone whose list cannot be read, so that its units are unknown. `path` is that of its file in the
   * cache's folder.
   */
  | {
      readonly what: 'zone';
      readonly queue: ZoneQueue;
      readonly lengthBytes: number;
      readonly path: string;
    }
  | { readonly what: 'dirty batch'; readonly batchId: number };

/** How far a verification has come. */
export interface VerifyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface VerifyOptions {
  /**
   * Whether to drop what is damaged, so that it is fetched again. Dirty batches are never dropped. Default
   * false.
   */
  readonly repair?: boolean;
  /** Called now and then. An error that it throws ends the verification. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/** After so many units, others get their turn. */
const STEP_UNITS = 4096;

/**
 * Lists every clean unit that the index finds, in no order. A unit that is moved meanwhile may come twice, or
 * not at all. ECLOSED; system errors as they come.
 */
export async function* listUnits(core: Core): AsyncGenerator<CachedUnit> {
  for (const zone of core.zones.all()) {
    core.requireOpen();
    const list = await whilePinned(core, zone, () => entriesOf(core, zone));
    for (let at = 0; list !== undefined && at < list.count; at += 1) {
      const entry = list.entry(at);
      const found = findIn(core, zone, entry);
      const isClean = found !== undefined && (found.entry.flags & ENTRY_DIRTY) === 0;
      if (isClean) yield toUnit(zone, entry);
      if (at % STEP_UNITS === STEP_UNITS - 1) await giveTurn();
      core.requireOpen();
    }
  }
}

/**
 * Does `action` while the zone is pinned. Undefined when the zone is gone. Do not `yield` within: a list that
 * a caller abandons would keep the cache from closing.
 */
async function whilePinned<Result>(
  core: Core,
  zone: Zone,
  action: () => Promise<Result>,
): Promise<Result | undefined> {
  if (!core.zones.pin(zone)) return undefined;
  try {
    return await action();
  } finally {
    core.zones.unpin(zone);
  }
}

/** The entries of a zone, whether the index still finds them or not. */
export type ZoneEntries = Pick<DecodedList, 'count' | 'entry'>;

/**
 * Reads the entries of a zone. Pin the zone first. Undefined when its list is damaged; system errors as they
 * come.
 */
export async function entriesOf(core: Core, zone: Zone): Promise<ZoneEntries | undefined> {
  if (zone.queue === 'dirty') return dirtyEntriesOf(core, zone);
  if (zone.list !== undefined) return decodeList(zone.list.encode(zone));
  try {
    return (await readFooter(core.context.seals, await core.zones.fileOf(zone), zone.name)).list;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/** Returns the units of all batches of a dirty zone, also of released ones. */
async function dirtyEntriesOf(core: Core, zone: Zone): Promise<ZoneEntries> {
  const file = await core.zones.fileOf(zone);
  const { foundBatches } = await readBatches(core.context.seals, zone.name, file, zone.fileBytes);
  const numbers = new Map<string, number>();
  const entries = foundBatches.flatMap(({ offsetBytes, header }) =>
    header.units.map((unit): ZoneEntry => {
      const key = toHex(unit.volumeId) + toHex(unit.objectId);
      const objectNumber = numbers.get(key) ?? numbers.size;
      numbers.set(key, objectNumber);
      return { ...unit, offsetBytes: offsetBytes + unit.offsetBytes, objectNumber };
    }),
  );
  return {
    count: entries.length,
    entry: at => {
      const entry = entries[at];
      if (entry === undefined) throw new NetsealError('EBUG', `there is no entry ${at}`);
      return entry;
    },
  };
}

/** Returns the index entry for a unit of a zone. Undefined when the unit was replaced or dropped. */
export function findIn(core: Core, zone: Zone, entry: ZoneEntry): Found | undefined {
  const object = core.objects.objectOf(entry);
  if (object === undefined) return undefined;
  const found = core.unitIndex.find(fingerprintOf(object.prefix, entry.index, newFingerprint()));
  const isHere = found?.entry.zoneId === zone.id && found.entry.offsetBytes === entry.offsetBytes;
  return isHere ? found : undefined;
}

function toUnit(zone: Zone, { volumeId, objectId, index, tag, lengthBytes }: ZoneEntry): CachedUnit {
  const copies = { volumeId: volumeId.slice(), objectId: objectId.slice(), tag: tag.slice() };
  return { ...copies, ...placeOfStored(index), lengthBytes, queue: zone.queue };
}

/** Reads everything, and yields the damage that it finds. ECLOSED; system errors as they come. */
export async function* findDamage(
  core: Core,
  { repair = false, onProgress = () => undefined }: VerifyOptions,
): AsyncGenerator<Damage> {
  const zones = core.zones.all();
  // In dirty zones only batches are read, which are counted by themselves.
  const bytesOf = ({ queue, fileBytes }: Zone): number => (queue === 'dirty' ? 0 : fileBytes);
  const cleanBytes = zones.reduce((sum, zone) => sum + bytesOf(zone), 0);
  const totalBytes = cleanBytes + core.dirty.unitBytes;
  let doneBytes = 0;
  for (const zone of zones) {
    core.requireOpen();
    onProgress({ doneBytes, totalBytes });
    const zoneBytes = bytesOf(zone);
    yield* checkZone(core, zone, repair, bytes => {
      onProgress({ doneBytes: doneBytes + Math.min(bytes, zoneBytes), totalBytes });
    });
    doneBytes += zoneBytes;
  }
  const ids = core.dirty.ids();
  for (const [at, id] of ids.entries()) {
    onProgress({ doneBytes: cleanBytes + (core.dirty.unitBytes * at) / ids.length, totalBytes });
    const isSound = await core.dirty.check(id);
    core.requireOpen();
    if (!isSound) yield { what: 'dirty batch', batchId: id };
  }
}

const PROGRESS_BYTES = 4 * 1024 * 1024;

async function* checkZone(
  core: Core,
  zone: Zone,
  repair: boolean,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<Damage> {
  const { queue, fileBytes, path } = zone;
  const list = await whilePinned(core, zone, async () => {
    const entries = await entriesOf(core, zone).catch((error: unknown) => {
      return systemCodeOf(error) === 'EIO' || error instanceof ShortFileError ? undefined : 'unreadable';
    });
    return entries ?? 'damaged';
  });
  core.requireOpen();
  if (list === undefined) return;
  if (list === 'damaged' || list === 'unreadable') {
    // Damage in a dirty zone is reported by batches, and nothing of it is dropped.
    if (queue === 'dirty') return;
    // A list that the system could not read now may be readable the next time.
    if (repair && list === 'damaged') await core.zones.giveUp(zone);
    yield { what: 'zone', queue, lengthBytes: fileBytes, path };
    return;
  }
  const window = new Window(core, zone);
  let toldBytes = 0;
  for (let at = 0; at < list.count; at += 1) {
    const entry = list.entry(at);
    if (entry.offsetBytes >= toldBytes + PROGRESS_BYTES) {
      toldBytes = entry.offsetBytes;
      onProgress(toldBytes);
    }
    const found = findIn(core, zone, entry);
    // Dirty units are checked with their batch.
    if (found === undefined || (found.entry.flags & ENTRY_DIRTY) !== 0) continue;
    if ((await whilePinned(core, zone, () => isSound(window, entry, found))) !== false) continue;
    core.requireOpen();
    // The unit may have been replaced or dropped while it was read.
    const now = findIn(core, zone, entry);
    if (now === undefined) continue;
    if (repair) forget(core, entry, now);
    yield { what: 'unit', ...toUnit(zone, entry) };
  }
}

function forget(core: Core, entry: ZoneEntry, found: Found): void {
  const object = core.objects.objectOf(entry);
  if (object === undefined) return;
  core.unitIndex.remove(fingerprintOf(object.prefix, entry.index, newFingerprint()), found);
}

async function isSound(window: Window, entry: ZoneEntry, { entry: place }: Found): Promise<boolean> {
  if (place.lengthBytes !== entry.lengthBytes || !hasTag(place, entry.tag)) return false;
  try {
    return crc32(await window.read(entry.offsetBytes, entry.lengthBytes)) === entry.crc32;
  } catch {
    return false;
  }
}

const WINDOW_BYTES = 1024 * 1024;

/** Reads the units of a zone in order, many small ones at once. */
class Window {
  readonly #core: Core;
  readonly #zone: Zone;
  #bytes = new Uint8Array(0);
  #from = 0;
  #to = 0;

  constructor(core: Core, zone: Zone) {
    this.#core = core;
    this.#zone = zone;
  }

  /** Returns bytes of the zone, which the next call overwrites. System errors as they come. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (offsetBytes < this.#from || offsetBytes + lengthBytes > this.#to) {
      const file = await this.#core.zones.fileOf(this.#zone);
      await this.#fill(file, offsetBytes, lengthBytes);
    }
    return this.#bytes.subarray(offsetBytes - this.#from, offsetBytes - this.#from + lengthBytes);
  }

  /** Reads the unit and what follows it. Only the unit itself has to be readable. */
  async #fill(file: CacheFile, offsetBytes: number, lengthBytes: number): Promise<void> {
    const wantedBytes = Math.max(WINDOW_BYTES, lengthBytes);
    if (this.#bytes.byteLength < wantedBytes) this.#bytes = new Uint8Array(wantedBytes);
    this.#from = offsetBytes;
    this.#to = offsetBytes;
    const count = await file.read(this.#bytes, offsetBytes).catch(() => 0);
    if (count < lengthBytes) {
      await readFully(file, this.#bytes.subarray(count, lengthBytes), offsetBytes + count);
    }
    this.#to = offsetBytes + Math.max(count, lengthBytes);
  }
}
