/**
 * Files in memory that fail as disks do.
 *
 * - Reads and writes are cut short. Calls fail with EIO and ENOSPC; a write that fails may have been done in
 *   part.
 * - After a power cut, any subset of the unsynced sectors is there. Where a file has grown, the missing
 *   sectors are zeros, or the file is shorter. Truncations may be undone.
 * - After a power cut, files that were made, renamed or removed are under their old name, their new one, both
 *   or none, unless their folder was synced. A new folder may be gone unless its parent was synced.
 * - After a sync that failed, its bytes may never reach the disk, although they can be read until the power
 *   cut.
 */
import type { Chance } from '../../src/base/chance.ts';
import type { CacheFile, CacheFiles, DiskSpace, OpenMode } from '../../src/cache/base/files.ts';

type Change = { readonly at: number; readonly bytes: Uint8Array } | { readonly lengthBytes: number };

interface Node {
  /** The content that reads see. */
  bytes: Uint8Array;
  /** The content that is on the disk for sure. */
  stable: Uint8Array;
  /** Since then. */
  pending: Change[];
}

export interface FaultRates {
  /** The share of calls that fail with this, 0 to 1. */
  readonly EIO: number;
  readonly ENOSPC: number;
  /** The share of reads and writes that are cut short, 0 to 1. */
  readonly short: number;
}

export const NO_FAULTS: FaultRates = { EIO: 0, ENOSPC: 0, short: 0 };
const SECTOR = 512;

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: made up`), { code, syscall: 'test' });
}

export class FaultyFiles implements CacheFiles {
  rates: FaultRates = NO_FAULTS;
  /** Every call fails with this: the folder has gone, or is read-only. */
  broken: string | undefined;
  disk: DiskSpace = { blockCount: 1000, blocksAvailable: 900, fileCount: 1000, filesAvailable: 900 };
  /** There is room for writes of so many bytes, and no more. */
  writeBytesMax: number = Number.POSITIVE_INFINITY;
  /** Faults that were made. */
  count = 0;
  readonly #root: string;
  readonly #chance: Chance;
  #names = new Map<string, Node>();
  #stableNames = new Map<string, Node>();
  #folders = new Set<string>(['']);
  #stableFolders = new Set<string>(['']);
  #isDead = false;
  /** Cuts the power after so many more calls. */
  callsLeft: number = Number.POSITIVE_INFINITY;

  constructor(root: string, chance: Chance) {
    this.#root = root;
    this.#chance = chance;
  }

  /** Returns the files after a power cut. Do not use this object any more. */
  powerCut(): FaultyFiles {
    this.#isDead = true;
    const after = new FaultyFiles(this.#root, this.#chance);
    for (const folder of this.#folders) {
      if (!this.#stableFolders.has(folder) && this.#chance() < 0.5) continue;
      after.#folders.add(folder);
      after.#stableFolders.add(folder);
    }
    const nodes = new Map<Node, Node>();
    for (const path of new Set([...this.#names.keys(), ...this.#stableNames.keys()])) {
      const now = this.#names.get(path);
      const before = this.#stableNames.get(path);
      const node = now === before || this.#chance() < 0.5 ? now : before;
      if (node === undefined || !after.#folders.has(folderOf(path))) continue;
      const survivor = nodes.get(node) ?? this.#survivor(node);
      nodes.set(node, survivor);
      after.#names.set(path, survivor);
      after.#stableNames.set(path, survivor);
    }
    return after;
  }

  /** Every file with its content; for tests that damage them. */
  contents(): Map<string, Uint8Array> {
    return new Map([...this.#names].map(([path, { bytes }]) => [path, bytes]));
  }

  async open(path: string, mode: OpenMode): Promise<CacheFile> {
    this.check(mode === 'create' ? 'write' : 'read');
    let node = this.#names.get(path);
    const isLost = mode === 'create' ? !this.#folders.has(folderOf(path)) : node === undefined;
    if (isLost) throw systemError('ENOENT');
    if (node === undefined) {
      node = { bytes: new Uint8Array(0), stable: new Uint8Array(0), pending: [] };
      this.#names.set(path, node);
    }
    const file = new FaultyFile(this, node);
    if (mode === 'create') await file.truncate(0);
    return file;
  }

  async list(folder: string): Promise<string[]> {
    this.check('name');
    if (!this.#folders.has(folder)) throw systemError('ENOENT');
    return [...this.#names.keys()]
      .filter(path => path.startsWith(`${folder}/`))
      .map(path => path.slice(folder.length + 1));
  }

  async makeFolder(folder: string): Promise<void> {
    this.check('name');
    this.#folders.add(folder);
  }

  async rename(from: string, to: string): Promise<void> {
    this.check('name');
    const node = this.#names.get(from);
    if (node === undefined) throw systemError('ENOENT');
    this.#names.delete(from);
    this.#names.set(to, node);
  }

  async remove(path: string): Promise<void> {
    this.check('name');
    this.#names.delete(path);
  }

  async syncFolder(folder: string): Promise<void> {
    this.check('write');
    const isIn = (path: string): boolean => folderOf(path) === folder;
    if (folder === '') for (const each of this.#folders) this.#stableFolders.add(each);
    for (const path of [...this.#stableNames.keys()].filter(isIn)) this.#stableNames.delete(path);
    for (const [path, node] of this.#names) if (isIn(path)) this.#stableNames.set(path, node);
  }

  async space(): Promise<DiskSpace> {
    this.check('name');
    return this.disk;
  }

  databasePath(name: string): string {
    return `${this.#root}/${name}`;
  }

  /** Throws the error that the call fails with, if any. */
  check(what: 'read' | 'write' | 'name'): void {
    this.callsLeft -= 1;
    if (this.callsLeft < 0) this.#isDead = true;
    if (this.#isDead) throw systemError('EIO');
    if (this.broken !== undefined) throw systemError(this.broken);
    if (what === 'name') return;
    if (this.#chance() < this.rates.EIO) throw this.#fault('EIO');
    if (what === 'write' && this.#chance() < this.rates.ENOSPC) throw this.#fault('ENOSPC');
  }

  /** Draws how many of the bytes a call does. */
  portion(lengthBytes: number): number {
    if (lengthBytes <= 1 || this.#chance() >= this.rates.short) return lengthBytes;
    this.count += 1;
    return 1 + Math.floor(this.#chance() * (lengthBytes - 1));
  }

  #fault(code: string): Error {
    this.count += 1;
    return systemError(code);
  }

  /** True half of the time. */
  either(): boolean {
    return this.#chance() < 0.5;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  #survivor(node: Node): Node {
    let bytes = new Uint8Array(node.stable);
    for (const change of node.pending) {
      const isThere = this.#chance();
      if (isThere < 0.4) continue;
      if (isThere < 0.7 || 'lengthBytes' in change) bytes = applied(bytes, change);
      else bytes = this.#torn(bytes, change.at, change.bytes);
    }
    return { bytes, stable: new Uint8Array(bytes), pending: [] };
  }

  /**
   * A write of which any sectors may have arrived, none of them as well; the file has its new length all the
   * same.
   */
  #torn(bytes: Uint8Array, at: number, written: Uint8Array): Uint8Array<ArrayBuffer> {
    const result = resized(bytes, Math.max(bytes.byteLength, at + written.byteLength));
    const part = this.#chance();
    for (let from = 0; from < written.byteLength; ) {
      const to = Math.min(written.byteLength, from + SECTOR - ((at + from) % SECTOR));
      if (this.#chance() < part) result.set(written.subarray(from, to), at + from);
      from = to;
    }
    return result;
  }
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')));
}

function applied(bytes: Uint8Array, change: Change): Uint8Array<ArrayBuffer> {
  if ('lengthBytes' in change) return resized(bytes, change.lengthBytes);
  const result = resized(bytes, Math.max(bytes.byteLength, change.at + change.bytes.byteLength));
  result.set(change.bytes, change.at);
  return result;
}

function resized(bytes: Uint8Array, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(lengthBytes);
  result.set(bytes.subarray(0, lengthBytes));
  return result;
}

class FaultyFile implements CacheFile {
  readonly descriptor = -1;
  readonly #files: FaultyFiles;
  readonly #node: Node;

  constructor(files: FaultyFiles, node: Node) {
    this.#files = files;
    this.#node = node;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    // Not at once: others get their turn, as with a real disk.
    await undefined;
    return this.readNow(into, position);
  }

  readNow(into: Uint8Array, position: number): number {
    this.#files.check('read');
    const there = this.#node.bytes.subarray(position, position + into.byteLength);
    const part = there.subarray(0, this.#files.portion(there.byteLength));
    into.set(part);
    return part.byteLength;
  }

  async write(parts: readonly Uint8Array[], position: number): Promise<number> {
    await undefined;
    const all = Buffer.concat(parts as Uint8Array[]);
    if (all.byteLength > this.#files.writeBytesMax) throw systemError('ENOSPC');
    try {
      this.#files.check('write');
    } catch (error) {
      if (!this.#files.isDead && this.#files.broken === undefined && this.#files.either())
        this.#change({ at: position, bytes: new Uint8Array(all.subarray(0, all.byteLength / 2)) });
      throw error;
    }
    const bytes = new Uint8Array(all.subarray(0, this.#files.portion(all.byteLength)));
    this.#change({ at: position, bytes });
    return bytes.byteLength;
  }

  #change(change: Change): void {
    this.#node.bytes = applied(this.#node.bytes, change);
    this.#node.pending.push(change);
  }

  async sync(): Promise<void> {
    await undefined;
    const node = this.#node;
    const { pending } = node;
    node.pending = [];
    try {
      this.#files.check('write');
    } catch (error) {
      // As Linux does, take the bytes that could not be written for written.
      node.pending = this.#files.isDead ? pending : pending.filter(() => this.#files.either());
      throw error;
    }
    node.stable = pending.reduce(applied, new Uint8Array(node.stable));
  }

  async truncate(lengthBytes: number): Promise<void> {
    this.#files.check('write');
    this.#change({ lengthBytes });
  }

  async size(): Promise<number> {
    this.#files.check('read');
    return this.#node.bytes.byteLength;
  }

  async close(): Promise<void> {}
}
