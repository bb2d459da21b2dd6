/**
 * Files against a plain model: any calls at once, on several files and handles, whose completions a seed orders,
 * with faults, aborts and little memory. `NETSEAL_SEED` replays a failure.
 */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { type ModelCounts, ModelRun, type ModelSetting } from './model-run.ts';
import { NetfsWorld, type WorldSetting } from './netfs-world.ts';

interface Setting extends ModelSetting, WorldSetting {}

const CALM: Setting = {
  files: 1,
  rounds: 100,
  sizeBytes: 60_000,
  writeBytes: 20_000,
  width: 1,
  canFail: false,
  abortShare: 0,
  faultShare: 0,
};
const FAULTS: Partial<Setting> = { canFail: true, faultShare: 0.05 };

const SETTINGS: readonly (readonly [string, Setting])[] = [
  ['one call at a time', CALM],
  ['three files, many calls at once', { ...CALM, files: 3, width: 3, rounds: 40 }],
  ['calls that are aborted', { ...CALM, files: 2, width: 3, abortShare: 0.3 }],
  ['one call at a time, faults', { ...CALM, ...FAULTS }],
  ['three files, many calls at once, faults', { ...CALM, files: 3, width: 3, rounds: 40, ...FAULTS }],
  ['little memory', { ...CALM, files: 3, width: 3, rounds: 40, pageBytes: 96 * 1024, segmentBytes: 1 << 24 }],
  [
    'little memory, faults, aborts',
    { ...CALM, files: 3, width: 3, rounds: 40, pageBytes: 96 * 1024, ...FAULTS, abortShare: 0.1 },
  ],
  [
    'little shared memory',
    {
      ...CALM,
      files: 3,
      width: 3,
      rounds: 25,
      sizeBytes: 150_000,
      writeBytes: 60_000,
      pageBytes: 512 * 1024,

      ...FAULTS,
      abortShare: 0.05,
    },
  ],
  [
    'a cache that fails',
    { ...CALM, files: 3, width: 3, rounds: 40, ...FAULTS, abortShare: 0.1, cacheFaultShare: 0.1 },
  ],
  ['everything at once', { ...CALM, files: 3, width: 3, rounds: 40, ...FAULTS, abortShare: 0.2 }],
];

async function play(seed: number, setting: Setting): Promise<ModelCounts & { faults: number }> {
  const world = await NetfsWorld.create(seed, seededChance(seed + 1), setting);
  const counts = await new ModelRun(world, setting, seededChance(seed)).run();
  return { ...counts, faults: world.faultCount };
}

describe('files against a model', () => {
  const settings = IS_LONG
    ? [...SETTINGS, ...SETTINGS.map(([name, each]) => [`${name}, threads`, { ...each, workers: 2 }] as const)]
    : SETTINGS;
  for (const [name, setting] of settings) {
    it(name, async () => {
      const sum = { syncs: 0, reads: 0, writes: 0, unsyncedLooks: 0, faults: 0, aborted: 0 };
      for (let run = 0; run < soakSize(1, 30); run += 1) {
        const counts = await play(SEED + run, setting);
        for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += counts[key];
      }
      // What was to happen did.
      const { syncs, reads, writes, unsyncedLooks } = sum;
      expect(Math.min(syncs, reads, writes, unsyncedLooks), `seed ${SEED}`).toBeGreaterThan(0);
      // In one short run there may be none.
      if (IS_LONG || setting.faultShare === 0) {
        expect(sum.faults > 0, `seed ${SEED}`).toBe(setting.faultShare > 0);
      }
      if (setting.abortShare === 0) expect(sum.aborted).toBe(0);
    });
  }
});
