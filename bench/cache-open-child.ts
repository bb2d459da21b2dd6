/** Opens a cache in a process of its own. Prints how long that took, and the memory of the process. */
import { openCache } from '../src/cache/open.ts';
import { OPEN_KEY, openSettings } from './targets/cache-open.ts';

const [folder = '', count = '0'] = process.argv.slice(2);
const startedMs = performance.now();
const cache = await openCache(folder, openSettings(Number(count)), { key: OPEN_KEY });
const seconds = (performance.now() - startedMs) / 1000;
const { units } = cache.statistics;
const { rss, heapUsed } = process.memoryUsage();
console.log(JSON.stringify({ seconds, units, rssBytes: rss, heapBytes: heapUsed }));
await cache.close();
