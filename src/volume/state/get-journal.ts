/**
 * Remembers how far `get` has written a large file on this machine. If that is interrupted, the next `get`
 * fetches only the rest. A journal is a file in the client's state folder, one for each local file that is
 * being written.
 *
 *   0   16  a random id
 *   16   -  sealed records (kind journalRecord, object id = that id, index = their order), one after another
 *
 * - Each record holds everything that is known, as JSON. The last record counts. A torn one is ignored.
 * - Only a client with the volume's key can make, change or read a record.
 * - A journal is used only while the machine has not been restarted. After a restart it is unknown how much
 *   of the file has reached the disk. A machine that does not tell its restarts apart has no journals.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { requireInteger } from '../../base/arguments.ts';
import { fromHex, toHex } from '../../base/bytes.ts';
import { isNetsealError, systemCodeOf } from '../../base/errors.ts';
import { ID_BYTES, type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { ControlSealer } from '../../server/sealed/control.ts';
import { peekHeader } from '../../unit/record-format.ts';
import type { ClientState } from './client-state.ts';

/** How the names of these journals begin. */
export const GET_JOURNAL_PREFIX = 'get-';
const RECORD_BYTES_MAX = 64 * 1024;
/** The age from which journals, and the unfinished files that belong to them, are removed. */
export const GET_JOURNAL_AGE_MS: number = 7 * 24 * 60 * 60 * 1000;

/** The local file that is written: its name, and the device and inode number of its folder. */
export interface GetTarget {
  readonly device: number;
  readonly inode: bigint;
  readonly name: Name;
}

/** The file of the volume, in one version of its content. */
export interface GetSource {
  readonly id: Id;
  readonly dataVersion: number;
  readonly sizeBytes: number;
}

/** The unfinished local file: its temporary name, device and inode number. */
export interface Unfinished {
  readonly name: Name;
  readonly device: number;
  readonly inode: bigint;
}

/** How far an interrupted `get` has written a file. */
export interface Begun {
  readonly unfinished: Unfinished;
  /** All bytes before this place are written. */
  readonly doneBytes: number;
  /** The length that the unfinished file had: less than `doneBytes` if a hole came last. */
  readonly endBytes: number;
  /** False when the bytes are those of another file, or of other content of this one. */
  readonly isSame: boolean;
}

export interface OpenedGetJournal {
  readonly journal: GetJournal;
  readonly begun: Begun | undefined;
}

export class GetJournal {
  readonly #control: ControlSealer;
  readonly #path: string;
  readonly #source: GetSource;
  readonly #id: Id = randomId();
  #fd: number | undefined;
  #index = 0;

  private constructor(control: ControlSealer, path: string, source: GetSource) {
    this.#control = control;
    this.#path = path;
    this.#source = source;
  }

  /**
   * Opens the journal for writing `source` to `target`. Undefined when the state has no place for journals,
   * the file system fails, or the machine does not tell its restarts apart.
   *
   * @returns the journal, and as `begun` what an interrupted `get` has written. The first {@link note}
   *   replaces what the journal holds.
   */
  static open(
    control: ControlSealer,
    state: ClientState,
    target: GetTarget,
    source: GetSource,
  ): OpenedGetJournal | undefined {
    if (startOfMachine() === undefined) return undefined;
    try {
      const path = state.journalPath(journalName(target));
      if (path === undefined) return undefined;
      removeOld(dirname(path));
      return { journal: new GetJournal(control, path, source), begun: readJournal(control, path, source) };
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      return undefined;
    }
  }

  /**
   * Notes that the file is written up to `doneBytes`. If that fails, the journal ends at the note before.
   * EINVAL for a place that no file has.
   */
  note(unfinished: Unfinished, doneBytes: number, endBytes: number): void {
    requireInteger('doneBytes', doneBytes);
    requireInteger('endBytes', endBytes);
    const { id: file, dataVersion, sizeBytes } = this.#source;
    const { name, device, inode } = unfinished;
    const known: Known = {
      start: startOfMachine() ?? '',
      ...{ file, dataVersion, sizeBytes, doneBytes, endBytes },
      ...{ name, device, inode: `${inode}` },
    };
    const at = { kind: 'journalRecord', objectId: this.#id, index: this.#index } as const;
    const { bytes } = this.#control.seal(at, Buffer.from(JSON.stringify(known)));
    try {
      if (this.#index === 0) this.#begin();
      if (this.#fd !== undefined) fs.writeSync(this.#fd, bytes);
      this.#index += 1;
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      this.close();
    }
  }

  /** Removes the journal, when the file is whole or given up. */
  remove(): void {
    this.close();
    fs.rmSync(this.#path, { force: true });
  }

  /** Closes the journal and leaves it for the next `get`. */
  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
    this.#fd = undefined;
  }

  #begin(): void {
    fs.rmSync(this.#path, { force: true });
    this.#fd = fs.openSync(this.#path, 'wx', 0o600);
    fs.writeSync(this.#fd, fromHex(this.#id));
  }
}

/** The JSON content of a record. `start` is the machine's start, `file` the id of the file in the volume. */
interface Known {
  readonly start: string;
  readonly file: Id;
  readonly dataVersion: number;
  readonly sizeBytes: number;
  readonly doneBytes: number;
  readonly endBytes: number;
  readonly name: Name;
  readonly device: number;
  readonly inode: string;
}

function readJournal(control: ControlSealer, path: string, source: GetSource): Begun | undefined {
  let bytes: Uint8Array;
  try {
    bytes = fs.readFileSync(path);
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
  const known = lastRecord(control, bytes);
  if (known === undefined || known.start !== startOfMachine()) return undefined;
  const { file, dataVersion, sizeBytes, doneBytes, endBytes, name, device, inode } = known;
  const isSame = file === source.id && dataVersion === source.dataVersion && sizeBytes === source.sizeBytes;
  return { unfinished: { name, device, inode: BigInt(inode) }, doneBytes, endBytes, isSame };
}

function lastRecord(control: ControlSealer, bytes: Uint8Array): Known | undefined {
  if (bytes.byteLength <= ID_BYTES) return undefined;
  const objectId = toHex(bytes.subarray(0, ID_BYTES));
  let known: Known | undefined;
  try {
    for (let [index, offset] = [0, ID_BYTES]; offset < bytes.byteLength; index += 1) {
      const { sealedLengthBytes } = peekHeader(bytes.subarray(offset));
      const record = bytes.subarray(offset, offset + sealedLengthBytes);
      const plain = control.open({ kind: 'journalRecord', objectId, index }, record, RECORD_BYTES_MAX);
      known = JSON.parse(Buffer.from(plain).toString()) as Known;
      offset += sealedLengthBytes;
    }
  } catch (error) {
    // The last record is torn: the one before it counts.
    if (!isNetsealError(error)) throw error;
  }
  return known;
}

let start: string | undefined;

/** Returns an id of this machine's present start; undefined where the system has none. */
function startOfMachine(): string | undefined {
  try {
    start ??= fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    return start;
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
}

function journalName({ device, inode, name }: GetTarget): string {
  const hash = createHash('sha256').update(`${device}/${inode}/${name}`, 'latin1').digest('hex');
  return `${GET_JOURNAL_PREFIX}${hash.slice(0, 32)}`;
}

/** Removes journals that are older than {@link GET_JOURNAL_AGE_MS}. */
function removeOld(folder: string): void {
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(GET_JOURNAL_PREFIX)) continue;
    const mtimeMs = fs.statSync(`${folder}/${name}`, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (mtimeMs < Date.now() - GET_JOURNAL_AGE_MS) fs.rmSync(`${folder}/${name}`, { force: true });
  }
}
