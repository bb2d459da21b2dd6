/**
 * The pipeline turns plain bytes in bounce buffers into sealed records, and back. Worker threads do the work,
 * within a memory budget.
 *
 *   sealing   reservePlain → caller copies bytes in → seal → records in shared memory → release both
 *   opening   reserveSealed → caller reads records in → open → plain bytes in shared memory → release both
 *
 *   - Each direction has a plain slab and a sealed slab of its own, and workers take jobs of both directions
 *     in turn. So reads cannot starve a flush.
 *   - A request takes memory in this order: input, output, job.
 *   - A caller that keeps an output must not wait for an input of the same direction, unless somebody else is
 *     going to release that output. Otherwise it may wait for ever.
 */

import { abortable } from '../base/abortable.ts';
import {
  requireBytes,
  requireInstance,
  requireInteger,
  requireNumber,
  requireObject,
  requireOptions,
} from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { ID_BYTES } from '../base/ids.ts';
import { Keyring } from '../keys/keyring.ts';
import type { ProviderReport } from '../unit/providers.ts';
import { checkKind, FLAG_LAST, parseSuite } from '../unit/record-format.ts';
import {
  Job,
  type JobUnit,
  jobBytes,
  OPERATION_OPEN,
  OPERATION_SEAL,
  OUTCOME_DONE,
  OUTCOME_HOLE,
  UNIT_EXPECT_TAG,
  UNIT_HOLES,
} from './job.ts';
import { type JobReply, JobWorker, restoreError, type SharedMemory, type WorkerStart } from './job-worker.ts';
import { type KeyHandle, KeyTable, type RecordQuery } from './key-table.ts';
import { InlineRunner, type JobRunner, WorkerPool, workerUrl } from './pool.ts';
import {
  checkHandle,
  checkOpen,
  checkSeal,
  type OpenedBatch,
  type OpenedUnit,
  type OpenRequest,
  REQUEST_UNITS_MAX,
  ResultBatch,
  type SealedBatch,
  type SealRequest,
} from './requests.ts';
import { checkSettings, type PipelineSettings } from './settings.ts';
import { Lease, Slab } from './slab.ts';
import { type JobSpan, splitIntoJobs } from './split.ts';

/** How much of a slab is in use now. */
export interface SlabUse {
  readonly name: string;
  readonly budgetBytes: number;
  /** Bytes lent, or quarantined until an operation on them ends. */
  readonly usedBytes: number;
  /** Callers that wait for memory of this slab. */
  readonly waiterCount: number;
}

/** Longer than the slowest job takes: two units of 16 MiB at the highest level, in portable code. */
const CLOSE_WAIT_MS = 60_000;

const JOB_SLAB_BYTES = 2 * jobBytes(REQUEST_UNITS_MAX);

/**
 * Starts a pipeline and resolves when its workers are ready.
 *
 * Rejects with EINVAL (a setting is out of range, or the system does not give the memory), EUNSUPPORTED (a
 * provider is missing) or EWORKER (no worker could be started). Nothing keeps running then.
 */
export async function openPipeline(settings: PipelineSettings = {}): Promise<Pipeline> {
  return await Pipeline.open(settings);
}

function warnOfBundle(): void {
  process.emitWarning(
    'netseal works without worker threads here, because a bundler left its files behind: mark netseal as external, or open the pipeline with 0 workers',
    { code: 'NETSEAL_NO_WORKERS' },
  );
}

interface PipelineSlabs {
  readonly jobs: Slab;
  readonly sealing: { readonly plain: Slab; readonly sealed: Slab };
  readonly opening: { readonly plain: Slab; readonly sealed: Slab };
}

/** Seals and opens units. One thread uses it; its workers are its own. */
export class Pipeline {
  /** Worker threads; 0 when the work is done on the calling thread. */
  readonly workerCount: number;
  /** The size of each of the four slabs in bytes. No request's input or output can be larger. */
  readonly slabBytes: number;
  readonly #keys: KeyTable;
  readonly #jobs: Slab;
  readonly #sealing: { readonly plain: Slab; readonly sealed: Slab };
  readonly #opening: { readonly plain: Slab; readonly sealed: Slab };
  readonly #runner: JobRunner;
  readonly #start: WorkerStart;
  /** Does jobs on this thread, if a request has asked for that. */
  #here: Promise<JobWorker> | undefined;
  /** Requests that have memory, and whose jobs have not ended. */
  #underWay = 0;
  #closing: Promise<void> | undefined;

  /**
   * @internal Callers use `openPipeline`.
   * @param workerEntry another worker entry point; tests only.
   */
  static async open(settings: PipelineSettings, workerEntry?: URL): Promise<Pipeline> {
    const { workers, slabBytes, providers } = checkSettings(settings);
    const keys = new KeyTable();
    const jobs = new Slab('jobs', JOB_SLAB_BYTES);
    const sealing = { plain: new Slab('plain to seal', slabBytes), sealed: new Slab('sealed', slabBytes) };
    const opening = { plain: new Slab('opened', slabBytes), sealed: new Slab('sealed to open', slabBytes) };
    const memory: SharedMemory = {
      jobs: jobs.memory,
      keys: keys.memory,
      sealing: { plain: sealing.plain.memory, sealed: sealing.sealed.memory },
      opening: { plain: opening.plain.memory, sealed: opening.sealed.memory },
    };
    const start = { memory, providers };
    const entry = workerEntry ?? workerUrl();
    if (workers > 0 && entry === undefined) warnOfBundle();
    const threads = entry === undefined ? 0 : workers;
    const runner =
      threads === 0 || entry === undefined
        ? await InlineRunner.start(start)
        : await WorkerPool.start(threads, start, entry);
    return new Pipeline(threads, keys, { jobs, sealing, opening }, runner, start);
  }

  private constructor(
    workerCount: number,
    keys: KeyTable,
    { jobs, sealing, opening }: PipelineSlabs,
    runner: JobRunner,
    start: WorkerStart,
  ) {
    this.workerCount = workerCount;
    this.slabBytes = sealing.plain.budgetBytes;
    this.#keys = keys;
    this.#jobs = jobs;
    this.#sealing = sealing;
    this.#opening = opening;
    this.#runner = runner;
    this.#start = start;
  }

  /** The libraries that do the work. */
  get providers(): ProviderReport {
    return this.#runner.providers;
  }

  /** The use of each slab now. */
  get memory(): SlabUse[] {
    return this.#slabs.map(({ name, budgetBytes, usedBytes, waiterCount }) => ({
      name,
      budgetBytes,
      usedBytes,
      waiterCount,
    }));
  }

  /** True when no request is being worked on. */
  get isIdle(): boolean {
    return this.#underWay === 0;
  }

  /**
   * Gives a volume's keys to all workers. The key bytes are copied; the keyring stays the caller's.
   *
   * Throws EINVAL when the pipeline would hold more than 1,024 epoch keys, ECLOSED after close.
   */
  addKeyring(keyring: Keyring): KeyHandle {
    requireInstance('keyring', keyring, Keyring);
    this.#requireOpen();
    return this.#keys.add(keyring);
  }

  /**
   * Returns the 32 bytes that commit to the key of an object's records. Stored beside the object, they tell a
   * wrong key from damage.
   *
   * Throws EKEY when the volume has no such epoch, EINVAL for an unknown kind or suite or an id that is not
   * 16 bytes long, ECLOSED after close.
   */
  keyCommitment(keys: KeyHandle, record: RecordQuery): Uint8Array {
    checkHandle(keys);
    requireObject('record', record);
    requireInteger('record.epoch', record.epoch, 0, 0xffff_ffff);
    checkKind(record.kind);
    parseSuite(record.suite);
    requireBytes('record.objectId', record.objectId, ID_BYTES);
    this.#requireOpen();
    return this.#keys.commitment({ ...record, handleId: keys.id });
  }

  /**
   * Zeroes the pipeline's copies of a volume's keys. Units that are being worked on may fail with EKEY. A
   * worker drops the keys that it derived from them when its next job begins, or at close. An unknown handle
   * does nothing.
   */
  removeKeyring(keys: KeyHandle): void {
    checkHandle(keys);
    this.#keys.remove(keys);
  }

  /**
   * Lends shared memory for plain bytes to seal. Waits while there is no room; callers are served in the
   * order in which they asked. The caller owns the lease until it releases it.
   *
   * Rejects with EINVAL (more than {@link slabBytes}, or not a positive integer), ECLOSED, or the signal's
   * reason.
   */
  async reservePlain(lengthBytes: number, options: CallOptions = {}): Promise<Lease> {
    requireOptions('options', options);
    return await this.#sealing.plain.reserve(lengthBytes, options.signal);
  }

  /** Lends shared memory for sealed records to open. Otherwise like {@link reservePlain}. */
  async reserveSealed(lengthBytes: number, options: CallOptions = {}): Promise<Lease> {
    requireOptions('options', options);
    return await this.#opening.sealed.reserve(lengthBytes, options.signal);
  }

  /**
   * Seals units. Waits until there is room for their records.
   *
   * The batch holds one record for each unit, in the order of the request. Release it when the records have
   * been written. The caller keeps its lease and may release it at any time, even before the call has
   * settled: the memory is not lent again before the workers are done with it.
   *
   * Rejects with EINVAL before anything has happened, or with EKEY, EWORKER, ECLOSED, EBUG or the signal's
   * reason. Then the caller has nothing to release but its lease. After an abort, units that a worker has
   * begun are finished, their memory stays counted until then, and their results are dropped.
   */
  async seal(request: SealRequest, options: CallOptions = {}): Promise<SealedBatch> {
    requireObject('request', request);
    requireOptions('options', options);
    requireInstance('request.from', request.from, Lease);
    this.#requireOpen();
    requireArgument(request.from.isOf(this.#sealing.plain), 'seal needs a live lease from reservePlain');
    const { suite, codec, padding, holes, units, roomBytes } = checkSeal(request);
    const { keys, from } = request;
    const setting = { suite, codec, padding, epoch: keys.newestEpoch };
    return await this.#perform({
      operation: OPERATION_SEAL,
      keyHandleId: keys.id,
      from,
      outputSlab: this.#sealing.sealed,
      inputBytes: units.map(unit => unit.lengthBytes),
      roomBytes,
      signal: options.signal,
      fillJob: job => {
        job.sealSetting = setting;
      },
      fillUnit: (fields, at) => {
        const unit = unitAt(units, at);
        const recordFlags = unit.isLast === true ? FLAG_LAST : 0;
        const canBeHole = holes && unit.kind === 'unit';
        fields.setRequest(unit, from.offsetBytes, canBeHole ? UNIT_HOLES : 0, recordFlags);
      },
      collect: collectSealed,
    });
  }

  /**
   * Opens records. Waits until there is room for their plain bytes.
   *
   * The batch holds one result for each unit, in the order of the request. A unit that fails (EAUTH, EFORMAT,
   * ETRUNCATED, EUNSUPPORTED or EKEY) has its error there; the other units are opened all the same.
   *
   * Leases and rejections are those of {@link seal}.
   */
  async open(request: OpenRequest, options: CallOptions = {}): Promise<OpenedBatch> {
    requireObject('request', request);
    requireOptions('options', options);
    requireInstance('request.from', request.from, Lease);
    this.#requireOpen();
    requireArgument(request.from.isOf(this.#opening.sealed), 'open needs a live lease from reserveSealed');
    const { units, roomBytes, inline } = checkOpen(request);
    const { keys, from } = request;
    return await this.#perform({
      operation: OPERATION_OPEN,
      keyHandleId: keys.id,
      from,
      outputSlab: this.#opening.plain,
      inputBytes: units.map(unit => unit.lengthBytes),
      roomBytes,
      signal: options.signal,
      isInline: inline,
      fillJob: () => undefined,
      fillUnit: (fields, at) => {
        const unit = unitAt(units, at);
        const { expectedTag } = unit;
        fields.setRequest(unit, from.offsetBytes, expectedTag === undefined ? 0 : UNIT_EXPECT_TAG, 0);
        if (expectedTag !== undefined) fields.tag.set(expectedTag);
      },
      collect: collectOpened,
    });
  }

  /**
   * Closes the pipeline: waits for the units that workers have begun, zeroes the keys and ends the threads.
   * Calls that wait, and later calls, fail with ECLOSED. Batches and leases that callers hold stay readable.
   *
   * @param waitMs how long to wait for busy workers, 60 s by default. Then they are ended, and their units
   *   fail with EWORKER.
   */
  close(waitMs: number = CLOSE_WAIT_MS): Promise<void> {
    requireNumber('waitMs', waitMs);
    this.#closing ??= this.#close(waitMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(waitMs: number): Promise<void> {
    for (const slab of this.#slabs) slab.close();
    try {
      await this.#runner.close(waitMs);
    } finally {
      await this.#here?.then(
        worker => worker.close(),
        () => undefined,
      );
      this.#keys.destroy();
    }
  }

  /**
   * Takes the memory that a request needs, does the request, and gives back the memory that its result does
   * not need.
   */
  async #perform<Result>(work: Work<Result>): Promise<Result> {
    const { from, outputSlab, signal } = work;
    const unholdInput = from.hold();
    try {
      const output = await outputSlab.reserve(sum(work.roomBytes), signal);
      try {
        const isInline = work.isInline === true;
        // Workers that are busy with other requests gain nothing from smaller jobs.
        const isAlone = this.#underWay === 0 && !isInline;
        const spans = splitIntoJobs(work.inputBytes, isAlone ? this.workerCount : 1);
        const jobMemory = await this.#jobs.reserve(sum(spans.map(spanBytes)), signal);
        this.#underWay += 1;
        try {
          if (isInline) return await this.#workHere(work, spans, jobMemory, output);
          return await this.#workThroughJobs(work, spans, jobMemory, output);
        } finally {
          this.#underWay -= 1;
          jobMemory.release();
        }
      } catch (error) {
        output.release();
        throw error;
      }
    } finally {
      unholdInput();
    }
  }

  /** Does all of a request on this thread, in one turn. */
  async #workHere<Result>(
    work: Work<Result>,
    spans: readonly JobSpan[],
    jobMemory: Lease,
    output: Lease,
  ): Promise<Result> {
    this.#here ??= JobWorker.start(this.#start);
    const worker = await this.#here;
    this.#requireOpen();
    work.signal?.throwIfAborted();
    const jobs = this.#layOut(work, spans, jobMemory, output);
    const replies = jobs.map(({ offsetBytes }): PromiseSettledResult<JobReply> => {
      return { status: 'fulfilled', value: worker.run(offsetBytes) };
    });
    return work.collect(unitResults(jobs, replies), output);
  }

  async #workThroughJobs<Result>(
    work: Work<Result>,
    spans: readonly JobSpan[],
    jobMemory: Lease,
    output: Lease,
  ): Promise<Result> {
    const jobs = this.#layOut(work, spans, jobMemory, output);
    const unholdAll = [work.from, output, jobMemory].map(lease => lease.hold());
    const ended = Promise.allSettled(jobs.map(job => this.#runner.run(job.offsetBytes, work.operation))).then(
      results => {
        // All workers have answered or ended, so none of them touches the memory any more.
        for (const unhold of unholdAll) unhold();
        return results;
      },
    );
    const results = await abortable(ended, work.signal, () => {
      for (const job of jobs) job.cancel();
    });
    return work.collect(unitResults(jobs, results), output);
  }

  /** Writes the jobs into the job slab. Each job gets as much of the output as its units may need. */
  #layOut(work: Work<unknown>, spans: readonly JobSpan[], jobMemory: Lease, output: Lease): Job[] {
    let jobOffset = jobMemory.offsetBytes;
    let roomOffset = output.offsetBytes;
    return spans.map(span => {
      const job = new Job(this.#jobs.memory, jobOffset);
      const rooms = work.roomBytes.slice(span.from, span.to);
      job.start(work.operation, rooms.length, work.keyHandleId, roomOffset, sum(rooms));
      work.fillJob(job);
      for (const [at, roomBytes] of rooms.entries()) {
        const unit = job.unit(at);
        unit.setOutput(roomOffset, roomBytes);
        work.fillUnit(unit, span.from + at);
        roomOffset += roomBytes;
      }
      jobOffset += spanBytes(span);
      return job;
    });
  }

  get #slabs(): Slab[] {
    const { plain, sealed } = this.#sealing;
    return [plain, sealed, this.#opening.sealed, this.#opening.plain, this.#jobs];
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new NetsealError('ECLOSED', 'the pipeline is closed');
  }
}

/** A request in the form that sealing and opening share. Each array has one entry for each unit. */
interface Work<Result> {
  readonly operation: number;
  readonly keyHandleId: number;
  readonly from: Lease;
  readonly outputSlab: Slab;
  readonly inputBytes: readonly number[];
  readonly roomBytes: readonly number[];
  readonly signal: AbortSignal | undefined;
  readonly isInline?: boolean;
  fillJob(job: Job): void;
  fillUnit(fields: JobUnit, at: number): void;
  /** Makes the result while the jobs' fields can still be read. Throws when the request as a whole failed. */
  collect(units: readonly UnitResult[], output: Lease): Result;
}

/** The result of one unit: its fields in the job, and its error if it failed. */
interface UnitResult {
  readonly fields: JobUnit;
  readonly error: NetsealError | undefined;
}

function unitResults(jobs: readonly Job[], replies: readonly PromiseSettledResult<JobReply>[]): UnitResult[] {
  return jobs.flatMap((job, at) => {
    const reply = replies[at];
    if (reply?.status !== 'fulfilled') throw reply?.reason;
    const errors = new Map(reply.value.failures.map(failure => [failure.at, restoreError(failure)]));
    return Array.from({ length: job.unitCount }, (_, unit) => {
      const fields = job.unit(unit);
      const error = errors.get(unit);
      // No worker wrote this unit's output, so that memory holds bytes of an earlier request.
      if (error === undefined && fields.outcome !== OUTCOME_DONE && fields.outcome !== OUTCOME_HOLE) {
        throw new NetsealError('EBUG', `a worker answered without having worked on unit ${unit} of a job`);
      }
      return { fields, error };
    });
  });
}

function collectSealed(units: readonly UnitResult[], output: Lease): SealedBatch {
  const sealed = units.map(({ fields, error }) => {
    if (error !== undefined) throw error;
    const isHole = fields.outcome === OUTCOME_HOLE;
    return {
      bytes: viewOfLease(output, fields.outputOffset, isHole ? 0 : fields.outputBytes),
      tag: fields.tag.slice(),
      isHole,
    };
  });
  const used = sealed.map(({ bytes }) => ({ offset: bytes.byteOffset, length: bytes.byteLength }));
  output.keepOnly(used);
  return new ResultBatch(sealed, output);
}

function collectOpened(units: readonly UnitResult[], output: Lease): OpenedBatch {
  const opened = units.map(({ fields, error }): OpenedUnit => {
    if (error !== undefined) return { error };
    return {
      bytes: viewOfLease(output, fields.outputOffset, fields.outputBytes),
      isLast: (fields.recordFlags & FLAG_LAST) !== 0,
    };
  });
  return new ResultBatch(opened, output);
}

function viewOfLease(lease: Lease, slabOffset: number, lengthBytes: number): Uint8Array {
  const from = slabOffset - lease.offsetBytes;
  return lease.bytes.subarray(from, from + lengthBytes);
}

function unitAt<Unit>(units: readonly Unit[], at: number): Unit {
  const unit = units[at];
  if (unit === undefined) throw new NetsealError('EBUG', `request has no unit ${at}`);
  return unit;
}

function spanBytes(span: JobSpan): number {
  return jobBytes(span.to - span.from);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
