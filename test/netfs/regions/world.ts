/**
 * A file of tiny units with everything around its regions: pages, a server, flushes and commits under way, other
 * clients. It does what an open file does, one step at a time, and compares with a plain model: a list of what
 * was done, in order. The model knows nothing of units, regions and layers.
 */
import { expect } from 'vitest';
import type { Flush, Group, Writer } from '../../../src/netfs/regions/region.ts';
import type { Regions } from '../../../src/netfs/regions/regions.ts';
import type { Receipt } from '../../../src/netfs/server.ts';
import { numberOf, receipt, regionsOf, UNIT } from './support.ts';

/** The longest file. */
export const SIZE_MAX: number = 6 * UNIT;
const PAGE = 4;

/** What was done to the file. A group is a number, so that a commit is a prefix. */
type Operation = { group: Group } & (
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: readonly number[] }
  | { readonly kind: 'truncate'; readonly size: number }
);

interface Underway {
  readonly flush: Flush;
  readonly spanned: Map<number, number>;
  readonly base: Receipt | undefined;
  /** Bytes of the unit that were within the file when it was copied. */
  readonly length: number;
  number: number | undefined;
}

interface Filling {
  readonly unit: number;
  readonly base: Receipt;
}

function blank(): (number | undefined)[] {
  return new Array(SIZE_MAX).fill(undefined);
}

/** Does operations in order on a file. */
function replay(file: readonly number[], operations: readonly Operation[]): number[] {
  const bytes = [...file];
  for (const one of operations) {
    if (one.kind === 'truncate') {
      while (bytes.length < one.size) bytes.push(0);
      bytes.length = one.size;
    } else {
      while (bytes.length < one.offset) bytes.push(0);
      for (const [at, byte] of one.bytes.entries()) bytes[one.offset + at] = byte;
    }
  }
  return bytes;
}

export class World {
  readonly regions: Regions;
  /** Bytes in pages; undefined where no page is. */
  #pages = blank();
  /** Records that can be read now, by number: whole units. */
  readonly #records = new Map<number, number[]>();
  /** How many bytes of it each record holds; the rest of its unit is zeros. */
  readonly #lengths = new Map<number, number>();
  #nextRecord = 1;
  #nextByte = 1;
  #server: { version: number; bytes: number[]; units: Map<number, number> };
  /** Done and not committed, in the order of groups and within a group in order. */
  #operations: Operation[] = [];
  #writers: Writer[] = [];
  #flushes: Underway[] = [];
  #fills: Filling[] = [];
  #commit: { group: Group; sub: ReturnType<Regions['toCommit']>; bytes: number[] } | undefined;

  constructor(sizeBytes: number) {
    const bytes = Array.from({ length: sizeBytes }, () => this.#freshByte());
    this.#server = { version: 1, bytes, units: new Map() };
    for (let unit = 0; unit * UNIT < sizeBytes; unit += 1) {
      this.#server.units.set(unit, this.#record(bytes.slice(unit * UNIT, (unit + 1) * UNIT)));
    }
    this.regions = regionsOf(sizeBytes);
  }

  // ---- Steps. Each takes numbers by chance, and does nothing where it makes no sense. -----------------------

  reserve(offset: number, length: number): void {
    const to = Math.min(SIZE_MAX, offset + length);
    if (offset < to) this.#writers.push(this.regions.reserve('ordinary', offset, to));
  }

  reserveTruncate(size: number): void {
    this.#writers.push(this.regions.reserve('truncate', size));
  }

  /** A writer writes on, or truncates. */
  proceed(which: number, length: number, zeroes: boolean): void {
    const writer = pick(this.#active(), which);
    if (writer === undefined) return;
    if (writer.type === 'truncate') {
      this.#truncate(writer, zeroes);
      return;
    }
    const from = writer.dirtyToBytes;
    const to = Math.min(writer.toBytes, from + length);
    this.#put(from, to, writer.group!);
    this.regions.dirtied(writer, to);
    if (to === writer.toBytes) this.#end(writer);
  }

  /** A writer stops, wherever it is. */
  stop(which: number): void {
    const writer = pick(this.#writers, which);
    if (writer === undefined) return;
    if (writer.state !== 'active') {
      this.regions.abort(writer, undefined);
      this.#writers = this.#writers.filter(other => other !== writer);
    } else if (writer.type === 'truncate') this.#truncate(writer, true);
    else this.#end(writer);
  }

  writeNow(offset: number, length: number): void {
    const to = Math.min(SIZE_MAX, offset + length);
    if (offset >= to || !this.regions.canWriteNow(offset, to)) return;
    this.#put(offset, to, this.regions.groups.at(-1)!);
    this.regions.writeNow(offset, to);
  }

  flush(takes: 'whole' | 'pressed'): void {
    const [unit] = this.regions.toFlush(takes);
    if (unit !== undefined) this.#flushUnit(unit);
  }

  flushAny(unit: number): void {
    if (this.regions.canFlush(unit)) this.#flushUnit(unit);
  }

  place(which: number): void {
    const one = pick(
      this.#flushes.filter(({ number }) => number === undefined),
      which,
    );
    if (one === undefined) return;
    const base = one.base === undefined ? new Array(UNIT).fill(0) : this.#records.get(numberOf(one.base));
    if (base === undefined) {
      // The base was lost meanwhile.
      this.#fail(one);
      return;
    }
    const bytes: number[] = [];
    for (let at = 0; at < one.length; at += 1) {
      bytes.push(one.spanned.get(at) ?? (at < one.flush.zeroFromBytes ? base[at]! : 0));
    }
    const number = this.#record(bytes);
    if (this.regions.placed(one.flush, receipt(number))) one.number = number;
    else this.#flushes = this.#flushes.filter(other => other !== one);
  }

  upload(which: number): void {
    const one = pick(
      this.#flushes.filter(({ number }) => number !== undefined),
      which,
    );
    if (one === undefined) return;
    this.regions.uploaded(one.flush);
    this.#flushes = this.#flushes.filter(other => other !== one);
  }

  fail(which: number): void {
    const one = pick(this.#flushes, which);
    if (one !== undefined) this.#fail(one);
  }

  /** Drops a page, if it may be dropped. */
  evict(page: number): void {
    const from = page * PAGE;
    if (this.regions.isDirty(from, from + PAGE)) return;
    this.#pages.fill(undefined, from, from + PAGE);
  }

  /** Begins to fill the pages of a unit from its record. */
  beginFill(unit: number): void {
    const found = this.#find(unit);
    if (found !== undefined) this.#fills.push({ unit, base: found });
  }

  endFill(which: number): void {
    const fill = pick(this.#fills, which);
    if (fill === undefined) return;
    this.#fills = this.#fills.filter(other => other !== fill);
    const { unit, base } = fill;
    const bytes = this.#records.get(numberOf(base));
    if (bytes === undefined || !this.regions.layers.isCurrent(unit, base.tag)) return;
    const zeroFrom = this.regions.zeroFromBytes(unit);
    for (let at = 0; at < UNIT; at += 1) this.#pages[unit * UNIT + at] ??= at < zeroFrom ? bytes[at]! : 0;
  }

  closeGroup(): void {
    this.regions.closeGroup();
  }

  fold(): void {
    const { oldestClosed } = this.regions;
    if (oldestClosed !== undefined && this.#commit === undefined) this.regions.fold(oldestClosed);
  }

  beginCommit(): void {
    const group = this.regions.oldestClosed;
    if (this.#commit !== undefined || group === undefined || !this.regions.isPlaced(group)) return;
    const bytes = replay(
      this.#server.bytes,
      this.#operations.filter(one => one.group === group),
    );
    this.#commit = { group, sub: this.regions.toCommit(group), bytes };
  }

  endCommit(isLucky: boolean): void {
    const commit = this.#commit;
    if (commit === undefined) return;
    this.#commit = undefined;
    const { group, sub, bytes } = commit;
    const isWhole = [...sub.receipts.values()].every(
      one => one === undefined || this.#records.has(numberOf(one)),
    );
    if (!isLucky || !isWhole) return;
    this.#swap(sub);
    expect(this.#server.bytes).toEqual(bytes);
    const isFolded = group.state === 'folded';
    this.regions.committed(group, this.#state());
    // What was folded is still pending; doing it again on top changes nothing.
    if (!isFolded) this.#operations = this.#operations.filter(one => one.group !== group);
  }

  /** Another client changes a unit, which this client has not changed. */
  interfere(unit: number): void {
    const { bytes, units } = this.#server;
    const inUnit = Math.min(UNIT, bytes.length - unit * UNIT);
    if (this.#commit !== undefined || inUnit <= 0 || this.regions.hasChanged(unit)) return;
    const changed = Array.from({ length: inUnit }, () => this.#freshByte());
    bytes.splice(unit * UNIT, inUnit, ...changed);
    units.set(unit, this.#record(changed));
    this.#server.version += 1;
    this.regions.layers.rebase(this.#state(), [unit]);
    this.#pages.fill(undefined, unit * UNIT, (unit + 1) * UNIT);
  }

  discard(): void {
    if (this.#commit !== undefined || this.#writers.length > 0) return;
    const writer = this.regions.reserve('truncate', 0);
    if (writer.state !== 'active') {
      this.regions.abort(writer, undefined);
      return;
    }
    this.regions.discard(writer);
    this.#operations = [];
    this.#pages = blank();
    for (const { flush, number } of this.#flushes) {
      if (number !== undefined && flush.state === 'dropped') this.#records.delete(number);
    }
  }

  // ---- What must hold ---------------------------------------------------------------------------------------

  /** Compares the whole file, as reads would find it, with the model. */
  check(): void {
    for (const one of this.#operations) {
      if (one.group.state === 'folded') one.group = this.regions.groups.at(-1)!;
    }
    const order = new Map(this.regions.groups.map((group, at) => [group, at]));
    const at = ({ group }: Operation): number => {
      const place = order.get(group);
      if (place === undefined) throw new Error(`an operation of a group that is ${group.state}`);
      return place;
    };
    const inOrder = [...this.#operations].sort((a, b) => at(a) - at(b));
    const bytes = replay(this.#server.bytes, inOrder);
    expect(this.regions.sizeBytes).toBe(bytes.length);
    // Writers exclude each other, so the order of groups is as good as the order of time.
    expect(replay(this.#server.bytes, this.#operations)).toEqual(bytes);
    expect(bytes.map((_, offset) => this.#read(offset))).toEqual(bytes);
  }

  /** Ends everything that is under way, in the kindest way, and commits. Nothing may be stuck. */
  drain(): void {
    for (let round = 0; round < 1000; round += 1) {
      this.endCommit(true);
      this.proceed(0, SIZE_MAX, false);
      this.flush('pressed');
      this.place(0);
      this.upload(0);
      this.check();
      const isIdle = this.#writers.length === 0 && this.#flushes.length === 0;
      if (isIdle && this.regions.isClean) break;
      this.closeGroup();
      this.beginCommit();
    }
    expect(this.#writers).toEqual([]);
    expect(this.regions.isClean).toBe(true);
    expect(this.regions.recordBytes).toBe(0);
    expect(this.#operations).toEqual([]);
    this.#pages = blank();
    this.check();
  }

  // ---- Inside -----------------------------------------------------------------------------------------------

  #freshByte(): number {
    this.#nextByte = (this.#nextByte % 250) + 1;
    return this.#nextByte;
  }

  #record(bytes: readonly number[]): number {
    const number = this.#nextRecord;
    this.#nextRecord += 1;
    this.#lengths.set(number, bytes.length);
    this.#records.set(number, [...bytes, ...new Array(UNIT - bytes.length).fill(0)]);
    return number;
  }

  #state(): { version: string; sizeBytes: number } {
    return { version: `v${this.#server.version}`, sizeBytes: this.#server.bytes.length };
  }

  #active(): Writer[] {
    return this.#writers.filter(({ state }) => state === 'active');
  }

  #end(writer: Writer): void {
    this.regions.end(writer);
    this.#writers = this.#writers.filter(other => other !== writer);
  }

  #put(from: number, to: number, group: Group): void {
    if (from >= to) return;
    const bytes = Array.from({ length: to - from }, () => this.#freshByte());
    for (const [at, byte] of bytes.entries()) this.#pages[from + at] = byte;
    this.#operations.push({ kind: 'write', offset: from, bytes, group });
  }

  #truncate(writer: Writer, zeroes: boolean): void {
    const size = writer.fromBytes;
    const group = writer.group!;
    const unitEnd = Math.ceil(size / UNIT) * UNIT;
    this.regions.truncate(writer);
    this.#writers = this.#writers.filter(other => other !== writer);
    this.#pages.fill(undefined, size);
    if (zeroes) this.#pages.fill(0, size, unitEnd);
    this.#operations.push({ kind: 'truncate', size, group });
  }

  #flushUnit(unit: number): void {
    const flush = this.regions.beginFlush(unit);
    const spanned = new Map<number, number>();
    for (const { fromBytes, toBytes } of flush.spans) {
      for (let at = fromBytes; at < toBytes; at += 1) {
        const byte = this.#pages[unit * UNIT + at];
        if (byte === undefined) throw new Error(`byte ${at} of unit ${unit} is dirty and in no page`);
        spanned.set(at, byte);
      }
    }
    const length = Math.max(0, Math.min(UNIT, this.regions.sizeBytesIn(flush.group) - unit * UNIT));
    this.#flushes.push({ flush, spanned, base: this.#find(unit), length, number: undefined });
  }

  #fail(one: Underway): void {
    this.#flushes = this.#flushes.filter(other => other !== one);
    if (one.number !== undefined && one.flush.group.state !== 'committed') this.#records.delete(one.number);
    this.regions.failed(one.flush);
  }

  /** The unit's record; undefined for a hole. */
  #find(unit: number): Receipt | undefined {
    let found = this.regions.layers.find(unit);
    if (found === 'unknown') {
      const number = this.#server.units.get(unit);
      this.regions.layers.learn(`v${this.#server.version}`, unit, [
        number === undefined ? undefined : receipt(number),
      ]);
      found = this.regions.layers.find(unit);
    }
    if (found === 'unknown') throw new Error(`unit ${unit} is still unknown`);
    return found === 'hole' ? undefined : found;
  }

  #read(offset: number): number {
    const inPage = this.#pages[offset];
    if (inPage !== undefined) return inPage;
    const unit = Math.floor(offset / UNIT);
    const at = offset - unit * UNIT;
    const found = this.#find(unit);
    if (found === undefined || at >= this.regions.zeroFromBytes(unit)) return 0;
    const bytes = this.#records.get(numberOf(found));
    if (bytes === undefined) throw new Error(`the record of unit ${unit} was lost`);
    return bytes[at]!;
  }

  /** Publishes a commit, as a server does. */
  #swap({ receipts, sizeBytes, cutBytes, ifVersion }: ReturnType<Regions['toCommit']>): void {
    const server = this.#server;
    expect(ifVersion).toBe(`v${server.version}`);
    expect(cutBytes).toBeLessThanOrEqual(Math.min(sizeBytes, server.bytes.length));
    const cutUnit = Math.floor(cutBytes / UNIT);
    const isCut = cutBytes < server.bytes.length && cutBytes % UNIT > 0;
    if (isCut && server.units.has(cutUnit)) expect(receipts.has(cutUnit)).toBe(true);
    for (const unit of server.units.keys()) if (unit * UNIT >= cutBytes) server.units.delete(unit);
    for (const [unit, one] of receipts) {
      expect(unit * UNIT).toBeLessThan(sizeBytes);
      const length = one === undefined ? 0 : this.#lengths.get(numberOf(one))!;
      expect(unit * UNIT + length).toBeLessThanOrEqual(sizeBytes);
      if (one === undefined) server.units.delete(unit);
      else server.units.set(unit, numberOf(one));
    }
    server.bytes = [];
    for (let offset = 0; offset < sizeBytes; offset += 1) {
      const number = server.units.get(Math.floor(offset / UNIT));
      server.bytes.push(number === undefined ? 0 : this.#records.get(number)![offset % UNIT]!);
    }
    server.version += 1;
  }
}

function pick<Item>(items: readonly Item[], which: number): Item | undefined {
  return items[which % Math.max(1, items.length)];
}
