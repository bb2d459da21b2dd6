/** Volumes whose clock the test sets, and what lies in their store. */

import { listAll } from '../../src/server/list-all.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { collectGarbage, type GcOptions, type GcReport } from '../../src/volume/care/gc.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import type { VolumeSettings } from '../../src/volume/session/volume-settings.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { type Client, type ClientOptions, TestVolume } from './support.ts';

export const HOUR_MS = 3_600_000;
export const GRACE_MS: number = 24 * HOUR_MS;

export class TimedVolume {
  readonly test: TestVolume;
  readonly clock: { ms: number; now(): number };

  private constructor(test: TestVolume, clock: { ms: number; now(): number }) {
    this.test = test;
    this.clock = clock;
  }

  static async create(settings: Partial<VolumeSettings> = {}): Promise<TimedVolume> {
    const clock = {
      ms: 1_000_000_000_000,
      now(): number {
        return this.ms;
      },
    };
    return new TimedVolume(await TestVolume.create(settings, new MemoryStore({}, clock)), clock);
  }

  get store(): ObjectStore {
    return this.test.store;
  }

  client(options: ClientOptions = {}): Promise<Client> {
    return this.test.client({ nowMs: () => this.clock.ms, ...options });
  }

  wait(ms: number): void {
    this.clock.ms += ms;
  }

  /** Does three passes, each by a client of its own, more than a grace apart: enough to delete all garbage. */
  async collectAll(options: GcOptions = {}): Promise<GcReport[]> {
    const reports: GcReport[] = [];
    for (let pass = 0; pass < 3; pass += 1) {
      reports.push(await this.collect(options));
      this.wait(GRACE_MS + HOUR_MS);
    }
    return reports;
  }

  async collect(options: GcOptions = {}, clientOptions: ClientOptions = {}): Promise<GcReport> {
    const { volume } = await this.client(clientOptions);
    try {
      return await collectGarbage(volume, options);
    } finally {
      await volume.close();
    }
  }

  async keys(prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of listAll(this.store, prefix)) keys.push(key);
    return keys;
  }

  async bytesIn(prefix: string): Promise<number> {
    let bytes = 0;
    for await (const { sizeBytes } of listAll(this.store, prefix)) bytes += sizeBytes;
    return bytes;
  }
}

/** Verifies everything, opening every unit. Returns the damages, and how many objects nothing refers to. */
export async function deepCheck(volume: Volume): Promise<{ damages: string[]; unreferenced: number }> {
  const { damages, unreferenced } = await verifyVolume(volume, { deep: true });
  return {
    damages: damages.map(({ key, error }) => `${key} ${error.message}`),
    unreferenced: unreferenced.objects,
  };
}
