/**
 * Checks that everything in a volume is there and authentic. For each damaged object it says which files and
 * bytes are affected. Damage never ends a verification, and it changes nothing.
 *
 *   inodes, name nodes, map pages   all are opened
 *   units, and packs of them        each must lie within an existing segment; a sample, or all, are opened
 *   footers                         opened in a deep verification
 */

import {
  requireCallback,
  requireFlag,
  requireInstance,
  requireNumber,
  requireObject,
  requireOptions,
} from '../../base/arguments.ts';
import type { Chance } from '../../base/chance.ts';
import { isLoss, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import { listAll } from '../../server/list-all.ts';
import type { DirectoryEntry, FileInode, Inode, ObjectReference } from '../../server/sealed/inode.ts';
import {
  HEAD_PREFIX,
  INODE_PREFIX,
  idOfKey,
  inodeKey,
  SEGMENT_PREFIX,
  segmentKey,
} from '../../server/sealed/object-keys.ts';
import { isSlicePointer, storedBytesOf } from '../../server/sealed/pointer.ts';
import { readSegmentFooter } from '../../server/sealed/segment-footer.ts';
import type { MappedUnit } from '../../server/sealed/unit-map.ts';
import { mergeHeads } from '../history/heads.ts';
import { idOfEntry, keyOfReference, typeOfEntry } from '../names/references.ts';
import { Volume } from '../volume.ts';
import { type AffectedItem, type Damage, DamageLog, unitsToBytes } from './verify-damage.ts';
import { UnitChecker } from './verify-units.ts';
import { type Lost, type Visitor, Walk, type Walked, type WalkedPlace } from './walk.ts';

export interface VerifyOptions {
  /** The probability, 0 to 1, with which each unit is opened. Default 0. */
  readonly sample?: number | undefined;
  /** Whether to open all units, and the footers of segments. Default false. */
  readonly deep?: boolean | undefined;
  readonly chance?: Chance | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called often. */
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

export interface VerifyProgress {
  /** Folders, and what is in them. */
  readonly items: number;
  /** Sealed bytes of the units that were checked. */
  readonly doneBytes: number;
  /** Bytes of all segments in the store, an upper bound for `doneBytes`. */
  readonly totalBytes: number;
}

export interface VerifyReport {
  readonly folders: number;
  readonly files: number;
  readonly symlinks: number;
  /** FIFOs, sockets and devices. */
  readonly specials: number;
  /** The sum of the files' sizes. */
  readonly fileBytes: number;
  /** All units, and those of them that were opened. */
  readonly units: number;
  readonly openedUnits: number;
  /** Empty when the volume is whole. */
  readonly damages: readonly Damage[];
  /** Oddities through which nothing is lost. */
  readonly notes: readonly string[];
  /** Objects that nothing refers to. gc will delete them. */
  readonly unreferenced: { readonly objects: number; readonly bytes: number };
}

const FOOTERS_MAX = 8;

/** Verifies a volume. Rejects only when the store cannot be reached, or with the signal's reason. */
export async function verifyVolume(volume: Volume, options: VerifyOptions = {}): Promise<VerifyReport> {
  requireInstance('volume', volume, Volume);
  requireObject('options', options);
  requireOptions('options', options);
  const { sample, deep, chance, onProgress } = options;
  if (sample !== undefined) requireNumber('options.sample', sample, 0, 1);
  requireFlag('options.deep', deep);
  requireCallback('options.chance', chance);
  requireCallback('options.onProgress', onProgress);
  // What this machine keeps says nothing about the store.
  const resume = volume.session.cacheBypass?.begin();
  try {
    return await new Verification(volume, options).run();
  } finally {
    resume?.();
  }
}

/** What the leaves of a folder hold. */
interface EntryCounts {
  entries: number;
  subdirectories: number;
}

/** An inode with an object of its own that may have several names: any but a folder's. */
interface LinkedFile {
  readonly id: Id;
  readonly paths: string[];
  readonly type: Inode['type'];
  linkCount: number | undefined;
}

class Verification {
  readonly #volume: Volume;
  readonly #options: VerifyOptions;
  readonly #log: DamageLog;
  readonly #notes: string[] = [];
  readonly #checker: UnitChecker;
  /** Sizes of segments in bytes; -1 for missing ones. */
  readonly #segments = new Map<Id, number>();
  readonly #usedSegments = new Set<Id>();
  /** By the keys of their objects, as are the folders. */
  readonly #linked = new Map<Id, LinkedFile>();
  readonly #folders = new Set<Id>();
  /** The keys of removed folders that a name still leads to. */
  readonly #removedFolders = new Set<Id>();
  /** For each folder on the way to where the walk is, what was met in its leaves so far. */
  readonly #counts = new Map<Id, EntryCounts>();
  #linkedById: ReadonlyMap<Id, LinkedFile> | undefined;
  /** Inodes with two histories, by key: the walk says where they are. */
  readonly #forks = new Map<Id, NetsealError>();
  #embeddedFolders = 0;
  #totalBytes = 0;
  #doneBytes = 0;
  #files = 0;
  #symlinks = 0;
  #specials = 0;
  #fileBytes = 0;
  #units = 0;
  #openedUnits = 0;

  constructor(volume: Volume, options: VerifyOptions) {
    this.#volume = volume;
    this.#options = options;
    this.#log = new DamageLog(volume.settings.keys);
    this.#checker = new UnitChecker(
      volume.session,
      units => {
        this.#openedUnits += units;
      },
      options.signal,
    );
  }

  async run(): Promise<VerifyReport> {
    const { session, moves, settings } = this.#volume;
    const { signal, deep = false } = this.#options;
    await this.#checkHeads();
    for await (const { key, sizeBytes } of listAll(session.sealing.store, SEGMENT_PREFIX, signal)) {
      const id = idOfKey(key, SEGMENT_PREFIX);
      if (id === undefined) continue;
      this.#segments.set(id, sizeBytes);
      this.#totalBytes += sizeBytes;
    }
    this.#folders.add(settings.rootId);
    const visitor: Visitor = {
      enter: (reference, place) => this.#enter(reference, place),
      item: item => this.#see(item),
      entries: ({ inode }, entries) => this.#countEntries(inode.id, entries),
      node: (_, { pointer }) => {
        this.#usedSegments.add(pointer.segment);
        return true;
      },
      units: (owner, units) => this.#checkUnits(owner, units),
      leave: item => this.#leave(item),
      lost: lost => this.#lose(lost),
    };
    try {
      await new Walk(session, moves, visitor, { signal }).from();
    } finally {
      await this.#checker.finish();
    }
    if (deep) await this.#checkFooters();
    await this.#checkLinks();
    const unreferenced = await this.#countUnreferenced();
    return {
      folders: this.#folders.size + this.#embeddedFolders,
      files: this.#files,
      symlinks: this.#symlinks,
      specials: this.#specials,
      fileBytes: this.#fileBytes,
      units: this.#units,
      openedUnits: this.#openedUnits,
      damages: this.#log.damages(id => this.#pathsOf(id)),
      notes: this.#notes,
      unreferenced,
    };
  }

  /** Returns all paths of a file that may have several names; undefined for any other. */
  #pathsOf(id: Id): readonly string[] | undefined {
    this.#linkedById ??= new Map([...this.#linked.values()].map(file => [file.id, file]));
    return this.#linkedById.get(id)?.paths;
  }

  /** Merges the heads of other clients. From then on an inode older than one of them has seen is refused. */
  async #checkHeads(): Promise<void> {
    const { forks, problems } = await mergeHeads(this.#volume.session, this.#options.signal);
    for (const { id, error } of forks) {
      this.#forks.set(id, error);
      // The walk calls `enter`, which looks for forks, for every object but the root.
      const isRoot = id === this.#volume.settings.rootId;
      this.#log.add(inodeKey(id), 'history', error, isRoot ? { id, type: 'directory', path: '' } : undefined);
    }
    for (const problem of problems) {
      if (problem.code === 'EROLLBACK' || problem.code === 'EFORK')
        this.#log.add(HEAD_PREFIX, 'history', problem);
      else this.#notes.push(problem.message);
    }
  }

  #enter(reference: ObjectReference, { path }: WalkedPlace): boolean {
    const { id, type } = reference;
    const key = keyOfReference(reference);
    const fork = this.#forks.get(key);
    if (fork !== undefined) this.#log.add(inodeKey(key), 'history', fork, { id, type, path });
    if (type === 'directory') {
      if (this.#folders.has(key)) {
        const error = new NetsealError('EFORMAT', `folder ${id} has two places`);
        this.#log.add(inodeKey(key), 'inode', error, { id, type: 'directory', path });
        return false;
      }
      this.#folders.add(key);
      return true;
    }
    const known = this.#linked.get(key);
    if (known !== undefined) known.paths.push(path);
    else this.#linked.set(key, { id, paths: [path], type, linkCount: undefined });
    return known === undefined;
  }

  #see({ inode, stored }: Walked): boolean {
    if (inode.type === 'directory') {
      // A name that leads to a removed folder does not count. But as long as it exists, gc does not delete
      // the folder.
      if (inode.isDead && stored !== undefined) {
        this.#folders.delete(stored.key);
        this.#removedFolders.add(stored.key);
      }
      if (!inode.isDead) this.#counts.set(inode.id, { entries: 0, subdirectories: 0 });
      if (stored === undefined) this.#embeddedFolders += 1;
    } else {
      const linked = stored === undefined ? undefined : this.#linked.get(stored.key);
      if (linked !== undefined) linked.linkCount = inode.linkCount;
      if (inode.type === 'symlink') this.#symlinks += 1;
      else if (inode.type === 'file') {
        this.#files += 1;
        this.#fileBytes += inode.sizeBytes;
      } else this.#specials += 1;
    }
    this.#report();
    return true;
  }

  #countEntries(id: Id, entries: readonly DirectoryEntry[]): void {
    const counts = this.#counts.get(id);
    if (counts === undefined) return;
    counts.entries += entries.length;
    for (const entry of entries) if (typeOfEntry(entry) === 'directory') counts.subdirectories += 1;
  }

  async #leave({ inode, path }: Walked): Promise<void> {
    const item = { id: inode.id, type: inode.type, path };
    for (const segment of inode.extensions?.segments ?? []) {
      this.#usedSegments.add(segment);
      if ((await this.#sizeOf(segment)) >= 0) continue;
      this.#log.add(segmentKey(segment), 'extension', missing(segment), item);
    }
    const counts = this.#counts.get(inode.id);
    this.#counts.delete(inode.id);
    if (inode.type !== 'directory' || counts === undefined) return;
    const { entryCount, subdirectoryCount } = inode;
    if (counts.entries === entryCount && counts.subdirectories === subdirectoryCount) return;
    const error = new NetsealError(
      'EFORMAT',
      `inode ${inode.id}: it counts ${entryCount} entries, ${subdirectoryCount} of them folders, and has ` +
        `${counts.entries}, ${counts.subdirectories} of them folders`,
    );
    this.#log.add(inodeKey(inode.id), 'entry count', error, item);
  }

  async #checkUnits({ inode, path }: Walked<FileInode>, units: readonly MappedUnit[]): Promise<void> {
    const { deep = false, sample = 0, chance = Math.random } = this.#options;
    const item: AffectedItem = { id: inode.id, type: 'file', path };
    const { unitSizeBytes, sizeBytes } = inode;
    for (const { index, pointer } of units) {
      const bytes = unitsToBytes(inode, { from: index, to: index + 1 });
      const { segment, lengthBytes, offsetBytes } = pointer;
      this.#usedSegments.add(segment);
      // A unit behind the end of the file cannot be seen.
      if (bytes === undefined) continue;
      this.#units += 1;
      const what = isSlicePointer(pointer) ? 'pack' : 'unit';
      const fail = (error: NetsealError): void =>
        this.#log.add(segmentKey(segment), what, error, item, { bytes });
      const segmentBytes = await this.#sizeOf(segment);
      this.#doneBytes += storedBytesOf(pointer);
      if (segmentBytes < 0) {
        fail(missing(segment));
      } else if (offsetBytes + lengthBytes > segmentBytes) {
        fail(new NetsealError('ETRUNCATED', `segment ${segment} ends at byte ${segmentBytes}`));
      } else if (deep || (sample > 0 && chance() < sample)) {
        const plainBytesMax = Math.min(unitSizeBytes, sizeBytes - index * unitSizeBytes);
        await this.#checker.add({ objectId: inode.id, index, unitSizeBytes, pointer, plainBytesMax, fail });
      }
    }
    this.#report();
  }

  /**
   * Returns the size of a segment; -1 if it is missing. One that the list lacks may be new: it is asked for.
   */
  async #sizeOf(id: Id): Promise<number> {
    const known = this.#segments.get(id);
    if (known !== undefined) return known;
    const { store } = this.#volume.session.sealing;
    let sizeBytes = -1;
    try {
      ({ sizeBytes } = await store.stat(segmentKey(id), { signal: this.#options.signal }));
    } catch (error) {
      if (!isLoss(error)) throw error;
    }
    this.#segments.set(id, sizeBytes);
    return sizeBytes;
  }

  #lose({ key, error, place, node, owner }: Lost): void {
    if (node.role === 'inode') {
      const type = place.entry?.node.kind === 'object' ? place.entry.node.type : 'directory';
      const id = place.entry === undefined ? node.objectKey : idOfEntry(place.entry);
      this.#log.add(key, 'inode', error, { id, type, path: place.path });
      return;
    }
    if (owner === undefined) return;
    const { inode, path } = owner;
    const item = { id: inode.id, type: inode.type, path };
    // Entries that cannot be read cannot be counted.
    if (node.role === 'names') this.#counts.delete(inode.id);
    if (node.role === 'names') this.#log.add(key, 'names', error, item, { names: node.names });
    if (node.role === 'mapPage' && inode.type === 'file') {
      const bytes = unitsToBytes(inode, node.units);
      if (bytes !== undefined) this.#log.add(key, 'map page', error, item, { bytes });
    }
  }

  async #checkFooters(): Promise<void> {
    const { sealing } = this.#volume.session;
    await inParallel(this.#usedSegments, FOOTERS_MAX, async id => {
      const sizeBytes = this.#segments.get(id) ?? -1;
      if (sizeBytes < 0) return;
      try {
        await readSegmentFooter(sealing, id, sizeBytes, this.#options.signal);
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        if (!isLoss(error)) throw error;
        this.#log.add(segmentKey(id), 'footer', error);
      }
    });
  }

  async #checkLinks(): Promise<void> {
    for (const [key, { id, paths, type, linkCount }] of this.#linked) {
      if (linkCount === undefined || linkCount === paths.length) continue;
      const { names, count } = await this.#countAgain(id, paths);
      if (count === undefined || count === names) continue;
      const what = `its link count is ${count}, and ${names} names lead to it`;
      const path = paths[0] ?? '';
      if (count > names) this.#notes.push(`${shownPath(path)}: ${what}`);
      else {
        const error = new NetsealError('EFORMAT', `inode ${id}: ${what}`);
        this.#log.add(inodeKey(key), 'link count', error, { id, type, path });
      }
    }
  }

  /** Counts once more, as others may have added or removed names during the walk. */
  async #countAgain(id: Id, paths: readonly string[]): Promise<{ names: number; count: number | undefined }> {
    let names = 0;
    let count: number | undefined;
    for (const path of paths) {
      try {
        const { inode } = await this.#volume.find(Buffer.from(path, 'latin1'));
        if (inode.id !== id || inode.type === 'directory') continue;
        names += 1;
        count = inode.linkCount;
      } catch (error) {
        if (!isNetsealError(error)) throw error;
      }
    }
    return { names, count };
  }

  async #countUnreferenced(): Promise<{ objects: number; bytes: number }> {
    let objects = 0;
    let bytes = 0;
    for (const [id, sizeBytes] of this.#segments) {
      if (sizeBytes < 0 || this.#usedSegments.has(id)) continue;
      objects += 1;
      bytes += sizeBytes;
    }
    const { store } = this.#volume.session.sealing;
    for await (const { key, sizeBytes } of listAll(store, INODE_PREFIX, this.#options.signal)) {
      const objectKey = idOfKey(key, INODE_PREFIX);
      if (objectKey === undefined || this.#isReferred(objectKey)) continue;
      objects += 1;
      bytes += sizeBytes;
    }
    return { objects, bytes };
  }

  #isReferred(key: Id): boolean {
    return this.#folders.has(key) || this.#removedFolders.has(key) || this.#linked.has(key);
  }

  #report(): void {
    this.#options.onProgress?.({
      items: this.#folders.size + this.#embeddedFolders + this.#files + this.#symlinks + this.#specials,
      // Shares of packs are rounded up.
      doneBytes: Math.min(this.#doneBytes, this.#totalBytes),
      totalBytes: this.#totalBytes,
    });
  }
}

function missing(segment: Id): NetsealError {
  return new NetsealError('EMISSING', `segment ${segment} is not there`);
}

/** Returns a path as people read it. */
export function shownPath(path: string): string {
  return path === '' ? '/' : Buffer.from(path, 'latin1').toString('utf8');
}
