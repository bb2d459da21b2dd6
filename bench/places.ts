/** The places where file access is measured: in memory and on the disk. Reports name the place. */
import { existsSync, statfsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

export type PlaceName = 'tmpfs' | 'disk';

/** The `f_type` of statfs(2). */
const TMPFS_MAGIC = 0x01021994;
const CHECKOUT: string = fileURLToPath(new URL('..', import.meta.url));

export function isTmpfs(folder: string): boolean {
  return existsSync(folder) && statfsSync(folder).type === TMPFS_MAGIC;
}

/** Returns the folders to measure in. Places that the machine lacks, or that have no room, are left out. */
function foldersOf(roomBytes: number): (readonly [PlaceName, string])[] {
  const places: (readonly [PlaceName, string | undefined])[] = [
    ['tmpfs', ['/dev/shm', tmpdir()].find(isTmpfs)],
    ['disk', [tmpdir(), CHECKOUT].find(folder => !isTmpfs(folder))],
  ];
  return places.flatMap(([name, folder]) => {
    if (folder === undefined) return [];
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= roomBytes ? [[name, folder] as const] : [];
  });
}

/**
 * Runs `work` in a new folder at each place that has `roomBytes` left, and removes the folder afterwards.
 * Throws when there is no such place.
 */
export async function inEachPlace<Result>(
  roomBytes: number,
  work: (folder: string, place: PlaceName) => Promise<readonly Result[]>,
): Promise<Result[]> {
  const places = foldersOf(roomBytes);
  if (places.length === 0) throw new Error(`no place has ${roomBytes} bytes left`);
  const results: Result[] = [];
  for (const [place, parent] of places) {
    const folder = await mkdtemp(`${parent}/netseal-bench-`);
    try {
      results.push(...(await work(folder, place)));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return results;
}
