/**
 * Files in memory that fail as disks do: short reads and writes, EIO, ENOSPC, and power cuts after which any subset of what was not
 * synced is there, torn or whole, names included.
 */
import type { CacheFile, CacheFiles, DiskSpace, OpenMode } from '../../src/cache/files.ts';
import type { Chance } from '../../src/server/scheduler.ts';

interface Node {
  bytes: Uint8Array;
  stable: Uint8Array;
  pending: ({ readonly at: number; readonly bytes: Uint8Array } | { readonly lengthBytes: number })[];
}

export interface FaultRates {
  /** Of calls that fail with this, 0 to 1. */
  readonly EIO: number;
  readonly ENOSPC: number;
  /** Of reads and writes that are cut short. */
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
  /** Faults that were made. */
  count = 0;
  readonly #root: string;
  readonly #chance: Chance;
  #names = new Map<string, Node>();
  #stableNames = new Map<string, Node>();
  #isDead = false;

  constructor(root: string, chance: Chance) {
    this.#root = root;
    this.#chance = chance;
  }

  /** What is there after a power cut. This one is of no more use. */
  powerCut(): FaultyFiles {
    this.#isDead = true;
    const after = new FaultyFiles(this.#root, this.#chance);
    const nodes = new Map<Node, Node>();
    for (const path of new Set([...this.#names.keys(), ...this.#stableNames.keys()])) {
      const now = this.#names.get(path);
      const before = this.#stableNames.get(path);
      const node = now === before || this.#chance() < 0.5 ? now : before;
      if (node === undefined) continue;
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
    if (node === undefined && mode !== 'create') throw systemError('ENOENT');
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
    return [...this.#names.keys()]
      .filter(path => path.startsWith(`${folder}/`))
      .map(path => path.slice(folder.length + 1));
  }

  async makeFolder(): Promise<void> {
    this.check('name');
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
    const isIn = (path: string): boolean => path.slice(0, Math.max(0, path.lastIndexOf('/'))) === folder;
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

  /** Throws what the call fails with, if it does. */
  check(what: 'read' | 'write' | 'name'): void {
    if (this.#isDead) throw systemError('EIO');
    if (this.broken !== undefined) throw systemError(this.broken);
    if (what === 'name') return;
    if (this.#chance() < this.rates.EIO) throw this.#fault('EIO');
    if (what === 'write' && this.#chance() < this.rates.ENOSPC) throw this.#fault('ENOSPC');
  }

  /** How much of so many bytes a call does. */
  portion(lengthBytes: number): number {
    if (lengthBytes <= 1 || this.#chance() >= this.rates.short) return lengthBytes;
    this.count += 1;
    return 1 + Math.floor(this.#chance() * (lengthBytes - 1));
  }

  #fault(code: string): Error {
    this.count += 1;
    return systemError(code);
  }

  #survivor(node: Node): Node {
    let bytes = new Uint8Array(node.stable);
    for (const write of node.pending) {
      if (this.#chance() < 0.5) continue;
      if ('lengthBytes' in write) bytes = resized(bytes, write.lengthBytes);
      else bytes = this.#tear(bytes, write.at, write.bytes);
    }
    return { bytes, stable: new Uint8Array(bytes), pending: [] };
  }

  /** A write of which some sectors may have arrived and others not. */
  #tear(bytes: Uint8Array, at: number, written: Uint8Array): Uint8Array<ArrayBuffer> {
    const isTorn = this.#chance() < 0.5;
    const result = resized(bytes, Math.max(bytes.byteLength, at + written.byteLength));
    for (let from = 0; from < written.byteLength; from += SECTOR) {
      if (!isTorn || this.#chance() < 0.7) result.set(written.subarray(from, from + SECTOR), at + from);
    }
    return result;
  }
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
    this.#files.check('write');
    const all = Buffer.concat(parts as Uint8Array[]);
    const bytes = new Uint8Array(all.subarray(0, this.#files.portion(all.byteLength)));
    const node = this.#node;
    node.bytes = resized(node.bytes, Math.max(node.bytes.byteLength, position + bytes.byteLength));
    node.bytes.set(bytes, position);
    node.pending.push({ at: position, bytes });
    return bytes.byteLength;
  }

  async sync(): Promise<void> {
    await undefined;
    this.#files.check('write');
    this.#node.stable = new Uint8Array(this.#node.bytes);
    this.#node.pending = [];
  }

  async truncate(lengthBytes: number): Promise<void> {
    this.#files.check('write');
    this.#node.bytes = resized(this.#node.bytes, lengthBytes);
    this.#node.pending.push({ lengthBytes });
  }

  async size(): Promise<number> {
    this.#files.check('read');
    return this.#node.bytes.byteLength;
  }

  async close(): Promise<void> {}
}
