/** Streams of open files, in the shape of `ReadStream` and `WriteStream` of `node:fs`. */
import { Readable, Writable } from 'node:stream';
import {
  argumentError,
  requireFlag,
  requireInteger,
  requireObject,
  requireSignal,
} from '../../base/arguments.ts';
import { KIB } from '../../base/geometry.ts';

const CHUNK_BYTES: number = 64 * KIB;

/** What streams need of an open file. */
export interface StreamedFile {
  /** Reads at a position; without one, at the file's own, which it moves. Returns how many bytes. */
  readSome(into: Uint8Array, positionBytes: number | undefined): Promise<number>;
  /** Writes all bytes. */
  writeAll(bytes: Uint8Array, positionBytes: number | undefined): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
  /** Closes without a commit. */
  leave(): Promise<void>;
}

interface StreamOptions {
  readonly start?: number | undefined;
  readonly encoding?: BufferEncoding | null | undefined;
  /** Closes the file when the stream ends. Default true. */
  readonly autoClose?: boolean | undefined;
  readonly emitClose?: boolean | undefined;
  readonly highWaterMark?: number | undefined;
  readonly signal?: AbortSignal | null | undefined;
}

export interface ReadStreamOptions extends StreamOptions {
  /** The last byte that is read. Default: the end of the file. */
  readonly end?: number | undefined;
}

export interface WriteStreamOptions extends StreamOptions {
  readonly flush?: boolean | undefined;
}

function checkOptions(options: unknown): asserts options is ReadStreamOptions {
  requireObject('options', options);
  const { start, end, encoding, autoClose, emitClose, highWaterMark, signal } = options as ReadStreamOptions;
  if (start !== undefined) requireInteger('options.start', start);
  if (end !== undefined && end !== Number.POSITIVE_INFINITY) requireInteger('options.end', end, start ?? 0);
  if (highWaterMark !== undefined) requireInteger('options.highWaterMark', highWaterMark, 1);
  requireFlag('options.autoClose', autoClose);
  requireFlag('options.emitClose', emitClose);
  requireSignal('options.signal', signal ?? undefined);
  const isEncoding = encoding === undefined || encoding === null || Buffer.isEncoding(encoding);
  if (!isEncoding) throw argumentError('options.encoding', 'an encoding of Buffer', encoding);
}

/** Reads a file from one end to the other, a chunk ahead of its reader. */
export class FileReadStream extends Readable {
  /** An open file has no path of this machine. */
  readonly path = '';
  readonly pending = false;
  /** Bytes that have been read so far. */
  bytesRead = 0;
  readonly #file: StreamedFile;
  readonly #isClosing: boolean;
  #positionBytes: number | undefined;
  #leftBytes: number;

  constructor(file: StreamedFile, options: ReadStreamOptions = {}) {
    checkOptions(options);
    const { start, end = Number.POSITIVE_INFINITY, encoding, autoClose = true, emitClose = true } = options;
    const { highWaterMark = CHUNK_BYTES, signal } = options;
    super({
      highWaterMark,
      emitClose,
      autoDestroy: autoClose,
      ...(encoding === undefined || encoding === null ? {} : { encoding }),
      ...(signal === undefined || signal === null ? {} : { signal }),
    });
    this.#file = file;
    this.#isClosing = autoClose;
    this.#positionBytes = start;
    this.#leftBytes = end + 1 - (start ?? 0);
  }

  override _read(sizeBytes: number): void {
    const lengthBytes = Math.min(sizeBytes, this.#leftBytes);
    if (lengthBytes <= 0) {
      this.push(null);
      return;
    }
    // Memory of its own: a small chunk from Node's pool would keep the whole pool alive.
    const buffer = Buffer.allocUnsafeSlow(lengthBytes);
    this.#file.readSome(buffer, this.#positionBytes).then(
      count => {
        this.bytesRead += count;
        this.#leftBytes -= count;
        if (this.#positionBytes !== undefined) this.#positionBytes += count;
        this.push(count === 0 ? null : buffer.subarray(0, count));
      },
      error => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    end(this.#isClosing ? this.#file.leave() : Promise.resolve(), error, callback);
  }

  /** Ends the stream. The callback is called when its file is closed, if the stream closes it. */
  close(callback?: (error?: NodeJS.ErrnoException | null) => void): void {
    closeStream(this, callback);
  }
}

/**
 * Writes a file from a position on. What was written is committed before `finish`. Destroyed with an error,
 * it waits for no commit: what it has written stays in the file, as in a local one, and is committed in the
 * background.
 */
export class FileWriteStream extends Writable {
  /** An open file has no path of this machine. */
  readonly path = '';
  readonly pending = false;
  /** Bytes that have been written so far. */
  bytesWritten = 0;
  readonly #file: StreamedFile;
  readonly #isClosing: boolean;
  #positionBytes: number | undefined;

  constructor(file: StreamedFile, options: WriteStreamOptions = {}) {
    checkOptions(options);
    const { start, encoding, autoClose = true, emitClose = true, highWaterMark, signal } = options;
    super({
      emitClose,
      autoDestroy: autoClose,
      ...(highWaterMark === undefined ? {} : { highWaterMark }),
      ...(encoding === undefined || encoding === null ? {} : { defaultEncoding: encoding }),
      ...(signal === undefined || signal === null ? {} : { signal }),
    });
    this.#file = file;
    this.#isClosing = autoClose;
    this.#positionBytes = start;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#write(chunk).then(() => callback(), callback);
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#write(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => callback(), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    const committed = this.#isClosing ? this.#file.close() : this.#file.sync();
    committed.then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    end(this.#isClosing ? this.#file.leave() : Promise.resolve(), error, callback);
  }

  /** Ends the stream, with a commit. The callback is called when that has happened. */
  close(callback?: (error?: NodeJS.ErrnoException | null) => void): void {
    // Without `autoClose`, the stream does not destroy itself.
    if (!this.#isClosing) this.once('finish', () => this.destroy());
    if (!this.writableEnded && !this.destroyed) this.end();
    if (callback === undefined) return;
    if (this.closed) process.nextTick(callback);
    else whenOver(this, callback);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#file.writeAll(bytes, this.#positionBytes);
    this.bytesWritten += bytes.byteLength;
    if (this.#positionBytes !== undefined) this.#positionBytes += bytes.byteLength;
  }
}

/** Calls back when a file was closed; with the error that the stream ended with, or that of closing. */
function end(closed: Promise<void>, error: Error | null, callback: (error?: Error | null) => void): void {
  closed.then(
    () => callback(error),
    cause => callback(error ?? cause),
  );
}

function closeStream(stream: Readable, callback?: (error?: NodeJS.ErrnoException | null) => void): void {
  if (callback !== undefined) {
    if (stream.closed) process.nextTick(callback);
    else whenOver(stream, callback);
  }
  stream.destroy();
}

function whenOver(
  stream: Readable | Writable,
  callback: (error?: NodeJS.ErrnoException | null) => void,
): void {
  stream.once('close', () => callback(stream.errored));
}
