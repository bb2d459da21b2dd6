/**
 * Seals units, of one file or many, and packs, and places them in segments. Units are placed in the order in
 * which they were submitted, while later ones are being sealed. From a caller's bytes to pointers:
 *
 *   reserve ──▶ caller fills `bytes`, lists units ──▶ submit: workers seal ──▶ placed in turn ──▶ pointers
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
  /** Resolves when everything that was submitted so far has been placed, or has failed. */
  #turn: Promise<void> = Promise.resolve();

  constructor(sealing: Sealing, segments: SegmentWriter) {
    this.#sealing = sealing;
    this.#segments = segments;
  }

  /**
   * Reserves memory for the plain bytes of a batch. Waits for room. Rejects as `Pipeline.reservePlain` does.
   */
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
    // A batch's turn ends after all earlier ones, even if the batch itself fails early.
    void Promise.allSettled([before, placed]).then(() => endTurn());
    return await placed;
  }

  async #sealAndPlace(
    batch: UnitBatch,
    before: Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<(Pointer | undefined)[]> {
    const { pipeline, keys, suite, codec, padding } = this.#sealing;
    const { units, lease } = batch;
    const sealed = await (async () => {
      try {
        const request = { keys, from: lease, units, suite, codec: batch.codec ?? codec, padding };
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
        const { kind, index, unitSizeBytes } = unit;
        const unitSizeLog2 = kind === 'pack' ? 0 : unitSizeToLog2(unitSizeBytes);
        const objectId = batch.objectIds[at] ?? '';
        return [{ kind, objectId, index, unitSizeLog2, bytes, tag }];
      });
      const placed = await this.#segments.place(records);
      let next = 0;
      return sealed.units.map(({ isHole }) => (isHole ? undefined : placed[next++]));
    } finally {
      sealed.release();
    }
  }
}

/** Plain units and packs to seal, in memory of the pipeline's. Its owner must submit it or drop it. */
export class UnitBatch {
  /** @internal */
  readonly lease: Lease;
  /** @internal */
  readonly units: UnitToSeal[] = [];
  /** @internal One for each unit. */
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

  /** Shared memory to fill. It must not change from {@link submit} on. */
  get bytes(): Uint8Array<SharedArrayBuffer> {
    return this.lease.bytes;
  }

  /**
   * Adds a unit that lies at [offset, offset + length) of {@link bytes}. Whether that is valid, {@link
   * submit} checks.
   */
  add(objectId: Id, index: number, unitSizeBytes: number, offsetBytes: number, lengthBytes: number): void {
    if (this.#lastId?.id !== objectId) this.#lastId = { id: objectId, bytes: idBytes(objectId) };
    const { bytes } = this.#lastId;
    this.objectIds.push(objectId);
    this.units.push({ kind: 'unit', objectId: bytes, index, unitSizeBytes, offsetBytes, lengthBytes });
  }

  /**
   * Adds a pack that lies at [offset, offset + length) of {@link bytes}: 1 byte to 1 MiB. Its pointers need
   * slices.
   *
   * @param packId a new random id.
   */
  addPack(packId: Id, offsetBytes: number, lengthBytes: number): void {
    this.objectIds.push(packId);
    const at = { objectId: idBytes(packId), index: 0, unitSizeBytes: 0 };
    this.units.push({ kind: 'pack', ...at, offsetBytes, lengthBytes });
  }

  /**
   * Seals and places the units, and gives the memory back. Call it once. Rejects as `Pipeline.seal` does;
   * then no unit of the batch may be committed.
   *
   * @returns a pointer for each unit and pack, in order; undefined for an all-zero unit, which is a hole.
   *   Commit no pointer before its segment is durable.
   */
  submit(): Promise<(Pointer | undefined)[]> {
    return this.#submit(this);
  }

  /** Gives the memory back without sealing anything. */
  drop(): void {
    this.lease.release();
  }
}
