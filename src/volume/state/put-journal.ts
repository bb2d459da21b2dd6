/**
 * Remembers where the units of a large file went that is being put, so that a repetition after an interruption sends only the
 * rest. In the client's state folder, sealed, one file a put; its name is a hash of what is put where.
 *
 *   0   16  id of the file's inode
 *   16   -  sealed records (kind journalRecord, object id = that id, index = their order), one after another
 *
 * A record holds the next units of the file, all of them in segments that are in the store; one without units says that the
 * put is about to be committed. A torn end is ignored. Segments that
 * nothing refers to are garbage one day: a journal that is older than a gc's patience could promise what is gone.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fromHex, toHex } from '../../base/bytes.ts';
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { codeOf, isNetsealError, systemCodeOf } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { ControlSealer } from '../../server/sealed/control.ts';
import { segmentKey } from '../../server/sealed/object-keys.ts';
import {
  decodePointer,
  encodePointer,
  type Pointer,
  SegmentList,
  SegmentTable,
} from '../../server/sealed/pointer.ts';
import type { ObjectStore } from '../../server/store.ts';
import { peekHeader } from '../../unit/record-format.ts';
import type { ClientState } from './client-state.ts';

const RECORD_BYTES_MAX: number = MIB;
const PREFIX = 'put-';

/** The next unit of a file, or so many units of a hole. */
export type JournalItem = Pointer | number;

/** What an interrupted put had done. */
export interface Resumed {
  /** Under which the file goes on. */
  readonly id: Id;
  /** Whether its items are those of another journal, to be appended to this one. */
  readonly isCopy: boolean;
  /** From the first unit on, a record's worth at a time. */
  items(): Generator<readonly JournalItem[]>;
}

/** What a journal is of. */
export interface JournalTarget {
  readonly directory: Id;
  readonly name: Name;
  /** Of the file to be; a journal of other units is another one. */
  readonly unitSizeBytes: number;
}

/** The local file that is put, as the file system tells it from others and from itself at other times. */
export interface JournalSource {
  readonly device: number;
  readonly inode: bigint;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

/** The parts of a volume that a journal works with. */
export interface JournalParts {
  readonly control: ControlSealer;
  readonly store: ObjectStore;
  readonly nowMs: () => number;
  /** How long gc leaves alone what nothing refers to. */
  readonly graceMs: number;
}

export interface OpenedJournal {
  readonly journal: PutJournal;
  readonly resumed: Resumed | undefined;
}

export class PutJournal {
  readonly #control: ControlSealer;
  readonly #path: string;
  readonly #id: Id;
  #file: FileHandle | undefined;
  #nextIndex: number;
  /** Ends when what was appended so far is written. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(control: ControlSealer, path: string, id: Id, nextIndex: number, file: FileHandle) {
    this.#control = control;
    this.#path = path;
    this.#id = id;
    this.#nextIndex = nextIndex;
    this.#file = file;
  }

  /**
   * The journal of putting this very file there; undefined where there is no place for one. Rejects when the store cannot be
   * asked for what a journal holds.
   */
  static async open(
    { control, store, nowMs, graceMs }: JournalParts,
    state: ClientState,
    target: JournalTarget,
    source: JournalSource,
    newId: Id,
  ): Promise<OpenedJournal | undefined> {
    const path = journalPath(state, target, source);
    if (path === undefined) return undefined;
    await removeOld(path, nowMs() - graceMs);
    const found = await readJournal(control, path, nowMs() - graceMs / 2);
    const isUsable = found !== undefined && (await areThere(store, found.segments));
    try {
      if (isUsable && !found.isSpent) {
        const file = await open(path, 'r+');
        await file.truncate(found.lengthBytes);
        return { journal: new PutJournal(control, path, found.id, found.recordCount, file), resumed: found };
      }
      // Not written over: its age is that of its first segments.
      await rm(path, { force: true });
      const file = await open(path, 'wx', 0o600);
      await file.write(fromHex(newId));
      const journal = new PutJournal(control, path, newId, 0, file);
      const resumed = isUsable ? { id: newId, isCopy: true, items: () => withOrigins(found) } : undefined;
      return { journal, resumed };
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      // Then an interruption costs more.
      return undefined;
    }
  }

  /** Removes the journal of a put that was committed, should it have been interrupted just then. */
  static async forget(state: ClientState, target: JournalTarget, source: JournalSource): Promise<void> {
    const path = journalPath(state, target, source);
    if (path !== undefined) await rm(path, { force: true }).catch(() => undefined);
  }

  /** Notes the next units; all must be in the store. Failing to is no failure of the put: then there is less to resume. */
  append(items: readonly JournalItem[]): void {
    this.#turn = this.#turn.then(async () => {
      const at = { kind: 'journalRecord', objectId: this.#id, index: this.#nextIndex } as const;
      const { bytes } = this.#control.seal(at, encodeItems(items));
      this.#nextIndex += 1;
      const size = (await this.#file?.stat())?.size ?? 0;
      await this.#file?.write(bytes, 0, bytes.byteLength, size);
    });
    this.#turn = this.#turn.catch(() => this.#giveUp());
  }

  /**
   * Call it before the put is committed: from then on its id may be that of a file, perhaps moved or changed since. What is
   * resumed afterwards gets another id.
   */
  async beforeCommit(): Promise<void> {
    this.append([]);
    await this.#turn;
    if (this.#file === undefined) await rm(this.#path, { force: true });
  }

  /** The put is committed: there is nothing to resume. */
  async remove(): Promise<void> {
    await this.close();
    // One that stays is removed the next time.
    await rm(this.#path, { force: true }).catch(() => undefined);
  }

  /** Leaves the journal for the next time. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#giveUp();
  }

  async #giveUp(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }
}

function journalPath(state: ClientState, target: JournalTarget, source: JournalSource): string | undefined {
  try {
    return state.journalPath(journalName(target, source));
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Journals that nobody can resume any more. */
async function removeOld(path: string, beforeMs: number): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(PREFIX)) continue;
    const { mtimeMs } = await stat(`${folder}/${name}`).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (mtimeMs < beforeMs) await rm(`${folder}/${name}`, { force: true }).catch(() => undefined);
  }
}

function journalName(
  { directory, name, unitSizeBytes }: JournalTarget,
  { device, inode, sizeBytes, mtimeNs, ctimeNs }: JournalSource,
): string {
  const what = [directory, name.length, name, unitSizeBytes, device, inode, sizeBytes, mtimeNs, ctimeNs].join(
    '/',
  );
  return `${PREFIX}${createHash('sha256').update(what, 'latin1').digest('hex').slice(0, 32)}`;
}

interface FoundJournal extends Resumed {
  /** Its put may have been committed. */
  readonly isSpent: boolean;
  readonly segments: ReadonlySet<Id>;
  readonly recordCount: number;
  readonly lengthBytes: number;
}

async function readJournal(
  control: ControlSealer,
  path: string,
  notBeforeMs: number,
): Promise<FoundJournal | undefined> {
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes === undefined || bytes.byteLength <= ID_BYTES) return undefined;
  // Begun so long ago, its first segments may have been collected.
  const { birthtimeMs } = await stat(path).catch(() => ({ birthtimeMs: 0 }));
  if (birthtimeMs < notBeforeMs) return undefined;
  const id = toHex(bytes.subarray(0, ID_BYTES));
  const segments = new Set<Id>();
  let recordCount = 0;
  let lengthBytes = ID_BYTES;
  let isSpent = false;
  for (const { items, endBytes } of readRecords(control, id, bytes)) {
    for (const item of items) if (typeof item !== 'number') segments.add(item.segment);
    if (items.length === 0) isSpent = true;
    recordCount += 1;
    lengthBytes = endBytes;
  }
  if (recordCount === 0) return undefined;
  return {
    id,
    isCopy: false,
    isSpent,
    segments,
    recordCount,
    lengthBytes,
    // Opened once more: all items of a large file would take more memory than the file's bytes do on their way.
    *items() {
      for (const { items } of readRecords(control, id, bytes.subarray(0, lengthBytes))) yield items;
    },
  };
}

/** The units as a file of another id has them. */
function* withOrigins({ id, items }: Resumed): Generator<readonly JournalItem[]> {
  let index = 0;
  for (const batch of items()) {
    yield batch.map(item => {
      const at = index;
      index += typeof item === 'number' ? item : 1;
      return typeof item === 'number'
        ? item
        : { ...item, origin: item.origin ?? { objectId: id, index: at } };
    });
  }
}

/** Ends where a record is torn: what comes after it is lost with it. */
function* readRecords(
  control: ControlSealer,
  id: Id,
  bytes: Uint8Array,
): Generator<{ readonly items: readonly JournalItem[]; readonly endBytes: number }> {
  let offsetBytes = ID_BYTES;
  for (let index = 0; offsetBytes < bytes.byteLength; index += 1) {
    let items: readonly JournalItem[];
    try {
      const { sealedLengthBytes } = peekHeader(bytes.subarray(offsetBytes));
      const record = bytes.subarray(offsetBytes, offsetBytes + sealedLengthBytes);
      items = decodeItems(
        control.open({ kind: 'journalRecord', objectId: id, index }, record, RECORD_BYTES_MAX),
      );
      offsetBytes += sealedLengthBytes;
    } catch (error) {
      if (!isNetsealError(error)) throw error;
      return;
    }
    yield { items, endBytes: offsetBytes };
  }
}

async function areThere(store: ObjectStore, segments: ReadonlySet<Id>): Promise<boolean> {
  const found = await Promise.all(
    [...segments].map(segment =>
      store.stat(segmentKey(segment)).then(
        () => true,
        error => {
          if (codeOf(error) === 'EMISSING') return false;
          throw error;
        },
      ),
    ),
  );
  return found.every(isThere => isThere);
}

/** A segment table, the number of items, then for each: 0 and the number of units of a hole, or 1 and a unit's pointer. */
function encodeItems(items: readonly JournalItem[]): Uint8Array {
  const table = new SegmentTable();
  const body = new ByteWriter();
  body.varint(items.length);
  for (const item of items) {
    body.u8(typeof item === 'number' ? 0 : 1);
    if (typeof item === 'number') body.varint(item);
    else encodePointer(body, item, table);
  }
  const out = new ByteWriter();
  table.encode(out);
  out.raw(body.written);
  return out.written;
}

function decodeItems(bytes: Uint8Array): JournalItem[] {
  const input = new ByteReader(bytes, 'journal');
  const segments = SegmentList.decode(input);
  const count = input.varint(input.restBytes);
  const items = Array.from({ length: count }, () =>
    input.u8() === 0 ? input.varint() : decodePointer(input, segments),
  );
  input.end();
  return items;
}
