/**
 * Small files on their way out of a volume: neighbours are fetched and opened together, a few groups ahead, and written while
 * the next ones arrive. What lies together in segments was put together, so it is mostly wanted together.
 */
import { NetsealError } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { FileInode, Name } from '../server/sealed/inode.ts';
import { type ReadUnits, readUnits } from '../server/sealed/unit-reader.ts';
import type { Volume } from '../volume/volume.ts';
import type { TargetFolder } from './local-target.ts';
import type { Tally } from './tally.ts';

/** Plain memory of a group. */
const GROUP_BYTES: number = 2 * MIB;
const GROUP_FILES = 1024;
/** Folders that may wait for their files. */
const AFTER_MAX = 128;
/** Groups on their way. */
const GROUPS_MAX = 3;

/** A file with its content in at most one unit. */
export interface SmallFile {
  readonly folder: TargetFolder;
  readonly name: Name;
  readonly path: Name;
  readonly inode: FileInode;
}

/** Has one unit or none, and fits in a group. */
export function isSmall({ sizeBytes, unitSizeBytes, map }: FileInode): boolean {
  return sizeBytes <= Math.min(unitSizeBytes, GROUP_BYTES) && map.depth === 0;
}

interface Group {
  readonly files: readonly SmallFile[];
  /** What waits for them. */
  readonly after: readonly (() => void)[];
  readonly bytes: number;
  readonly reading: Promise<ReadUnits>;
}

export class GetFiles {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #signal: AbortSignal | undefined;
  readonly #groups: Group[] = [];
  readonly #finish: (file: SmallFile, bytes: Uint8Array | undefined) => void;
  #files: SmallFile[] = [];
  #after: (() => void)[] = [];
  #afterCount = 0;
  #filledBytes = 0;

  /** @param finish writes one file; `bytes` may be shorter than it, the rest is zeros. */
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

  /** Must be {@link isSmall}. Its folder must stay open until {@link flush} has ended. */
  async add(file: SmallFile): Promise<void> {
    if (this.#filledBytes + file.inode.sizeBytes > GROUP_BYTES || this.#files.length >= GROUP_FILES) {
      await this.#start();
    }
    this.#files.push(file);
    this.#filledBytes += file.inode.sizeBytes;
  }

  /** Runs `work`, which must not throw, once everything that was added before is written: closes a folder, for instance. */
  async whenWritten(work: () => void): Promise<void> {
    this.#after.push(work);
    this.#afterCount += 1;
    if (this.#afterCount >= AFTER_MAX) await this.flush();
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.#start();
    while (this.#groups.length > 0) await this.#write();
    this.#run(this.#after.splice(0));
  }

  /** Gives back all memory, whatever happened. */
  async drop(): Promise<void> {
    for (const { reading, bytes, after } of this.#groups.splice(0)) {
      await reading.then(
        ({ release }) => release(),
        () => undefined,
      );
      this.#volume.session.readBudget.release(bytes);
      this.#run(after);
    }
    this.#files = [];
    this.#filledBytes = 0;
    this.#run(this.#after.splice(0));
  }

  #run(work: readonly (() => void)[]): void {
    this.#afterCount -= work.length;
    for (const each of work) each();
  }

  async #start(): Promise<void> {
    const files = this.#files;
    const bytes = this.#filledBytes;
    if (files.length === 0) return;
    const after = this.#after;
    this.#files = [];
    this.#after = [];
    this.#filledBytes = 0;
    const { readBudget, sealing } = this.#volume.session;
    while (this.#groups.length >= GROUPS_MAX) await this.#write();
    // Whoever waits for room must not sit on it.
    while (this.#groups.length > 0 && !readBudget.tryAcquire(bytes)) {
      await this.#write();
      if (this.#groups.length === 0) break;
    }
    if (this.#groups.length === 0) await readBudget.acquire(bytes, this.#signal);
    const reading = readUnits(sealing, files.flatMap(unitOf), this.#signal);
    // It is awaited in its turn.
    reading.catch(() => undefined);
    this.#groups.push({ files, after, bytes, reading });
  }

  async #write(): Promise<void> {
    const group = this.#groups[0];
    if (group === undefined) return;
    const { units, release } = await group.reading;
    try {
      let next = 0;
      for (const file of group.files) {
        const unit = unitOf(file).length === 0 ? undefined : units[next++];
        try {
          if (unit?.error !== undefined) throw unit.error;
          this.#finish(file, unit?.bytes);
        } catch (error) {
          if (!(error instanceof NetsealError)) throw error;
          this.#tally.fail(file.path, error);
        }
        this.#tally.progress(file.inode.sizeBytes, 1);
      }
    } finally {
      this.#groups.shift();
      release();
      this.#volume.session.readBudget.release(group.bytes);
      this.#run(group.after);
    }
  }
}

function unitOf({ inode }: SmallFile): {
  objectId: string;
  index: number;
  unitSizeBytes: number;
  pointer: FileInode['map']['slots'][number]['pointer'];
  plainBytesMax: number;
}[] {
  const [slot] = inode.map.slots;
  if (slot === undefined || inode.sizeBytes === 0) return [];
  const { id: objectId, unitSizeBytes, sizeBytes: plainBytesMax } = inode;
  return [{ objectId, index: 0, unitSizeBytes, pointer: slot.pointer, plainBytesMax }];
}
