/**
 * Caches plain data, from servers whose objects are not sealed. It seals the data with the cache's own key on
 * the way in and opens it on the way out, so that plaintext is never on the disk.
 *
 *   put ──▶ plain slab ──seal──▶ sealed slab ──▶ cache     object id = HMAC(unit size, server, name, version)
 *   get ◀── copy ◀──open── sealed slab ◀── cache           cookie    = server / name, for pins by name
 *
 * The version of the server's object (its ETag, say) is part of the object id. So data of another version is
 * never found, whatever the cache remembers or has forgotten.
 */

import { createHmac } from 'node:crypto';
import {
  requireBytes,
  requireInstance,
  requireInteger,
  requireList,
  requireObject,
  requireOptions,
} from '../base/arguments.ts';
import { concatBytes, copyBytes, utf8, viewOf } from '../base/bytes.ts';
import type { CallOptions } from '../base/call-options.ts';
import { NetsealError, requireArgument } from '../base/errors.ts';
import { unitSizeToLog2 } from '../base/geometry.ts';
import { deriveCommittedKey } from '../keys/tree.ts';
import type { KeyHandle } from '../pipeline/key-table.ts';
import { Pipeline } from '../pipeline/pipeline.ts';
import { PADDING_DEFAULT } from '../unit/padding.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import { Cache } from './cache.ts';
import type { CacheVolume } from './cache-volume.ts';
import { COOKIE_BYTES_MAX } from './objects/cookies.ts';

const SLASH = utf8('/');

/** One version of an object of a server. */
export interface PlainObject {
  /** Any bytes that tell the server from others. */
  readonly server: Uint8Array;
  /** The object's name on that server, any bytes. */
  readonly name: Uint8Array;
  /** Any bytes, at least one, that change whenever the content does. */
  readonly version: Uint8Array;
  /**
   * The length of the content, if known. `cache.incomplete` needs it to say which units of a pinned object
   * are missing.
   */
  readonly lengthBytes?: number | undefined;
}

export interface PlainUnit {
  readonly index: number;
  /** As long as a unit, or shorter at the end of the object. */
  readonly bytes: Uint8Array;
}

export class PlainCache {
  readonly #pipeline: Pipeline;
  readonly #unitSizeBytes: number;
  readonly #unitSizeLog2: number;
  /** The greatest length of a sealed unit. */
  readonly #roomBytes: number;
  /** How many units are sealed or opened at once. Half of the pipeline's memory is left to others. */
  readonly #portion: number;
  readonly #handle: KeyHandle;
  readonly #idKey: Uint8Array<ArrayBuffer>;
  readonly #volume: CacheVolume;
  #isClosed = false;

  /**
   * @param cache stays the caller's, as `pipeline` does.
   * @param unitSizeBytes the length of the units that objects are cut into: a power of two from 4 KiB to 16
   *   MiB. What was cached with another unit size is not found.
   */
  constructor(cache: Cache, pipeline: Pipeline, unitSizeBytes: number) {
    requireInstance('cache', cache, Cache);
    requireInstance('pipeline', pipeline, Pipeline);
    this.#pipeline = pipeline;
    this.#unitSizeBytes = unitSizeBytes;
    this.#unitSizeLog2 = unitSizeToLog2(unitSizeBytes);
    this.#roomBytes = sealedBytesMax(unitSizeBytes, PADDING_DEFAULT);
    this.#portion = Math.max(1, Math.floor(pipeline.slabBytes / 2 / this.#roomBytes));
    const { keyring } = cache.keys;
    const [oldest = 1] = keyring.epochs;
    this.#idKey = deriveCommittedKey(keyring.epochKey(oldest), cache.id, 'cache/plain-ids').key;
    this.#handle = pipeline.addKeyring(keyring);
    this.#volume = cache.volume(cache.id);
  }

  /**
   * Takes the keys back from the pipeline. Close this and make another after `cache.changeKey`. A second call
   * does nothing.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pipeline.removeKeyring(this.#handle);
    this.#idKey.fill(0);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Makes this the present version of an object: pins by name hold for this version from now on. {@link put}
   * does it, too. The version's cookie is what a person would type: the server's name, a slash, the object's
   * name. A name that is too long for a cookie cannot be pinned.
   */
  name(object: PlainObject): void {
    checkObject(object);
    const key = cookieKey(object.server, object.name);
    if (key.byteLength > COOKIE_BYTES_MAX) return;
    const { lengthBytes } = object;
    const unitCount = lengthBytes === undefined ? undefined : Math.ceil(lengthBytes / this.#unitSizeBytes);
    this.#volume.setCookie(this.#objectId(object), { key, unitCount });
  }

  /**
   * Pins every object of a server whose name begins with `prefix`, now or later; see `CacheVolume.pinPrefix`.
   * Server, slash and name are compared as one string. So the prefix `a/` of server `s` also pins names of a
   * server `s/a`.
   */
  async pinPrefix(server: Uint8Array, prefix: Uint8Array): Promise<void> {
    requireBytes('server', server);
    requireBytes('prefix', prefix);
    return await this.#volume.pinPrefix(concatBytes(server, SLASH, prefix));
  }

  /** Removes a pinned prefix; see `CacheVolume.unpinPrefix`. */
  async unpinPrefix(server: Uint8Array, prefix: Uint8Array): Promise<boolean> {
    requireBytes('server', server);
    requireBytes('prefix', prefix);
    return await this.#volume.unpinPrefix(concatBytes(server, SLASH, prefix));
  }

  /**
   * Seals and stores units. Leaves out those that are in the cache already and those without bytes. Resolves
   * with how many were stored.
   *
   * - Works in portions, so that there may be more units than the pipeline has memory for.
   * - The units' bytes must not change until the call has settled: a portion is copied when its turn comes.
   * - Rejects as `pipeline.seal` does; some units may be stored then.
   */
  async put(object: PlainObject, given: readonly PlainUnit[], options: CallOptions = {}): Promise<number> {
    const objectId = this.#objectId(object);
    this.#checkUnits(given);
    requireOptions('options', options);
    this.name(object);
    const wanted = new Map<number, PlainUnit>();
    for (const unit of given) {
      const isNew = unit.bytes.byteLength > 0 && !wanted.has(unit.index);
      if (isNew && !this.#volume.has({ objectId, index: unit.index })) wanted.set(unit.index, unit);
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
        copyBytes(bytes, lease.bytes, offsetBytes);
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
   * Returns the plain bytes of units, which the caller owns; undefined for a unit that is not there or does
   * not open. Works in portions. Rejects as `pipeline.open` does for failures of a whole request.
   */
  async get(
    object: PlainObject,
    indexes: readonly number[],
    options: CallOptions = {},
  ): Promise<(Uint8Array | undefined)[]> {
    const objectId = this.#objectId(object);
    requireList('indexes', indexes);
    for (const index of indexes) requireInteger('index', index);
    requireOptions('options', options);
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

  /** Invalidates this version of an object. Other versions are other objects to the cache. */
  invalidate(object: PlainObject): void {
    this.#volume.invalidate(this.#objectId(object));
  }

  #place(
    objectId: Uint8Array,
    index: number,
  ): { kind: 'unit'; objectId: Uint8Array; index: number; unitSizeBytes: number } {
    return { kind: 'unit', objectId, index, unitSizeBytes: this.#unitSizeBytes };
  }

  #checkUnits(units: readonly PlainUnit[]): void {
    requireList('units', units);
    for (const unit of units) {
      requireObject('a unit', unit);
      requireInteger('unit index', unit.index);
      requireBytes('bytes', unit.bytes);
      const { byteLength } = unit.bytes;
      requireInteger(`unit ${unit.index}: the length`, byteLength, 0, this.#unitSizeBytes);
    }
  }

  /** Checks an object, and returns the id that its units have in the cache. EINVAL, ECLOSED. */
  #objectId(object: PlainObject): Uint8Array<ArrayBuffer> {
    checkObject(object);
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the plain cache is closed');
    const { server, name, version } = object;
    requireArgument(version.byteLength > 0, 'data without a version cannot be cached');
    const hmac = createHmac('sha256', this.#idKey).update(Uint8Array.of(this.#unitSizeLog2));
    for (const part of [server, name, version]) {
      hmac.update(`${part.byteLength}:`);
      hmac.update(part);
    }
    return new Uint8Array(hmac.digest().subarray(0, 16));
  }
}

function checkObject(object: PlainObject): void {
  requireObject('object', object);
  const { server, name, version, lengthBytes } = object;
  requireBytes('object.server', server);
  requireBytes('object.name', name);
  requireBytes('object.version', version);
  if (lengthBytes !== undefined) requireInteger('object.lengthBytes', lengthBytes);
}

/**
 * Returns the key of an object's cookie: server, slash, name, a zero byte, and the length of the server's
 * name as u32. That length tells server `s/a` with name `b` from server `s` with name `a/b`. It comes last,
 * out of the way of prefixes.
 */
function cookieKey(server: Uint8Array, name: Uint8Array): Uint8Array {
  const end = new Uint8Array(5);
  viewOf(end).setUint32(1, server.byteLength, true);
  return concatBytes(server, SLASH, name, end);
}
