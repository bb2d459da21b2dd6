/**
 * An open file, as programs see it. Its calls have the names and the shape of those of `FileHandle` in
 * `node:fs/promises`.
 *
 *   - Any number of calls may run at once, on one open file and on several of the same file. All of them see
 *     one content: what is written here is read here at once, whether it is on the server or not.
 *   - Others see nothing before a commit, and then everything up to it. A commit happens at `sync` and
 *     `close`, and 5 s after the first change. A crash leaves what some commit wrote: a prefix of what was
 *     done to the file, no older than the last `sync` that resolved.
 *   - An error of a commit loses nothing: what was written stays readable here, `sync` and the clock try
 *     again. Every open file is told of each such error once, by `sync`, `datasync` or `close`; a file that
 *     is opened later is told of one that nobody has been told of yet.
 *
 * `position` counts bytes of the file. Null, undefined or -1 is the open file's own position, which the call
 * moves; such calls are queued. Any other position is not moved and not queued.
 */

export type Position = number | bigint | null | undefined;

/** Which part of a buffer to read into or to write, and where in the file. */
export interface TransferOptions {
  /** Where in the buffer. Default 0. */
  readonly offset?: number | null | undefined;
  /** How many bytes. Default: the rest of the buffer. */
  readonly length?: number | null | undefined;
  readonly position?: Position;
  readonly signal?: AbortSignal | undefined;
}

export interface WaitOptions {
  /** Ends the waiting, and rejects with its reason. What has begun goes on. */
  readonly signal?: AbortSignal | undefined;
}

export interface ReadResult<Bytes extends NodeJS.ArrayBufferView> {
  /** 0 at the end of the file, or when no bytes were asked for. */
  readonly bytesRead: number;
  readonly buffer: Bytes;
}

export interface WriteResult<Bytes extends NodeJS.ArrayBufferView> {
  /** Less than was given only after an error or an abort, when some bytes had been written. */
  readonly bytesWritten: number;
  readonly buffer: Bytes;
}

/** What is known of a file now, all its open files together. */
export interface FileStatus {
  readonly sizeBytes: number;
  /** Bytes that were written and that no server has yet. */
  readonly dirtyBytes: number;
  /** Units that a server has, and that no commit holds yet. */
  readonly uploadedUnits: number;
  /** The bytes of their records. */
  readonly uploadedBytes: number;
  /** When it was changed last; undefined when everything is committed. */
  readonly changedAtMs: number | undefined;
  /** True when the server has everything, committed. */
  readonly isCommitted: boolean;
  /** Why the last commit failed, while none has succeeded since. */
  readonly failing: Error | undefined;
}

export interface File extends AsyncDisposable {
  /** The size now, with all writes that have returned. */
  readonly sizeBytes: number;

  /**
   * Reads bytes. Fewer than were asked for only at the end of the file, or before bytes that cannot be read.
   * Up to 1 MiB is of one version of the file. The buffer is not touched after the call has settled.
   *
   * Rejects with EINVAL, ECLOSED, the signal's reason; EDENIED (not open for reading). And with
   * EAUTH, EMISSING, EUNAVAILABLE, ... when the first byte cannot be read.
   */
  read<Bytes extends Uint8Array>(buffer: Bytes, options?: TransferOptions): Promise<ReadResult<Bytes>>;
  read<Bytes extends Uint8Array>(
    buffer: Bytes,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Bytes>>;

  /**
   * Writes bytes into the page cache. The buffer must not change before the call has settled. A file that was
   * opened to append ignores the position.
   *
   * Rejects when nothing was written: with EINVAL (the file would be too large), ECLOSED, EDENIED (not
   * open for writing), the signal's reason,
   * or with why the file cannot be committed, when memory is short because of that.
   */
  write<Bytes extends Uint8Array>(buffer: Bytes, options?: TransferOptions): Promise<WriteResult<Bytes>>;
  write<Bytes extends Uint8Array>(
    buffer: Bytes,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<WriteResult<Bytes>>;

  /**
   * Reads bytes that are in memory, at once. Returns how many: as many as the buffer holds, or up to the end
   * of the file. Undefined when it would have to wait, for the store or for others; then the buffer may hold
   * anything, and `read` is the call to make. Makes no garbage. The buffer may be shared memory.
   *
   * Throws as `read` rejects.
   */
  tryRead(buffer: Uint8Array, position: number): number | undefined;

  /**
   * Writes at once, as far as there is memory. Returns how many bytes. Undefined when it would have to wait
   * before the first: for memory, for others, or because the file was opened to append, or to commit every
   * write; and for more than a 16th of the memory for pages. Then nothing has happened, and `write` is the
   * call to make.
   *
   * Throws as `write` rejects.
   */
  tryWrite(buffer: Uint8Array, position: number): number | undefined;

  /** Makes the file `sizeBytes` long. What it gains is zeros. */
  truncate(sizeBytes?: number, options?: WaitOptions): Promise<void>;

  /** Makes the file at least `sizeBytes` long. What it gains is zeros, and takes no room. */
  allocate(sizeBytes: number, options?: WaitOptions): Promise<void>;

  /**
   * Commits what was done to the file before this call. When it resolves, the server has that, durable, and
   * others see it.
   *
   * Rejects with what the commit failed with, or with an error that this open file has not been told of. What
   * was written stays, and the next call tries again. ECONFLICT: another client has changed the same units;
   * what was written here is now a file beside it, and this file is the other's.
   */
  sync(options?: WaitOptions): Promise<void>;

  /** Does what `sync` does: every commit has both content and size. */
  datasync(options?: WaitOptions): Promise<void>;

  /**
   * Commits what was done to the file, as `sync` does, and closes this open file, always.
   *
   * Rejects as `sync` does. What could not be committed stays, is tried again, and shows in the status. A
   * second call does nothing.
   */
  close(options?: WaitOptions): Promise<void>;

  /**
   * Closes this open file without a commit. What was written is committed in the background. After a close,
   * it does nothing.
   */
  leave(): Promise<void>;

  /**
   * Does what `close` does, even when a block is left by an error. Call `discard` first to avoid the commit.
   */
  [Symbol.asyncDispose](): Promise<void>;

  /**
   * Gives up everything that no commit holds yet, for all that have this file open. The file is then as the
   * server has it. This is the only way to lose what was written.
   */
  discard(): Promise<void>;

  status(): FileStatus;
}

/** An open file of netfs itself. */
export interface NetfsFile extends File {
  /**
   * Writes bytes at a place, also in a file that was opened to append. Returns how many, as `write` does, and
   * rejects as that does.
   */
  writeAt(bytes: Uint8Array, positionBytes: number, options?: WaitOptions): Promise<number>;
}

/** How a file is opened. */
export interface OpenFileOptions {
  /** Default true. */
  readonly isReadable?: boolean;
  /** Default true. */
  readonly isWritable?: boolean;
  /** True: every write goes to the end of the file. Default false. */
  readonly isAppending?: boolean;
  /** True: a write resolves when the server has it, committed. Default false. */
  readonly isSynchronous?: boolean;
  /**
   * True: the file is about to be written anew. Until the first `sync` or `close` here, what is written waits
   * a minute instead of 5 s before it is committed by itself, so that others do not see half of it.
   */
  readonly isReplacing?: boolean;
  readonly signal?: AbortSignal | undefined;
}
