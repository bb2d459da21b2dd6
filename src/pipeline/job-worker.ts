/**
 * Works through the units of one job. The same code runs in a worker and, in a pipeline without workers, on
 * the calling thread. It touches only shared memory that holds still, scratch memory of its own, and keys
 * from the key table.
 */
import { lengthWithoutZeros } from '../base/bytes.ts';
import { type ErrorCode, isNetsealError, messageOf, NetsealError } from '../base/errors.ts';
import { NonceSource } from '../unit/nonces.ts';
import { Opener } from '../unit/open.ts';
import { chooseProviders, type ProviderReport, type ProviderSettings } from '../unit/providers.ts';
import { decodeHeader, recordTag } from '../unit/record-format.ts';
import { Sealer } from '../unit/seal.ts';
import {
  Job,
  type JobUnit,
  OPERATION_SEAL,
  OUTCOME_DONE,
  OUTCOME_FAILED,
  OUTCOME_HOLE,
  UNIT_EXPECT_TAG,
  UNIT_HOLES,
} from './job.ts';
import { KeyReader } from './key-table.ts';

/**
 * The shared memory that a worker maps when it starts. A worker writes to `jobs`, `sealing.sealed` and
 * `opening.plain`.
 */
export interface SharedMemory {
  readonly jobs: SharedArrayBuffer;
  readonly keys: SharedArrayBuffer;
  /** Sealing reads from `plain` and writes to `sealed`. */
  readonly sealing: { readonly plain: SharedArrayBuffer; readonly sealed: SharedArrayBuffer };
  /** Opening reads from `sealed` and writes to `plain`. */
  readonly opening: { readonly plain: SharedArrayBuffer; readonly sealed: SharedArrayBuffer };
}

/** What the pool gives every worker when it starts. */
export interface WorkerStart {
  readonly memory: SharedMemory;
  readonly providers: ProviderSettings;
}

/** A unit that failed, and why. */
export interface UnitFailure extends ErrorData {
  /** The unit's position in the job, from 0. */
  readonly at: number;
}

/** A worker's answer to a job. The outcome of each unit stands in the job's own fields. */
export interface JobReply {
  readonly failures: readonly UnitFailure[];
}

/** Seals and opens for one thread, with that thread's keys, ciphers and scratch memory. */
export class JobWorker {
  readonly #memory: SharedMemory;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #keys: KeyReader;
  readonly providerReport: ProviderReport;

  /** Chooses providers for this thread. Rejects with EUNSUPPORTED when one is missing. */
  static async start({ memory, providers }: WorkerStart): Promise<JobWorker> {
    return new JobWorker(memory, await chooseProviders(providers));
  }

  private constructor(memory: SharedMemory, providers: Awaited<ReturnType<typeof chooseProviders>>) {
    this.#memory = memory;
    this.#sealer = new Sealer(providers, new NonceSource());
    this.#opener = new Opener(providers);
    this.#keys = new KeyReader(memory.keys, providers);
    this.providerReport = providers.report;
  }

  /**
   * Does the job at `jobOffset` of the job slab. A unit that fails does not stop the others; the reply lists
   * it. Throws EBUG when the job's fields make no sense.
   */
  run(jobOffset: number): JobReply {
    const job = new Job(this.#memory.jobs, jobOffset);
    this.#keys.refresh();
    return { failures: job.operation === OPERATION_SEAL ? this.#sealAll(job) : this.#openAll(job) };
  }

  /** Zeroes keys and scratch memory. */
  close(): void {
    this.#keys.clear();
    this.#sealer.wipe();
  }

  /** Seals the units one after another into the job's output room, without gaps. */
  #sealAll(job: Job): UnitFailure[] {
    const setting = job.sealSetting;
    const { plain, sealed } = this.#memory.sealing;
    const room = new Uint8Array(sealed, job.outputOffset, job.outputBytes);
    let usedBytes = 0;
    this.#sealer.startRun();
    const failures = eachUnit(job, unit => {
      const whole = new Uint8Array(plain, unit.inputOffset, unit.inputBytes);
      const leavesZeros = (unit.requestFlags & UNIT_HOLES) !== 0;
      const input = leavesZeros ? whole.subarray(0, lengthWithoutZeros(whole)) : whole;
      if (leavesZeros && input.byteLength === 0) return OUTCOME_HOLE;
      const key = this.#keys.get({
        handleId: job.keyHandleId,
        epoch: setting.epoch,
        kind: unit.kind,
        suite: setting.suite,
        objectId: unit.objectId,
      });
      const place = { index: unit.index, unitSizeLog2: unit.unitSizeLog2 };
      const target = room.subarray(usedBytes);
      const sealedBytes = this.#sealer.seal(key, place, setting, input, target, unit.recordFlags);
      unit.setOutput(job.outputOffset + usedBytes, sealedBytes);
      unit.tag.set(recordTag(target.subarray(0, sealedBytes)));
      usedBytes += sealedBytes;
      return OUTCOME_DONE;
    });
    job.outputBytes = usedBytes;
    return failures;
  }

  #openAll(job: Job): UnitFailure[] {
    const { plain, sealed } = this.#memory.opening;
    return eachUnit(job, unit => {
      const record = new Uint8Array(sealed, unit.inputOffset, unit.inputBytes);
      const header = decodeHeader(record);
      const key = this.#keys.get({
        handleId: job.keyHandleId,
        epoch: header.epoch,
        kind: unit.kind,
        suite: header.suite,
        objectId: unit.objectId,
      });
      const place = { index: unit.index, unitSizeLog2: unit.unitSizeLog2 };
      const target = new Uint8Array(plain, unit.outputOffset, unit.outputBytes);
      const expectedTag = (unit.requestFlags & UNIT_EXPECT_TAG) === 0 ? undefined : unit.tag;
      const opened = this.#opener.open(header, key, place, record, target, expectedTag);
      unit.setOutput(unit.outputOffset, opened.plainBytes);
      unit.recordFlags = opened.flags;
      return OUTCOME_DONE;
    });
  }
}

/**
 * Calls `work` for each unit until the job is cancelled. Writes each outcome into the job and returns the
 * failures.
 */
function eachUnit(job: Job, work: (unit: JobUnit) => number): UnitFailure[] {
  const failures: UnitFailure[] = [];
  const { unitCount } = job;
  for (let at = 0; at < unitCount && !job.isCancelled; at += 1) {
    const unit = job.unit(at);
    try {
      unit.outcome = work(unit);
    } catch (error) {
      unit.outcome = OUTCOME_FAILED;
      failures.push({ at, ...describeError(error) });
    }
  }
  return failures;
}

/** An error as plain data. Errors cross threads in this form, because a cloned error loses its code. */
export interface ErrorData {
  readonly code: ErrorCode;
  /** One line. */
  readonly message: string;
  /** The stack of an unexpected error; not set for errors with a code of ours. */
  readonly stack?: string;
}

/** Returns an error as data. Anything that is not a {@link NetsealError} becomes EBUG and keeps its stack. */
export function describeError(error: unknown): ErrorData {
  if (isNetsealError(error)) return { code: error.code, message: error.message };
  // Every expected error is a NetsealError. Anything else is a fault in netseal or in a library.
  const [message = ''] = messageOf(error).split('\n');
  const stack = error instanceof Error ? error.stack : undefined;
  return { code: 'EBUG', message: `unexpected: ${message}`, ...(stack === undefined ? {} : { stack }) };
}

/** Makes an error again from what {@link describeError} returned on another thread. */
export function restoreError({ code, message, stack }: ErrorData): NetsealError {
  if (stack === undefined) return new NetsealError(code, message);
  const cause = new Error(message);
  cause.stack = stack;
  return new NetsealError(code, message, { cause });
}
