/**
 * An open file of a volume, in the shape of `FileHandle` of `node:fs/promises`: it satisfies that type, and
 * does what its calls do, but for this:
 *
 *   - Others see what was written after a commit: at `sync`, `datasync` and `close`, and some seconds after a
 *     write.
 *   - Buffers of several parts (`writev`, `readv`) are one write or read, and so of one moment up to 1 MiB.
 *   - It has no descriptor of this machine: `fd` is -1.
 *
 * Errors have the codes of Node where Node has one (`node-errors.ts`). Wrong arguments are EINVAL.
 */
import type { BigIntStats, Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline/promises';
import { Readable, Writable } from 'node:stream';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import { requireFlag, requireInteger, requireObject, requireOptions } from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import { SIZE_BYTES_MAX } from '../../base/geometry.ts';
import type {
  FileStatus,
  NetfsFile,
  Position,
  ReadResult,
  TransferOptions,
  WaitOptions,
  WriteResult,
} from '../../netfs/file.ts';
import {
  FileReadStream,
  FileWriteStream,
  type ReadStreamOptions,
  type StreamedFile,
  type WriteStreamOptions,
} from './file-streams.ts';
import {
  givenBuffer,
  lengthOf,
  partsOf,
  readAll,
  readInto,
  scatter,
  writeAll,
  writeZeros,
} from './file-transfers.ts';
import { asNode, FileSystemError, toNodeError } from './node-errors.ts';
import type { BufferView, View } from './node-types.ts';
import {
  dataPieces,
  encodingOf,
  type FileData,
  signalOf,
  toMode,
  toOwners,
  toTimes,
  viewBytes,
} from './node-values.ts';
import type { OpenInode } from './open-inode.ts';
import { BigIntVolumeStats, VolumeStats } from './stats.ts';

const BUFFER_BYTES = 16_384;

/** How a new file is given its name. */
export interface SaveAsOptions {
  /** Replaces a file that has the name; otherwise EEXIST. Default false. */
  readonly replace?: boolean | undefined;
}

/** What an open file needs besides its content. */
export interface VolumeFileParts {
  readonly inode: OpenInode;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
  saveAs(path: string | Uint8Array, options: SaveAsOptions): Promise<void>;
}

interface ReadCall<Bytes extends View> extends TransferOptions {
  readonly buffer?: Bytes | undefined;
}

export class VolumeFile implements FileHandle, AsyncDisposable {
  readonly fd = -1;
  readonly #file: NetfsFile;
  readonly #parts: VolumeFileParts;
  readonly #streamed: StreamedFile;
  #isClosed = false;

  /** @internal Made by `Volume.open` only. */
  constructor(file: NetfsFile, parts: VolumeFileParts) {
    this.#file = file;
    this.#parts = parts;
    this.#streamed = {
      readSome: async (into, position) => (await this.read(into, { position })).bytesRead,
      writeAll: (bytes, position) => asNode('write', () => writeAll(this.#file, bytes, position)),
      sync: () => this.sync(),
      close: () => this.close(),
      leave: () => this.leave(),
    };
  }

  /** The size now, with all writes that have returned. */
  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  /**
   * Reads bytes. Fewer than were asked for only at the end of the file, or before bytes that cannot be read.
   * Up to 1 MiB is of one version of the file. The buffer is not touched after the call has settled.
   *
   * `position` null, undefined or -1 is the open file's own position, which the call moves; such calls are
   * queued. Any other is not moved, and not queued.
   *
   * Rejects with EINVAL, EBADF (closed, or not open for reading), the signal's reason; with EAUTH, EIO,
   * EUNAVAILABLE, ... when the first byte cannot be read.
   */
  read<Bytes extends View>(
    buffer: Bytes,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Bytes>>;
  read<Bytes extends View>(buffer: Bytes, options?: TransferOptions | null): Promise<ReadResult<Bytes>>;
  read<Bytes extends View = Buffer<ArrayBuffer>>(
    options?: TransferOptions & { readonly buffer?: Bytes },
  ): Promise<ReadResult<Bytes>>;
  async read(
    bufferOrOptions?: View | ReadCall<View>,
    offset?: number | null | TransferOptions,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<View>> {
    this.#requireReadable('read');
    let [buffer, at] = [bufferOrOptions, offset];
    if (buffer === undefined || !ArrayBuffer.isView(buffer)) {
      requireObject('buffer', buffer ?? {});
      const options: ReadCall<View> = buffer ?? {};
      buffer = options.buffer ?? Buffer.alloc(BUFFER_BYTES);
      at = options;
    }
    const bytes = viewBytes('buffer', buffer);
    const { bytesRead } = await asNode('read', () => this.#readAt(bytes, at, length, position));
    return { bytesRead, buffer };
  }

  /**
   * Reads bytes that are in memory, at once. Returns how many: as many as the buffer holds, or up to the end
   * of the file. Undefined when it would have to wait, for the store or for others; then the buffer may hold
   * anything, and {@link read} is the call to make. Makes no garbage. The buffer may be shared memory.
   *
   * Throws as `read` rejects.
   */
  tryRead(buffer: Uint8Array, position: number): number | undefined {
    this.#requireReadable('read');
    try {
      return this.#file.tryRead(buffer, position);
    } catch (error) {
      throw toNodeError(error, 'read');
    }
  }

  /**
   * Writes at once, as far as there is memory. Returns how many bytes. Undefined when it would have to wait
   * before the first: for memory, for others, or because the file was opened to append, or to commit every
   * write; and for more than a 16th of the memory for pages. Then nothing has happened, and {@link write} is
   * the call to make.
   *
   * Throws as `write` rejects.
   */
  tryWrite(buffer: Uint8Array, position: number): number | undefined {
    this.#requireWritable('write');
    try {
      return this.#file.tryWrite(buffer, position);
    } catch (error) {
      throw toNodeError(error, 'write');
    }
  }

  /** Reads into several buffers, one after the other, as one read. */
  async readv<Views extends readonly View[]>(
    buffers: Views,
    position?: Position,
  ): Promise<{ bytesRead: number; buffers: Views }> {
    this.#requireReadable('readv');
    const parts = partsOf(buffers);
    const [only] = parts;
    const all = parts.length === 1 && only !== undefined ? only : Buffer.alloc(lengthOf(parts));
    const { bytesRead } = await asNode('readv', () => this.#file.read(all, { position }));
    if (all !== only) scatter(all.subarray(0, bytesRead), parts);
    return { bytesRead, buffers };
  }

  /**
   * Writes bytes into memory. The buffer must not change before the call has settled. A file that was opened
   * to append ignores the position; otherwise it is as in {@link read}. Fewer bytes are written than were
   * given only after an error or an abort.
   *
   * Rejects when nothing was written: with EINVAL (the file would be too large), EBADF (closed, or not open
   * for writing), the signal's reason, or with why the file cannot be committed, when memory is short because
   * of that.
   */
  write<Bytes extends View>(
    buffer: Bytes,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<WriteResult<Bytes>>;
  write<Bytes extends View>(buffer: Bytes, options?: TransferOptions | null): Promise<WriteResult<Bytes>>;
  write(
    text: string,
    position?: number | null,
    encoding?: BufferEncoding | null,
  ): Promise<{ bytesWritten: number; buffer: string }>;
  async write<Bytes extends View>(
    data: Bytes | string,
    offset?: number | null | TransferOptions,
    length?: number | BufferEncoding | null,
    position?: Position,
  ): Promise<{ bytesWritten: number; buffer: Bytes | string }> {
    this.#requireWritable('write');
    if (typeof data === 'string') {
      requireArgument(typeof offset !== 'object' || offset === null, 'a position is a number');
      const bytes = Buffer.from(data, encodingOf(length) ?? 'utf8');
      const { bytesWritten } = await asNode('write', () => this.#file.write(bytes, { position: offset }));
      return { bytesWritten, buffer: data };
    }
    const bytes = viewBytes('buffer', data);
    requireArgument(typeof length !== 'string', 'an encoding is for text');
    const { bytesWritten } = await asNode('write', () =>
      typeof offset === 'object' && offset !== null
        ? this.#file.write(bytes, offset)
        : this.#file.write(bytes, offset, length, position),
    );
    return { bytesWritten, buffer: data };
  }

  /** Writes several buffers, one after the other, as one write. */
  async writev<Views extends readonly View[]>(
    buffers: Views,
    position?: Position,
  ): Promise<{ bytesWritten: number; buffers: Views }> {
    this.#requireWritable('writev');
    const bytes = Buffer.concat(partsOf(buffers));
    const { bytesWritten } = await asNode('writev', () => this.#file.write(bytes, { position }));
    return { bytesWritten, buffers };
  }

  /** Reads from the file's own position to its end, as bytes or, with an encoding, as text. */
  readFile(
    options?: { encoding?: null | undefined; signal?: AbortSignal | undefined } | null,
  ): Promise<Buffer<ArrayBuffer>>;
  readFile(
    options: { encoding: BufferEncoding; signal?: AbortSignal | undefined } | BufferEncoding,
  ): Promise<string>;
  readFile<Bytes extends View>(options: {
    readonly buffer: Bytes | ((sizeBytes: number) => Bytes);
    readonly signal?: AbortSignal | undefined;
  }): Promise<BufferView<Bytes>>;
  readFile(
    options?:
      | { encoding?: BufferEncoding | null | undefined; signal?: AbortSignal | undefined }
      | BufferEncoding
      | null,
  ): Promise<Buffer<ArrayBuffer> | string>;
  async readFile(options?: unknown): Promise<unknown> {
    const encoding = encodingOf(options);
    const signal = signalOf(options);
    this.#requireReadable('read');
    const given = givenBuffer(options, this.#file.sizeBytes);
    return await asNode('read', async () => {
      if (given !== undefined) return await readInto(this.#file, given, signal);
      const bytes = await readAll(this.#file, signal);
      return encoding === undefined ? bytes : bytes.toString(encoding);
    });
  }

  /** Writes data at the file's own position: text, bytes, or something that yields these. */
  async writeFile(
    data: FileData,
    options?:
      | { encoding?: BufferEncoding | null | undefined; signal?: AbortSignal | undefined }
      | BufferEncoding
      | null,
  ): Promise<void> {
    const encoding = encodingOf(options) ?? 'utf8';
    const signal = signalOf(options);
    this.#requireWritable('write');
    for await (const bytes of dataPieces(data, encoding)) {
      signal?.throwIfAborted();
      await asNode('write', () => writeAll(this.#file, bytes, undefined, signal));
    }
  }

  /** As {@link writeFile}: open the file with `a` to write at its end. */
  async appendFile(
    data: FileData,
    options?:
      | { encoding?: BufferEncoding | null | undefined; signal?: AbortSignal | undefined }
      | BufferEncoding
      | null,
  ): Promise<void> {
    await this.writeFile(data, options);
  }

  /**
   * Tells of the file as it is now, what is not committed included. The access time is the one that was set
   * last: reading does not change it.
   */
  stat(options?: { bigint?: false | undefined; throwIfNoEntry?: boolean | undefined }): Promise<Stats>;
  stat(options: { bigint: true; throwIfNoEntry?: boolean | undefined }): Promise<BigIntStats>;
  stat(options?: {
    bigint?: boolean | undefined;
    throwIfNoEntry?: boolean | undefined;
  }): Promise<Stats | BigIntStats>;
  async stat(options: { bigint?: boolean | undefined } = {}): Promise<Stats | BigIntStats> {
    requireObject('options', options);
    requireFlag('options.bigint', options.bigint);
    this.#requireOpen('fstat');
    const inode = await asNode('fstat', () => this.#parts.inode.read());
    const now = this.#file.status();
    return options.bigint === true ? new BigIntVolumeStats(inode, now) : new VolumeStats(inode, now);
  }

  /** Sets the times, after a commit of what was written. */
  async utimes(atime: string | number | Date, mtime: string | number | Date): Promise<void> {
    const times = toTimes(atime, mtime);
    this.#requireOpen('futime');
    await asNode('futime', async () => {
      // Commit first: a later commit would set another time.
      if (this.#parts.isWritable) await this.#file.sync();
      await this.#parts.inode.change(times);
    });
  }

  async chmod(mode: string | number): Promise<void> {
    const checked = toMode(mode);
    this.#requireOpen('fchmod');
    await asNode('fchmod', () => this.#parts.inode.change({ mode: checked }));
  }

  async chown(uid: number, gid: number): Promise<void> {
    const owners = toOwners(uid, gid);
    this.#requireOpen('fchown');
    await asNode('fchown', () => this.#parts.inode.change(owners));
  }

  /** Makes the file `sizeBytes` long. What it gains is zeros. */
  async truncate(sizeBytes: number = 0, options?: WaitOptions): Promise<void> {
    requireInteger('sizeBytes', sizeBytes, 0, SIZE_BYTES_MAX);
    requireOptions('options', options);
    this.#requireWritable('ftruncate');
    await asNode('ftruncate', () => this.#file.truncate(sizeBytes, options));
  }

  /** Makes the file at least `sizeBytes` long. What it gains is zeros, which take no room. */
  async allocate(sizeBytes: number, options?: WaitOptions): Promise<void> {
    requireInteger('sizeBytes', sizeBytes, 0, SIZE_BYTES_MAX);
    requireOptions('options', options);
    this.#requireWritable('fallocate');
    await asNode('fallocate', () => this.#file.allocate(sizeBytes, options));
  }

  /**
   * Makes a range zeros, as far as the file goes. It takes as long as writing them. Whole units of zeros take
   * no room in the store afterwards.
   */
  async punchHole(offsetBytes: number, lengthBytes: number, options?: WaitOptions): Promise<void> {
    this.#checkRange(offsetBytes, lengthBytes, options);
    await asNode('fallocate', () =>
      writeZeros(this.#file, offsetBytes, offsetBytes + lengthBytes, options, () => this.#file.sizeBytes),
    );
  }

  /**
   * Makes a range zeros, as {@link punchHole} does. The file becomes longer if the range goes beyond its end.
   */
  async zeroRange(offsetBytes: number, lengthBytes: number, options?: WaitOptions): Promise<void> {
    this.#checkRange(offsetBytes, lengthBytes, options);
    const endBytes = offsetBytes + lengthBytes;
    await asNode('fallocate', async () => {
      if (lengthBytes === 0) return;
      await this.#file.allocate(endBytes, options);
      await writeZeros(this.#file, offsetBytes, endBytes, options, () => endBytes);
    });
  }

  /**
   * Commits what was done to the file before this call. When it resolves, the store has that, durable, and
   * others see it.
   *
   * Rejects with what the commit failed with, or with an error that this open file has not been told of. What
   * was written stays, and the next call tries again. ECONFLICT: another client has changed the same units;
   * what was written here is now a file beside it, and this file is the other's.
   */
  async sync(options?: WaitOptions): Promise<void> {
    requireOptions('options', options);
    this.#requireOpen('fsync');
    await asNode('fsync', () => this.#file.sync(options));
  }

  /** Does what {@link sync} does: every commit has both content and size. */
  async datasync(options?: WaitOptions): Promise<void> {
    await this.sync(options);
  }

  /**
   * Commits what was done to the file, as {@link sync} does, and closes this open file, always. Rejects as
   * `sync` does. What could not be committed stays, is tried again, and shows in the status. A second call
   * does nothing.
   */
  async close(options?: WaitOptions): Promise<void> {
    requireOptions('options', options);
    await this.#ending('close', () => this.#file.close(options));
  }

  /** Closes this open file without waiting for a commit, which happens in the background. */
  async leave(): Promise<void> {
    await this.#ending('close', () => this.#file.leave());
  }

  /**
   * Does what {@link close} does, even when a block is left by an error. Call {@link discard} first to avoid
   * the commit.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Gives up everything that no commit holds yet, for all that have the file open. The file is then as the
   * store has it. This is the only way to lose what was written.
   */
  async discard(): Promise<void> {
    this.#requireWritable('close');
    await asNode('close', () => this.#file.discard());
  }

  /**
   * Puts the content as it is now into a new file. It shares what the store has already, so it takes no
   * longer than a commit. This file stays as it is, and what is not committed stays so: this is how to keep
   * what cannot be committed any more, before {@link discard}.
   *
   * Rejects with EEXIST, EISDIR, ENOENT, ENOTDIR for the path; with what committing throws.
   */
  async saveAs(path: string | Uint8Array, options: SaveAsOptions = {}): Promise<void> {
    requireObject('options', options);
    requireFlag('options.replace', options.replace);
    this.#requireOpen('open');
    await asNode('open', () => this.#parts.saveAs(path, options));
  }

  /** What is known of the file now, all its open files together. */
  status(): FileStatus {
    return this.#file.status();
  }

  /** Reads the file as a stream, from `start`, or from the file's own position. `end` is the last byte. */
  createReadStream(options?: ReadStreamOptions): FileReadStream {
    this.#requireReadable('read');
    return new FileReadStream(this.#streamed, options);
  }

  /**
   * Writes the file as a stream. What was written is committed before `finish`; with `autoClose: false` the
   * file then stays open. Destroyed with an error, the stream waits for no commit: what it has written stays.
   */
  createWriteStream(options?: WriteStreamOptions): FileWriteStream {
    this.#requireWritable('write');
    return new FileWriteStream(this.#streamed, options);
  }

  /** Reads the file as a stream of the web, from its own position. Default: the file stays open. */
  readableWebStream(options: { readonly autoClose?: boolean | undefined } = {}): ReadableStream<Uint8Array> {
    requireObject('options', options);
    const stream = this.createReadStream({ autoClose: options.autoClose ?? false });
    return Readable.toWeb(stream) as ReadableStream<Uint8Array>;
  }

  /** Writes the file as a stream of the web, as {@link createWriteStream} does. */
  writable(options?: WriteStreamOptions): WritableStream<Uint8Array> {
    return Writable.toWeb(this.createWriteStream(options)) as WritableStream<Uint8Array>;
  }

  /** Reads the file line by line. */
  readLines(options?: ReadStreamOptions): Interface {
    return createInterface({ input: this.createReadStream(options), crlfDelay: Number.POSITIVE_INFINITY });
  }

  #readAt(
    bytes: Uint8Array,
    offset: number | null | undefined | TransferOptions,
    length: number | null | undefined,
    position: Position,
  ): Promise<ReadResult<Uint8Array>> {
    return typeof offset === 'object' && offset !== null
      ? this.#file.read(bytes, offset)
      : this.#file.read(bytes, offset, length, position);
  }

  #checkRange(offsetBytes: number, lengthBytes: number, options: WaitOptions | undefined): void {
    requireInteger('offsetBytes', offsetBytes);
    requireInteger('lengthBytes', lengthBytes, 0, SIZE_BYTES_MAX - offsetBytes);
    requireOptions('options', options);
    this.#requireWritable('fallocate');
  }

  async #ending(syscall: string, work: () => Promise<void>): Promise<void> {
    this.#isClosed = true;
    try {
      await asNode(syscall, work);
    } finally {
      this.#parts.inode.close();
    }
  }

  #requireOpen(syscall: string): void {
    if (this.#isClosed) throw new FileSystemError('EBADF', syscall, 'the file was closed');
  }

  #requireReadable(syscall: string): void {
    this.#requireOpen(syscall);
    if (this.#parts.isReadable) return;
    throw new FileSystemError('EBADF', syscall, 'the file was not opened for reading');
  }

  #requireWritable(syscall: string): void {
    this.#requireOpen(syscall);
    if (this.#parts.isWritable) return;
    throw new FileSystemError('EBADF', syscall, 'the file was not opened for writing');
  }
}
