/**
 * Makes the index of a cache again when it is opened: from the snapshot, from the footers of zones that filled
 * after it, and from dirty zones. A zone of clean units without a footer was open at a crash, and is removed.
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

/** Loads clean and dirty zones. Errors of single zones are reported to the cache's health; others come as they are. */
export async function loadZones(core: Core): Promise<void> {
  const isAllInSnapshot = await loadClean(core);
  await loadDirty(core);
  if (isAllInSnapshot) core.maintenance.holdSnapshotCurrent();
}

/** Makes the index from the snapshot and the footers of zones that it does not know. True when it knows all of them. */
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
  // What the snapshot has of zones that are gone must not point into new ones.
  unitIndex.recount();
  for (const name of names.values()) await loadZone(core, name);
  zones.sortQueues();
  return snapshot !== undefined && names.size === 0;
}

/** Undefined when there is none that can be used. */
async function readKnown(core: Core): Promise<readonly SnapshotZone[] | undefined> {
  const { unitIndex } = core;
  const { files, seals, health } = core.context;
  try {
    return await readSnapshot(files, seals, unitIndex.table);
  } catch (error) {
    unitIndex.table.words.fill(0);
    // There may never have been one.
    if (systemCodeOf(error) !== 'ENOENT') health.note(error);
    return undefined;
  }
}

/** A zone that filled after the snapshot; without a footer it was open at a crash, and goes. */
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

function enterAll(core: Core, zone: Zone, list: DecodedList): void {
  const { objects, unitIndex } = core;
  const fingerprint = newFingerprint();
  for (let at = 0; at < list.count; at += 1) {
    const entry = list.entry(at);
    const object = objects.objectOf(entry);
    // Invalidated since.
    if (object === undefined || !equalPrefixes(object.prefix, list.prefix(entry.objectNumber))) continue;
    fingerprintOf(object.prefix, entry.index, fingerprint);
    const known = unitIndex.find(fingerprint);
    const before = known === undefined ? undefined : core.zones.get(known.entry.zoneId);
    // The later one counts, in whatever order zones are read.
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

/** Finds every acknowledged batch that was not released. */
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
      // Not removed: it may be readable the next time.
      health.note(error);
      await zones.giveUp(zone, true);
      isComplete = false;
    }
  }
  await dirty.adoptEnd(isComplete);
}
