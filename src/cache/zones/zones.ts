/**
 * The zones of a cache: files that are appended to until they are full, read for a while, and given up as a
 * whole. `slots.ts` says how other threads read them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fromHex, toHex } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { randomBytes } from '../../base/random.ts';
import type { CacheFile, CacheFiles } from '../base/files.ts';
import { PendingWork } from '../base/pending-work.ts';
import {
  addReader,
  clearDescriptor,
  clearZone,
  enterZone,
  hasZone,
  newSlots,
  readerCount,
  removeReader,
  SLOT_COUNT,
  type Slots,
  setDescriptor,
  slotOf,
  takeDescriptor,
} from './slots.ts';
import { ZoneList, type ZoneQueue } from './zone-format.ts';

/** How many files of full zones stay open. Zones that are written to or read come on top. */
const OPEN_FILES_MAX = 256;
const CLOSE_WAIT_MS = 10_000;

export const ZONE_FOLDERS = { clean: 'zones', dirty: 'dirty' } as const;

export class Zone {
  readonly id: number;
  readonly name: Uint8Array<ArrayBuffer>;
  queue: ZoneQueue;
  readonly sequence: number;
  /** Where the next unit goes. Where the units end once the zone is full. */
  endBytes = 0;
  /** Sum of the lengths of units that the index still finds here. */
  liveBytes = 0;
  /** Length of the file, with footer and trailer once it has them. */
  fileBytes = 0;
  /** The units so far. Kept until there is a footer to read them from. */
  list: ZoneList | undefined;
  /** True when nothing more will be written to it. */
  isFull = false;
  /** True when it was given up. It may still have readers. */
  isDead = false;
  file: CacheFile | undefined;
  opening: Promise<CacheFile> | undefined;

  constructor(id: number, name: Uint8Array<ArrayBuffer>, queue: ZoneQueue, sequence: number) {
    this.id = id;
    this.name = name;
    this.queue = queue;
    this.sequence = sequence;
  }

  get path(): string {
    return zonePath(this.queue, this.name);
  }
}

export function zonePath(queue: ZoneQueue, name: Uint8Array): string {
  return `${queue === 'dirty' ? ZONE_FOLDERS.dirty : ZONE_FOLDERS.clean}/${toHex(name)}`;
}

/** The zone's name, from the name of its file; undefined for files that are not zones. */
export function zoneNameOf(fileName: string): Uint8Array<ArrayBuffer> | undefined {
  return /^[0-9a-f]{32}$/.test(fileName) ? fromHex(fileName) : undefined;
}

export class Zones {
  readonly slots: Slots = newSlots();
  readonly #files: CacheFiles;
  readonly #zones = new Map<number, Zone>();
  /** Full zones by queue, oldest first. */
  readonly #queues: Record<ZoneQueue, Set<Zone>> = {
    small: new Set(),
    main: new Set(),
    pinned: new Set(),
    dirty: new Set(),
  };
  /** Zones that were given up and are still being read. */
  readonly #leaving = new Set<Zone>();
  /** Zones whose files are open; the one used longest ago comes first. */
  readonly #open = new Set<Zone>();
  readonly #openMax: number;
  readonly #closing = new PendingWork();
  /** Files of zones that were given up and could not be removed. */
  readonly #leftovers = new Set<string>();
  /** Changes whenever zones come or go. */
  version = 0;
  #filledCount = 0;
  #nextSlot = 0;
  #nextSequence = 1;
  #generation: number = 1 + ((randomBytes(1)[0] ?? 0) & 0x7f);

  constructor(files: CacheFiles, openMax: number = OPEN_FILES_MAX) {
    this.#files = files;
    this.#openMax = openMax;
  }

  get(id: number): Zone | undefined {
    const zone = this.#zones.get(slotOf(id));
    return zone?.id === id ? zone : undefined;
  }

  /** True when no zone has this id: it was given up, or never was. */
  isDead = (id: number): boolean => !hasZone(this.slots, id);

  all(): Zone[] {
    return [...this.#zones.values()];
  }

  /** Full zones of a queue, oldest first. */
  full(queue: ZoneQueue): ReadonlySet<Zone> {
    return this.#queues[queue];
  }

  bytesOf(queue: ZoneQueue): number {
    let bytes = 0;
    for (const zone of this.#zones.values()) {
      if (zone.queue === queue && !zone.isDead) bytes += zone.fileBytes;
    }
    return bytes;
  }

  /** Bytes that clean zones take on the disk. Zones that are still written to count as full. */
  cleanBytes(zoneBytes: number): number {
    let bytes = 0;
    for (const zone of this.#zones.values()) {
      if (zone.queue !== 'dirty' && !zone.isDead) {
        bytes += zone.isFull ? zone.fileBytes : Math.max(zoneBytes, zone.fileBytes);
      }
    }
    return bytes;
  }

  /** Bytes of all zones, with those that were given up and wait for their last reader. */
  get totalBytes(): number {
    let bytes = 0;
    for (const zone of this.#zones.values()) if (!zone.isDead) bytes += zone.fileBytes;
    for (const zone of this.#leaving) bytes += zone.fileBytes;
    return bytes;
  }

  get count(): number {
    return this.#zones.size;
  }

  /** Makes an empty zone and its file. System errors as they come; then there is no zone. */
  async create(queue: ZoneQueue): Promise<Zone> {
    await this.sweep();
    const zone = new Zone(this.#freeId(), randomBytes(16), queue, this.#nextSequence);
    this.#nextSequence += 1;
    zone.list = new ZoneList();
    // Takes the slot before the first `await`.
    this.#zones.set(slotOf(zone.id), zone);
    try {
      zone.file = await this.#files.open(zone.path, 'create');
    } catch (error) {
      this.#zones.delete(slotOf(zone.id));
      throw error;
    }
    this.#enter(zone);
    await this.#closeSome();
    return zone;
  }

  /**
   * Takes over a full zone of an earlier opening. Undefined when its slot is taken. With sequence 0, it
   * becomes the latest.
   */
  adopt(
    name: Uint8Array<ArrayBuffer>,
    queue: ZoneQueue,
    sequence: number,
    id: number,
    fileBytes: number,
  ): Zone | undefined {
    if (id === 0 || this.#zones.has(slotOf(id))) return undefined;
    const zone = new Zone(id, name, queue, sequence === 0 ? this.#nextSequence : sequence);
    zone.fileBytes = fileBytes;
    zone.isFull = true;
    this.#zones.set(slotOf(id), zone);
    this.#nextSequence = Math.max(this.#nextSequence, zone.sequence + 1);
    this.#enter(zone);
    this.#queues[queue].add(zone);
    return zone;
  }

  /** Returns a free id, for a zone to adopt whose own slot is taken. */
  newId(): number {
    return this.#freeId();
  }

  /**
   * Takes a full zone out of its queue, and moves its file to the folder of `queue`. The caller adds it to
   * that queue by {@link finish}. System errors as they come; then nothing has changed.
   */
  async rename(zone: Zone, queue: ZoneQueue): Promise<void> {
    await this.#files.rename(zone.path, zonePath(queue, zone.name));
    this.#queues[zone.queue].delete(zone);
    zone.queue = queue;
  }

  /** Moves a full zone to the end of its queue. */
  postpone(zone: Zone): void {
    const queue = this.#queues[zone.queue];
    if (queue.delete(zone)) queue.add(zone);
  }

  /** Sorts the queues by age. Call it after zones were adopted. */
  sortQueues(): void {
    for (const queue of Object.values(this.#queues)) {
      const sorted = [...queue].sort((left, right) => left.sequence - right.sequence);
      queue.clear();
      for (const zone of sorted) queue.add(zone);
    }
  }

  /** How many zones of clean units have filled since the cache was opened. */
  get filledCount(): number {
    return this.#filledCount;
  }

  /** Puts a zone among the full ones: nothing more will be written to it. */
  finish(zone: Zone): void {
    this.version += 1;
    if (zone.queue !== 'dirty') this.#filledCount += 1;
    zone.isFull = true;
    if (!zone.isDead) this.#queues[zone.queue].add(zone);
  }

  /** Returns the zone's file, opened if need be. {@link pin} the zone first. System errors as they come. */
  async fileOf(zone: Zone): Promise<CacheFile> {
    if (zone.file !== undefined) {
      this.#open.delete(zone);
      this.#open.add(zone);
      return zone.file;
    }
    zone.opening ??= this.#openFile(zone).finally(() => {
      zone.opening = undefined;
    });
    return zone.opening;
  }

  /**
   * Counts a reader or writer of the zone, until {@link unpin}. False when the zone was given up: then
   * nothing is counted.
   */
  pin(zone: Zone): boolean {
    if (addReader(this.slots, zone.id)) return true;
    this.unpin(zone);
    return false;
  }

  unpin(zone: Zone): void {
    if (removeReader(this.slots, zone.id) === 0 && zone.isDead) void this.#closing.add(this.#leave(zone));
  }

  readersOf(zone: Zone): number {
    return readerCount(this.slots, zone.id);
  }

  /**
   * Gives a zone up: nothing is found in it from now on, and its file is removed. Readers under way finish.
   * Never rejects.
   */
  async giveUp(zone: Zone, keepFile = false): Promise<void> {
    if (zone.isDead) return;
    this.version += 1;
    zone.isDead = true;
    clearZone(this.slots, zone.id);
    this.#queues[zone.queue].delete(zone);
    this.#leaving.add(zone);
    if (!keepFile) await this.#remove(zone.path);
    await this.#leave(zone);
  }

  async #remove(path: string): Promise<void> {
    try {
      await this.#files.remove(path);
      this.#leftovers.delete(path);
    } catch {
      this.#leftovers.add(path);
    }
  }

  /**
   * Closes zones that were given up and have lost their last reader, and tries again to remove files that
   * could not be removed.
   */
  async sweep(): Promise<void> {
    for (const zone of [...this.#leaving]) await this.#leave(zone);
    for (const path of [...this.#leftovers]) await this.#remove(path);
  }

  /**
   * Closes every file, each after its last reader. A file that is still read after ten seconds stays open.
   */
  async closeAll(): Promise<void> {
    const zones = new Set([...this.#zones.values(), ...this.#leaving]);
    const endMs = performance.now() + CLOSE_WAIT_MS;
    for (const zone of zones) {
      // No new reader from now on.
      clearZone(this.slots, zone.id);
      while (this.readersOf(zone) > 0 && performance.now() < endMs) await sleep(1);
      if (this.readersOf(zone) === 0) await this.#closeFile(zone);
    }
    await this.#closing.idle();
  }

  async #leave(zone: Zone): Promise<void> {
    if (!this.#leaving.has(zone) || this.readersOf(zone) > 0) return;
    this.#leaving.delete(zone);
    const slot = slotOf(zone.id);
    if (this.#zones.get(slot) === zone) this.#zones.delete(slot);
    await this.#closeFile(zone);
  }

  async #openFile(zone: Zone): Promise<CacheFile> {
    const file = await this.#files.open(zone.path, 'read');
    if (zone.isDead && this.readersOf(zone) === 0) {
      await file.close();
      throw new NetsealError('EIO', 'the zone was given up meanwhile');
    }
    zone.file = file;
    this.#open.add(zone);
    setDescriptor(this.slots, zone.id, file.descriptor);
    await this.#closeSome();
    return file;
  }

  async #closeFile(zone: Zone): Promise<void> {
    const { file } = zone;
    if (file === undefined) return;
    zone.file = undefined;
    this.#open.delete(zone);
    clearDescriptor(this.slots, zone.id, file.descriptor);
    await this.#closing.add(file.close());
  }

  async #closeSome(): Promise<void> {
    for (const zone of this.#open) {
      if (this.#open.size <= this.#openMax) return;
      if (zone.isFull && takeDescriptor(this.slots, zone.id)) await this.#closeFile(zone);
    }
  }

  #enter(zone: Zone): void {
    this.version += 1;
    enterZone(this.slots, zone.id, zone.file?.descriptor);
    if (zone.file !== undefined) this.#open.add(zone);
  }

  #freeId(): number {
    for (let tries = 0; tries < SLOT_COUNT; tries += 1) {
      const slot = this.#nextSlot;
      this.#nextSlot = (slot + 1) % SLOT_COUNT;
      if (this.#nextSlot === 0) this.#generation = (this.#generation % 0xffff) + 1;
      if (!this.#zones.has(slot) && readerCount(this.slots, slot) === 0)
        return (slot + this.#generation * SLOT_COUNT) >>> 0;
    }
    throw new NetsealError('EFULL', `a cache has at most ${SLOT_COUNT} zones: use larger ones`);
  }
}
