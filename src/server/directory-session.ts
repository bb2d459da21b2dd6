/**
 * A session: one process that writes to a directory store. It has a folder in `partial/` for files that are
 * not objects yet. It holds a lock in that folder as long as the process lives, so that no other process
 * removes them.
 *
 *   lock                     held for one step at a time: to compare and replace, to delete, to start and end
 *                            sessions
 *   partial/<id>/lock        held while its session lives
 *   partial/<id>/<number>    a file that is being written, or that is about to be removed
 *   partial/dead-<id>/       what is left of a session that ended; any process may remove it
 *
 * A process makes its session's folder and lock while it holds the store's lock. A session is declared dead,
 * by renaming its folder, only by a process that holds both locks. So a folder whose lock is free belongs to
 * a dead session, provided that the store's lock was held when the folder's was tried.
 */
import {
  close,
  closeSync,
  constants,
  fstatSync,
  fsync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlink,
  unlinkSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { toHex } from '../base/bytes.ts';
import { NetsealError, systemCodeOf } from '../base/errors.ts';
import { randomBytes } from '../base/random.ts';
import type { Scheduler } from '../base/scheduler.ts';
import { writevAsync } from '../system/file-bytes.ts';
import { Folder, openOrMakeFolder } from './directory-folders.ts';
import { type StoreModes, setMode } from './directory-modes.ts';
import { createLockFile, FileLock } from './file-lock.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fsyncAsync = promisify(fsync);
const unlinkAsync = promisify(unlink);

const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;

const SESSION_NAME = /^[0-9a-f]{32}$/;
const DEAD_PREFIX = 'dead-';
const LOCK_WAIT_MS_MAX = 10_000;
/** The most that one system call writes, so that an abort takes effect between two calls. */
const WRITE_BYTES_MAX = 16 * 1024 * 1024;
const WRITE_PARTS_MAX = 512;

export class DirectorySession {
  readonly #rootPath: string;
  readonly #modes: StoreModes;
  readonly #scheduler: Scheduler;
  readonly #partials: Folder;
  readonly #storeLock: FileLock;
  #own: { readonly id: string; readonly folder: Folder; readonly lock: FileLock } | undefined;
  #count = 0;

  /** @param rootPath the store's folder; no part of the path is a symbolic link. */
  static async start(rootPath: string, modes: StoreModes, scheduler: Scheduler): Promise<DirectorySession> {
    const partials = await openOrMakeFolder(`${rootPath}/partial`, modes);
    let storeLock: FileLock | undefined;
    try {
      const lockPath = `${rootPath}/lock`;
      createLockFile(lockPath, `${partials.path}/new-${toHex(randomBytes(16))}`, fd =>
        setMode(fd, modes.file),
      );
      storeLock = new FileLock(lockPath);
      const session = new DirectorySession(rootPath, modes, scheduler, partials, storeLock);
      await session.locked(() => session.#begin());
      return session;
    } catch (error) {
      storeLock?.close();
      partials.close();
      throw error;
    }
  }

  private constructor(
    rootPath: string,
    modes: StoreModes,
    scheduler: Scheduler,
    partials: Folder,
    storeLock: FileLock,
  ) {
    this.#rootPath = rootPath;
    this.#modes = modes;
    this.#scheduler = scheduler;
    this.#partials = partials;
    this.#storeLock = storeLock;
  }

  /**
   * Runs `step` while holding the store's lock, which keeps out all other processes. `step` is synchronous,
   * so that it cannot wait for other work of this process; keep it short. EUNAVAILABLE when others have held
   * the lock for 10 s.
   */
  async locked<Result>(step: () => Result, signal?: AbortSignal): Promise<Result> {
    let waitedMs = 0;
    for (let attempt = 0; !this.#storeLock.tryAcquire(); attempt += 1) {
      if (waitedMs > LOCK_WAIT_MS_MAX) {
        throw new NetsealError(
          'EUNAVAILABLE',
          `another process has held the lock for ${LOCK_WAIT_MS_MAX} ms`,
        );
      }
      // A holder needs some 20 microseconds. Random pauses keep those that wait from colliding again.
      const delayMs = Math.random() * Math.min(8, 0.5 * 2 ** attempt);
      await this.#scheduler.sleep(delayMs, signal);
      waitedMs += delayMs;
    }
    try {
      signal?.throwIfAborted();
      return step();
    } finally {
      this.#storeLock.release();
    }
  }

  /** Returns a new path in this session's folder. It leads through a descriptor: see {@link Folder}. */
  newPartialPath(): string {
    if (this.#own === undefined) throw new NetsealError('EBUG', 'a directory session was used after its end');
    this.#count += 1;
    return `${this.#own.folder.path}/${this.#count}`;
  }

  /** Writes a partial file and returns its path. Removes the file when that fails or is aborted. */
  async write(
    parts: readonly Uint8Array[],
    durable: boolean,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const path = this.newPartialPath();
    const fd = await openAsync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o666);
    try {
      try {
        setMode(fd, this.#modes.file);
        for (const batch of batches(parts)) {
          signal?.throwIfAborted();
          await writeFully(fd, batch);
        }
        signal?.throwIfAborted();
        if (durable) await fsyncAsync(fd);
      } finally {
        await closeAsync(fd);
      }
      signal?.throwIfAborted();
      return path;
    } catch (error) {
      await this.discard(path);
      throw error;
    }
  }

  /** Removes a partial file if it exists. If that fails, the file stays until the session ends. */
  async discard(path: string): Promise<void> {
    await unlinkAsync(path).catch(() => undefined);
  }

  /** Returns the time by the file system's clock, in ms since 1970. */
  now(): number {
    const path = this.newPartialPath();
    const fd = openSync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o666);
    try {
      return Math.floor(fstatSync(fd).mtimeMs);
    } finally {
      closeSync(fd);
      unlinkSync(path);
    }
  }

  /** Removes the files of sessions that died. Files of a living process, this one or another, stay. */
  async removeLeftovers(): Promise<void> {
    for (const name of readdirSync(this.#partials.path)) {
      if (SESSION_NAME.test(name) && name !== this.#own?.id)
        await this.locked(() => this.#declareIfDead(name));
    }
    for (const name of readdirSync(this.#partials.path)) {
      if (name.startsWith(DEAD_PREFIX)) await this.#removeDead(name);
    }
  }

  /** Ends the session and removes its folder. No write may be under way. */
  async end(): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    this.#own = undefined;
    try {
      await this.locked(() => this.#rename(own.id));
      await this.#removeDead(DEAD_PREFIX + own.id);
    } catch {
      // Another session will remove the folder.
    }
    own.lock.close();
    own.folder.close();
    this.#storeLock.close();
    this.#partials.close();
  }

  #begin(): void {
    const id = toHex(randomBytes(16));
    mkdirSync(`${this.#partials.path}/${id}`);
    const folder = openFolder(`${this.#partials.path}/${id}`);
    try {
      setMode(folder.fd, this.#modes.folder);
      createLockFile(`${folder.path}/lock`, `${folder.path}/new`, fd => setMode(fd, this.#modes.file));
      const lock = new FileLock(`${this.#rootPath}/partial/${id}/lock`);
      if (!lock.tryAcquire()) throw new NetsealError('EBUG', 'a new session is locked');
      this.#own = { id, folder, lock };
    } catch (error) {
      folder.close();
      throw error;
    }
  }

  /** Declares a session dead if nobody holds its lock. The store's lock must be held. */
  #declareIfDead(id: string): void {
    try {
      // Throws when it has gone, or is no folder and so no session.
      openFolder(`${this.#partials.path}/${id}`).close();
    } catch {
      return;
    }
    let lock: FileLock | undefined;
    try {
      lock = new FileLock(`${this.#rootPath}/partial/${id}/lock`);
    } catch (error) {
      // A session without a lock file was being made when its process died. Any other error proves nothing.
      if (systemCodeOf(error) !== 'ENOENT') return;
    }
    try {
      if (lock === undefined || lock.tryAcquire()) this.#rename(id);
    } finally {
      lock?.close();
    }
  }

  #rename(id: string): void {
    renameSync(`${this.#partials.path}/${id}`, `${this.#partials.path}/${DEAD_PREFIX}${id}`);
  }

  async #removeDead(name: string): Promise<void> {
    const path = `${this.#partials.path}/${name}`;
    let folder: Folder;
    try {
      folder = await Folder.open(path);
    } catch {
      // Another process removed it, or it is no folder and so no session.
      return;
    }
    try {
      for (const file of readdirSync(folder.path)) await this.discard(`${folder.path}/${file}`);
      rmdirSync(path);
    } catch {
      // Another process is removing it as well.
    } finally {
      folder.close();
    }
  }
}

function openFolder(path: string): Folder {
  const { O_RDONLY, O_DIRECTORY } = constants;
  return new Folder(openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), path);
}

/** Yields the parts in groups that one system call can write. */
function* batches(parts: readonly Uint8Array[]): Generator<Uint8Array[]> {
  let batch: Uint8Array[] = [];
  let room = WRITE_BYTES_MAX;
  for (const part of parts) {
    for (let at = 0; at < part.byteLength; ) {
      const piece = part.subarray(at, at + room);
      batch.push(piece);
      at += piece.byteLength;
      room -= piece.byteLength;
      if (room > 0 && batch.length < WRITE_PARTS_MAX) continue;
      yield batch;
      batch = [];
      room = WRITE_BYTES_MAX;
    }
  }
  if (batch.length > 0) yield batch;
}

async function writeFully(fd: number, batch: readonly Uint8Array[]): Promise<void> {
  for (let rest = [...batch]; rest.length > 0; ) {
    const bytesWritten = await writevAsync(fd, rest, null);
    if (bytesWritten === 0) throw new NetsealError('EIO', 'the file system takes no more bytes');
    rest = after(rest, bytesWritten);
  }
}

/** Returns what remains of `parts` after their first `doneBytes`. */
function after(parts: readonly Uint8Array[], doneBytes: number): Uint8Array[] {
  let left = doneBytes;
  return parts.flatMap(part => {
    const skip = Math.min(left, part.byteLength);
    left -= skip;
    return skip === part.byteLength ? [] : [part.subarray(skip)];
  });
}
