/**
 * Plain data from plain servers: sealed on the way in under the cache's own key, opened on the way out. The version of the server's
 * object (its ETag, say) is part of the object id, so data of another version is not found, whatever the cache remembers or has
 * forgotten.
 *
 * Plaintext is in the caller's memory and in the pipeline's, never on the disk.
 */
import { createHmac } from 'node:crypto';
import { requireArgument } from '../base/errors.ts';
import { BLOCK_BYTES_DEFAULT, unitSizeToLog2 } from '../base/geometry.ts';
import { deriveCommittedKey } from '../keys/tree.ts';
import type { KeyHandle } from '../pipeline/key-table.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { Cache } from './cache.ts';
import type { CacheVolume, CallOptions } from './cache-volume.ts';

/** Which version of which object of which server. */
export interface PlainObject {
  /** Tells servers apart; any bytes. */
  readonly server: Uint8Array;
  /** The object's name there; any bytes. */
  readonly name: Uint8Array;
  /** Changes whenever the content does; any bytes. */
  readonly version: Uint8Array;
}

export interface PlainUnit {
  readonly index: number;
  /** At most the unit size; less at the end of an object. */
  readonly bytes: Uint8Array;
}

export class PlainCache {
  readonly #pipeline: Pipeline;
  readonly #unitSizeBytes: number;
  readonly #unitSizeLog2: number;
  readonly #handle: KeyHandle;
  readonly #idKey: Uint8Array<ArrayBuffer>;
  readonly #volume: CacheVolume;

  /**
   * @param unitSizeBytes what objects are cut into; a power of two from 4 KiB to 16 MiB. Objects that were cached under another
   *   unit size are not found.
   */
  constructor(cache: Cache, pipeline: Pipeline, unitSizeBytes: number) {
    this.#pipeline = pipeline;
    this.#unitSizeBytes = unitSizeBytes;
    this.#unitSizeLog2 = unitSizeToLog2(unitSizeBytes);
    const { keyring } = cache.keys;
    const [oldest = 1] = keyring.epochs;
    this.#idKey = deriveCommittedKey(keyring.epochKey(oldest), cache.id, 'cache/plain-ids').key;
    this.#handle = pipeline.addKeyring(keyring);
    this.#volume = cache.volume(cache.id);
  }

  /** Takes the key back from the pipeline. After `cache.changeKey`, close this and make another. */
  close(): void {
    this.#pipeline.removeKeyring(this.#handle);
    this.#idKey.fill(0);
  }

  /**
   * Seals and stores the units that are not there yet. Resolves with how many it stored; their bytes are copied first. Rejects as
   * `pipeline.seal` does.
   */
  async put(object: PlainObject, given: readonly PlainUnit[], options: CallOptions = {}): Promise<number> {
    const objectId = this.#objectId(object);
    const units = given.filter(({ index }) => !this.#volume.has({ objectId, index }));
    const lengthBytes = units.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    if (lengthBytes === 0) return 0;
    const lease = await this.#pipeline.reservePlain(lengthBytes, options);
    try {
      let offsetBytes = 0;
      const toSeal = units.map(({ index, bytes }) => {
        lease.bytes.set(bytes, offsetBytes);
        const unit = { ...this.#place(objectId, index), offsetBytes, lengthBytes: bytes.byteLength };
        offsetBytes += bytes.byteLength;
        return unit;
      });
      const run = await this.#pipeline.seal({ keys: this.#handle, from: lease, units: toSeal }, options);
      try {
        const sealed = run.units.map(({ bytes }, at) => ({ objectId, index: toSeal[at]?.index ?? 0, bytes }));
        return await this.#volume.put(sealed);
      } finally {
        run.release();
      }
    } finally {
      lease.release();
    }
  }

  /**
   * The plain bytes of units, the caller's own; undefined for what is not there or does not open. Rejects as `pipeline.open` does,
   * for what concerns the whole request.
   */
  async get(
    object: PlainObject,
    indexes: readonly number[],
    options: CallOptions = {},
  ): Promise<(Uint8Array | undefined)[]> {
    if (indexes.length === 0) return [];
    const objectId = this.#objectId(object);
    const roomBytes = sealedBytesMax(this.#unitSizeBytes, Math.min(BLOCK_BYTES_DEFAULT, this.#unitSizeBytes));
    const lease = await this.#pipeline.reserveSealed(roomBytes * indexes.length, options);
    try {
      const requests = indexes.map((index, at) => ({
        objectId,
        index,
        into: lease.bytes.subarray(at * roomBytes, (at + 1) * roomBytes),
      }));
      const lengths = await this.#volume.getAny(requests, options);
      const there = indexes.flatMap((index, at) => {
        const lengthBytes = lengths[at] ?? 0;
        return lengthBytes === 0 ? [] : [{ at, index, offsetBytes: at * roomBytes, lengthBytes }];
      });
      const results = new Array<Uint8Array | undefined>(indexes.length).fill(undefined);
      if (there.length === 0) return results;
      const units = there.map(({ index, offsetBytes, lengthBytes }) => ({
        ...this.#place(objectId, index),
        offsetBytes,
        lengthBytes,
      }));
      const run = await this.#pipeline.open({ keys: this.#handle, from: lease, units }, options);
      try {
        for (const [position, opened] of run.units.entries()) {
          const at = there[position]?.at;
          if (at !== undefined && opened.error === undefined) results[at] = new Uint8Array(opened.bytes);
        }
        return results;
      } finally {
        run.release();
      }
    } finally {
      lease.release();
    }
  }

  /** Drops this version of an object; other versions are not found anyway. */
  invalidate(object: PlainObject): void {
    this.#volume.invalidate(this.#objectId(object));
  }

  #place(
    objectId: Uint8Array,
    index: number,
  ): { kind: 'unit'; objectId: Uint8Array; index: number; unitSizeBytes: number } {
    return { kind: 'unit', objectId, index, unitSizeBytes: this.#unitSizeBytes };
  }

  #objectId({ server, name, version }: PlainObject): Uint8Array<ArrayBuffer> {
    requireArgument(version.byteLength > 0, 'data without a version cannot be cached');
    const hmac = createHmac('sha256', this.#idKey).update(Uint8Array.of(this.#unitSizeLog2));
    for (const part of [server, name, version]) {
      hmac.update(`${part.byteLength}:`);
      hmac.update(part);
    }
    return new Uint8Array(hmac.digest().subarray(0, 16));
  }
}
