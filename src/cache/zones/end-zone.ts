/** Ends a zone of clean units with a footer, from which the next opening reads what is in it. */
import { type CacheFile, writeFully } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import { encodeFooter } from './zone-format.ts';
import type { Zone, Zones } from './zones.ts';

/**
 * Writes the footer of a zone and declares the zone full. Never rejects: when the footer cannot be written,
 * `onFailure` is told, and the zone keeps its list in memory and serves until the cache is closed.
 *
 * @param file where to write the footer: the zone's own file by default.
 */
export async function endZone(
  seals: Seals,
  zones: Zones,
  zone: Zone,
  onFailure: (error: unknown) => void,
  file: CacheFile | undefined = zone.file,
): Promise<void> {
  const { list } = zone;
  // Before anything else, so that nothing is written behind the footer.
  zone.isFull = true;
  // Others close full zones and give them up; a pinned one waits.
  const isHeld = zones.pin(zone);
  try {
    if (!isHeld || list === undefined || file === undefined) throw new Error('the zone is not open');
    await writeFooter(seals, zone, list.encode(zone), file);
    zone.list = undefined;
  } catch (error) {
    onFailure(error);
  } finally {
    if (isHeld) zones.unpin(zone);
  }
  zones.finish(zone);
}

async function writeFooter(seals: Seals, zone: Zone, list: Uint8Array, file: CacheFile): Promise<void> {
  const parts = encodeFooter(seals, zone.name, list, zone.endBytes);
  await writeFully(file, parts, zone.endBytes);
  zone.fileBytes = zone.endBytes + parts.reduce((sum, part) => sum + part.byteLength, 0);
  // A failed write may have left bytes behind the footer, and the end of the file would pass for the trailer.
  await file.truncate(zone.fileBytes);
}
