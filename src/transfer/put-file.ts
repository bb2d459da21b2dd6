/**
 * Copies a large file into a volume: reads, seals and uploads it piece by piece, in memory that does not grow
 * with it.
 */
import { MIB, sizeToUnitCount } from '../base/geometry.ts';
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import type { Pointer } from '../server/sealed/pointer.ts';
import type { ContentUpload } from '../volume/content/content-upload.ts';
import { firstVersion } from '../volume/content/file-content.ts';
import type { ClientState } from '../volume/state/client-state.ts';
import type { JournalItem, PutJournal } from '../volume/state/put-journal.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalFile } from './local-source.ts';
import { onVolume, StoreFailure } from './tally.ts';

/**
 * The size of a piece, at least a unit. A larger one would cost time: touching new memory takes as long as
 * sealing into it.
 */
const READ_BYTES: number = 2 * MIB;
/** How many pieces are being sealed at once: enough to keep all threads at work. */
const READS_MAX = 4;
/** Smaller files have no journal: after an interruption they are sent again. */
export const JOURNAL_BYTES_MIN: number = 64 * MIB;

export interface PutFileOptions {
  readonly signal?: AbortSignal | undefined;
  /** Where the journal is kept. Without it an interrupted put starts over. */
  readonly state?: ClientState | undefined;
  onBytes(bytes: number): void;
  /** Called when the file goes on where an interrupted put ended. */
  onResumed(doneBytes: number, sizeBytes: number): void;
}

/** A file's content in segments, some of which may still be uploading. */
export interface PutContent {
  readonly inode: FileInode;
  readonly segments: ReadonlySet<Id>;
  readonly journal: PutJournal | undefined;
}

/**
 * Reads all of a file into segments.
 *
 * @param inode the inode that the file gets, without its content.
 * @returns the content. Throws reading errors and {@link StoreFailure}; then the journal stays for the next
 *   `put`.
 */
export async function putContent(
  volume: Volume,
  file: LocalFile,
  target: { readonly directory: Id; readonly name: Name },
  inode: FileInode,
  options: PutFileOptions,
): Promise<PutContent> {
  const { unitSizeBytes } = inode;
  const { stat } = file;
  const opened =
    options.state === undefined || stat.sizeBytes < JOURNAL_BYTES_MIN
      ? undefined
      : await onVolume(volume.openPutJournal(options.state, { ...target, unitSizeBytes }, stat, inode.id));
  const id = opened?.resumed?.id ?? inode.id;
  const upload = new JournalledUpload(volume, { ...inode, id }, opened?.journal);
  try {
    for (const items of opened?.resumed?.items() ?? []) {
      await onVolume(upload.resume(items));
      if (opened?.resumed?.isCopy === true) opened.journal.append(items);
    }
    const doneBytes = Math.min(stat.sizeBytes, upload.nextUnit * unitSizeBytes);
    if (doneBytes > 0) options.onResumed(doneBytes, stat.sizeBytes);
    options.onBytes(doneBytes);
    const sizeBytes = await readAll(file, upload, unitSizeBytes, options);
    return { ...(await upload.finish(sizeBytes)), journal: opened?.journal };
  } catch (error) {
    await upload.abandon();
    await opened?.journal.close();
    throw error;
  }
}

/**
 * Reads from the upload's position to the file's end, wherever that is: the size that the file system tells
 * may be too small or too large. Returns the length in bytes as it was read.
 */
async function readAll(
  file: LocalFile,
  upload: JournalledUpload,
  unitSizeBytes: number,
  { signal, onBytes }: PutFileOptions,
): Promise<number> {
  const { sizeBytes } = file.stat;
  const unitCount = sizeToUnitCount(sizeBytes, unitSizeBytes);
  const unitsPerRead = Math.max(1, Math.floor(READ_BYTES / unitSizeBytes));
  let data = file.nextData(upload.nextUnit * unitSizeBytes);
  for (let unit = upload.nextUnit; unit < unitCount; ) {
    signal?.throwIfAborted();
    if (data !== undefined && data.end <= unit * unitSizeBytes) data = file.nextData(unit * unitSizeBytes);
    const dataUnit = data === undefined ? unitCount : Math.floor(data.start / unitSizeBytes);
    if (dataUnit > unit) {
      upload.addHoles(dataUnit - unit);
      onBytes((Math.min(dataUnit, unitCount) - unit) * unitSizeBytes);
      unit = dataUnit;
      continue;
    }
    const dataEnd = Math.ceil((data?.end ?? sizeBytes) / unitSizeBytes);
    const to = Math.min(unitCount, unit + unitsPerRead, Math.max(dataEnd, unit + 1));
    // Whole units: the last one may hold more than the size tells.
    const lengthBytes = (to - unit) * unitSizeBytes;
    const readBytes = await upload.addUnits(to - unit, lengthBytes, into =>
      file.read(into, unit * unitSizeBytes, signal),
    );
    onBytes(readBytes);
    if (readBytes < lengthBytes) return unit * unitSizeBytes + readBytes;
    await onVolume(upload.keepUp(READS_MAX));
    unit = to;
  }
  return await readOn(file, upload, unitSizeBytes, { signal, onBytes });
}

/**
 * Reads what comes after the size that was told when the file was opened. If the file has grown, reads up to
 * the size that it has now: it might grow for ever. If it says that it has not, reads to its end.
 */
async function readOn(
  file: LocalFile,
  upload: JournalledUpload,
  unitSizeBytes: number,
  options: PieceOptions,
): Promise<number> {
  const toldBytes = file.stat.sizeBytes;
  const nowBytes = file.sizeNow();
  const endBytes = nowBytes > toldBytes ? nowBytes : Number.POSITIVE_INFINITY;
  const fromBytes = upload.nextUnit * unitSizeBytes;
  const read = (into: Uint8Array, offsetBytes: number): Promise<number> =>
    file.read(into, offsetBytes, options.signal);
  const sizeBytes = await readPieces(read, upload, unitSizeBytes, endBytes, options);
  // The file may end in a hole, within a unit.
  return sizeBytes === fromBytes ? toldBytes : sizeBytes;
}

type PieceOptions = Pick<PutFileOptions, 'signal' | 'onBytes'>;

/** Reads piece after piece up to `endBytes` or the first short read. Returns where that was. */
async function readPieces(
  read: (into: Uint8Array, offsetBytes: number) => Promise<number>,
  upload: JournalledUpload,
  unitSizeBytes: number,
  endBytes: number,
  { signal, onBytes }: PieceOptions,
): Promise<number> {
  const unitsPerRead = Math.max(1, Math.floor(READ_BYTES / unitSizeBytes));
  const lengthBytes = unitsPerRead * unitSizeBytes;
  for (;;) {
    signal?.throwIfAborted();
    const offsetBytes = upload.nextUnit * unitSizeBytes;
    if (offsetBytes >= endBytes) return offsetBytes;
    const readBytes = await upload.addUnits(unitsPerRead, lengthBytes, into => read(into, offsetBytes));
    onBytes(readBytes);
    if (readBytes < lengthBytes) return offsetBytes + readBytes;
    await onVolume(upload.keepUp(READS_MAX));
  }
}

/**
 * Reads all that `read` gives into segments, as {@link putContent} does. There is no journal.
 *
 * @param read fills its argument; fewer bytes than fit mean the end.
 */
export async function putReader(
  volume: Volume,
  read: (into: Uint8Array) => Promise<number>,
  inode: FileInode,
  options: PieceOptions,
): Promise<{ readonly inode: FileInode; readonly segments: ReadonlySet<Id> }> {
  const upload = new JournalledUpload(volume, inode, undefined);
  try {
    const end = Number.POSITIVE_INFINITY;
    const sizeBytes = await readPieces(read, upload, inode.unitSizeBytes, end, options);
    return await upload.finish(sizeBytes);
  } catch (error) {
    await upload.abandon();
    throw error;
  }
}

/** A {@link ContentUpload} from front to back, whose progress a journal records. */
class JournalledUpload {
  readonly #volume: Volume;
  readonly #inode: FileInode;
  readonly #upload: ContentUpload;
  readonly #journal: PutJournal | undefined;
  /** The segments whose upload is being waited for. */
  readonly #watched = new Set<Id>();
  #failure: { readonly error: unknown } | undefined;
  /** Settles when the journal has everything that is durable so far. Never rejects. */
  #journalled: Promise<void> = Promise.resolve();
  #isAbandoned = false;
  #nextUnit = 0;

  constructor(volume: Volume, inode: FileInode, journal: PutJournal | undefined) {
    this.#volume = volume;
    this.#inode = inode;
    this.#journal = journal;
    this.#upload = volume.upload(inode);
  }

  get nextUnit(): number {
    return this.#nextUnit;
  }

  /** Takes over the units that an interrupted put has uploaded. */
  async resume(items: readonly JournalItem[]): Promise<void> {
    for (const item of items) {
      if (typeof item !== 'number') this.#upload.point(this.#nextUnit, item);
      this.#nextUnit += typeof item === 'number' ? item : 1;
    }
    await this.#upload.settle();
  }

  addHoles(unitCount: number): void {
    this.#note(Promise.resolve([]), unitCount);
    this.#nextUnit += unitCount;
  }

  /** Has `fill` read the next units, and submits them. Returns how many bytes it read. */
  async addUnits(
    unitCount: number,
    lengthBytes: number,
    fill: (into: Uint8Array) => Promise<number>,
  ): Promise<number> {
    // The segments are awaited only at the end. If one has failed already, there is no point in reading on.
    if (this.#failure !== undefined) throw new StoreFailure(this.#failure.error);
    const { unitSizeBytes } = this.#inode;
    const batch = await this.#upload.reserve(lengthBytes);
    let readBytes: number;
    try {
      readBytes = await fill(batch.bytes.subarray(0, lengthBytes));
    } catch (error) {
      batch.drop();
      throw error;
    }
    for (let offset = 0; offset < readBytes; offset += unitSizeBytes) {
      const index = this.#nextUnit + offset / unitSizeBytes;
      batch.add(index, offset, Math.min(unitSizeBytes, readBytes - offset));
    }
    if (readBytes === 0) batch.drop();
    else this.#note(batch.submit(), 0);
    this.#nextUnit += unitCount;
    return readBytes;
  }

  /** Waits until at most so many pieces are being sealed. */
  keepUp(readsMax: number): Promise<void> {
    return this.#upload.settle(readsMax);
  }

  async finish(sizeBytes: number): Promise<{ inode: FileInode; segments: ReadonlySet<Id> }> {
    const { content, segments } = await onVolume(this.#upload.finish(sizeBytes));
    return { inode: firstVersion(this.#inode, content), segments };
  }

  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    await this.#upload.abandon();
  }

  /** Adds the next units, a hole or placed ones, to the journal once their segments are in the store. */
  #note(placed: Promise<readonly (Pointer | undefined)[]>, holeCount: number): void {
    this.#journalled = this.#remember(this.#journalled, placed, holeCount);
  }

  async #remember(
    before: Promise<void>,
    placed: Promise<readonly (Pointer | undefined)[]>,
    holeCount: number,
  ): Promise<void> {
    try {
      const pointers = await placed;
      const segments = new Set(pointers.flatMap(pointer => (pointer === undefined ? [] : [pointer.segment])));
      this.#watch(segments);
      const journal = this.#journal;
      if (journal === undefined) return;
      await before;
      await this.#volume.whenDurable(segments);
      if (!this.#isAbandoned) journal.append(holeCount > 0 ? [holeCount] : pointers.map(at => at ?? 1));
    } catch {
      // The put fails with the same error. The journal cannot leave units out, so it ends here.
      this.#isAbandoned = true;
    }
  }

  #watch(segments: Iterable<Id>): void {
    for (const segment of segments) {
      if (this.#watched.has(segment)) continue;
      this.#watched.add(segment);
      this.#volume.whenDurable([segment]).catch(error => {
        this.#failure ??= { error };
      });
    }
  }
}
