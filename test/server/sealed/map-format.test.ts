import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeMapPage,
  depthFor,
  encodeMapPage,
  MAP_DEPTH_MAX,
  mapSlotsBytes,
  PAGE_SLOTS,
  pageIndex,
  ROOT_SLOTS,
  unitsPerSlot,
} from '../../../src/server/sealed/map-format.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { counts, mapPages } from './arbitraries.ts';
import { examplePointer } from './format-examples.ts';

describe('map pages', () => {
  it('come back as they went, and are never larger than estimated', () => {
    checkProperty(
      mapPages,
      page => {
        const bytes = encodeMapPage(page);
        expect(decodeMapPage(bytes)).toEqual(page);
        expect(bytes.byteLength).toBeLessThanOrEqual(8 + mapSlotsBytes(page));
      },
      { weight: 2 },
    );
  });

  it('take 22 bytes a unit when units lie one behind the other', () => {
    const page = Array.from({ length: PAGE_SLOTS }, (_, slot) => ({
      slot,
      pointer: examplePointer(slot * 131_144, 131_144),
    }));
    const bytes = encodeMapPage(page);
    // Version, table, count; then of each slot: gap, segment, distance, length (3), tag.
    expect(bytes.byteLength).toBe(1 + 17 + 2 + PAGE_SLOTS * (1 + 1 + 1 + 3 + 16));
    expect(decodeMapPage(bytes)).toEqual(page);
    expect(encodeMapPage([]).byteLength).toBe(3);
  });

  it('refuse slots that are out of order or out of reach', () => {
    const slot = (number: number) => ({ slot: number, pointer: examplePointer(0, 72) });
    expect(encodeMapPage([slot(0), slot(1023)]).byteLength).toBe(1 + 17 + 1 + 20 + 22);
    for (const slots of [[slot(1), slot(0)], [slot(1), slot(1)], [slot(1024)], [slot(-1)], [slot(0.5)]]) {
      expect(errorCodeOf(() => encodeMapPage(slots))).toBe('EINVAL');
    }
    const bytes = encodeMapPage([slot(0), slot(1023)]);
    // The second slot's gap, 1,022.
    expect([...bytes.subarray(39, 41)]).toEqual([0xfe, 0x07]);
    bytes[39]! = 0xff;
    expect(errorCodeOf(() => decodeMapPage(bytes))).toBe('EFORMAT');
  });
});

describe('the arithmetic of maps', () => {
  it('finds the least depth that covers a file', () => {
    expect(
      [0, 1, 256, 257, 2 ** 18, 2 ** 18 + 1, 2 ** 28, 2 ** 38, 2 ** 38 + 1, 2 ** 41].map(depthFor),
    ).toEqual([0, 0, 0, 1, 1, 2, 2, 3, 4, 4]);
    checkProperty(counts(2 ** 41), unitCount => {
      const depth = depthFor(unitCount);
      expect(ROOT_SLOTS * unitsPerSlot(depth)).toBeGreaterThanOrEqual(unitCount);
      if (depth > 0) expect(ROOT_SLOTS * unitsPerSlot(depth - 1)).toBeLessThan(unitCount);
    });
    expect(errorCodeOf(() => depthFor(2 ** 41 + 1))).toBe('EINVAL');
    expect(errorCodeOf(() => depthFor(Number.NaN))).toBe('EINVAL');
  });

  it('gives each page an index of its own', () => {
    expect(pageIndex(0, 7)).toBe(7);
    expect(pageIndex(3, 1)).toBe(3 * 2 ** 44 + 1);
    const pages = fc
      .integer({ min: 0, max: MAP_DEPTH_MAX - 1 })
      .chain(level =>
        fc.record({ level: fc.constant(level), page: counts(2 ** 41 / unitsPerSlot(level + 1) - 1) }),
      );
    checkProperty(pages, ({ level, page }) => {
      const index = pageIndex(level, page);
      expect(Number.isSafeInteger(index)).toBe(true);
      expect({ level: Math.floor(index / 2 ** 44), page: index % 2 ** 44 }).toEqual({ level, page });
    });
    for (const [level, page] of [
      [4, 0],
      [-1, 0],
      [0, -1],
      [0, 2 ** 31],
      [3, 2],
      [0.5, 0],
    ] as const) {
      expect(errorCodeOf(() => pageIndex(level, page))).toBe('EINVAL');
    }
  });
});
