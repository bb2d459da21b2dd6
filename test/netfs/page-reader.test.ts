import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PageFileRef } from '../../src/netfs/pages/file-slots.ts';
import { PageCopier } from '../../src/netfs/pages/page-copier.ts';
import { PageReader, threadClock } from '../../src/netfs/pages/page-reader.ts';
import { GRANULE_BYTES as G } from '../../src/netfs/pages/pages.ts';
import type { SharedPages } from '../../src/netfs/pages/shared-pages.ts';
import { checkProperty } from '../support/property.ts';
import { BLOCK_BYTES } from './pages-model.ts';
import { sharedPages } from './shared-pages-support.ts';

const KEY = Uint8Array.of(1);
const FOR_EVER = 2n ** 62n;

/** Lets the thread that changes pages do something in the middle of the next copy, or behind the next look-up. */
class MeddledCopier extends PageCopier {
  meddle: (() => void) | undefined;
  meddleEarly: (() => void) | undefined;
  isChecking = true;

  override find(file: number, block: number): number {
    const entry = super.find(file, block);
    const { meddleEarly } = this;
    this.meddleEarly = undefined;
    meddleEarly?.();
    return entry;
  }

  override copy(slab: Uint8Array, offset: number, into: Uint8Array, at: number, lengthBytes: number): void {
    const half = lengthBytes >> 1;
    super.copy(slab, offset, into, at, half);
    const { meddle } = this;
    this.meddle = undefined;
    meddle?.();
    super.copy(slab, offset + half, into, at + half, lengthBytes - half);
  }

  override isRunUnchanged(count: number): boolean {
    return super.isRunUnchanged(count) || !this.isChecking;
  }
}

interface Action {
  readonly act: 'write' | 'fill' | 'truncate' | 'publish' | 'evict' | 'replace';
  readonly block: number;
}

/** A file with blocks that hold one byte each, and a reader of it. */
class Scene {
  readonly pages: SharedPages;
  readonly copier: MeddledCopier;
  readonly reader: PageReader;
  file: ReturnType<SharedPages['addFile']>;
  readonly ref: PageFileRef;
  /** What each block may hold: since the last call of `settle`. */
  readonly values = new Map<number, Set<number>>();
  isReplaced = false;
  blocks: number;
  #stamp = 0;

  constructor(frames: number, blocks: number, order = Array.from({ length: blocks }, (_, at) => at)) {
    this.pages = sharedPages(frames, { slots: 1 });
    this.copier = new MeddledCopier(this.pages.memory);
    this.reader = new PageReader(this.pages.memory, () => 0, this.copier);
    this.file = this.pages.addFile(KEY);
    this.ref = this.file.ref!;
    this.blocks = blocks;
    for (const block of order) this.fill(block);
    this.publish(blocks);
  }

  publish(blocks: number): void {
    this.blocks = blocks;
    this.file.publish({ sizeBytes: blocks * BLOCK_BYTES, freshUntilNs: FOR_EVER });
  }

  #stampOf(block: number): number {
    this.#stamp = (this.#stamp % 250) + 1;
    if (!this.isReplaced) {
      const known = this.values.get(block) ?? new Set();
      this.values.set(block, known.add(this.#stamp));
    }
    return this.#stamp;
  }

  write(block: number): void {
    const bytes = new Uint8Array(BLOCK_BYTES).fill(this.#stampOf(block));
    if (this.file.write(block * BLOCK_BYTES, bytes) < BLOCK_BYTES) throw new Error('no room');
    this.file.release({ fromBytes: block * BLOCK_BYTES, toBytes: (block + 1) * BLOCK_BYTES });
  }

  fill(block: number): void {
    const range = { fromBytes: block * BLOCK_BYTES, toBytes: (block + 1) * BLOCK_BYTES };
    this.file.dropClean(range);
    this.file.fill(range, new Uint8Array(BLOCK_BYTES).fill(this.#stampOf(block)), []);
  }

  /** Fills so much elsewhere that all else is evicted. */
  evict(): void {
    const other = 1000;
    const { budgetBytes } = this.pages.use;
    const range = { fromBytes: other * BLOCK_BYTES, toBytes: other * BLOCK_BYTES + 2 * budgetBytes };
    this.file.fill(range, new Uint8Array(2 * budgetBytes).fill(255), []);
  }

  truncate(blocks: number): void {
    this.file.truncate(blocks * BLOCK_BYTES);
    this.publish(blocks);
  }

  replace(): void {
    this.file.remove();
    this.isReplaced = true;
    this.file = this.pages.addFile(Uint8Array.of(2));
    for (let block = 0; block < 4; block += 1) this.write(block);
    this.publish(4);
  }

  act({ act, block }: Action): void {
    if (act === 'truncate') this.truncate(block);
    else if (act === 'publish') this.publish(block + 1);
    else if (act === 'evict') this.evict();
    else if (act !== 'replace') this[act](block);
    else if (!this.isReplaced) this.replace();
  }

  settle(): void {
    for (const [block, stamps] of this.values) this.values.set(block, new Set([[...stamps].at(-1)!]));
  }

  /** Returns true when what was read is what the blocks held at some time. */
  isGood(offset: number, bytes: Uint8Array): boolean {
    for (let at = 0; at < bytes.byteLength; ) {
      const block = Math.floor((offset + at) / BLOCK_BYTES);
      const end = Math.min(bytes.byteLength, (block + 1) * BLOCK_BYTES - offset);
      const [value] = bytes.subarray(at, end);
      if (!this.values.get(block)?.has(value!)) return false;
      if (!bytes.subarray(at, end).every(byte => byte === value)) return false;
      at = end;
    }
    return true;
  }
}

describe('a page reader', () => {
  const setUp = (slots = 8) => {
    const pages = sharedPages(8, { slots });
    const reader = new PageReader(pages.memory, () => 1000);
    const file = pages.addFile(KEY);
    return { pages, reader, file, ref: file.ref! };
  };
  const publish = (file: ReturnType<SharedPages['addFile']>, sizeBytes: number, freshUntilNs = FOR_EVER) =>
    file.publish({ sizeBytes, freshUntilNs });

  it('reads hits up to the end of the file, and misses the rest', () => {
    const { file, reader, ref } = setUp();
    const bytes = Uint8Array.from({ length: 3 * G + 5 }, (_, at) => at * 7 + (at >> 8));
    file.write(0, bytes);
    const into = new Uint8Array(4 * G);
    // Nothing was published yet.
    expect(reader.read(ref, 0, into)).toBeUndefined();
    publish(file, 3 * G + 5);
    // The last granule was written in part.
    expect(reader.read(ref, 0, into)).toBeUndefined();
    expect(reader.read(ref, 5, into.subarray(0, 3 * G - 5))).toBe(3 * G - 5);
    expect(into.subarray(0, 3 * G - 5)).toEqual(bytes.subarray(5, 3 * G));
    file.fill({ fromBytes: 3 * G, toBytes: 4 * G }, undefined, [{ fromBytes: 3 * G, toBytes: 3 * G + 5 }]);
    expect(reader.read(ref, 0, into)).toBe(bytes.byteLength);
    expect(into.subarray(0, bytes.byteLength)).toEqual(bytes);
    expect(reader.read(ref, bytes.byteLength, into)).toBe(0);
    expect(reader.read(ref, 2 ** 50, into)).toBe(0);
    expect(reader.read(ref, 0, into.subarray(0, 0))).toBe(0);
  });

  it('believes a file for as long as it was told', () => {
    const { file, reader, ref } = setUp();
    file.write(0, new Uint8Array(G).fill(3));
    const into = new Uint8Array(G);
    publish(file, G, 1_000_999_999n);
    expect(reader.read(ref, 0, into)).toBeUndefined();
    publish(file, G, 1_001_000_000n);
    expect(reader.read(ref, 0, into)).toBe(G);
  });

  it('has a clock that is never behind the one of the process', () => {
    const now = threadClock();
    for (let round = 0; round < 100; round += 1) {
      const beforeMs = Number(process.hrtime.bigint()) / 1e6;
      expect(now()).toBeGreaterThanOrEqual(beforeMs - 1e-3);
    }
  });

  it('finds files by key, as long as there are slots', () => {
    const { pages, reader, file, ref } = setUp(2);
    expect(reader.find(KEY)).toEqual(ref);
    expect(reader.find(Uint8Array.of(2))).toBeUndefined();
    const second = pages.addFile(Uint8Array.of(2));
    const third = pages.addFile(Uint8Array.of(3));
    expect(reader.find(Uint8Array.of(2))).toEqual(second.ref);
    expect(third.ref).toBeUndefined();
    expect(reader.find(Uint8Array.of(3))).toBeUndefined();
    third.write(0, new Uint8Array(G).fill(5));
    publish(third, G);
    third.truncate(0);
    third.remove();
    file.remove();
    expect(reader.find(KEY)).toBeUndefined();
    const fourth = pages.addFile(Uint8Array.of(4));
    expect(fourth.ref).toEqual({ number: ref.number, generation: ref.generation + 1 });
    pages.close();
    expect(reader.find(Uint8Array.of(4))).toBeUndefined();
    expect(reader.find(Uint8Array.of(2))).toBeUndefined();
  });

  it('misses a file that was removed, also when another has its place', () => {
    const { pages, file, reader, ref } = setUp(1);
    file.write(0, new Uint8Array(G).fill(3));
    publish(file, G);
    const into = new Uint8Array(G);
    expect(reader.read(ref, 0, into)).toBe(G);
    file.remove();
    expect(reader.read(ref, 0, into)).toBeUndefined();
    const other = pages.addFile(Uint8Array.of(2));
    other.write(0, new Uint8Array(G).fill(4));
    publish(other, G);
    expect(reader.read(ref, 0, into)).toBeUndefined();
    expect(reader.read(other.ref!, 0, into)).toBe(G);
  });

  it('misses everything once the cache is closed', () => {
    const { pages, file, reader, ref } = setUp();
    file.write(0, new Uint8Array(G));
    publish(file, G);
    expect(reader.read(ref, 0, new Uint8Array(G))).toBe(G);
    pages.close();
    expect(reader.read(ref, 0, new Uint8Array(G))).toBeUndefined();
  });

  it('refuses wrong arguments', () => {
    const { reader, ref } = setUp();
    for (const act of [
      () => reader.read(ref, -1, new Uint8Array(1)),
      () => reader.read(ref, 0.5, new Uint8Array(1)),
      () => reader.read(ref, 0, [] as never),
      () => reader.find('key' as never),
      () => new PageReader(undefined as never),
    ]) {
      expect(act).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    }
  });

  it('a slot whose generations are used up is never given out again', () => {
    const pages = sharedPages(1, { slots: 2 });
    const last = 0x7fff_fffe;
    // The third word of the slots of files 1 and 2.
    pages.memory.words[16 + 2] = last;
    const file = pages.addFile(KEY);
    expect(file.ref).toEqual({ number: 1, generation: last });
    file.remove();
    expect(pages.addFile(KEY).ref).toEqual({ number: 2, generation: 0 });
    expect(pages.addFile(Uint8Array.of(3)).ref).toBeUndefined();
  });
});

describe('a page reader beside changes', () => {
  const read = (
    scene: Scene,
    offset: number,
    length: number,
    meddle: () => void,
    meddleEarly: () => void = () => undefined,
  ) => {
    const into = new Uint8Array(length);
    scene.settle();
    scene.copier.meddle = meddle;
    scene.copier.meddleEarly = meddleEarly;
    const done = scene.reader.read(scene.ref, offset, into);
    return { done, bytes: into.subarray(0, done ?? 0) };
  };

  it('finds out that a block was written, and reads it again', () => {
    const scene = new Scene(8, 4);
    const { done, bytes } = read(scene, 100, 1000, () => scene.write(0));
    expect(done).toBe(1000);
    expect(scene.isGood(100, bytes)).toBe(true);
    // It is what was written last.
    expect(bytes[0]).toBe([...scene.values.get(0)!].at(-1));
  });

  it('tears without the last check', () => {
    const scene = new Scene(8, 4);
    scene.copier.isChecking = false;
    const { done, bytes } = read(scene, 100, 1000, () => scene.write(0));
    expect(done).toBe(1000);
    expect(scene.isGood(100, bytes)).toBe(false);
  });

  it('finds out that a frame was given to another block, and given back', () => {
    const scene = new Scene(1, 1);
    const before = scene.values.get(0)!;
    const { done, bytes } = read(scene, 0, BLOCK_BYTES, () => {
      scene.evict();
      scene.file.dropClean({ fromBytes: 0, toBytes: 2 ** 40 });
      scene.fill(0);
    });
    expect(scene.values.get(0)!.size).toBe(2);
    expect(done === undefined || scene.isGood(0, bytes)).toBe(true);
    expect(done).toBe(BLOCK_BYTES);
    expect(before.has(bytes[0]!)).toBe(false);
  });

  it('finds out that an entry was given to another block before it was looked at', () => {
    const scene = new Scene(1, 1);
    const { done } = read(
      scene,
      0,
      BLOCK_BYTES,
      () => undefined,
      () => scene.evict(),
    );
    expect(done).toBeUndefined();
  });

  it('does not look at an entry that is being changed', () => {
    const scene = new Scene(1, 1);
    const { words, entriesAt } = scene.pages.memory;
    words[entriesAt]! += 1;
    expect(read(scene, 0, 1, () => undefined).done).toBeUndefined();
    words[entriesAt]! += 1;
    expect(read(scene, 0, 1, () => undefined).done).toBe(1);
  });

  it('finds out that the sequence number went round', () => {
    const scene = new Scene(2, 1);
    const { words, entriesAt } = scene.pages.memory;
    expect(words[entriesAt + 3]).toBe(0);
    // The last even number before it goes round.
    words[entriesAt] = -2;
    let seqs: (number | undefined)[] = [];
    const { bytes } = read(scene, 0, BLOCK_BYTES, () => {
      scene.write(0);
      seqs = [words[entriesAt], words[entriesAt + 1]];
      // As if as many changes had followed as there are numbers.
      words[entriesAt] = -2;
    });
    // One change by the write, one by the release.
    expect(seqs).toEqual([2, 1]);
    expect(scene.isGood(0, bytes)).toBe(true);
  });

  it('gives up after three tries', () => {
    const scene = new Scene(8, 1);
    let tries = 0;
    const again = () => {
      tries += 1;
      scene.write(0);
      scene.copier.meddle = again;
    };
    expect(read(scene, 0, 1000, again).done).toBeUndefined();
    expect(tries).toBe(3);
  });

  it('reads no two versions of a file, though its blocks do not lie side by side', () => {
    const scene = new Scene(16, 4, [0, 2, 1, 3]);
    const adopt = () => {
      // The first block has been read by now, and the last has not.
      for (const block of [0, 3]) scene.fill(block);
    };
    const { done, bytes } = read(scene, 0, 4 * BLOCK_BYTES, () => {
      scene.copier.meddle = adopt;
    });
    expect(done).toBe(4 * BLOCK_BYTES);
    for (const block of [0, 3]) {
      expect(scene.values.get(block)!.size).toBe(2);
      expect(bytes[block * BLOCK_BYTES]).toBe([...scene.values.get(block)!].at(-1));
    }
    expect(scene.isGood(0, bytes)).toBe(true);
  });

  it('never returns bytes beyond the end that the file was cut to', () => {
    const scene = new Scene(8, 4);
    const { done } = read(scene, 0, 4 * BLOCK_BYTES, () => scene.truncate(1));
    expect(done).toBe(BLOCK_BYTES);
  });

  it('whatever happens meanwhile, each block is as it was at some time, or the read is a miss', () => {
    const action: fc.Arbitrary<Action> = fc.oneof(
      fc.record({
        act: fc.constantFrom('write' as const, 'fill' as const, 'truncate' as const, 'publish' as const),
        block: fc.integer({ min: 0, max: 3 }),
      }),
      fc.record({ act: fc.constantFrom('evict' as const, 'replace' as const), block: fc.constant(0) }),
    );
    let hits = 0;
    checkProperty(
      fc.record({
        frames: fc.integer({ min: 1, max: 9 }),
        offset: fc.integer({ min: 0, max: 4 * BLOCK_BYTES - 1 }),
        length: fc.oneof(fc.integer({ min: 1, max: 2 * G }), fc.integer({ min: 1, max: 4 * BLOCK_BYTES })),
        before: fc.array(action, { maxLength: 5 }),
        early: fc.array(action, { maxLength: 3 }),
        meddling: fc.array(action, { minLength: 1, maxLength: 6 }),
      }),
      ({ frames, offset, length, before, early, meddling }) => {
        const scene = new Scene(frames, 4);
        for (const each of before) if (each.act !== 'replace') scene.act(each);
        const sizes = [scene.blocks * BLOCK_BYTES];
        const run = (actions: readonly Action[]) => {
          for (const each of actions) scene.act(each);
        };
        const { done, bytes } = read(
          scene,
          offset,
          length,
          () => run(meddling),
          () => run(early),
        );
        sizes.push(scene.blocks * BLOCK_BYTES);
        if (done === undefined) return;
        hits += 1;
        expect(scene.isGood(offset, bytes)).toBe(true);
        const ends = sizes.map(size => Math.max(0, Math.min(length, size - offset)));
        if (early.length + meddling.length === 1 && !scene.isReplaced) expect(ends).toContain(done);
      },
      { weight: 2 },
    );
    expect(hits).toBeGreaterThan(0);
  });
});
