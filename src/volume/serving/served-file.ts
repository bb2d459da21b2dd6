/**
 * One file that netfs has open, over the sealed layout: the version that netfs was told last, and commits of
 * its changes.
 *
 *   unborn ──first commit──▶ linked ──this session removes its last name──▶ removed
 *
 *   unborn    its name is chosen, and the store has no inode for it
 *   linked    commits swap its inode, wherever that is by now (`open-file.ts`)
 *   removed   commits change only this file in memory, until it is closed
 *
 * Invariants
 *   1. A version is the inode's data version as text: each change of the content adds 1. Compaction,
 *      promotion and changes of attributes leave it.
 *   2. `#told` never goes back to an older version of the inode.
 *   3. A commit of this session on data version N has happened if version N + 1 has its size and its records.
 *      Tags are unique, so one new record is proof. Without a new record the maps are compared.
 *   4. One commit at a time.
 *   5. The version that netfs stands on is kept beside `#told`, until a commit succeeds or netfs stands on
 *      another one. The changes are completed from that version, compared with it, and may be stashed.
 */
import { abortable } from '../../base/abortable.ts';
import { codeOf, isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import { sizeToUnitCount } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { CommitSub, Committed, FileState } from '../../netfs/server.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import type { EntryNode, FileInode, MapRoot } from '../../server/sealed/inode.ts';
import { PAGE_SLOTS } from '../../server/sealed/map-format.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import { UnitMap } from '../../server/sealed/unit-map.ts';
import { commitContent } from '../content/commit-content.ts';
import { type FileCommitParts, FilePromotion } from '../content/file-commits.ts';
import { firstVersion, type UploadedContent } from '../content/file-content.ts';
import { type FilePlace, readPlaced } from '../names/file-place.ts';
import type { NamePlace } from '../names/live-names.ts';
import { nameBytes } from '../names/name-checks.ts';
import { changeOpenFile, readOpenFile } from '../names/open-file.ts';
import type { OpenPlace } from '../names/open-places.ts';
import { isSameMap } from '../session/compacted.ts';
import { makeDurable, nowNs } from '../session/session.ts';
import { requireWritable } from '../session/volume-settings.ts';
import { cloneWith, stashNames } from './clone.ts';
import { checkChanges, contentAfter } from './file-changes.ts';
import type { PendingSegments } from './pending-segments.ts';
import { haveSameBytes, requireReceipt, SealedReceipt, type SegmentClaim } from './receipts.ts';

/** A file that is not in the store yet. */
export interface NewFile {
  readonly inode: FileInode;
  /** Whether its name may be taken from another file. */
  readonly replace?: boolean | undefined;
  /**
   * True: when its name is taken, the file gets another name beside it, as refused changes do. The commit
   * tells that once, as `problem`.
   */
  readonly givesWay?: boolean | undefined;
}

/** A file on its way into the store. */
interface Unborn extends Omit<NewFile, 'inode'> {
  /** The name that it is to have. */
  readonly name: Name;
  /** True when its first commit may have happened. */
  isUncertain: boolean;
}

type Times = Pick<FileInode, 'mtimeNs' | 'ctimeNs'>;
type Pointers = ReadonlyMap<number, Pointer | undefined>;

export class ServedFile {
  readonly id: Id;
  readonly unitSizeBytes: number;
  readonly #parts: FileCommitParts;
  readonly #pending: PendingSegments;
  readonly #place: OpenPlace;
  readonly #promotion: FilePromotion;
  readonly #map: UnitMap;
  /** Undefined once the file is in the store. */
  #unborn: Unborn | undefined;
  /** The problem that the next commit that succeeds tells. */
  #problem: NetsealError | undefined;
  /** The inode that netfs was told last, and the time at which it was the store's present one. */
  #told: { readonly inode: FileInode; readonly atMs: number };
  /** The version that netfs stands on, where it may be older than the one told last. */
  #base: { readonly inode: FileInode; readonly atMs: number } | undefined;
  /** The map of the last attempt to commit, by the data version that it was made from. */
  #made: { readonly dataVersion: number; readonly map: MapRoot } | undefined;
  /** Keep the segments of a removed file: nothing in the store refers to them. */
  readonly #kept: SegmentClaim[] = [];
  /** Tells the session that the file is no longer open. */
  #release: () => void = () => undefined;
  #isCommitting = false;

  /** Opens a file at a place. EMISSING when it is not there; what reading its inode throws. */
  static async open(parts: FileCommitParts, pending: PendingSegments, at: FilePlace): Promise<ServedFile> {
    const { openPlaces } = parts.inodes;
    const place = openPlaces.open(at, at.id);
    place.object ??= at.object;
    try {
      const inode = await readOpenFile(parts, place);
      const file = new ServedFile(parts, pending, place, inode, undefined);
      file.#holdOpen();
      return file;
    } catch (error) {
      openPlaces.close(place);
      throw error;
    }
  }

  /** Opens a file that the first commit puts into the store. */
  static unborn(
    parts: FileCommitParts,
    pending: PendingSegments,
    at: NamePlace,
    { inode, ...options }: NewFile,
  ): ServedFile {
    const place = parts.inodes.openPlaces.open(at, inode.id);
    return new ServedFile(parts, pending, place, inode, { ...options, name: at.name, isUncertain: false });
  }

  private constructor(
    parts: FileCommitParts,
    pending: PendingSegments,
    place: OpenPlace,
    inode: FileInode,
    unborn: Unborn | undefined,
  ) {
    const { session } = parts;
    this.id = inode.id;
    this.unitSizeBytes = inode.unitSizeBytes;
    this.#parts = parts;
    this.#pending = pending;
    this.#place = place;
    this.#promotion = new FilePromotion(parts, place);
    this.#map = new UnitMap(session.sealing, inode.id, session.mapNodes);
    this.#told = { inode, atMs: session.nowMs() };
    this.#unborn = unborn;
  }

  /** Where the file is, or will be. */
  get place(): FilePlace {
    return this.#place;
  }

  /** What is to be put into the store by the first commit; undefined when it is there. */
  get newFile(): NewFile | undefined {
    if (this.#unborn === undefined || this.#place.isRemoved) return undefined;
    const { replace, givesWay } = this.#unborn;
    return { inode: this.#told.inode, replace, givesWay };
  }

  get state(): FileState {
    const { inode } = this.#told;
    return { version: versionOf(inode), sizeBytes: inode.sizeBytes };
  }

  /**
   * Asks the store for the file as it is now. Rejects with EMISSING when it is gone, with what reading it
   * throws, and with the signal's reason. After an abort the version told last is unchanged.
   *
   * @param standsOn the version that netfs stands on; see {@link StateOptions}.
   */
  async refresh(standsOn: string | undefined, signal: AbortSignal | undefined): Promise<FileState> {
    const now = await abortable(this.#read(), signal);
    if (standsOn !== undefined) this.#keepBase(standsOn, now);
    this.#tell(now);
    return this.state;
  }

  /**
   * Returns the receipts of the units [from, to). EIO when the part of the map that has them is lost;
   * ECONFLICT for a version that is neither the one told last nor the one that netfs stands on.
   */
  async locate(
    fromUnit: number,
    toUnit: number,
    version: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<(SealedReceipt | undefined)[]> {
    return await this.#onMapOf(version, async ({ map, sizeBytes }) => {
      const endUnit = Math.min(toUnit, sizeToUnitCount(sizeBytes, this.unitSizeBytes));
      const pointers = await this.#lookup(map, fromUnit, endUnit, signal);
      return Array.from({ length: toUnit - fromUnit }, (_, at) => {
        const pointer = pointers[at];
        return pointer && new SealedReceipt(fromUnit + at, pointer);
      });
    });
  }

  /**
   * Returns the present places of records whose segments are gone because a compaction has moved them.
   * Undefined for records that the file does not have any more.
   */
  async relocate(receipts: readonly SealedReceipt[]): Promise<(Pointer | undefined)[]> {
    const now = await this.#read();
    const moved: (Pointer | undefined)[] = [];
    for (const { unit, pointer } of receipts) {
      const [found] = await this.#lookup(now.map, unit, unit + 1, undefined);
      moved.push(haveSameBytes(pointer, found) && found?.segment !== pointer.segment ? found : undefined);
    }
    return moved;
  }

  /** Places sealed units in segments. Rejects with the signal's reason. */
  async write(
    units: readonly { readonly index: number; readonly bytes: Uint8Array; readonly tag: Uint8Array }[],
    signal: AbortSignal | undefined,
  ): Promise<SealedReceipt[]> {
    const { session } = this.#parts;
    const unitSizeLog2 = Math.log2(this.unitSizeBytes);
    const at = { kind: 'unit', objectId: this.id, unitSizeLog2 } as const;
    const records = units.map(unit => ({ ...at, ...unit }));
    const pointers = await session.dataSegments.place(records, signal);
    return pointers.map((pointer, order) => {
      const claim = this.#pending.claim(pointer.segment);
      return new SealedReceipt(units[order]?.index ?? 0, pointer, claim);
    });
  }

  /** Commits changes; see `NetfsServer.commit`. */
  async commit(sub: CommitSub): Promise<Committed> {
    const { session } = this.#parts;
    session.requireOpen();
    sub.signal?.throwIfAborted();
    requireWritable(session.settings);
    requireChangeable(`inode ${this.id}`, this.#told.inode.extensions?.items);
    const pointers = checkChanges(sub, this.unitSizeBytes);
    if (this.#isCommitting) throw new NetsealError('EBUG', 'two commits of one file at a time');
    this.#isCommitting = true;
    try {
      await this.#commit(sub, pointers);
    } finally {
      this.#isCommitting = false;
    }
    this.#pending.committed(receiptsOf(sub));
    const problem = this.#problem;
    this.#problem = undefined;
    return { ...this.state, problem };
  }

  /**
   * Puts changes that were refused, or cannot be committed, into a new file beside this one. Returns its
   * name. Rejects as {@link saveAs} does.
   */
  async stash(sub: CommitSub): Promise<Name> {
    const { directory, name } = this.#place;
    for (const stashName of stashNames(name, this.#parts.session.nowMs())) {
      try {
        await this.saveAs(sub, { directory, name: stashName });
        return stashName;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
    }
    throw new NetsealError('EBUG', 'no name for a stash');
  }

  /**
   * Makes a new file with the content that this one would have after the commit `sub`. This file is
   * unchanged.
   *
   * Rejects with EINVAL when `sub.ifVersion` is neither the version told last nor the one that netfs stands
   * on, or that a commit was refused on; EEXIST, EISDIR; EIO when a part of the file's map is lost; with what
   * committing throws.
   */
  async saveAs(sub: CommitSub, target: NamePlace, replace?: boolean): Promise<void> {
    const { session } = this.#parts;
    session.requireOpen();
    requireWritable(session.settings);
    const pointers = checkChanges(sub, this.unitSizeBytes);
    const base = this.#known(sub.ifVersion);
    if (base === undefined)
      throw new NetsealError('EINVAL', `version ${sub.ifVersion} is not known any more`);
    const mtimeNs = sub.mtimeNs ?? nowNs(session);
    const isBaseLive = session.nowMs() - base.atMs < session.graceMs / 2;
    const options = { replace, mtimeNs, isBaseLive };
    await withoutMissing(cloneWith(this.#parts, base.inode, sub, pointers, target, options));
    this.#pending.committed(receiptsOf(sub));
  }

  close(): void {
    this.#release();
    if (this.#unborn !== undefined) this.#parts.inodes.unbornNames.remove(this.id);
    this.#parts.inodes.openPlaces.close(this.#place);
  }

  async #commit(sub: CommitSub, pointers: Pointers): Promise<void> {
    if (this.#unborn?.isUncertain === true) await this.#lookForBirth();
    const { inode, atMs } = this.#told;
    if (versionOf(inode) !== sub.ifVersion) {
      await this.#adoptRepeated(sub, pointers);
      return;
    }
    try {
      await this.#swap(sub, pointers);
    } catch (error) {
      if (codeOf(error) !== 'ECONFLICT') throw error;
      this.#base = { inode, atMs };
      await this.#adoptRepeated(sub, pointers, error);
    }
  }

  async #swap(sub: CommitSub, pointers: Pointers): Promise<void> {
    const { session } = this.#parts;
    const make = async (from: FileInode): Promise<UploadedContent> => {
      const uploaded = await contentAfter(session, from, sub, pointers);
      this.#made = { dataVersion: from.dataVersion, map: uploaded.content.map };
      return uploaded;
    };
    const [base, uploaded] = await this.#onMap(async from => [from, await make(from)] as const);
    sub.signal?.throwIfAborted();
    const ctimeNs = nowNs(session);
    const times = { mtimeNs: sub.mtimeNs ?? ctimeNs, ctimeNs };
    if (this.#unborn !== undefined && this.#place.isRemoved) {
      this.#unborn = undefined;
      await this.#keep(base, uploaded, times);
      return;
    }
    if (this.#unborn !== undefined) {
      await this.#create(
        this.#unborn,
        firstVersion({ ...base, ...times }, uploaded.content),
        uploaded.segments,
      );
      return;
    }
    try {
      const committed = await commitContent(
        session,
        change => changeOpenFile(this.#parts, this.#place, change),
        { ...uploaded, base, times, remake: from => withoutMissing(make(from)) },
      );
      this.#base = undefined;
      this.#tell(committed);
      this.#promotion.noteCommit(committed);
    } catch (error) {
      if (!this.#place.isRemoved || codeOf(error) !== 'EMISSING') throw error;
      await this.#keep(base, uploaded, times);
    }
  }

  /** Gives an unborn file its name, with its first content. */
  async #create(unborn: Unborn, inode: FileInode, segments: Iterable<Id>): Promise<void> {
    const known = this.#parts.inodes.unbornNames.get(this.id);
    if (known !== undefined) known.isBeingBorn = true;
    try {
      const node = await this.#parts.names.place(inode);
      await this.#insert(unborn, node, segments);
      if (unborn.isUncertain) {
        // An earlier attempt may have succeeded: then its node is there already.
        await this.#lookForBirth();
      } else {
        if (node.kind === 'object') this.#place.object = node;
        this.#bear(node.kind === 'object' ? { ...inode, version: inode.version + 1 } : inode);
      }
    } catch (error) {
      if (codeOf(error) === 'EUNCERTAIN') unborn.isUncertain = true;
      else if (!unborn.isUncertain) this.#place.name = unborn.name;
      throw error;
    } finally {
      if (known !== undefined) known.isBeingBorn = unborn.isUncertain;
    }
  }

  /** Inserts a node under its name, or under one beside it, and notes the name in the place. */
  async #insert({ name, replace, givesWay }: Unborn, node: EntryNode, segments: Iterable<Id>): Promise<void> {
    const { names, session } = this.#parts;
    const { directory } = this.#place;
    const others = stashNames(name, session.nowMs());
    for (;;) {
      try {
        await names.changing(directory, () =>
          names.insertNode(directory, this.#place.name, node, { replace, segments }),
        );
        return;
      } catch (error) {
        if (givesWay !== true || (codeOf(error) !== 'EEXIST' && codeOf(error) !== 'EISDIR')) throw error;
        const other = others.next();
        if (other.done === true) throw error;
        this.#place.name = other.value;
      }
    }
  }

  /** Finds out whether an unborn file is in the store after a lost answer. */
  async #lookForBirth(): Promise<void> {
    try {
      const { inode, reference } = await readPlaced(this.#parts, this.#place, 0);
      if (inode.type !== 'file') return;
      if (reference !== undefined) this.#place.object = reference;
      this.#bear(inode);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  #bear(inode: FileInode): void {
    const meant = this.#unborn?.name;
    this.#unborn = undefined;
    this.#parts.inodes.unbornNames.remove(this.id);
    if (meant !== undefined && meant !== this.#place.name) {
      const now = nameBytes(this.#place.name).toString('utf8');
      this.#problem = new NetsealError(
        'ECONFLICT',
        `another client has made a file of this name meanwhile: what was written here is ${now}`,
      );
    }
    this.#tell(inode);
    this.#holdOpen();
  }

  /** Keeps content of a removed file, as long as it is open. */
  async #keep(base: FileInode, { content, segments }: UploadedContent, times: Times): Promise<void> {
    await makeDurable(this.#parts.session, segments);
    for (const segment of segments) this.#kept.push(this.#pending.claim(segment));
    const { version, dataVersion } = base;
    this.#tell({ ...base, ...content, ...times, version: version + 1, dataVersion: dataVersion + 1 });
  }

  /**
   * Adopts the present version if an earlier attempt of the same commit has made it. Otherwise rejects: with
   * ECONFLICT when another client has changed the file, with EUNAVAILABLE when others were only quicker.
   */
  async #adoptRepeated(sub: CommitSub, pointers: Pointers, cause?: unknown): Promise<void> {
    const now = await this.#read();
    if (versionOf(now) === sub.ifVersion) {
      throw new NetsealError('EUNAVAILABLE', 'others change the folder or the file all the time', { cause });
    }
    if (!(await withoutMissing(this.#hasHappened(now, sub, pointers)))) {
      const problem = 'another client changed the content of the file: read it again';
      throw new NetsealError('ECONFLICT', problem, { cause });
    }
    this.#base = undefined;
    this.#tell(now);
  }

  /** Returns whether an earlier attempt at these changes has made the present version. */
  async #hasHappened(now: FileInode, sub: CommitSub, pointers: Pointers): Promise<boolean> {
    const { dataVersion, sizeBytes, map } = now;
    if (versionOf({ dataVersion: dataVersion - 1 }) !== sub.ifVersion) return false;
    if (sizeBytes !== sub.sizeBytes) return false;
    const made = this.#made?.dataVersion === dataVersion - 1 ? this.#made.map : undefined;
    const hasProof = receiptsOf(sub).some(({ claim }) => claim !== undefined);
    if (!hasProof && (made === undefined || !isSameMap(made, map))) return false;
    for (const run of pageRuns(pointers.keys())) {
      const [first = 0] = run;
      const found = await this.#lookup(map, first, (run.at(-1) ?? first) + 1, undefined);
      if (!run.every(index => haveSameBytes(pointers.get(index), found[index - first]))) return false;
    }
    return true;
  }

  /** Returns the inode as the store has it now. */
  async #read(): Promise<FileInode> {
    if (this.#unborn?.isUncertain === true) await this.#lookForBirth();
    if (this.#unborn !== undefined) return this.#told.inode;
    try {
      return await readOpenFile(this.#parts, this.#place, 0);
    } catch (error) {
      if (this.#place.isRemoved && codeOf(error) === 'EMISSING') return this.#told.inode;
      throw error;
    }
  }

  /** Returns the inode of a version that is kept here, and the time at which it was the present one. */
  #known(version: string): { readonly inode: FileInode; readonly atMs: number } | undefined {
    return [this.#told, this.#base].find(known => known !== undefined && versionOf(known.inode) === version);
  }

  /** Keeps the version that netfs stands on before netfs is told another one. */
  #keepBase(version: string, now: FileInode): void {
    const before = this.#base;
    this.#base = versionOf(now) === version ? undefined : this.#known(version);
    if (this.#base === before || this.#unborn !== undefined) return;
    this.#holdOpen(this.#base?.atMs);
  }

  #tell(inode: FileInode): void {
    const before = this.#told.inode;
    if (inode.version < before.version) return;
    this.#told = { inode, atMs: this.#parts.session.nowMs() };
    // Records of older versions need not be kept for this file any longer, unless netfs stands on such a
    // version.
    const isOther = inode.dataVersion !== before.dataVersion;
    if (isOther && this.#unborn === undefined && this.#base === undefined) this.#holdOpen();
  }

  /** Tells the session the time at which the oldest version needed here was the present one. Default: now. */
  #holdOpen(atMs: number = this.#parts.session.nowMs()): void {
    const release = this.#parts.session.openFiles.open(atMs);
    this.#release();
    this.#release = release;
  }

  /** Runs `work` on the map of a version. By default that is the one told last, see {@link #onMap}. */
  async #onMapOf<Result>(
    version: string | undefined,
    work: (inode: FileInode) => Promise<Result>,
  ): Promise<Result> {
    if (version === undefined || version === versionOf(this.#told.inode)) return await this.#onMap(work);
    const known = this.#known(version);
    if (known === undefined) {
      throw new NetsealError('ECONFLICT', `version ${version} of the file is not known any more`);
    }
    return await withoutMissing(work(known.inode));
  }

  /**
   * Runs `work` on the map of the version told last. If a part of the map is gone, a compaction may have
   * moved it: then `work` runs again on the present map. EIO when a part is lost.
   */
  async #onMap<Result>(work: (inode: FileInode) => Promise<Result>): Promise<Result> {
    const { inode } = this.#told;
    try {
      return await work(inode);
    } catch (error) {
      if (codeOf(error) !== 'EMISSING') throw error;
      const now = await this.#read();
      const isCompacted = now.version !== inode.version && now.dataVersion === inode.dataVersion;
      if (!isCompacted) return await withoutMissing(Promise.reject(error));
      this.#tell(now);
      return await withoutMissing(work(now));
    }
  }

  /** Returns where units lie, in order. Throws the error of a page that is lost. */
  async #lookup(
    map: MapRoot,
    fromUnit: number,
    toUnit: number,
    signal: AbortSignal | undefined,
  ): Promise<(Pointer | undefined)[]> {
    if (fromUnit >= toUnit) return [];
    const mapped = await this.#map.lookup(map, fromUnit, toUnit, signal);
    return mapped.map(found => {
      if (isNetsealError(found)) throw found;
      return found;
    });
  }
}

function versionOf({ dataVersion }: Pick<FileInode, 'dataVersion'>): string {
  return String(dataVersion);
}

function receiptsOf({ receipts }: CommitSub): SealedReceipt[] {
  return [...receipts.values()].flatMap(receipt => (receipt === undefined ? [] : [requireReceipt(receipt)]));
}

/** Yields units, ascending, as many at a time as one page of a map has. */
function* pageRuns(units: Iterable<number>): Generator<number[]> {
  const sorted = [...units].sort((left, right) => left - right);
  let run: number[] = [];
  for (const unit of sorted) {
    const [first] = run;
    if (first !== undefined && Math.floor(unit / PAGE_SLOTS) !== Math.floor(first / PAGE_SLOTS)) {
      yield run;
      run = [];
    }
    run.push(unit);
  }
  if (run.length > 0) yield run;
}

/** Turns EMISSING into EIO: to netfs, EMISSING would say that the file is gone, not a part of its map. */
async function withoutMissing<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (cause) {
    if (codeOf(cause) !== 'EMISSING') throw cause;
    throw new NetsealError('EIO', `a part of the file's map is lost: ${messageOf(cause)}`, { cause });
  }
}
