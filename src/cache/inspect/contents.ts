/** Looking at everything that a cache holds: for tools, and for finding damage. Works in bounded steps, beside everything else. */
import { crc32 } from 'node:zlib';
import { toHex } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { type CacheFile, readFully, ShortFileError, systemCodeOf } from '../base/files.ts';
import { isDamage } from '../base/seals.ts';
import { type Found, hasTag } from '../clean/unit-index.ts';
import type { Core } from '../core/core.ts';
import { readHeads } from '../dirty/scan.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_DIRTY } from '../index/index-table.ts';
import {
  type DecodedList,
  decodeList,
  type RegionEntry,
  type RegionQueue,
  readFooter,
} from '../zones/zone-format.ts';
import type { Region } from '../zones/zones.ts';

/** A unit that is there. */
export interface CachedUnit {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly index: number;
  readonly tag: Uint8Array;
  readonly lengthBytes: number;
  readonly queue: RegionQueue;
}

/** Something that is not as it was written. */
export type Damage =
  | ({ readonly what: 'unit' } & CachedUnit)
  /** A region whose list cannot be read: its units are not known by name. `path` is that of its file in the cache's folder. */
  | {
      readonly what: 'region';
      readonly queue: RegionQueue;
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
  for (const region of core.regions.all()) {
    core.requireOpen();
    const list = await whilePinned(core, region, () => entriesOf(core, region));
    for (let at = 0; list !== undefined && at < list.count; at += 1) {
      const entry = list.entry(at);
      const found = findIn(core, region, entry);
      const isClean = found !== undefined && (found.entry.flags & ENTRY_DIRTY) === 0;
      if (isClean) yield toUnit(region, entry);
      if (at % STEP_UNITS === STEP_UNITS - 1) await new Promise(resolve => setImmediate(resolve));
      core.requireOpen();
    }
  }
}

/** Never over a `yield`: whoever does not go on with a list would keep the cache from closing. Undefined when the region is gone. */
async function whilePinned<Result>(
  core: Core,
  region: Region,
  action: () => Promise<Result>,
): Promise<Result | undefined> {
  if (!core.regions.pin(region)) return undefined;
  try {
    return await action();
  } finally {
    core.regions.unpin(region);
  }
}

/** What a region has in it, found by the index or not. */
export type RegionEntries = Pick<DecodedList, 'count' | 'entry'>;

/** Undefined when it cannot be read. System errors as they come. Pin the region first. */
export async function entriesOf(core: Core, region: Region): Promise<RegionEntries | undefined> {
  if (region.queue === 'dirty') return dirtyEntriesOf(core, region);
  if (region.list !== undefined) return decodeList(region.list.encode(region));
  try {
    return (await readFooter(core.seals, await core.regions.fileOf(region), region.name)).list;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/** Units of all batches, those that were released as well. */
async function dirtyEntriesOf(core: Core, region: Region): Promise<RegionEntries> {
  const file = await core.regions.fileOf(region);
  const { heads } = await readHeads(core.seals, region.name, file, region.fileBytes);
  const numbers = new Map<string, number>();
  const entries = heads.flatMap(({ offsetBytes, head }) =>
    head.units.map((unit): RegionEntry => {
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

/** The entry of the index for a unit of a region, unless the unit has been replaced or dropped. */
export function findIn(core: Core, region: Region, entry: RegionEntry): Found | undefined {
  const object = core.objects.objectOf(entry);
  if (object === undefined) return undefined;
  const found = core.places.find(fingerprintOf(object.prefix, entry.index, newFingerprint()));
  const isHere = found?.entry.regionId === region.id && found.entry.offsetBytes === entry.offsetBytes;
  return isHere ? found : undefined;
}

function toUnit(region: Region, { volumeId, objectId, index, tag, lengthBytes }: RegionEntry): CachedUnit {
  const copies = { volumeId: volumeId.slice(), objectId: objectId.slice(), tag: tag.slice() };
  return { ...copies, index, lengthBytes, queue: region.queue };
}

/** Reads everything and yields what is not as it was written. */
export async function* findDamage(
  core: Core,
  { repair = false, onProgress = () => undefined }: VerifyOptions,
): AsyncGenerator<Damage> {
  const regions = core.regions.all();
  // Of dirty regions, batches are what there is to read.
  const bytesOf = ({ queue, fileBytes }: Region): number => (queue === 'dirty' ? 0 : fileBytes);
  const cleanBytes = regions.reduce((sum, region) => sum + bytesOf(region), 0);
  const totalBytes = cleanBytes + core.dirty.unitBytes;
  let doneBytes = 0;
  for (const region of regions) {
    core.requireOpen();
    onProgress({ doneBytes, totalBytes });
    const regionBytes = bytesOf(region);
    yield* checkRegion(core, region, repair, bytes => {
      onProgress({ doneBytes: doneBytes + Math.min(bytes, regionBytes), totalBytes });
    });
    doneBytes += regionBytes;
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

async function* checkRegion(
  core: Core,
  region: Region,
  repair: boolean,
  onProgress: (doneBytes: number) => void,
): AsyncGenerator<Damage> {
  const { queue, fileBytes, path } = region;
  const list = await whilePinned(core, region, async () => {
    const entries = await entriesOf(core, region).catch((error: unknown) => {
      return systemCodeOf(error) === 'EIO' || error instanceof ShortFileError ? undefined : 'unreadable';
    });
    return entries ?? 'damaged';
  });
  core.requireOpen();
  if (list === undefined) return;
  if (list === 'damaged' || list === 'unreadable') {
    // Of dirty regions, batches are reported, and nothing is dropped.
    if (queue === 'dirty') return;
    // What the system refuses for another reason may be readable the next time.
    if (repair && list === 'damaged') await core.regions.giveUp(region);
    yield { what: 'region', queue, lengthBytes: fileBytes, path };
    return;
  }
  const window = new Window(core, region);
  let toldBytes = 0;
  for (let at = 0; at < list.count; at += 1) {
    const entry = list.entry(at);
    if (entry.offsetBytes >= toldBytes + PROGRESS_BYTES) {
      toldBytes = entry.offsetBytes;
      onProgress(toldBytes);
    }
    const found = findIn(core, region, entry);
    // Batches are checked as a whole.
    if (found === undefined || (found.entry.flags & ENTRY_DIRTY) !== 0) continue;
    if ((await whilePinned(core, region, () => isSound(window, entry, found))) !== false) continue;
    core.requireOpen();
    // It may have been replaced or dropped while it was read.
    const now = findIn(core, region, entry);
    if (now === undefined) continue;
    if (repair) forget(core, entry, now);
    yield { what: 'unit', ...toUnit(region, entry) };
  }
}

function forget(core: Core, entry: RegionEntry, found: Found): void {
  const object = core.objects.objectOf(entry);
  if (object === undefined) return;
  core.places.remove(fingerprintOf(object.prefix, entry.index, newFingerprint()), found);
}

async function isSound(window: Window, entry: RegionEntry, { entry: place }: Found): Promise<boolean> {
  if (place.lengthBytes !== entry.lengthBytes || !hasTag(place, entry.tag)) return false;
  try {
    return crc32(await window.read(entry.offsetBytes, entry.lengthBytes)) === entry.crc32;
  } catch {
    return false;
  }
}

const WINDOW_BYTES = 1024 * 1024;

/** Reads a region from its beginning to its end, many small units at once. */
class Window {
  readonly #core: Core;
  readonly #region: Region;
  #bytes = new Uint8Array(0);
  #from = 0;
  #to = 0;

  constructor(core: Core, region: Region) {
    this.#core = core;
    this.#region = region;
  }

  /** Valid until the next call. System errors as they come. */
  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (offsetBytes < this.#from || offsetBytes + lengthBytes > this.#to) {
      const file = await this.#core.regions.fileOf(this.#region);
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
