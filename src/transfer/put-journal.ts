/**
 * Remembers where the units of a large file went that is being put, so that a repetition after an interruption sends only the
 * rest. In the client's state folder, sealed, one file a put; its name is a hash of what is put where.
 *
 *   0   16  id of the file's inode
 *   16   -  sealed records (kind journalRecord, object id = that id, index = their order), one after another
 *
 * A record holds the next units of the file, all of them in segments that are in the store. A torn end is ignored. Segments that
 * nothing refers to are garbage one day: a journal that is older than a gc's patience could promise what is gone.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { fromHex, toHex } from '../base/bytes.ts';
import { ByteReader, ByteWriter } from '../base/coder.ts';
import { NetsealError } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { ID_BYTES } from '../keys/tree.ts';
import type { ControlSealer } from '../server/sealed/control.ts';
import { type Id, segmentKey } from '../server/sealed/ids.ts';
import type { Name } from '../server/sealed/inode.ts';
import {
  decodePointer,
  encodePointer,
  type Pointer,
  SegmentList,
  SegmentTable,
} from '../server/sealed/pointer.ts';
import { peekHeader } from '../unit/record-format.ts';
import type { ClientState } from '../volume/client-state.ts';
import type { Session } from '../volume/session.ts';
import type { LocalStat } from './local-calls.ts';

const RECORD_BYTES_MAX: number = MIB;

/** What an interrupted put had done. */
export interface Resumed {
  readonly id: Id;
  /** From the first unit on; undefined for holes. */
  readonly pointers: readonly (Pointer | undefined)[];
}

export class PutJournal {
  readonly #control: ControlSealer;
  readonly #path: string;
  readonly #id: Id;
  #file: FileHandle | undefined;
  #nextIndex: number;
  /** Ends when what was appended so far is written. */
  #turn: Promise<void> = Promise.resolve();

  private constructor(control: ControlSealer, path: string, id: Id, nextIndex: number) {
    this.#control = control;
    this.#path = path;
    this.#id = id;
    this.#nextIndex = nextIndex;
  }

  /**
   * The journal of putting this very file there; undefined where there is no place for one.
   *
   * @param unitSizeBytes of the file to be; a journal of other units is another one.
   */
  static async open(
    { sealing, nowMs, graceMs }: Session,
    state: ClientState,
    target: { readonly directory: Id; readonly name: Name; readonly unitSizeBytes: number },
    source: LocalStat,
    newId: Id,
  ): Promise<{ readonly journal: PutJournal; readonly resumed: Resumed | undefined } | undefined> {
    const path = state.journalPath(journalName(target, source));
    if (path === undefined) return undefined;
    const patienceMs = graceMs / 2;
    const { control, store } = sealing;
    const found = await readJournal(control, path, nowMs() - patienceMs);
    if (found !== undefined && (await areThere(store, found.pointers))) {
      const journal = new PutJournal(control, path, found.id, found.recordCount);
      journal.#file = await open(path, 'r+');
      await journal.#file.truncate(found.lengthBytes);
      return { journal, resumed: found };
    }
    const journal = new PutJournal(control, path, newId, 0);
    journal.#file = await open(path, 'w', 0o600);
    await journal.#file.write(fromHex(newId));
    return { journal, resumed: undefined };
  }

  /** Notes the next units; all must be in the store. Failing to is no failure of the put: then there is less to resume. */
  append(pointers: readonly (Pointer | undefined)[]): void {
    this.#turn = this.#turn.then(async () => {
      const at = { kind: 'journalRecord', objectId: this.#id, index: this.#nextIndex } as const;
      const { bytes } = this.#control.seal(at, encodePointers(pointers));
      this.#nextIndex += 1;
      const size = (await this.#file?.stat())?.size ?? 0;
      await this.#file?.write(bytes, 0, bytes.byteLength, size);
    });
    this.#turn = this.#turn.catch(() => this.#giveUp());
  }

  /** The put is committed: there is nothing to resume. */
  async remove(): Promise<void> {
    await this.close();
    await rm(this.#path, { force: true });
  }

  /** Leaves the journal for the next time. */
  async close(): Promise<void> {
    await this.#turn;
    await this.#giveUp();
  }

  async #giveUp(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

function journalName(
  {
    directory,
    name,
    unitSizeBytes,
  }: { readonly directory: Id; readonly name: Name; readonly unitSizeBytes: number },
  { device, inode, sizeBytes, mtimeNs, ctimeNs }: LocalStat,
): string {
  const what = [directory, name.length, name, unitSizeBytes, device, inode, sizeBytes, mtimeNs, ctimeNs].join(
    '/',
  );
  return `put-${createHash('sha256').update(what, 'latin1').digest('hex').slice(0, 32)}`;
}

interface FoundJournal extends Resumed {
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
  if ((await stat(path)).birthtimeMs < notBeforeMs) return undefined;
  const id = toHex(bytes.subarray(0, ID_BYTES));
  const pointers: (Pointer | undefined)[] = [];
  let recordCount = 0;
  let offsetBytes = ID_BYTES;
  try {
    while (offsetBytes < bytes.byteLength) {
      const { sealedLengthBytes } = peekHeader(bytes.subarray(offsetBytes));
      const record = bytes.subarray(offsetBytes, offsetBytes + sealedLengthBytes);
      const at = { kind: 'journalRecord', objectId: id, index: recordCount } as const;
      for (const pointer of decodePointers(control.open(at, record, RECORD_BYTES_MAX)))
        pointers.push(pointer);
      recordCount += 1;
      offsetBytes += sealedLengthBytes;
    }
  } catch (error) {
    // What comes after a torn record is lost with it.
    if (!(error instanceof NetsealError)) throw error;
  }
  return pointers.length === 0 ? undefined : { id, pointers, recordCount, lengthBytes: offsetBytes };
}

async function areThere(
  store: Session['sealing']['store'],
  pointers: readonly (Pointer | undefined)[],
): Promise<boolean> {
  const segments = new Set(pointers.flatMap(pointer => (pointer === undefined ? [] : [pointer.segment])));
  const found = await Promise.all(
    [...segments].map(segment =>
      store.stat(segmentKey(segment)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.every(isThere => isThere);
}

/** A segment table, the number of units, then for each: 0 for a hole, or 1 and its pointer. */
function encodePointers(pointers: readonly (Pointer | undefined)[]): Uint8Array {
  const table = new SegmentTable();
  const body = new ByteWriter();
  body.varint(pointers.length);
  for (const pointer of pointers) {
    body.u8(pointer === undefined ? 0 : 1);
    if (pointer !== undefined) encodePointer(body, pointer, table);
  }
  const out = new ByteWriter();
  table.encode(out);
  out.raw(body.written);
  return out.written;
}

function decodePointers(bytes: Uint8Array): (Pointer | undefined)[] {
  const input = new ByteReader(bytes, 'journal');
  const segments = SegmentList.decode(input);
  const count = input.varint(input.restBytes);
  const pointers = Array.from({ length: count }, () =>
    input.u8() === 0 ? undefined : decodePointer(input, segments),
  );
  input.end();
  return pointers;
}
