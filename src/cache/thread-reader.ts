/**
 * Reads hits on another thread, without the thread that owns the cache. It needs the shared arrays and the prefix of an
 * object. For each unit it takes the steps that `index-table.ts` and `zones.ts` describe:
 *
 * 1. look the unit up, and add itself to the zone's readers;
 * 2. check that the zone is still the one of the entry;
 * 3. read, and check length and tag;
 * 4. take itself off the readers.
 *
 * What it cannot read (the zone's file is not open, or the unit is dirty and outside the table) is a miss, and the owner
 * can be asked. After an invalidation the owner hands out another prefix.
 */
import { readSync } from 'node:fs';
import { endsWithTag, isWholeRecord } from './base/record-check.ts';
import { fingerprintOf, newFingerprint, type Prefix } from './index/fingerprints.ts';
import { countHit, type Fingerprint, findEntry, type IndexTable, readEntry } from './index/index-table.ts';
import { SLOT_WORDS } from './zones/zones.ts';

/** From `cache.share()`; goes to the thread as it is. */
export interface SharedCache extends IndexTable {
  readonly slots: Int32Array<SharedArrayBuffer>;
}

export class ThreadReader {
  readonly #shared: SharedCache;
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(shared: SharedCache) {
    this.#shared = shared;
  }

  /** Reads a unit into `into`; returns its length, 0 for a miss. Throws system errors. @param expectedTag 16 bytes. */
  get(prefix: Prefix, index: number, expectedTag: Uint8Array, into: Uint8Array): number {
    const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
    const at = findEntry(this.#shared, fingerprint);
    const entry = at < 0 ? undefined : readEntry(this.#shared, at, fingerprint);
    if (entry === undefined || entry.lengthBytes > into.byteLength) return 0;
    const { slots } = this.#shared;
    const slot = (entry.zoneId & 0xffff) * SLOT_WORDS;
    Atomics.add(slots, slot + 2, 1);
    try {
      if (Atomics.load(slots, slot) !== (entry.zoneId | 0)) return 0;
      const descriptor = Atomics.load(slots, slot + 1);
      if (descriptor < 0) return 0;
      const bytes = into.subarray(0, entry.lengthBytes);
      if (readSync(descriptor, bytes, 0, bytes.byteLength, entry.offsetBytes) !== bytes.byteLength) return 0;
      if (!isWholeRecord(bytes) || !endsWithTag(bytes, expectedTag)) return 0;
      countHit(this.#shared, at);
      return bytes.byteLength;
    } finally {
      Atomics.sub(slots, slot + 2, 1);
    }
  }
}
