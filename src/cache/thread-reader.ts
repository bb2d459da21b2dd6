/**
 * Reads hits on another thread, without the thread that owns the cache. It needs only the shared arrays and
 * an object's prefix: `index-table.ts` says how an entry is read while the owner may change it,
 * `zones/slots.ts` how a zone's file is.
 *
 * A unit that it cannot read is a miss, and the owner can be asked for it: the zone's file may not be open,
 * or the unit may be dirty and outside the table. After an invalidation the owner hands out another prefix.
 */

import { readSync } from 'node:fs';
import { requireBytes, requireInteger, requireObject } from '../base/arguments.ts';
import { TAG_BYTES } from '../unit/record-format.ts';
import { endsWithTag, isWholeRecord } from './base/record-check.ts';
import { fingerprintOf, newFingerprint, type Prefix } from './index/fingerprints.ts';
import { countHit, type Fingerprint, findEntry, type IndexTable, readEntry } from './index/index-table.ts';
import { addReader, descriptorOf, removeReader, type Slots } from './zones/slots.ts';

/** What `cache.share()` returns. Post it to the thread as it is. */
export interface SharedCache extends IndexTable {
  readonly slots: Slots;
}

export class ThreadReader {
  readonly #shared: SharedCache;
  readonly #fingerprint: Fingerprint = newFingerprint();

  constructor(shared: SharedCache) {
    requireObject('shared', shared);
    for (const name of ['words', 'slots'] as const) requireObject(`shared.${name}`, shared[name]);
    requireInteger('shared.bucketCount', shared.bucketCount, 1);
    this.#shared = shared;
  }

  /**
   * Reads a unit into `into`. Returns its length; 0 for a miss. System errors as they come.
   *
   * @param expectedTag 16 bytes.
   */
  get(prefix: Prefix, index: number, expectedTag: Uint8Array, into: Uint8Array): number {
    requireObject('prefix', prefix);
    requireInteger('index', index);
    requireBytes('expectedTag', expectedTag, TAG_BYTES);
    requireBytes('into', into);
    const fingerprint = fingerprintOf(prefix, index, this.#fingerprint);
    const at = findEntry(this.#shared, fingerprint);
    const entry = at < 0 ? undefined : readEntry(this.#shared, at, fingerprint);
    if (entry === undefined || entry.lengthBytes > into.byteLength) return 0;
    const { slots } = this.#shared;
    const isThere = addReader(slots, entry.zoneId);
    try {
      if (!isThere) return 0;
      const descriptor = descriptorOf(slots, entry.zoneId);
      if (descriptor < 0) return 0;
      const bytes = into.subarray(0, entry.lengthBytes);
      if (readSync(descriptor, bytes, 0, bytes.byteLength, entry.offsetBytes) !== bytes.byteLength) return 0;
      if (!isWholeRecord(bytes) || !endsWithTag(bytes, expectedTag)) return 0;
      countHit(this.#shared, at);
      return bytes.byteLength;
    } finally {
      removeReader(slots, entry.zoneId);
    }
  }
}
