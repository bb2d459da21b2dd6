/**
 * The index of units. It also keeps the sums that depend on it: how many bytes of each zone and of each
 * volume the index finds. Every change of the index goes through here, so that the sums are always right.
 */
import { u32At } from '../../base/bytes.ts';
import type { Counters } from '../base/statistics.ts';
import { fingerprintOf, newFingerprint, type Prefix } from '../index/fingerprints.ts';
import { Ghosts } from '../index/ghosts.ts';
import {
  clearEntry,
  coolEntry,
  countHit,
  createTable,
  ENTRY_DIRTY,
  ENTRY_WORDS,
  type Entry,
  entryAt,
  type Fingerprint,
  findEntry,
  type IndexTable,
  placeFor,
  sumEntries,
  usedEntries,
  writeEntry,
} from '../index/index-table.ts';
import type { Objects } from '../objects/objects.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import type { Zones } from '../zones/zones.ts';

/** How much of the index one call of {@link UnitIndex.sweep} looks at: about a millisecond. */
const SWEEP_WORDS = 65_536 * ENTRY_WORDS;

/** An entry, and the word of the table where it begins; -1 for an entry outside the table. */
export interface Found {
  readonly at: number;
  readonly entry: Entry;
}

export class UnitIndex {
  readonly table: IndexTable;
  readonly ghosts: Ghosts;
  readonly #zones: Zones;
  readonly #objects: Objects;
  readonly #counters: Counters;
  /**
   * Dirty units that found no place in the table: both of their buckets were full of pinned and dirty units.
   */
  readonly #overflow = new Map<string, Entry>();
  readonly #fingerprint: Fingerprint = newFingerprint();
  #count = 0;
  /** Grows with every change of the index by this thread. */
  changes = 0;
  /** The word at which {@link sweep} goes on. */
  #sweptWords = 0;

  constructor({ settings, counters }: CacheContext, zones: Zones, objects: Objects) {
    this.table = createTable(settings.unitsMax);
    this.ghosts = new Ghosts(settings.unitsMax);
    this.#zones = zones;
    this.#objects = objects;
    this.#counters = counters;
  }

  /** How many units the index finds. */
  get count(): number {
    return this.#count;
  }

  /**
   * True when the index has the unit, in any version or in the one with this tag. Only 8 bytes of the tag
   * count.
   */
  has(prefix: Prefix, index: number, expectedTag: Uint8Array | undefined): boolean {
    const found = this.find(fingerprintOf(prefix, index, this.#fingerprint));
    return found !== undefined && (expectedTag === undefined || hasTag(found.entry, expectedTag));
  }

  /** Looks a unit up. An entry that points into a zone that was given up is freed, and not found. */
  find(fingerprint: Fingerprint): Found | undefined {
    const at = findEntry(this.table, fingerprint);
    if (at < 0) return this.#findOverflow(fingerprint);
    const entry = entryAt(this.table, at);
    if (!this.#zones.isDead(entry.zoneId)) return { at, entry };
    this.#free(at, entry);
    return undefined;
  }

  /**
   * Enters a unit, in place of an older version or of the entry of its buckets that was hit least.
   *
   * @returns false for a clean unit when its buckets hold only pinned and dirty ones, or when there is a
   *   dirty version of it. A dirty unit is always entered.
   */
  insert(fingerprint: Fingerprint, entry: Entry): boolean {
    const isDirty = (entry.flags & ENTRY_DIRTY) !== 0;
    if (this.#overflow.size > 0 && this.#findOverflow(fingerprint) !== undefined) {
      if (!isDirty) return false;
      this.#removeOverflow(fingerprint);
    }
    const at = placeFor(this.table, fingerprint, this.#zones.isDead);
    if (at < 0) {
      if (isDirty) this.#overflow.set(overflowKey(fingerprint), entry);
      if (isDirty) this.#account(entry, 1);
      return isDirty;
    }
    if ((this.table.words[at + 4] ?? 0) !== 0) {
      const old = entryAt(this.table, at);
      const isOwn =
        this.table.words[at] === fingerprint.third && this.table.words[at + 1] === fingerprint.fourth;
      const isAlive = !this.#zones.isDead(old.zoneId);
      if (isOwn && isAlive && (old.flags & ENTRY_DIRTY) !== 0 && !isDirty) return false;
      if (!isOwn && isAlive) this.#counters.displaced += 1;
      this.#account(old, -1);
    }
    writeEntry(this.table, at, fingerprint, entry);
    this.#account(entry, 1);
    return true;
  }

  /** Replaces an entry that {@link find} has just returned. */
  replace(fingerprint: Fingerprint, { at, entry: old }: Found, entry: Entry): void {
    if (at < 0) {
      this.#removeOverflow(fingerprint);
      this.insert(fingerprint, entry);
      return;
    }
    this.#account(old, -1);
    writeEntry(this.table, at, fingerprint, entry);
    this.#account(entry, 1);
  }

  remove(fingerprint: Fingerprint, { at, entry }: Found): void {
    if (at < 0) this.#removeOverflow(fingerprint);
    else this.#free(at, entry);
  }

  countHit({ at }: Found): void {
    this.changes += 1;
    if (at >= 0) countHit(this.table, at);
  }

  /** Removes the entry that begins at a word of the table. */
  drop(at: number): void {
    this.#free(at, entryAt(this.table, at));
  }

  /** Takes one hit off the entry that begins at a word of the table. */
  cool(at: number): void {
    coolEntry(this.table, at);
  }

  /**
   * Makes all sums again from the table, and frees entries that point into no zone. Called after a snapshot
   * was read.
   */
  recount(): void {
    const { count, zoneBytes, volumeBytes } = sumEntries(this.table, this.#zones.isDead);
    this.#count = count;
    for (const zone of this.#zones.all()) zone.liveBytes = zoneBytes[zone.id & 0xffff] ?? 0;
    for (const account of this.#objects.accounts()) account.liveBytes = 0;
    for (const [number, bytes] of volumeBytes.entries())
      if (bytes > 0) this.#objects.account(number).liveBytes = bytes;
    for (const entry of this.#overflow.values()) this.#account(entry, 1);
  }

  /**
   * Frees entries that point into zones that were given up, in the next part of the table. Look-ups free such
   * entries, too, but never come across those of invalidated objects.
   */
  sweep(): void {
    const { words } = this.table;
    const end = Math.min(words.length, this.#sweptWords + SWEEP_WORDS);
    for (let at = this.#sweptWords; at < end; at += ENTRY_WORDS) {
      const zoneId = words[at + 4] ?? 0;
      if (zoneId !== 0 && this.#zones.isDead(zoneId)) this.#free(at, entryAt(this.table, at));
    }
    this.#sweptWords = end === words.length ? 0 : end;
  }

  clear(): void {
    for (const at of usedEntries(this.table)) clearEntry(this.table, at);
    this.#overflow.clear();
    this.ghosts.clear();
    this.recount();
  }

  #findOverflow(fingerprint: Fingerprint): Found | undefined {
    if (this.#overflow.size === 0) return undefined;
    const entry = this.#overflow.get(overflowKey(fingerprint));
    if (entry === undefined) return undefined;
    if (!this.#zones.isDead(entry.zoneId)) return { at: -1, entry };
    this.#removeOverflow(fingerprint);
    return undefined;
  }

  #removeOverflow(fingerprint: Fingerprint): void {
    const key = overflowKey(fingerprint);
    const entry = this.#overflow.get(key);
    if (entry !== undefined && this.#overflow.delete(key)) this.#account(entry, -1);
  }

  #free(at: number, entry: Entry): void {
    clearEntry(this.table, at);
    this.#account(entry, -1);
  }

  /** Adds an entry to the sums, or takes it off. */
  #account(entry: Entry, sign: 1 | -1): void {
    this.changes += 1;
    this.#count += sign;
    const bytes = sign * entry.lengthBytes;
    const zone = this.#zones.get(entry.zoneId);
    if (zone !== undefined) zone.liveBytes += bytes;
    this.#objects.account(entry.volumeNumber).liveBytes += bytes;
  }
}

function overflowKey({ first, second, third, fourth }: Fingerprint): string {
  return `${first}/${second}/${third}/${fourth}`;
}

/** Returns the first 8 bytes of a tag as an index entry has them. */
export function tagWords(tag: Uint8Array): { readonly tagLow: number; readonly tagHigh: number } {
  return { tagLow: u32At(tag, 0), tagHigh: u32At(tag, 4) };
}

/** True when the 8 bytes of the tag that an entry keeps are those of this tag. */
export function hasTag(entry: Entry, tag: Uint8Array): boolean {
  return entry.tagLow === u32At(tag, 0) && entry.tagHigh === u32At(tag, 4);
}
