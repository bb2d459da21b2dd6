/** Random calls on open files of a volume, by two clients in turns, held against plain bytes. */
import { expect, it } from 'vitest';
import { type Chance, seededChance } from '../../src/base/chance.ts';
import { MIB } from '../../src/base/geometry.ts';
import type { File } from '../../src/netfs/file.ts';
import { expectSame, overlaid, readAll } from '../netfs/clients.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { SEED, soakSize } from '../support/soak.ts';
import { type Client, readFile, TestVolume, writeFile } from './support.ts';

const SIZE_MAX = 200_000;

interface Opened {
  readonly path: string;
  content: Uint8Array;
  file: File;
}

class Exerciser {
  readonly #chance: Chance;
  readonly #clients: readonly Client[];
  readonly #files: Opened[] = [];
  #at = 0;
  #writeCount = 0;

  constructor(seed: number, clients: readonly Client[]) {
    this.#chance = seededChance(seed);
    this.#clients = clients;
  }

  async run(steps: number): Promise<void> {
    const [first] = this.#clients;
    for (const [at, lengthBytes] of [0, 700, 9000, 150_000].entries()) {
      const path = `/file ${at}`;
      const content = mixedBytes(lengthBytes, at);
      await writeFile(first!.volume, path, content);
      this.#files.push({ path, content, file: await first!.volume.open(path, 'r+') });
    }
    for (let step = 0; step < steps; step += 1) await this.#step();
    await this.#handOver();
    for (const { file } of this.#files) await file.close();
  }

  async #step(): Promise<void> {
    const opened = this.#files[this.#below(this.#files.length)]!;
    const { file, content } = opened;
    const chance = this.#chance();
    const offset = this.#below(Math.max(1, Math.min(SIZE_MAX, content.byteLength + 5000)));
    if (chance < 0.4) {
      const bytes = this.#newBytes();
      await file.write(bytes, { position: offset });
      opened.content = overlaid(content, offset, bytes);
    } else if (chance < 0.65) {
      const buffer = new Uint8Array(this.#below(20_000));
      const { bytesRead } = await file.read(buffer, { position: offset });
      expectSame(buffer.subarray(0, bytesRead), content.subarray(offset, offset + buffer.byteLength));
    } else if (chance < 0.75) {
      const size = this.#below(SIZE_MAX);
      await file.truncate(size);
      opened.content = overlaid(new Uint8Array(size), 0, content.subarray(0, size));
    } else if (chance < 0.9) {
      await file.sync();
    } else if (chance < 0.95) {
      await file.close();
      opened.file = await this.#client.volume.open(opened.path, 'a+');
      const bytes = this.#newBytes();
      await opened.file.write(bytes);
      opened.content = overlaid(content, content.byteLength, bytes);
      await opened.file.close();
      opened.file = await this.#client.volume.open(opened.path, 'r+');
    } else {
      await this.#handOver();
    }
  }

  /** Closes all files, and opens them as the other client. */
  async #handOver(): Promise<void> {
    for (const { file, content } of this.#files) {
      expectSame(await readAll(file), content);
      await file.close();
    }
    this.#at = 1 - this.#at;
    for (const opened of this.#files) {
      expectSame(await readFile(this.#client.volume, opened.path), opened.content);
      opened.file = await this.#client.volume.open(opened.path, 'r+');
      expect(opened.file.sizeBytes).toBe(opened.content.byteLength);
    }
  }

  get #client(): Client {
    return this.#clients[this.#at]!;
  }

  #newBytes(): Uint8Array {
    this.#writeCount += 1;
    const lengthBytes = 1 + this.#below(this.#chance() < 0.7 ? 1000 : 30_000);
    // Zeros become holes.
    return this.#chance() < 0.1 ? new Uint8Array(lengthBytes) : mixedBytes(lengthBytes, this.#writeCount);
  }

  #below(count: number): number {
    return Math.floor(this.#chance() * count);
  }
}

it('random calls give what plain bytes give, to this client and the next', async () => {
  for (let round = 0; round < soakSize(1, 30); round += 1) {
    const seed = SEED + round;
    const test = await TestVolume.create();
    try {
      const clients = [await test.client({ pageBytes: MIB }), await test.client({ pageBytes: MIB })];
      await new Exerciser(seed, clients).run(soakSize(60, 150)).catch(error => {
        throw new Error(`seed ${seed}: ${error}`, { cause: error });
      });
    } finally {
      await test.close();
    }
  }
});
