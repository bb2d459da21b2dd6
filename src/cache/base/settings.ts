/**
 * Settings of a cache: plain values, checked once, at open. Those that are about the cache itself are remembered in it; those that
 * are about the process that works with it are not.
 */
import { requireArgument } from '../../base/errors.ts';
import { KIB, MIB } from '../../base/geometry.ts';

/**
 * The first five are remembered: left out at a later opening, each is what it was when it was last given, and a default follows from
 * the budget that holds now. (`zoneBytes` gives way where a smaller budget does not allow it.)
 */
export interface CacheSettings {
  /** What all clean units may take on the disk. Default 1 GiB. Dirty ones come on top. */
  readonly budgetBytes?: number;
  /** Units that the index has room for, 47 bytes of memory each once it is in use. Default: a unit for 32 KiB of the budget. */
  readonly unitsMax?: number;
  /** Length of a zone. Default a 64th of the budget, from 2 to 32 MiB, or a 32nd where that is less. */
  readonly zoneBytes?: number;
  /** Of the budget, what units that were not asked for again may take. Default 10. */
  readonly smallPercent?: number;
  /**
   * Percent of the disk that is free for others, 0 ≤ stop < cull < run < 100. Below `cull` of blocks or files, units are given up
   * until both are at `run`; below `stop` nothing takes new room. Default 7, 5, 1; false to look at the budget alone. Each of the
   * three is remembered by itself.
   */
  readonly disk?: Partial<DiskLimits> | false;
  /** What `offer` keeps until it is written. Default 32 MiB. */
  readonly queueBytes?: number;
  /** Time between two looks at the disk, snapshots that are due, and attempts after a failure, in ms. Default 1,000; 0 for never. */
  readonly maintenanceMs?: number;
  /** A snapshot is taken when so many zones have filled since the last. Default 64. */
  readonly snapshotZones?: number;
  /** Rows of each kind that the database keeps of objects (invalidations, coherency data, cookies). Default 262,144. */
  readonly rowsMax?: number;
  /** Small reads are done on this thread, as long as they come out of the page cache. Default true. */
  readonly readsOnThisThread?: boolean;
}

export interface DiskLimits {
  readonly runPercent: number;
  readonly cullPercent: number;
  readonly stopPercent: number;
}

export type CheckedSettings = Required<Omit<CacheSettings, 'disk'>> & { readonly disk: DiskLimits | false };

const KEPT = ['budgetBytes', 'unitsMax', 'zoneBytes', 'smallPercent', 'disk'] as const;

/** What was ever given of what a cache remembers. */
export type KeptSettings = Pick<CacheSettings, (typeof KEPT)[number]>;

export const DISK_DEFAULT: DiskLimits = { runPercent: 7, cullPercent: 5, stopPercent: 1 };

const BUDGET_BYTES_DEFAULT = 1024 * MIB;
const BUDGET_BYTES_MIN = 256 * KIB;
const ZONE_BYTES_MIN = 8 * KIB;
const ZONE_BYTES_MAX = 64 * MIB;
const UNITS_MAX = 100_000_000;

/** What to remember when `given` comes on top of what was `kept` before. */
export function keepSettings(kept: KeptSettings, given: CacheSettings): KeptSettings {
  const { budgetBytes, unitsMax, zoneBytes, smallPercent, disk } = given;
  const news = withoutUndefined({ budgetBytes, unitsMax, zoneBytes, smallPercent });
  const all = { ...kept, ...news, ...(disk === undefined ? {} : { disk: joinDisk(kept.disk, disk) }) };
  // What was right for a larger budget must not keep the cache from opening.
  const fits = all.zoneBytes === undefined || all.zoneBytes <= zoneBytesMax(all.budgetBytes);
  if (fits || zoneBytes !== undefined) return all;
  const { zoneBytes: _, ...rest } = all;
  return rest;
}

/** As a row of the cache has it. */
export function encodeKept(kept: KeptSettings): Uint8Array {
  return Buffer.from(JSON.stringify(kept));
}

/** Nothing where the bytes are not what {@link encodeKept} makes, or of what is out of range by now. */
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

/** Fills in defaults. EINVAL when a value is out of range. */
export function checkCacheSettings(settings: CacheSettings): CheckedSettings {
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
  checkRange('unitsMax', checked.unitsMax, 1, UNITS_MAX);
  checkRange('zoneBytes', checked.zoneBytes, ZONE_BYTES_MIN, zoneBytesMax(budgetBytes));
  checkRange('smallPercent', checked.smallPercent, 1, 90);
  checkRange('queueBytes', checked.queueBytes, 0, 2 ** 31);
  checkRange('maintenanceMs', checked.maintenanceMs, 0, 2 ** 31 - 1);
  checkRange('snapshotZones', checked.snapshotZones, 1, 1_000_000);
  checkRange('rowsMax', checked.rowsMax, 16, 2 ** 31);
  checkDisk(checked.disk);
  return checked;
}

/**
 * Of dirty zones, which are on top of the budget, and clean ones when all in them is released: longer, as each new one costs a sync of
 * its folder.
 */
export function dirtyZoneBytes({ budgetBytes, zoneBytes }: CheckedSettings): number {
  return Math.max(zoneBytes, Math.min(32 * MIB, Math.floor(budgetBytes / 32)));
}

/** What is given up goes by zones: with many of them more of what is asked for stays. Short ones waste room at their ends. */
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
