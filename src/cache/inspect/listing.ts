/**
 * Lists what a cache holds by volume and object, sorted, for people. Units are not read.
 *
 * A zone has its units in the order in which they came. So each list is made by looking through the lists of
 * all zones; the part of it that does not fit into bounded memory is left for another look.
 */
import { fromByteString, toByteString, toHex } from '../../base/bytes.ts';
import { giveTurn } from '../../base/turns.ts';
import type { Core } from '../core/core.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { ENTRY_DIRTY } from '../index/index-table.ts';
import { type CachedKind, placeOfStored } from '../objects/unit-place.ts';
import type { ZoneEntry, ZoneQueue } from '../zones/zone-format.ts';
import type { Zone } from '../zones/zones.ts';
import { entriesOf, type ZoneEntries } from './contents.ts';
import { Smallest } from './smallest.ts';

/** A number of units, and the bytes of their records. */
export interface UnitTotals {
  readonly units: number;
  readonly bytes: number;
}

/** The units of a volume that are in the cache. */
export interface CachedVolume extends UnitTotals {
  readonly volumeId: Uint8Array;
  /** Those of them that are not on the server yet. */
  readonly dirty: UnitTotals;
}

/** The units of an object that are in the cache. */
export interface CachedObject extends UnitTotals {
  readonly objectId: Uint8Array;
  readonly dirty: UnitTotals;
  readonly isPinned: boolean;
}

/** A unit of an object that is in the cache. */
export interface ListedUnit {
  readonly kind: CachedKind;
  readonly index: number;
  readonly lengthBytes: number;
  readonly tag: Uint8Array;
  readonly queue: ZoneQueue;
  /** Not on the server yet. */
  readonly isDirty: boolean;
}

export interface ListSettings {
  /** Only ids that begin with these hexadecimal digits. */
  readonly idStart?: string;
  /** How many objects or units are kept in memory at once. Default 131,072, some 50 MB. */
  readonly atOnce?: number;
  /** Ends the listing, which then throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const AT_ONCE = 131_072;
const ENTRIES_A_TURN = 8192;

interface Totals {
  units: number;
  bytes: number;
  dirtyUnits: number;
  dirtyBytes: number;
}

interface Seen extends ZoneEntry {
  readonly queue: ZoneQueue;
  readonly isDirty: boolean;
}

/** Lists the volumes with units in the cache, sorted by id. ECLOSED; system errors as they come. */
export async function listVolumes(core: Core, signal?: AbortSignal): Promise<CachedVolume[]> {
  const volumes = new Map<string, Totals>();
  await look(
    core,
    entry => toByteString(entry.volumeId),
    (key, unit) => {
      const totals = volumes.get(key) ?? noTotals();
      volumes.set(key, totals);
      add(totals, unit);
    },
    signal,
  );
  return [...volumes]
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([key, totals]) => ({ volumeId: fromByteString(key), ...describe(totals) }));
}

/**
 * Lists the objects of a volume with units in the cache, sorted by id. ECLOSED; system errors as they come.
 */
export async function* listObjects(
  core: Core,
  volumeId: Uint8Array,
  { idStart = '', atOnce = AT_ONCE, signal }: ListSettings = {},
): AsyncGenerator<CachedObject> {
  const volumeKey = toByteString(volumeId);
  let after: string | undefined;
  for (;;) {
    const smallest = new Smallest<string, Totals>(atOnce, after);
    const keyOf = (entry: ZoneEntry): string | undefined => {
      const key = toByteString(entry.objectId);
      const isIn = toByteString(entry.volumeId) === volumeKey && !smallest.isOutside(key);
      return isIn && toHex(fromByteString(key)).startsWith(idStart) ? key : undefined;
    };
    const see: See = (key, unit) => {
      if (!smallest.isOutside(key)) add(smallest.value(key, noTotals), unit);
    };
    await look(core, keyOf, see, signal);
    const { entries, isLast } = smallest.take();
    for (const [key, totals] of entries) {
      const objectId = fromByteString(key);
      const volume = core.objects.volume(volumeId);
      yield { objectId, ...describe(totals), isPinned: core.objects.isPinned(volume, objectId) };
      after = key;
    }
    if (isLast) return;
  }
}

/**
 * Lists the units of an object that are in the cache, sorted by kind and index. ECLOSED; system errors as
 * they come.
 */
export async function* listObjectUnits(
  core: Core,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  { atOnce = AT_ONCE, signal }: Omit<ListSettings, 'idStart'> = {},
): AsyncGenerator<ListedUnit> {
  const wanted = toByteString(volumeId) + toByteString(objectId);
  let after: number | undefined;
  for (;;) {
    const smallest = new Smallest<number, ListedUnit>(atOnce, after);
    await look(
      core,
      entry => (toByteString(entry.volumeId) + toByteString(entry.objectId) === wanted ? wanted : undefined),
      (_, { index, lengthBytes, tag, queue, isDirty }) => {
        if (smallest.isOutside(index)) return;
        smallest.value(index, () => ({
          ...placeOfStored(index),
          lengthBytes,
          tag: tag.slice(),
          queue,
          isDirty,
        }));
      },
      signal,
    );
    const { entries, isLast } = smallest.take();
    for (const [index, unit] of entries) {
      yield unit;
      after = index;
    }
    if (isLast) return;
  }
}

type KeyOf = (entry: ZoneEntry) => string | undefined;
type See = (key: string, unit: Seen) => void;

/**
 * Shows every unit that the index finds to `see`.
 *
 * @param keyOf asked once for each object of each zone. Returns undefined to leave its units out.
 */
async function look(core: Core, keyOf: KeyOf, see: See, signal: AbortSignal | undefined): Promise<void> {
  for (const zone of core.zones.all()) {
    signal?.throwIfAborted();
    if (!core.zones.pin(zone)) continue;
    try {
      const list = await entriesOf(core, zone);
      if (list !== undefined) await lookAt(core, zone, list, keyOf, see, signal);
    } finally {
      core.zones.unpin(zone);
    }
  }
}

async function lookAt(
  core: Core,
  zone: Zone,
  list: ZoneEntries,
  keyOf: KeyOf,
  see: See,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { queue } = zone;
  // By the object's number in the list; null for an object that is left out.
  const objects: ({ readonly key: string; readonly prefix: Prefix } | null)[] = [];
  const fingerprint = newFingerprint();
  for (let at = 0; at < list.count; at += 1) {
    if (at % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) {
      await giveTurn();
      core.requireOpen();
      signal?.throwIfAborted();
    }
    const entry = list.entry(at);
    let object = objects[entry.objectNumber];
    if (object === undefined) {
      const key = keyOf(entry);
      const prefix = key === undefined ? undefined : core.objects.objectOf(entry)?.prefix;
      object = key === undefined || prefix === undefined ? null : { key, prefix };
      objects[entry.objectNumber] = object;
    }
    if (object === null) continue;
    const found = core.unitIndex.find(fingerprintOf(object.prefix, entry.index, fingerprint));
    const isHere = found?.entry.zoneId === zone.id && found.entry.offsetBytes === entry.offsetBytes;
    if (!isHere) continue;
    see(object.key, { ...entry, queue, isDirty: (found.entry.flags & ENTRY_DIRTY) !== 0 });
  }
}

function noTotals(): Totals {
  return { units: 0, bytes: 0, dirtyUnits: 0, dirtyBytes: 0 };
}

function add(totals: Totals, { lengthBytes, isDirty }: Seen): void {
  totals.units += 1;
  totals.bytes += lengthBytes;
  if (!isDirty) return;
  totals.dirtyUnits += 1;
  totals.dirtyBytes += lengthBytes;
}

function describe({ units, bytes, dirtyUnits, dirtyBytes }: Totals): UnitTotals & { dirty: UnitTotals } {
  return { units, bytes, dirty: { units: dirtyUnits, bytes: dirtyBytes } };
}
