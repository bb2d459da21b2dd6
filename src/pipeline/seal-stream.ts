/** Plain bytes in, a sealed stream out, as a Web Stream: for whoever wants only the pipeline before a storage client. */
import { concatBytes } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import {
  BLOCK_BYTES_DEFAULT,
  checkBlockSize,
  MIB,
  UNIT_BYTES_DEFAULT,
  unitSizeToLog2,
} from '../base/geometry.ts';
import { randomBytes } from '../base/random.ts';
import { ID_BYTES } from '../keys/tree.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec } from '../unit/codec.ts';
import { SUITE_DEFAULT, type SuiteName } from '../unit/record-format.ts';
import type { KeyHandle } from './key-table.ts';
import { OrderedOutput } from './ordered-output.ts';
import type { Pipeline } from './pipeline.ts';
import { encodeStreamHead } from './stream-format.ts';

export interface SealStreamOptions {
  readonly pipeline: Pipeline;
  /** From `pipeline.addKeyring`; must stay there until the stream has ended. */
  readonly keys: KeyHandle;
  /** Default 256 KiB. */
  readonly unitSizeBytes?: number;
  /** Default 4 KiB. */
  readonly blockSizeBytes?: number;
  /** Default zstd:1. */
  readonly codec?: CodecSetting;
  /** Default `xaes-256-gcm`. */
  readonly suite?: SuiteName;
}

/** Plain bytes that travel to the workers together. */
const BATCH_BYTES = MIB;

/**
 * A transform from plain bytes (`Uint8Array` chunks of any length, copied before the write resolves) to a sealed
 * stream (chunks that the reader owns). Several batches of about 1 MiB are in flight; a reader that pauses makes
 * writers wait. To cancel, abort the writable side, cancel the readable one, or give `pipeTo` a signal.
 *
 * Throws EINVAL for bad options. The stream fails with EINVAL for a chunk that is no `Uint8Array`, or with EKEY, EWORKER
 * or ECLOSED; what it gave out before does not open as a whole stream.
 */
export function sealStream(options: SealStreamOptions): TransformStream<Uint8Array, Uint8Array<ArrayBuffer>> {
  const sealer = new StreamSealer(options);
  return new TransformStream({
    start: controller => sealer.start(controller),
    transform: chunk => sealer.write(chunk),
    flush: () => sealer.end(),
  });
}

class StreamSealer {
  readonly #options: Required<SealStreamOptions>;
  readonly #objectId = randomBytes(ID_BYTES);
  readonly #batchBytes: number;
  readonly #output: OrderedOutput;
  readonly #spareBatches: Uint8Array<ArrayBuffer>[] = [];
  #controller: TransformStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #batch: Uint8Array<ArrayBuffer>;
  #filledBytes = 0;
  #nextIndex = 0;

  constructor(options: SealStreamOptions) {
    const unitSizeBytes = options.unitSizeBytes ?? UNIT_BYTES_DEFAULT;
    const blockSizeBytes = options.blockSizeBytes ?? BLOCK_BYTES_DEFAULT;
    const codec = options.codec ?? CODEC_DEFAULT;
    unitSizeToLog2(unitSizeBytes);
    checkBlockSize(blockSizeBytes, unitSizeBytes);
    checkCodec(codec);
    const suite = options.suite ?? SUITE_DEFAULT;
    this.#options = { ...options, unitSizeBytes, blockSizeBytes, codec, suite };
    this.#batchBytes = Math.max(BATCH_BYTES, unitSizeBytes);
    this.#batch = new Uint8Array(this.#batchBytes);
    this.#output = new OrderedOutput(options.pipeline.workerCount, error => this.#controller?.error(error));
  }

  start(controller: TransformStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    const { pipeline, keys, suite, unitSizeBytes } = this.#options;
    this.#controller = controller;
    const epoch = keys.newestEpoch;
    const objectId = this.#objectId;
    const commitment = pipeline.keyCommitment(keys, epoch, 'streamUnit', suite, objectId);
    controller.enqueue(
      encodeStreamHead({ suite, unitSizeBytes, epoch, volumeId: keys.volumeId, objectId, commitment }),
    );
  }

  async write(chunk: Uint8Array): Promise<void> {
    requireArgument(chunk instanceof Uint8Array, 'a stream to seal takes Uint8Array chunks');
    let at = 0;
    while (at < chunk.byteLength) {
      // Only now is it known that what fills the batch is not the end.
      if (this.#filledBytes === this.#batchBytes) await this.#sendBatch(this.#batchBytes, false);
      const part = chunk.subarray(at, at + this.#batchBytes - this.#filledBytes);
      this.#batch.set(part, this.#filledBytes);
      this.#filledBytes += part.byteLength;
      at += part.byteLength;
    }
    // A slow source's whole units need not wait for a full batch. The last byte stays: it may be the end.
    const { unitSizeBytes } = this.#options;
    const wholeBytes = this.#filledBytes - 1 - ((this.#filledBytes - 1) % unitSizeBytes);
    if (this.#output.isIdle && wholeBytes > 0) await this.#sendBatch(wholeBytes, false);
  }

  async end(): Promise<void> {
    await this.#sendBatch(this.#filledBytes, true);
    await this.#output.drain();
  }

  /** Sends the first `lengthBytes` of the batch on, and keeps the rest. */
  async #sendBatch(lengthBytes: number, isEnd: boolean): Promise<void> {
    const batch = this.#batch;
    const next = this.#spareBatches.pop() ?? new Uint8Array(this.#batchBytes);
    next.set(batch.subarray(lengthBytes, this.#filledBytes));
    this.#batch = next;
    this.#filledBytes -= lengthBytes;
    const firstIndex = this.#nextIndex;
    this.#nextIndex += Math.ceil(lengthBytes / this.#options.unitSizeBytes);
    await this.#output.push(this.#seal(batch, lengthBytes, firstIndex, isEnd), sealed => {
      this.#controller?.enqueue(sealed);
    });
  }

  async #seal(
    batch: Uint8Array<ArrayBuffer>,
    lengthBytes: number,
    firstIndex: number,
    isEnd: boolean,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const { pipeline, keys, unitSizeBytes, blockSizeBytes, codec, suite } = this.#options;
    const unitCount = Math.max(1, Math.ceil(lengthBytes / unitSizeBytes));
    const units = Array.from({ length: unitCount }, (_, at) => ({
      objectId: this.#objectId,
      kind: 'streamUnit' as const,
      index: firstIndex + at,
      unitSizeBytes,
      offsetBytes: at * unitSizeBytes,
      lengthBytes: Math.min(unitSizeBytes, lengthBytes - at * unitSizeBytes),
      isLast: isEnd && at === unitCount - 1,
    }));
    const lease = await pipeline.reservePlain(Math.max(1, lengthBytes));
    try {
      lease.bytes.set(batch.subarray(0, lengthBytes));
      this.#spareBatches.push(batch);
      const run = await pipeline.seal({ keys, from: lease, units, suite, codec, blockSizeBytes });
      try {
        // Copied: what leaves the pipeline must not be shared memory.
        return concatBytes(...run.units.map(unit => unit.bytes));
      } finally {
        run.release();
      }
    } finally {
      lease.release();
    }
  }
}
