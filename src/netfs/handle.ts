/** An open file as its opener sees it: positions, checks of arguments, and which errors it was told of. */
import {
  argumentError,
  requireBytes,
  requireInteger,
  requireObject,
  requireOptions,
  requireSignal,
} from '../base/arguments.ts';
import { NetsealError } from '../base/errors.ts';
import { SIZE_BYTES_MAX } from '../base/geometry.ts';
import { giveTurn } from '../base/turns.ts';
import type {
  FileStatus,
  NetfsFile,
  OpenFileOptions,
  Position,
  ReadResult,
  TransferOptions,
  WaitOptions,
  WriteResult,
} from './file.ts';
import type { OpenFile } from './open-file.ts';
import type { ReadAhead } from './read-ahead.ts';
import type { ErrorCursor } from './regions/errseq.ts';

/** What a call of `read` or `write` asks for. */
interface Transfer {
  readonly part: Uint8Array;
  /** Undefined: at the open file's own position. */
  readonly positionBytes: number | undefined;
  readonly signal: AbortSignal | undefined;
}

export class FileOfNetfs<Handle> implements NetfsFile {
  readonly #file: OpenFile<Handle>;
  readonly #cursor: ErrorCursor;
  readonly #ahead: ReadAhead<Handle>;
  readonly #isReadable: boolean;
  readonly #isWritable: boolean;
  readonly #isAppending: boolean;
  readonly #isSynchronous: boolean;
  readonly #endReplacing: () => void;
  /** Called once, when this open file is closed. */
  readonly #onClosed: () => Promise<void>;
  #positionBytes = 0;
  /** The latest call that moves the position. It never rejects. */
  #moving: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #closing: Promise<void> | undefined;

  constructor(file: OpenFile<Handle>, options: OpenFileOptions, onClosed: () => Promise<void>) {
    const { isReadable = true, isWritable = true, isAppending = false, isSynchronous = false } = options;
    this.#file = file;
    this.#cursor = file.parts.errors.open();
    this.#ahead = file.newReadAhead();
    this.#isReadable = isReadable;
    this.#isWritable = isWritable;
    this.#isAppending = isAppending;
    this.#isSynchronous = isSynchronous;
    this.#endReplacing = options.isReplacing === true ? file.beginReplacing() : () => undefined;
    this.#onClosed = onClosed;
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  async read<Bytes extends Uint8Array>(
    buffer: Bytes,
    offset?: number | null | TransferOptions,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Bytes>> {
    this.#requireReadable();
    const { part, positionBytes, signal } = transferOf(buffer, offset, length, position);
    if (positionBytes !== undefined) {
      const reading = this.#file.read(positionBytes, part, signal, this.#ahead);
      const bytesRead = typeof reading === 'number' ? reading : await reading;
      if (this.#file.parts.netfs.turns.count()) await giveTurn();
      return { bytesRead, buffer };
    }
    const bytesRead = await this.#move(signal, async () => {
      const count = await this.#file.read(this.#positionBytes, part, signal, this.#ahead);
      this.#positionBytes += count;
      return count;
    });
    return { bytesRead, buffer };
  }

  async write<Bytes extends Uint8Array>(
    buffer: Bytes,
    offset?: number | null | TransferOptions,
    length?: number | null,
    position?: Position,
  ): Promise<WriteResult<Bytes>> {
    this.#requireWritable();
    const { part, positionBytes, signal } = transferOf(buffer, offset, length, position);
    let bytesWritten: number;
    if (this.#isAppending) {
      bytesWritten = await this.#file.write(undefined, part, signal);
    } else if (positionBytes !== undefined) {
      const writing = this.#file.write(positionBytes, part, signal);
      bytesWritten = typeof writing === 'number' ? writing : await writing;
      if (this.#file.parts.netfs.turns.count()) await giveTurn();
    } else {
      bytesWritten = await this.#move(signal, async () => {
        const count = await this.#file.write(this.#positionBytes, part, signal);
        this.#positionBytes += count;
        return count;
      });
    }
    if (this.#isSynchronous && bytesWritten > 0) await this.#commit(signal);
    return { bytesWritten, buffer };
  }

  async writeAt(bytes: Uint8Array, positionBytes: number, options: WaitOptions = {}): Promise<number> {
    this.#requireWritable();
    requireBytes('bytes', bytes);
    requireInteger('positionBytes', positionBytes, 0, SIZE_BYTES_MAX);
    requireOptions('options', options);
    const { signal } = options;
    const bytesWritten = await this.#file.write(positionBytes, bytes, signal);
    if (this.#isSynchronous && bytesWritten > 0) await this.#commit(signal);
    return bytesWritten;
  }

  tryRead(buffer: Uint8Array, position: number): number | undefined {
    this.#requireReadable();
    requireBytes('buffer', buffer);
    requireInteger('position', position, 0, SIZE_BYTES_MAX);
    return this.#file.tryRead(position, buffer, this.#ahead);
  }

  tryWrite(buffer: Uint8Array, position: number): number | undefined {
    this.#requireWritable();
    requireBytes('buffer', buffer);
    requireInteger('position', position, 0, SIZE_BYTES_MAX);
    if (this.#isAppending || this.#isSynchronous) return undefined;
    return this.#file.tryWrite(position, buffer);
  }

  async truncate(sizeBytes: number = 0, options: WaitOptions = {}): Promise<void> {
    requireInteger('sizeBytes', sizeBytes, 0, SIZE_BYTES_MAX);
    requireOptions('options', options);
    this.#requireWritable();
    await this.#file.truncate(sizeBytes, options.signal);
    if (this.#isSynchronous) await this.#commit(options.signal);
  }

  async allocate(sizeBytes: number, options: WaitOptions = {}): Promise<void> {
    requireInteger('sizeBytes', sizeBytes, 0, SIZE_BYTES_MAX);
    requireOptions('options', options);
    this.#requireWritable();
    await this.#file.grow(sizeBytes, options.signal);
    if (this.#isSynchronous) await this.#commit(options.signal);
  }

  async sync(options: WaitOptions = {}): Promise<void> {
    requireOptions('options', options);
    this.#requireOpen();
    await this.#commit(options.signal);
  }

  async datasync(options: WaitOptions = {}): Promise<void> {
    await this.sync(options);
  }

  async close(options: WaitOptions = {}): Promise<void> {
    requireOptions('options', options);
    this.#isClosed = true;
    this.#closing ??= this.#close(options.signal);
    await this.#closing;
  }

  async leave(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endReplacing();
    this.#closing = this.#onClosed();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async discard(): Promise<void> {
    this.#requireWritable();
    await this.#file.discard();
  }

  status(): FileStatus {
    return this.#file.status;
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#commit(signal);
    } finally {
      await this.#onClosed();
    }
  }

  /** Commits. Rejects also with errors that this open file has not been told of. */
  async #commit(signal: AbortSignal | undefined): Promise<void> {
    this.#endReplacing();
    try {
      await this.#file.commit(signal);
    } catch (error) {
      // The signal has ended only the waiting.
      if (signal?.aborted === true && error === signal.reason) throw error;
      throw this.#cursor.take() ?? error;
    }
    const untold = this.#cursor.take();
    if (untold !== undefined) throw untold;
  }

  /** Runs calls that move the position one after the other. */
  #move(signal: AbortSignal | undefined, work: () => Promise<number>): Promise<number> {
    const moving = this.#moving.then(() => {
      signal?.throwIfAborted();
      return work();
    });
    this.#moving = moving.catch(() => undefined);
    return moving;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the file was closed');
  }

  #requireReadable(): void {
    this.#requireOpen();
    if (!this.#isReadable) throw new NetsealError('EDENIED', 'the file was not opened for reading');
  }

  #requireWritable(): void {
    this.#requireOpen();
    if (!this.#isWritable) throw new NetsealError('EDENIED', 'the file was not opened for writing');
  }
}

function transferOf(
  buffer: Uint8Array,
  offsetOrOptions: number | null | undefined | TransferOptions,
  givenLength: number | null | undefined,
  givenPosition: Position,
): Transfer {
  requireBytes('buffer', buffer);
  const isObject = typeof offsetOrOptions === 'object' && offsetOrOptions !== null;
  const options: TransferOptions = isObject
    ? offsetOrOptions
    : { offset: offsetOrOptions, length: givenLength, position: givenPosition };
  requireObject('options', options);
  requireSignal('signal', options.signal);
  const offset = options.offset ?? 0;
  requireInteger('offset', offset, 0, buffer.byteLength);
  const length = options.length ?? buffer.byteLength - offset;
  requireInteger('length', length, 0, buffer.byteLength - offset);
  const part = length === buffer.byteLength ? buffer : buffer.subarray(offset, offset + length);
  return { part, positionBytes: positionOf(options.position), signal: options.signal };
}

function positionOf(position: Position): number | undefined {
  if (position === null || position === undefined) return undefined;
  const positionBytes = typeof position === 'bigint' ? Number(position) : position;
  if (positionBytes === -1) return undefined;
  if (!Number.isSafeInteger(positionBytes) || positionBytes < 0) {
    throw argumentError('position', 'a whole number from 0 to 2^53 - 1, -1 or null', position);
  }
  return positionBytes;
}
