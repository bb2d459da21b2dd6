/** Looking at everything that a cache holds: for tools, and for finding damage. Works in bounded steps, beside everything else. */
import { crc32 } from 'node:zlib';
import { toHex } from '../../base/bytes.ts';
import { isDamage, NetsealError, systemCodeOf } from '../../base/errors.ts';
import { giveTurn } from '../../base/turns.ts';
import { type CacheFile, readFully, ShortFileError } from '../base/files.ts';
import { type Found, hasTag } from '../clean/unit-index.ts';
import type { Core } from '../core/core.ts';
import { readHeads } from '../dirty/scan.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY } from '../index/index-table.ts';
import {
  type DecodedList,
  decodeList,
  readFooter,
  type ZoneEntry,
  type ZoneQueue,
} from '../zones/zone-format.ts';
import type { Zone } from '../zones/zones.ts';

/** A unit that is there. */
export interface CachedUnit {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly index: number;
  readonly tag: Uint8Array;
  readonly lengthBytes: number;
  readonly queue: ZoneQueue;
}

/** Something that is not as it was written. */
export type Damage =
  | ({ readonly what: 'unit' } & CachedUnit)
  /** A zone whose list cannot be read: its units are not known by name. `path` is that of its file in the cache's folder. */
  | {
      readonly what: 'zone';
      readonly queue: ZoneQueue;
      readonly lengthBytes: number;
      readonly path: string;
    }
  | { readonly what: 'dirty batch'; readonly batchId: number };

/** How far a look at everything has come. */
export interface VerifyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface VerifyOptions {
  /** Drop what is damaged, so that it is fetched again. Dirty batches are never dropped. Default false. */
  readonly repair?: boolean;
  /** Told now and then. What it throws ends the verification. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/** Others get their turn after so many. */
const STEP_UNITS = 4096;

/** Every clean unit that the index finds, in no order; one that is moved meanwhile may come twice, or not at all. System errors as they come. */
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

/** Never over a `yield`: whoever does not go on with a list would keep the cache from closing. Undefined when the zone is gone. */
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

/** What a zone has in it, found by the index or not. */
export type ZoneEntries = Pick<DecodedList, 'count' | 'entry'>;

/** Undefined when it cannot be read. System errors as they come. Pin the zone first. */
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

/** Units of all batches, those that were released as well. */
async function dirtyEntriesOf(core: Core, zone: Zone): Promise<ZoneEntries> {
  const file = await core.zones.fileOf(zone);
  const { heads } = await readHeads(core.context.seals, zone.name, file, zone.fileBytes);
  const numbers = new Map<string, number>();
  const entries = heads.flatMap(({ offsetBytes, head }) =>
    head.units.map((unit): ZoneEntry => {
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

/** The entry of the index for a unit of a zone, unless the unit has been replaced or dropped. */
export function findIn(core: Core, zone: Zone, entry: ZoneEntry): Found | undefined {
  const object = core.objects.objectOf(entry);
  if (object === undefined) return undefined;
  const found = core.unitIndex.find(fingerprintOf(object.prefix, entry.index, newFingerprint()));
  const isHere = found?.entry.zoneId === zone.id && found.entry.offsetBytes === entry.offsetBytes;
  return isHere ? found : undefined;
}

function toUnit(zone: Zone, { volumeId, objectId, index, tag, lengthBytes }: ZoneEntry): CachedUnit {
  const copies = { volumeId: volumeId.slice(), objectId: objectId.slice(), tag: tag.slice() };
  return { ...copies, index, lengthBytes, queue: zone.queue };
}

/** Reads everything and yields what is not as it was written. */
export async function* findDamage(
  core: Core,
  { repair = false, onProgress = () => undefined }: VerifyOptions,
): AsyncGenerator<Damage> {
  const zones = core.zones.all();
  // Of dirty zones, batches are what there is to read.
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
    // Of dirty zones, batches are reported, and nothing is dropped.
    if (queue === 'dirty') return;
    // What the system refuses for another reason may be readable the next time.
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
    // Batches are checked as a whole.
    if (found === undefined || (found.entry.flags & ENTRY_DIRTY) !== 0) continue;
    if ((await whilePinned(core, zone, () => isSound(window, entry, found))) !== false) continue;
    core.requireOpen();
    // It may have been replaced or dropped while it was read.
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

/** Reads a zone from its beginning to its end, many small units at once. */
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

  /** Valid until the next call. System errors as they come. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (offsetBytes < this.#from || offsetBytes + lengthBytes > this.#to) {
      const file = await this.#core.zones.fileOf(this.#zone);
      await this.#fill(file, offsetBytes, lengthBytes);
    }
    return this.#bytes.subarray(offsetBytes - this.#from, offsetBytes - this.#from + lengthBytes);
  }

  /** What cannot be read behind the unit is nothing to it. */
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
