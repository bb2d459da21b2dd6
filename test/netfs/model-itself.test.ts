/** The model finds faults: it is run on a netfs that is right, and on ones that are wrong in one way each. */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { MemoryWorld, type PlantedFault } from './memory-world.ts';
import { type ModelCounts, ModelRun, type ModelSetting } from './model-run.ts';

const SETTING: ModelSetting = {
  files: 2,
  rounds: 60,
  sizeBytes: 40_000,
  writeBytes: 9000,
  width: 3,
  canFail: false,
  abortShare: 0,
};

function play(seed: number, fault: PlantedFault, setting: ModelSetting): Promise<ModelCounts> {
  return new ModelRun(new MemoryWorld(seed, fault), setting, seededChance(seed)).run();
}

describe('the model of files', () => {
  it('agrees with a netfs that is right', async () => {
    for (let seed = 1; seed <= 3; seed += 1) {
      const counts = await play(seed, 'none', SETTING);
      expect(Math.min(counts.reads, counts.writes, counts.syncs, counts.unsyncedLooks)).toBeGreaterThan(0);
    }
  });

  const faults: readonly PlantedFault[] = ['swallows', 'revives', 'lies', 'reorders', 'overlaps', 'stale'];
  for (const fault of faults) {
    it(`finds one that ${fault}`, async () => {
      const found: string[] = [];
      for (let seed = 1; seed <= 40 && found.length === 0; seed += 1) {
        await play(seed, fault, SETTING).catch((error: Error) => found.push(error.message));
      }
      expect(found[0]).toMatch(/^seed \d+, round \d+: /);
    });
  }
});
