/**
 * Recognises folders that netseal itself uses: the store in use, the state folder, caches. `put` leaves them
 * out, and `get` never writes into them.
 *
 * - Folders are compared by device and inode, so a symbolic link or a bind mount of one is recognised, too.
 * - A bind mount of a folder anywhere inside an own folder counts as that folder, where the system lists its
 *   mounts (Linux). On other systems, only bind mounts of the folder's direct subfolders are recognised. A
 *   bind mount of a single file never is.
 * - A cache is recognised by the files in it, wherever it lies. Reading its `lock` would release the lock.
 */
import * as fs from 'node:fs';
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { nameBytes, toBytesName } from '../volume/names/name-checks.ts';
import type { OwnFolder } from '../volume/volume.ts';
import { FolderHandle, LOOK_FLAGS, lookAt, openAt, statOf } from './local-calls.ts';
import { showName } from './local-names.ts';
import { mountPointsWithin, readMountInfo } from './own-mounts.ts';

const CACHE = 'a netseal cache';
/** Files that every cache has. */
const CACHE_NAMES: readonly Name[] = ['cache.db', 'lock'];
/** A cache has one of these files; it begins with these bytes. */
const CACHE_SIGNS: readonly (readonly [Name, Buffer])[] = [
  ['header', Buffer.from('nShd')],
  ['memory', Buffer.from('the key of this cache ')],
];

export class OwnStorage {
  readonly #whatByKey = new Map<string, string>();

  /** @param folders those that do not exist are left out. */
  constructor(folders: readonly OwnFolder[]) {
    const mountInfo = readMountInfo();
    for (const { path, what } of folders) {
      const handle = openFolder(toBytesName(path));
      if (handle === undefined) continue;
      this.#add(handle, what);
      handle.close();
      for (const point of mountPointsWithin(realPath(toBytesName(path)), mountInfo))
        this.#addMount(point, what);
    }
  }

  /** Says what an open folder holds if it is one of netseal's own; undefined for all others. */
  whatIs(folder: FolderHandle): string | undefined {
    return this.#whatByKey.get(keyOf(statOf(folder.fd))) ?? (isCache(folder) ? CACHE : undefined);
  }

  /**
   * Throws EINVAL if a path is one of netseal's own folders, or lies in one. The path may lead through
   * symbolic links; what does not exist is judged by the folder that it would lie in.
   *
   * @param action completes `cannot ...`: `copy`, `write to`.
   */
  requireOutside(action: string, path: Name): void {
    for (let at = realPath(path); ; at = parentOf(at)) {
      const handle = openFolder(at);
      try {
        const what = handle === undefined ? undefined : this.whatIs(handle);
        if (what !== undefined) {
          throw new NetsealError('EINVAL', `cannot ${action} ${showName(path)}: it belongs to ${what}`);
        }
      } finally {
        handle?.close();
      }
      if (at === '/') return;
    }
  }

  #add(folder: FolderHandle, what: string): void {
    this.#note(folder, what);
    for (const entry of fs.readdirSync(nameBytes(folder.through), {
      withFileTypes: true,
      encoding: 'buffer',
    })) {
      if (!entry.isDirectory()) continue;
      const child = attempt(() => folder.child(toBytesName(entry.name)));
      if (child === undefined) continue;
      this.#note(child, what);
      child.close();
    }
  }

  #addMount(point: Name, what: string): void {
    const handle = openFolder(point);
    if (handle === undefined) return;
    this.#note(handle, what);
    handle.close();
  }

  #note(folder: FolderHandle, what: string): void {
    const key = keyOf(statOf(folder.fd));
    if (!this.#whatByKey.has(key)) this.#whatByKey.set(key, what);
  }
}

function isCache(folder: FolderHandle): boolean {
  return (
    CACHE_NAMES.every(name => attempt(() => lookAt(folder, name))?.type === 'file') &&
    CACHE_SIGNS.some(([name, sign]) => sign.equals(startOf(folder, name, sign.length)))
  );
}

/** Returns the first bytes of an ordinary file in a folder; none if there is no such file. */
function startOf(folder: FolderHandle, name: Name, lengthBytes: number): Buffer {
  const fd = attempt(() => openAt(folder, name, LOOK_FLAGS));
  if (fd === undefined) return Buffer.alloc(0);
  try {
    const bytes = Buffer.alloc(lengthBytes);
    return bytes.subarray(0, attempt(() => fs.readSync(fd, bytes, 0, lengthBytes, 0)) ?? 0);
  } finally {
    fs.closeSync(fd);
  }
}

/** Returns the path without symbolic links; of a path that does not exist, that of its nearest parent. */
function realPath(path: Name): Name {
  for (let at = path; ; at = parentOf(at)) {
    const real = attempt(() =>
      fs.realpathSync.native(nameBytes(at === '' ? '.' : at), { encoding: 'buffer' }),
    );
    if (real !== undefined) return toBytesName(real);
    if (at === '/' || at === '') return '/';
  }
}

/** Returns the path without its last name: `/` for `/a`, the empty path for `a`. */
function parentOf(path: Name): Name {
  const trimmed = path.replace(/\/+$/, '');
  const end = trimmed.lastIndexOf('/');
  if (end > 0) return trimmed.slice(0, end);
  return path.startsWith('/') ? '/' : '';
}

function openFolder(path: Name): FolderHandle | undefined {
  return attempt(() => FolderHandle.open(path));
}

/** Returns undefined where the file system refuses: what cannot be looked at cannot be recognised. */
function attempt<Result>(look: () => Result): Result | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

function keyOf({ device, inode }: { readonly device: number; readonly inode: bigint }): string {
  return `${device} ${inode}`;
}
