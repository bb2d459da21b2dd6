/** The bytes of a head: what goes in comes out, and everything else is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeClientHead,
  encodeClientHead,
  HEAD_BYTES_MAX,
  HEAD_MARKS_MAX,
  HEAD_SESSIONS_MAX,
  type Head,
} from '../../src/server/sealed/head-format.ts';
import { extensionItems } from '../server/sealed/arbitraries.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import { hashOf, idOf } from './mark-values.ts';

const EXAMPLE: Head = {
  isEphemeral: true,
  version: 300,
  writtenAtMs: 1_700_000_000_000,
  sessions: [
    { id: idOf(1), seenAtMs: 1_700_000_000_000, oldestOpenMs: 1_699_999_000_000 },
    { id: idOf(2), seenAtMs: 1_699_999_999_000, oldestOpenMs: 0 },
  ],
  marks: [
    { id: idOf(9), version: 1, hash: hashOf(1) },
    { id: idOf(3), version: 200, hash: hashOf(2) },
  ],
};

const numbers = fc.maxSafeNat();
const ids = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map(id => id.toString(16).padStart(32, '0'));
const hashes = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }).map(id => id.toString(16).padStart(64, '0'));
const heads: fc.Arbitrary<Head> = fc.record({
  isEphemeral: fc.boolean(),
  version: numbers,
  writtenAtMs: numbers,
  sessions: fc
    .uniqueArray(fc.record({ id: ids, seenAtMs: numbers, oldestOpenMs: numbers }), {
      selector: ({ id }) => id,
    })
    .map(sessions => sessions.sort((left, right) => (left.id < right.id ? -1 : 1))),
  marks: fc.uniqueArray(fc.record({ id: ids, version: numbers, hash: hashes }), { selector: ({ id }) => id }),
  extensions: fc.option(extensionItems, { nil: undefined }),
});

describe('the bytes of a head', () => {
  it('have the sizes of docs/LAYOUT.md', () => {
    const empty: Head = {
      ...{ isEphemeral: false, version: 1, writtenAtMs: 1_700_000_000_000 },
      ...{ sessions: [], marks: [] },
    };
    expect(encodeClientHead(empty).byteLength).toBe(11);
    expect([...encodeClientHead(empty).subarray(0, 3)]).toEqual([2, 0, 1]);
    expect([...encodeClientHead({ ...empty, isEphemeral: true }).subarray(0, 3)]).toEqual([2, 1, 1]);
    expect(encodeClientHead(EXAMPLE).byteLength).toBe(
      1 + 1 + 2 + 6 + 1 + (16 + 6 + 6) + (16 + 6 + 1) + 1 + 49 + 50,
    );
  });

  it('give back what went in', () => {
    checkProperty(heads, head => {
      expect(decodeClientHead(encodeClientHead(head))).toEqual(head);
    });
  });

  it('fit when there is as much as can be', () => {
    const most = Number.MAX_SAFE_INTEGER;
    const full: Head = {
      isEphemeral: true,
      version: most,
      writtenAtMs: most,
      sessions: Array.from({ length: HEAD_SESSIONS_MAX }, (_, at) => ({
        id: idOf(at),
        seenAtMs: most,
        oldestOpenMs: most,
      })),
      marks: Array.from({ length: HEAD_MARKS_MAX }, (_, at) => ({
        id: idOf(at),
        version: most,
        hash: hashOf(at),
      })),
    };
    const bytes = encodeClientHead(full);
    expect(bytes.byteLength).toBeLessThanOrEqual(HEAD_BYTES_MAX);
    expect(decodeClientHead(bytes)).toEqual(full);
    const marks = [...full.marks, { id: idOf(5000), version: 1, hash: hashOf(1) }];
    expect(errorCodeOf(() => encodeClientHead({ ...full, marks }))).toBe('EINVAL');
  });

  it('have one encoding each, whatever is done to them', () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.boolean()), {
      minLength: 1,
      maxLength: 3,
    });
    checkProperty(fc.tuple(heads, edits), ([head, changes]) => {
      const bytes = [...encodeClientHead(head)];
      for (const [where, value, isCut] of changes) {
        const at = where % (bytes.length + 1);
        if (isCut) bytes.splice(at, 1);
        else bytes[at] = value;
      }
      const changed = Uint8Array.from(bytes);
      let decoded: Head;
      try {
        decoded = decodeClientHead(changed);
      } catch (error) {
        expect(['EFORMAT', 'EUNSUPPORTED']).toContain((error as { code?: string }).code);
        return;
      }
      expect(Buffer.from(encodeClientHead(decoded)).equals(changed)).toBe(true);
    });
  });

  it.each([
    ['two marks of one id', { marks: [EXAMPLE.marks[0], EXAMPLE.marks[0]] }],
    ['two entries of one session', { sessions: [EXAMPLE.sessions[0], EXAMPLE.sessions[0]] }],
    ['a version that is none', { version: -1 }],
    ['a hash that is none', { marks: [{ id: idOf(1), version: 1, hash: 'beef' }] }],
  ])('are not made of %s', (_, change) => {
    expect(errorCodeOf(() => encodeClientHead({ ...EXAMPLE, ...change } as Head))).toBe('EINVAL');
  });

  it('tell the classes of their extensions apart', () => {
    const extended: Head = { ...EXAMPLE, extensions: [{ tag: 8, value: Uint8Array.of(7) }] };
    const bytes = encodeClientHead(extended);
    const codes = [8, 9, 10, 11].map(tag => {
      const other = bytes.slice();
      other[other.byteLength - 3] = tag;
      try {
        return decodeClientHead(other).extensions?.[0]?.tag;
      } catch (error) {
        return (error as { code?: string }).code;
      }
    });
    expect(codes).toEqual([8, 9, 'EUNSUPPORTED', 'EFORMAT']);
  });

  it('are refused when they repeat an id, or come from a later version', () => {
    const bytes = encodeClientHead(EXAMPLE);
    const marksAt = bytes.byteLength - 99;
    const twice = bytes.slice();
    twice.copyWithin(marksAt + 49, marksAt, marksAt + 16);
    expect(errorCodeOf(() => decodeClientHead(twice))).toBe('EFORMAT');
    for (const layout of [1, 3]) {
      expect(errorCodeOf(() => decodeClientHead(Uint8Array.of(layout)))).toBe('EUNSUPPORTED');
    }
    for (const flags of [0x04, 0x05, 0x80]) {
      const flagged = bytes.slice();
      flagged[1] = flags;
      expect(errorCodeOf(() => decodeClientHead(flagged))).toBe('EUNSUPPORTED');
    }
    expect(errorCodeOf(() => decodeClientHead(bytes.subarray(0, -1)))).toBe('EFORMAT');
    expect(errorCodeOf(() => decodeClientHead(Uint8Array.of(...bytes, 0)))).toBe('EFORMAT');
  });
});
