/** The pages of one file in shared memory. Blocks and granules are counted from the start of the file. */
import { NetsealError } from '../../base/errors.ts';
import { bytesIn, coveredBy, lowestBit, touchedBy } from './bits.ts';
import type { FileSlots, PageFileRef } from './file-slots.ts';
import { FrameFilling } from './filling.ts';
import type { PageCopier } from './page-copier.ts';
import { ALL_GRANULES, BLOCK_BYTES, BLOCK_GRANULES, offsetOf, slabOf } from './page-memory.ts';
import type { PageRoom } from './page-room.ts';
import type { FileEntries, PageTable } from './page-table.ts';
import { type ByteRange, type FilePages, type Filling, GRANULE_BYTES, type PageFacts } from './pages.ts';

const NOTHING = new Uint8Array(0);
const LAST_GRANULE: number = 1 << (BLOCK_GRANULES - 1);

export class SharedFilePages implements FilePages {
  readonly #table: PageTable;
  readonly #room: PageRoom;
  readonly #slots: FileSlots;
  readonly #copier: PageCopier;
  readonly #entries: FileEntries;

  /** @param number given by `slots`; given back by {@link remove}. */
  constructor(table: PageTable, room: PageRoom, slots: FileSlots, copier: PageCopier, number: number) {
    this.#table = table;
    this.#room = room;
    this.#slots = slots;
    this.#copier = copier;
    this.#entries = table.addFile(number);
  }

  /** What another thread needs to read this file; undefined when too many are open. */
  get ref(): PageFileRef | undefined {
    return this.#slots.refOf(this.#entries.number);
  }

  read(offsetBytes: number, into: Uint8Array): number {
    return this.#copier.read(this.#entries.number, offsetBytes, into, into.byteLength);
  }

  copyOut(offsetBytes: number, into: Uint8Array): void {
    let done = 0;
    while (done < into.byteLength) {
      const block = Math.floor((offsetBytes + done) / BLOCK_BYTES);
      const start = offsetBytes + done - block * BLOCK_BYTES;
      const end = Math.min(BLOCK_BYTES, start + into.byteLength - done);
      const entry = this.#find(block);
      const present = entry === 0 ? 0 : this.#table.presentOf(entry);
      if ((touchedBy(start, end) & ~present) !== 0) {
        throw new NetsealError('EBUG', `not all is cached from byte ${offsetBytes + done} on`);
      }
      this.#table.copyOut(entry, start, end, into, done);
      done += end - start;
    }
  }

  write(offsetBytes: number, from: Uint8Array): number {
    let done = 0;
    while (done < from.byteLength) {
      const block = Math.floor((offsetBytes + done) / BLOCK_BYTES);
      const start = offsetBytes + done - block * BLOCK_BYTES;
      const end = Math.min(BLOCK_BYTES, start + from.byteLength - done);
      const written = this.#writeBlock(block, start, end, from, done);
      done += written;
      if (start + written < end) break;
    }
    return done;
  }

  /** Writes the bytes [start, end) of a block, or fewer. Returns how many. */
  #writeBlock(block: number, start: number, wantedEnd: number, from: Uint8Array, at: number): number {
    const table = this.#table;
    const known = this.#find(block);
    const present = known === 0 ? 0 : table.presentOf(known);
    const absent = touchedBy(start, wantedEnd) & ~present;
    const granted = absent === 0 ? 0 : this.#take(known, block, absent, start === 0, 1);
    const refused = absent & ~granted;
    const end = refused === 0 ? wantedEnd : lowestBit(refused) * GRANULE_BYTES;
    if (end <= start) return 0;
    const entry = known === 0 ? table.add(this.#entries, block) : known;
    if (known !== 0) table.begin(entry);
    this.#room.place(entry, granted);
    const covered = coveredBy(start, end);
    // What a new granule holds besides the write was another file's.
    for (let left = granted & ~covered; left !== 0; left &= left - 1) {
      const granule = lowestBit(left) * GRANULE_BYTES;
      table.copyIn(entry, granule, granule + GRANULE_BYTES, NOTHING, 0);
    }
    table.copyIn(entry, start, end, from, at);
    const held = table.heldOf(entry) | touchedBy(start, end);
    table.setStates(entry, table.uptodateOf(entry) | covered, held);
    table.noteUse(entry);
    table.end(entry);
    return end - start;
  }

  fill(range: ByteRange, from: Uint8Array = NOTHING, keep: readonly ByteRange[] = []): void {
    const first = Math.ceil(range.fromBytes / GRANULE_BYTES) * GRANULE_BYTES;
    const last = Math.floor(range.toBytes / GRANULE_BYTES) * GRANULE_BYTES;
    for (let at = first; at < last; ) {
      const block = Math.floor(at / BLOCK_BYTES);
      const start = at - block * BLOCK_BYTES;
      const end = Math.min(BLOCK_BYTES, start + last - at);
      this.#fillBlock(
        block,
        start,
        end,
        from,
        at - range.fromBytes,
        keep,
        Math.ceil((last - at) / BLOCK_BYTES),
      );
      at += end - start;
    }
  }

  insert(offsetBytes: number, filling: Filling, keep: readonly ByteRange[]): void {
    if (!(filling instanceof FrameFilling) || offsetBytes % BLOCK_BYTES !== 0) {
      throw new NetsealError('EBUG', `memory that was filled is inserted at byte ${offsetBytes}`);
    }
    const first = offsetBytes / BLOCK_BYTES;
    for (const [index, frame] of filling.takeFrames(this.#room).entries()) {
      const bytes = Math.min(BLOCK_BYTES, filling.lengthBytes - index * BLOCK_BYTES);
      this.#insertFrame(first + index, frame, coveredBy(0, bytes), keep);
    }
  }

  /**
   * Makes the frame the block's own. If the block has one already, copies the bytes into that, and frees the
   * frame.
   */
  #insertFrame(block: number, frame: number, filled: number, keep: readonly ByteRange[]): void {
    const table = this.#table;
    const known = this.#find(block);
    const slab = slabOf(table.memory, frame);
    const isNeeded = filled !== 0 && (known === 0 || !table.hasFrame(known));
    if (isNeeded) {
      const entry = known === 0 ? table.add(this.#entries, block) : known;
      if (known !== 0) table.begin(entry);
      const partial = filled & table.heldOf(entry) & ~table.uptodateOf(entry);
      for (let left = partial; left !== 0; left &= left - 1) {
        this.#complete(entry, block, lowestBit(left), slab, offsetOf(frame), keep);
      }
      table.giveFrame(entry, frame);
      table.setStates(entry, table.uptodateOf(entry) | filled, table.heldOf(entry));
      table.end(entry);
    } else if (filled !== 0) {
      const end = bytesIn(filled, 0, BLOCK_BYTES);
      this.#fillBlock(block, 0, end, slab, offsetOf(frame), keep, 1);
    }
    this.#room.endFilling(frame, !isNeeded);
  }

  /** Fills granules of a block, from the bytes at `fromOffset` on, which are those at `start`. */
  #fillBlock(
    block: number,
    start: number,
    end: number,
    from: Uint8Array,
    fromOffset: number,
    keep: readonly ByteRange[],
    runLength: number,
  ): void {
    const table = this.#table;
    const known = this.#find(block);
    const wanted = touchedBy(start, end);
    const uptodate = known === 0 ? 0 : table.uptodateOf(known);
    const present = known === 0 ? 0 : table.presentOf(known);
    const absent = wanted & ~present;
    const granted = absent === 0 ? 0 : this.#take(known, block, absent, false, runLength);
    const partial = wanted & present & ~uptodate;
    if ((granted | partial) === 0) return;
    const entry = known === 0 ? table.add(this.#entries, block) : known;
    if (known !== 0) table.begin(entry);
    this.#room.place(entry, granted);
    this.#copyGranules(entry, granted, from, fromOffset - start);
    for (let left = partial; left !== 0; left &= left - 1) {
      this.#complete(entry, block, lowestBit(left), from, fromOffset - start, keep);
    }
    table.setStates(entry, uptodate | granted | partial, table.heldOf(entry));
    table.end(entry);
  }

  /** Copies whole granules. Byte 0 of the block is at `fromOffset` of `from`, which may be below 0. */
  #copyGranules(entry: number, granules: number, from: Uint8Array, fromOffset: number): void {
    for (let left = granules; left !== 0; ) {
      const start = lowestBit(left) * GRANULE_BYTES;
      const end = start + bytesIn(left, start, BLOCK_BYTES - start);
      this.#table.copyIn(entry, start, end, from, fromOffset + start);
      left &= ~touchedBy(start, end);
    }
  }

  /** Copies what `keep` leaves of a granule. */
  #complete(
    entry: number,
    block: number,
    granule: number,
    from: Uint8Array,
    fromOffset: number,
    keep: readonly ByteRange[],
  ): void {
    const zero = block * BLOCK_BYTES;
    const end = (granule + 1) * GRANULE_BYTES;
    let at = granule * GRANULE_BYTES;
    for (const range of keep) {
      const keptFrom = range.fromBytes - zero;
      const keptTo = range.toBytes - zero;
      if (keptTo <= at) continue;
      if (keptFrom >= end) break;
      if (keptFrom > at) this.#table.copyIn(entry, at, keptFrom, from, fromOffset + at);
      at = keptTo;
    }
    if (at < end) this.#table.copyIn(entry, at, end, from, fromOffset + at);
  }

  markUptodate({ fromBytes, toBytes }: ByteRange): void {
    const first = Math.ceil(fromBytes / GRANULE_BYTES) * GRANULE_BYTES;
    const last = Math.floor(toBytes / GRANULE_BYTES) * GRANULE_BYTES;
    this.#change({ fromBytes: first, toBytes: last }, (entry, granules) => {
      const table = this.#table;
      const uptodate = table.uptodateOf(entry) | (granules & table.presentOf(entry));
      table.setStates(entry, uptodate, table.heldOf(entry));
    });
  }

  isUptodate({ fromBytes, toBytes }: ByteRange): boolean {
    for (let at = fromBytes; at < toBytes; ) {
      const block = Math.floor(at / BLOCK_BYTES);
      const start = at - block * BLOCK_BYTES;
      const end = Math.min(BLOCK_BYTES, start + toBytes - at);
      const entry = this.#find(block);
      if (entry === 0 || (touchedBy(start, end) & ~this.#table.uptodateOf(entry)) !== 0) return false;
      at += end - start;
    }
    return true;
  }

  missing(range: ByteRange): ByteRange[] {
    return this.#select(range, true, entry => ~this.#table.uptodateOf(entry));
  }

  clean(range: ByteRange): ByteRange[] {
    const table = this.#table;
    return this.#select(range, false, entry => table.presentOf(entry) & ~table.heldOf(entry));
  }

  release(range: ByteRange): void {
    const table = this.#table;
    this.#change(range, (entry, granules) => {
      const uptodate = table.uptodateOf(entry);
      table.drop(entry, granules & ~uptodate);
      table.setStates(entry, uptodate, table.heldOf(entry) & ~granules);
    });
  }

  dropClean(range: ByteRange): void {
    this.#slots.cut(this.#entries.number, Number.MAX_SAFE_INTEGER);
    this.#change(range, (entry, granules) => {
      this.#table.drop(entry, granules & ~this.#table.heldOf(entry));
    });
  }

  truncate(sizeBytes: number): void {
    const table = this.#table;
    this.#slots.cut(this.#entries.number, sizeBytes);
    this.#change({ fromBytes: sizeBytes, toBytes: Number.MAX_SAFE_INTEGER }, (entry, granules) => {
      const within = sizeBytes - table.blockOf(entry) * BLOCK_BYTES;
      const rest = within > 0 ? within % GRANULE_BYTES : 0;
      if (rest === 0) {
        table.drop(entry, granules);
        return;
      }
      const granule = lowestBit(granules);
      if ((table.presentOf(entry) & (1 << granule)) !== 0) {
        table.copyIn(entry, within, (granule + 1) * GRANULE_BYTES, NOTHING, 0);
      }
      table.drop(entry, granules & (granules - 1));
    });
  }

  publish({ sizeBytes, freshUntilNs }: PageFacts): void {
    this.#slots.publish(this.#entries.number, sizeBytes, freshUntilNs);
  }

  remove(): void {
    const { number } = this.#entries;
    this.#slots.hide(number);
    this.#change({ fromBytes: 0, toBytes: Number.MAX_SAFE_INTEGER }, entry => {
      this.#table.drop(entry, ALL_GRANULES);
    });
    this.#slots.giveBack(number);
    // Another file may get the number.
    this.#entries.number = 0;
  }

  #find(block: number): number {
    return this.#table.find(this.#entries, block);
  }

  /**
   * Takes memory as `PageRoom.take` does. If possible, the block's frame lies behind that of the block
   * before. A block with few granules gets a frame at once if writes continue from the block before and
   * filled its frame.
   */
  #take(entry: number, block: number, absent: number, mayBeSequel: boolean, runLength: number): number {
    const table = this.#table;
    let isSequel = false;
    let after = -1;
    if (block > 0 && (entry === 0 || !table.hasFrame(entry))) {
      const before = this.#find(block - 1);
      if (before !== 0) {
        after = table.frameOf(before);
        isSequel = mayBeSequel && after >= 0 && (table.heldOf(before) & LAST_GRANULE) !== 0;
      }
    }
    return this.#room.take(entry, absent, isSequel, after, runLength);
  }

  /** Lists the entries of the blocks that a range touches, ascending. */
  #within({ fromBytes, toBytes }: ByteRange): number[] {
    const table = this.#table;
    const first = Math.floor(fromBytes / BLOCK_BYTES);
    const end = Math.ceil(toBytes / BLOCK_BYTES);
    const found: number[] = [];
    if (end - first <= this.#entries.count) {
      for (let block = first; block < end; block += 1) {
        const entry = this.#find(block);
        if (entry !== 0) found.push(entry);
      }
      return found;
    }
    for (let entry = this.#entries.first; entry !== 0; entry = table.nextOf(entry)) {
      const block = table.blockOf(entry);
      if (block >= first && block < end) found.push(entry);
    }
    return found.sort((left, right) => table.blockOf(left) - table.blockOf(right));
  }

  /** Changes entries. The action is given those granules that the range touches; there is at least one. */
  #change({ fromBytes, toBytes }: ByteRange, action: (entry: number, granules: number) => void): void {
    if (fromBytes >= toBytes) return;
    for (const entry of this.#within({ fromBytes, toBytes })) {
      const zero = this.#table.blockOf(entry) * BLOCK_BYTES;
      const start = Math.max(0, fromBytes - zero);
      const end = Math.min(BLOCK_BYTES, toBytes - zero);
      this.#table.begin(entry);
      action(entry, touchedBy(start, end));
      this.#table.end(entry);
    }
  }

  /** Lists the parts of a range that are in wanted granules, ascending and joined. */
  #select(
    { fromBytes, toBytes }: ByteRange,
    isNoEntryWanted: boolean,
    wantedOf: (entry: number) => number,
  ): ByteRange[] {
    const found: { fromBytes: number; toBytes: number }[] = [];
    const add = (from: number, to: number): void => {
      const last = found.at(-1);
      if (last?.toBytes === from) last.toBytes = to;
      else if (from < to) found.push({ fromBytes: from, toBytes: to });
    };
    let at = fromBytes;
    for (const entry of fromBytes < toBytes ? this.#within({ fromBytes, toBytes }) : []) {
      const zero = this.#table.blockOf(entry) * BLOCK_BYTES;
      const start = Math.max(fromBytes, zero);
      const end = Math.min(toBytes, zero + BLOCK_BYTES);
      if (isNoEntryWanted) add(at, start);
      const wanted = wantedOf(entry) & touchedBy(start - zero, end - zero);
      for (let left = wanted; left !== 0; ) {
        const from = lowestBit(left) * GRANULE_BYTES;
        const to = from + bytesIn(left, from, BLOCK_BYTES - from);
        add(Math.max(start, zero + from), Math.min(end, zero + to));
        left &= ~touchedBy(from, to);
      }
      at = end;
    }
    if (isNoEntryWanted) add(at, toBytes);
    return found;
  }
}
