/** A file that `get` writes. It has a temporary name until it is whole. */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { Attributes } from '../server/sealed/inode.ts';
import { writeAsync, writevAsync } from '../system/file-bytes.ts';
import type { Unfinished } from '../volume/state/get-journal.ts';
import {
  type FolderHandle,
  type LocalStat,
  openAt,
  renameAt,
  statOf,
  tryLock,
  unlinkAt,
} from './local-calls.ts';
import { localError } from './local-errors.ts';
import { joinPath, partialName, resumableName, showName } from './local-names.ts';
import {
  type Made,
  type ProvenTimes,
  type RestoreOptions,
  restoreAttributes,
  type Unset,
} from './local-restore.ts';
import { PRIVATE_MODE } from './local-rights.ts';

const fsyncAsync = promisify(fs.fsync);
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
const CREATE_FLAGS = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
/** The most that is written at once. An abort is noticed between two writes. */
const WRITE_MAX_BYTES = 4 * 1024 * 1024;

/** The most parts that one system call takes. */
const PARTS_MAX = 1024;

export interface FinishOptions extends RestoreOptions {
  readonly attributes: Attributes;
  /** The file's size. Ranges below it that were not written are holes. */
  readonly sizeBytes: number;
  readonly times?: ProvenTimes | undefined;
}

export interface TargetFileOptions {
  readonly isLong?: boolean;
  /** Whether another `get` may go on with the file after an interruption. Default: false. */
  readonly isResumable?: boolean;
  readonly begun?: BegunFile | undefined;
  /** What is known of the file once it is made. A mode that is given here is what it is made with. */
  readonly made?: Made | undefined;
}

/** An unfinished file that an interrupted copy has left, open and locked. */
export interface BegunFile {
  readonly name: Name;
  readonly fd: number;
  readonly endBytes: number;
}

/** Holds one descriptor until `finish`, `finishDurably` or `discard`. The caller must call one of them. */
export class TargetFile {
  readonly #folder: FolderHandle;
  readonly #name: Name;
  readonly #partial: Name;
  readonly #replaced: () => LocalStat | undefined;
  readonly #fd: number;
  readonly #made: Made | undefined;
  /** The file's current length in bytes. */
  #endBytes = 0;
  #isOpen = true;
  /**
   * Background writes. The descriptor stays open until they end, or its number could become another file's.
   */
  #runningCount = 0;

  /**
   * @param replaced returns the file or link that the file will replace, if there is one; throws EISDIR or
   *   EEXIST for anything else that has the name.
   * @param isLong whether writing takes more than one turn. Then the file is locked, so that no other copy
   *   takes it for a leftover.
   * @param begun an unfinished file to go on with; this takes over its descriptor.
   */
  constructor(
    folder: FolderHandle,
    name: Name,
    replaced: () => LocalStat | undefined,
    { isLong = false, isResumable = false, begun, made }: TargetFileOptions = {},
  ) {
    this.#made = made;
    this.#replaced = replaced;
    this.#folder = folder;
    this.#name = name;
    this.#partial = begun?.name ?? (isResumable ? resumableName() : partialName());
    this.#fd =
      begun?.fd ??
      this.#writing(() => openAt(folder, this.#partial, CREATE_FLAGS, made?.mode ?? PRIVATE_MODE));
    this.#endBytes = begun?.endBytes ?? 0;
    if (isLong && begun === undefined) tryLock(this.#fd);
  }

  /** The final path. */
  get path(): Name {
    return joinPath(this.#folder.path, this.#name);
  }

  /** The unfinished file, and its length in bytes. */
  get unfinished(): Unfinished & { readonly endBytes: number } {
    const { device, inode } = this.#writing(() => statOf(this.#fd));
    return { name: this.#partial, device, inode, endBytes: this.#endBytes };
  }

  /** Writes small contents. EFULL when there is no room. */
  writeSync(bytes: Uint8Array, offsetBytes: number): void {
    this.#requireOpen();
    this.#writing(() => {
      for (let done = 0; done < bytes.byteLength; )
        done += fs.writeSync(this.#fd, bytes, done, bytes.byteLength - done, offsetBytes + done);
    });
    this.#endBytes = Math.max(this.#endBytes, offsetBytes + bytes.byteLength);
  }

  /**
   * Like {@link writeSync}, in the background. Several may run at once. `bytes` may be a view of shared
   * memory; it is read until this settles, also after an abort.
   */
  async write(bytes: Uint8Array, offsetBytes: number, signal?: AbortSignal): Promise<void> {
    this.#requireOpen();
    this.#runningCount += 1;
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        signal?.throwIfAborted();
        const lengthBytes = Math.min(bytes.byteLength - done, WRITE_MAX_BYTES);
        done += await writeAsync(this.#fd, bytes, done, lengthBytes, offsetBytes + done);
        this.#requireOpen();
      }
    } catch (error) {
      throw localError('write', this.path, error);
    } finally {
      this.#leaveBackground();
    }
    this.#endBytes = Math.max(this.#endBytes, offsetBytes + bytes.byteLength);
  }

  /**
   * Like {@link write}, for parts that follow one another. All go into one system call: several calls at once
   * would only spin while they wait for the kernel's lock of the file.
   */
  async writeParts(parts: readonly Uint8Array[], offsetBytes: number, signal?: AbortSignal): Promise<void> {
    this.#requireOpen();
    this.#runningCount += 1;
    let endBytes = offsetBytes;
    try {
      for (let rest = parts.filter(part => part.byteLength > 0); rest.length > 0; ) {
        signal?.throwIfAborted();
        const bytesWritten = await writevAsync(this.#fd, rest.slice(0, PARTS_MAX), endBytes);
        endBytes += bytesWritten;
        rest = afterBytes(rest, bytesWritten);
        this.#requireOpen();
      }
    } catch (error) {
      throw localError('write', this.path, error);
    } finally {
      this.#leaveBackground();
    }
    this.#endBytes = Math.max(this.#endBytes, endBytes);
  }

  /**
   * Sets size and attributes, then gives the file its name: it replaces a file or a link, never a folder
   * (EISDIR), a device or the like (EEXIST). Returns what could not be set. After a failure nothing of the
   * file is left, and what had the name is still there.
   */
  finish(options: FinishOptions): Unset {
    return this.#orDiscard(() => {
      const unset = this.#restore(options);
      this.#rename();
      return unset;
    });
  }

  /**
   * Like {@link finish}, but syncs the content before the rename. To have the name on the disk, call
   * `TargetFolder.sync`.
   */
  async finishDurably(options: FinishOptions): Promise<Unset> {
    const unset = this.#orDiscard(() => this.#restore(options));
    this.#runningCount += 1;
    try {
      await fsyncAsync(this.#fd);
    } catch (error) {
      this.discard();
      throw localError('write', this.path, error);
    } finally {
      this.#leaveBackground();
    }
    return this.#orDiscard(() => {
      this.#rename();
      return unset;
    });
  }

  /** Leaves the unfinished file for another run, which may go on with it. */
  leave(): void {
    if (this.#isOpen) this.#close();
  }

  /** Removes the unfinished file. A background write that is running fails. Does nothing after `finish`. */
  discard(): void {
    if (!this.#isOpen) return;
    this.#close();
    try {
      unlinkAt(this.#folder, this.#partial);
    } catch {
      // It was removed already, or `removeLeftovers` will remove it.
    }
  }

  #restore({ attributes, sizeBytes, ...options }: FinishOptions): Unset {
    this.#requireOpen();
    if (this.#runningCount > 0)
      throw new NetsealError('EBUG', `finished while it is written: ${showName(this.path)}`);
    if (sizeBytes !== this.#endBytes) fs.ftruncateSync(this.#fd, sizeBytes);
    const existing = this.#replaced();
    const replaced = existing?.type === 'file' ? existing : undefined;
    return restoreAttributes(this.#fd, attributes, { ...options, replaced, made: this.#made });
  }

  #rename(): void {
    this.#requireOpen();
    renameAt(this.#folder, this.#partial, this.#name);
    this.#close();
  }

  #orDiscard<Result>(action: () => Result): Result {
    try {
      return this.#writing(action);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  #writing<Result>(action: () => Result): Result {
    try {
      return action();
    } catch (error) {
      throw localError('write', this.path, error);
    }
  }

  #requireOpen(): void {
    if (!this.#isOpen) throw new NetsealError('ECLOSED', `already finished: ${showName(this.path)}`);
  }

  #leaveBackground(): void {
    this.#runningCount -= 1;
    if (this.#runningCount === 0 && !this.#isOpen) fs.closeSync(this.#fd);
  }

  #close(): void {
    this.#isOpen = false;
    if (this.#runningCount === 0) fs.closeSync(this.#fd);
  }
}

/** Returns what is left of the parts after their first `writtenBytes`. */
function afterBytes(parts: readonly Uint8Array[], writtenBytes: number): Uint8Array[] {
  let skippedBytes = writtenBytes;
  return parts.flatMap(part => {
    const rest = part.subarray(Math.min(skippedBytes, part.byteLength));
    skippedBytes -= part.byteLength - rest.byteLength;
    return rest.byteLength === 0 ? [] : [rest];
  });
}
