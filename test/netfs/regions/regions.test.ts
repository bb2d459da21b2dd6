import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Writer } from '../../../src/netfs/regions/region.ts';
import type { Regions } from '../../../src/netfs/regions/regions.ts';
import { checkProperty } from '../../support/property.ts';
import { place, receipt, regionsOf, spansOf, truncate, UNIT, write } from './support.ts';

describe('writers', () => {
  it('S20: a writer that overlaps waits pending, and so does a third that overlaps only the second', () => {
    const regions = regionsOf(0);
    const first = regions.reserve('ordinary', 0, 10);
    const second = regions.reserve('ordinary', 5, 20);
    const third = regions.reserve('ordinary', 18, 30);
    const apart = regions.reserve('ordinary', 40, 50);
    expect([first, second, third, apart].map(({ state }) => state)).toEqual([
      'active',
      'pending',
      'pending',
      'active',
    ]);
    regions.dirtied(first, 10);
    regions.end(first);
    expect([second.state, third.state]).toEqual(['active', 'pending']);
    regions.end(second);
    expect(third.state).toBe('active');
  });

  it('an aborted writer holds nobody up, and its wait rejects with the reason', async () => {
    const regions = regionsOf(0);
    const first = regions.reserve('ordinary', 0, 10);
    const second = regions.reserve('ordinary', 5, 20);
    const third = regions.reserve('ordinary', 18, 30);
    const controller = new AbortController();
    const waiting = regions.whenActive(second, controller.signal);
    const waitingToo = regions.whenActive(third);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await waitingToo;
    expect([second.state, third.state]).toEqual(['aborted', 'active']);
    const refused = regions.whenActive(regions.reserve('ordinary', 18, 19), controller.signal);
    await expect(refused).rejects.toThrow('enough');
    expect(() => regions.abort(first, undefined)).toThrow('cannot be aborted');
    expect(() => regions.whenActive(second)).toThrow('never becomes active');
  });

  it('an abort that comes after the writer has become active does not take it back', async () => {
    const regions = regionsOf(0);
    const first = regions.reserve('ordinary', 0, 10);
    const second = regions.reserve('ordinary', 5, 20);
    const controller = new AbortController();
    const waiting = regions.whenActive(second, controller.signal);
    regions.end(first);
    controller.abort(new Error('too late'));
    await waiting;
    expect(second.state).toBe('active');
  });

  interface Live {
    readonly writer: Writer;
    readonly from: number;
    readonly to: number;
  }

  type Beginning = readonly ['reserve', number, number] | readonly ['truncate', number];

  function begin(regions: Regions, step: Beginning): Live {
    if (step[0] === 'truncate') {
      return { writer: regions.reserve(...step), from: step[1], to: Number.POSITIVE_INFINITY };
    }
    const [, from, lengthBytes] = step;
    const to = from + lengthBytes;
    return { writer: regions.reserve('ordinary', from, to), from, to };
  }

  function finish(regions: Regions, live: readonly Live[], which: number): Live[] {
    const one = live[which];
    if (one === undefined) return [...live];
    const { writer } = one;
    if (writer.state !== 'active') regions.abort(writer, undefined);
    else if (writer.type === 'truncate') regions.truncate(writer);
    else regions.end(writer);
    return live.filter(other => other !== one);
  }

  const steps = fc.array(
    fc.oneof(
      fc.tuple(fc.constant('reserve' as const), fc.nat({ max: 60 }), fc.integer({ min: 1, max: 30 })),
      fc.tuple(fc.constant('truncate' as const), fc.nat({ max: 60 })),
      fc.tuple(fc.constant('finish' as const), fc.nat({ max: 10 })),
    ),
    { maxLength: 40 },
  );

  it('within one group, exactly those wait who want bytes that an earlier one has or wants', () => {
    checkProperty(steps, all => {
      const regions = regionsOf(0);
      /** In the order of arrival, with their ranges. */
      let live: Live[] = [];
      for (const step of all) {
        if (step[0] === 'finish') live = finish(regions, live, step[1]);
        else live.push(begin(regions, step));
        for (const [at, { writer, from, to }] of live.entries()) {
          const isHeldUp = live.slice(0, at).some(other => other.from < to && from < other.to);
          expect(writer.state).toBe(isHeldUp ? 'pending' : 'active');
        }
      }
    });
  });

  it('may write at once where nobody waits or writes and no closed group is dirty', () => {
    const regions = regionsOf(0);
    expect(regions.canWriteNow(0, UNIT)).toBe(true);
    regions.writeNow(0, UNIT);
    const writer = regions.reserve('ordinary', 2 * UNIT, 2 * UNIT + 4);
    expect(regions.canWriteNow(2 * UNIT + 8, 2 * UNIT + 9)).toBe(false);
    expect(regions.canWriteNow(UNIT, 2 * UNIT)).toBe(true);
    regions.end(writer);
    regions.closeGroup();
    expect(regions.canWriteNow(0, 1)).toBe(false);
    expect(regions.canWriteNow(UNIT, UNIT + 1)).toBe(true);
    regions.beginFlush(0);
    expect(regions.canWriteNow(0, 1)).toBe(true);
  });

  it('what cannot be is refused', () => {
    const regions = regionsOf(0);
    expect(() => regions.reserve('ordinary', 5, 5)).toThrow('[5, 5)');
    expect(() => regions.reserve('ordinary', 5)).toThrow('Infinity');
    expect(() => regions.reserve('truncate', 5, 6)).toThrow('truncate');
    const writer = regions.reserve('ordinary', 0, 10);
    regions.dirtied(writer, 5);
    expect(() => regions.dirtied(writer, 4)).toThrow('dirty to 4');
    expect(() => regions.dirtied(writer, 11)).toThrow('dirty to 11');
    expect(() => regions.truncate(writer)).toThrow('not a truncate');
    regions.end(writer);
    expect(() => regions.end(writer)).toThrow('is ended');
  });
});

describe('groups', () => {
  it('a writer of the next group waits for the bounce copy of a dirty unit, not for its upload', async () => {
    const regions = regionsOf(0);
    write(regions, 0, 5);
    write(regions, UNIT, UNIT + 5);
    write(regions, 2 * UNIT, 2 * UNIT + 5);
    const group = regions.closeGroup();
    const writer = regions.reserve('ordinary', 2 * UNIT + 8, 2 * UNIT + 9);
    const behind = regions.reserve('ordinary', 2 * UNIT + 12, 3 * UNIT + 1);
    expect([writer.state, behind.state]).toEqual(['reserved', 'pending']);
    // It is copied before others that have waited longer.
    expect([...regions.toFlush('whole')][0]).toBe(2);
    const flush = regions.beginFlush(2);
    expect([writer.state, behind.state]).toEqual(['active', 'active']);
    expect(flush.group).toBe(group);
    expect(writer.group).toBe(regions.groups.at(-1));
    regions.dirtied(writer, 2 * UNIT + 9);
    // The next flush of the unit waits until the first is placed.
    expect(regions.canFlush(2)).toBe(false);
    regions.placed(flush, receipt(1));
    expect(regions.canFlush(2)).toBe(true);
  });

  it('nobody overtakes a writer that waits for copies, so it does not wait for ever', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    regions.closeGroup();
    const patient = regions.reserve('ordinary', 0, 2 * UNIT);
    const hasty = regions.reserve('ordinary', 2 * UNIT - 1, 2 * UNIT);
    const other = regions.reserve('ordinary', 2 * UNIT, 3 * UNIT);
    expect([patient.state, hasty.state, other.state]).toEqual(['reserved', 'pending', 'active']);
  });

  it('S24: what touches in one group merges; across groups it never does', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    write(regions, 4, 8);
    expect(spansOf(regions, 0)).toEqual([[0, 8]]);
    const first = regions.closeGroup();
    const waiting = regions.reserve('ordinary', 8, 12);
    const flush = regions.beginFlush(0);
    regions.dirtied(waiting, 12);
    regions.end(waiting);
    expect([...flush.spans]).toEqual([{ fromBytes: 0, toBytes: 8 }]);
    expect(spansOf(regions, 0)).toEqual([[8, 12]]);
    expect(flush.group).toBe(first);
    expect(regions.dirtyRegion(0)?.group).not.toBe(first);
  });

  it('S26: a long write is flushed unit by unit behind the writer, never where it still writes', () => {
    const regions = regionsOf(0);
    const writer = regions.reserve('ordinary', 4, 4 * UNIT);
    expect([...regions.toFlush('whole')][0]).toBeUndefined();
    regions.dirtied(writer, UNIT + 7);
    expect([...regions.toFlush('whole')][0]).toBe(0);
    const first = regions.beginFlush(0);
    expect([...first.spans]).toEqual([{ fromBytes: 4, toBytes: UNIT }]);
    expect([...regions.toFlush('whole')][0]).toBeUndefined();
    // When memory is short, the unit that is being written goes as far as it is.
    expect([...regions.toFlush('pressed')][0]).toBe(1);
    expect([...regions.beginFlush(1).spans]).toEqual([{ fromBytes: 0, toBytes: 7 }]);
    regions.dirtied(writer, 2 * UNIT);
    expect(spansOf(regions, 1)).toEqual([[7, UNIT]]);
  });

  it('a commit takes what was there when it began: writers that are active, and nothing later', async () => {
    const regions = regionsOf(0);
    const slow = regions.reserve('ordinary', 0, UNIT);
    regions.dirtied(slow, 3);
    const group = regions.closeGroup()!;
    const later = regions.reserve('ordinary', 2 * UNIT, 3 * UNIT);
    regions.dirtied(later, 3 * UNIT);
    regions.end(later);
    let isPlaced = false;
    const waiting = regions.whenPlaced(group).then(() => {
      isPlaced = true;
    });
    place(regions, 0, 1);
    await Promise.resolve();
    expect([regions.isPlaced(group), isPlaced]).toEqual([false, false]);
    regions.dirtied(slow, UNIT);
    regions.end(slow);
    const flush = regions.beginFlush(0);
    expect(() => regions.toCommit(group)).toThrow('placed');
    regions.placed(flush, receipt(2));
    await waiting;
    const { receipts, sizeBytes } = regions.toCommit(group);
    expect([...receipts]).toEqual([[0, receipt(2)]]);
    expect(sizeBytes).toBe(UNIT);
    regions.committed(group, { version: 'v2', sizeBytes });
    expect([group.state, regions.sizeBytes, regions.isClean]).toEqual(['committed', 3 * UNIT, false]);
    expect(regions.layers.find(0)).toEqual(receipt(2));
  });

  it('a commit does not wait for writers that have written nothing', async () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const apart = regions.reserve('ordinary', UNIT, 2 * UNIT);
    const close = regions.reserve('ordinary', 8, 12);
    const shrink = regions.reserve('truncate', 3 * UNIT);
    const group = regions.closeGroup()!;
    expect([apart.state, close.state, shrink.state]).toEqual(['active', 'reserved', 'active']);
    expect(apart.group).toBe(regions.groups.at(-1));
    const waiting = regions.whenActive(close);
    place(regions, 0, 1);
    await waiting;
    expect(regions.isPlaced(group)).toBe(true);
    expect(regions.closeGroup()).toBeUndefined();
    regions.dirtied(apart, UNIT + 1);
    expect(regions.closeGroup()?.writers.size).toBe(1);
  });

  it('a group without changes is not closed', () => {
    const regions = regionsOf(5);
    expect(regions.closeGroup()).toBeUndefined();
    expect(regions.isClean).toBe(true);
    write(regions, 0, 1);
    expect(regions.isClean).toBe(false);
  });

  it('S29: when a flush fails, its group and all later ones are committed together or not at all', async () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    write(regions, UNIT, UNIT + 4);
    const first = regions.closeGroup()!;
    place(regions, 0, 1);
    const failing = regions.beginFlush(1);
    write(regions, 2 * UNIT, 2 * UNIT + 4);
    const second = regions.closeGroup()!;
    place(regions, 2, 2);
    expect(regions.isPlaced(second)).toBe(true);
    const waiting = regions.whenPlaced(first);
    expect(regions.failed(failing)).toBe(true);
    await waiting;
    expect([first.state, second.state]).toEqual(['folded', 'folded']);
    expect(spansOf(regions, 1)).toEqual([[0, 4]]);
    const all = regions.closeGroup()!;
    place(regions, 1, 3);
    expect([...regions.toCommit(all).receipts].map(([unit]) => unit).sort()).toEqual([0, 1, 2]);
  });

  it('whoever still flushes a folded group finds nothing in it', () => {
    const regions = regionsOf(0);
    write(regions, 0, 10);
    write(regions, UNIT, UNIT + 10);
    const group = regions.closeGroup();
    if (group === undefined) expect.fail('nothing was closed');
    regions.failed(regions.beginFlush(0));
    expect([...regions.toFlush('pressed', group)]).toEqual([]);
    expect(new Set(regions.toFlush('pressed'))).toEqual(new Set([0, 1]));
  });

  it('a commit that succeeds after its group was folded leaves the changes pending', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const group = regions.closeGroup()!;
    const flush = place(regions, 0, 1);
    expect(regions.toCommit(group).receipts.size).toBe(1);
    regions.failed(flush);
    regions.committed(group, { version: 'v2', sizeBytes: 4 });
    expect(group.state).toBe('folded');
    expect(regions.layers.committed.version).toBe('v2');
    expect(spansOf(regions, 0)).toEqual([[0, 4]]);
  });
});

describe('flushes', () => {
  it('S27: bytes that another write or flush has dirty stay dirty when one flush is uploaded', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const first = place(regions, 0, 1);
    write(regions, 8, 12);
    const second = place(regions, 0, 2);
    write(regions, 14, 15);
    regions.uploaded(second);
    expect([regions.isDirty(0, 4), regions.isDirty(8, 12), regions.isDirty(14, 15)]).toEqual([
      false,
      false,
      true,
    ]);
    regions.uploaded(first);
    expect(regions.isDirty(0, UNIT)).toBe(true);
    place(regions, 0, 3);
    expect(regions.isDirty(14, 15)).toBe(true);
  });

  it('one that fails before it is placed makes its bytes dirty beside newer ones', () => {
    const regions = regionsOf(0);
    write(regions, 0, 8);
    const flush = regions.beginFlush(0);
    write(regions, 4, 12);
    expect(regions.failed(flush)).toBe(true);
    expect(spansOf(regions, 0)).toEqual([[0, 12]]);
    expect(regions.failed(flush)).toBe(false);
    expect(regions.placed(flush, receipt(1))).toBe(false);
  });

  it('one that is lost after a newer one is placed is not missed', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const older = place(regions, 0, 1);
    write(regions, 8, 12);
    const newer = place(regions, 0, 2);
    regions.failed(older);
    expect(regions.dirtyRegion(0)).toBeUndefined();
    expect(regions.layers.find(0)).toEqual(receipt(2));
    // If the newer one is lost, too, the bytes of both are dirty.
    regions.failed(newer);
    expect(spansOf(regions, 0)).toEqual([
      [0, 4],
      [8, 12],
    ]);
    expect(regions.layers.find(0)).toBe('hole');
  });

  it('one that is lost uncovers an older one that is durable', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    regions.uploaded(place(regions, 0, 1));
    write(regions, 8, 12);
    const newer = place(regions, 0, 2);
    regions.failed(newer);
    expect(regions.layers.find(0)).toEqual(receipt(1));
    expect(spansOf(regions, 0)).toEqual([[8, 12]]);
  });

  it('one whose base is lost knows it', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const older = place(regions, 0, 1);
    write(regions, 8, 12);
    const newer = regions.beginFlush(0);
    expect(newer.isBaseLost).toBe(false);
    regions.failed(older);
    expect(newer.isBaseLost).toBe(true);
    expect(regions.dirtyRegion(0)).toBeUndefined();
    regions.failed(newer);
    expect(spansOf(regions, 0)).toEqual([
      [0, 4],
      [8, 12],
    ]);
  });

  it('one of a committed group cannot fail any more', () => {
    const regions = regionsOf(0);
    write(regions, 0, 4);
    const group = regions.closeGroup()!;
    const flush = place(regions, 0, 1);
    regions.committed(group, { version: 'v2', sizeBytes: 4 });
    expect(regions.isDirty(0, 4)).toBe(true);
    expect(regions.failed(flush)).toBe(false);
    expect(regions.isDirty(0, 4)).toBe(false);
    expect(regions.isClean).toBe(true);
  });

  it('many spans of one unit are rounded out on request', () => {
    const regions = regionsOf(0);
    for (let at = 0; at < UNIT; at += 2) write(regions, at, at + 1);
    expect(regions.mustRound(0)).toBe(false);
    regions.roundOut(0);
    expect(spansOf(regions, 0)).toEqual([[0, UNIT - 1]]);
    expect(regions.dirtyBytes).toBe(UNIT - 1);
    regions.roundOut(5);
    expect(regions.dirtyUnitCount).toBe(1);
  });

  it('records are counted, and none are left when all is committed', () => {
    const regions = regionsOf(0);
    expect(regions.recordBytes).toBe(0);
    write(regions, 0, 4);
    write(regions, 8, 9);
    const dirty = regions.recordBytes;
    expect(dirty).toBeGreaterThan(0);
    const group = regions.closeGroup()!;
    const flush = place(regions, 0, 1);
    regions.uploaded(flush);
    expect(regions.recordBytes).toBeLessThan(dirty);
    regions.committed(group, { version: 'v2', sizeBytes: 9 });
    expect(regions.recordBytes).toBe(0);
    expect([regions.flushCount, regions.writerCount, regions.dirtyUnitCount]).toEqual([0, 0, 0]);
  });
});

describe('truncates', () => {
  it('S59: what a truncate cuts off inside a unit stays zeros, until a record without it is placed', () => {
    const regions = regionsOf(2 * UNIT);
    regions.layers.learn('v1', 0, [receipt(1), receipt(2)]);
    truncate(regions, UNIT + 5);
    truncate(regions, 2 * UNIT);
    expect(regions.sizeBytes).toBe(2 * UNIT);
    expect(regions.layers.find(1)).toEqual(receipt(2));
    expect([regions.zeroFromBytes(0), regions.zeroFromBytes(1)]).toEqual([Number.POSITIVE_INFINITY, 5]);
    // The cut alone makes the unit dirty, and every flush knows where its base ends.
    expect([...regions.toFlush('whole')][0]).toBe(1);
    const flush = regions.beginFlush(1);
    expect([flush.zeroFromBytes, flush.spans.isEmpty]).toEqual([5, true]);
    expect(regions.zeroFromBytes(1)).toBe(5);
    regions.failed(flush);
    expect(regions.zeroFromBytes(1)).toBe(5);
    place(regions, 1, 3);
    expect(regions.zeroFromBytes(1)).toBe(Number.POSITIVE_INFINITY);
    const group = regions.closeGroup()!;
    expect(regions.toCommit(group)).toMatchObject({ sizeBytes: 2 * UNIT, cutBytes: UNIT + 5 });
  });

  it('S38: a truncate waits for the bounce copy of the tail, and nothing beyond it is dirty later', () => {
    const regions = regionsOf(0);
    write(regions, 0, 3 * UNIT);
    const first = regions.closeGroup()!;
    const tail = regions.beginFlush(2);
    const shrink = regions.reserve('truncate', UNIT + 4);
    expect(shrink.state).toBe('reserved');
    expect([...regions.toFlush('whole')][0]).toBe(1);
    const middle = regions.beginFlush(1);
    expect(shrink.state).toBe('active');
    regions.truncate(shrink);
    expect(regions.sizeBytes).toBe(UNIT + 4);
    // The older group still has what it had; the next one has a new record of the cut unit.
    place(regions, 0, 10);
    regions.placed(middle, receipt(11));
    regions.placed(tail, receipt(12));
    expect([...regions.toCommit(first).receipts.keys()].sort()).toEqual([0, 1, 2]);
    expect(regions.toCommit(first)).toMatchObject({ sizeBytes: 3 * UNIT });
    expect(regions.layers.find(2)).toBe('hole');
    expect(regions.zeroFromBytes(1)).toBe(4);
    // Lost records of what was cut off do not come back to life.
    regions.failed(tail);
    expect(regions.dirtyRegion(2)).toBeUndefined();
    regions.failed(middle);
    expect(spansOf(regions, 1)).toEqual([[0, 4]]);
  });

  it('a flush of the same group that is cut off is dropped', () => {
    const regions = regionsOf(0);
    write(regions, 0, 3 * UNIT);
    const placed = place(regions, 1, 1);
    const copied = regions.beginFlush(2);
    truncate(regions, UNIT);
    expect([placed.state, copied.state]).toEqual(['dropped', 'dropped']);
    expect(regions.placed(copied, receipt(2))).toBe(false);
    regions.uploaded(placed);
    expect(regions.layers.find(1)).toBe('hole');
    expect(regions.isDirty(UNIT, 3 * UNIT)).toBe(false);
    write(regions, 2 * UNIT, 2 * UNIT + 1);
    expect(regions.canFlush(2)).toBe(true);
  });

  it('a flush that a later group has cut off is dropped when its group is folded into that one', () => {
    const regions = regionsOf(0);
    write(regions, 0, 3 * UNIT);
    const group = regions.closeGroup()!;
    const failing = regions.beginFlush(0);
    const late = regions.beginFlush(2);
    regions.beginFlush(1);
    truncate(regions, UNIT);
    write(regions, 4 * UNIT, 4 * UNIT + 1);
    regions.failed(failing);
    expect([group.state, late.state]).toEqual(['folded', 'dropped']);
    expect(regions.placed(late, receipt(1))).toBe(false);
    expect(regions.layers.find(2)).toBe('hole');
  });

  it('excludes everyone from its size on, and nobody below', () => {
    const regions = regionsOf(0);
    const below = regions.reserve('ordinary', 0, 20);
    const beyond = regions.reserve('ordinary', 100, 110);
    const shrink = regions.reserve('truncate', 20);
    const later = regions.reserve('ordinary', 1000, 1001);
    expect([shrink.state, later.state]).toEqual(['pending', 'pending']);
    regions.end(beyond);
    expect([below.state, shrink.state, later.state]).toEqual(['active', 'active', 'pending']);
    regions.truncate(shrink);
    expect(later.state).toBe('active');
  });

  it('discard leaves the file as the server has it', async () => {
    const regions = regionsOf(UNIT);
    regions.layers.learn('v1', 0, [receipt(1)]);
    write(regions, 0, 3 * UNIT);
    const placed = place(regions, 0, 2);
    const group = regions.closeGroup()!;
    const copied = regions.beginFlush(1);
    const waiting = regions.whenPlaced(group);
    const all = regions.reserve('truncate', 0);
    expect(all.state).toBe('reserved');
    regions.beginFlush(2);
    regions.discard(all);
    await waiting;
    expect([group.state, placed.state, copied.state]).toEqual(['discarded', 'dropped', 'dropped']);
    expect([regions.sizeBytes, regions.isClean, regions.recordBytes]).toEqual([UNIT, true, 0]);
    expect(regions.layers.find(0)).toEqual(receipt(1));
    expect(regions.failed(placed)).toBe(false);
  });
});

it('S25: a file that is made here needs no base, in gaps and around them', () => {
  const regions = regionsOf(0);
  write(regions, 2 * UNIT + 3, 2 * UNIT + 5);
  expect([0, 1, 2, 3].map(unit => regions.layers.find(unit))).toEqual(['hole', 'hole', 'hole', 'hole']);
  expect(regions.dirtyUnitCount).toBe(1);
  expect(regions.sizeBytes).toBe(2 * UNIT + 5);
});
