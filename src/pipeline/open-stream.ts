/** A Web Stream that takes a sealed stream and gives out its plain bytes. */
import { concatBytes, copyBytes, equalBytes } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { HEADER_BYTES, peekHeader, RECORD_OVERHEAD_BYTES } from '../unit/record-format.ts';
import type { KeyHandle } from './key-table.ts';
import { type BatchResult, type BatchSource, OrderedOutput, type StreamPair } from './ordered-output.ts';
import type { Pipeline } from './pipeline.ts';
import type { OpenedUnit } from './requests.ts';
import { checkStreamOptions } from './seal-stream.ts';
import { decodeStreamHeader, STREAM_HEADER_BYTES, type StreamHeader } from './stream-format.ts';

export interface OpenStreamOptions {
  readonly pipeline: Pipeline;
  /** From `pipeline.addKeyring`. Do not remove it before the stream has ended. */
  readonly keys: KeyHandle;
}

/**
 * How many plain bytes a batch may open to, unless one unit is longer or the pipeline's memory is smaller.
 */
const BATCH_BYTES = MIB;

/**
 * Makes a transform that opens a sealed stream.
 *
 *   - It takes the sealed stream as `Uint8Array` chunks of any length. A chunk is copied before its write
 *     resolves.
 *   - It gives out the plain bytes in chunks that the reader owns.
 *   - Every byte given out has been authenticated in its place. Only the end of the stream shows that nothing
 *     is missing, so do not act on the whole before the stream has closed.
 *   - All bytes before a fault come out, however the input was cut into chunks.
 *   - While the reader pauses, writers wait, even if their few bytes open to many.
 *   - Closing resolves when the reader has taken everything.
 *
 * The stream fails with one of these codes:
 *
 *   EKEY         it belongs to another volume, or was sealed under another key
 *   EAUTH        it is damaged, or its records were moved
 *   EFORMAT      it is not a sealed stream, or bytes follow its end
 *   ETRUNCATED   it ends before its last unit
 *   EUNSUPPORTED a newer netseal made it
 *   EINVAL       a chunk is not a `Uint8Array`, or a unit does not fit the pipeline's memory
 *   EWORKER      a worker died
 *   ECLOSED      the pipeline was closed
 */
export function openStream(options: OpenStreamOptions): StreamPair {
  checkStreamOptions(options);
  const output = new OrderedOutput(options.pipeline.workerCount);
  return output.connect(new StreamOpener(options, output));
}

/** Whole records of the input, opened together. They lie one after another in memory that is not shared. */
interface RecordBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
  readonly firstIndex: number;
  /** Tells the stream that `bytes` have been copied and may be overwritten. */
  readonly copied: () => void;
}

/**
 * Cuts a sealed stream into batches of records, and opens several batches at once. Their results come out in
 * order:
 *
 *   write() ──▶ pending (one buffer) ──full, or the reader waits──▶ batches ──opened──▶ results in order
 *
 * Where the stream ends is known only from the record that is marked as the last. Each batch waits for the
 * result of the one before it, which says whether that record has come. If so, anything more is a fault.
 */
class StreamOpener implements BatchSource {
  readonly #pipeline: Pipeline;
  readonly #keys: KeyHandle;
  readonly #output: OrderedOutput;
  #header: StreamHeader | undefined;
  /** Input that has not been sent on: the stream header until it is whole, then records. */
  #pending: Uint8Array<ArrayBuffer> = new Uint8Array(STREAM_HEADER_BYTES);
  #filledBytes = 0;
  /** Buffers whose records have been sent on; they are used again. */
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  /** Lengths of the whole records at the start of `#pending`, and their sum. */
  #lengths: number[] = [];
  #wholeBytes = 0;
  #nextIndex = 0;
  #unitsPerBatch = 1;
  /** The result of the newest batch. The next batch's result waits for it. */
  #newestResult: Promise<unknown> = Promise.resolve();
  /** True once the unit that is marked as the last has been opened. Results set it, one after another. */
  #hasEnded = false;

  /** Resolves when the records that {@link onIdle} sends have become batches. Writes wait for that. */
  #sendingForReader: Promise<void> = Promise.resolve();
  #isWriting = false;

  constructor({ pipeline, keys }: OpenStreamOptions, output: OrderedOutput) {
    this.#pipeline = pipeline;
    this.#keys = keys;
    this.#output = output;
  }

  async write(chunk: Uint8Array): Promise<void> {
    requireArgument(chunk instanceof Uint8Array, 'a stream to open takes Uint8Array chunks');
    await this.#sendingForReader;
    this.#isWriting = true;
    try {
      await this.#take(chunk);
    } catch (error) {
      // The records before the fault still come out, unless one of them has a fault of its own.
      if (this.#lengths.length > 0) await this.#sendRecords();
      await this.#output.drain();
      throw this.#hasEnded ? afterEnd() : error;
    } finally {
      this.#isWriting = false;
    }
    this.onIdle();
  }

  async #take(chunk: Uint8Array): Promise<void> {
    let at = 0;
    while (at < chunk.byteLength) {
      const part = chunk.subarray(at, at + this.#pending.byteLength - this.#filledBytes);
      copyBytes(part, this.#pending, this.#filledBytes);
      this.#filledBytes += part.byteLength;
      at += part.byteLength;
      if (this.#header === undefined) this.#readHeader();
      else this.#findRecords(this.#header);
      // A full buffer holds at least one whole record.
      if (this.#filledBytes === this.#pending.byteLength && this.#header !== undefined)
        await this.#sendRecords();
    }
  }

  /** Sends the whole records that are there, so that those of a slow source do not wait for a full buffer. */
  onIdle(): void {
    if (this.#isWriting || !this.#output.isIdle || this.#lengths.length === 0) return;
    // A failure of these records also fails the stream, which reports it.
    this.#sendingForReader = this.#sendRecords().catch(() => undefined);
  }

  async end(): Promise<void> {
    await this.#sendingForReader;
    if (this.#lengths.length > 0) await this.#sendRecords();
    await this.#output.drain();
    if (this.#hasEnded && this.#filledBytes === 0) return;
    if (this.#hasEnded) throw afterEnd();
    throw new NetsealError('ETRUNCATED', `sealed stream ends early, after ${this.#nextIndex} whole units`);
  }

  #readHeader(): void {
    if (this.#filledBytes < STREAM_HEADER_BYTES) return;
    const header = decodeStreamHeader(this.#pending);
    if (!equalBytes(header.volumeId, this.#keys.volumeId)) {
      throw new NetsealError('EKEY', 'sealed stream of another volume: its keys are not these');
    }
    const { epoch, suite, objectId } = header;
    const commitment = this.#pipeline.keyCommitment(this.#keys, {
      epoch,
      kind: 'streamUnit',
      suite,
      objectId,
    });
    if (!equalBytes(header.commitment, commitment)) {
      throw new NetsealError('EKEY', 'the key does not fit this sealed stream');
    }
    const longestBytes = header.unitSizeBytes + RECORD_OVERHEAD_BYTES;
    const unitsThatFit = Math.floor(this.#pipeline.slabBytes / longestBytes);
    requireArgument(
      unitsThatFit > 0,
      `this sealed stream's units do not fit: the pipeline's memoryBytes must be at least ${4 * longestBytes}`,
    );
    this.#unitsPerBatch = Math.max(1, Math.min(Math.floor(BATCH_BYTES / header.unitSizeBytes), unitsThatFit));
    this.#header = header;
    this.#resetPending(new Uint8Array(0));
  }

  /**
   * Notes the lengths of records that are whole by now. EAUTH or EFORMAT for a record that cannot be of this
   * stream.
   */
  #findRecords(header: StreamHeader): void {
    const longestBytes = header.unitSizeBytes + RECORD_OVERHEAD_BYTES;
    while (this.#filledBytes - this.#wholeBytes >= HEADER_BYTES) {
      const { sealedLengthBytes, suite, epoch } = peekHeader(
        this.#pending.subarray(this.#wholeBytes, this.#filledBytes),
      );
      if (suite !== header.suite || epoch !== header.epoch) {
        // The commitment in the stream header has shown that the key is right, so this is damage.
        throw new NetsealError('EAUTH', 'sealed stream: a record of another suite or epoch than its header');
      }
      if (sealedLengthBytes > longestBytes) {
        throw new NetsealError(
          'EFORMAT',
          `sealed stream: record of ${sealedLengthBytes} bytes, over ${longestBytes}`,
        );
      }
      if (sealedLengthBytes > this.#filledBytes - this.#wholeBytes) return;
      this.#lengths.push(sealedLengthBytes);
      this.#wholeBytes += sealedLengthBytes;
    }
  }

  /** Sends all whole records on, in batches, and keeps the incomplete rest. */
  async #sendRecords(): Promise<void> {
    const header = this.#header;
    if (header === undefined) throw new NetsealError('EBUG', 'records before the header');
    const bytes = this.#pending;
    const lengths = this.#lengths;
    const wholeBytes = this.#wholeBytes;
    this.#resetPending(bytes.subarray(wholeBytes, this.#filledBytes));
    this.#wholeBytes = 0;
    this.#lengths = [];
    const perBatch = this.#unitsPerBatch;
    let uncopiedCount = Math.ceil(lengths.length / perBatch);
    const copied = (): void => {
      uncopiedCount -= 1;
      if (uncopiedCount === 0) this.#spares.push(bytes);
    };
    let at = 0;
    for (let from = 0; from < lengths.length; from += perBatch) {
      const part = lengths.slice(from, from + perBatch);
      const partBytes = part.reduce((total, length) => total + length, 0);
      const batch = {
        bytes: bytes.subarray(at, at + partBytes),
        lengths: part,
        firstIndex: this.#nextIndex,
        copied,
      };
      at += partBytes;
      this.#nextIndex += part.length;
      const result = this.#resultOf(this.#open(header, batch), this.#newestResult);
      this.#newestResult = result;
      this.#output.add(result);
      await this.#output.room();
    }
  }

  /** Opens a batch. Copies the plain bytes before the first fault out of the shared memory. */
  async #open(header: StreamHeader, batch: RecordBatch): Promise<PlainBatch> {
    const lease = await this.#pipeline.reserveSealed(batch.bytes.byteLength);
    try {
      copyBytes(batch.bytes, lease.bytes);
      batch.copied();
      let offsetBytes = 0;
      const units = batch.lengths.map((lengthBytes, at) => {
        const unit = {
          objectId: header.objectId,
          kind: 'streamUnit' as const,
          index: batch.firstIndex + at,
          unitSizeBytes: header.unitSizeBytes,
          offsetBytes,
          lengthBytes,
        };
        offsetBytes += lengthBytes;
        return unit;
      });
      const opened = await this.#pipeline.open({ keys: this.#keys, from: lease, units });
      try {
        return joinOpened(opened.units, batch.firstIndex, header.unitSizeBytes);
      } finally {
        opened.release();
      }
    } finally {
      lease.release();
    }
  }

  /** Returns what the reader gets for a batch. After the last unit of the stream, that is only a fault. */
  async #resultOf(opened: Promise<PlainBatch>, previous: Promise<unknown>): Promise<BatchResult> {
    // Both are awaited together: otherwise the failure of one would count as unhandled while the other is
    // awaited.
    const [{ plain, endsStream, fault }] = await Promise.all([opened, previous]);
    if (this.#hasEnded) return { bytes: new Uint8Array(0), fault: afterEnd() };
    this.#hasEnded = endsStream;
    return { bytes: plain, fault };
  }

  /** Starts a new buffer. It holds `rest` and has room for a batch and the longest record. */
  #resetPending(rest: Uint8Array): void {
    const unitSizeBytes = this.#header?.unitSizeBytes ?? 0;
    const roomBytes = Math.max(BATCH_BYTES, unitSizeBytes) + unitSizeBytes + RECORD_OVERHEAD_BYTES;
    this.#pending = this.#spares.pop() ?? new Uint8Array(roomBytes);
    copyBytes(rest, this.#pending);
    this.#filledBytes = rest.byteLength;
  }
}

/** A batch that has been opened, up to its first fault. */
interface PlainBatch {
  /** The plain bytes of the units before the first fault, in memory that is not shared. */
  readonly plain: Uint8Array<ArrayBuffer>;
  /** True when its last good unit is marked as the last of the stream. */
  readonly endsStream: boolean;
  readonly fault: NetsealError | undefined;
}

function joinOpened(units: readonly OpenedUnit[], firstIndex: number, unitSizeBytes: number): PlainBatch {
  const good: Uint8Array[] = [];
  let endsStream = false;
  let fault: NetsealError | undefined;
  for (const [at, unit] of units.entries()) {
    fault = endsStream ? afterEnd() : faultOf(unit, firstIndex + at, unitSizeBytes);
    if (fault !== undefined || unit.error !== undefined) break;
    endsStream = unit.isLast;
    good.push(unit.bytes);
  }
  return { plain: concatBytes(...good), endsStream, fault };
}

function faultOf(unit: OpenedUnit, index: number, unitSizeBytes: number): NetsealError | undefined {
  if (unit.error !== undefined) return unit.error;
  const { byteLength } = unit.bytes;
  if (byteLength < unitSizeBytes && !unit.isLast) {
    return new NetsealError('EFORMAT', `unit ${index}: short, but not the last`);
  }
  return byteLength === 0 && index > 0 ? new NetsealError('EFORMAT', `unit ${index}: empty`) : undefined;
}

function afterEnd(): NetsealError {
  return new NetsealError('EFORMAT', 'sealed stream: bytes after its end');
}
