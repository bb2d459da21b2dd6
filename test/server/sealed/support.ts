/** What the sealed layout works with, on a store in memory. */
import { randomBytes } from 'node:crypto';
import { createVolumeHeader } from '../../../src/keys/unlock.ts';
import { openPipeline, type Pipeline } from '../../../src/pipeline/pipeline.ts';
import type { PipelineSettings } from '../../../src/pipeline/settings.ts';
import { MemoryStore } from '../../../src/server/memory-store.ts';
import { ControlSealer } from '../../../src/server/sealed/control.ts';
import { OpenedPacks } from '../../../src/server/sealed/opened-packs.ts';
import type { Sealing } from '../../../src/server/sealed/sealing.ts';
import type { ObjectStore } from '../../../src/server/store.ts';
import { CODEC_DEFAULT } from '../../../src/unit/codec.ts';

export interface TestSealing {
  readonly sealing: Sealing;
  readonly pipeline: Pipeline;
  close(): Promise<void>;
}

export async function openSealing(
  store: ObjectStore = new MemoryStore(),
  settings: PipelineSettings = { workers: 0, memoryBytes: 16 * 1024 * 1024 },
): Promise<TestSealing> {
  const { keyring } = await createVolumeHeader({
    slots: [{ label: 'test', secret: { type: 'raw-key', key: randomBytes(32) } }],
  });
  const pipeline = await openPipeline(settings);
  const keys = pipeline.addKeyring(keyring);
  const suite = 'xaes-256-gcm';
  const codec = CODEC_DEFAULT;
  const control = await ControlSealer.create(keyring, { suite, codec });
  const packs = new OpenedPacks();
  const sealing = { store, pipeline, keys, control, suite, codec, padding: 'padme', packs } as const;
  return {
    sealing,
    pipeline,
    close: async () => {
      control.destroy();
      await pipeline.close();
    },
  };
}
