/** Our contender in contests about the pipeline. It has several requests under way, as real callers do. */

import { randomBytes } from 'node:crypto';
import { Keyring } from '../src/keys/keyring.ts';
import type { KeyHandle } from '../src/pipeline/key-table.ts';
import { openPipeline, type Pipeline } from '../src/pipeline/pipeline.ts';
import type { Padding } from '../src/unit/padding.ts';

/** How the data is cut into requests, and how many requests are under way at a time. */
export interface Feed {
  readonly unitBytes: number;
  readonly padding: Padding;
  readonly unitsPerRequest: number;
  readonly requestsAtOnce: number;
}

/** A pipeline of two workers that seals and opens the data of one file again and again. */
export class PipelineSide {
  readonly #pipeline: Pipeline;
  readonly #keys: KeyHandle;
  readonly #data: Uint8Array;
  readonly #objectId: Uint8Array = randomBytes(16);

  private constructor(pipeline: Pipeline, keys: KeyHandle, data: Uint8Array) {
    this.#pipeline = pipeline;
    this.#keys = keys;
    this.#data = data;
  }

  static async start(data: Uint8Array): Promise<PipelineSide> {
    const pipeline = await openPipeline({ workers: 2 });
    const keyring = Keyring.create();
    return new PipelineSide(pipeline, pipeline.addKeyring(keyring), data);
  }

  /** Seals all data. Calls `keep` with a copy of each record and its index. */
  async seal(feed: Feed, keep?: (index: number, record: Uint8Array) => void): Promise<void> {
    await this.#eachRequest(feed, async (firstIndex, unitCount) => {
      const { unitBytes } = feed;
      const lease = await this.#pipeline.reservePlain(unitCount * unitBytes);
      lease.bytes.set(this.#data.subarray(firstIndex * unitBytes, (firstIndex + unitCount) * unitBytes));
      const batch = await this.#pipeline.seal({
        keys: this.#keys,
        from: lease,
        padding: feed.padding,
        units: this.#places(feed, firstIndex, Array(unitCount).fill(unitBytes)),
      });
      for (const [at, unit] of batch.units.entries()) keep?.(firstIndex + at, unit.bytes.slice());
      batch.release();
      lease.release();
    });
  }

  /** Opens `records`. Calls `check` with each unit's plain bytes. Throws when a record does not open. */
  async open(
    feed: Feed,
    records: readonly Uint8Array[],
    check?: (index: number, plain: Uint8Array) => void,
  ): Promise<void> {
    await this.#eachRequest(feed, async (firstIndex, unitCount) => {
      const part = records.slice(firstIndex, firstIndex + unitCount);
      const lengths = part.map(record => record.byteLength);
      const lease = await this.#pipeline.reserveSealed(lengths.reduce((sum, length) => sum + length, 0));
      const units = this.#places(feed, firstIndex, lengths);
      const { bytes } = lease;
      for (const [at, record] of part.entries()) bytes.set(record, units[at]!.offsetBytes);
      const batch = await this.#pipeline.open({ keys: this.#keys, from: lease, units });
      for (const [at, unit] of batch.units.entries()) {
        if (unit.error !== undefined) throw unit.error;
        check?.(firstIndex + at, unit.bytes);
      }
      batch.release();
      lease.release();
    });
  }

  /** Seals all data and checks that it opens to the same bytes. Returns the records. */
  async roundTrip(feed: Feed): Promise<Uint8Array[]> {
    const records: Uint8Array[] = [];
    await this.seal(feed, (index, record) => {
      records[index] = record;
    });
    let opened = 0;
    await this.open(feed, records, (index, plain) => {
      const from = index * feed.unitBytes;
      if (Buffer.compare(plain, this.#data.subarray(from, from + feed.unitBytes)) !== 0) {
        throw new Error(`unit ${index} does not round-trip`);
      }
      opened += 1;
    });
    if (opened !== this.#data.byteLength / feed.unitBytes)
      throw new Error(`only ${opened} units were opened`);
    return records;
  }

  async stop(): Promise<void> {
    await this.#pipeline.close();
  }

  async #eachRequest(
    feed: Feed,
    request: (firstIndex: number, unitCount: number) => Promise<void>,
  ): Promise<void> {
    const unitCount = this.#data.byteLength / feed.unitBytes;
    let next = 0;
    const sendRequests = async (): Promise<void> => {
      while (next < unitCount) {
        const firstIndex = next;
        next += feed.unitsPerRequest;
        await request(firstIndex, Math.min(feed.unitsPerRequest, unitCount - firstIndex));
      }
    };
    await Promise.all(Array.from({ length: feed.requestsAtOnce }, sendRequests));
  }

  #places(feed: Feed, firstIndex: number, lengths: readonly number[]) {
    let offsetBytes = 0;
    return lengths.map((lengthBytes, at) => {
      const place = {
        objectId: this.#objectId,
        kind: 'unit' as const,
        index: firstIndex + at,
        unitSizeBytes: feed.unitBytes,
        offsetBytes,
        lengthBytes,
      };
      offsetBytes += lengthBytes;
      return place;
    });
  }
}
