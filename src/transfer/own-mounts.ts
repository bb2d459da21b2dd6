/**
 * Finds the other places at which a folder, or a part of it, is mounted: bind mounts. Linux lists them in
 * `/proc/self/mountinfo`, one a line:
 *
 *   36 35 98:0 /inner /mount/point rw,noatime ...   ids, device, what of the file system is mounted, where
 *
 * Nothing else tells that a bind mount from deep inside a folder belongs to it: its `..` is the folder that
 * it is mounted in.
 */
import { readFileSync } from 'node:fs';
import type { Name } from '../base/name.ts';

interface Mount {
  readonly device: string;
  /** The folder within the file system that is mounted. */
  readonly root: Name;
  readonly point: Name;
}

/** Returns the system's list of mounts; an empty text where there is none. */
export function readMountInfo(): string {
  try {
    return readFileSync('/proc/self/mountinfo', 'latin1');
  } catch {
    return '';
  }
}

/**
 * Returns the mount points of all folders within `path`. Those that `path` itself is reached by are included.
 *
 * @param path absolute, without symbolic links.
 * @param mountInfo what {@link readMountInfo} returned.
 */
export function mountPointsWithin(path: Name, mountInfo: string): Name[] {
  const mounts = mountInfo.split('\n').flatMap(parseMount);
  // Of several mounts at one place, the last one counts.
  const holder = mounts.findLast(
    ({ point }) =>
      isWithin(path, point) &&
      mounts.every(other => !isWithin(path, other.point) || isWithin(point, other.point)),
  );
  if (holder === undefined) return [];
  const inner = joined(holder.root, path.slice(trimmed(holder.point).length));
  return mounts
    .filter(({ device, root }) => device === holder.device && isWithin(root, inner))
    .map(({ point }) => point);
}

function parseMount(line: string): Mount[] {
  const [, , device, root, point] = line.split(' ');
  if (device === undefined || root === undefined || point === undefined) return [];
  return [{ device, root: unescaped(root), point: unescaped(point) }];
}

/** Returns a field without its escapes: `\040` stands for a space. */
function unescaped(field: string): Name {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** True for the folder itself, too. */
function isWithin(path: Name, folder: Name): boolean {
  return path === folder || path.startsWith(`${trimmed(folder)}/`);
}

function joined(folder: Name, rest: Name): Name {
  const path = `${trimmed(folder)}${rest}`;
  return path === '' ? '/' : path;
}

function trimmed(folder: Name): Name {
  return folder === '/' ? '' : folder;
}
