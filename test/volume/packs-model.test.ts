/** Random changes of packed files by two clients, against plain bytes. */
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { KIB } from '../../src/base/geometry.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { SEARCH_MS, SEED } from '../support/soak.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import { bytesOf, readFile, uploadTogether } from './support.ts';

describe('two clients with packed files, against plain bytes', () => {
  it('see every change of the other, and gc takes nothing', async () => {
    const endMs = performance.now() + 5 * SEARCH_MS;
    for (let round = 0; round < 3 || performance.now() < endMs; round += 1) await randomRound(SEED + round);
  });

  const NAMES = 'abcdefgh';

  async function randomRound(seed: number): Promise<void> {
    const chance = seededChance(seed);
    const below = (limit: number): number => Math.floor(chance() * limit);
    const someName = (): string => NAMES[below(NAMES.length)] ?? 'a';
    const world = await TimedVolume.create({ unitSizeBytes: 4096, packBytes: 16 * KIB });
    const clients = [await world.client({ segmentBytes: 64 * KIB }), await world.client()];
    const model = new Map<string, Buffer>();

    const putSome = async (volume: Volume): Promise<void> => {
      const names = new Set(Array.from({ length: 1 + below(6) }, someName));
      const files = [...names].map(name => ({
        directory: volume.root,
        name,
        bytes: chance() < 0.1 ? Buffer.alloc(below(4096)) : bytesOf(below(1e6), below(4097)),
      }));
      for (const { directory, name, inode, segments } of await uploadTogether(volume, files)) {
        await volume.names.insert(directory, name, inode, { replace: true, segments });
      }
      for (const { name, bytes } of files) model.set(name, bytes);
    };

    const change = async (volume: Volume, name: string, known: Buffer): Promise<void> => {
      const writer = await volume.openWriter(`/${name}`);
      let bytes = known;
      for (let left = 1 + below(3); left > 0; left -= 1) {
        const sizeBytes = below(2) === 0 ? below(known.byteLength + 1) : below(12_000);
        await writer.truncate(sizeBytes);
        bytes = withSize(bytes, sizeBytes);
        if (chance() < 0.4) {
          const [at, written] = [below(sizeBytes + 1), bytesOf(below(1e6), 1 + below(300))];
          await writer.write(written, at);
          bytes = withSize(bytes, Math.max(sizeBytes, at + written.byteLength));
          bytes.set(written, at);
        }
        if (chance() < 0.3) await writer.commit();
      }
      await writer.close();
      model.set(name, bytes);
    };

    for (let step = 0; step < 40; step += 1) {
      const volume = (clients[below(2)] as (typeof clients)[0]).volume;
      const name = someName();
      const known = model.get(name);
      const kind = below(8);
      if (kind < 3) await putSome(volume);
      else if (kind === 3 && known !== undefined) {
        await volume.names.unlink(volume.root, name);
        model.delete(name);
      } else if (kind < 7 && known !== undefined) await change(volume, name, known);
      else if (kind === 7) {
        world.wait(below(1.2 * GRACE_MS));
        await world.collect();
      }
    }
    for (let run = 0; run < 4; run += 1) {
      world.wait(GRACE_MS + HOUR_MS);
      await world.collect();
    }
    const { volume } = await world.client();
    for (const [name, bytes] of model) {
      const read = await readFile(volume, `/${name}`);
      expect(read.equals(bytes), `seed ${seed}, ${name}`).toBe(true);
    }
    expect(await deepCheck(volume), `seed ${seed}`).toEqual({ damages: [], unreferenced: 0 });
    await world.test.close();
  }
});

/** A copy that is cut off, or longer by zeros. */
function withSize(bytes: Buffer, sizeBytes: number): Buffer {
  const copy = Buffer.alloc(sizeBytes);
  copy.set(bytes.subarray(0, sizeBytes));
  return copy;
}
