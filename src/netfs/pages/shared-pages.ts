/**
 * A page cache in shared memory. One thread changes it; any thread can read hits by a `PageReader`.
 *
 *   file-pages.ts      what is done to the pages of one file
 *   filling.ts         memory that workers write to
 *   page-table.ts      entries, and what they hold
 *   page-room.ts       memory for them; eviction
 *   frame-pool.ts      which memory is free
 *   file-slots.ts      what other threads may know of a file
 *   page-memory.ts     the shared words, and how threads agree on them
 *   page-copier.ts     copying bytes out while they may be changed
 *   page-reader.ts     reading on another thread
 */
import type { CallOptions } from '../../base/call-options.ts';
import { NetsealError } from '../../base/errors.ts';
import { Waiters } from '../../base/waiters.ts';
import { SharedFilePages } from './file-pages.ts';
import { FileSlots } from './file-slots.ts';
import { reserveFilling } from './filling.ts';
import { POOL_BYTES_PER_FRAME } from './frame-pool.ts';
import { PageCopier } from './page-copier.ts';
import { BLOCK_BYTES, createPageMemory, type PageMemory } from './page-memory.ts';
import { PageRoom } from './page-room.ts';
import { PageTable } from './page-table.ts';
import type { Filling, PageCache, PageUse } from './pages.ts';

/** More open files than this work as well, but other threads cannot read them. */
const SLOTS = 4096;

export interface SharedPagesSettings {
  /** How many files other threads can read. Each takes 64 bytes of the budget. Default 4096. */
  readonly slots?: number;
}

export class SharedPages implements PageCache {
  /** What a `PageReader` of another thread needs. */
  readonly memory: PageMemory;
  readonly #table: PageTable;
  readonly #room: PageRoom;
  readonly #slots: FileSlots;
  readonly #copier: PageCopier;
  /** Each waits for the counter to be beyond what it was. */
  readonly #waiters = new Waiters((seenCount: number) => (this.#freedCount > seenCount ? true : undefined));
  #freedCount = 0;
  #isClosed = false;

  /**
   * Allocates all memory. EINVAL when the budget is too small, or the system does not give so much.
   *
   * @param budgetBytes for the pages and for everything that is kept about them.
   */
  constructor(budgetBytes: number, { slots = SLOTS }: SharedPagesSettings = {}) {
    this.memory = createPageMemory(budgetBytes, slots, POOL_BYTES_PER_FRAME);
    this.#table = new PageTable(this.memory, () => this.#freed());
    this.#room = new PageRoom(this.#table, () => this.#freed());
    this.#slots = new FileSlots(this.memory);
    this.#copier = new PageCopier(this.memory);
  }

  get use(): PageUse {
    return {
      budgetBytes: this.memory.frameCount * BLOCK_BYTES,
      usedBytes: this.#table.usedBytes + this.#room.fillingBytes,
      heldBytes: this.#table.heldBytes,
    };
  }

  addFile(key: Uint8Array): SharedFilePages {
    if (this.#isClosed) throw closedError();
    return new SharedFilePages(this.#table, this.#room, this.#slots, this.#copier, this.#slots.add(key));
  }

  reserve(lengthBytes: number): Filling | undefined {
    if (this.#isClosed) throw closedError();
    return reserveFilling(this.memory, this.#room, lengthBytes);
  }

  async waitForRoom(options: CallOptions = {}): Promise<void> {
    if (this.#isClosed) throw closedError();
    await this.#waiters.wait(this.#freedCount, options.signal);
  }

  close(): void {
    this.#isClosed = true;
    this.#slots.hideAll();
    this.#waiters.failAll(closedError());
  }

  #freed(): void {
    this.#freedCount += 1;
    this.#waiters.serve();
  }
}

function closedError(): NetsealError {
  return new NetsealError('ECLOSED', 'the page cache is closed');
}
