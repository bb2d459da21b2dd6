/**
 * The server of netfs over the sealed layout: files of one volume, by the ids of their inodes.
 *
 * netfs knows no names, but inodes are found by names. So the caller first says where a file was found:
 *
 *   register     a file that is in the store
 *   registerNew  one that is not: the first commit puts it there, under its name
 *
 * Both return the key to open it by. From then on the file is followed, even when its name changes or goes.
 * netfs opens each file once at a time.
 */
import { toHex } from '../../base/bytes.ts';
import { codeOf, NetsealError, requireArgument } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { ID_BYTES, type Id, idBytes } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type {
  CallSignal,
  CommitSub,
  Committed,
  FileState,
  LocateOptions,
  NetfsCapabilities,
  NetfsServer,
  OpenedFile,
  ReadEnd,
  ReadSub,
  Receipt,
  StateOptions,
  WriteSub,
  Writing,
} from '../../netfs/server.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import type { FileCommitParts } from '../content/file-commits.ts';
import type { FilePlace } from '../names/file-place.ts';
import type { NamePlace } from '../names/live-names.ts';
import { PendingSegments } from './pending-segments.ts';
import { requireReceipt, type SealedReceipt } from './receipts.ts';
import { type RecordToRead, readRecords } from './record-reader.ts';
import { type NewFile, ServedFile } from './served-file.ts';

/** Room for the longest record, and for many short ones. */
const CALL_BYTES_MAX: number = 32 * MIB;
/** How many places of files that are not open are remembered: those registered last. */
const PLACES_MAX = 4096;

interface Registered {
  readonly place: FilePlace;
  /** Undefined for a file that is in the store. */
  readonly newFile: NewFile | undefined;
}

export class SealedServer implements NetfsServer<ServedFile> {
  readonly name: string;
  readonly capabilities: NetfsCapabilities = {
    content: 'sealed',
    publish: 'commit',
    condition: 'version',
    rsizeBytes: CALL_BYTES_MAX,
    wsizeBytes: CALL_BYTES_MAX,
    sharedMemory: true,
    copiesWrites: true,
  };
  readonly #parts: FileCommitParts;
  readonly #pending: PendingSegments;
  readonly #registered = new Map<Id, Registered>();

  constructor(parts: FileCommitParts) {
    this.#parts = parts;
    this.#pending = new PendingSegments(parts.session);
    this.name = `a volume in ${parts.session.sealing.store.name}`;
  }

  /**
   * Says where a file was found, also of one that is open: another client may have moved it. Returns the key
   * to open it by: its inode's id.
   */
  register(place: FilePlace): Uint8Array {
    const { openPlaces, unbornNames } = this.#parts.inodes;
    openPlaces.found(place);
    const newFile = unbornNames.get(place.id) && this.#registered.get(place.id)?.newFile;
    this.#register(place.id, { place, newFile });
    return idBytes(place.id);
  }

  /**
   * Prepares a file that its first commit puts into the store. Returns the key to open it by. That commit
   * also rejects with EEXIST or EISDIR when the name is taken and `givesWay` is not set. It may be tried
   * again.
   */
  registerNew(
    inode: FileInode,
    { directory, name }: NamePlace,
    options: Pick<NewFile, 'replace' | 'givesWay'> = {},
  ): Uint8Array {
    this.#register(inode.id, { place: { directory, name, id: inode.id }, newFile: { inode, ...options } });
    return idBytes(inode.id);
  }

  /** EMISSING also for a file that was not registered. */
  async open(key: Uint8Array, { signal }: CallSignal): Promise<OpenedFile<ServedFile>> {
    signal?.throwIfAborted();
    this.#parts.session.requireOpen();
    const registered = key.byteLength === ID_BYTES ? this.#registered.get(toHex(key)) : undefined;
    if (registered === undefined) throw new NetsealError('EMISSING', 'there is no file with this key');
    const { place, newFile } = registered;
    const handle =
      newFile === undefined
        ? await ServedFile.open(this.#parts, this.#pending, place)
        : ServedFile.unborn(this.#parts, this.#pending, place, newFile);
    const { keys, suite, codec, padding } = this.#parts.session.sealing;
    const { unitSizeBytes } = handle;
    const form = { keys, objectId: idBytes(handle.id), unitSizeBytes, suite, codec, padding };
    return { handle, state: handle.state, form, isNew: newFile !== undefined };
  }

  async state(handle: ServedFile, { standsOn, signal }: StateOptions): Promise<FileState> {
    signal?.throwIfAborted();
    this.#parts.session.requireOpen();
    return await handle.refresh(standsOn, signal);
  }

  async locate(
    handle: ServedFile,
    fromUnit: number,
    toUnit: number,
    { version, signal }: LocateOptions,
  ): Promise<(Receipt | undefined)[]> {
    requireArgument(fromUnit >= 0 && toUnit >= fromUnit, `no units: [${fromUnit}, ${toUnit})`);
    signal?.throwIfAborted();
    this.#parts.session.requireOpen();
    return await handle.locate(fromUnit, toUnit, version, signal);
  }

  async read({ handle, receipts: given, into, signal }: ReadSub<ServedFile>): Promise<ReadEnd> {
    const receipts = given.map(requireReceipt);
    const totalBytes = receipts.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    requireArgument(totalBytes === into.byteLength, `${totalBytes} bytes are read into ${into.byteLength}`);
    requireArgument(totalBytes <= CALL_BYTES_MAX, `${totalBytes} bytes are too many for one read`);
    const { session } = this.#parts;
    session.requireOpen();
    let endBytes = 0;
    const records = receipts.map(({ pointer }): RecordToRead => {
      endBytes += pointer.lengthBytes;
      return { pointer, offsetBytes: endBytes - pointer.lengthBytes };
    });
    const errors = await readRecords(session, records, into, signal);
    const [first] = errors.values();
    const isRefused = [...errors.values()].every(({ code }) => code === 'EUNAVAILABLE');
    if (first !== undefined && isRefused && errors.size === receipts.length) throw first;
    const lost = [...errors].filter(([, { code }]) => code === 'EMISSING').map(([at]) => at);
    if (lost.length === 0) return { errors };
    return { errors: await this.#readMoved({ handle, receipts, records, into, signal }, errors, lost) };
  }

  write({ handle, units, signal }: WriteSub<ServedFile>): Writing {
    const placed = this.#place(handle, units, signal);
    const done = placed.then(async receipts => {
      const segments = new Set(receipts.map(({ pointer }) => pointer.segment));
      await Promise.all(Array.from(segments, id => this.#parts.session.dataSegments.durable(id)));
    });
    for (const end of [placed, done]) end.catch(() => undefined);
    return { placed, done };
  }

  push(): void {
    this.#parts.session.dataSegments.push();
  }

  async commit(handle: ServedFile, sub: CommitSub): Promise<Committed> {
    return await handle.commit(sub);
  }

  /**
   * Puts changes that were refused into a new file beside their own: `NAME.conflict-` and the time. Its
   * content is that of the version `sub.ifVersion` with the changes. Returns its name.
   *
   * Rejects with EINVAL when that version is neither the one told last nor the last that a commit was refused
   * on; ENOENT when the folder is gone; with what committing throws.
   */
  async stash(handle: ServedFile, sub: CommitSub): Promise<Name> {
    return await handle.stash(sub);
  }

  /** Does the same as {@link stash}, under a name of the caller's choice. EEXIST unless `replace`; EISDIR. */
  async saveAs(
    handle: ServedFile,
    sub: CommitSub,
    target: NamePlace,
    { replace }: Pick<NewFile, 'replace'> = {},
  ): Promise<void> {
    await handle.saveAs(sub, target, replace);
  }

  /**
   * Writes segments anew whose records wait long for their commit, so that no gc takes them for garbage. A
   * timer calls this by itself.
   */
  async keepYoung(): Promise<void> {
    await this.#pending.renew();
  }

  async close(handle: ServedFile): Promise<void> {
    handle.close();
    const { directory, name, id, object } = handle.place;
    this.#register(id, { place: { directory, name, id, object }, newFile: handle.newFile });
  }

  /** Ends the timer. The volume stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pending.close();
  }

  #register(id: Id, registered: Registered): void {
    this.#registered.delete(id);
    this.#registered.set(id, registered);
    if (this.#registered.size <= PLACES_MAX) return;
    const [oldest] = this.#registered.keys();
    if (oldest !== undefined) this.#registered.delete(oldest);
  }

  async #place(
    handle: ServedFile,
    units: WriteSub<ServedFile>['units'],
    signal: AbortSignal | undefined,
  ): Promise<SealedReceipt[]> {
    this.#parts.session.requireOpen();
    const totalBytes = units.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    requireArgument(totalBytes <= CALL_BYTES_MAX, `${totalBytes} bytes are too many for one write`);
    return await handle.write(units, signal);
  }

  /** Reads records whose segments are gone from where they lie now. Returns the errors that are left. */
  async #readMoved(
    {
      handle,
      receipts,
      records,
      into,
      signal,
    }: {
      readonly handle: ServedFile;
      readonly receipts: readonly SealedReceipt[];
      readonly records: readonly RecordToRead[];
      readonly into: Uint8Array;
      readonly signal: AbortSignal | undefined;
    },
    errors: ReadonlyMap<number, NetsealError>,
    lost: readonly number[],
  ): Promise<Map<number, NetsealError>> {
    const left = new Map(errors);
    const pointers = await handle.relocate(lost.flatMap(at => receipts[at] ?? [])).catch(error => {
      // The file is gone: then so are the records.
      if (codeOf(error) !== 'EMISSING') throw error;
      return [];
    });
    const again = lost.flatMap((at, order) => {
      const pointer = pointers[order];
      const record = records[at];
      return pointer === undefined || record === undefined ? [] : [{ ...record, pointer, at }];
    });
    const failed = await readRecords(this.#parts.session, again, into, signal);
    for (const [order, { at }] of again.entries()) {
      const error = failed.get(order);
      if (error === undefined) left.delete(at);
      else left.set(at, error);
    }
    return left;
  }
}
