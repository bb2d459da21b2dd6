/**
 * Hits read by another thread, without the one that owns the cache. It has the shared arrays and an object's prefix, and works as
 * `index-table.ts` and `zones.ts` say: look up, add itself to the zone's readers, check that the zone is still the one, read,
 * check length and tag, take itself off. What it cannot do (the zone's file is not open, the unit is dirty and outside the table)
 * is a miss, to be asked of the owner. After an invalidation the owner hands out another prefix.
 */
import { readSync } from 'node:fs';
import { u32At } from '../base/bytes.ts';
import { RECORD_MAGIC, TAG_BYTES } from '../unit/record-format.ts';
import { fingerprintOf, newFingerprint, type Prefix } from './index/fingerprints.ts';
import { countHit, type Fingerprint, findEntry, type IndexTable, readEntry } from './index/index-table.ts';
import { SLOT_WORDS } from './zones/zones.ts';

/** From `cache.shared`; goes to the thread as it is. */
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
      if (!isExpected(bytes, expectedTag)) return 0;
      countHit(this.#shared, at);
      return bytes.byteLength;
    } finally {
      Atomics.sub(slots, slot + 2, 1);
    }
  }
}

function isExpected(bytes: Uint8Array, expectedTag: Uint8Array): boolean {
  if (bytes.byteLength < 2 * TAG_BYTES) return false;
  if (u32At(bytes, 0) !== RECORD_MAGIC || u32At(bytes, 12) !== bytes.byteLength) return false;
  return Buffer.compare(bytes.subarray(bytes.byteLength - TAG_BYTES), expectedTag) === 0;
}
