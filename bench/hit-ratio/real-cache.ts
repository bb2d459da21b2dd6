/** Plays a trace against a real cache: real zones in real files, every hit compared with the unit put. */
import { mkdtempSync, rmSync } from 'node:fs';
import { viewOf } from '../../src/base/bytes.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { CacheStatistics } from '../../src/cache/base/statistics.ts';
import type { CacheVolume } from '../../src/cache/cache-volume.ts';
import { openCache } from '../../src/cache/open.ts';
import { encodeHeader, HEADER_BYTES, TAG_BYTES } from '../../src/unit/record-format.ts';

/** The length of a sealed unit. */
export const UNIT_BYTES = 4096;
const VOLUME_ID = new Uint8Array(16).fill(1);
const OBJECT_ID = new Uint8Array(16).fill(2);
const KEY = new Uint8Array(32).fill(5);

export interface TraceRun {
  /** One entry for each access. */
  readonly hits: readonly boolean[];
  readonly statistics: CacheStatistics;
  readonly zoneBytes: number;
}

/**
 * Asks a new cache for unit after unit and puts those that it misses, one at a time, as the reader of a file
 * does. Throws when a hit differs from the unit that was put, or when a unit was dropped.
 *
 * Two runs of one trace differ a little: each cache has a key of its own, so fingerprints differ, and with
 * them the order in which ghosts are forgotten.
 */
export async function runTrace(
  parent: string,
  settings: CacheSettings,
  accesses: readonly number[],
): Promise<TraceRun> {
  const folder = mkdtempSync(`${parent}/netseal-hit-ratio-`);
  const slots = [{ label: 'hit ratio', secret: { type: 'raw-key', key: KEY } }] as const;
  try {
    const cache = await openCache(folder, { disk: false, maintenanceMs: 0, ...settings }, { key: { slots } });
    try {
      const hits = await accessAll(cache.volume(VOLUME_ID), accesses);
      const { statistics } = cache;
      if (Object.values(statistics.dropped).some(count => count > 0)) {
        throw new Error(`the cache dropped units: ${JSON.stringify(statistics.dropped)}`);
      }
      return { hits, statistics, zoneBytes: cache.settings.zoneBytes };
    } finally {
      await cache.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function accessAll(volume: CacheVolume, accesses: readonly number[]): Promise<boolean[]> {
  const unit = new TraceUnit();
  const into = new Uint8Array(UNIT_BYTES);
  const hits: boolean[] = [];
  for (const index of accesses) {
    unit.become(index);
    const [lengthBytes] = await volume.get([{ objectId: OBJECT_ID, index, expectedTag: unit.tag, into }]);
    const isHit = lengthBytes !== 0;
    hits.push(isHit);
    if (!isHit) await volume.put([{ objectId: OBJECT_ID, index, bytes: unit.bytes }]);
    else if (Buffer.compare(into, unit.bytes) !== 0) throw new Error(`unit ${index} is another`);
  }
  return hits;
}

/** One buffer that stands for every unit in turn. Number and tag change; a cache does not look at the rest. */
class TraceUnit {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(UNIT_BYTES).fill(0x5a);
  readonly tag: Uint8Array<ArrayBuffer> = this.bytes.subarray(UNIT_BYTES - TAG_BYTES);
  readonly #view: DataView = viewOf(this.bytes);

  constructor() {
    encodeHeader(this.#view, 'unit', {
      suite: 'xaes-256-gcm',
      flags: 0,
      epoch: 1,
      sealedLengthBytes: UNIT_BYTES,
    });
  }

  become(index: number): void {
    this.#view.setFloat64(HEADER_BYTES, index, true);
    const tagAt = UNIT_BYTES - TAG_BYTES;
    for (let word = 0; word < TAG_BYTES / 4; word += 1) {
      this.#view.setUint32(tagAt + 4 * word, Math.imul(index + word, 0x9e3779b1) ^ (index >>> word), true);
    }
  }
}
