/**
 * The regions that there are: append-only files, each written once, read for a while, and given up as a whole.
 *
 * A region id is slot + 2^16 × generation. The table of slots is shared memory, for readers on other threads:
 *
 *   word  slot
 *      0  region id; 0 when the slot is free, or its region is given up
 *      1  file descriptor, -1 while it is not open
 *      2  readers under way
 *      3  zero
 *
 * A reader adds itself (2), checks that the id (0) is still the one of its entry, reads, and takes itself off. Whoever gives a
 * region up first clears the id, removes the file, and closes the descriptor when there are no readers any more: so nobody
 * ever reads from a descriptor that means another file by then. Who writes to a region is one of its readers meanwhile: for
 * a write that would be worse.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fromHex, toHex } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { randomBytes } from '../../base/random.ts';
import type { CacheFile, CacheFiles } from '../base/files.ts';
import { UnderWay } from '../base/pending-work.ts';
import { RegionList, type RegionQueue } from './zone-format.ts';

export const SLOT_WORDS = 4;
const SLOT_COUNT = 0x1_0000;
/** Of full regions; those that are written to or read come on top. */
const OPEN_FILES_MAX = 256;
const CLOSE_WAIT_MS = 10_000;

export const REGION_FOLDERS = { clean: 'regions', dirty: 'dirty' } as const;

export class Region {
  readonly id: number;
  readonly name: Uint8Array<ArrayBuffer>;
  queue: RegionQueue;
  readonly sequence: number;
  /** Where the next unit goes; the end of the data once it is full. */
  endBytes = 0;
  /** Of units that the index still finds here. */
  liveBytes = 0;
  /** On the disk, with the footer. */
  fileBytes = 0;
  /** Units so far; kept only while there is no footer to read them from. */
  list: RegionList | undefined;
  /** Nothing is written to it any more. */
  isFull = false;
  isDead = false;
  file: CacheFile | undefined;
  opening: Promise<CacheFile> | undefined;

  constructor(id: number, name: Uint8Array<ArrayBuffer>, queue: RegionQueue, sequence: number) {
    this.id = id;
    this.name = name;
    this.queue = queue;
    this.sequence = sequence;
  }

  get path(): string {
    return regionPath(this.queue, this.name);
  }
}

export function regionPath(queue: RegionQueue, name: Uint8Array): string {
  return `${queue === 'dirty' ? REGION_FOLDERS.dirty : REGION_FOLDERS.clean}/${toHex(name)}`;
}

/** The name in a file's name; undefined for files that are no region's. */
export function regionNameOf(fileName: string): Uint8Array<ArrayBuffer> | undefined {
  return /^[0-9a-f]{32}$/.test(fileName) ? fromHex(fileName) : undefined;
}

export class Regions {
  readonly slots: Int32Array<SharedArrayBuffer> = new Int32Array(
    new SharedArrayBuffer(SLOT_COUNT * SLOT_WORDS * 4),
  );
  readonly #files: CacheFiles;
  readonly #regions = new Map<number, Region>();
  /** Full regions by queue, oldest first. */
  readonly #queues: Record<RegionQueue, Set<Region>> = {
    small: new Set(),
    main: new Set(),
    pinned: new Set(),
    dirty: new Set(),
  };
  /** Given up, and still read by somebody. */
  readonly #leaving = new Set<Region>();
  /** The one used longest ago comes first. */
  readonly #open = new Set<Region>();
  readonly #openMax: number;
  readonly #closing = new UnderWay();
  /** Files of regions that were given up and could not be removed. */
  readonly #leftovers = new Set<string>();
  /** Changes whenever regions come or go. */
  version = 0;
  #nextSlot = 0;
  #nextSequence = 1;
  #generation: number = 1 + ((randomBytes(1)[0] ?? 0) & 0x7f);

  constructor(files: CacheFiles, openMax: number = OPEN_FILES_MAX) {
    this.#files = files;
    this.#openMax = openMax;
  }

  get(id: number): Region | undefined {
    const region = this.#regions.get(id & 0xffff);
    return region?.id === id ? region : undefined;
  }

  isDead = (id: number): boolean => this.slots[(id & 0xffff) * SLOT_WORDS] !== (id | 0);

  all(): Region[] {
    return [...this.#regions.values()];
  }

  /** Full regions of a queue, oldest first. */
  full(queue: RegionQueue): ReadonlySet<Region> {
    return this.#queues[queue];
  }

  bytesOf(queue: RegionQueue): number {
    let bytes = 0;
    for (const region of this.#regions.values()) {
      if (region.queue === queue && !region.isDead) bytes += region.fileBytes;
    }
    return bytes;
  }

  /** What regions that may be given up take, those that are open counted as full. */
  cleanBytes(regionBytes: number): number {
    let bytes = 0;
    for (const region of this.#regions.values()) {
      if (region.queue !== 'dirty' && !region.isDead) {
        bytes += region.isFull ? region.fileBytes : Math.max(regionBytes, region.fileBytes);
      }
    }
    return bytes;
  }

  /** Of all regions, and of those that go away when their readers do. */
  get totalBytes(): number {
    let bytes = 0;
    for (const region of this.#regions.values()) if (!region.isDead) bytes += region.fileBytes;
    for (const region of this.#leaving) bytes += region.fileBytes;
    return bytes;
  }

  get count(): number {
    return this.#regions.size;
  }

  /** A new, empty region with its file. System errors as they come; then there is none. */
  async create(queue: RegionQueue): Promise<Region> {
    await this.sweep();
    const region = new Region(this.#freeId(), randomBytes(16), queue, this.#nextSequence);
    this.#nextSequence += 1;
    region.list = new RegionList();
    // Taken before anybody else asks for a slot.
    this.#regions.set(region.id & 0xffff, region);
    try {
      region.file = await this.#files.open(region.path, 'create');
    } catch (error) {
      this.#regions.delete(region.id & 0xffff);
      throw error;
    }
    this.#enter(region);
    await this.#closeSome();
    return region;
  }

  /** Takes over a full region of an earlier session; undefined when its slot is taken. Of sequence 0: it is the latest. */
  adopt(
    name: Uint8Array<ArrayBuffer>,
    queue: RegionQueue,
    sequence: number,
    id: number,
    fileBytes: number,
  ): Region | undefined {
    if (id === 0 || this.#regions.has(id & 0xffff)) return undefined;
    const region = new Region(id, name, queue, sequence === 0 ? this.#nextSequence : sequence);
    region.fileBytes = fileBytes;
    region.isFull = true;
    this.#regions.set(id & 0xffff, region);
    this.#nextSequence = Math.max(this.#nextSequence, region.sequence + 1);
    this.#enter(region);
    this.#queues[queue].add(region);
    return region;
  }

  /** Gives an adopted region another id, as its own was taken. */
  newId(): number {
    return this.#freeId();
  }

  /** Takes a full region into another queue. System errors as they come; then it stays where it is. */
  async rename(region: Region, queue: RegionQueue): Promise<void> {
    await this.#files.rename(region.path, regionPath(queue, region.name));
    this.#queues[region.queue].delete(region);
    region.queue = queue;
  }

  /** Puts a full region behind all others of its queue. */
  postpone(region: Region): void {
    const queue = this.#queues[region.queue];
    if (queue.delete(region)) queue.add(region);
  }

  /** Sorts the queues by age, after many were adopted. */
  sortQueues(): void {
    for (const queue of Object.values(this.#queues)) {
      const sorted = [...queue].sort((left, right) => left.sequence - right.sequence);
      queue.clear();
      for (const region of sorted) queue.add(region);
    }
  }

  /** Nothing more is written to it. */
  finish(region: Region): void {
    this.version += 1;
    region.isFull = true;
    if (!region.isDead) this.#queues[region.queue].add(region);
  }

  /** Its file, opened if need be. System errors as they come. Pin the region first. */
  async fileOf(region: Region): Promise<CacheFile> {
    if (region.file !== undefined) {
      this.#open.delete(region);
      this.#open.add(region);
      return region.file;
    }
    region.opening ??= this.#openFile(region).finally(() => {
      region.opening = undefined;
    });
    return region.opening;
  }

  /** Says that somebody reads the region, or writes to it: false when it is given up already. */
  pin(region: Region): boolean {
    const at = (region.id & 0xffff) * SLOT_WORDS;
    Atomics.add(this.slots, at + 2, 1);
    if (Atomics.load(this.slots, at) === (region.id | 0)) return true;
    this.unpin(region);
    return false;
  }

  unpin(region: Region): void {
    const at = (region.id & 0xffff) * SLOT_WORDS;
    if (Atomics.sub(this.slots, at + 2, 1) === 1 && region.isDead)
      void this.#closing.add(this.#leave(region));
  }

  readersOf(region: Region): number {
    return Atomics.load(this.slots, (region.id & 0xffff) * SLOT_WORDS + 2);
  }

  /** Gives a region up: nothing is found in it from now on. Its file goes; readers under way finish. Never rejects. */
  async giveUp(region: Region, keepFile = false): Promise<void> {
    if (region.isDead) return;
    this.version += 1;
    region.isDead = true;
    Atomics.store(this.slots, (region.id & 0xffff) * SLOT_WORDS, 0);
    this.#queues[region.queue].delete(region);
    this.#leaving.add(region);
    if (!keepFile) await this.#remove(region.path);
    await this.#leave(region);
  }

  async #remove(path: string): Promise<void> {
    try {
      await this.#files.remove(path);
      this.#leftovers.delete(path);
    } catch {
      this.#leftovers.add(path);
    }
  }

  /** Closes what readers on other threads have left by now, and tries again to remove what could not be removed. */
  async sweep(): Promise<void> {
    for (const region of [...this.#leaving]) await this.#leave(region);
    for (const path of [...this.#leftovers]) await this.#remove(path);
  }

  /** Closes everything, when nobody reads any more. Whoever still does after ten seconds keeps the descriptor. */
  async closeAll(): Promise<void> {
    const regions = new Set([...this.#regions.values(), ...this.#leaving]);
    const endMs = performance.now() + CLOSE_WAIT_MS;
    for (const region of regions) {
      // Nobody begins to read from now on.
      Atomics.store(this.slots, (region.id & 0xffff) * SLOT_WORDS, 0);
      while (this.readersOf(region) > 0 && performance.now() < endMs) await sleep(1);
      if (this.readersOf(region) === 0) await this.#closeFile(region);
    }
    await this.#closing.idle();
  }

  async #leave(region: Region): Promise<void> {
    if (!this.#leaving.has(region) || this.readersOf(region) > 0) return;
    this.#leaving.delete(region);
    const slot = region.id & 0xffff;
    if (this.#regions.get(slot) === region) this.#regions.delete(slot);
    await this.#closeFile(region);
  }

  async #openFile(region: Region): Promise<CacheFile> {
    const file = await this.#files.open(region.path, 'read');
    if (region.isDead && this.readersOf(region) === 0) {
      await file.close();
      throw new NetsealError('EIO', 'the region was given up meanwhile');
    }
    region.file = file;
    this.#open.add(region);
    Atomics.store(this.slots, (region.id & 0xffff) * SLOT_WORDS + 1, file.descriptor);
    await this.#closeSome();
    return file;
  }

  async #closeFile(region: Region): Promise<void> {
    const { file } = region;
    if (file === undefined) return;
    region.file = undefined;
    this.#open.delete(region);
    const at = (region.id & 0xffff) * SLOT_WORDS;
    if (this.slots[at + 1] === file.descriptor) Atomics.store(this.slots, at + 1, -1);
    await this.#closing.add(file.close());
  }

  async #closeSome(): Promise<void> {
    for (const region of this.#open) {
      if (this.#open.size <= this.#openMax) return;
      if (region.isFull && this.#takeDescriptor(region)) await this.#closeFile(region);
    }
  }

  /** Takes the descriptor out of the table, unless somebody reads from it. First out, then a look: readers do it the other way. */
  #takeDescriptor(region: Region): boolean {
    const at = (region.id & 0xffff) * SLOT_WORDS + 1;
    const descriptor = Atomics.exchange(this.slots, at, -1);
    if (this.readersOf(region) === 0) return true;
    Atomics.store(this.slots, at, descriptor);
    return false;
  }

  #enter(region: Region): void {
    this.version += 1;
    const at = (region.id & 0xffff) * SLOT_WORDS;
    Atomics.store(this.slots, at + 1, region.file?.descriptor ?? -1);
    Atomics.store(this.slots, at, region.id | 0);
    if (region.file !== undefined) this.#open.add(region);
  }

  #freeId(): number {
    for (let tries = 0; tries < SLOT_COUNT; tries += 1) {
      const slot = this.#nextSlot;
      this.#nextSlot = (slot + 1) % SLOT_COUNT;
      if (this.#nextSlot === 0) this.#generation = (this.#generation % 0xffff) + 1;
      if (!this.#regions.has(slot) && this.#readersAt(slot) === 0)
        return (slot + this.#generation * SLOT_COUNT) >>> 0;
    }
    throw new NetsealError('EFULL', `a cache has at most ${SLOT_COUNT} regions: use larger ones`);
  }

  #readersAt(slot: number): number {
    return Atomics.load(this.slots, slot * SLOT_WORDS + 2);
  }
}
