/** A large file on its way into a volume: read, sealed and uploaded piece by piece, in memory that does not grow with it. */
import { MIB, sizeToUnitCount } from '../base/geometry.ts';
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import type { Pointer } from '../server/sealed/pointer.ts';
import { FileContent } from '../volume/content/file-content.ts';
import type { ClientState } from '../volume/state/client-state.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalFile } from './local-source.ts';
import { type JournalItem, PutJournal } from './put-journal.ts';
import { onVolume, StoreFailure } from './tally.ts';

/** Read and sealed as one, at least a unit. Not more: memory that is touched first costs as much as sealing into it. */
const READ_BYTES: number = 2 * MIB;
/** Reads whose units are being sealed: enough to keep all threads at work. */
const READS_MAX = 4;
/** Smaller files are sent again after an interruption. */
export const JOURNAL_BYTES_MIN: number = 64 * MIB;

export interface PutFileOptions {
  readonly signal?: AbortSignal | undefined;
  /** For the journal; without it an interrupted put starts over. */
  readonly state?: ClientState | undefined;
  onBytes(bytes: number): void;
}

/** A file's content in segments, some of which may be on their way still. */
export interface PutContent {
  readonly inode: FileInode;
  readonly segments: ReadonlySet<Id>;
  readonly journal: PutJournal | undefined;
}

/**
 * Reads all of a file into segments.
 *
 * @param inode what becomes of it, but for its content.
 * Throws what reading throws, and {@link StoreFailure}; a journal then stays for the next time.
 */
export async function putContent(
  volume: Volume,
  file: LocalFile,
  target: { readonly directory: Id; readonly name: Name },
  inode: FileInode,
  options: PutFileOptions,
): Promise<PutContent> {
  const { unitSizeBytes } = inode;
  const { session } = volume;
  const { stat } = file;
  const opened =
    options.state === undefined || stat.sizeBytes < JOURNAL_BYTES_MIN
      ? undefined
      : await onVolume(PutJournal.open(session, options.state, { ...target, unitSizeBytes }, stat, inode.id));
  const id = opened?.resumed?.id ?? inode.id;
  const upload = new Upload(volume, { ...inode, id }, opened?.journal);
  try {
    for (const items of opened?.resumed?.items() ?? []) {
      await onVolume(upload.resume(items));
      if (opened?.resumed?.isCopy === true) opened.journal.append(items);
    }
    options.onBytes(Math.min(stat.sizeBytes, upload.nextUnit * unitSizeBytes));
    const sizeBytes = await readAll(file, upload, unitSizeBytes, options);
    return { ...(await upload.finish(sizeBytes)), journal: opened?.journal };
  } catch (error) {
    await upload.abandon();
    await opened?.journal.close();
    throw error;
  }
}

/** Reads from where the upload stands to the end; returns the file's length as it was read. */
async function readAll(
  file: LocalFile,
  upload: Upload,
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
    const lengthBytes = Math.min(sizeBytes, to * unitSizeBytes) - unit * unitSizeBytes;
    const readBytes = await upload.addUnits(to - unit, lengthBytes, into =>
      file.read(into, unit * unitSizeBytes, signal),
    );
    onBytes(readBytes);
    if (readBytes < lengthBytes) return unit * unitSizeBytes + readBytes;
    await onVolume(upload.keepUp(READS_MAX));
    unit = to;
  }
  return sizeBytes;
}

/** Units that are being sealed, or a hole. */
type Step =
  | { readonly from: number; readonly pointers: Promise<(Pointer | undefined)[]> }
  | { readonly from: number; readonly holeCount: number };

class Upload {
  readonly #volume: Volume;
  readonly #inode: FileInode;
  readonly #content: FileContent;
  readonly #journal: PutJournal | undefined;
  /** In the order of the file. */
  readonly #sealing: Step[] = [];
  readonly #watched = new Set<Id>();
  #failure: { readonly error: unknown } | undefined;
  /** Ends when the journal holds all that is durable so far. */
  #journalled: Promise<void> = Promise.resolve();
  #isAbandoned = false;
  nextUnit = 0;

  constructor(volume: Volume, inode: FileInode, journal: PutJournal | undefined) {
    this.#volume = volume;
    this.#inode = inode;
    this.#journal = journal;
    this.#content = new FileContent(volume.session, inode);
  }

  async resume(items: readonly JournalItem[]): Promise<void> {
    for (const item of items) {
      if (typeof item !== 'number') this.#content.set(this.nextUnit, item);
      this.nextUnit += typeof item === 'number' ? item : 1;
    }
    await this.#content.foldIfLarge();
  }

  addHoles(unitCount: number): void {
    this.#sealing.push({ from: this.nextUnit, holeCount: unitCount });
    this.nextUnit += unitCount;
  }

  async addUnits(
    unitCount: number,
    lengthBytes: number,
    fill: (into: Uint8Array) => Promise<number>,
  ): Promise<number> {
    // Of segments that others wait for only at the end: nothing more needs to be read.
    if (this.#failure !== undefined) throw new StoreFailure(this.#failure.error);
    const { id, unitSizeBytes } = this.#inode;
    const batch = await this.#volume.session.units.reserve(lengthBytes);
    let readBytes: number;
    try {
      readBytes = await fill(batch.bytes.subarray(0, lengthBytes));
    } catch (error) {
      batch.drop();
      throw error;
    }
    for (let offset = 0; offset < readBytes; offset += unitSizeBytes) {
      const index = this.nextUnit + offset / unitSizeBytes;
      batch.add(id, index, unitSizeBytes, offset, Math.min(unitSizeBytes, readBytes - offset));
    }
    if (readBytes === 0) {
      batch.drop();
    } else {
      const pointers = batch.submit();
      // It is awaited in its turn.
      pointers.catch(() => undefined);
      this.#sealing.push({ from: this.nextUnit, pointers });
    }
    this.nextUnit += unitCount;
    return readBytes;
  }

  /** Takes over what was sealed, until no more than so many reads are on their way. */
  async keepUp(readsMax: number): Promise<void> {
    while (this.#sealing.length > readsMax) {
      const first = this.#sealing.shift();
      if (first === undefined) return;
      if ('holeCount' in first) {
        this.#note([first.holeCount]);
        continue;
      }
      const pointers = await first.pointers;
      for (const [at, pointer] of pointers.entries()) this.#content.set(first.from + at, pointer);
      this.#note(pointers.map(pointer => pointer ?? 1));
      await this.#content.foldIfLarge();
    }
  }

  async finish(sizeBytes: number): Promise<{ inode: FileInode; segments: ReadonlySet<Id> }> {
    await onVolume(this.keepUp(0));
    const content = await onVolume(this.#content.finish(sizeBytes));
    return { inode: { ...this.#inode, ...content, dataVersion: 1 }, segments: this.#content.segments };
  }

  async abandon(): Promise<void> {
    this.#isAbandoned = true;
    await Promise.allSettled(this.#sealing.map(step => ('pointers' in step ? step.pointers : undefined)));
  }

  /** Has the journal remember units once their segments are in the store. */
  #note(items: readonly JournalItem[]): void {
    const { dataSegments } = this.#volume.session;
    const segments = new Set(items.flatMap(item => (typeof item === 'number' ? [] : [item.segment])));
    for (const segment of segments) {
      if (this.#watched.has(segment)) continue;
      this.#watched.add(segment);
      dataSegments.durable(segment).catch(error => {
        this.#failure ??= { error };
      });
    }
    const journal = this.#journal;
    if (journal === undefined) return;
    const before = this.#journalled;
    this.#journalled = (async () => {
      await before;
      try {
        await Promise.all([...segments].map(segment => dataSegments.durable(segment)));
      } catch {
        // The put fails with that, too. A gap must not be jumped: nothing more is noted.
        this.#isAbandoned = true;
      }
      if (!this.#isAbandoned) journal.append(items);
    })();
  }
}
