import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import type { Filling } from '../../src/netfs/pages/pages.ts';
import type { SharedPages } from '../../src/netfs/pages/shared-pages.ts';
import { soakSize } from '../support/soak.ts';
import {
  BLOCK_BYTES,
  BLOCKS,
  CONTROL,
  type Counts,
  keyOf,
  lengthOf,
  stampedBlock,
} from './fixtures/stamped.ts';
import { sharedPages } from './shared-pages-support.ts';

/** Fewer frames than two files have blocks. */
const FRAMES = 20;

type Mode = 'checked' | 'unchecked';

async function startReader(pages: SharedPages, mode: Mode, seed: number) {
  const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL.words));
  const worker = new Worker(new URL('fixtures/page-reader-thread.ts', import.meta.url), {
    workerData: { memory: pages.memory, control, mode, seed },
  });
  const answer = once(worker, 'message') as Promise<[Counts]>;
  await once(worker, 'online');
  return {
    control,
    stop: async (): Promise<Counts> => {
      Atomics.store(control, CONTROL.stop, 1);
      const [counts] = await answer;
      await worker.terminate();
      return counts;
    },
  };
}

interface ChangedFile {
  id: number;
  pages: ReturnType<SharedPages['addFile']>;
  blocks: number;
}

/** Changes two files in every way that there is, and now and then gives their slots to others. */
class Changer {
  readonly #pages: SharedPages;
  readonly #chance = seededChance(7);
  readonly #files: ChangedFile[];
  readonly #fillings: Filling[] = [];
  #stamp = 0;
  #nextId = 3;

  constructor(pages: SharedPages) {
    this.#pages = pages;
    this.#files = [1, 2].map(id => ({ id, pages: pages.addFile(keyOf(id)), blocks: 0 }));
    for (const file of this.#files) this.#grow(file);
  }

  /** Tells the reader which files there are. It takes what it finds; a mix of two is a miss. */
  tell(control: Int32Array): void {
    for (const [index, { id, pages }] of this.#files.entries()) {
      Atomics.store(control, CONTROL.ids + index, id);
      Atomics.store(control, CONTROL.refs + 2 * index, pages.ref?.number ?? 0);
      Atomics.store(control, CONTROL.refs + 2 * index + 1, pages.ref?.generation ?? 0);
    }
  }

  #below(count: number): number {
    return Math.floor(this.#chance() * count);
  }

  #grow(file: ChangedFile): void {
    file.blocks = BLOCKS;
    file.pages.publish({ sizeBytes: BLOCKS * BLOCK_BYTES, freshUntilNs: 2n ** 62n });
  }

  write(index: number, block: number): void {
    const { id, pages } = this.#files[index]!;
    const at = block * BLOCK_BYTES;
    this.#stamp = (this.#stamp + 1) & 0x7fff_ffff;
    pages.write(at, stampedBlock(id, block, this.#stamp));
    pages.release({ fromBytes: at, toBytes: at + BLOCK_BYTES });
  }

  change(): void {
    const file = this.#files[this.#below(2)]!;
    const block = this.#below(BLOCKS);
    const at = block * BLOCK_BYTES;
    const range = { fromBytes: at, toBytes: at + BLOCK_BYTES };
    this.#stamp = (this.#stamp + 1) & 0x7fff_ffff;
    const what = this.#chance();
    if (what < 0.45) {
      this.write(this.#files.indexOf(file), block);
    } else if (what < 0.75) {
      file.pages.dropClean(range);
      const filled = { fromBytes: at, toBytes: at + lengthOf(block) };
      file.pages.fill(filled, stampedBlock(file.id, block, this.#stamp), []);
    } else if (what < 0.85) {
      this.#useFilling(file.pages, file.id, block);
    } else if (what < 0.9) {
      // A worker that goes on after its call was given up.
      for (const { parts } of this.#fillings) for (const part of parts) part.fill(this.#stamp & 0xff);
      if (this.#fillings.length > 2) this.#fillings.shift()?.release();
    } else if (what < 0.95) {
      file.pages.truncate(at);
      file.pages.publish({ sizeBytes: at, freshUntilNs: 2n ** 62n });
      if (this.#chance() < 0.8) this.#grow(file);
    } else if (what < 0.952) {
      this.#replace(file);
    } else {
      this.#grow(file);
    }
  }

  #useFilling(pages: ReturnType<SharedPages['addFile']>, id: number, block: number): void {
    const filling = this.#pages.reserve(lengthOf(block));
    if (filling === undefined) return;
    if (this.#chance() < 0.3 && this.#fillings.length < 4) {
      this.#fillings.push(filling);
      return;
    }
    filling.parts[0]!.set(stampedBlock(id, block, this.#stamp));
    pages.dropClean({ fromBytes: block * BLOCK_BYTES, toBytes: (block + 1) * BLOCK_BYTES });
    pages.insert(block * BLOCK_BYTES, filling, []);
  }

  #replace(file: ChangedFile): void {
    file.pages.remove();
    file.id = this.#nextId;
    this.#nextId += 1;
    file.pages = this.#pages.addFile(keyOf(file.id));
    this.#grow(file);
  }
}

/** Far more than it takes, on any machine. */
const ROUNDS_MAX = 1_000_000;

/** Changes until `isDone`. What bounds it is work, not time. */
async function changeUntil(change: () => void, changer: Changer, control: Int32Array, isDone: () => boolean) {
  for (let round = 0; round < ROUNDS_MAX && !isDone(); round += 1) {
    for (let index = 0; index < 200; index += 1) change();
    changer.tell(control);
    // The loader of a thread that begins may need this one.
    await new Promise(resolve => setImmediate(resolve));
  }
}

describe('a reader thread beside a thread that writes, evicts, fills again, cuts off and removes', () => {
  it('reads nothing torn, nothing of another file, nothing from where it does not belong', async () => {
    const pages = sharedPages(FRAMES, { slots: 2 });
    const changer = new Changer(pages);
    const { control, stop } = await startReader(pages, 'checked', 1);
    const wanted = soakSize(1000, 200_000);
    await changeUntil(
      () => changer.change(),
      changer,
      control,
      () => Atomics.load(control, CONTROL.hits) > wanted,
    );
    const counts = await stop();
    expect(counts.faults).toEqual([]);
    expect(counts.hits).toBeGreaterThan(wanted);
    expect(counts.misses).toBeGreaterThan(0);
  });

  it('without the last check it does, so that the test above can fail', async () => {
    const pages = sharedPages(FRAMES, { slots: 2 });
    const changer = new Changer(pages);
    const { control, stop } = await startReader(pages, 'unchecked', 2);
    // One block is written again and again, and read again and again.
    await changeUntil(
      () => changer.write(0, 0),
      changer,
      control,
      () => Atomics.load(control, CONTROL.faults) > 0,
    );
    const counts = await stop();
    expect(counts.faults.length).toBeGreaterThan(0);
  });
});
