/**
 * A client's state on disk: one folder for each store, named by the SHA-256 of the store's canonical name.
 *
 *   <hash>/pin.json                 the pin of the header that was seen last
 *   <hash>/lock                     held while something here is written
 *   <hash>/<volume id>/marks        the log of marks (marks.ts)
 *   <hash>/<volume id>/heads.json   this client's id, and the heads that it has read (head-memory.ts)
 *   <hash>/<volume id>/journals/    journals of large files (put-journal.ts, get-journal.ts)
 *
 * Invariants
 *   1. Any number of processes may use it at once. Every write happens under the lock. Readers need no lock:
 *      pin.json is only replaced, by rename(), and the log is only appended to or replaced.
 *   2. Before a process appends, it takes over what others have appended. So it never puts a lower mark after
 *      a higher one, and a log that is replaced loses nothing.
 *   3. The pin is on the disk when `savePin` resolves. Marks survive the death of the process, but not always
 *      a power cut.
 */

import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { type FileHandle, open, readFile, rename, stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { requireBytes, requireInstance, requireText } from '../../base/arguments.ts';
import { fromHex, toHex } from '../../base/bytes.ts';
import { NetsealError, requireArgument, systemCodeOf } from '../../base/errors.ts';
import { randomBytes } from '../../base/random.ts';
import { checkShape, type HeaderPin } from '../../keys/pin.ts';
import { KEY_BYTES } from '../../keys/tree.ts';
import { VolumeHeader } from '../../keys/volume-header.ts';
import { createLockFile, FileLock } from '../../server/file-lock.ts';
import { withPath } from '../../system/errors.ts';
import { makeFolders } from '../../system/folders.ts';
import { type ClientState, checkSameVolume, newerPin, stateIsClosed } from './client-state.ts';
import { HeadMemory } from './head-memory.ts';
import { MARK_BYTES, MarkCoder, Marks } from './marks.ts';

const LOCK_WAIT_MS_MAX = 60_000;
const CHUNK_ENTRIES = 16 * 1024;
/** A log with fewer entries is not worth replacing. */
const LOG_ENTRIES_MIN = 256;
const JOURNAL_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/;

/**
 * Opens the state for one store below `folder`, making it if needed. EFORMAT when the pin is damaged; the
 * system's errors.
 *
 * @param storeName the store's canonical name: the same for every way to reach the store.
 */
export async function openStateFolder(folder: string, storeName: string): Promise<ClientState> {
  requireText('folder', folder);
  requireText('storeName', storeName);
  requireArgument(
    folder !== '' && !folder.includes('\0') && storeName !== '',
    'a state folder needs a path and the name of a store',
  );
  const path = `${folder}/${stateFolderName(storeName)}`;
  await makeFolders(path, 0o700);
  return new StateFolder(folder, path, storeName, await readPin(path));
}

/** Returns the name of the folder, below the state folder, for the store of this canonical name. */
export function stateFolderName(storeName: string): string {
  return createHash('sha256').update(storeName).digest('hex');
}

class StateFolder implements ClientState {
  readonly folder: string;
  readonly marks: Marks = new Marks();
  readonly #path: string;
  readonly #storeName: string;
  #pin: HeaderPin | undefined;
  #lock: FileLock | undefined;
  #attached: { readonly volumeId: string; readonly log: MarkLog; readonly heads: HeadMemory } | undefined;
  /** Settles when everything begun in this process so far has ended. Never rejects. */
  #idle: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(folder: string, path: string, storeName: string, pin: HeaderPin | undefined) {
    this.folder = folder;
    this.#path = path;
    this.#storeName = storeName;
    this.#pin = pin;
  }

  get heads(): HeadMemory {
    if (this.#attached !== undefined) return this.#attached.heads;
    throw new NetsealError('EBUG', 'heads were asked for before the volume was unlocked');
  }

  pin(): HeaderPin | undefined {
    return this.#pin;
  }

  async savePin(pin: HeaderPin): Promise<void> {
    this.#requireOpen();
    checkShape(pin);
    await this.#exclusive(async () => {
      const known = await readPin(this.#path);
      const kept = newerPin(known, pin);
      // The store's name is for people who wonder which store the folder belongs to.
      const text = JSON.stringify({ store: this.#storeName, ...kept }, null, 2);
      if (kept !== known) await replaceFile(this.#path, 'pin.json', file => file.writeFile(`${text}\n`));
      this.#pin = kept;
    });
  }

  async attach(header: VolumeHeader, marksKey: Uint8Array): Promise<void> {
    this.#requireOpen();
    requireInstance('header', header, VolumeHeader);
    requireBytes('marksKey', marksKey, KEY_BYTES);
    const { volumeId } = header;
    await this.#inTurn(async () => {
      if (this.#attached !== undefined) return checkSameVolume(this.#attached.volumeId, header);
      const folder = `${this.#path}/${volumeId}`;
      await makeFolders(folder, 0o700);
      const coder = new MarkCoder(marksKey, fromHex(volumeId));
      const heads = await readHeads(folder);
      this.#attached = { volumeId, heads, log: await MarkLog.open(folder, this.marks, coder) };
    });
  }

  journalPath(name: string): string {
    this.#requireOpen();
    requireText('name', name);
    requireArgument(JOURNAL_NAME.test(name), `not a journal's name: ${JSON.stringify(name).slice(0, 80)}`);
    if (this.#attached === undefined) {
      throw new NetsealError('EBUG', "a volume's journal was asked for before the volume was unlocked");
    }
    const folder = `${this.#path}/${this.#attached.volumeId}/journals`;
    try {
      mkdirSync(folder, 0o700);
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error;
    }
    return `${folder}/${name}`;
  }

  async flush(): Promise<void> {
    const areMarksSaved = this.marks.unsavedCount === 0 && this.marks.damagedCount === 0;
    const attached = this.#attached;
    if (attached === undefined || (areMarksSaved && !attached.heads.isChanged)) return;
    await this.#exclusive(async () => {
      if (!areMarksSaved) await attached.log.append();
      await this.#saveHeads(attached);
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw stateIsClosed();
  }

  async #close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#idle;
      await this.#attached?.log.close();
      this.#lock?.close();
    }
  }

  /** Call it under the lock. */
  async #saveHeads({ volumeId, heads }: { volumeId: string; heads: HeadMemory }): Promise<void> {
    if (!heads.takeChanged()) return;
    const folder = `${this.#path}/${volumeId}`;
    try {
      const others = await readHeads(folder);
      if (others.damagedPath === undefined) heads.absorb(others);
      await replaceFile(folder, 'heads.json', file => file.writeFile(heads.encode()));
    } catch (error) {
      heads.returnChanged();
      throw error;
    }
  }

  /** Runs `action` under the lock. EUNAVAILABLE when another process holds it for a minute. */
  #exclusive<Result>(action: () => Promise<Result>): Promise<Result> {
    return this.#inTurn(async () => {
      this.#lock ??= openLock(this.#path);
      const lock = this.#lock;
      const deadlineMs = performance.now() + LOCK_WAIT_MS_MAX;
      for (let attempt = 0; !lock.tryAcquire(); attempt += 1) {
        if (performance.now() > deadlineMs) {
          throw new NetsealError('EUNAVAILABLE', `another process has locked the state: ${this.#path}`);
        }
        await sleep(Math.random() * Math.min(50, 2 ** attempt));
      }
      try {
        return await action();
      } finally {
        lock.release();
      }
    });
  }

  /** Runs actions one after another within this process. */
  #inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.#idle.then(action).catch(error => {
      throw errorIn(this.#path, error);
    });
    this.#idle = result.catch(() => undefined);
    return result;
  }
}

/** One volume's log of marks. All methods are called under the lock, except `open` and `close`. */
class MarkLog {
  readonly #folder: string;
  readonly #marks: Marks;
  readonly #coder: MarkCoder;
  /** Held open: comparing its inode number with that of the path shows whether the log was replaced. */
  #file: FileHandle;
  /** Up to where the log has been taken over. */
  #readBytes = 0;
  /** How many of the damaged entries that were counted are no longer in the log. */
  #clearedCount = 0;

  /** Opens or makes the log and takes over its marks. */
  static async open(folder: string, marks: Marks, coder: MarkCoder): Promise<MarkLog> {
    const log = new MarkLog(folder, marks, coder, await openLog(`${folder}/marks`));
    try {
      await log.#read();
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  private constructor(folder: string, marks: Marks, coder: MarkCoder, file: FileHandle) {
    this.#folder = folder;
    this.#marks = marks;
    this.#coder = coder;
    this.#file = file;
  }

  /**
   * Appends the marks noted since the last call. Replaces the log when it is too long or has damaged entries.
   */
  async append(): Promise<void> {
    await this.#follow();
    await this.#read();
    // A crash may have left a part of an entry. Cut it off, or later entries would not lie where they are
    // looked for.
    if ((await this.#file.stat()).size !== this.#readBytes) await this.#file.truncate(this.#readBytes);
    const ids = this.#marks.takeUnsaved();
    try {
      const bytes = this.#coder.encode([...ids].flatMap(id => this.#entryOf(id)));
      await writeFully(this.#file, bytes);
      this.#readBytes += bytes.byteLength;
    } catch (error) {
      this.#marks.returnUnsaved(ids);
      throw error;
    }
    const entryCount = this.#readBytes / MARK_BYTES;
    const isLong = entryCount > LOG_ENTRIES_MIN && entryCount > 2 * this.#marks.size;
    if (isLong || this.#marks.damagedCount > this.#clearedCount) await this.#replace();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  /** Returns the id with its mark, as a list; empty when the mark has been forgotten since. */
  #entryOf(id: string): [string, { version: number; hash: string }][] {
    const mark = this.#marks.get(id);
    return mark === undefined ? [] : [[id, mark]];
  }

  /** If another process has replaced the log, opens the new one. */
  async #follow(): Promise<void> {
    const path = `${this.#folder}/marks`;
    const held = await this.#file.stat();
    const present = await stat(path).catch(() => undefined);
    if (present?.ino === held.ino && present.dev === held.dev && held.size >= this.#readBytes) return;
    const file = await openLog(path);
    await this.#file.close();
    this.#file = file;
    this.#readBytes = 0;
  }

  /** Takes over the whole entries that were appended since the last call. */
  async #read(): Promise<void> {
    const { size } = await this.#file.stat();
    const end = size - (size % MARK_BYTES);
    const buffer = new Uint8Array(Math.min(CHUNK_ENTRIES * MARK_BYTES, end - this.#readBytes));
    while (this.#readBytes < end) {
      const lengthBytes = Math.min(buffer.byteLength, end - this.#readBytes);
      const { bytesRead } = await this.#file.read(buffer, 0, lengthBytes, this.#readBytes);
      const wholeBytes = bytesRead - (bytesRead % MARK_BYTES);
      if (wholeBytes === 0) return;
      this.#coder.decodeInto(this.#marks, buffer.subarray(0, wholeBytes));
      this.#readBytes += wholeBytes;
    }
  }

  /** Replaces the log by one with a single entry for each mark. */
  async #replace(): Promise<void> {
    const entries = [...this.#marks.entries()];
    const damagedCount = this.#marks.damagedCount;
    await replaceFile(this.#folder, 'marks', async fresh => {
      for (let at = 0; at < entries.length; at += CHUNK_ENTRIES) {
        await writeFully(fresh, this.#coder.encode(entries.slice(at, at + CHUNK_ENTRIES)));
      }
    });
    this.#clearedCount = damagedCount;
    await this.#follow();
    // All of its entries come from this process's own marks.
    this.#readBytes = entries.length * MARK_BYTES;
  }
}

/** Adds the folder to errors of open files, which name none. Those of the lock, a database, become EIO. */
function errorIn(folder: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errcode' in error)) return withPath(folder, error);
  return new NetsealError('EIO', `the state folder ${folder} cannot be locked: ${error.message}`, {
    cause: error,
  });
}

function openLog(path: string): Promise<FileHandle> {
  return open(path, 'a+', 0o600);
}

function openLock(path: string): FileLock {
  const lockPath = `${path}/lock`;
  createLockFile(lockPath, `${lockPath}-${toHex(randomBytes(16))}`);
  return new FileLock(lockPath);
}

/**
 * Call it under the lock. Has `write` fill a new file, syncs it, and gives it the name. When this resolves,
 * the name is on the disk as well.
 */
async function replaceFile(
  folder: string,
  name: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  // A crash may leave this file behind. The next call overwrites it.
  const temporaryPath = `${folder}/${name}.new`;
  const file = await open(temporaryPath, 'w', 0o600);
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporaryPath, `${folder}/${name}`);
  const parent = await open(folder, 'r');
  await parent.sync().finally(() => parent.close());
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, done);
    done += bytesWritten;
  }
}

/**
 * Reads what the client remembers of heads. When the file is missing or damaged, the memory is that of a new
 * client: it has another id, and reads all heads again.
 */
async function readHeads(folder: string): Promise<HeadMemory> {
  const path = `${folder}/heads.json`;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return HeadMemory.fresh();
    throw withPath(path, error);
  }
  return HeadMemory.decode(text) ?? HeadMemory.fresh(Date.now(), path);
}

async function readPin(folder: string): Promise<HeaderPin | undefined> {
  const path = `${folder}/pin.json`;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const pin = parsePin(text);
  if (pin !== undefined) return pin;
  throw new NetsealError(
    'EFORMAT',
    `the pin of a volume header is damaged; without it, this visit would count as the first: ${path}`,
  );
}

function parsePin(text: string): HeaderPin | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { volumeId, generation, epoch, ...hashes }: Record<string, unknown> = { ...value };
  const { epochCommitment, epochTraceHash, headerHash } = hashes;
  if (!isHex(volumeId, 16) || !isHex(epochCommitment, 32)) return undefined;
  if (!isHex(epochTraceHash, 32) || !isHex(headerHash, 32)) return undefined;
  if (!isCount(generation) || !isCount(epoch)) return undefined;
  return { volumeId, generation, epoch, epochCommitment, epochTraceHash, headerHash };
}

function isHex(value: unknown, bytes: number): value is string {
  return typeof value === 'string' && value.length === 2 * bytes && /^[0-9a-f]+$/.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1;
}
