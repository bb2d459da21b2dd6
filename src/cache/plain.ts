/**
 * Plain data from plain servers: sealed on the way in under the cache's own key, opened on the way out. The version of the server's
 * object (its ETag, say) is part of the object id, so data of another version is not found, whatever the cache remembers or has
 * forgotten.
 *
 * Plaintext is in the caller's memory and in the pipeline's, never on the disk.
 */
import { createHmac } from 'node:crypto';
import { concatBytes, utf8, viewOf } from '../base/bytes.ts';
import type { CallOptions } from '../base/call-options.ts';
import { requireArgument } from '../base/errors.ts';
import { BLOCK_BYTES_DEFAULT, unitSizeToLog2 } from '../base/geometry.ts';
import { deriveCommittedKey } from '../keys/tree.ts';
import type { KeyHandle } from '../pipeline/key-table.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { Cache } from './cache.ts';
import type { CacheVolume } from './cache-volume.ts';
import { COOKIE_BYTES_MAX } from './objects/cookies.ts';

const SLASH = utf8('/');

/** Which version of which object of which server. */
export interface PlainObject {
  /** Tells servers apart; any bytes. */
  readonly server: Uint8Array;
  /** The object's name there; any bytes. */
  readonly name: Uint8Array;
  /** Changes whenever the content does; any bytes. */
  readonly version: Uint8Array;
  /** Of its content, if it is known: then `cache.incomplete` can tell what of it is missing while it is pinned. */
  readonly lengthBytes?: number | undefined;
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
  /** What a sealed unit may take. */
  readonly #roomBytes: number;
  /** Units at once: half of the pipeline's memory is left to others. */
  readonly #portion: number;
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
    this.#roomBytes = sealedBytesMax(unitSizeBytes, Math.min(BLOCK_BYTES_DEFAULT, unitSizeBytes));
    this.#portion = Math.max(1, Math.floor(pipeline.slabBytes / 2 / this.#roomBytes));
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
   * Says that this is the present version of an object, as {@link put} does: what is pinned by the name is this version from now on.
   * Its cookie is what a person would type, the server's name, a slash and the object's; too long names have none.
   */
  name(object: PlainObject): void {
    const key = cookieKey(object.server, object.name);
    if (key.byteLength > COOKIE_BYTES_MAX) return;
    const { lengthBytes } = object;
    const unitCount = lengthBytes === undefined ? undefined : Math.ceil(lengthBytes / this.#unitSizeBytes);
    this.#volume.setCookie(this.#objectId(object), { key, unitCount });
  }

  /**
   * Keeps every object of a server whose name begins with `prefix`, now or later; as `CacheVolume.pinPrefix`. It is server, slash and
   * name that are compared: a server named like this one with a slash and the prefix's beginning is meant as well.
   */
  pinPrefix(server: Uint8Array, prefix: Uint8Array): Promise<void> {
    return this.#volume.pinPrefix(concatBytes(server, SLASH, prefix));
  }

  /** As `CacheVolume.unpinPrefix`. */
  unpinPrefix(server: Uint8Array, prefix: Uint8Array): Promise<boolean> {
    return this.#volume.unpinPrefix(concatBytes(server, SLASH, prefix));
  }

  /**
   * Seals and stores the units that are not there yet; those without bytes are left out. Resolves with how many it stored; their bytes
   * are copied before they are sealed. Works in portions, so there may be more of them than the pipeline has memory for. Rejects as
   * `pipeline.seal` does, when some may be stored.
   */
  async put(object: PlainObject, given: readonly PlainUnit[], options: CallOptions = {}): Promise<number> {
    const objectId = this.#objectId(object);
    this.name(object);
    const wanted = new Map<number, PlainUnit>();
    for (const unit of given) {
      const isNews = unit.bytes.byteLength > 0 && !wanted.has(unit.index);
      if (isNews && !this.#volume.has({ objectId, index: unit.index })) wanted.set(unit.index, unit);
    }
    const units = [...wanted.values()];
    let storedCount = 0;
    for (let from = 0; from < units.length; from += this.#portion) {
      storedCount += await this.#putSome(objectId, units.slice(from, from + this.#portion), options);
    }
    return storedCount;
  }

  async #putSome(objectId: Uint8Array, units: readonly PlainUnit[], options: CallOptions): Promise<number> {
    const lengthBytes = units.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    const lease = await this.#pipeline.reservePlain(lengthBytes, options);
    try {
      let offsetBytes = 0;
      const toSeal = units.map(({ index, bytes }) => {
        lease.bytes.set(bytes, offsetBytes);
        const unit = { ...this.#place(objectId, index), offsetBytes, lengthBytes: bytes.byteLength };
        offsetBytes += bytes.byteLength;
        return unit;
      });
      const batch = await this.#pipeline.seal({ keys: this.#handle, from: lease, units: toSeal }, options);
      try {
        const sealed = batch.units.map(({ bytes }, at) => ({
          objectId,
          index: toSeal[at]?.index ?? 0,
          bytes,
        }));
        return await this.#volume.put(sealed, options);
      } finally {
        batch.release();
      }
    } finally {
      lease.release();
    }
  }

  /**
   * The plain bytes of units, the caller's own; undefined for what is not there or does not open. In portions, too. Rejects as
   * `pipeline.open` does, for what concerns the whole request.
   */
  async get(
    object: PlainObject,
    indexes: readonly number[],
    options: CallOptions = {},
  ): Promise<(Uint8Array | undefined)[]> {
    const objectId = this.#objectId(object);
    const results: (Uint8Array | undefined)[] = [];
    for (let from = 0; from < indexes.length; from += this.#portion) {
      results.push(...(await this.#getSome(objectId, indexes.slice(from, from + this.#portion), options)));
    }
    return results;
  }

  async #getSome(
    objectId: Uint8Array,
    indexes: readonly number[],
    options: CallOptions,
  ): Promise<(Uint8Array | undefined)[]> {
    const roomBytes = this.#roomBytes;
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
      const batch = await this.#pipeline.open({ keys: this.#handle, from: lease, units }, options);
      try {
        for (const [position, opened] of batch.units.entries()) {
          const at = there[position]?.at;
          if (at !== undefined && opened.error === undefined) results[at] = new Uint8Array(opened.bytes);
        }
        return results;
      } finally {
        batch.release();
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

/** Ends in where the server's name ends, so that no two objects share it: unseen by prefixes, as it comes last. */
function cookieKey(server: Uint8Array, name: Uint8Array): Uint8Array {
  const end = new Uint8Array(5);
  viewOf(end).setUint32(1, server.byteLength, true);
  return concatBytes(server, SLASH, name, end);
}
