/**
 * Copies small files out of a volume. Neighbours are fetched and opened together, in groups; while one group
 * is written, the next ones arrive. Files that lie together in a segment or a pack were put together, so they
 * are mostly wanted together.
 */
import { MIB } from '../base/geometry.ts';
import type { Name } from '../base/name.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import { ReadCost } from '../server/sealed/unit-reader.ts';
import { type SmallContents, unitOfSmall } from '../volume/content/small-files.ts';
import type { Volume } from '../volume/volume.ts';
import type { TargetFolder } from './local-target.ts';
import { lostError } from './lost.ts';
import { StoreFailure, type Tally, throwIfUnreachable } from './tally.ts';

/** The plain memory of a group; a pack counts whole. */
const GROUP_BYTES: number = 3 * MIB;
const GROUP_FILES = 1024;
/** The most sealed bytes of a group, gaps included; never more than a quarter of the memory. */
const GROUP_SEALED_BYTES: number = 12 * MIB;
/** How many folders and links may wait for their files. */
const AFTER_MAX = 128;
/** How many groups are fetched at once. */
const GROUPS_MAX = 3;

/** A file with its content in at most one unit. */
export interface SmallFile {
  readonly folder: TargetFolder;
  readonly name: Name;
  readonly path: Name;
  readonly inode: FileInode;
  readonly onWritten?: (() => void) | undefined;
}

/**
 * Must not throw. `isComplete` is false when the copy has ended before everything added earlier was written.
 */
export type AfterWork = (isComplete: boolean) => void;

/** True when the file has one unit or none, and fits in a group. */
export function isSmall({ sizeBytes, unitSizeBytes, map }: FileInode): boolean {
  return sizeBytes <= Math.min(unitSizeBytes, GROUP_BYTES) && map.depth === 0;
}

interface Group {
  readonly files: readonly SmallFile[];
  /** The work that waits for these files. */
  readonly after: readonly AfterWork[];
  readonly bytes: number;
  readonly reading: Promise<SmallContents>;
}

export class GetFiles {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #signal: AbortSignal | undefined;
  readonly #groups: Group[] = [];
  readonly #finish: (file: SmallFile, bytes: Uint8Array | undefined) => void;
  #files: SmallFile[] = [];
  #after: AfterWork[] = [];
  #afterCount = 0;
  #cost = new ReadCost();

  /**
   * @param finish writes one file, given what its unit opened to; `bytes` may be shorter than it, the rest is
   *   zeros.
   */
  constructor(
    volume: Volume,
    tally: Tally,
    signal: AbortSignal | undefined,
    finish: (file: SmallFile, bytes: Uint8Array | undefined) => void,
  ) {
    this.#volume = volume;
    this.#tally = tally;
    this.#signal = signal;
    this.#finish = finish;
  }

  /**
   * Adds a file, which must be {@link isSmall}. Its folder must stay open until {@link flush} has ended.
   * Throws only what ends the copy.
   */
  async add(file: SmallFile): Promise<void> {
    const unit = unitOfSmall(file.inode);
    const { plainBytes, sealedBytes } = unit === undefined ? this.#cost : this.#cost.with(unit);
    const sealedBytesMax = Math.min(GROUP_SEALED_BYTES, this.#volume.slabBytes / 2);
    const isFull =
      plainBytes > GROUP_BYTES || sealedBytes > sealedBytesMax || this.#files.length >= GROUP_FILES;
    if (isFull) await this.#start();
    this.#files.push(file);
    if (unit !== undefined) this.#cost.add(unit);
  }

  /** Runs `work`, closing a folder for instance, once everything added before is written or has failed. */
  async whenWritten(work: AfterWork): Promise<void> {
    this.#after.push(work);
    this.#afterCount += 1;
    // Writing the oldest group ends the work that waits for it, and leaves the others as large as they are.
    while (this.#afterCount >= AFTER_MAX && this.#groups.length > 0) await this.#write();
    if (this.#afterCount >= AFTER_MAX) await this.flush();
  }

  /** Waits until everything added is written or has failed. Throws only what ends the copy. */
  async flush(): Promise<void> {
    await this.#start();
    while (this.#groups.length > 0) await this.#write();
    this.#run(this.#after.splice(0), true);
  }

  /**
   * Writes what is pending until the read budget has so much left for another reader. The pending groups hold
   * that budget, and only writing them gives it back.
   */
  async makeRoom(bytes: number): Promise<void> {
    const { readBudget } = this.#volume;
    while (this.#groups.length > 0) {
      if (readBudget.tryAcquire(bytes)) {
        readBudget.release(bytes);
        return;
      }
      await this.#write();
    }
  }

  /** Ends, also after a failure: gives back all memory. */
  async drop(): Promise<void> {
    for (const { reading, bytes, after } of this.#groups.splice(0)) {
      await reading.then(
        ({ release }) => release(),
        () => undefined,
      );
      this.#volume.readBudget.release(bytes);
      this.#run(after, false);
    }
    this.#files = [];
    this.#cost = new ReadCost();
    this.#run(this.#after.splice(0), false);
  }

  #run(work: readonly AfterWork[], isComplete: boolean): void {
    this.#afterCount -= work.length;
    for (const each of work) each(isComplete);
  }

  async #start(): Promise<void> {
    if (this.#files.length === 0) return;
    const { readBudget } = this.#volume;
    while (this.#groups.length >= GROUPS_MAX) await this.#write();
    const bytes = this.#cost.plainBytes;
    // A group must not hold memory while it waits for more.
    let isGranted = false;
    while (this.#groups.length > 0 && !isGranted) {
      isGranted = readBudget.tryAcquire(bytes);
      if (!isGranted) await this.#write();
    }
    if (!isGranted) await readBudget.acquire(bytes, this.#signal);
    const files = this.#files;
    const after = this.#after;
    this.#files = [];
    this.#after = [];
    this.#cost = new ReadCost();
    const inodes = files.map(({ inode }) => inode);
    const reading = this.#volume.readSmallFiles(inodes, this.#signal);
    // Its error is handled when its turn comes.
    reading.catch(() => undefined);
    this.#groups.push({ files, after, bytes, reading });
  }

  async #write(): Promise<void> {
    const group = this.#groups[0];
    if (group === undefined) return;
    const { units, release } = await group.reading.catch(error => {
      // The group as a whole failed: an interruption, or a fault of netseal. Damaged units would be reported
      // one by one.
      throw new StoreFailure(error);
    });
    let isComplete = false;
    try {
      for (const [at, file] of group.files.entries()) {
        const unit = units[at];
        if (unit?.error !== undefined) throwIfUnreachable(unit.error);
        try {
          if (unit?.error !== undefined) throw lostError([{ ...whole(file), error: unit.error }]);
          this.#finish(file, unit?.bytes);
          file.onWritten?.();
        } catch (error) {
          this.#tally.fail(file.path, error);
        }
        this.#tally.progress(file.inode.sizeBytes, 1);
      }
      isComplete = true;
    } finally {
      this.#groups.shift();
      release();
      this.#volume.readBudget.release(group.bytes);
      this.#run(group.after, isComplete);
    }
  }
}

function whole({ inode }: SmallFile): { readonly offsetBytes: number; readonly lengthBytes: number } {
  return { offsetBytes: 0, lengthBytes: inode.sizeBytes };
}
