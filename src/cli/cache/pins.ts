/** What is pinned, and what of it is not there. */
import { toHex } from '../../base/bytes.ts';
import type { Cache } from '../../cache/cache.ts';
import type { Pin } from '../../cache/objects/pins.ts';
import { showName } from '../../transfer/local-names.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { nameFields, toJson } from '../lib/display.ts';
import { formatCount } from '../lib/sizes.ts';
import { writeOut } from '../lib/write-out.ts';
import type { CacheAccess } from './access.ts';
import { cookieKeyOf } from './cookies.ts';

/** Of one object: the first ranges one by one, the rest only counted. */
const RANGES_MAX = 1000;
const RANGES_TOLD = 8;
/** Objects that prefixes pin and that are not whole: the rest is only counted. */
const OBJECTS_MAX = 10_000;

interface Lack {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  units: number;
  readonly ranges: { readonly from: number; readonly to: number }[];
  rangeCount: number;
}

interface Lacks {
  /** Of objects with a pin of their own, by both ids. */
  readonly own: ReadonlyMap<string, Lack>;
  readonly byPrefix: readonly Lack[];
  /** Objects that are not among those. */
  readonly moreByPrefix: number;
}

export async function listPins({ cache, signal }: CacheAccess, asJson: boolean): Promise<void> {
  const pins = cache.pins();
  const lacks = await findLacks(cache, pins, signal);
  await writeOut(asJson ? `${toJson(describe(cache, pins, lacks), 2)}\n` : tell(cache, pins, lacks), signal);
}

async function findLacks(cache: Cache, pins: readonly Pin[], signal: AbortSignal): Promise<Lacks> {
  const pinned = new Set(pins.map(keyOf));
  const own = new Map<string, Lack>();
  const byPrefix: Lack[] = [];
  let moreByPrefix = 0;
  let last: { readonly key: string; readonly lack: Lack } | undefined;
  // Ranges of one object come one after another.
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

/** Long ranges come in parts. */
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

/** How many units a pinned object has, if anybody has said so. */
function unitCountOf(cache: Cache, { volumeId, objectId, unitCount }: Pin): number | undefined {
  if (unitCount !== undefined || objectId === undefined) return unitCount;
  return cache.volume(volumeId).cookie(objectId)?.unitCount;
}

function tell(cache: Cache, pins: readonly Pin[], { own, byPrefix, moreByPrefix }: Lacks): string {
  if (pins.length === 0) return 'nothing is pinned\n';
  const lines = pins.map(pin => {
    const { volumeId, objectId, prefix } = pin;
    const of = `volume ${toHex(volumeId)}`;
    if (prefix !== undefined) return `"${showName(toBytesName(prefix))}" and what begins so, of ${of}`;
    if (objectId === undefined) return `all of ${of}`;
    const count = unitCountOf(cache, pin);
    return `object ${nameOf(cache, volumeId, objectId)} of ${of}: ${tellLack(own.get(keyOf(pin)), count)}`;
  });
  for (const lack of byPrefix) {
    const { volumeId, objectId } = lack;
    lines.push(
      `  object ${nameOf(cache, volumeId, objectId)} of volume ${toHex(volumeId)}: ${tellLack(lack, undefined)}`,
    );
  }
  if (moreByPrefix > 0) lines.push(`  and ${formatCount(moreByPrefix, 'object')} more that are not whole`);
  return `${lines.join('\n')}\n`;
}

function nameOf(cache: Cache, volumeId: Uint8Array, objectId: Uint8Array): string {
  const cookie = cookieKeyOf(cache.volume(volumeId), objectId);
  return `${toHex(objectId)}${cookie === undefined ? '' : ` (${showName(toBytesName(cookie))})`}`;
}

function tellLack(lack: Lack | undefined, count: number | undefined): string {
  if (lack === undefined) {
    return count === undefined
      ? 'nobody has said how many units it has'
      : `whole, ${formatCount(count, 'unit')}`;
  }
  const shown = lack.ranges
    .slice(0, RANGES_TOLD)
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
      return { ...describeObject(cache, volumeId, objectId), units: count ?? null, missing };
    }),
    byPrefix: byPrefix.map(lack => ({
      ...describeObject(cache, lack.volumeId, lack.objectId),
      missing: describeLack(lack),
    })),
    moreByPrefix,
  };
}

function describeObject(cache: Cache, volumeId: Uint8Array, objectId: Uint8Array): Record<string, unknown> {
  const cookie = cookieKeyOf(cache.volume(volumeId), objectId);
  const name = cookie === undefined ? {} : nameFields('cookie', toBytesName(cookie));
  return { volume: toHex(volumeId), object: toHex(objectId), ...name };
}

function describeLack(lack: Lack | undefined): Record<string, unknown> {
  return { units: lack?.units ?? 0, ranges: lack?.ranges ?? [], rangeCount: lack?.rangeCount ?? 0 };
}
