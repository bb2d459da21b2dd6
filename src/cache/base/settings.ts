/**
 * Settings of a cache: plain values, checked once, at open. Settings of the cache itself are remembered in
 * its database; settings of the process that uses it are not.
 */
import { requireFlag, requireInteger, requireObject } from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import { KIB, MIB } from '../../base/geometry.ts';

/**
 * The first five are remembered: a setting that is left out has the value that was last given. One that was
 * never given has its default, by the present budget. A remembered `zoneBytes` that is too long for a smaller
 * budget is forgotten.
 */
export interface CacheSettings {
  /** Bytes that clean units may take on the disk. Default 1 GiB. Dirty units come on top. */
  readonly budgetBytes?: number;
  /**
   * How many units the index has room for; it takes 47 bytes of memory for each, once used. Default: one per
   * 32 KiB of the budget.
   */
  readonly unitsMax?: number;
  /** Length of a zone. Default: a 64th of the budget, from 2 to 32 MiB, but at most a 32nd of the budget. */
  readonly zoneBytes?: number;
  /** Percent of the budget for units that were not asked for again yet. Default 10. */
  readonly smallPercent?: number;
  /**
   * How much of the disk the cache leaves free for others, in percent of its blocks and of its files; 0 ≤
   * stop < cull < run < 100. Each of the three is remembered by itself. False: only the budget counts.
   *
   * - Below `cull`, default 5, units are given up until both are at `run`, default 7.
   * - Below `stop`, default 1, the cache takes no new room.
   */
  readonly disk?: Partial<DiskLimits> | false;
  /** Bytes that `offer` keeps in memory until they are written. Default 32 MiB. */
  readonly queueBytes?: number;
  /**
   * Time between two rounds of maintenance, in ms: looking at the disk, snapshots, new attempts after a
   * failure. Default 1,000; 0 for never.
   */
  readonly maintenanceMs?: number;
  /** A snapshot of the index is taken when this many zones have filled since the last. Default 64. */
  readonly snapshotZones?: number;
  /**
   * How many rows the database keeps of objects (invalidations, coherency data), and how many of cookies.
   * Default 262,144.
   */
  readonly rowsMax?: number;
  /**
   * Whether small reads block this thread while they come out of the page cache, which is faster. Default
   * true.
   */
  readonly readsOnThisThread?: boolean;
}

export interface DiskLimits {
  readonly runPercent: number;
  readonly cullPercent: number;
  readonly stopPercent: number;
}

export type CheckedSettings = Required<Omit<CacheSettings, 'disk'>> & { readonly disk: DiskLimits | false };

const KEPT = ['budgetBytes', 'unitsMax', 'zoneBytes', 'smallPercent', 'disk'] as const;

/** The remembered settings, as far as they were ever given. */
export type KeptSettings = Pick<CacheSettings, (typeof KEPT)[number]>;

export const DISK_DEFAULT: DiskLimits = { runPercent: 7, cullPercent: 5, stopPercent: 1 };

const BUDGET_BYTES_DEFAULT = 1024 * MIB;
const BUDGET_BYTES_MIN = 256 * KIB;
const ZONE_BYTES_MIN = 8 * KIB;
const ZONE_BYTES_MAX = 64 * MIB;
const UNITS_MAX = 100_000_000;

/** Returns what to remember: `given`, and what was `kept` before where `given` has nothing. */
export function keepSettings(kept: KeptSettings, given: CacheSettings): KeptSettings {
  const { budgetBytes, unitsMax, zoneBytes, smallPercent, disk } = given;
  const news = withoutUndefined({ budgetBytes, unitsMax, zoneBytes, smallPercent });
  const all = { ...kept, ...news, ...(disk === undefined ? {} : { disk: joinDisk(kept.disk, disk) }) };
  // A length that fitted a larger budget must not keep the cache from opening.
  const fits = all.zoneBytes === undefined || all.zoneBytes <= zoneBytesMax(all.budgetBytes);
  if (fits || zoneBytes !== undefined) return all;
  const { zoneBytes: _, ...rest } = all;
  return rest;
}

/** Encodes the settings for their row. */
export function encodeKept(kept: KeptSettings): Uint8Array {
  return Buffer.from(JSON.stringify(kept));
}

/**
 * Decodes what {@link encodeKept} made. Returns no settings when the bytes are malformed, or a value is out
 * of range.
 */
export function decodeKept(bytes: Uint8Array): KeptSettings {
  try {
    const kept = JSON.parse(Buffer.from(bytes).toString('utf8')) as KeptSettings;
    checkCacheSettings(kept);
    return kept;
  } catch {
    return {};
  }
}

function joinDisk(
  kept: CacheSettings['disk'],
  given: Partial<DiskLimits> | false,
): Partial<DiskLimits> | false {
  if (given === false || kept === undefined || kept === false) return given;
  return { ...kept, ...withoutUndefined(given) };
}

function withoutUndefined<Values extends object>(values: Values): Partial<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<Values>;
}

function zoneBytesMax(budgetBytes: number = BUDGET_BYTES_DEFAULT): number {
  return Math.min(ZONE_BYTES_MAX, budgetBytes / 8);
}

/** Throws EINVAL unless these are limits of a disk, false, or nothing. */
export function requireDisk(disk: unknown): void {
  if (disk !== undefined && disk !== false) requireObject('disk', disk);
}

/** Fills in defaults. EINVAL when a value is out of range. */
export function checkCacheSettings(settings: CacheSettings): CheckedSettings {
  requireObject('settings', settings);
  for (const [name, value] of Object.entries(settings)) {
    requireArgument(value !== null, `${name} must not be null: leave it out for its default`);
  }
  requireFlag('readsOnThisThread', settings.readsOnThisThread);
  requireDisk(settings.disk);
  const { budgetBytes = BUDGET_BYTES_DEFAULT } = settings;
  requireArgument(
    Number.isSafeInteger(budgetBytes) && budgetBytes >= BUDGET_BYTES_MIN,
    `the budget of a cache must be at least ${BUDGET_BYTES_MIN} bytes, not ${budgetBytes}`,
  );
  const checked: CheckedSettings = {
    budgetBytes,
    unitsMax: settings.unitsMax ?? Math.min(UNITS_MAX, Math.max(1024, Math.ceil(budgetBytes / (32 * KIB)))),
    zoneBytes: settings.zoneBytes ?? zoneBytesDefault(budgetBytes),
    smallPercent: settings.smallPercent ?? 10,
    disk: settings.disk === false ? false : { ...DISK_DEFAULT, ...withoutUndefined(settings.disk ?? {}) },
    queueBytes: settings.queueBytes ?? 32 * MIB,
    maintenanceMs: settings.maintenanceMs ?? 1000,
    snapshotZones: settings.snapshotZones ?? 64,
    rowsMax: settings.rowsMax ?? 262_144,
    readsOnThisThread: settings.readsOnThisThread ?? true,
  };
  requireInteger('unitsMax', checked.unitsMax, 1, UNITS_MAX);
  checkRange('zoneBytes', checked.zoneBytes, ZONE_BYTES_MIN, zoneBytesMax(budgetBytes));
  checkRange('smallPercent', checked.smallPercent, 1, 90);
  checkRange('queueBytes', checked.queueBytes, 0, 2 ** 31);
  checkRange('maintenanceMs', checked.maintenanceMs, 0, 2 ** 31 - 1);
  requireInteger('snapshotZones', checked.snapshotZones, 1, 1_000_000);
  requireInteger('rowsMax', checked.rowsMax, 16, 2 ** 31);
  checkDisk(checked.disk);
  return checked;
}

/**
 * The length of dirty zones. They are at least as long as clean ones: each new one costs a sync of its
 * folder, and they come on top of the budget. When all its units are released, a dirty zone becomes a clean
 * one.
 */
export function dirtyZoneBytes({ budgetBytes, zoneBytes }: CheckedSettings): number {
  return Math.max(zoneBytes, Math.min(32 * MIB, Math.floor(budgetBytes / 32)));
}

/**
 * Whole zones are given up, so with many short ones more useful units stay. But each wastes some room at its
 * end.
 */
function zoneBytesDefault(budgetBytes: number): number {
  const manyBytes = Math.min(32 * MIB, Math.max(2 * MIB, Math.floor(budgetBytes / 64)));
  return Math.min(manyBytes, Math.floor(budgetBytes / 32));
}

function checkRange(name: string, value: number, min: number, max: number): void {
  requireArgument(
    Number.isFinite(value) && value >= min && value <= max,
    `${name} must be from ${min} to ${max}, not ${value}`,
  );
}

function checkDisk(disk: DiskLimits | false): void {
  if (disk === false) return;
  const { stopPercent, cullPercent, runPercent } = disk;
  requireArgument(
    stopPercent >= 0 && stopPercent < cullPercent && cullPercent < runPercent && runPercent < 100,
    `disk limits must be 0 <= stop < cull < run < 100, not ${stopPercent}, ${cullPercent}, ${runPercent}`,
  );
}
