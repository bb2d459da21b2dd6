/** Measures how long a cache of a million units takes to open, and the memory of a process that only does that. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { viewOf } from '../../src/base/bytes.ts';
import type { CacheKey } from '../../src/cache/base/cache-keys.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import { openCache } from '../../src/cache/open.ts';
import { encodeHeader } from '../../src/unit/record-format.ts';
import { median } from '../contest.ts';
import type { Target } from '../target.ts';

const MIB = 1024 * 1024;
const UNIT_BYTES = 72;

export const OPEN_KEY: CacheKey = {
  slots: [{ label: 'bench', secret: { type: 'raw-key', key: new Uint8Array(32).fill(5) } }],
};

export function openSettings(count: number): CacheSettings {
  return { budgetBytes: 1024 * MIB, unitsMax: count, disk: false, maintenanceMs: 0 };
}

/** Fills a cache with so many units of the least length: only their number matters here. */
async function fill(folder: string, count: number): Promise<void> {
  const cache = await openCache(folder, openSettings(count), { key: OPEN_KEY });
  const volume = cache.volume(new Uint8Array(16).fill(1));
  const objectId = new Uint8Array(16).fill(2);
  for (let from = 0; from < count; from += 10_000) {
    const length = Math.min(10_000, count - from);
    const memory = new Uint8Array(length * UNIT_BYTES);
    const units = Array.from({ length }, (_, at) => {
      const bytes = memory.subarray(at * UNIT_BYTES, (at + 1) * UNIT_BYTES);
      const view = viewOf(bytes);
      encodeHeader(view, 'unit', {
        suite: 'xaes-256-gcm',
        flags: 0,
        epoch: 1,
        sealedLengthBytes: UNIT_BYTES,
      });
      view.setUint32(UNIT_BYTES - 16, from + at, true);
      return { objectId, index: from + at, bytes };
    });
    await volume.put(units);
  }
  await cache.close();
}

export const cacheOpen: Target = {
  id: 'cache-open',
  about: 'opening a cache of a million units: time from the call, and resident memory of the process',
  measure: async size => {
    const count = size === 'real' ? 1_000_000 : 2_000;
    const folder = mkdtempSync(`${tmpdir()}/netseal-bench-open-`);
    try {
      await fill(folder, count);
      const script = fileURLToPath(new URL('../cache-open-child.ts', import.meta.url));
      const reports = Array.from({ length: size === 'real' ? 5 : 1 }, () => {
        const line = execFileSync(process.execPath, [script, folder, String(count)], { encoding: 'utf8' });
        return JSON.parse(line) as { seconds: number; units: number; rssBytes: number; heapBytes: number };
      });
      const unitsMin = Math.min(...reports.map(({ units }) => units));
      if (unitsMin < 0.999 * count) throw new Error(`only ${unitsMin} of ${count} units are there`);
      const seconds = median(reports.map(report => report.seconds));
      const rssBytes = median(reports.map(report => report.rssBytes));
      return [
        {
          what: 'of 0.3 s',
          measured: seconds / 0.3,
          bound: 1,
          sense: '<=',
          unit: 'x',
          detail: `${(1000 * seconds).toFixed(0)} ms for ${unitsMin} units`,
        },
        {
          what: 'resident',
          measured: rssBytes / MIB,
          bound: 150,
          sense: '<=',
          unit: 'MiB',
          detail: 'from sources, which takes some 35 MiB more than the build',
        },
      ];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
