import { describe, expect, it } from 'vitest';
import { newFolder, openTestCache } from './support.ts';
import { cacheHitRatio, lruHitRatio, TRACE_SETTINGS, traces } from './traces.ts';

/** At least so much more than LRU, in parts of all accesses. */
const MARGINS = new Map([
  ['Zipf mix', 0.02],
  ['scan over a hot set', 0.05],
  ['loop larger than the cache', 0.3],
]);

describe('hit ratio against LRU', () => {
  it.each(traces(24_000))('$name', async trace => {
    const cache = await openTestCache(newFolder(), TRACE_SETTINGS);
    const ratio = await cacheHitRatio(cache, trace);
    const lru = lruHitRatio(trace);
    if (process.env.NETSEAL_VERBOSE !== undefined) console.log(trace.name, { ratio, lru });
    expect(ratio).toBeGreaterThan(lru + MARGINS.get(trace.name)!);
  });
});
