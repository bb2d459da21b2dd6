/**
 * Opens a cache: takes the lock, opens keys and database, and loads the index and the dirty zones. Nothing is
 * wiped because of a crash: `core/load.ts` makes the index again.
 */

import { rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { requireCallback, requireObject, requireText, shownValue } from '../base/arguments.ts';
import { NetsealError, requireArgument, systemCodeOf } from '../base/errors.ts';
import { createVolumeHeader } from '../keys/unlock.ts';
import type { VolumeHeader } from '../keys/volume-header.ts';
import { makeFolders, syncFolder } from '../system/folders.ts';
import { chooseProviders, type ProviderSettings } from '../unit/providers.ts';
import { type CacheKey, CacheKeys, HEADER_PATH } from './base/cache-keys.ts';
import { type CacheFiles, readWhole, removeStray, systemFiles } from './base/files.ts';
import { guarded } from './base/guarded.ts';
import { Health } from './base/health.ts';
import { OwnerLock } from './base/owner-lock.ts';
import { Seals } from './base/seals.ts';
import {
  type CacheSettings,
  checkCacheSettings,
  decodeKept,
  encodeKept,
  type KeptSettings,
  keepSettings,
  requireDisk,
} from './base/settings.ts';
import { primaryCodeOf } from './base/sqlite.ts';
import { type CacheEvent, Lifetime, newCounters, type ProblemKind } from './base/statistics.ts';
import { Cache, COUNTERS_ROW } from './cache.ts';
import { Core } from './core/core.ts';
import { loadZones } from './core/load.ts';
import { Fingerprinter } from './index/fingerprints.ts';
import type { CacheContext } from './rows/cache-context.ts';
import { Rows } from './rows/rows.ts';
import { SNAPSHOT_ASIDE_PATH, SNAPSHOT_PATH } from './zones/snapshot.ts';
import { ZONE_FOLDERS, zoneNameOf } from './zones/zones.ts';

/** What a cache works with, beside its settings: its key, and stand-ins for the system. */
export interface CacheComponents {
  readonly key: CacheKey;
  /** Returns the time in milliseconds since 1970. It may jump. Default: the system's clock. */
  readonly nowMs?: () => number;
  /**
   * Returns the time in milliseconds since any moment. It never jumps. The cache measures by it how long
   * reads take. Default: `performance.now`.
   */
  readonly monotonicMs?: () => number;
  /** Called when a kind of problem occurs, and again only after a minute without it. */
  readonly onProblem?: (kind: ProblemKind, error: unknown) => void;
  readonly onEvent?: (event: CacheEvent) => void;
  /** Does the calls on files below the cache's folder. Tests make them fail. */
  readonly files?: CacheFiles;
  readonly providers?: ProviderSettings;
}

/**
 * Opens the cache in folder `path`, or makes one if there is none. No other process can open it until it is
 * closed. After the budget was made smaller, it is reached bit by bit. With another `unitsMax`, the index is
 * made anew from the zones.
 *
 * - ENOENT when there is no cache and no slots for a new one are given; nothing is made then.
 * - EDENIED, naming the owner, while another process has the cache open.
 * - EKEY, EAUTH, EFORMAT as unlocking a header throws them.
 * - EUNSUPPORTED when a newer netseal made the cache, or this Node has no SQLite.
 * - EINVAL for settings out of range.
 * - EIO, EFULL or EDENIED when the folder cannot be used.
 */
export async function openCache(
  path: string,
  settings: CacheSettings,
  components: CacheComponents,
): Promise<Cache> {
  requireObject('settings', settings);
  requireDisk(settings.disk);
  // Without `disk`: its three limits can be checked only together with those that are remembered.
  checkCacheSettings({ ...settings, disk: false });
  requireText('path', path);
  requireArgument(path !== '' && !path.includes('\0'), `a cache needs a folder, not ${shownValue(path)}`);
  checkComponents(components);
  const { nowMs = Date.now, monotonicMs = () => performance.now() } = components;
  const onProblem = guarded(components.onProblem ?? (() => undefined));
  const onEvent = guarded(components.onEvent ?? (() => undefined));
  const files = components.files ?? systemFiles(path);
  if (components.key !== 'memory' && components.key.slots === undefined) await requireCache(files, path);
  // Before anything is made: a label or a clock that cannot be in a header leaves nothing behind.
  const made = await makeHeader(files, components.key);
  let lock: OwnerLock | undefined;
  let keys: CacheKeys | undefined;
  let rows: Rows | undefined;
  try {
    await makeFolder(path);
    lock = OwnerLock.acquire(path, nowMs());
    for (const folder of ['', ...Object.values(ZONE_FOLDERS)]) await files.makeFolder(folder);
    await files.syncFolder('');
    keys = await CacheKeys.open(files, components.key, made, {
      hasDirty: () => hasDirty(files),
      clear: () => removeEverything(files),
    });
    const counters = newCounters();
    const health = new Health(counters, nowMs, onProblem, onEvent);
    const seals = new Seals(keys.keyring, await chooseProviders(components.providers));
    const key = seals.fingerprintKey();
    const fingerprinter = new Fingerprinter(key);
    key.fill(0);
    rows = openRows(files, seals, health);
    const kept = keepSettings(readKept(rows, fingerprinter), settings);
    const ownLock = lock;
    const context: CacheContext = {
      folder: path,
      settings: checkCacheSettings({ ...settings, ...kept }),
      files,
      seals,
      rows,
      fingerprinter,
      health,
      counters,
      nowMs,
      monotonicMs,
      onEvent,
      hasFolder: () => ownLock.isHeld,
    };
    const core = new Core(context, lock, keys);
    await loadZones(core);
    // With a key in memory nobody can read the rows again.
    if (components.key !== 'memory') saveKept(rows, fingerprinter, kept);
    const saved = rows.get('setting', fingerprinter.name(COUNTERS_ROW));
    return new Cache(core, keys, lock, new Lifetime(saved, counters, nowMs()));
  } catch (error) {
    rows?.close();
    keys?.destroy();
    made?.keyring.destroy();
    lock?.release();
    if (systemCodeOf(error) === undefined && primaryCodeOf(error) === undefined) throw error;
    throw Health.errorOf(`the cache cannot be opened: ${path}`, error);
  }
}

function checkComponents(components: CacheComponents): void {
  requireObject('components', components);
  const { key, nowMs, monotonicMs, onProblem, onEvent, providers } = components;
  if (key !== 'memory') requireObject('components.key', key);
  requireCallback('components.nowMs', nowMs);
  requireCallback('components.monotonicMs', monotonicMs);
  requireCallback('components.onProblem', onProblem);
  requireCallback('components.onEvent', onEvent);
  if (providers !== undefined) requireObject('components.providers', providers);
}

const DATABASE = 'cache.db';

/**
 * ENOENT when there is no cache. Called before anything is made, so that a caller without slots leaves
 * nothing behind.
 */
async function requireCache(files: CacheFiles, path: string): Promise<void> {
  try {
    if ((await readWhole(files, HEADER_PATH, 1)) !== undefined) return;
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOTDIR') throw Health.errorOf(`the cache cannot be opened: ${path}`, error);
  }
  throw new NetsealError('ENOENT', `there is no cache in ${path}`);
}

/** Makes the header of a new cache; undefined when there is one, or the key is to be in memory. */
async function makeHeader(files: CacheFiles, key: CacheKey): Promise<VolumeHeader | undefined> {
  if (key === 'memory' || key.slots === undefined) return undefined;
  // What cannot be looked at is told about when it is opened.
  const isThere = await readWhole(files, HEADER_PATH, 1).then(
    bytes => bytes !== undefined,
    () => true,
  );
  return isThere ? undefined : await createVolumeHeader({ ...key.options, slots: key.slots });
}

/** The name of the row, of kind `setting`, that keeps the settings. */
const SETTINGS_ROW = 'settings';

function readKept(rows: Rows, fingerprinter: Fingerprinter): KeptSettings {
  const bytes = rows.get('setting', fingerprinter.name(SETTINGS_ROW));
  return bytes === undefined ? {} : decodeKept(bytes);
}

function saveKept(rows: Rows, fingerprinter: Fingerprinter, kept: KeptSettings): void {
  const name = fingerprinter.name(SETTINGS_ROW);
  const bytes = encodeKept(kept);
  if (Buffer.compare(bytes, rows.get('setting', name) ?? new Uint8Array(0)) !== 0)
    rows.put('setting', name, bytes);
}

function openRows(files: CacheFiles, seals: Seals, health: Health): Rows {
  const path = files.databasePath(DATABASE);
  const note = (error: unknown): void => {
    health.note(error);
  };
  return new Rows(path, seals, note, error => {
    note(error);
    removeDatabase(path);
  });
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${path}${suffix}`, { force: true });
}

/** True when there is a file that may have dirty batches in it. */
async function hasDirty(files: CacheFiles): Promise<boolean> {
  for (const name of await files.list(ZONE_FOLDERS.dirty)) {
    if (zoneNameOf(name) === undefined) continue;
    const path = `${ZONE_FOLDERS.dirty}/${name}`;
    try {
      if (((await readWhole(files, path, 1))?.byteLength ?? 0) > 0) return true;
    } catch (error) {
      // A folder, link or device under such a name is not the cache's.
      if (!['EISDIR', 'ELOOP', 'ENXIO'].includes(systemCodeOf(error) ?? '')) throw error;
    }
  }
  return false;
}

/** Removes everything that was sealed with keys that are gone. */
async function removeEverything(files: CacheFiles): Promise<void> {
  for (const folder of Object.values(ZONE_FOLDERS)) {
    for (const name of await files.list(folder)) await removeStray(files, `${folder}/${name}`);
    // The removals must reach the disk before the file goes that says why they are allowed.
    await files.syncFolder(folder);
  }
  for (const path of [SNAPSHOT_PATH, SNAPSHOT_ASIDE_PATH]) await files.remove(path);
  removeDatabase(files.databasePath(DATABASE));
}

/**
 * Makes the cache's folder. If it was not there, syncs the folders above, so that it survives a power cut.
 */
async function makeFolder(path: string): Promise<void> {
  const first = await makeFolders(path, 0o700);
  if (first === undefined) return;
  for (let at = resolve(path); at.length >= resolve(first).length; at = dirname(at)) {
    await syncFolder(dirname(at));
  }
}
