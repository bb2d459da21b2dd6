/** A sealed stream in, its plain bytes out, as a Web Stream. */
import { concatBytes, equalBytes } from '../base/bytes.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import { HEADER_BYTES, peekHeader, RECORD_OVERHEAD_BYTES } from '../unit/record-format.ts';
import type { KeyHandle } from './key-table.ts';
import { OrderedOutput } from './ordered-output.ts';
import type { Pipeline } from './pipeline.ts';
import type { OpenedUnit } from './requests.ts';
import { decodeStreamHead, STREAM_HEAD_BYTES, type StreamHead } from './stream-format.ts';

export interface OpenStreamOptions {
  readonly pipeline: Pipeline;
  /** From `pipeline.addKeyring`; must stay there until the stream has ended. */
  readonly keys: KeyHandle;
}

/** Plain bytes that records may open to and still travel to the workers together. */
const BATCH_BYTES = MIB;

/**
 * A transform from a sealed stream (chunks of any length, copied before the write resolves) to its plain bytes
 * (chunks that the reader owns). Every byte given out has been authenticated in its place, but only the end of the
 * stream shows that nothing is missing: a reader must not act on the whole before the stream has closed.
 *
 * The stream fails with EKEY (another volume's or another key), EAUTH, EFORMAT (no sealed stream, or bytes after its
 * end), ETRUNCATED (it ends before its last unit), EUNSUPPORTED, EINVAL (a chunk that is no `Uint8Array`), EWORKER or
 * ECLOSED.
 */
export function openStream(options: OpenStreamOptions): TransformStream<Uint8Array, Uint8Array<ArrayBuffer>> {
  const opener = new StreamOpener(options);
  return new TransformStream({
    start: controller => opener.start(controller),
    transform: chunk => opener.write(chunk),
    flush: () => opener.end(),
  });
}

/** Whole records taken from the input, contiguous, in private memory. */
interface RecordBatch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly lengths: readonly number[];
  readonly firstIndex: number;
}

class StreamOpener {
  readonly #pipeline: Pipeline;
  readonly #keys: KeyHandle;
  readonly #output: OrderedOutput;
  #controller: TransformStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #head: StreamHead | undefined;
  /** Input not yet sent on: the head until it is whole, then records. */
  #pending: Uint8Array<ArrayBuffer> = new Uint8Array(STREAM_HEAD_BYTES);
  #filledBytes = 0;
  /** Lengths of the whole records at the start of what is pending. */
  #lengths: number[] = [];
  #wholeBytes = 0;
  #nextIndex = 0;
  /** Set in order, as batches are delivered. */
  #sawLast = false;

  constructor({ pipeline, keys }: OpenStreamOptions) {
    this.#pipeline = pipeline;
    this.#keys = keys;
    this.#output = new OrderedOutput(pipeline.workerCount, error => this.#controller?.error(error));
  }

  start(controller: TransformStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    this.#controller = controller;
  }

  async write(chunk: Uint8Array): Promise<void> {
    requireArgument(chunk instanceof Uint8Array, 'a stream to open takes Uint8Array chunks');
    let at = 0;
    while (at < chunk.byteLength) {
      const part = chunk.subarray(at, at + this.#pending.byteLength - this.#filledBytes);
      this.#pending.set(part, this.#filledBytes);
      this.#filledBytes += part.byteLength;
      at += part.byteLength;
      if (this.#head === undefined) this.#readHead();
      else this.#findRecords(this.#head);
      // A full buffer holds at least one whole record.
      if (this.#filledBytes === this.#pending.byteLength && this.#head !== undefined)
        await this.#sendRecords();
    }
    if (this.#output.isIdle && this.#lengths.length > 0) await this.#sendRecords();
  }

  async end(): Promise<void> {
    if (this.#lengths.length > 0) await this.#sendRecords();
    await this.#output.drain();
    if (this.#sawLast && this.#filledBytes === 0) return;
    if (this.#sawLast) throw afterEnd();
    throw new NetsealError('ETRUNCATED', `sealed stream ends early, after ${this.#nextIndex} whole units`);
  }

  #readHead(): void {
    if (this.#filledBytes < STREAM_HEAD_BYTES) return;
    const head = decodeStreamHead(this.#pending);
    if (!equalBytes(head.volumeId, this.#keys.volumeId)) {
      throw new NetsealError('EKEY', 'sealed stream of another volume: its keys are not these');
    }
    const { epoch, suite, objectId } = head;
    const commitment = this.#pipeline.keyCommitment(this.#keys, epoch, 'streamUnit', suite, objectId);
    if (!equalBytes(head.commitment, commitment)) {
      throw new NetsealError('EKEY', 'the key does not fit this sealed stream');
    }
    this.#head = head;
    this.#resetPending(new Uint8Array(0));
  }

  /** Notes the lengths of records that have become whole. */
  #findRecords(head: StreamHead): void {
    const longestBytes = head.unitSizeBytes + RECORD_OVERHEAD_BYTES;
    while (this.#filledBytes - this.#wholeBytes >= HEADER_BYTES) {
      const { sealedLengthBytes } = peekHeader(this.#pending.subarray(this.#wholeBytes, this.#filledBytes));
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

  /** Sends whole records on, as many as may open to one batch at a time, and keeps the rest. */
  async #sendRecords(): Promise<void> {
    const head = this.#head;
    if (head === undefined) throw new NetsealError('EBUG', 'records before the head');
    const bytes = this.#pending;
    const lengths = this.#lengths;
    const wholeBytes = this.#wholeBytes;
    this.#resetPending(bytes.slice(wholeBytes, this.#filledBytes));
    this.#wholeBytes = 0;
    this.#lengths = [];
    const perBatch = Math.max(1, Math.floor(BATCH_BYTES / head.unitSizeBytes));
    let at = 0;
    for (let from = 0; from < lengths.length; from += perBatch) {
      const part = lengths.slice(from, from + perBatch);
      const partBytes = part.reduce((total, length) => total + length, 0);
      const batch = { bytes: bytes.subarray(at, at + partBytes), lengths: part, firstIndex: this.#nextIndex };
      at += partBytes;
      this.#nextIndex += part.length;
      await this.#output.push(this.#open(head, batch), units => this.#deliver(units, batch.firstIndex, head));
    }
  }

  /** Opens a batch and copies the plain bytes out of the shared memory. */
  async #open(head: StreamHead, batch: RecordBatch): Promise<OpenedUnit[]> {
    const lease = await this.#pipeline.reserveSealed(batch.bytes.byteLength);
    try {
      lease.bytes.set(batch.bytes);
      let offsetBytes = 0;
      const units = batch.lengths.map((lengthBytes, at) => {
        const unit = {
          objectId: head.objectId,
          kind: 'streamUnit' as const,
          index: batch.firstIndex + at,
          unitSizeBytes: head.unitSizeBytes,
          offsetBytes,
          lengthBytes,
        };
        offsetBytes += lengthBytes;
        return unit;
      });
      const run = await this.#pipeline.open({ keys: this.#keys, from: lease, units });
      try {
        return run.units.map(unit =>
          unit.error === undefined ? { ...unit, bytes: unit.bytes.slice() } : unit,
        );
      } finally {
        run.release();
      }
    } finally {
      lease.release();
    }
  }

  /** Gives out a batch in its turn: what opened up to the first fault, then the fault. */
  #deliver(units: readonly OpenedUnit[], firstIndex: number, head: StreamHead): void {
    const good: Uint8Array[] = [];
    let fault: NetsealError | undefined;
    for (const [at, unit] of units.entries()) {
      fault = this.#faultOf(unit, firstIndex + at, head);
      if (fault !== undefined || unit.error !== undefined) break;
      this.#sawLast = unit.isLast;
      good.push(unit.bytes);
    }
    const plain = concatBytes(...good);
    if (plain.byteLength > 0) this.#controller?.enqueue(plain);
    if (fault !== undefined) throw fault;
  }

  #faultOf(unit: OpenedUnit, index: number, head: StreamHead): NetsealError | undefined {
    if (this.#sawLast) return afterEnd();
    if (unit.error !== undefined) return unit.error;
    const { byteLength } = unit.bytes;
    const isShort = byteLength < head.unitSizeBytes;
    if (isShort && !unit.isLast) return new NetsealError('EFORMAT', `unit ${index}: short, but not the last`);
    if (byteLength === 0 && index > 0) return new NetsealError('EFORMAT', `unit ${index}: empty`);
    return undefined;
  }

  /** Starts a new buffer that holds `rest` and has room for a batch and the longest record. */
  #resetPending(rest: Uint8Array): void {
    const unitSizeBytes = this.#head?.unitSizeBytes ?? 0;
    this.#pending = new Uint8Array(
      Math.max(BATCH_BYTES, unitSizeBytes) + unitSizeBytes + RECORD_OVERHEAD_BYTES,
    );
    this.#pending.set(rest);
    this.#filledBytes = rest.byteLength;
  }
}

function afterEnd(): NetsealError {
  return new NetsealError('EFORMAT', 'sealed stream: bytes after its end');
}
