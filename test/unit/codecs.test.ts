/** Every provider of a codec opens every other's output, at every level and up to the edges of its heap. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { type CodecProvider, formatCodec, parseCodec } from '../../src/unit/codec.ts';
import { deflateBitsByHand, FIXED, zstdBlockByHand, zstdFrameByHand } from '../../vectors/by-hand.ts';
import { makePlain } from '../../vectors/case.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty, contents, shareAtOddOffset } from '../support/property.ts';
import { NATIVE, PORTABLE } from '../support/providers.ts';
import { IS_LONG } from '../support/soak.ts';

const ZSTD = [NATIVE.codec('zstd'), PORTABLE.codec('zstd')];
const DEFLATE = [NATIVE.codec('deflate'), PORTABLE.codec('deflate')];
const CODECS = [
  { codec: 'zstd', both: ZSTD, levels: [1, 3, 9, 19], levelMax: 19 },
  { codec: 'deflate', both: DEFLATE, levels: [1, 6, 9], levelMax: 9 },
] as const;

function expectSame(actual: Uint8Array, wanted: Uint8Array): void {
  expect(actual.byteLength).toBe(wanted.byteLength);
  expect(Buffer.compare(actual, wanted)).toBe(0);
}

function roundTrips(
  by: CodecProvider,
  plain: Uint8Array,
  level: number,
  both: readonly CodecProvider[],
): void {
  const before = Buffer.from(plain);
  const payload = by.compress(plain, level);
  expectSame(plain, before);
  const kept = Buffer.from(payload);
  for (const provider of both) {
    expectSame(provider.decompress(payload, plain.byteLength), before);
    expectSame(payload, kept);
  }
}

describe.each(CODECS)('$codec', ({ both, levels, levelMax }) => {
  describe.each([...both])('compressed by $provider', by => {
    it('opens with both, whatever the content', () => {
      checkProperty(
        fc.record({ plain: contents(1, 70_000), level: fc.integer({ min: 1, max: levelMax }) }),
        ({ plain, level }) => roundTrips(by, plain, level, both),
        { weight: 2 },
      );
    });

    it('every level, small', () => {
      for (let level = 1; level <= levelMax; level += 1) {
        for (const lengthBytes of [1, 2, 255, 256, 257, 1000]) {
          roundTrips(by, makePlain('text', lengthBytes), level, both);
          roundTrips(by, makePlain('random', lengthBytes), level, both);
        }
      }
    });

    it.each([...levels])('level %i at the edges of sizes', level => {
      for (const edge of [256, 4 * KIB, 64 * KIB, 65_792, 128 * KIB]) {
        for (const lengthBytes of [edge - 1, edge, edge + 1]) {
          roundTrips(by, makePlain('text', lengthBytes), level, both);
        }
      }
    });

    it('shared memory at an odd offset, in and out', () => {
      for (const plain of [makePlain('text', 5000), makePlain('random', 5000)]) {
        const shared = shareAtOddOffset(plain, 3);
        const payload = shareAtOddOffset(by.compress(shared, 1), 5);
        for (const provider of both) expectSame(provider.decompress(payload, 5000), plain);
      }
    });

    it.runIf(IS_LONG)('a unit of 16 MiB', () => {
      const plain = new Uint8Array(16 * MIB);
      plain.set(makePlain('random', 64 * KIB), 9 * MIB);
      roundTrips(by, plain, 1, both);
      if (levelMax === 19) roundTrips(by, plain, 19, [by]);
    });
  });

  it('a damaged payload gives EFORMAT or content of the right length, and both agree on what it is', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { maxLength: 4 });
    checkProperty(
      fc.record({ plain: contents(1, 3000), by: fc.nat(1), damage, cut: fc.nat(8) }),
      ({ plain, by, damage, cut }) => {
        const whole = Uint8Array.from(both[by]!.compress(plain, 1));
        const payload = whole.subarray(0, Math.max(0, whole.byteLength - cut));
        for (const [at, flip] of damage) {
          if (payload.byteLength > 0) payload[at % payload.byteLength]! ^= flip;
        }
        const results = both.map(provider => {
          let made: Uint8Array | undefined;
          const code = (() => {
            try {
              return errorCodeOf(() => {
                made = provider.decompress(payload, plain.byteLength);
              });
            } catch (error) {
              if (made === undefined) throw error;
              return undefined;
            }
          })();
          if (made === undefined) expect(code).toBe('EFORMAT');
          else expect(made.byteLength).toBe(plain.byteLength);
          return made;
        });
        if (results[0] !== undefined && results[1] !== undefined) expectSame(results[0], results[1]);
      },
      { weight: 3 },
    );
    // Whatever it was given, a codec goes on working.
    for (const provider of both) roundTrips(provider, makePlain('text', 10_000), 3, both);
  });

  it.each([...both])('$provider: random bytes are no payload', provider => {
    checkProperty(
      fc.record({
        payload: fc.uint8Array({ maxLength: 300 }),
        plainBytes: fc.integer({ min: 1, max: 5000 }),
      }),
      ({ payload, plainBytes }) => {
        let made: Uint8Array;
        try {
          made = provider.decompress(payload, plainBytes);
        } catch (error) {
          expect(error).toMatchObject({ name: 'NetsealError', code: 'EFORMAT' });
          return;
        }
        // A few random bytes do make a deflate stream, if rarely one of the right length.
        expect(made.byteLength).toBe(plainBytes);
      },
    );
  });
});

describe('the heap of portable zstd', () => {
  const [native, portable] = ZSTD as [CodecProvider, CodecProvider];

  it('holds what cannot be compressed, at the edges of the small heap, again and again', () => {
    const edge = makePlain('random', 256 * KIB + 1);
    for (let round = 0; round < 20; round += 1) {
      for (const lengthBytes of [256 * KIB, 1, 100_003, 256 * KIB - 1, 4096 + round]) {
        const plain = edge.subarray(0, lengthBytes);
        const payload = portable.compress(plain, 9);
        expectSame(portable.decompress(payload, lengthBytes), plain);
      }
    }
    for (const [lengthBytes, level] of [
      [256 * KIB + 1, 9],
      [256 * KIB, 10],
      [256 * KIB, 19],
    ] as const) {
      const plain = edge.subarray(0, lengthBytes);
      expectSame(native.decompress(portable.compress(plain, level), lengthBytes), plain);
    }
  });

  it('opens 4 MiB that could not be compressed, and more', () => {
    const random = makePlain('random', 4 * MIB + 1);
    for (const lengthBytes of [4 * MIB, 4 * MIB - 1, 3_000_001, 4 * MIB + 1, 4 * MIB, 2 * MIB + 7, 4 * MIB]) {
      const plain = random.subarray(0, lengthBytes);
      const payload = native.compress(plain, 1);
      expectSame(portable.decompress(payload, lengthBytes), plain);
    }
  });

  it('survives 4 MiB of damage', () => {
    const plain = makePlain('random', 4 * MIB);
    const payload = Uint8Array.from(native.compress(plain, 1));
    payload[payload.byteLength >> 1]! ^= 1;
    const tail = payload.subarray(0, payload.byteLength - 1);
    for (let round = 0; round < 3; round += 1) {
      expect(errorCodeOf(() => portable.decompress(tail, plain.byteLength))).toBe('EFORMAT');
      expect(portable.decompress(payload, plain.byteLength).byteLength).toBe(plain.byteLength);
    }
  });
});

describe('a bomb takes no more memory than the unit', () => {
  const zeroes = Buffer.of(0);
  const zstdBomb = zstdFrameByHand({
    contentBytes: 4096,
    blocks: [
      ...Array.from({ length: 2000 }, () => zstdBlockByHand('repeated', zeroes, false, 128 * KIB)),
      zstdBlockByHand('repeated', zeroes, true, 128 * KIB),
    ],
  });
  const deflateBomb = deflateBitsByHand(
    FIXED.lastBlock + FIXED.literalZero + FIXED.repeat258.repeat(100_000) + FIXED.endOfBlock,
  );
  const cases = [...ZSTD, ...DEFLATE].map(provider => ({
    name: `${provider.codec}, ${provider.provider}`,
    provider,
    bomb: provider.codec === 'zstd' ? zstdBomb : deflateBomb,
  }));

  it.each(cases)('$name', ({ provider, bomb }) => {
    const grown = (work: () => void) => {
      const before = process.memoryUsage();
      work();
      const after = process.memoryUsage();
      return after.external + after.heapUsed - before.external - before.heapUsed;
    };
    const explode = () => {
      for (let round = 0; round < 4; round += 1) {
        expect(errorCodeOf(() => provider.decompress(bomb, 4096))).toBe('EFORMAT');
      }
    };
    explode();
    // 256 MiB or 25 MiB of content each, of which 4 KiB are wanted.
    expect(grown(explode)).toBeLessThan(4 * MIB);
  });
});

it('codecs are written as they are read', () => {
  const settings = fc.oneof(
    fc.constant({ codec: 'stored', level: 0 } as const),
    fc.integer({ min: 1, max: 19 }).map(level => ({ codec: 'zstd', level }) as const),
    fc.integer({ min: 1, max: 9 }).map(level => ({ codec: 'deflate', level }) as const),
  );
  checkProperty(settings, setting => expect(parseCodec(formatCodec(setting))).toEqual(setting));
  expect(parseCodec('zstd')).toEqual({ codec: 'zstd', level: 1 });
  expect(parseCodec('deflate')).toEqual({ codec: 'deflate', level: 1 });
  expect(parseCodec('stored')).toEqual({ codec: 'stored', level: 0 });
});

it.each([
  '',
  'gzip',
  'zstd:',
  'zstd:0',
  'zstd:20',
  'zstd:-1',
  'zstd:1.5',
  'zstd: 1',
  'zstd:1:1',
  'zstd:001',
  'deflate:10',
  'stored:1',
  'ZSTD',
  'toString',
  '__proto__',
  'constructor:1',
])('"%s" is no codec', text => {
  expect(errorCodeOf(() => parseCodec(text))).toBe('EINVAL');
});
