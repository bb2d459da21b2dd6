/**
 * What a writer of a directory store has for itself: a folder in `partial/` for files that are not objects yet, and a
 * lock in it that says, for as long as the process lives, that they are in use.
 *
 *   lock                     held for one step at a time: to compare and replace, to delete, to start and end sessions
 *   partial/<id>/lock        held while its session lives
 *   partial/<id>/<number>    being written, or on its way out
 *   partial/dead-<id>/       of a session that ended; anybody may remove it
 *
 * A session's folder and lock come into being while its maker holds the store's lock, and a session is declared dead (by
 * renaming its folder) by who holds both locks. So a folder without a held lock, seen under the store's lock, is dead.
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
  writev,
} from 'node:fs';
import { promisify } from 'node:util';
import { toHex } from '../base/bytes.ts';
import { NetsealError, systemCodeOf } from '../base/errors.ts';
import { randomBytes } from '../base/random.ts';
import type { Scheduler } from '../base/scheduler.ts';
import { Folder, makeFolder } from './directory-folders.ts';
import { createLockFile, FileLock } from './file-lock.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);
const fsyncAsync = promisify(fsync);
const unlinkAsync = promisify(unlink);
const writevAsync = promisify(writev);

const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;

const SESSION_NAME = /^[0-9a-f]{32}$/;
const DEAD_PREFIX = 'dead-';
const LOCK_WAIT_MS_MAX = 10_000;
/** One system call takes at most so much, so that an abort is heard in between. */
const WRITE_BYTES_MAX = 16 * 1024 * 1024;
const WRITE_PARTS_MAX = 512;

export class DirectorySession {
  readonly #rootPath: string;
  readonly #scheduler: Scheduler;
  readonly #partials: Folder;
  readonly #storeLock: FileLock;
  #own: { readonly id: string; readonly folder: Folder; readonly lock: FileLock } | undefined;
  #count = 0;

  /** @param rootPath the store's folder, without symbolic links. */
  static async start(rootPath: string, scheduler: Scheduler): Promise<DirectorySession> {
    const partialPath = `${rootPath}/partial`;
    await makeFolder(partialPath);
    const partials = await Folder.open(partialPath);
    let storeLock: FileLock | undefined;
    try {
      const lockPath = `${rootPath}/lock`;
      createLockFile(lockPath, `${partials.path}/new-${toHex(randomBytes(16))}`);
      storeLock = new FileLock(lockPath);
      const session = new DirectorySession(rootPath, scheduler, partials, storeLock);
      await session.locked(() => session.#begin());
      return session;
    } catch (error) {
      storeLock?.close();
      partials.close();
      throw error;
    }
  }

  private constructor(rootPath: string, scheduler: Scheduler, partials: Folder, storeLock: FileLock) {
    this.#rootPath = rootPath;
    this.#scheduler = scheduler;
    this.#partials = partials;
    this.#storeLock = storeLock;
  }

  /**
   * Runs `step`, alone among all processes. Synchronous, so that no other work of this process makes others wait; keep it
   * short. EUNAVAILABLE when others hold the lock for 10 s.
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
      // Holders need some 20 microseconds; chance keeps those who wait from meeting again.
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

  /** A path for a file of this session that is not there yet. Through descriptors: see {@link Folder}. */
  newPartialPath(): string {
    if (this.#own === undefined) throw new NetsealError('EBUG', 'a directory session was used after its end');
    this.#count += 1;
    return `${this.#own.folder.path}/${this.#count}`;
  }

  /** Writes a partial file and returns its path. Leaves nothing behind when it fails or is aborted. */
  async write(
    parts: readonly Uint8Array[],
    durable: boolean,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const path = this.newPartialPath();
    const fd = await openAsync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o666);
    try {
      try {
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

  /** Removes a partial file, if it is there. If that fails it stays until the session's end. */
  async discard(path: string): Promise<void> {
    await unlinkAsync(path).catch(() => undefined);
  }

  /** The file system's clock, in ms since 1970. */
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

  /** Removes what sessions left that ended without tidying up: never what a living process, this one or another, uses. */
  async removeLeftovers(): Promise<void> {
    for (const name of readdirSync(this.#partials.path)) {
      if (SESSION_NAME.test(name) && name !== this.#own?.id)
        await this.locked(() => this.#declareIfDead(name));
    }
    for (const name of readdirSync(this.#partials.path)) {
      if (name.startsWith(DEAD_PREFIX)) await this.#removeDead(name);
    }
  }

  /** No writes may be under way. */
  async end(): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    this.#own = undefined;
    try {
      await this.locked(() => this.#rename(own.id));
      await this.#removeDead(DEAD_PREFIX + own.id);
    } catch {
      // Somebody else will remove it.
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
      createLockFile(`${folder.path}/lock`, `${folder.path}/new`);
      const lock = new FileLock(`${this.#rootPath}/partial/${id}/lock`);
      if (!lock.tryAcquire()) throw new NetsealError('EBUG', 'a new session is locked');
      this.#own = { id, folder, lock };
    } catch (error) {
      folder.close();
      throw error;
    }
  }

  /** Under the store's lock. */
  #declareIfDead(id: string): void {
    try {
      // Not a folder, or gone: none of ours.
      openFolder(`${this.#partials.path}/${id}`).close();
    } catch {
      return;
    }
    let lock: FileLock | undefined;
    try {
      lock = new FileLock(`${this.#rootPath}/partial/${id}/lock`);
    } catch (error) {
      // Without a lock its maker died at once. Anything else proves nothing.
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
      // Another process removed it, or it is no folder and none of ours.
      return;
    }
    try {
      for (const file of readdirSync(folder.path)) await this.discard(`${folder.path}/${file}`);
      rmdirSync(path);
    } catch {
      // Another process removes it, too.
    } finally {
      folder.close();
    }
  }
}

function openFolder(path: string): Folder {
  const { O_RDONLY, O_DIRECTORY } = constants;
  return new Folder(openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), path);
}

/** The parts in groups that one system call can take. */
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
    const { bytesWritten } = await writevAsync(fd, rest);
    if (bytesWritten === 0) throw new NetsealError('EIO', 'the file system takes no more bytes');
    rest = after(rest, bytesWritten);
  }
}

/** What remains of `parts` when so many bytes are done. */
function after(parts: readonly Uint8Array[], doneBytes: number): Uint8Array[] {
  let left = doneBytes;
  return parts.flatMap(part => {
    const skip = Math.min(left, part.byteLength);
    left -= skip;
    return skip === part.byteLength ? [] : [part.subarray(skip)];
  });
}
