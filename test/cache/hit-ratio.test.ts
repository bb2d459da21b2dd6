import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { chartOf } from '../../bench/hit-ratio/chart.ts';
import {
  leadOf,
  measureCache,
  measurePolicies,
  type Result,
  reductionOf,
} from '../../bench/hit-ratio/measure.ts';
import { tracesOf } from '../../bench/hit-ratio/traces.ts';
import { IS_LONG } from '../support/soak.ts';

/** The bench's bound is for 128 zones of more units; these are 64 of fewer, so that it does not take long. */
const WORKING_SET = 3000;
const ZONES = 64;
const TOLERANCE = 0.04;

const results: Result[] = [];

describe('hit ratio of the real cache', () => {
  it.runIf(IS_LONG).each(tracesOf(WORKING_SET))(
    '$name: saves as many of the misses of LRU as S3-FIFO of as many units',
    async trace => {
      const policies = measurePolicies(trace, 70);
      const cache = await measureCache(tmpdir(), trace, 70, ZONES);
      results.push({ trace: trace.name, sizePercent: 70, unitCount: 0, policies, cache });
      if (process.env.NETSEAL_VERBOSE !== undefined) console.log(trace.name, policies, cache);
      expect(leadOf(cache, policies)).toBeGreaterThan(-TOLERANCE);
      expect(reductionOf(cache.missRatio, policies)).toBeGreaterThan(0.02);
    },
  );

  it('is drawn as a chart', () => {
    const svg = chartOf(results);
    for (const { trace } of results) expect(svg).toContain(trace);
    expect(svg).toContain('netseal');
    expect(svg).toMatch(/^<svg[\s\S]*<\/svg>\n$/);
    expect(svg).not.toMatch(/NaN|undefined|<style/);
  });
});
