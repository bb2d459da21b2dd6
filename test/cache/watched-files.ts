/**
 * Files that report when a descriptor is closed during a call, or used after it was closed. With a real
 * descriptor, such a call could go to another file that has been given the number. Each call takes a few
 * turns of the event loop, so that others come in between.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { CacheFile, CacheFiles, DiskSpace, OpenMode } from '../../src/cache/base/files.ts';

export class WatchedFiles implements CacheFiles {
  /** Misuse that was seen; a test expects none. */
  readonly violations: string[] = [];
  /** How many files are open now. */
  openCount = 0;
  /** How many calls are under way. */
  busyCount = 0;
  /** How many reads blocked the thread, and what is called in each. */
  nowCount = 0;
  onNow: () => void = () => undefined;
  /** Calls that change files, so far. */
  writeCount = 0;
  /** How many turns of the event loop a call takes. */
  delay: (path: string, call: string) => number = () => 0;
  /** Returns the error that a call fails with, if any. */
  fault: (path: string, call: string) => Error | undefined = () => undefined;
  readonly #files: CacheFiles;

  constructor(files: CacheFiles) {
    this.#files = files;
  }

  async open(path: string, mode: OpenMode): Promise<CacheFile> {
    await this.wait(path, 'open');
    const file = await this.#files.open(path, mode);
    this.openCount += 1;
    return new WatchedFile(this, path, file);
  }

  list(folder: string): Promise<string[]> {
    return this.#files.list(folder);
  }

  makeFolder(folder: string): Promise<void> {
    return this.#files.makeFolder(folder);
  }

  async rename(from: string, to: string): Promise<void> {
    this.writeCount += 1;
    await this.wait(from, 'rename');
    await this.#files.rename(from, to);
  }

  async remove(path: string): Promise<void> {
    this.writeCount += 1;
    await this.wait(path, 'remove');
    await this.#files.remove(path);
  }

  syncFolder(folder: string): Promise<void> {
    return this.#files.syncFolder(folder);
  }

  space(): Promise<DiskSpace> {
    return this.#files.space();
  }

  databasePath(name: string): string {
    return this.#files.databasePath(name);
  }

  async wait(path: string, call: string): Promise<void> {
    for (let turns = this.delay(path, call); turns > 0; turns -= 1) await turn();
    const fault = this.fault(path, call);
    if (fault !== undefined) throw fault;
  }
}

class WatchedFile implements CacheFile {
  readonly #files: WatchedFiles;
  readonly #path: string;
  readonly #file: CacheFile;
  readonly #calls: string[] = [];
  #isClosed = false;

  constructor(files: WatchedFiles, path: string, file: CacheFile) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
  }

  get descriptor(): number {
    return this.#file.descriptor;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return this.#call('read', () => this.#file.read(into, position));
  }

  readNow(into: Uint8Array, position: number): number {
    if (this.#isClosed) this.#files.violations.push(`${this.#path}: readNow after it was closed`);
    this.#files.nowCount += 1;
    this.#files.onNow();
    return this.#file.readNow(into, position);
  }

  write(parts: readonly Uint8Array[], position: number): Promise<number> {
    this.#files.writeCount += 1;
    return this.#call('write', () => this.#file.write(parts, position));
  }

  sync(): Promise<void> {
    return this.#call('sync', () => this.#file.sync());
  }

  truncate(lengthBytes: number): Promise<void> {
    this.#files.writeCount += 1;
    return this.#call('truncate', () => this.#file.truncate(lengthBytes));
  }

  size(): Promise<number> {
    return this.#call('size', () => this.#file.size());
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#files.openCount -= 1;
    if (this.#calls.length > 0) {
      this.#files.violations.push(`${this.#path}: closed during ${this.#calls.join(', ')}`);
    }
    await this.#file.close();
  }

  async #call<Result>(name: string, action: () => Promise<Result>): Promise<Result> {
    if (this.#isClosed) this.#files.violations.push(`${this.#path}: ${name} after it was closed`);
    this.#calls.push(name);
    this.#files.busyCount += 1;
    try {
      await this.#files.wait(this.#path, name);
      return await action();
    } finally {
      this.#files.busyCount -= 1;
      this.#calls.splice(this.#calls.indexOf(name), 1);
    }
  }
}
