/** The list of pins, with the units that each pinned object lacks. */
import { toHex } from '../../base/bytes.ts';
import type { Cache } from '../../cache/cache.ts';
import type { Pin } from '../../cache/objects/pins.ts';
import { showName } from '../../transfer/local-names.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { jsonDocument, nameFields } from '../lib/json.ts';
import { formatCount } from '../lib/sizes.ts';
import { objectFields, showObject } from './object-names.ts';
import type { CacheAccess } from './opening.ts';

/** How many ranges of one object are listed. Further ones are only counted. */
const RANGES_MAX = 1000;
/** How many ranges of one object are listed in text. */
const RANGES_SHOWN = 8;
/** How many incomplete objects under prefix pins are listed. Further ones are only counted. */
const OBJECTS_MAX = 10_000;

/** The units that a pinned object lacks. */
interface Lack {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  units: number;
  readonly ranges: { readonly from: number; readonly to: number }[];
  rangeCount: number;
}

interface Lacks {
  /** Objects with a pin of their own, by volume and object id. */
  readonly own: ReadonlyMap<string, Lack>;
  /** Objects that only a prefix pins. */
  readonly byPrefix: readonly Lack[];
  /** The number of further such objects. */
  readonly moreByPrefix: number;
}

export async function listPins({ cache, signal, print }: CacheAccess, asJson: boolean): Promise<void> {
  const pins = cache.pins();
  const lacks = await findLacks(cache, pins, signal);
  await print(asJson ? jsonDocument(describe(cache, pins, lacks)) : toText(cache, pins, lacks));
}

async function findLacks(cache: Cache, pins: readonly Pin[], signal: AbortSignal): Promise<Lacks> {
  const pinned = new Set(pins.map(keyOf));
  const own = new Map<string, Lack>();
  const byPrefix: Lack[] = [];
  let moreByPrefix = 0;
  let last: { readonly key: string; readonly lack: Lack } | undefined;
  // The ranges of one object come one after the other.
  for await (const { volumeId, objectId, from, to } of cache.incomplete()) {
    signal.throwIfAborted();
    const key = keyOf({ volumeId, objectId });
    if (last?.key !== key) {
      last = { key, lack: { volumeId, objectId, units: 0, ranges: [], rangeCount: 0 } };
      if (pinned.has(key)) own.set(key, last.lack);
      else if (byPrefix.length < OBJECTS_MAX) byPrefix.push(last.lack);
      else moreByPrefix += 1;
    }
    addRange(last.lack, from, to);
  }
  return { own, byPrefix, moreByPrefix };
}

/** Adds a range. A long range comes in parts, which are joined. */
function addRange(lack: Lack, from: number, to: number): void {
  lack.units += to - from;
  const before = lack.ranges.at(-1);
  if (before?.to === from && lack.ranges.length === lack.rangeCount) {
    lack.ranges[lack.ranges.length - 1] = { from: before.from, to };
    return;
  }
  lack.rangeCount += 1;
  if (lack.ranges.length < RANGES_MAX) lack.ranges.push({ from, to });
}

function keyOf({ volumeId, objectId }: Pick<Pin, 'volumeId' | 'objectId'>): string {
  return `${toHex(volumeId)}/${objectId === undefined ? '' : toHex(objectId)}`;
}

/**
 * Returns the number of units of a pinned object, from the pin or the cookie. Undefined when neither has it.
 */
function unitCountOf(cache: Cache, { volumeId, objectId, unitCount }: Pin): number | undefined {
  if (unitCount !== undefined || objectId === undefined) return unitCount;
  return cache.volume(volumeId).cookie(objectId)?.unitCount;
}

function toText(cache: Cache, pins: readonly Pin[], { own, byPrefix, moreByPrefix }: Lacks): string {
  if (pins.length === 0) return 'nothing is pinned\n';
  const lines = pins.map(pin => {
    const { volumeId, objectId, prefix } = pin;
    const of = `volume ${toHex(volumeId)}`;
    if (prefix !== undefined)
      return `all objects of ${of} whose names begin with "${showName(toBytesName(prefix))}"`;
    if (objectId === undefined) return `all of ${of}`;
    const count = unitCountOf(cache, pin);
    return `object ${showObject(cache, { volumeId, objectId })} of ${of}: ${lackText(own.get(keyOf(pin)), count)}`;
  });
  for (const lack of byPrefix) {
    const { volumeId, objectId } = lack;
    lines.push(
      `  object ${showObject(cache, { volumeId, objectId })} of volume ${toHex(volumeId)}: ${lackText(lack, undefined)}`,
    );
  }
  if (moreByPrefix > 0) lines.push(`  and ${formatCount(moreByPrefix, 'object')} more that are not whole`);
  return `${lines.join('\n')}\n`;
}

function lackText(lack: Lack | undefined, count: number | undefined): string {
  if (lack === undefined) {
    return count === undefined ? 'its number of units is not known' : `whole, ${formatCount(count, 'unit')}`;
  }
  const shown = lack.ranges
    .slice(0, RANGES_SHOWN)
    .map(({ from, to }) => (to === from + 1 ? `${from}` : `${from}-${to - 1}`));
  const more = lack.rangeCount > shown.length ? [`${lack.rangeCount - shown.length} more ranges`] : [];
  const what =
    count === undefined
      ? formatCount(lack.units, 'unit')
      : `${lack.units.toLocaleString('en-US')} of ${formatCount(count, 'unit')}`;
  return `lacks ${what}: ${[...shown, ...more].join(', ')}`;
}

function describe(
  cache: Cache,
  pins: readonly Pin[],
  { own, byPrefix, moreByPrefix }: Lacks,
): Record<string, unknown> {
  return {
    pins: pins.map(pin => {
      const { volumeId, objectId, prefix } = pin;
      const count = unitCountOf(cache, pin);
      if (prefix !== undefined)
        return { volume: toHex(volumeId), ...nameFields('prefix', toBytesName(prefix)) };
      if (objectId === undefined) return { volume: toHex(volumeId) };
      const lack = own.get(keyOf(pin));
      const missing = count === undefined ? null : describeLack(lack);
      return { ...objectFields(cache, { volumeId, objectId }), units: count ?? null, missing };
    }),
    byPrefix: byPrefix.map(lack => ({
      ...objectFields(cache, lack),
      missing: describeLack(lack),
    })),
    moreByPrefix,
  };
}

function describeLack(lack: Lack | undefined): Record<string, unknown> {
  return { units: lack?.units ?? 0, ranges: lack?.ranges ?? [], rangeCount: lack?.rangeCount ?? 0 };
}
