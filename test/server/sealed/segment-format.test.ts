import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeFooter,
  decodeTrailer,
  encodeFooter,
  encodeTrailer,
  type SegmentEntry,
} from '../../../src/server/sealed/segment-format.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { segmentEntries } from './arbitraries.ts';
import { exampleId, recordsBytes, SEGMENT_ENTRIES } from './format-examples.ts';

const UNIT: SegmentEntry = SEGMENT_ENTRIES[0]!;

describe('segment footers', () => {
  it('come back as they went', () => {
    checkProperty(
      segmentEntries,
      entries => expect(decodeFooter(encodeFooter(entries), recordsBytes(entries))).toEqual(entries),
      { weight: 2, examples: [SEGMENT_ENTRIES] },
    );
  });

  it('take the bytes that docs/LAYOUT.md says', () => {
    expect(encodeFooter([]).byteLength).toBe(2);
    const sizes = SEGMENT_ENTRIES.map((_, at) => encodeFooter(SEGMENT_ENTRIES.slice(0, at + 1)).byteLength);
    expect(sizes.map((size, at) => size - (sizes[at - 1] ?? 2))).toEqual([37, 19, 22, 19, 36, 36]);
  });

  it('must say where the records end', () => {
    const bytes = encodeFooter(SEGMENT_ENTRIES);
    const endBytes = recordsBytes(SEGMENT_ENTRIES);
    expect(decodeFooter(bytes, endBytes)).toHaveLength(6);
    for (const off of [-1, 1]) expect(errorCodeOf(() => decodeFooter(bytes, endBytes + off))).toBe('EFORMAT');
  });

  it('of another layout, or with kinds not known here, are refused by name', () => {
    const bytes = encodeFooter([UNIT]);
    for (const [at, value] of [
      [0, 1],
      [0, 3],
      [2, 0x1f],
    ] as const) {
      const newer = bytes.slice();
      newer[at] = value;
      expect(errorCodeOf(() => decodeFooter(newer, UNIT.lengthBytes))).toBe('EUNSUPPORTED');
    }
  });

  it('of what cannot be are not written', () => {
    const impossible: readonly Partial<SegmentEntry>[] = [
      { offsetBytes: 1 },
      { kind: 'segmentFooter', unitSizeLog2: 0 },
      { kind: 'streamUnit' },
      { kind: 'mapPage' },
      { unitSizeLog2: 0 },
      { unitSizeLog2: 11 },
      { unitSizeLog2: 25 },
      { lengthBytes: 71 },
      { lengthBytes: 2 ** 24 + 73 },
      { index: 2 ** 53 },
      { index: -1 },
      { objectId: exampleId('1').slice(1) },
      { tag: new Uint8Array(15) },
    ];
    expect(encodeFooter([UNIT]).byteLength).toBe(39);
    for (const change of impossible) {
      expect(errorCodeOf(() => encodeFooter([{ ...UNIT, ...change }]))).toBe('EINVAL');
    }
  });
});

describe('segment trailers', () => {
  it('say where the footer begins', () => {
    expect(Buffer.from(encodeTrailer(4168)).toString('hex')).toBe('6e536567020000004810000000000000');
    checkProperty(
      fc.tuple(fc.integer({ min: 72, max: 2 ** 24 + 72 }), fc.nat()),
      ([footerBytes, recordBytes]) => {
        const segmentBytes = recordBytes + footerBytes + 16;
        const expected = { footerOffsetBytes: recordBytes, footerBytes };
        const trailer = encodeTrailer(footerBytes);
        expect(decodeTrailer(trailer, segmentBytes)).toEqual(expected);
        expect(decodeTrailer(Buffer.concat([new Uint8Array(99), trailer]), segmentBytes)).toEqual(expected);
      },
    );
  });

  it('that cannot be are refused', () => {
    for (const footerBytes of [0, 71, 2 ** 24 + 73]) {
      expect(errorCodeOf(() => encodeTrailer(footerBytes))).toBe('EINVAL');
    }
    const trailer = encodeTrailer(4168);
    expect(decodeTrailer(trailer, 4184).footerOffsetBytes).toBe(0);
    expect(errorCodeOf(() => decodeTrailer(trailer, 4183))).toBe('EFORMAT');
    expect(errorCodeOf(() => decodeTrailer(trailer.subarray(1), 5000))).toBe('EFORMAT');
    for (const version of [1, 3]) {
      trailer[4] = version;
      expect(errorCodeOf(() => decodeTrailer(trailer, 5000))).toBe('EUNSUPPORTED');
    }
    trailer[4] = 0;
    expect(errorCodeOf(() => decodeTrailer(trailer, 5000))).toBe('EFORMAT');
  });
});
