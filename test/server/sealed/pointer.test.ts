import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter } from '../../../src/base/coder.ts';
import { decodeInodeObject, encodeInodeObject } from '../../../src/server/sealed/inode-format.ts';
import { decodeMapPage, encodeMapPage } from '../../../src/server/sealed/map-format.ts';
import { decodeNameNode, encodeNameNode } from '../../../src/server/sealed/name-node-format.ts';
import {
  decodePointer,
  encodePointer,
  encodeWholePointer,
  isSamePointer,
  type Pointer,
  pointerBytes,
  SegmentList,
  SegmentTable,
  storedBytesOf,
} from '../../../src/server/sealed/pointer.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { checkProperty } from '../../support/property.ts';
import { unitPointers } from './arbitraries.ts';
import { exampleId, examplePointer, exampleSlice, packedFile } from './format-examples.ts';

/** The pointers' bytes, behind the table of their segments. */
function encode(pointers: readonly Pointer[]): { bytes: Uint8Array; table: Uint8Array } {
  const table = new SegmentTable();
  const body = new ByteWriter();
  for (const pointer of pointers) encodePointer(body, pointer, table);
  const out = new ByteWriter();
  table.encode(out);
  return { bytes: body.written, table: out.written };
}

function decode(table: Uint8Array, bytes: Uint8Array): Pointer[] {
  const segments = SegmentList.decode(new ByteReader(table, 'table'));
  const input = new ByteReader(bytes, 'pointers');
  const pointers: Pointer[] = [];
  while (input.restBytes > 0) pointers.push(decodePointer(input, segments));
  return pointers;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

const TABLE = Uint8Array.from([1, ...Buffer.from(exampleId('5'), 'hex')]);
const PACK_ID = exampleId('a');
/** Form 2 for bytes 1,000 to 5,096 of a pack of 131,072, which lies at 8,192 and has 30,000 bytes. */
const PACK_HEX = `02 808001 b0ea01 ${'a0'.repeat(16)} ${PACK_ID} 808008 e807 8020`.replaceAll(' ', '');

describe('pointers', () => {
  it('have these bytes, form by form', () => {
    const tagOf = (offset: number): string => (offset % 251).toString(16).padStart(2, '0').repeat(16);
    expect(hex(encode([examplePointer(0, 72)]).bytes)).toBe(`00 00 48 ${tagOf(0)}`.replaceAll(' ', ''));
    const origin = { objectId: exampleId('c'), index: 300 };
    expect(hex(encode([{ ...examplePointer(1, 72), origin }]).bytes)).toBe(
      `01 02 48 ${tagOf(1)} ${exampleId('c')} ac02`.replaceAll(' ', ''),
    );
    expect(hex(encode([exampleSlice(1000, 4096)]).bytes)).toBe(PACK_HEX);
    // Right behind the previous slice; 96 bytes later; before it.
    const more = [exampleSlice(5096, 300), exampleSlice(5492, 1), exampleSlice(0, 1000)];
    expect(hex(encode([exampleSlice(1000, 4096), ...more]).bytes)).toBe(
      `${PACK_HEX} 03 00 ac02 03 c001 01 03 e955 e807`.replaceAll(' ', ''),
    );
    // A second segment's number is 1.
    const other = { ...examplePointer(0, 72), segment: exampleId('6') };
    expect(hex(encode([examplePointer(0, 72), other]).bytes.subarray(19, 22))).toBe('080048');
  });

  it('of one pack take 4 or 5 bytes each, behind the first with 46', () => {
    const one = encode([exampleSlice(1000, 4096)]).bytes.byteLength;
    expect(one).toBe(46);
    expect(encode([exampleSlice(1000, 4096), exampleSlice(5096, 4096)]).bytes.byteLength).toBe(one + 4);
  });

  it('into a segment count from the end of the one before, however many slices lie between', () => {
    const pack = exampleSlice(0, 10);
    const own = { ...examplePointer(50_000, 72) };
    const next = examplePointer(50_072, 72);
    const pointers = [pack, own, exampleSlice(10, 10), next];
    const { bytes, table } = encode(pointers);
    expect(decode(table, bytes)).toEqual(pointers);
    // The last: distance 0.
    expect(hex(bytes.subarray(bytes.byteLength - 19, bytes.byteLength - 16))).toBe('000048');
  });

  it('of all forms come back as they went, and are never larger than estimated', () => {
    checkProperty(fc.array(unitPointers, { maxLength: 30 }), pointers => {
      const { bytes, table } = encode(pointers);
      expect(decode(table, bytes)).toEqual(pointers);
      let estimated = 0;
      let before: Pointer | undefined;
      for (const pointer of pointers) {
        estimated += pointerBytes(pointer, before);
        if (pointer.slice !== undefined) before = pointer;
      }
      expect(bytes.byteLength).toBeLessThanOrEqual(estimated);
    });
  });

  it('name the same bytes only if the slice is the same as well', () => {
    const slice = exampleSlice(1000, 4096);
    expect(isSamePointer(slice, { ...slice })).toBe(true);
    expect(isSamePointer(slice, exampleSlice(1000, 4095))).toBe(false);
    expect(isSamePointer(slice, exampleSlice(1001, 4096))).toBe(false);
    expect(isSamePointer(slice, { ...slice, slice: undefined })).toBe(false);
  });

  it('into a pack stand for their share of its record, rounded up', () => {
    expect(storedBytesOf(examplePointer(0, 4168))).toBe(4168);
    expect(storedBytesOf(exampleSlice(0, 131_072))).toBe(30_000);
    expect(storedBytesOf(exampleSlice(5, 1))).toBe(1);
    // 30,000 × 4,096 ÷ 131,072 = 937.5
    expect(storedBytesOf(exampleSlice(0, 4096))).toBe(938);
  });
});

describe('a pointer that cannot be', () => {
  const slice = (changes: object): Pointer => {
    const whole = exampleSlice(1000, 4096);
    return { ...whole, slice: { ...whole.slice, ...changes } };
  };
  const impossible: readonly (readonly [string, Pointer])[] = [
    ['a slice of nothing', slice({ lengthBytes: 0 })],
    ['a slice that ends past its pack', slice({ startBytes: 126_977 })],
    ['a slice that begins before its pack', slice({ startBytes: -1 })],
    ['a pack of more than 1 MiB', slice({ packBytes: 1_048_577 })],
    ['a pack of nothing', slice({ packBytes: 0 })],
    ['half a byte', slice({ startBytes: 0.5 })],
    ['an origin and a pack', { ...slice({}), origin: { objectId: exampleId('1'), index: 0 } }],
  ];
  it.each(impossible)('is not written: %s', (_, pointer) => {
    expect(errorCodeOf(() => encode([pointer]))).toBe('EINVAL');
  });

  it('is not written: a record that was another pack just before', () => {
    const first = exampleSlice(1000, 4096);
    for (const changes of [{ packId: exampleId('b') }, { packBytes: 140_000 }]) {
      expect(errorCodeOf(() => encode([first, slice(changes)]))).toBe('EINVAL');
      expect(encode([first, { ...slice(changes), offsetBytes: 0 }]).bytes.byteLength).toBeGreaterThan(60);
    }
    expect(errorCodeOf(() => encodeWholePointer(new ByteWriter(), first, new SegmentTable()))).toBe('EINVAL');
  });

  const refused: readonly (readonly [string, string, string])[] = [
    ['form 3 without a pack before', '03 00 01', 'no pack was named before'],
    ['form 3 with a segment number', `${PACK_HEX} 0b 00 01`, 'a segment number where none belongs'],
    ['form 2 where form 3 would do', PACK_HEX + PACK_HEX.replace('808001', 'df d403'), 'named again'],
    ['form 3 before the pack', `${PACK_HEX} 03 d14f 01`, 'bytes at -1 of a pack'],
    ['form 3 past the pack', `${PACK_HEX} 03 00 99d807`, 'bytes at 5096 of a pack'],
    ['form 3 of nothing', `${PACK_HEX} 03 00 00`, '0 bytes at 5096'],
    ['form 2 of nothing', PACK_HEX.replace(/8020$/, '00'), '0 bytes at 1000'],
    ['form 2 past the pack', PACK_HEX.replace('808008', 'e727'), '4096 bytes at 1000 of a pack of 5095'],
    ['a pack of more than 1 MiB', PACK_HEX.replace('808008', '818040'), 'at most 1048576'],
    ['form 4', '04 00 48', 'a pointer of form 4'],
    ['form 7', '07', 'a pointer of form 7'],
  ];
  it.each(refused)('is not read: %s', (_, text, problem) => {
    const bytes = Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
    expect(() => decode(TABLE, bytes)).toThrow(problem);
    const code = problem.startsWith('a pointer of form') ? 'EUNSUPPORTED' : 'EFORMAT';
    expect(errorCodeOf(() => decode(TABLE, bytes))).toBe(code);
  });

  it('in a node: a node in a pack', () => {
    const pointer = exampleSlice(0, 100);
    const child = { firstName: 'a', index: 0, pointer };
    const inner = { kind: 'inner', level: 1, children: [child] } as const;
    expect(errorCodeOf(() => encodeNameNode(inner))).toBe('EINVAL');
    expect(errorCodeOf(() => encodeMapPage([{ slot: 0, pointer }], 1))).toBe('EINVAL');
    const page = encodeMapPage([{ slot: 0, pointer }]);
    expect(decodeMapPage(page)).toEqual([{ slot: 0, pointer }]);
    expect(() => decodeMapPage(page, 1)).toThrow('a node in a pack');
    const whole = encodeNameNode({ ...inner, children: [{ ...child, pointer: examplePointer(0, 72) }] });
    // The pointer's first byte, before distance, length and tag.
    whole[whole.byteLength - 19] = 2;
    const longer = Buffer.concat([whole, Buffer.from(PACK_HEX.slice(-46), 'hex')]);
    expect(() => decodeNameNode(longer)).toThrow('a node in a pack');
  });

  it('in an inode: a slice that is longer than the file or its unit', () => {
    const object = (changes: object): Parameters<typeof encodeInodeObject>[0] => ({
      inode: { ...packedFile('1', 1000, 4096), ...changes },
      writers: [],
      predecessor: undefined,
    });
    expect(encodeInodeObject(object({})).byteLength).toBeGreaterThan(0);
    expect(errorCodeOf(() => encodeInodeObject(object({ sizeBytes: 4095 })))).toBe('EINVAL');
    const file = packedFile('1', 1000, 8000);
    expect(errorCodeOf(() => encodeInodeObject(object({ ...file, unitSizeBytes: 4096 })))).toBe('EINVAL');
    const bytes = encodeInodeObject(object({}));
    // The size, 4,096, before the unit size and depth.
    const at = Buffer.from(bytes).indexOf(Buffer.from([0x80, 0x20, 0x12]));
    bytes[at] = 0xff;
    bytes[at + 1] = 0x1f;
    expect(() => decodeInodeObject(bytes, exampleId('1'))).toThrow('4096 bytes of a pack for 4095');
  });
});
