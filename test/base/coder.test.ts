import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader, ByteWriter, varintBytes } from '../../src/base/coder.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

function written(write: (out: ByteWriter) => void, startBytes = 1): Uint8Array {
  const out = new ByteWriter(startBytes);
  write(out);
  return out.written;
}

function reader(...bytes: number[]): ByteReader {
  return new ByteReader(Uint8Array.from(bytes), 'sample');
}

const latin1 = fc.string({
  unit: fc.nat({ max: 255 }).map(code => String.fromCharCode(code)),
  maxLength: 300,
});

/** One thing to write, and how to read it back. */
const items = fc.oneof(
  fc.nat({ max: 255 }).map(value => ({
    write: (out: ByteWriter) => out.u8(value),
    check: (input: ByteReader) => expect(input.u8()).toBe(value),
  })),
  fc.nat({ max: 0xffff_ffff }).map(value => ({
    write: (out: ByteWriter) => out.u32(value),
    check: (input: ByteReader) => expect(input.u32()).toBe(value),
  })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(value => ({
    write: (out: ByteWriter) => out.i64(value),
    check: (input: ByteReader) => expect(input.i64()).toBe(value),
  })),
  fc.maxSafeNat().map(value => ({
    write: (out: ByteWriter) => out.varint(value),
    check: (input: ByteReader) => expect(input.varint()).toBe(value),
  })),
  fc.uint8Array({ maxLength: 300 }).map(value => ({
    write: (out: ByteWriter) => out.raw(value),
    check: (input: ByteReader) => expect(input.raw(value.byteLength)).toEqual(value),
  })),
  fc.uint8Array({ maxLength: 300 }).map(value => ({
    write: (out: ByteWriter) => out.sized(value),
    check: (input: ByteReader) => expect(input.sized(300)).toEqual(value),
  })),
  latin1.map(value => ({
    write: (out: ByteWriter) => out.sizedLatin1(value),
    check: (input: ByteReader) => expect(input.sizedLatin1(300)).toBe(value),
  })),
  fc.uint8Array({ maxLength: 40 }).map(value => {
    const hex = Buffer.from(value).toString('hex');
    return {
      write: (out: ByteWriter) => out.rawHex(hex, value.byteLength),
      check: (input: ByteReader) => expect(input.hex(value.byteLength)).toBe(hex),
    };
  }),
);

describe('the coder', () => {
  it('reads what it wrote, wherever the bytes lie', () => {
    checkProperty(fc.tuple(fc.array(items), fc.nat({ max: 9 })), ([list, shift]) => {
      const bytes = written(out => {
        for (const item of list) item.write(out);
      });
      const moved = new Uint8Array(bytes.byteLength + 20).subarray(shift, shift + bytes.byteLength);
      moved.set(bytes);
      const input = new ByteReader(moved, 'sample');
      for (const item of list) item.check(input);
      expect(input.offsetBytes).toBe(bytes.byteLength);
      input.end();
    });
  });

  it('writes little-endian', () => {
    expect([...written(out => out.u32(0x01020304))]).toEqual([4, 3, 2, 1]);
    expect([...written(out => out.i64(-2n))]).toEqual([0xfe, ...new Array(7).fill(0xff)]);
    expect([...written(out => out.rawHex('0aff', 2))]).toEqual([0x0a, 0xff]);
    expect([...written(out => out.rawLatin1('xa\xff', 1))]).toEqual([0x61, 0xff]);
  });

  it('hands out copies', () => {
    const bytes = Uint8Array.from([1, 2, 3]);
    for (const source of [bytes, Buffer.from(bytes)]) {
      const copy = new ByteReader(source, 'sample').raw(3);
      source.fill(0);
      expect([...copy]).toEqual([1, 2, 3]);
      bytes.set([1, 2, 3]);
    }
  });

  it('refuses to read past the end', () => {
    const reads: readonly ((input: ByteReader) => unknown)[] = [
      input => input.u8(),
      input => input.u32(),
      input => input.i64(),
      input => input.varint(),
      input => input.raw(1),
      input => input.hex(1),
      input => input.latin1(1),
    ];
    for (const read of reads) expect(errorCodeOf(() => read(reader()))).toBe('EFORMAT');
    for (const bytes of [[3], [3, 1, 2]]) {
      expect(errorCodeOf(() => reader(...bytes).sized(9))).toBe('EFORMAT');
      expect(errorCodeOf(() => reader(...bytes).sizedLatin1(9))).toBe('EFORMAT');
    }
    expect(errorCodeOf(() => reader(1, 2).end())).toBe('EFORMAT');
  });

  it('refuses lengths above the limit, whatever follows', () => {
    expect([...reader(2, 8, 9).sized(2)]).toEqual([8, 9]);
    expect(errorCodeOf(() => reader(2, 8, 9).sized(1))).toBe('EFORMAT');
    expect(errorCodeOf(() => reader(2, 8, 9).sizedLatin1(1))).toBe('EFORMAT');
  });

  it('refuses to write what could not be read back', () => {
    for (const value of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
      expect(errorCodeOf(() => written(out => out.varint(value)))).toBe('EINVAL');
    }
    for (const hex of ['abc', 'ab', 'abcdef', 'abxx', 'zzzz', 'ABCD', 'abCd']) {
      expect(errorCodeOf(() => written(out => out.rawHex(hex, 2)))).toBe('EINVAL');
    }
    expect(errorCodeOf(() => written(out => out.sizedLatin1('\u0100')))).toBe('EINVAL');
  });
});

describe('varints', () => {
  it('take the fewest bytes', () => {
    const sizes = [0, 127, 128, 2 ** 14 - 1, 2 ** 14, 2 ** 49 - 1, 2 ** 49, 2 ** 53 - 1];
    expect(sizes.map(value => written(out => out.varint(value)).byteLength)).toEqual([
      1, 1, 2, 2, 3, 7, 8, 8,
    ]);
    expect(sizes.map(varintBytes)).toEqual([1, 1, 2, 2, 3, 7, 8, 8]);
    expect([...written(out => out.varint(300))]).toEqual([0xac, 0x02]);
  });

  it('have one encoding each', () => {
    expect(errorCodeOf(() => reader(0x80, 0x00).varint())).toBe('EFORMAT');
    expect(errorCodeOf(() => reader(0xff, 0x80, 0x00).varint())).toBe('EFORMAT');
    checkProperty(fc.uint8Array({ minLength: 1, maxLength: 10 }), bytes => {
      const input = new ByteReader(bytes, 'sample');
      let value: number;
      try {
        value = input.varint();
      } catch (error) {
        expect(error).toMatchObject({ code: 'EFORMAT' });
        return;
      }
      expect([...written(out => out.varint(value))]).toEqual([...bytes.subarray(0, input.offsetBytes)]);
    });
  });

  it('end at 2^53 - 1, or where the reader says', () => {
    const most = [...new Array<number>(7).fill(0xff), 0x0f];
    expect(reader(...most).varint()).toBe(Number.MAX_SAFE_INTEGER);
    expect(errorCodeOf(() => reader(...new Array<number>(7).fill(0x80), 0x10).varint())).toBe('EFORMAT');
    expect(errorCodeOf(() => reader(...new Array<number>(7).fill(0xff), 0x7f).varint())).toBe('EFORMAT');
    expect(errorCodeOf(() => reader(...new Array<number>(8).fill(0x80), 0x01).varint())).toBe('EFORMAT');
    expect(reader(100).varint(100)).toBe(100);
    expect(errorCodeOf(() => reader(101).varint(100))).toBe('EFORMAT');
  });
});
