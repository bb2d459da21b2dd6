/**
 * Seals units, of one file or many, and places them in segments in the order in which they were handed in, while later ones
 * are being sealed. The way from a caller's bytes to pointers:
 *
 *   reserve ──▶ caller fills `bytes` and lists units ──▶ submit: sealed by workers ──▶ placed in turn ──▶ pointers
 */
import { unitSizeToLog2 } from '../../base/geometry.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { UnitToSeal } from '../../pipeline/requests.ts';
import type { Lease } from '../../pipeline/slab.ts';
import type { CodecSetting } from '../../unit/codec.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';
import type { SegmentWriter } from './segment-writer.ts';

export class UnitWriter {
  readonly #sealing: Sealing;
  readonly #segments: SegmentWriter;
  /** Ends when everything that was submitted so far has been placed, or has failed. */
  #turn: Promise<void> = Promise.resolve();

  constructor(sealing: Sealing, segments: SegmentWriter) {
    this.#sealing = sealing;
    this.#segments = segments;
  }

  /** Memory for plain bytes of a batch. Waits for room; rejects as `Pipeline.reservePlain` does. */
  async reserve(lengthBytes: number, signal?: AbortSignal): Promise<UnitBatch> {
    const lease = await this.#sealing.pipeline.reservePlain(lengthBytes, { signal });
    return new UnitBatch(lease, batch => this.#submit(batch, signal));
  }

  /** Resolves when everything that was submitted so far is in a segment, or has failed. */
  async placed(): Promise<void> {
    await this.#turn;
  }

  async #submit(batch: UnitBatch, signal: AbortSignal | undefined): Promise<(Pointer | undefined)[]> {
    const before = this.#turn;
    const { promise: turn, resolve: endTurn } = Promise.withResolvers<void>();
    this.#turn = turn;
    const placed = this.#sealAndPlace(batch, before, signal);
    // Not before those that came before, even if this one fails early.
    void Promise.allSettled([before, placed]).then(() => endTurn());
    return await placed;
  }

  async #sealAndPlace(
    batch: UnitBatch,
    before: Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<(Pointer | undefined)[]> {
    const { pipeline, keys, suite, codec, blockSizeBytes } = this.#sealing;
    const { units, lease } = batch;
    const sealed = await (async () => {
      try {
        const request = { keys, from: lease, units, suite, codec: batch.codec ?? codec, blockSizeBytes };
        return await pipeline.seal({ ...request, holes: true }, { signal });
      } finally {
        lease.release();
      }
    })();
    try {
      await before;
      const records = sealed.units.flatMap(({ bytes, tag, isHole }, at) => {
        const unit = units[at];
        if (isHole || unit === undefined) return [];
        const { index, unitSizeBytes } = unit;
        const unitSizeLog2 = unitSizeToLog2(unitSizeBytes);
        const objectId = batch.objectIds[at] ?? '';
        return [{ kind: 'unit' as const, objectId, index, unitSizeLog2, bytes, tag }];
      });
      const placed = await this.#segments.place(records);
      let next = 0;
      return sealed.units.map(({ isHole }) => (isHole ? undefined : placed[next++]));
    } finally {
      sealed.release();
    }
  }
}

/** Plain bytes on their way. Submit it or drop it. */
export class UnitBatch {
  /** @internal */
  readonly lease: Lease;
  /** @internal */
  readonly units: UnitToSeal[] = [];
  /** @internal One a unit. */
  readonly objectIds: Id[] = [];
  /** @internal */
  codec: CodecSetting | undefined;
  readonly #submit: (batch: UnitBatch) => Promise<(Pointer | undefined)[]>;
  #lastId: { readonly id: Id; readonly bytes: Uint8Array } | undefined;

  /** @internal Made by {@link UnitWriter.reserve} only. */
  constructor(lease: Lease, submit: (batch: UnitBatch) => Promise<(Pointer | undefined)[]>) {
    this.lease = lease;
    this.#submit = submit;
  }

  /** Shared memory to fill; it must hold still from {@link submit} on. */
  get bytes(): Uint8Array<SharedArrayBuffer> {
    return this.lease.bytes;
  }

  /** Lists a unit that lies at [offset, offset + length) of {@link bytes}. EINVAL comes from submit. */
  add(objectId: Id, index: number, unitSizeBytes: number, offsetBytes: number, lengthBytes: number): void {
    if (this.#lastId?.id !== objectId) this.#lastId = { id: objectId, bytes: idBytes(objectId) };
    const { bytes } = this.#lastId;
    this.objectIds.push(objectId);
    this.units.push({ kind: 'unit', objectId: bytes, index, unitSizeBytes, offsetBytes, lengthBytes });
  }

  /**
   * Seals and places what was added. Call it once; the memory is given back by itself.
   *
   * @returns a pointer a unit, in order; undefined for an all-zero one, which is a hole. Commit none before its
   *   segment is durable. Rejects as `Pipeline.seal` does; then nothing may be used of it.
   */
  submit(): Promise<(Pointer | undefined)[]> {
    return this.#submit(this);
  }

  /** Gives the memory back without sealing anything. */
  drop(): void {
    this.lease.release();
  }
}
