/**
 * A Web Stream that takes plain bytes and gives out a sealed stream. It needs a pipeline, but no volume and
 * no store.
 */
import { requireInstance, requireObject } from '../base/arguments.ts';
import { concatBytes, copyBytes } from '../base/bytes.ts';
import { requireArgument } from '../base/errors.ts';
import { MIB, UNIT_BYTES_DEFAULT, unitSizeToLog2 } from '../base/geometry.ts';
import { ID_BYTES } from '../base/ids.ts';
import { randomBytes } from '../base/random.ts';
import { CODEC_DEFAULT, type CodecSetting, checkCodec } from '../unit/codec.ts';
import { checkPadding, PADDING_DEFAULT, type Padding } from '../unit/padding.ts';
import { parseSuite, SUITE_DEFAULT, type SuiteName } from '../unit/record-format.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { KeyHandle } from './key-table.ts';
import { type BatchResult, type BatchSource, OrderedOutput, type StreamPair } from './ordered-output.ts';
import { Pipeline } from './pipeline.ts';
import { checkHandle } from './requests.ts';
import { encodeStreamHeader } from './stream-format.ts';

export interface SealStreamOptions {
  readonly pipeline: Pipeline;
  /** From `pipeline.addKeyring`. Do not remove it before the stream has ended. */
  readonly keys: KeyHandle;
  /** Default 256 KiB. */
  readonly unitSizeBytes?: number;
  /** Default `padme`. */
  readonly padding?: Padding;
  /** Default zstd:1. */
  readonly codec?: CodecSetting;
  /** Default `xaes-256-gcm`. */
  readonly suite?: SuiteName;
}

/** How many plain bytes a batch holds, unless one unit is longer or the pipeline's memory is smaller. */
const BATCH_BYTES = MIB;

/**
 * Makes a transform that seals a stream.
 *
 *   - It takes plain bytes as `Uint8Array` chunks of any length. A chunk is copied before its write resolves.
 *   - It gives out the sealed stream in chunks that the reader owns.
 *   - A few batches of about 1 MiB are in work at a time. While the reader pauses, writers wait.
 *   - Closing resolves when the reader has taken everything.
 *   - To cancel, abort the writable end, cancel the readable end, or give `pipeTo` a signal.
 *
 * Throws EINVAL for an option out of range or a unit that does not fit the pipeline's memory, EKEY when the
 * keyring was removed, ECLOSED when the pipeline is closed. The stream fails with EINVAL for a chunk that is
 * not a `Uint8Array`, or with EKEY, EWORKER or ECLOSED. What it gave out until then does not open as a whole
 * stream.
 */
export function sealStream(options: SealStreamOptions): StreamPair {
  checkStreamOptions(options);
  const output = new OrderedOutput(options.pipeline.workerCount);
  return output.connect(new StreamSealer(options, output));
}

/** Throws EINVAL unless the options of a stream have a pipeline, and keys from it. */
export function checkStreamOptions(options: { readonly pipeline: Pipeline; readonly keys: KeyHandle }): void {
  requireObject('options', options);
  requireInstance('options.pipeline', options.pipeline, Pipeline);
  checkHandle(options.keys);
}

class StreamSealer implements BatchSource {
  readonly #options: Required<SealStreamOptions>;
  readonly #objectId = randomBytes(ID_BYTES);
  readonly #batchBytes: number;
  readonly #output: OrderedOutput;
  readonly #spareBatches: Uint8Array<ArrayBuffer>[] = [];
  #batch: Uint8Array<ArrayBuffer>;
  #filledBytes = 0;
  #nextIndex = 0;

  constructor(options: SealStreamOptions, output: OrderedOutput) {
    const { pipeline, keys } = options;
    const { unitSizeBytes = UNIT_BYTES_DEFAULT, padding = PADDING_DEFAULT } = options;
    const { codec: given = CODEC_DEFAULT } = options;
    unitSizeToLog2(unitSizeBytes);
    checkPadding(padding, unitSizeBytes);
    checkCodec(given);
    const codec = { ...given };
    const { suite: givenSuite = SUITE_DEFAULT } = options;
    const suite = parseSuite(givenSuite);
    this.#options = { pipeline, keys, unitSizeBytes, padding, codec, suite };
    const sealedUnitBytes = sealedBytesMax(unitSizeBytes, padding);
    const unitsThatFit = Math.floor(pipeline.slabBytes / sealedUnitBytes);
    requireArgument(
      unitsThatFit > 0,
      `a unit of ${unitSizeBytes} bytes does not fit: the pipeline's memoryBytes must be at least ${4 * sealedUnitBytes}`,
    );
    this.#batchBytes = Math.min(Math.max(BATCH_BYTES, unitSizeBytes), unitsThatFit * unitSizeBytes);
    this.#batch = new Uint8Array(this.#batchBytes);
    this.#output = output;
    output.add(Promise.resolve({ bytes: this.#encodeHeader() }));
  }

  async write(chunk: Uint8Array): Promise<void> {
    requireArgument(chunk instanceof Uint8Array, 'a stream to seal takes Uint8Array chunks');
    let at = 0;
    while (at < chunk.byteLength) {
      // A full batch waits for one more byte: only then is it known that the batch is not the end of the
      // stream.
      if (this.#filledBytes === this.#batchBytes) {
        this.#sendBatch(this.#batchBytes, false);
        await this.#output.room();
      }
      const part = chunk.subarray(at, at + this.#batchBytes - this.#filledBytes);
      copyBytes(part, this.#batch, this.#filledBytes);
      this.#filledBytes += part.byteLength;
      at += part.byteLength;
    }
    this.onIdle();
  }

  /**
   * Sends the whole units that are there, so that those of a slow source do not wait for a full batch. Keeps
   * at least one byte back, because the unit that ends the stream must be marked as the last.
   */
  onIdle(): void {
    const { unitSizeBytes } = this.#options;
    const wholeBytes = this.#filledBytes - 1 - ((this.#filledBytes - 1) % unitSizeBytes);
    if (this.#output.isIdle && wholeBytes > 0) this.#sendBatch(wholeBytes, false);
  }

  async end(): Promise<void> {
    this.#sendBatch(this.#filledBytes, true);
  }

  #encodeHeader(): Uint8Array<ArrayBuffer> {
    const { pipeline, keys, suite, unitSizeBytes } = this.#options;
    const epoch = keys.newestEpoch;
    const objectId = this.#objectId;
    const commitment = pipeline.keyCommitment(keys, { epoch, kind: 'streamUnit', suite, objectId });
    return encodeStreamHeader({ suite, unitSizeBytes, epoch, volumeId: keys.volumeId, objectId, commitment });
  }

  /** Sends the first `lengthBytes` of the batch on and keeps the rest. */
  #sendBatch(lengthBytes: number, isEnd: boolean): void {
    const batch = this.#batch;
    const next = this.#spareBatches.pop() ?? new Uint8Array(this.#batchBytes);
    copyBytes(batch.subarray(lengthBytes, this.#filledBytes), next);
    this.#batch = next;
    this.#filledBytes -= lengthBytes;
    const firstIndex = this.#nextIndex;
    this.#nextIndex += Math.ceil(lengthBytes / this.#options.unitSizeBytes);
    this.#output.add(this.#seal(batch, lengthBytes, firstIndex, isEnd));
  }

  async #seal(
    batch: Uint8Array<ArrayBuffer>,
    lengthBytes: number,
    firstIndex: number,
    isEnd: boolean,
  ): Promise<BatchResult> {
    const { pipeline, keys, unitSizeBytes, padding, codec, suite } = this.#options;
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
      copyBytes(batch.subarray(0, lengthBytes), lease.bytes);
      this.#spareBatches.push(batch);
      const sealed = await pipeline.seal({ keys, from: lease, units, suite, codec, padding });
      try {
        // Copied, because what the reader gets must not be shared memory.
        return { bytes: concatBytes(...sealed.units.map(unit => unit.bytes)) };
      } finally {
        sealed.release();
      }
    } finally {
      lease.release();
    }
  }
}
