/**
 * Checks the dirty batches that callers append. When the disk is full, gives up clean zones for them. Also
 * lists the batches that are kept.
 */

import { abortable } from '../../base/abortable.ts';
import { requireBytes, requireList, requireObject } from '../../base/arguments.ts';
import { codeOf, requireArgument } from '../../base/errors.ts';
import type { Admission } from '../clean/admission.ts';
import { type IncomingUnit, isSealedUnit } from '../clean/clean-writer.ts';
import type { Objects, VolumeState } from '../objects/objects.ts';
import { type UnitToPut, withObjects } from '../objects/unit-place.ts';
import type { DirtyBatches } from './batches.ts';
import { BATCH_UNITS_MAX, PAYLOAD_BYTES_MAX } from './format.ts';

/** Units that are not on the server yet. They are kept together or not at all. */
export interface DirtyBatch {
  readonly units: readonly (UnitToPut & { /** 16 bytes. */ readonly volumeId: Uint8Array })[];
  /** Anything the caller wants to keep with the batch, at most 64 KiB. Copied at once; sealed on the disk. */
  readonly payload?: Uint8Array;
}

/** A batch that was acknowledged and is not released. */
export interface ListedBatch {
  readonly id: number;
  /** When it was appended, in milliseconds since 1970, by the clock of that time. */
  readonly appendedMs: number;
  readonly payload: Uint8Array;
  readonly units: readonly {
    readonly volumeId: Uint8Array;
    readonly objectId: Uint8Array;
    readonly index: number;
    readonly tag: Uint8Array;
    readonly lengthBytes: number;
  }[];
}

/** How many clean zones are given up for one batch when the disk is full. */
const FULL_TRIES_MAX = 8;

export class DirtyIntake {
  readonly #dirty: DirtyBatches;
  readonly #admission: Admission;
  readonly #objects: Objects;
  readonly #volumeOf: (volumeId: Uint8Array) => VolumeState;

  /**
   * @param volumeOf returns the volume of an id, and throws ECLOSED, EINVAL and EFULL as `cache.volume` does.
   */
  constructor(
    dirty: DirtyBatches,
    admission: Admission,
    objects: Objects,
    volumeOf: (volumeId: Uint8Array) => VolumeState,
  ) {
    this.#dirty = dirty;
    this.#admission = admission;
    this.#objects = objects;
    this.#volumeOf = volumeOf;
  }

  /**
   * Resolves with the batch's id when it is on the disk. If it rejects, for whatever reason, nothing was
   * kept.
   */
  async append(batch: DirtyBatch, signal: AbortSignal | undefined): Promise<number> {
    const units = this.#check(batch);
    const payload = new Uint8Array(batch.payload ?? []);
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#dirty.append(units, payload, signal);
      } catch (error) {
        const isFull = codeOf(error) === 'EFULL';
        if (!isFull || tries > FULL_TRIES_MAX) throw error;
        signal?.throwIfAborted();
        // Units that no server has are worth more than units that one has.
        if (!(await abortable(this.#admission.giveUpOne(), signal))) throw error;
      }
    }
  }

  #check(batch: DirtyBatch): IncomingUnit[] {
    requireObject('batch', batch);
    const { units, payload } = batch;
    if (payload !== undefined) requireBytes('batch.payload', payload);
    requireList('batch.units', units);
    const payloadBytes = payload?.byteLength ?? 0;
    requireArgument(
      payloadBytes <= PAYLOAD_BYTES_MAX,
      `a payload must be at most 64 KiB, not ${payloadBytes} bytes`,
    );
    requireArgument(
      units.length <= BATCH_UNITS_MAX,
      `a batch holds at most ${BATCH_UNITS_MAX} units, not ${units.length}`,
    );
    return units.flatMap(unit => {
      requireObject('a unit', unit);
      requireBytes('bytes', unit.bytes);
      const { index, kind = 'unit', bytes, volumeId } = unit;
      const isUnit = kind === 'unit' && isSealedUnit(bytes);
      requireArgument(isUnit, `unit ${index}: its bytes are no sealed unit`);
      return withObjects(this.#objects, this.#volumeOf(volumeId), [unit]).map(({ object }) => ({
        object,
        index,
        bytes,
      }));
    });
  }

  /**
   * Lists every batch that is not released, oldest first. EIO or EAUTH when one cannot be read.
   *
   * @param requireOpen throws when the cache was closed. A batch that cannot be read for that reason is not
   *   released.
   */
  async *list(requireOpen: () => void): AsyncGenerator<ListedBatch> {
    for (const id of this.#dirty.ids()) {
      const header = await this.#dirty.describe(id);
      requireOpen();
      if (header === undefined) continue;
      const { appendedMs, payload, units } = header;
      yield { id, appendedMs, payload, units };
    }
  }
}
