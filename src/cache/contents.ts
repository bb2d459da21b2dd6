/** Looking at everything that a cache holds: for tools, and for finding damage. Works in bounded steps, beside everything else. */
import { crc32 } from 'node:zlib';
import type { Core } from './core.ts';
import { type CacheFile, readFully } from './files.ts';
import { fingerprintOf, newFingerprint } from './fingerprints.ts';
import { type Found, hasTag } from './places.ts';
import {
  type DecodedList,
  decodeList,
  type RegionEntry,
  type RegionQueue,
  readFooter,
} from './region-format.ts';
import type { Region } from './regions.ts';
import { isDamage } from './seals.ts';

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
  /** A region whose list cannot be read: its units are not known by name. */
  | { readonly what: 'region'; readonly queue: RegionQueue; readonly lengthBytes: number }
  | { readonly what: 'dirty batch'; readonly batchId: number };

/** Every clean unit that the index finds, in no order. System errors as they come. */
export async function* listUnits(core: Core): AsyncGenerator<CachedUnit> {
  for (const region of core.regions.all()) {
    if (region.queue === 'dirty' || !core.regions.pin(region)) continue;
    try {
      const list = await listOf(core, region);
      for (let at = 0; list !== undefined && at < list.count; at += 1) {
        const entry = list.entry(at);
        if (findIn(core, region, entry) !== undefined) yield toUnit(region, entry);
      }
    } finally {
      core.regions.unpin(region);
    }
  }
}

/** Undefined when it cannot be read. System errors as they come. */
async function listOf(core: Core, region: Region): Promise<DecodedList | undefined> {
  if (region.list !== undefined) return decodeList(region.list.encode(region));
  try {
    return (await readFooter(core.seals, await core.regions.fileOf(region), region.name)).list;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/** The entry of the index for a unit of a region, unless the unit has been replaced or dropped. */
function findIn(core: Core, region: Region, entry: RegionEntry): Found | undefined {
  const object = core.objects.object(core.objects.volume(entry.volumeId), entry.objectId);
  const found = core.places.find(fingerprintOf(object.prefix, entry.index, newFingerprint()));
  const isHere = found?.entry.regionId === region.id && found.entry.offsetBytes === entry.offsetBytes;
  return isHere ? found : undefined;
}

function toUnit(region: Region, { volumeId, objectId, index, tag, lengthBytes }: RegionEntry): CachedUnit {
  const copies = { volumeId: volumeId.slice(), objectId: objectId.slice(), tag: tag.slice() };
  return { ...copies, index, lengthBytes, queue: region.queue };
}

/**
 * Reads everything and yields what is not as it was written.
 *
 * @param repair drop what is damaged, so that it is fetched again. Dirty batches are never dropped.
 */
export async function* findDamage(core: Core, repair: boolean): AsyncGenerator<Damage> {
  for (const region of core.regions.all()) {
    if (region.queue === 'dirty' || !core.regions.pin(region)) continue;
    try {
      yield* checkRegion(core, region, repair);
    } finally {
      core.regions.unpin(region);
    }
  }
  for (const id of core.dirty.ids()) {
    if (!(await core.dirty.check(id))) yield { what: 'dirty batch', batchId: id };
  }
}

async function* checkRegion(core: Core, region: Region, repair: boolean): AsyncGenerator<Damage> {
  const { queue, fileBytes } = region;
  const list = await listOf(core, region).catch(() => undefined);
  if (list === undefined) {
    if (repair) await core.regions.giveUp(region);
    yield { what: 'region', queue, lengthBytes: fileBytes };
    return;
  }
  for (let at = 0; at < list.count; at += 1) {
    const entry = list.entry(at);
    const found = findIn(core, region, entry);
    if (found === undefined || (await isSound(core, region, entry, found))) continue;
    const object = core.objects.object(core.objects.volume(entry.volumeId), entry.objectId);
    const fingerprint = fingerprintOf(object.prefix, entry.index, newFingerprint());
    const now = core.places.find(fingerprint);
    if (repair && now !== undefined) core.places.remove(fingerprint, now);
    yield { what: 'unit', ...toUnit(region, entry) };
  }
}

async function isSound(
  core: Core,
  region: Region,
  entry: RegionEntry,
  { entry: place }: Found,
): Promise<boolean> {
  if (place.lengthBytes !== entry.lengthBytes || !hasTag(place, entry.tag)) return false;
  const bytes = new Uint8Array(entry.lengthBytes);
  try {
    const file: CacheFile = await core.regions.fileOf(region);
    await readFully(file, bytes, entry.offsetBytes);
  } catch {
    return false;
  }
  return crc32(bytes) === entry.crc32;
}
