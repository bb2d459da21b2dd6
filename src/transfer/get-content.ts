/**
 * Writes the content of files that are copied out of a volume. Each file appears under its name when it is
 * whole.
 */
import { MIB } from '../base/geometry.ts';
import type { Name } from '../base/name.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import type { FileReader, Piece } from '../volume/content/file-reader.ts';
import type { GetJournal, GetSource, GetTarget, OpenedGetJournal } from '../volume/state/get-journal.ts';
import type { SmallFile } from './get-files.ts';
import { showName } from './local-names.ts';
import { ProvenTimes, type RestoreOptions, type Unset } from './local-restore.ts';
import type { TargetFolder } from './local-target.ts';
import type { BegunFile, TargetFile } from './local-target-file.ts';
import { COARSEST_STEP_NS } from './local-times.ts';
import { lostError } from './lost.ts';
import { StoreFailure, type Tally, throwIfUnreachable } from './tally.ts';
import { dataParts } from './zeros.ts';

const NO_BYTES = new Uint8Array();

/** Smaller files have no journal: after an interruption they are fetched again. */
const RESUME_BYTES_MIN: number = 64 * MIB;
/** How much is written between two notes in the journal: the most that an interruption makes `get` repeat. */
const NOTE_BYTES: number = 16 * MIB;

interface Resuming {
  readonly journal: GetJournal;
  readonly begun: BegunFile | undefined;
  readonly doneBytes: number;
}

export class GetContent {
  readonly #tally: Tally;
  readonly #restore: RestoreOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #open: ((target: GetTarget, source: GetSource) => OpenedGetJournal | undefined) | undefined;
  /** For files and folders of this copy. */
  readonly times: ProvenTimes = new ProvenTimes();
  /** True once a note says that times are kept in steps. That is so for all files: one note is enough. */
  #hasNotedSteps = false;

  /** @param open opens the journal of a large file. Without it, an interrupted file is fetched again. */
  constructor(
    tally: Tally,
    restore: RestoreOptions,
    signal: AbortSignal | undefined,
    open?: (target: GetTarget, source: GetSource) => OpenedGetJournal | undefined,
  ) {
    this.#open = open;
    this.#tally = tally;
    this.#restore = restore;
    this.#signal = signal;
  }

  /** Writes a small file. `bytes` may be shorter than the file, and undefined for none: the rest is zeros. */
  writeSmall({ folder, name, path, inode }: SmallFile, bytes: Uint8Array | undefined): void {
    const file = folder.createSmallFile(name, inode, this.#restore);
    try {
      for (const part of dataParts(bytes ?? NO_BYTES, 0)) file.writeSync(part.bytes, part.offsetBytes);
      this.#finish(file, path, inode);
    } catch (error) {
      file.discard();
      throw error;
    }
  }

  /**
   * Reads a file to its end and writes it. Of a damaged file nothing is kept; the error names everything that
   * is lost. A large file goes on where an interruption ended, if it is still the same.
   */
  async writeLarge(folder: TargetFolder, name: Name, path: Name, reader: FileReader): Promise<void> {
    const resuming = this.#openJournal(folder, name, reader.inode);
    const begun = resuming?.begun;
    const file = folder.createFile(name, { isLong: true, isResumable: resuming !== undefined, begun });
    try {
      if (begun !== undefined) {
        this.#tally.resumed(path, resuming?.doneBytes ?? 0, reader.sizeBytes);
        this.#tally.progress(resuming?.doneBytes ?? 0, 0);
      }
      await this.#writeFrom(resuming?.doneBytes ?? 0, file, reader, resuming?.journal);
      this.#tally.progress(0, 1);
      this.#finish(file, path, reader.inode);
      resuming?.journal.remove();
    } catch (error) {
      if (resuming !== undefined && this.#isInterruption(error)) {
        file.leave();
        resuming.journal.close();
      } else {
        file.discard();
        resuming?.journal.remove();
      }
      throw error;
    }
  }

  async #writeFrom(
    fromBytes: number,
    file: TargetFile,
    reader: FileReader,
    journal: GetJournal | undefined,
  ): Promise<void> {
    const failures: Piece[] = [];
    let notedBytes = fromBytes;
    journal?.note(file.unfinished, fromBytes, file.unfinished.endBytes);
    for await (const pieces of reader.groups(fromBytes, reader.sizeBytes, { signal: this.#signal })) {
      for (const piece of pieces) {
        if (piece.error === undefined) continue;
        throwIfUnreachable(piece.error);
        failures.push(piece);
      }
      for (const { parts, offsetBytes } of failures.length > 0 ? [] : stretchesOf(pieces)) {
        await file.writeParts(parts, offsetBytes, this.#signal);
      }
      for (const { lengthBytes } of pieces) this.#tally.progress(lengthBytes, 0);
      const last = pieces.at(-1);
      const doneBytes = last === undefined ? notedBytes : last.offsetBytes + last.lengthBytes;
      if (failures.length > 0 || doneBytes - notedBytes < NOTE_BYTES) continue;
      notedBytes = doneBytes;
      journal?.note(file.unfinished, doneBytes, file.unfinished.endBytes);
    }
    if (failures.length > 0) throw lostError(failures);
  }

  /** True when the copy was ended or the store cannot be reached, so that the next `get` may go on. */
  #isInterruption(error: unknown): boolean {
    return this.#signal?.aborted === true || error instanceof StoreFailure;
  }

  /** Opens the journal of a large file, and the unfinished file if one can be gone on with. */
  #openJournal(folder: TargetFolder, name: Name, inode: FileInode): Resuming | undefined {
    if (this.#open === undefined || inode.sizeBytes < RESUME_BYTES_MIN) return undefined;
    const { device, inode: folderInode } = folder.stat;
    const opened = this.#open({ device, inode: folderInode, name }, inode);
    if (opened === undefined) return undefined;
    const { journal, begun: found } = opened;
    const begun = found === undefined ? undefined : folder.openBegun(found);
    if (found?.isSame === true)
      return { journal, begun, doneBytes: begun === undefined ? 0 : found.doneBytes };
    // The unfinished file has other content, so it is of no more use.
    if (begun !== undefined) folder.dropBegun(begun);
    return { journal, begun: undefined, doneBytes: 0 };
  }

  /** Notes what the local file system did not take. */
  noteUnset(path: Name, { keys, mtimeNs }: Unset, wantedNs: bigint): void {
    if (keys.length > 0) this.#tally.note(path, `attributes not restored: ${keys.map(showName).join(', ')}`);
    if (mtimeNs === undefined) return;
    const difference = mtimeNs - wantedNs;
    if (difference < COARSEST_STEP_NS && difference > -COARSEST_STEP_NS) {
      if (!this.#hasNotedSteps) this.#tally.note(path, 'times are kept here only in steps of up to 2 s');
      this.#hasNotedSteps = true;
    } else {
      this.#tally.note(path, `its time cannot be kept here: it became ${showTime(mtimeNs)}`);
    }
  }

  #finish(file: TargetFile, path: Name, inode: FileInode): void {
    const { sizeBytes } = inode;
    const options = { attributes: inode, sizeBytes, times: this.times, ...this.#restore };
    this.noteUnset(path, file.finish(options), inode.mtimeNs);
    this.#tally.counts.files += 1;
    this.#tally.counts.bytes += sizeBytes;
    this.#tally.did(path, 'file');
  }
}

/** Data that lies together without a gap: each stretch is one write. */
interface Stretch {
  readonly offsetBytes: number;
  readonly parts: Uint8Array[];
}

function stretchesOf(pieces: readonly Piece[]): Stretch[] {
  const stretches: Stretch[] = [];
  let endBytes = -1;
  for (const piece of pieces) {
    if (piece.bytes === undefined) continue;
    for (const { bytes, offsetBytes } of dataParts(piece.bytes, piece.offsetBytes)) {
      if (offsetBytes === endBytes) stretches.at(-1)?.parts.push(bytes);
      else stretches.push({ offsetBytes, parts: [bytes] });
      endBytes = offsetBytes + bytes.byteLength;
    }
  }
  return stretches;
}

/** Returns a time as UTC, or as a number of seconds where dates end. */
function showTime(timeNs: bigint): string {
  const date = new Date(Number(timeNs / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${timeNs / 1_000_000_000n} s since 1970` : date.toISOString();
}
