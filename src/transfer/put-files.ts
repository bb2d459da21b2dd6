/**
 * Copies files, symbolic links, FIFOs and devices into a volume, unless they are there.
 *
 * A file with the same size and modification time is judged by its status time (ctime), which no program can
 * set. The volume keeps the local file's ctime in the inode's. So:
 *
 * - The ctime is the same, and not close to that of the copy: the file is unchanged, and is not opened.
 * - The ctime is another, or so close to the copy that a later change may have the same one: the content is
 *   compared. If it is the same, attributes that differ are stored, and the new ctime once it is old enough
 *   that every later change has another one. So the file is compared once.
 *
 * With `ignoreCtime` a file with another ctime is taken for unchanged without that, and its ctime is stored.
 *
 * Other changes in the volume, such as a second name, set the inode's ctime to the time then. That costs one
 * comparison.
 */
import { inParallel } from '../base/in-parallel.ts';
import type { Name } from '../base/name.ts';
import type { Attributes, DeviceInode, DirectoryEntry, FileInode, Inode } from '../server/sealed/inode.ts';
import { nowNs } from '../volume/session/session.ts';
import { PutJournal } from '../volume/state/put-journal.ts';
import type { Volume } from '../volume/volume.ts';
import { copyPart } from './copying.ts';
import type { LocalType } from './local-calls.ts';
import {
  attributesOf,
  type LocalEntry,
  type LocalFile,
  type LocalFolder,
  timeToKeep,
} from './local-source.ts';
import type { OnLost } from './local-xattrs.ts';
import type { PutBatches } from './put-batch.ts';
import { JOURNAL_BYTES_MIN, type PutContent, putContent } from './put-file.ts';
import type { PutFolder } from './put-folder.ts';
import type { PutLinks } from './put-links.ts';
import type { PutOptions } from './put-options.ts';
import { hasSameContent, isSameAttributes, isSameSpecial } from './same.ts';
import { onVolume, type Tally } from './tally.ts';

/** Ways to open or read an entry. All throw the file system's errors. */
export interface LocalAccess {
  readonly openFile: () => LocalFile;
  readonly readLink: () => Uint8Array;
  readonly openFolder: () => LocalFolder;
  readonly linkXattrs: (onLost: OnLost) => Attributes['xattrs'];
}

/** A file or link on its way. */
export interface PutItem {
  readonly target: PutFolder;
  readonly entry: LocalEntry;
  readonly path: Name;
  /** The entry that has its name in the volume; undefined for none. */
  readonly existing: DirectoryEntry | undefined;
  readonly inode: Inode | undefined;
  readonly local: LocalAccess;
}

/** A file that may be unchanged: its content, or at least its attributes, must be looked at. */
export interface Suspect extends PutItem {
  readonly existing: DirectoryEntry;
  readonly inode: FileInode;
}

const CHANGED = 'it was changed while it was read: put it again';
/** File systems take times from a clock that is behind by up to one tick. */
const CLOCK_STEP_NS = 50_000_000n;
/** Larger files are never read in one piece, whatever the unit size. */
const SMALL_BYTES_MAX: number = 1024 * 1024;
/** How many files are compared at once. */
const COMPARED_MAX = 16;

export class PutFiles {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #batches: PutBatches;
  readonly #links: PutLinks;
  readonly #options: PutOptions;
  /** In a dry run: the files with several names that were counted. */
  readonly #counted = new Set<string>();

  constructor(volume: Volume, tally: Tally, batches: PutBatches, links: PutLinks, options: PutOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#batches = batches;
    this.#links = links;
    this.#options = options;
  }

  putSymlink({ target, entry, path, inode, local }: PutItem): void {
    const leadsTo = local.readLink();
    this.#tally.progress(0, 1, path);
    const isSame =
      inode?.type === 'symlink' &&
      Buffer.compare(inode.target, leadsTo) === 0 &&
      inode.mtimeNs === timeToKeep(entry.mtimeNs);
    if (isSame) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    const onLost = this.#noteOf(path);
    const link = this.#volume.namespace.newSymlink(
      attributesOf(entry, local.linkXattrs(onLost), this.#options, onLost),
      leadsTo,
    );
    this.#tally.did(path, 'symlink');
    if (this.#isDry) this.#tally.counts.symlinks += 1;
    else this.#batches.addBare(target, entry.name, path, link);
  }

  /** Puts a FIFO or, if the options say so, a device. Notes everything else. */
  putSpecial({ target, entry, path, inode, local }: PutItem): void {
    const { type } = entry;
    const isKept = type === 'fifo' || (isDeviceType(type) && this.#options.devices === true);
    if (!isKept) {
      this.#tally.note(path, whyNotCopied(type));
      return;
    }
    const onLost = this.#noteOf(path);
    const attributes = attributesOf(entry, local.linkXattrs(onLost), this.#options, onLost);
    this.#tally.progress(0, 1, path);
    const { namespace } = this.#volume;
    const created =
      type === 'fifo'
        ? namespace.newPipe(attributes, type)
        : namespace.newDevice(attributes, { type, major: entry.major, minor: entry.minor });
    if (inode !== undefined && isSameSpecial(inode, created)) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    this.#tally.did(path, 'special');
    if (this.#isDry) this.#tally.counts.specials += 1;
    else this.#batches.addBare(target, entry.name, path, created);
  }

  /** Puts a file, or adds it to `suspects` when more must be looked at: see {@link putChanged}. */
  async putFile(item: PutItem, suspects: Suspect[]): Promise<void> {
    const { entry, path } = item;
    this.#tally.begin(path);
    const suspect = this.#suspectOf(item);
    if (entry.linkCount > 1) await this.#putLinked(item, suspect);
    else if (suspect === undefined || suspect.inode.linkCount > 1) await this.#copy(item);
    else if (this.#mustCompare(suspect) || this.#options.ignoreCtime === true) suspects.push(suspect);
    else await this.#leave(suspect);
  }

  /**
   * Compares files with the volume's where needed, and puts those that have changed. Their folder must still
   * be open.
   */
  async putChanged(suspects: readonly Suspect[]): Promise<void> {
    const same = new Set<Suspect>();
    const changed = new Set<Suspect>();
    await inParallel(suspects, COMPARED_MAX, suspect =>
      this.#attempt(suspect.path, async () => {
        const isSame = !this.#mustCompare(suspect) || (await this.#isSame(suspect));
        (isSame ? same : changed).add(suspect);
      }),
    );
    // This comes after all comparisons, so that changes of attributes share a few commits.
    for (const suspect of suspects) {
      const work = same.has(suspect) ? this.#leaveCompared : changed.has(suspect) ? this.#copy : undefined;
      if (work !== undefined) await this.#attempt(suspect.path, () => work.call(this, suspect));
    }
  }

  get #isDry(): boolean {
    return this.#options.dryRun === true;
  }

  #attempt(path: Name, work: () => Promise<void>): Promise<void> {
    return copyPart(path, this.#tally, this.#options.signal, work);
  }

  #noteOf(path: Name): OnLost {
    return lost => this.#tally.note(path, lost);
  }

  /** Returns the item if the volume's file may have the same content; undefined if it has not. */
  #suspectOf(item: PutItem): Suspect | undefined {
    const { entry, existing, inode } = item;
    if (existing === undefined || inode?.type !== 'file' || inode.sizeBytes !== entry.sizeBytes)
      return undefined;
    if (this.#options.checksum !== true && inode.mtimeNs !== timeToKeep(entry.mtimeNs)) return undefined;
    return { ...item, existing, inode };
  }

  #mustCompare({ entry, inode }: Suspect): boolean {
    if (this.#options.checksum === true) return true;
    if (this.#options.ignoreCtime === true) {
      return timeToKeep(entry.mtimeNs) >= inode.birthNs - CLOCK_STEP_NS;
    }
    const ctimeNs = timeToKeep(entry.ctimeNs);
    const sinceCopyNs = ctimeNs - inode.birthNs;
    // A later ctime was stored by a comparison, when it was old enough.
    const isClose = sinceCopyNs >= -CLOCK_STEP_NS && sinceCopyNs <= CLOCK_STEP_NS;
    return ctimeNs !== inode.ctimeNs || isClose;
  }

  async #isSame({ target, existing, inode, local }: Suspect): Promise<boolean> {
    const file = local.openFile();
    try {
      const found = { directory: target.directory, entry: existing };
      return await hasSameContent(this.#volume, inode, found, file, this.#options.signal);
    } finally {
      file.close();
    }
  }

  /** Counts a file that is in the volume already. */
  async #leave(suspect: Suspect): Promise<void> {
    const { entry, path } = suspect;
    this.#tally.counts.unchanged += 1;
    this.#tally.progress(entry.sizeBytes, 1, path);
    await this.#forgetJournal(suspect);
  }

  async #leaveCompared(suspect: Suspect): Promise<void> {
    await this.#leave(suspect);
    await this.#updateAttributes(suspect);
  }

  async #putLinked(item: PutItem, suspect: Suspect | undefined): Promise<void> {
    const { target, entry, path } = item;
    const isSame = suspect !== undefined && (!this.#mustCompare(suspect) || (await this.#isSame(suspect)));
    if (this.#isDry) {
      this.#countLinked(item, isSame);
      return;
    }
    const at = { folder: target, name: entry.name, path };
    const needsContent = this.#links.add(entry, at, isSame ? suspect.inode.id : undefined);
    if (needsContent) await this.#copyLinked(item);
    else this.#tally.progress(entry.sizeBytes, 0, path);
    this.#tally.progress(0, 1, path);
    if (isSame) await this.#updateAttributes(suspect);
    const finish = this.#links.takeComplete(entry);
    if (finish !== undefined) void this.#batches.track(finish());
  }

  /** Counts a name of a file with several in a dry run. */
  #countLinked({ entry, path }: PutItem, isSame: boolean): void {
    const key = `${entry.device} ${entry.inode}`;
    const isFirst = !this.#counted.has(key);
    this.#counted.add(key);
    this.#tally.progress(entry.sizeBytes, 1, path);
    if (isSame) {
      if (isFirst) this.#tally.counts.unchanged += 1;
      return;
    }
    this.#tally.counts[isFirst ? 'files' : 'links'] += 1;
    if (isFirst) this.#tally.counts.bytes += entry.sizeBytes;
    this.#tally.did(path, isFirst ? 'file' : 'link');
  }

  async #copy({ target, entry, path, local }: PutItem): Promise<void> {
    if (this.#isDry) {
      this.#tally.counts.files += 1;
      this.#tally.counts.bytes += entry.sizeBytes;
      this.#tally.progress(entry.sizeBytes, 1, path);
      this.#tally.did(path, 'file');
      return;
    }
    const file = local.openFile();
    try {
      const { name } = entry;
      const { sizeBytes } = file.stat;
      const created = this.#newFile(path, file);
      const smallMax = Math.min(this.#volume.settings.unitSizeBytes, SMALL_BYTES_MAX);
      // If a small file changes from now on, its ctime differs from the stored one, and the next `put`
      // compares it.
      if (sizeBytes <= smallMax && (await this.#batches.addFile(target, name, path, file, created))) {
        this.#tally.progress(sizeBytes, 1, path);
      } else {
        await this.#putLarge(target, name, path, file, created);
        if (file.changedSinceOpen()) this.#tally.note(path, CHANGED);
      }
      this.#tally.did(path, 'file');
    } finally {
      file.close();
    }
  }

  /**
   * Returns the inode of a new file, with the local file's attributes and ctime. A ctime that lies in the
   * future, by a clock that is ahead, is stored as another one, so that the file is compared.
   */
  #newFile(path: Name, file: LocalFile): FileInode {
    const onLost = this.#noteOf(path);
    const attributes = attributesOf(file.stat, file.xattrs(onLost), this.#options, onLost);
    const created = this.#volume.namespace.newFile(attributes);
    const ctimeNs = timeToKeep(file.stat.ctimeNs);
    const isAhead = ctimeNs > created.birthNs + CLOCK_STEP_NS;
    return { ...created, ctimeNs: isAhead ? created.birthNs : ctimeNs };
  }

  async #putLarge(
    target: PutFolder,
    name: Name,
    path: Name,
    file: LocalFile,
    created: FileInode,
  ): Promise<void> {
    const { inode, segments, journal } = await this.#content(target, name, path, file, created);
    this.#tally.progress(0, 1, path);
    const commit = async (): Promise<void> => {
      try {
        // This need not wait: the next files fill the segment that holds the file's end.
        await onVolume(this.#volume.whenDurable(segments));
        await journal?.beforeCommit();
        const [failure] = await target.insertMany([{ name, inode, segments }]);
        if (failure !== undefined) throw failure;
        await journal?.remove();
        this.#tally.counts.files += 1;
        this.#tally.counts.bytes += inode.sizeBytes;
      } catch (error) {
        this.#tally.fail(path, error);
      } finally {
        // The journal was removed, or is left for the next `put`.
        await journal?.close();
      }
    };
    void this.#batches.track(commit());
  }

  /** Copies the content of a file with several names. The names follow once all are known. */
  async #copyLinked({ target, entry, path, local }: PutItem): Promise<void> {
    const file = local.openFile();
    try {
      const created = this.#newFile(path, file);
      this.#links.setContent(entry, await this.#content(target, entry.name, path, file, created));
      if (file.changedSinceOpen()) this.#tally.note(path, CHANGED);
      this.#tally.did(path, 'file');
    } finally {
      file.close();
    }
  }

  async #content(
    target: PutFolder,
    name: Name,
    path: Name,
    file: LocalFile,
    created: FileInode,
  ): Promise<PutContent> {
    const { state, signal } = this.#options;
    // A journal is found again by the folder's id, which lasts once the folder is in the store.
    if (state !== undefined && file.stat.sizeBytes >= JOURNAL_BYTES_MIN) await target.link();
    return await putContent(this.#volume, file, { directory: target.directory.id, name }, created, {
      signal,
      state,
      onBytes: bytes => this.#tally.progress(bytes, 0, path),
      onResumed: (doneBytes, sizeBytes) => this.#tally.resumed(path, doneBytes, sizeBytes),
    });
  }

  /** Removes the journal of a put that was interrupted between its commit and its end. */
  async #forgetJournal({ target, entry }: PutItem): Promise<void> {
    const { state } = this.#options;
    if (state === undefined || this.#isDry || entry.sizeBytes < JOURNAL_BYTES_MIN) return;
    const { unitSizeBytes } = this.#volume.settings;
    const at = { directory: target.directory.id, name: entry.name, unitSizeBytes };
    await PutJournal.forget(state, at, entry);
  }

  /** Updates a file whose content is unchanged: its mode, owner, attributes or times may differ. */
  async #updateAttributes({ target, existing, entry, path, inode, local }: Suspect): Promise<void> {
    if (this.#isDry) return;
    const isSameHere = entry.mode === inode.mode && entry.uid === inode.uid && entry.gid === inode.gid;
    const isOld = entry.ctimeNs < nowNs(this.#volume.session) - CLOCK_STEP_NS;
    const ctimeNs = isOld ? timeToKeep(entry.ctimeNs) : inode.ctimeNs;
    const hasSameTimes = timeToKeep(entry.mtimeNs) === inode.mtimeNs && ctimeNs === inode.ctimeNs;
    if (isSameHere && hasSameTimes) return;
    const file = local.openFile();
    let attributes: Attributes;
    try {
      const onLost = this.#noteOf(path);
      attributes = attributesOf(file.stat, file.xattrs(onLost), this.#options, onLost);
    } finally {
      file.close();
    }
    if (!isSameAttributes(inode, attributes)) this.#tally.did(path, 'attributes');
    await this.#batches.update(path, () =>
      this.#volume.namespace.setAttributes(target.directory, existing, attributes, ctimeNs),
    );
  }
}

function isDeviceType(type: LocalType): type is DeviceInode['type'] {
  return type === 'characterDevice' || type === 'blockDevice';
}

function whyNotCopied(type: LocalType): string {
  if (isDeviceType(type)) return 'not copied: a device; --devices copies it';
  return type === 'socket' ? 'not copied: a socket' : 'not copied: no file, folder, symbolic link or FIFO';
}
