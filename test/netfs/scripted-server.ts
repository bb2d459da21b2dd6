/**
 * A server of sealed files in memory. A test writes its script: for each call whether it fails, when it begins
 * and when its answer comes. Nothing in it waits for time, so the same script gives the same run.
 *
 *   ScriptedDisk    what all clients see: files with their versions, and the records that are durable
 *   ScriptedServer  one client of a disk, with an open segment of its own
 *
 * Records lie in netfs's own memory until they are durable: memory that netfs uses again too early shows as
 * a violation.
 */
import { abortable } from '../../src/base/abortable.ts';
import { toByteString } from '../../src/base/bytes.ts';
import { NetsealError, requireArgument } from '../../src/base/errors.ts';
import { MIB, sizeToUnitCount } from '../../src/base/geometry.ts';
import { idBytes, randomId } from '../../src/base/ids.ts';
import type {
  CallSignal,
  CommitSub,
  FileForm,
  FileState,
  LocateOptions,
  NetfsCapabilities,
  NetfsServer,
  OpenedFile,
  ReadEnd,
  ReadSub,
  Receipt,
  ReceiptOrigin,
  ReceiptSlice,
  StateOptions,
  WriteSub,
  Writing,
} from '../../src/netfs/server.ts';

/** `place` is the first half of a write, `upload` sends a segment. */
export type ScriptedOperation = 'open' | 'state' | 'locate' | 'read' | 'place' | 'upload' | 'commit';

export interface ScriptedCall {
  readonly operation: ScriptedOperation;
  /** From 1: counts the client's calls of this operation. */
  readonly number: number;
  /** The units that it is about; none for a read. */
  readonly units: readonly number[];
}

/** What becomes of a call. By default it happens at once. */
export interface Fate {
  /** The call begins when this has settled. Nothing happens if it rejects. */
  readonly before?: Promise<unknown>;
  /** Nothing happens, and the call rejects with this. */
  readonly error?: Error;
  /** The call has happened; its answer comes when this has settled, and is lost if it rejects. */
  readonly answer?: Promise<unknown>;
}

export type Script = (call: ScriptedCall) => Fate | undefined;

/** Returns the fate of a call that happens, and whose answer is lost. */
export function answerLost(): Fate {
  const answer = Promise.reject(new NetsealError('EUNCERTAIN', 'the answer was lost on purpose'));
  return { answer: handled(answer) };
}

/** A record, in netfs's memory or on the disk. */
interface StoredRecord {
  bytes: Uint8Array;
  /** Why it cannot be read or committed any more. */
  lost: Error | undefined;
  /** Undefined for one that a test has put on the disk. */
  readonly segment: Segment | undefined;
}

interface Segment {
  readonly records: { readonly record: StoredRecord; readonly copy: Uint8Array; readonly index: number }[];
  lengthBytes: number;
  readonly durable: PromiseWithResolvers<void>;
}

export class ScriptedReceipt implements Receipt {
  readonly tag: Uint8Array;
  readonly lengthBytes: number;
  readonly origin: ReceiptOrigin | undefined;
  readonly slice: ReceiptSlice | undefined;
  /** @internal */
  readonly record: StoredRecord;

  constructor(
    record: StoredRecord,
    { tag, lengthBytes, origin, slice }: Pick<Receipt, 'tag' | 'lengthBytes' | 'origin' | 'slice'>,
  ) {
    this.record = record;
    this.tag = tag;
    this.lengthBytes = lengthBytes;
    this.origin = origin;
    this.slice = slice;
  }
}

interface Content {
  readonly version: string;
  readonly sizeBytes: number;
  readonly zeroPointBytes: number | undefined;
  readonly units: ReadonlyMap<number, ScriptedReceipt>;
}

interface DiskFile {
  readonly objectId: Uint8Array;
  readonly unitSizeBytes: number;
  content: Content;
  /** The commit that made the content; undefined when a test did. */
  lastCommit: CommitSub | undefined;
  isRemoved: boolean;
}

/** What another client changes. */
export interface ScriptedChange {
  readonly sizeBytes?: number;
  /** Until the next change. */
  readonly zeroPointBytes?: number;
  readonly units?: ReadonlyMap<number, ScriptedReceipt | undefined>;
}

/** How all files of a disk are sealed. */
export type DiskForm = Pick<FileForm, 'keys' | 'suite' | 'codec' | 'padding'>;

export class ScriptedDisk {
  readonly form: DiskForm;
  readonly #files = new Map<string, DiskFile>();
  #versions = 0;

  constructor(form: DiskForm) {
    this.form = form;
  }

  /** Makes an empty file. Returns its key. */
  add(unitSizeBytes: number, key: Uint8Array = idBytes(randomId())): Uint8Array {
    const content = {
      version: this.#nextVersion(),
      sizeBytes: 0,
      zeroPointBytes: undefined,
      units: new Map(),
    };
    const file = { objectId: key.slice(), unitSizeBytes, content, lastCommit: undefined, isRemoved: false };
    this.#files.set(toByteString(key), file);
    return key;
  }

  /** Removes a file, as another client does. */
  remove(key: Uint8Array): void {
    this.find(key).isRemoved = true;
    this.#files.delete(toByteString(key));
  }

  /** Changes a file, as another client does. */
  change(key: Uint8Array, { sizeBytes, zeroPointBytes, units = new Map() }: ScriptedChange): void {
    const file = this.find(key);
    const kept = new Map(file.content.units);
    for (const [index, receipt] of units) setUnit(kept, index, receipt);
    this.publish(file, { sizeBytes: sizeBytes ?? file.content.sizeBytes, zeroPointBytes, units: kept });
  }

  /** Puts a record on the disk. No file has it until {@link change} says so. */
  store(bytes: Uint8Array, at: Pick<Receipt, 'tag' | 'origin' | 'slice'>): ScriptedReceipt {
    const record = { bytes: bytes.slice(), lost: undefined, segment: undefined };
    return new ScriptedReceipt(record, { ...at, lengthBytes: bytes.byteLength });
  }

  /** Changes a byte of a record. */
  damage({ record }: ScriptedReceipt, offsetBytes = 0): void {
    const bytes = record.bytes.slice();
    bytes[offsetBytes] = (bytes[offsetBytes] ?? 0) ^ 1;
    record.bytes = bytes;
  }

  /** Makes reads of a record fail, and commits of its receipt. */
  lose({ record }: ScriptedReceipt, error: Error = new NetsealError('EMISSING', 'lost on purpose')): void {
    record.lost = error;
  }

  /** Returns what the file has at a unit now. */
  unit(key: Uint8Array, index: number): ScriptedReceipt | undefined {
    return this.find(key).content.units.get(index);
  }

  sizeOf(key: Uint8Array): number {
    return this.find(key).content.sizeBytes;
  }

  /** @internal EMISSING when there is no such file. */
  find(key: Uint8Array): DiskFile {
    const file = this.#files.get(toByteString(key));
    if (file === undefined) throw missing();
    return file;
  }

  /** @internal */
  publish(file: DiskFile, content: Omit<Content, 'version'>, commit?: CommitSub): void {
    file.content = { ...content, version: this.#nextVersion() };
    file.lastCommit = commit;
  }

  #nextVersion(): string {
    this.#versions += 1;
    return `version ${this.#versions}`;
  }
}

export interface ScriptedOptions {
  readonly name?: string;
  readonly script?: Script;
  /** A segment is sent when it has so many bytes. Default 1 MiB. */
  readonly segmentBytes?: number;
  readonly capabilities?: Partial<NetfsCapabilities>;
}

interface ScriptedHandle {
  readonly file: DiskFile;
  /** As the client was told last. */
  told: Content;
  /** What the client stands on, where that is an older version. */
  base: Content | undefined;
  isClosed: boolean;
}

export class ScriptedServer implements NetfsServer<ScriptedHandle> {
  readonly name: string;
  readonly capabilities: NetfsCapabilities;
  /** The calls so far, in order. */
  readonly calls: ScriptedCall[] = [];
  /** What netfs did against the agreement. */
  readonly violations: string[] = [];
  /** Handles that were opened and not closed. */
  openCount = 0;
  script: Script;
  readonly #disk: ScriptedDisk;
  readonly #counts = new Map<ScriptedOperation, number>();
  readonly #segmentBytes: number;
  readonly #uploading = new Set<Promise<void>>();
  /** Writes that are not placed yet, and whether they were pushed. */
  readonly #placing = new Set<{ isPushed: boolean }>();
  #segment: Segment | undefined;
  #isClosed = false;

  constructor(disk: ScriptedDisk, options: ScriptedOptions = {}) {
    const { name = 'scripted', script = () => undefined, segmentBytes = MIB, capabilities = {} } = options;
    this.#disk = disk;
    this.#segmentBytes = segmentBytes;
    this.name = name;
    this.script = script;
    this.capabilities = {
      content: 'sealed',
      publish: 'commit',
      condition: 'version',
      rsizeBytes: 32 * MIB,
      wsizeBytes: 32 * MIB,
      sharedMemory: true,
      copiesWrites: false,
      ...capabilities,
    };
  }

  async open(key: Uint8Array, options: CallSignal): Promise<OpenedFile<ScriptedHandle>> {
    return await this.#perform('open', [], options, () => {
      const file = this.#disk.find(key);
      const { objectId, unitSizeBytes, content } = file;
      this.openCount += 1;
      const form = { ...this.#disk.form, objectId: objectId.slice(), unitSizeBytes };
      return {
        handle: { file, told: content, base: undefined, isClosed: false },
        state: stateOf(content),
        form,
      };
    });
  }

  async state(handle: ScriptedHandle, options: StateOptions): Promise<FileState> {
    this.#requireOpen(handle);
    return await this.#perform('state', [], options, () => {
      if (handle.file.isRemoved) throw missing();
      const known = [handle.told, handle.base];
      handle.base = known.find(content => content?.version === options.standsOn);
      handle.told = handle.file.content;
      return stateOf(handle.told);
    });
  }

  async locate(
    handle: ScriptedHandle,
    fromUnit: number,
    toUnit: number,
    options: LocateOptions,
  ): Promise<(Receipt | undefined)[]> {
    this.#requireOpen(handle);
    requireArgument(fromUnit >= 0 && toUnit >= fromUnit, `units [${fromUnit}, ${toUnit})`);
    const units = Array.from({ length: toUnit - fromUnit }, (_, at) => fromUnit + at);
    return await this.#perform('locate', units, options, () => {
      const { told, base, file } = handle;
      const { version = told.version } = options;
      const content = [told, base].find(known => known?.version === version);
      if (content === undefined) throw conflict();
      const unitCount = sizeToUnitCount(content.sizeBytes, file.unitSizeBytes);
      return units.map(index => (index < unitCount ? content.units.get(index) : undefined));
    });
  }

  async read({ handle, receipts, into, signal }: ReadSub<ScriptedHandle>): Promise<ReadEnd> {
    this.#requireOpen(handle);
    const totalBytes = sumOf(receipts.map(({ lengthBytes }) => lengthBytes));
    requireArgument(totalBytes === into.byteLength, `${totalBytes} bytes into ${into.byteLength}`);
    requireArgument(totalBytes <= this.capabilities.rsizeBytes, `a read of ${totalBytes} bytes`);
    const records = receipts.map(recordOf);
    return await this.#perform('read', [], { signal }, () => {
      const errors = new Map<number, Error>();
      let offsetBytes = 0;
      for (const [at, { bytes, lost }] of records.entries()) {
        if (lost === undefined) into.set(bytes, offsetBytes);
        else errors.set(at, lost);
        offsetBytes += receipts[at]?.lengthBytes ?? 0;
      }
      return { errors };
    });
  }

  write({ handle, units, signal }: WriteSub<ScriptedHandle>): Writing {
    const token = { isPushed: false };
    this.#placing.add(token);
    const placed = (async () => {
      try {
        this.#requireOpen(handle);
        const totalBytes = sumOf(units.map(({ bytes }) => bytes.byteLength));
        requireArgument(totalBytes <= this.capabilities.wsizeBytes, `a write of ${totalBytes} bytes`);
        const indices = units.map(({ index }) => index);
        return await this.#perform('place', indices, { signal }, () => {
          const receipts = units.map(unit => this.#place(unit));
          if (token.isPushed) this.#close();
          return receipts;
        });
      } finally {
        this.#placing.delete(token);
      }
    })();
    const done = placed.then(async receipts => {
      await Promise.all(receipts.map(({ record }) => record.segment?.durable.promise));
    });
    return { placed: handled(placed), done: handled(done) };
  }

  push(): void {
    for (const token of this.#placing) token.isPushed = true;
    this.#close();
  }

  #close(): void {
    const segment = this.#segment;
    if (segment === undefined) return;
    this.#segment = undefined;
    const uploading = this.#upload(segment);
    this.#uploading.add(uploading);
    void uploading.then(() => this.#uploading.delete(uploading));
  }

  async commit(handle: ScriptedHandle, sub: CommitSub): Promise<FileState> {
    this.#requireOpen(handle);
    checkCommit(handle, sub);
    const records = [...sub.receipts.values()].flatMap(receipt =>
      receipt === undefined ? [] : [recordOf(receipt)],
    );
    if (records.some(({ segment }) => segment !== undefined && segment === this.#segment)) this.#close();
    const durable = Promise.all(records.map(({ segment }) => segment?.durable.promise));
    await abortable(durable, sub.signal);
    return await this.#perform('commit', [...sub.receipts.keys()], sub, () => {
      const { file } = handle;
      for (const { lost } of records) if (lost !== undefined) throw lost;
      if (file.isRemoved) throw missing();
      if (file.content.version !== sub.ifVersion && this.capabilities.condition === 'version') {
        // Sent again after a lost answer.
        if (file.lastCommit === undefined || !isSameCommit(file.lastCommit, sub)) throw conflict();
      } else {
        this.#disk.publish(file, contentAfter(handle, sub), sub);
      }
      // The answer may be lost: then the client still stands on the version before.
      handle.base = [handle.told, handle.base].find(known => known?.version === sub.ifVersion);
      handle.told = file.content;
      return stateOf(handle.told);
    });
  }

  async close(handle: ScriptedHandle): Promise<void> {
    this.#requireOpen(handle);
    handle.isClosed = true;
    this.openCount -= 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.push();
    this.#isClosed = true;
    await Promise.all(this.#uploading);
  }

  async #perform<Result>(
    operation: ScriptedOperation,
    units: readonly number[],
    { signal }: CallSignal,
    act: () => Result,
  ): Promise<Result> {
    if (this.#isClosed && operation !== 'upload') throw new NetsealError('ECLOSED', 'the server is closed');
    const number = (this.#counts.get(operation) ?? 0) + 1;
    this.#counts.set(operation, number);
    const call = { operation, number, units };
    this.calls.push(call);
    const { before, error, answer } = this.script(call) ?? {};
    await abortable(Promise.resolve(before), signal);
    signal?.throwIfAborted();
    if (error !== undefined) throw error;
    const result = act();
    await answer;
    return result;
  }

  #place({ index, bytes, tag }: WriteSub<ScriptedHandle>['units'][number]): ScriptedReceipt {
    const full = this.#segment !== undefined && this.#segment.lengthBytes >= this.#segmentBytes;
    if (full) this.#close();
    this.#segment ??= { records: [], lengthBytes: 0, durable: Promise.withResolvers() };
    const segment = this.#segment;
    void handled(segment.durable.promise);
    const copy = bytes.slice();
    const kept = this.capabilities.copiesWrites ? copy : bytes;
    const record: StoredRecord = { bytes: kept, lost: undefined, segment };
    segment.records.push({ record, copy, index });
    segment.lengthBytes += bytes.byteLength;
    return new ScriptedReceipt(record, { tag, lengthBytes: bytes.byteLength });
  }

  /** Never rejects. */
  async #upload({ records, durable }: Segment): Promise<void> {
    try {
      const units = records.map(({ index }) => index);
      await this.#perform('upload', units, {}, () => {
        for (const { record, copy, index } of records) {
          if (Buffer.compare(record.bytes, copy) !== 0) {
            this.violations.push(`the record of unit ${index} changed before it was durable`);
          }
          record.bytes = copy;
        }
      });
      durable.resolve();
    } catch (error) {
      const lost = error instanceof Error ? error : new Error(String(error));
      for (const { record } of records) record.lost = lost;
      durable.reject(lost);
    }
  }

  #requireOpen({ isClosed }: ScriptedHandle): void {
    if (isClosed) throw new NetsealError('EBUG', 'the handle was given back');
  }
}

function stateOf({ version, sizeBytes, zeroPointBytes }: Content): FileState {
  return { version, sizeBytes, ...(zeroPointBytes === undefined ? {} : { zeroPointBytes }) };
}

function recordOf(receipt: Receipt): StoredRecord {
  if (receipt instanceof ScriptedReceipt) return receipt.record;
  throw new NetsealError('EINVAL', 'a receipt of another server');
}

function setUnit(
  units: Map<number, ScriptedReceipt>,
  index: number,
  receipt: ScriptedReceipt | undefined,
): void {
  if (receipt === undefined) units.delete(index);
  else units.set(index, receipt);
}

/** Throws EINVAL for a commit that makes no sense. */
function checkCommit({ file, told }: ScriptedHandle, sub: CommitSub): void {
  const { receipts, sizeBytes, cutBytes, ifVersion } = sub;
  const unitCount = sizeToUnitCount(sizeBytes, file.unitSizeBytes);
  requireArgument(cutBytes <= sizeBytes, `cut at ${cutBytes} of ${sizeBytes}`);
  for (const index of receipts.keys()) {
    requireArgument(index < unitCount, `unit ${index} of ${unitCount}`);
  }
  if (ifVersion !== told.version) return;
  requireArgument(cutBytes <= told.sizeBytes, `cut at ${cutBytes} of ${told.sizeBytes}`);
  const index = Math.floor(cutBytes / file.unitSizeBytes);
  const old = told.units.get(index);
  const isCut = cutBytes < told.sizeBytes && cutBytes % file.unitSizeBytes > 0;
  requireArgument(
    !isCut || receipts.has(index) || old === undefined || old.slice !== undefined,
    `unit ${index} is cut, and its new record is missing`,
  );
}

function contentAfter({ file }: ScriptedHandle, sub: CommitSub): Omit<Content, 'version'> {
  const { receipts, sizeBytes, cutBytes } = sub;
  const { unitSizeBytes, content } = file;
  const units = new Map(content.units);
  if (cutBytes < content.sizeBytes) {
    for (const [index, receipt] of content.units) {
      const lengthBytes = cutBytes - index * unitSizeBytes;
      if (lengthBytes <= 0) units.delete(index);
      else if (receipt.slice !== undefined && receipt.slice.lengthBytes > lengthBytes) {
        units.set(
          index,
          new ScriptedReceipt(receipt.record, { ...receipt, slice: { ...receipt.slice, lengthBytes } }),
        );
      }
    }
  }
  for (const [index, receipt] of receipts) setUnit(units, index, receipt as ScriptedReceipt | undefined);
  return { sizeBytes, zeroPointBytes: undefined, units };
}

function isSameCommit(one: CommitSub, other: CommitSub): boolean {
  return (
    one.ifVersion === other.ifVersion &&
    one.sizeBytes === other.sizeBytes &&
    one.cutBytes === other.cutBytes &&
    one.receipts.size === other.receipts.size &&
    [...one.receipts].every(([index, receipt]) => {
      if (!other.receipts.has(index)) return false;
      const again = other.receipts.get(index);
      if (receipt === undefined || again === undefined) return receipt === again;
      return toByteString(receipt.tag) === toByteString(again.tag);
    })
  );
}

function handled<Value>(promise: Promise<Value>): Promise<Value> {
  promise.catch(() => undefined);
  return promise;
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function missing(): NetsealError {
  return new NetsealError('EMISSING', 'the file is gone');
}

function conflict(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client has changed the file');
}
