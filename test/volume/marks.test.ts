import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomBytes } from '../../src/base/random.ts';
import { MARK_BYTES, type Mark, MarkCoder, Marks } from '../../src/volume/state/marks.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import { hashOf as hash, idOf as id } from './mark-values.ts';

function coder(fill = 1, volume = 2): MarkCoder {
  return new MarkCoder(new Uint8Array(32).fill(fill), new Uint8Array(16).fill(volume));
}

function decoded(bytes: Uint8Array, by: MarkCoder = coder()): Marks {
  const marks = new Marks();
  by.decodeInto(marks, bytes);
  return marks;
}

describe('marks', () => {
  it('let through what is new, the same, or newer', () => {
    const marks = new Marks();
    marks.check(id(1), 0, hash(1));
    marks.note(id(1), 5, hash(1));
    marks.check(id(1), 5, hash(1));
    marks.check(id(1), 6, hash(2));
    marks.note(id(1), 5, hash(1));
    marks.note(id(1), Number.MAX_SAFE_INTEGER, hash(3));
    expect(marks.get(id(1))).toEqual({ version: Number.MAX_SAFE_INTEGER, hash: hash(3) });
    expect([marks.size, marks.get(id(2))]).toEqual([1, undefined]);
  });

  it('say what is older, and what is another history, and stay as they are', () => {
    const marks = new Marks();
    marks.note(id(7), 5, hash(1));
    for (const action of [marks.check, marks.note]) {
      expect(errorCodeOf(() => action.call(marks, id(7), 4, hash(1)))).toBe('EROLLBACK');
      expect(errorCodeOf(() => action.call(marks, id(7), 5, hash(2)))).toBe('EFORK');
      expect(() => action.call(marks, id(7), 4, hash(1))).toThrow(/0{31}7: version 4 is older than 5/);
      expect(() => action.call(marks, id(7), 5, hash(2))).toThrow(/0{31}7: version 5 .* version 5/);
    }
    expect([...marks.entries()]).toEqual([[id(7), { version: 5, hash: hash(1) }]]);
  });

  it.each([
    ['x', 1, hash(1)],
    [id(1), -1, hash(1)],
    [id(1), 2 ** 53, hash(1)],
    [id(1), 1.5, hash(1)],
    [id(1), 1, 'abc'],
    [id(1), 1, hash(1).toUpperCase()],
  ])('take nothing that could not be stored: %s %d %s', (wrongId, version, wrongHash) => {
    const marks = new Marks();
    expect(errorCodeOf(() => marks.note(wrongId, version, wrongHash))).toBe('EINVAL');
    expect(marks.size).toBe(0);
  });

  it('forget the one noted longest ago', () => {
    const marks = new Marks(3);
    for (const number of [1, 2, 3]) marks.note(id(number), 1, hash(1));
    marks.note(id(1), 1, hash(1));
    marks.note(id(4), 1, hash(1));
    expect([...marks.entries()].map(([key]) => key)).toEqual([id(3), id(1), id(4)]);
  });

  it('once merged with another history of the same version refuse both, until there is a newer version', () => {
    const marks = new Marks();
    marks.note(id(1), 5, hash(1));
    marks.merge(id(1), { version: 5, hash: hash(2) });
    for (const number of [1, 2]) {
      expect(errorCodeOf(() => marks.check(id(1), 5, hash(number)))).toBe('EFORK');
    }
    // And it stays so in whoever reads it from the log.
    const bytes = coder().encode([...marks.entries()]);
    const [first, second] = [1, 2].map(number =>
      coder().encode([[id(1), { version: 5, hash: hash(number) }]]),
    );
    for (const log of [
      [bytes],
      [bytes, first!],
      [first!, bytes],
      [first!, second!],
      [second!, bytes, first!],
    ]) {
      expect(errorCodeOf(() => decoded(Buffer.concat(log)).check(id(1), 5, hash(1)))).toBe('EFORK');
    }
    marks.note(id(1), 6, hash(3));
    expect(errorCodeOf(() => marks.check(id(1), 5, hash(1)))).toBe('EROLLBACK');
  });

  it('give each mark once to be saved', () => {
    const marks = new Marks();
    marks.note(id(1), 1, hash(1));
    marks.note(id(1), 1, hash(1));
    marks.note(id(2), 1, hash(1));
    const unsaved = marks.takeUnsaved();
    expect([[...unsaved], marks.unsavedCount]).toEqual([[id(1), id(2)], 0]);
    marks.note(id(1), 1, hash(1));
    expect(marks.unsavedCount).toBe(0);
    marks.returnUnsaved(unsaved);
    // What the log holds already, or holds a newer version of, need not be saved.
    marks.merge(id(1), { version: 1, hash: hash(1) });
    marks.merge(id(2), { version: 9, hash: hash(1) });
    expect(marks.unsavedCount).toBe(0);
  });
});

describe('the log of marks', () => {
  it('has records of 72 bytes', () => {
    const bytes = coder().encode([[id(0x0102), { version: 2 ** 40 + 3, hash: hash(4) }]]);
    expect(bytes.byteLength).toBe(MARK_BYTES);
    expect(Buffer.from(bytes).toString('hex')).toMatch(
      new RegExp(`^${id(0x0102)}0300000000010000${hash(4)}[0-9a-f]{32}$`),
    );
  });

  const entry = fc.tuple(
    fc.integer({ min: 0, max: 5 }).map(id),
    fc.record({
      version: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.maxSafeNat()),
      hash: fc.integer({ min: 0, max: 2 }).map(hash),
    }),
  );

  it('gives back the highest version of each id, whatever its order and its torn end', () => {
    checkProperty(
      fc.tuple(fc.array(entry), fc.integer({ min: 0, max: MARK_BYTES - 1 })),
      ([entries, tornBytes]) => {
        const bytes = Buffer.concat([coder().encode(entries), randomBytes(tornBytes)]);
        const marks = decoded(bytes);
        const highest = new Map<string, Mark[]>();
        for (const [key, mark] of entries) {
          const others = highest.get(key) ?? [];
          const top = Math.max(mark.version, ...others.map(({ version }) => version));
          highest.set(
            key,
            [...others, mark].filter(({ version }) => version === top),
          );
        }
        expect(marks.damagedCount).toBe(0);
        expect(marks.size).toBe(highest.size);
        for (const [key, same] of highest) {
          const isFork = new Set(same.map(mark => mark.hash)).size > 1;
          expect(marks.get(key)).toEqual({
            version: same[0]!.version,
            hash: isFork ? '0'.repeat(64) : same[0]!.hash,
          });
        }
      },
    );
  });

  it('believes no record with a changed bit, nor of another volume or key', () => {
    const bytes = coder().encode(
      [1, 2, 3].map(number => [id(number), { version: 1, hash: hash(1) }] as const),
    );
    checkProperty(fc.integer({ min: 0, max: 8 * bytes.byteLength - 1 }), bit => {
      const damaged = new Uint8Array(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const marks = decoded(damaged);
      expect([marks.size, marks.damagedCount]).toEqual([2, 1]);
      expect(marks.get(id(Math.floor(bit / 8 / MARK_BYTES) + 1))).toBeUndefined();
    });
    for (const other of [coder(9, 2), coder(1, 9)]) {
      expect([decoded(bytes, other).size, decoded(bytes, other).damagedCount]).toEqual([0, 3]);
    }
  });
});
