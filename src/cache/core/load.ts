/**
 * Makes the index again when a cache is opened: from the snapshot, from the footers of zones that filled
 * after it was taken, and from the dirty zones. A clean zone without a footer was open at a crash, and is
 * removed.
 */
import { toHex } from '../../base/bytes.ts';
import { isDamage, systemCodeOf } from '../../base/errors.ts';
import { removeStray } from '../base/files.ts';
import { tagWords } from '../clean/unit-index.ts';
import { equalPrefixes, fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import { ENTRY_PINNED } from '../index/index-table.ts';
import { readSnapshot, SNAPSHOT_ASIDE_PATH, type SnapshotZone } from '../zones/snapshot.ts';
import { type DecodedList, readFooter } from '../zones/zone-format.ts';
import { ZONE_FOLDERS, type Zone, zoneNameOf } from '../zones/zones.ts';
import type { Core } from './core.ts';

/**
 * Loads clean and dirty zones. Reports errors of single zones to the cache's health. Other errors are thrown.
 */
export async function loadZones(core: Core): Promise<void> {
  const isAllInSnapshot = await loadClean(core);
  await loadDirty(core);
  if (isAllInSnapshot) core.maintenance.holdSnapshotCurrent();
}

/** Loads the snapshot, and the footers of zones that are not in it. True when the snapshot had all zones. */
async function loadClean(core: Core): Promise<boolean> {
  const { zones, unitIndex } = core;
  const { files } = core.context;
  await files.remove(SNAPSHOT_ASIDE_PATH);
  const names = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const fileName of await files.list(ZONE_FOLDERS.clean)) {
    const name = zoneNameOf(fileName);
    if (name === undefined) await removeStray(files, `${ZONE_FOLDERS.clean}/${fileName}`);
    else names.set(fileName, name);
  }
  const snapshot = await readKnown(core);
  for (const known of snapshot ?? []) {
    if (!names.has(toHex(known.name))) continue;
    const { name, queue, sequence, id, fileBytes } = known;
    if (zones.adopt(name, queue, sequence, id, fileBytes) !== undefined) names.delete(toHex(name));
  }
  // Frees entries of zones that are gone, before new zones take their slots.
  unitIndex.recount();
  for (const name of names.values()) await loadZone(core, name);
  zones.sortQueues();
  return snapshot !== undefined && names.size === 0;
}

/**
 * Reads the snapshot into the index. Returns its zones; undefined when there is no snapshot that can be used.
 */
async function readKnown(core: Core): Promise<readonly SnapshotZone[] | undefined> {
  const { unitIndex } = core;
  const { files, seals, health } = core.context;
  try {
    return await readSnapshot(files, seals, unitIndex.table);
  } catch (error) {
    unitIndex.table.words.fill(0);
    // ENOENT: no snapshot was ever taken.
    if (systemCodeOf(error) !== 'ENOENT') health.note(error);
    return undefined;
  }
}

/** Loads a zone that is not in the snapshot from its footer. Removes the zone when it has none. */
async function loadZone(core: Core, name: Uint8Array<ArrayBuffer>): Promise<void> {
  const { zones } = core;
  const { files, seals, health } = core.context;
  const path = `${ZONE_FOLDERS.clean}/${toHex(name)}`;
  try {
    const file = await files.open(path, 'read');
    const { list, fileBytes } = await readFooter(seals, file, name).finally(() => file.close());
    const { queue, sequence, id } = list.header;
    const zone =
      zones.adopt(name, queue, sequence, id, fileBytes) ??
      zones.adopt(name, queue, sequence, zones.newId(), fileBytes);
    if (zone !== undefined) enterAll(core, zone, list);
  } catch (error) {
    if (isDamage(error) || systemCodeOf(error) === 'EIO') await files.remove(path).catch(() => undefined);
    else health.note(error);
  }
}

/** Enters the units of a zone into the index, except those that were invalidated or have a later version. */
function enterAll(core: Core, zone: Zone, list: DecodedList): void {
  const { objects, unitIndex } = core;
  const fingerprint = newFingerprint();
  for (let at = 0; at < list.count; at += 1) {
    const entry = list.entry(at);
    const object = objects.objectOf(entry);
    // The object was invalidated since the unit was stored.
    if (object === undefined || !equalPrefixes(object.prefix, list.prefix(entry.objectNumber))) continue;
    fingerprintOf(object.prefix, entry.index, fingerprint);
    const known = unitIndex.find(fingerprint);
    const before = known === undefined ? undefined : core.zones.get(known.entry.zoneId);
    // Of two versions the one in the later zone counts. Zones are read in no order.
    if (before !== undefined && before.sequence > zone.sequence) continue;
    unitIndex.insert(fingerprint, {
      ...tagWords(entry.tag),
      zoneId: zone.id,
      offsetBytes: entry.offsetBytes,
      lengthBytes: entry.lengthBytes,
      hits: 0,
      flags: zone.queue === 'pinned' ? ENTRY_PINNED : 0,
      volumeNumber: object.volume.number,
    });
  }
}

/** Loads dirty zones: finds every batch that was acknowledged and not released. */
async function loadDirty(core: Core): Promise<void> {
  const { zones, dirty } = core;
  const { files, health } = core.context;
  let isComplete = true;
  for (const fileName of await files.list(ZONE_FOLDERS.dirty)) {
    const name = zoneNameOf(fileName);
    if (name === undefined) continue;
    const zone = zones.adopt(name, 'dirty', 0, zones.newId(), 0);
    if (zone === undefined) continue;
    try {
      await dirty.adopt(zone);
    } catch (error) {
      // The zone is not removed: it may be readable the next time.
      health.note(error);
      await zones.giveUp(zone, true);
      isComplete = false;
    }
  }
  await dirty.adoptEnd(isComplete);
}
