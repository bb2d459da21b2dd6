/**
 * Writes the content of files that are copied out of a volume. Each file appears under its name when it is
 * whole.
 */
import type { Name } from '../base/name.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import type { FileReader, Piece } from '../volume/content/file-reader.ts';
import type { SmallFile } from './get-files.ts';
import { showName } from './local-names.ts';
import type { RestoreOptions, Unset } from './local-restore.ts';
import type { TargetFolder } from './local-target.ts';
import type { TargetFile } from './local-target-file.ts';
import { COARSEST_STEP_NS } from './local-times.ts';
import { lostError } from './lost.ts';
import { type Tally, throwIfUnreachable } from './tally.ts';
import { dataParts } from './zeros.ts';

const NO_BYTES = new Uint8Array();

export class GetContent {
  readonly #tally: Tally;
  readonly #restore: RestoreOptions;
  readonly #signal: AbortSignal | undefined;
  /** It is a property of the file system: one file of the copy is enough to say so. */
  #hasNotedSteps = false;

  constructor(tally: Tally, restore: RestoreOptions, signal: AbortSignal | undefined) {
    this.#tally = tally;
    this.#restore = restore;
    this.#signal = signal;
  }

  /** Writes a small file. `bytes` may be shorter than the file, and undefined for none: the rest is zeros. */
  writeSmall({ folder, name, path, inode }: SmallFile, bytes: Uint8Array | undefined): void {
    const file = folder.createFile(name);
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
   * is lost.
   */
  async writeLarge(folder: TargetFolder, name: Name, path: Name, reader: FileReader): Promise<void> {
    const file = folder.createFile(name, { isLong: true });
    const failures: Piece[] = [];
    try {
      for await (const pieces of reader.groups(0, reader.sizeBytes, { signal: this.#signal })) {
        for (const piece of pieces) {
          if (piece.error === undefined) continue;
          throwIfUnreachable(piece.error);
          failures.push(piece);
        }
        for (const { parts, offsetBytes } of failures.length > 0 ? [] : stretchesOf(pieces)) {
          await file.writeParts(parts, offsetBytes, this.#signal);
        }
        for (const { lengthBytes } of pieces) this.#tally.progress(lengthBytes, 0);
      }
      this.#tally.progress(0, 1);
      if (failures.length > 0) throw lostError(failures);
      this.#finish(file, path, reader.inode);
    } catch (error) {
      file.discard();
      throw error;
    }
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
    this.noteUnset(path, file.finish({ attributes: inode, sizeBytes, ...this.#restore }), inode.mtimeNs);
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
