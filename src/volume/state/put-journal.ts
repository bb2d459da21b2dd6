/**
 * Remembers where the units of a large file went while it is put. If the put is interrupted, the next one
 * sends only the rest. A journal is a file in the client's state folder, one for each put. Its name is a hash
 * of the file's source and its place in the volume.
 *
 *   0   16  id of the file's inode
 *   16   -  sealed records (kind journalRecord, object id = that id, index = their order), one after another
 *
 * - A record holds the next units of the file. All of them are in segments that are in the store.
 * - A record without units says that the put is about to be committed.
 * - A torn record ends the journal. The units in it and after it are sent again.
 * - Nothing refers to the segments before the commit, so gc deletes them some time after. A journal that is
 *   too old for its segments to be safe is not used. Nor is one from before a rekey: its segments are sealed
 *   under an epoch that may be dropped.
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
  decodeWholePointer,
  encodeWholePointer,
  type Pointer,
  SegmentList,
  SegmentTable,
} from '../../server/sealed/pointer.ts';
import type { ObjectStore } from '../../server/store.ts';
import { peekHeader } from '../../unit/record-format.ts';
import type { ClientState } from './client-state.ts';

const RECORD_BYTES_MAX: number = MIB;
/** How the names of these journals begin. */
export const PUT_JOURNAL_PREFIX = 'put-';

/** The next unit of a file, or so many units of a hole. */
export type JournalItem = Pointer | number;

/** What an interrupted put has sent. */
export interface Resumed {
  /** The id that the file goes on under. */
  readonly id: Id;
  /** True when the items come from a journal that is replaced: the caller appends them to the new one. */
  readonly isCopy: boolean;
  /** Yields the units sent so far, from the first on, as many at a time as a record holds. */
  items(): Generator<readonly JournalItem[]>;
}

/** Where a file is put. */
export interface JournalTarget {
  readonly directory: Id;
  readonly name: Name;
  /** The unit size of the file that is made. With another unit size, another journal is used. */
  readonly unitSizeBytes: number;
}

/** What tells the local file that is put from other files, and from the same file after a change. */
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
  /** For how long gc leaves alone what nothing refers to. */
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
  /** Resolves when everything appended so far is written. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(control: ControlSealer, path: string, id: Id, nextIndex: number, file: FileHandle) {
    this.#control = control;
    this.#path = path;
    this.#id = id;
    this.#nextIndex = nextIndex;
    this.#file = file;
  }

  /**
   * Opens the journal of putting this file there, or makes one. Undefined when the state has no place for it,
   * or the file system fails: then the put goes on without a journal. Rejects with the store's error when it
   * cannot be asked whether the segments of a journal are there.
   *
   * @param newId the file's id, unless an interrupted put has given it one.
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
      // The old file is removed, not written over: a journal's age is judged by the age of its file.
      await rm(path, { force: true });
      const file = await open(path, 'wx', 0o600);
      await file.write(fromHex(newId));
      const journal = new PutJournal(control, path, newId, 0, file);
      const resumed = isUsable ? { id: newId, isCopy: true, items: () => withOrigins(found) } : undefined;
      return { journal, resumed };
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
      // Without a journal, an interrupted put starts again from the beginning.
      return undefined;
    }
  }

  /**
   * Removes the journal of a put that was committed and then interrupted before it removed the journal
   * itself.
   */
  static async forget(state: ClientState, target: JournalTarget, source: JournalSource): Promise<void> {
    const path = journalPath(state, target, source);
    if (path !== undefined) await rm(path, { force: true }).catch(() => undefined);
  }

  /**
   * Notes the next units of the file, which must be in the store. If that fails, the put goes on, and the
   * journal ends here.
   */
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
   * Notes that the put is about to be committed. After this, its id may be that of a file, which may be moved
   * or changed later. So a put that is resumed from here gets another id.
   */
  async beforeCommit(): Promise<void> {
    this.append([]);
    await this.#turn;
    if (this.#file === undefined) await rm(this.#path, { force: true });
  }

  /** Removes the journal, after the commit. */
  async remove(): Promise<void> {
    await this.close();
    // A journal that cannot be removed was marked as spent before the commit: the next put uses another id.
    await rm(this.#path, { force: true }).catch(() => undefined);
  }

  /** Closes the journal and leaves it for the next put. */
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

/** Removes journals that were last written before `beforeMs`. They are too old to be used. */
async function removeOld(path: string, beforeMs: number): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(PUT_JOURNAL_PREFIX)) continue;
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
  return `${PUT_JOURNAL_PREFIX}${createHash('sha256').update(what, 'latin1').digest('hex').slice(0, 32)}`;
}

interface FoundJournal extends Resumed {
  /** True when the put may have been committed: the id must not be used again. */
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
  // The first segments are about as old as the file. If they are too old, gc may have deleted them.
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
    // Decoded a second time instead of kept: the items of a large file would take much memory at once.
    *items() {
      for (const { items } of readRecords(control, id, bytes.subarray(0, lengthBytes))) yield items;
    },
  };
}

/** Yields the units for a file of another id: each pointer says which place its record was sealed for. */
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

/** Yields the records of a journal up to the first that is torn or damaged. */
function* readRecords(
  control: ControlSealer,
  id: Id,
  bytes: Uint8Array,
): Generator<{ readonly items: readonly JournalItem[]; readonly endBytes: number }> {
  let offsetBytes = ID_BYTES;
  for (let index = 0; offsetBytes < bytes.byteLength; index += 1) {
    let items: readonly JournalItem[];
    try {
      const { sealedLengthBytes, epoch } = peekHeader(bytes.subarray(offsetBytes));
      if (epoch < control.newestEpoch) return;
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

/**
 * Encodes a record's content:
 *
 *   -       segment table of the pointers, see `pointer.ts`
 *   varint  number of items
 *   1       each item: 0 for a hole, 1 for a unit, which is no part of a pack
 *   -       a hole: varint, number of its units; a unit: its pointer
 */
function encodeItems(items: readonly JournalItem[]): Uint8Array {
  const table = new SegmentTable();
  const body = new ByteWriter();
  body.varint(items.length);
  for (const item of items) {
    body.u8(typeof item === 'number' ? 0 : 1);
    if (typeof item === 'number') body.varint(item);
    else encodeWholePointer(body, item, table);
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
    input.u8() === 0 ? input.varint() : decodeWholePointer(input, segments),
  );
  input.end();
  return items;
}
