import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ByteRange, Spans, spansMax } from '../../../src/netfs/regions/spans.ts';
import { checkProperty } from '../../support/property.ts';

const SIZE = 40;

type Step =
  | readonly ['add' | 'subtract', number, number]
  | readonly ['addAll' | 'subtractAll', readonly (readonly [number, number])[]]
  | readonly ['roundOut', number, number];

const offset = fc.integer({ min: 0, max: SIZE });
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.tuple(fc.constantFrom('add' as const, 'subtract' as const), offset, offset),
    fc.tuple(
      fc.constantFrom('addAll' as const, 'subtractAll' as const),
      fc.array(fc.tuple(offset, offset), { maxLength: 4 }),
    ),
    fc.tuple(fc.constant('roundOut' as const), fc.constantFrom(1, 4, 8), offset),
  ),
  { maxLength: 30 },
);

/** One entry a byte: whether it is in the set. */
type Bytes = boolean[];

function paint(bytes: Bytes, from: number, to: number, value: boolean): void {
  for (let at = from; at < to; at += 1) bytes[at] = value;
}

/** Does a step byte by byte. */
function model(bytes: Bytes, step: Step): void {
  const [name] = step;
  if (step.length === 2) {
    for (const [from, to] of step[1]) paint(bytes, from, to, name === 'addAll');
  } else if (name === 'roundOut') {
    const [, granule, end] = step;
    for (const { fromBytes, toBytes } of runs(bytes, true)) {
      const rounded = toBytes + ((granule - (toBytes % granule)) % granule);
      paint(bytes, fromBytes - (fromBytes % granule), Math.max(toBytes, Math.min(rounded, end)), true);
    }
  } else {
    paint(bytes, step[1], step[2], name === 'add');
  }
}

function real(spans: Spans, step: Step): void {
  const [name] = step;
  if (step.length === 2) {
    const other = Spans.of(...step[1]);
    if (name === 'addAll') spans.addAll(other);
    else spans.subtractAll(other);
    return;
  }
  const [, first, second] = step;
  if (name === 'roundOut') spans.roundOut(first, second);
  else if (name === 'add') spans.add(first, second);
  else spans.subtract(first, second);
}

/** The runs of `value`, from `from` to `to`. */
function runs(bytes: Bytes, value: boolean, from = 0, to = SIZE): ByteRange[] {
  const found: ByteRange[] = [];
  for (let at = from; at < to; at += 1) {
    if (bytes[at] !== value) continue;
    const last = found.at(-1);
    if (last?.toBytes === at) found[found.length - 1] = { ...last, toBytes: at + 1 };
    else found.push({ fromBytes: at, toBytes: at + 1 });
  }
  return found;
}

describe('spans', () => {
  it('are the bytes that were added and not subtracted since', () => {
    checkProperty(steps, all => {
      const bytes: Bytes = new Array(SIZE).fill(false);
      const spans = new Spans();
      for (const step of all) {
        model(bytes, step);
        real(spans, step);
        spans.assertInvariants();
        expect([...spans]).toEqual(runs(bytes, true));
        expect(spans.byteCount).toBe(bytes.filter(is => is).length);
      }
    });
  });

  it('answer for any range', () => {
    checkProperty(fc.tuple(steps, offset, offset), ([all, from, to]) => {
      const bytes: Bytes = new Array(SIZE).fill(false);
      const spans = new Spans();
      for (const step of all) {
        model(bytes, step);
        real(spans, step);
      }
      const asked = bytes.slice(from, Math.max(from, to));
      expect(spans.covers(from, to)).toBe(!asked.includes(false));
      expect(spans.overlaps(from, to)).toBe(asked.includes(true));
      expect(spans.gaps(from, to)).toEqual(runs(bytes, false, from, to));
      expect(spans.endBytes).toBe(bytes.lastIndexOf(true) + 1);
    });
  });

  it('S18: two writes that fill a page next to each other leave nothing to read', () => {
    const spans = Spans.of([0, 2000], [2000, 4096]);
    expect(spans.count).toBe(1);
    expect(spans.covers(0, 4096)).toBe(true);
  });

  it('S19: two writes to one page that do not touch are both kept, and the gaps between are what is read', () => {
    const spans = Spans.of([3000, 3500], [100, 200]);
    expect([...spans]).toEqual([
      { fromBytes: 100, toBytes: 200 },
      { fromBytes: 3000, toBytes: 3500 },
    ]);
    expect(spans.gaps(0, 4096)).toEqual([
      { fromBytes: 0, toBytes: 100 },
      { fromBytes: 200, toBytes: 3000 },
      { fromBytes: 3500, toBytes: 4096 },
    ]);
  });

  it('a copy does not change with the original', () => {
    const spans = Spans.of([0, 4]);
    const copy = spans.clone();
    spans.add(10, 12);
    expect([...copy]).toEqual([{ fromBytes: 0, toBytes: 4 }]);
    expect(copy.byteCount).toBe(4);
  });

  it('are limited by the size of the unit', () => {
    expect(spansMax(256 * 1024)).toBe(128);
    expect(spansMax(1024 * 1024)).toBe(512);
    expect(spansMax(4096)).toBe(8);
  });
});
