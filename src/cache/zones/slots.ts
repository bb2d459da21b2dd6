/**
 * The slots of a cache's zones: a table in shared memory by which threads agree on who uses a zone's file. A
 * zone id is slot + 2^16 × generation. So an id that stands in an old index entry is not that of a later zone
 * in the same slot.
 *
 *   word  slot
 *      0  zone id; 0 when the slot is free, or its zone was given up
 *      1  file descriptor, -1 while it is not open
 *      2  count of readers; who writes to the zone is one of them
 *      3  zero
 *
 * The system gives the number of a closed descriptor to the next file that is opened. No reader or writer may
 * use it for that file:
 *
 *   a reader, on any thread                      the owner, giving a zone up
 *   1. adds itself to the count (2)              1. clears the id (0)
 *   2. checks that the id (0) is the one         2. removes the file
 *      of its index entry                        3. closes the descriptor when the count (2) is 0
 *   3. reads, with the descriptor (1)
 *   4. takes itself off the count
 *
 * Each side writes first and then looks at what the other has written. So of the two, one always sees the
 * other.
 */
export type Slots = Int32Array<SharedArrayBuffer>;

export const SLOT_COUNT = 0x1_0000;
const SLOT_WORDS = 4;
const DESCRIPTOR_AT = 1;
const READERS_AT = 2;
const NO_DESCRIPTOR = -1;

export function newSlots(): Slots {
  return new Int32Array(new SharedArrayBuffer(SLOT_COUNT * SLOT_WORDS * 4));
}

/** Returns the slot of a zone id. */
export function slotOf(zoneId: number): number {
  return zoneId & 0xffff;
}

function wordOf(zoneId: number): number {
  return (zoneId & 0xffff) * SLOT_WORDS;
}

/** Enters a zone. @param descriptor that of its file; undefined while it is not open. */
export function enterZone(slots: Slots, zoneId: number, descriptor: number | undefined): void {
  Atomics.store(slots, wordOf(zoneId) + DESCRIPTOR_AT, descriptor ?? NO_DESCRIPTOR);
  Atomics.store(slots, wordOf(zoneId), zoneId | 0);
}

/** Clears the id of a zone: no new reader uses its file. */
export function clearZone(slots: Slots, zoneId: number): void {
  Atomics.store(slots, wordOf(zoneId), 0);
}

/** True when the slot has this zone. For the owner: other threads use {@link addReader}. */
export function hasZone(slots: Slots, zoneId: number): boolean {
  return slots[wordOf(zoneId)] === (zoneId | 0);
}

/**
 * Counts a reader. True when the slot has this zone: then its descriptor may be used. In any case, the caller
 * takes the reader off by {@link removeReader}.
 */
export function addReader(slots: Slots, zoneId: number): boolean {
  const at = wordOf(zoneId);
  Atomics.add(slots, at + READERS_AT, 1);
  return Atomics.load(slots, at) === (zoneId | 0);
}

/** Takes a reader off. Returns how many are left. */
export function removeReader(slots: Slots, zoneId: number): number {
  return Atomics.sub(slots, wordOf(zoneId) + READERS_AT, 1) - 1;
}

export function readerCount(slots: Slots, zoneId: number): number {
  return Atomics.load(slots, wordOf(zoneId) + READERS_AT);
}

/** Returns the descriptor of a zone that the caller reads, below 0 while its file is not open. */
export function descriptorOf(slots: Slots, zoneId: number): number {
  return Atomics.load(slots, wordOf(zoneId) + DESCRIPTOR_AT);
}

export function setDescriptor(slots: Slots, zoneId: number, descriptor: number): void {
  Atomics.store(slots, wordOf(zoneId) + DESCRIPTOR_AT, descriptor);
}

/** Takes a descriptor out of the slot, if it is still there. */
export function clearDescriptor(slots: Slots, zoneId: number, descriptor: number): void {
  const at = wordOf(zoneId) + DESCRIPTOR_AT;
  if (slots[at] === descriptor) Atomics.store(slots, at, NO_DESCRIPTOR);
}

/**
 * Takes a zone's descriptor out of the slot, unless the zone has readers. True when it did. It is taken out
 * first and put back if there are readers: a reader that counts itself after that finds none.
 */
export function takeDescriptor(slots: Slots, zoneId: number): boolean {
  const at = wordOf(zoneId) + DESCRIPTOR_AT;
  const descriptor = Atomics.exchange(slots, at, NO_DESCRIPTOR);
  if (readerCount(slots, zoneId) === 0) return true;
  Atomics.store(slots, at, descriptor);
  return false;
}
