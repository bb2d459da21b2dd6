/**
 * A job: the request to seal or open some units, and the results. All of it is fields in shared memory, so a
 * message between threads is one number, the job's offset, and nothing is cloned. This file only reads and
 * writes the fields.
 *
 * Integers are little-endian. Offsets in fields count from the start of the slab that the bytes lie in. "In"
 * fields are written by the main thread before the worker starts; "out" fields are written by the worker.
 *
 *   offset  size  job header
 *        0     4  1 when cancelled (atomic), else 0
 *        4     1  operation: 1 seal, 2 open
 *        5     1  suite (seal)
 *        6     1  codec (seal)
 *        7     1  level (seal)
 *        8     4  unit count
 *       12     4  key handle
 *       16     4  epoch (seal)
 *       20     4  padding (seal): 0 Padmé, 1 none, or a size
 *       24     4  output offset
 *       28     4  output length: the room (in); the bytes used (out, seal)
 *       32    32  zero
 *
 *   offset  size  unit i, at 64 + 64 i
 *        0     8  index
 *        8     4  input offset
 *       12     4  input length
 *       16     4  output offset (in, open; out, seal)
 *       20     4  output length: the room (in, open); the bytes written (out)
 *       24     1  kind
 *       25     1  log2 unit size
 *       26     1  request flags: UNIT_*
 *       27     1  record flags (in, seal; out, open)
 *       28     1  outcome (out): OUTCOME_*
 *       29     3  zero
 *       32    16  object id
 *       48    16  tag: the expected one (in, open) or the new one (out, seal)
 */
import { getU64, setU64 } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import type { CodecSetting } from '../unit/codec.ts';
import type { Padding } from '../unit/padding.ts';
import {
  CODEC_IDS,
  CODEC_NAMES,
  KIND_NAMES,
  RECORD_KINDS,
  type RecordKind,
  SUITE_IDS,
  SUITE_NAMES,
  type SuiteName,
  TAG_BYTES,
} from '../unit/record-format.ts';

const HEADER_BYTES = 64;
const UNIT_BYTES = 64;

/** The state of a cancelled job. Any other job has state 0. Only the main thread changes it. */
const JOB_CANCELLED = 1;

export const OPERATION_SEAL = 1;
export const OPERATION_OPEN = 2;

/** Request flag: an all-zero unit becomes a hole, for which nothing is sealed. */
export const UNIT_HOLES = 1;
/** Request flag: the record must have the tag that the job's `tag` field holds. */
export const UNIT_EXPECT_TAG = 2;

/**
 * Outcomes of a unit. `NONE` is what a unit has that no worker has worked on, for example in a cancelled job.
 */
export const OUTCOME_NONE = 0;
export const OUTCOME_DONE = 1;
export const OUTCOME_HOLE = 2;
export const OUTCOME_FAILED = 3;

/** Returns the bytes that a job of `unitCount` units takes in the job slab; a multiple of 64. */
export function jobBytes(unitCount: number): number {
  return HEADER_BYTES + unitCount * UNIT_BYTES;
}

function nameOf<Name>(names: ReadonlyMap<number, Name>, id: number): Name {
  const name = names.get(id);
  if (name === undefined) throw new NetsealError('EBUG', `job with unknown id ${id}`);
  return name;
}

/** The settings that all units of a seal job share. */
export interface SealJobSetting {
  readonly suite: SuiteName;
  readonly codec: CodecSetting;
  readonly padding: Padding;
  readonly epoch: number;
}

const PADME = 0;
const NO_PADDING = 1;

function numberOfPadding(padding: Padding): number {
  if (padding === 'padme') return PADME;
  return padding === 'none' ? NO_PADDING : padding;
}

function paddingOfNumber(number: number): Padding {
  if (number === PADME) return 'padme';
  return number === NO_PADDING ? 'none' : number;
}

/** A view of a job's fields. It holds no state of its own, so both threads make one whenever they need it. */
export class Job {
  readonly offsetBytes: number;
  readonly #memory: SharedArrayBuffer;
  readonly #view: DataView;

  /** @param offsetBytes where the job starts in the job slab; a multiple of 4. */
  constructor(memory: SharedArrayBuffer, offsetBytes: number) {
    this.offsetBytes = offsetBytes;
    this.#memory = memory;
    this.#view = new DataView(memory, offsetBytes, HEADER_BYTES);
  }

  /** Zeroes the memory of a job with `unitCount` units and writes the fields that every job has. */
  start(
    operation: number,
    unitCount: number,
    keyHandleId: number,
    outputOffset: number,
    outputBytes: number,
  ): void {
    new Uint8Array(this.#memory, this.offsetBytes, jobBytes(unitCount)).fill(0);
    this.#view.setUint8(4, operation);
    this.#view.setUint32(8, unitCount, true);
    this.#view.setUint32(12, keyHandleId, true);
    this.#view.setUint32(24, outputOffset, true);
    this.#view.setUint32(28, outputBytes, true);
  }

  /** Asks the worker to skip the units that it has not begun. */
  cancel(): void {
    Atomics.store(this.#state(), 0, JOB_CANCELLED);
  }

  get isCancelled(): boolean {
    return Atomics.load(this.#state(), 0) === JOB_CANCELLED;
  }

  #state(): Int32Array {
    return new Int32Array(this.#memory, this.offsetBytes, 1);
  }

  get operation(): number {
    return this.#view.getUint8(4);
  }

  get unitCount(): number {
    return this.#view.getUint32(8, true);
  }

  get keyHandleId(): number {
    return this.#view.getUint32(12, true);
  }

  get outputOffset(): number {
    return this.#view.getUint32(24, true);
  }

  get outputBytes(): number {
    return this.#view.getUint32(28, true);
  }

  set outputBytes(value: number) {
    this.#view.setUint32(28, value, true);
  }

  get sealSetting(): SealJobSetting {
    return {
      suite: nameOf(SUITE_NAMES, this.#view.getUint8(5)),
      codec: {
        codec: nameOf(CODEC_NAMES, this.#view.getUint8(6)),
        level: this.#view.getUint8(7),
      },
      epoch: this.#view.getUint32(16, true),
      padding: paddingOfNumber(this.#view.getUint32(20, true)),
    };
  }

  set sealSetting(setting: SealJobSetting) {
    this.#view.setUint8(5, SUITE_IDS[setting.suite]);
    this.#view.setUint8(6, CODEC_IDS[setting.codec.codec]);
    this.#view.setUint8(7, setting.codec.level);
    this.#view.setUint32(16, setting.epoch, true);
    this.#view.setUint32(20, numberOfPadding(setting.padding), true);
  }

  /** Returns the fields of unit `at`, counted from 0. */
  unit(at: number): JobUnit {
    return new JobUnit(this.#memory, this.offsetBytes + HEADER_BYTES + at * UNIT_BYTES);
  }
}

/** Where a record belongs, and where its bytes lie in the lease that a request reads from. */
export interface UnitAt {
  /** 16 bytes; copied before the call returns. */
  readonly objectId: Uint8Array;
  readonly kind: RecordKind;
  /** The unit's index in its object: a safe integer from 0. */
  readonly index: number;
  /** The unit size in bytes for `unit` and `streamUnit` records; 0 for other kinds. */
  readonly unitSizeBytes: number;
  /** Where the input starts, counted from the start of the lease. */
  readonly offsetBytes: number;
  /**
   * The input's length: the plain bytes to seal (at most the unit size), or the whole sealed record to open.
   */
  readonly lengthBytes: number;
}

/** A view of the fields of one unit of a job. */
export class JobUnit {
  readonly #view: DataView;
  readonly #memory: SharedArrayBuffer;
  readonly #offsetBytes: number;

  constructor(memory: SharedArrayBuffer, offsetBytes: number) {
    this.#memory = memory;
    this.#offsetBytes = offsetBytes;
    this.#view = new DataView(memory, offsetBytes, UNIT_BYTES);
  }

  get index(): number {
    const index = getU64(this.#view, 0);
    if (index === undefined) throw new NetsealError('EBUG', 'job with a unit index above 2^53');
    return index;
  }

  get inputOffset(): number {
    return this.#view.getUint32(8, true);
  }

  get inputBytes(): number {
    return this.#view.getUint32(12, true);
  }

  get outputOffset(): number {
    return this.#view.getUint32(16, true);
  }

  get outputBytes(): number {
    return this.#view.getUint32(20, true);
  }

  get kind(): RecordKind {
    return nameOf(KIND_NAMES, this.#view.getUint8(24));
  }

  get unitSizeLog2(): number {
    return this.#view.getUint8(25);
  }

  get requestFlags(): number {
    return this.#view.getUint8(26);
  }

  get recordFlags(): number {
    return this.#view.getUint8(27);
  }

  get outcome(): number {
    return this.#view.getUint8(28);
  }

  /** 16 bytes, a view of the job. */
  get objectId(): Uint8Array {
    return new Uint8Array(this.#memory, this.#offsetBytes + 32, ID_BYTES);
  }

  /** 16 bytes, a view of the job: the expected tag (open), or the tag of the new record (seal). */
  get tag(): Uint8Array {
    return new Uint8Array(this.#memory, this.#offsetBytes + 48, TAG_BYTES);
  }

  /**
   * Writes the request for this unit. The output and the expected tag are set apart from it.
   *
   * @param inputBase where the input lease starts in its slab; `unit.offsetBytes` counts from there.
   */
  setRequest(unit: UnitAt, inputBase: number, requestFlags: number, recordFlags: number): void {
    setU64(this.#view, 0, unit.index);
    this.#view.setUint32(8, inputBase + unit.offsetBytes, true);
    this.#view.setUint32(12, unit.lengthBytes, true);
    this.#view.setUint8(24, RECORD_KINDS[unit.kind]);
    this.#view.setUint8(25, unit.unitSizeBytes === 0 ? 0 : Math.log2(unit.unitSizeBytes));
    this.#view.setUint8(26, requestFlags);
    this.#view.setUint8(27, recordFlags);
    this.objectId.set(unit.objectId);
  }

  setOutput(offset: number, lengthBytes: number): void {
    this.#view.setUint32(16, offset, true);
    this.#view.setUint32(20, lengthBytes, true);
  }

  set recordFlags(flags: number) {
    this.#view.setUint8(27, flags);
  }

  set outcome(outcome: number) {
    this.#view.setUint8(28, outcome);
  }
}
