/** A page cache beside a model of it: what it must hold, byte for byte, after any calls. */
import fc from 'fast-check';
import { expect } from 'vitest';
import {
  type ByteRange,
  type FilePages,
  type Filling,
  GRANULE_BYTES,
  type PageCache,
} from '../../src/netfs/pages/pages.ts';

export const BLOCK_BYTES: number = 64 * 1024;

type RangedCall = 'write' | 'fill' | 'release' | 'dropClean' | 'markUptodate';

/** What one call does. Offsets and lengths are in bytes of the file. */
export type Step =
  | {
      readonly call: RangedCall;
      readonly at: number;
      readonly length: number;
    }
  | { readonly call: 'truncate'; readonly at: number }
  | { readonly call: 'remove' }
  | { readonly call: 'reserve'; readonly length: number }
  | { readonly call: 'insert'; readonly block: number }
  | { readonly call: 'abandon' }
  | { readonly call: 'scribble' };

export interface FileStep {
  readonly file: number;
  readonly step: Step;
}

/** Makes steps for files of `blocks` blocks. */
export function fileSteps(files: number, blocks: number): fc.Arbitrary<FileStep> {
  const sizeBytes = blocks * BLOCK_BYTES;
  const offset = fc.oneof(
    fc.integer({ min: 0, max: sizeBytes - 1 }),
    fc.integer({ min: 0, max: blocks * 16 - 1 }).map(granule => granule * GRANULE_BYTES),
    fc.integer({ min: 0, max: blocks - 1 }).map(block => block * BLOCK_BYTES),
  );
  const length = fc.oneof(
    fc.integer({ min: 1, max: 3 * GRANULE_BYTES }),
    fc.integer({ min: 1, max: 20 }).map(granules => granules * GRANULE_BYTES),
    fc.integer({ min: 1, max: sizeBytes }),
    fc.constant(BLOCK_BYTES),
  );
  const ranged = (call: RangedCall, weight: number) => ({
    weight,
    arbitrary: fc.record({ call: fc.constant(call), at: offset, length }),
  });
  const step: fc.Arbitrary<Step> = fc.oneof(
    ranged('write', 10),
    ranged('fill', 6),
    ranged('release', 5),
    ranged('dropClean', 2),
    ranged('markUptodate', 1),
    { weight: 2, arbitrary: fc.record({ call: fc.constant('truncate' as const), at: offset }) },
    { weight: 1, arbitrary: fc.constant({ call: 'remove' } as const) },
    { weight: 2, arbitrary: fc.record({ call: fc.constant('reserve' as const), length }) },
    {
      weight: 2,
      arbitrary: fc.record({
        call: fc.constant('insert' as const),
        block: fc.integer({ min: 0, max: blocks - 1 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ call: 'abandon' } as const) },
    { weight: 2, arbitrary: fc.constant({ call: 'scribble' } as const) },
  );
  return fc.record({ file: fc.integer({ min: 0, max: files - 1 }), step });
}

const ABSENT = 0;
const PARTIAL = 1;
const UPTODATE = 2;

/** One file: its pages, and what they should be. */
class ModelFile {
  pages: FilePages;
  readonly bytes: Uint8Array;
  /** By granule. */
  readonly states: Uint8Array;
  readonly held: Uint8Array;
  /** By byte: written to a granule that is partial. */
  readonly written: Uint8Array;

  constructor(pages: FilePages, sizeBytes: number) {
    this.pages = pages;
    this.bytes = new Uint8Array(sizeBytes);
    this.states = new Uint8Array(sizeBytes / GRANULE_BYTES);
    this.held = new Uint8Array(sizeBytes / GRANULE_BYTES);
    this.written = new Uint8Array(sizeBytes);
  }

  forget(granule: number): void {
    this.states[granule] = ABSENT;
    this.held[granule] = 0;
    this.written.fill(0, granule * GRANULE_BYTES, (granule + 1) * GRANULE_BYTES);
  }

  /** The spans that partial granules of a range have. */
  keep(from: number, to: number): ByteRange[] {
    const spans: { fromBytes: number; toBytes: number }[] = [];
    for (let at = from; at < to; at += 1) {
      if (this.written[at] === 0) continue;
      const last = spans.at(-1);
      if (last?.toBytes === at) last.toBytes = at + 1;
      else spans.push({ fromBytes: at, toBytes: at + 1 });
    }
    return spans;
  }
}

/** Bytes that no other call has made, for every byte another one. */
function stamped(stamp: number, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index += 1) {
    const position = at + index;
    bytes[index] = (stamp * 31 + position + (position >>> 8) * 7 + (position >>> 16) * 13) & 0xff;
  }
  return bytes;
}

export class ModelledPages {
  readonly cache: PageCache;
  readonly files: ModelFile[];
  readonly sizeBytes: number;
  readonly #fillings: Filling[] = [];
  #stamp = 0;

  constructor(cache: PageCache, files: number, blocks: number) {
    this.cache = cache;
    this.sizeBytes = blocks * BLOCK_BYTES;
    this.files = Array.from(
      { length: files },
      (_, index) => new ModelFile(cache.addFile(Uint8Array.of(index)), this.sizeBytes),
    );
  }

  /** Does a step, in the cache and in the model, and checks what can be seen of it. */
  do({ file: index, step }: FileStep): void {
    const file = this.files[index]!;
    this.#stamp += 1;
    if ('length' in step && 'at' in step)
      this.#doRanged(file, step.call, step.at, Math.min(step.length, this.sizeBytes - step.at));
    else if (step.call === 'truncate') this.#truncate(file, step.at);
    else if (step.call === 'reserve') this.#reserve(Math.min(step.length, this.sizeBytes));
    else if (step.call === 'insert') this.#insert(file, step.block * BLOCK_BYTES);
    else if (step.call === 'abandon') this.#fillings.shift()?.release();
    else if (step.call === 'scribble') this.#scribble();
    else {
      file.pages.remove();
      this.files[index] = new ModelFile(this.cache.addFile(Uint8Array.of(index)), this.sizeBytes);
    }
  }

  #doRanged(file: ModelFile, call: RangedCall, at: number, length: number): void {
    if (call === 'write') this.#write(file, at, length);
    else if (call === 'fill') this.#fill(file, at, length);
    else if (call === 'markUptodate') this.#complete(file, at, at + length);
    else this.#giveUp(file, call, at, at + length);
  }

  #reserve(lengthBytes: number): void {
    const filling = this.#fillings.length < 3 ? this.cache.reserve(lengthBytes) : undefined;
    if (filling !== undefined) this.#fillings.push(filling);
    this.#adoptEvictions();
  }

  /** As a thread does that decompresses: nobody may see it. */
  #scribble(): void {
    for (const { parts } of this.#fillings) for (const part of parts) part.fill(this.#stamp & 0xff);
  }

  #write(file: ModelFile, at: number, length: number): void {
    const bytes = stamped(this.#stamp, at, length);
    const done = file.pages.write(at, bytes);
    expect(done).toBeLessThanOrEqual(length);
    if (done < length) {
      // Only for want of memory, and at the start of a granule.
      expect((at + done) % GRANULE_BYTES === 0 || done === 0).toBe(true);
      expect(this.cache.use.usedBytes).toBeGreaterThan(0);
    }
    if (done === 0) {
      this.#adoptEvictions();
      return;
    }
    // What it evicted was evicted before its own granules were written.
    const end = at + done;
    for (let granule = Math.floor(at / GRANULE_BYTES); granule * GRANULE_BYTES < end; granule += 1) {
      const start = granule * GRANULE_BYTES;
      const isWhole = at <= start && start + GRANULE_BYTES <= end;
      if (file.states[granule] === UPTODATE && !isWhole && file.held[granule] === 0) {
        // A clean granule may have been evicted to make room, and is partial then.
        if (!file.pages.isUptodate({ fromBytes: start, toBytes: start + 1 })) file.forget(granule);
      }
      if (isWhole) file.states[granule] = UPTODATE;
      else if (file.states[granule] === ABSENT) file.states[granule] = PARTIAL;
      file.held[granule] = 1;
      if (file.states[granule] === PARTIAL) {
        file.written.fill(1, Math.max(start, at), Math.min(start + GRANULE_BYTES, end));
      }
    }
    file.bytes.set(bytes.subarray(0, done), at);
    this.#adoptEvictions();
  }

  #fill(file: ModelFile, at: number, length: number): void {
    // Now and then zeros stand for the end.
    const bytes = stamped(this.#stamp, at, this.#stamp % 5 === 0 ? length >> 1 : length);
    const keep = file.keep(Math.floor(at / GRANULE_BYTES) * GRANULE_BYTES, at + length);
    file.pages.fill({ fromBytes: at, toBytes: at + length }, bytes, keep);
    this.#filled(file, at, length, bytes);
  }

  #insert(file: ModelFile, at: number): void {
    const filling = this.#fillings.shift();
    if (filling === undefined) return;
    const length = Math.min(filling.lengthBytes, this.sizeBytes - at);
    if (length < filling.lengthBytes) {
      filling.release();
      return;
    }
    const bytes = stamped(this.#stamp, at, length);
    let done = 0;
    for (const part of filling.parts) {
      part.set(bytes.subarray(done, done + part.byteLength));
      done += part.byteLength;
    }
    expect(done).toBe(length);
    file.pages.insert(at, filling, file.keep(at, at + length));
    expect(() => file.pages.insert(at, filling, [])).toThrow();
    filling.release();
    this.#filled(file, at, length, bytes);
  }

  #filled(file: ModelFile, at: number, length: number, bytes: Uint8Array): void {
    const first = Math.ceil(at / GRANULE_BYTES);
    for (let granule = first; (granule + 1) * GRANULE_BYTES <= at + length; granule += 1) {
      const start = granule * GRANULE_BYTES;
      const isThere = file.pages.isUptodate({ fromBytes: start, toBytes: start + GRANULE_BYTES });
      // One that is absent needs memory; a clean one may have been evicted, and then filled.
      if (file.states[granule] === PARTIAL) expect(isThere).toBe(true);
      const wasClean = file.states[granule] === UPTODATE && file.held[granule] === 0;
      const isEvicted = wasClean && isThere && !this.#holds(file, granule);
      if (file.states[granule] === UPTODATE && !isEvicted) continue;
      if (!isThere) continue;
      for (let position = start; position < start + GRANULE_BYTES; position += 1) {
        if (file.written[position] === 0 || isEvicted) file.bytes[position] = bytes[position - at] ?? 0;
      }
      file.written.fill(0, start, start + GRANULE_BYTES);
      file.states[granule] = UPTODATE;
    }
    this.#adoptEvictions();
  }

  /** True when a granule's bytes are those of the model. */
  #holds(file: ModelFile, granule: number): boolean {
    const start = granule * GRANULE_BYTES;
    const bytes = new Uint8Array(GRANULE_BYTES);
    const done = file.pages.read(start, bytes);
    return (
      done === GRANULE_BYTES && Buffer.compare(bytes, file.bytes.subarray(start, start + GRANULE_BYTES)) === 0
    );
  }

  #truncate(file: ModelFile, size: number): void {
    file.pages.truncate(size);
    const boundary = Math.floor(size / GRANULE_BYTES);
    const first = Math.ceil(size / GRANULE_BYTES);
    for (let granule = first; granule < file.states.length; granule += 1) file.forget(granule);
    if (boundary === first) return;
    file.bytes.fill(0, size, first * GRANULE_BYTES);
    file.written.fill(0, size, first * GRANULE_BYTES);
  }

  /** Writes what partial granules lack, and says that all is there. */
  #complete(file: ModelFile, from: number, to: number): void {
    for (let granule = Math.ceil(from / GRANULE_BYTES); (granule + 1) * GRANULE_BYTES <= to; granule += 1) {
      if (file.states[granule] !== PARTIAL) continue;
      const start = granule * GRANULE_BYTES;
      this.#write(file, start, 1000);
      this.#write(file, start + 1000, GRANULE_BYTES - 1000);
      file.states[granule] = UPTODATE;
      file.written.fill(0, start, start + GRANULE_BYTES);
      file.pages.markUptodate({ fromBytes: start, toBytes: start + GRANULE_BYTES });
    }
  }

  #giveUp(file: ModelFile, call: 'release' | 'dropClean', from: number, to: number): void {
    file.pages[call]({ fromBytes: from, toBytes: to });
    for (let granule = Math.floor(from / GRANULE_BYTES); granule * GRANULE_BYTES < to; granule += 1) {
      if (call === 'dropClean' ? file.held[granule] === 0 : file.states[granule] === PARTIAL)
        file.forget(granule);
      if (call === 'release') file.held[granule] = 0;
    }
  }

  /** Granules that are not held may be gone. */
  #adoptEvictions(): void {
    for (const file of this.files) {
      for (const { fromBytes, toBytes } of file.pages.missing({ fromBytes: 0, toBytes: this.sizeBytes })) {
        for (let granule = fromBytes / GRANULE_BYTES; granule < toBytes / GRANULE_BYTES; granule += 1) {
          if (file.held[granule] === 0) file.forget(granule);
        }
      }
    }
  }

  /** Compares everything. */
  check(): void {
    let heldCount = 0;
    for (const file of this.files) {
      const range = { fromBytes: 0, toBytes: this.sizeBytes };
      expect(file.pages.missing(range)).toEqual(rangesOf(file.states, (_, state) => state !== UPTODATE));
      expect(file.pages.clean(range)).toEqual(
        rangesOf(file.states, (granule, state) => state === UPTODATE && file.held[granule] === 0),
      );
      for (const [granule, state] of file.states.entries()) {
        heldCount += file.held[granule]!;
        if (state === ABSENT) continue;
        const start = granule * GRANULE_BYTES;
        const bytes = new Uint8Array(GRANULE_BYTES);
        file.pages.copyOut(start, bytes);
        const expected = file.bytes.subarray(start, start + GRANULE_BYTES);
        if (state === UPTODATE) expect(Buffer.compare(bytes, expected), `granule ${granule}`).toBe(0);
        else checkWritten(file, start, bytes);
      }
      this.#checkReads(file);
    }
    const { budgetBytes, usedBytes, heldBytes } = this.cache.use;
    expect(heldBytes).toBeGreaterThanOrEqual(heldCount * GRANULE_BYTES);
    expect(usedBytes).toBeGreaterThanOrEqual(heldBytes);
    expect(budgetBytes).toBeGreaterThanOrEqual(usedBytes);
  }

  /** Gives everything up, and checks that nothing is left. */
  finish(): void {
    const all = { fromBytes: 0, toBytes: this.sizeBytes };
    for (const { pages } of this.files) {
      pages.release(all);
      pages.dropClean(all);
    }
    for (const filling of this.#fillings) filling.release();
    expect(this.cache.use).toMatchObject({ usedBytes: 0, heldBytes: 0 });
  }

  #checkReads(file: ModelFile): void {
    const into = new Uint8Array(this.sizeBytes);
    for (let at = 0; at < this.sizeBytes; ) {
      const done = file.pages.read(at, into.subarray(at));
      const states = [...file.states];
      const from = Math.floor(at / GRANULE_BYTES);
      const end = states.findIndex((state, granule) => granule >= from && state !== UPTODATE);
      expect(at + done).toBe(end < 0 ? this.sizeBytes : Math.max(at, end * GRANULE_BYTES));
      expect(Buffer.compare(into.subarray(at, at + done), file.bytes.subarray(at, at + done))).toBe(0);
      at += done + 3001;
    }
  }
}

function checkWritten(file: ModelFile, start: number, bytes: Uint8Array): void {
  for (const [index, byte] of bytes.entries()) {
    if (file.written[start + index] === 0 || byte === file.bytes[start + index]) continue;
    expect.fail(`byte ${start + index} is ${byte}, not ${file.bytes[start + index]}`);
  }
}

function rangesOf(states: Uint8Array, isWanted: (granule: number, state: number) => boolean): ByteRange[] {
  const found: { fromBytes: number; toBytes: number }[] = [];
  for (const [granule, state] of states.entries()) {
    if (!isWanted(granule, state)) continue;
    const start = granule * GRANULE_BYTES;
    const last = found.at(-1);
    if (last?.toBytes === start) last.toBytes = start + GRANULE_BYTES;
    else found.push({ fromBytes: start, toBytes: start + GRANULE_BYTES });
  }
  return found;
}
