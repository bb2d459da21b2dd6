/** Units and packs of the sealed layout in the local cache, where open files have theirs as well. */
import type { CacheVolume } from '../../cache/cache-volume.ts';
import type { ContentRecords, ContentVersion } from '../../server/sealed/kept-records.ts';
import type { CacheBypass } from './cache-bypass.ts';

export class CachedContent implements ContentRecords {
  readonly #cache: CacheVolume;
  readonly #bypass: CacheBypass;

  constructor(cache: CacheVolume, bypass: CacheBypass) {
    this.#cache = cache;
    this.#bypass = bypass;
  }

  async read(
    wanted: readonly (ContentVersion & { readonly into: Uint8Array })[],
  ): Promise<readonly boolean[]> {
    if (this.#bypass.isOn) return [];
    const units = wanted.map(({ objectId, index, tag, into }) => ({
      objectId,
      index,
      expectedTag: tag,
      into,
    }));
    const lengths = await this.#cache.get(units).catch(() => []);
    return wanted.map(({ into }, at) => lengths[at] === into.byteLength);
  }

  keep(records: readonly (ContentVersion & { readonly bytes: Uint8Array })[]): void {
    // A cache that its owner has closed keeps nothing, and no call fails because of that.
    if (this.#cache.isOpen)
      this.#cache.offer(records.map(({ objectId, index, bytes }) => ({ objectId, index, bytes })));
  }

  drop({ objectId, index, tag }: ContentVersion): void {
    if (this.#cache.isOpen) this.#cache.drop({ objectId, index, expectedTag: tag });
  }
}
