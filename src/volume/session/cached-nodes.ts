/** Nodes of the sealed layout in the local cache, beside the units, under kinds of their own. */
import { ID_BYTES, type Id, idBytes } from '../../base/ids.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';
import type { NodeAt, NodeRecords, NodeVersion } from '../../server/sealed/kept-records.ts';
import type { CacheBypass } from './cache-bypass.ts';

export class CachedNodes implements NodeRecords {
  readonly #cache: CacheVolume;
  readonly #bypass: CacheBypass;

  constructor(cache: CacheVolume, bypass: CacheBypass) {
    this.#cache = cache;
    this.#bypass = bypass;
  }

  async read(
    wanted: readonly (NodeVersion & { readonly lengthBytes: number })[],
  ): Promise<(Uint8Array | undefined)[]> {
    if (this.#bypass.isOn) return [];
    const idOf = sharedIds();
    const units = wanted.map(({ at, tag, lengthBytes }) => {
      return { ...placeOf(at, idOf), expectedTag: tag, into: new Uint8Array(lengthBytes) };
    });
    const lengths = await this.#cache.get(units).catch(() => []);
    return units.map(({ into }, order) => (lengths[order] === into.byteLength ? into : undefined));
  }

  keep(records: readonly { readonly at: NodeAt; readonly bytes: Uint8Array }[]): void {
    const idOf = sharedIds();
    const units = records.map(({ at, bytes }) => ({ ...placeOf(at, idOf), bytes }));
    this.#unlessClosed(() => this.#cache.offer(units));
  }

  drop({ at, tag }: NodeVersion): void {
    this.#unlessClosed(() => this.#cache.drop({ ...placeOf(at, idBytes), expectedTag: tag }));
  }

  /**
   * Makes a call, unless the cache's owner has closed it: a closed cache keeps nothing, and no call fails.
   */
  #unlessClosed(call: () => void): void {
    if (this.#cache.isOpen) call();
  }
}

function placeOf(
  { kind, objectId, index }: NodeAt,
  idOf: (id: Id) => Uint8Array,
): { objectId: Uint8Array; kind: NodeAt['kind']; index: number } {
  return { objectId: idOf(objectId), kind, index };
}

/**
 * Returns a function that converts ids, and gives one array to neighbours with the same id: that is cheaper
 * for the cache.
 */
function sharedIds(): (id: Id) => Uint8Array {
  let last: Id | undefined;
  let bytes: Uint8Array = new Uint8Array(ID_BYTES);
  return id => {
    if (id !== last) bytes = idBytes(id);
    last = id;
    return bytes;
  };
}
