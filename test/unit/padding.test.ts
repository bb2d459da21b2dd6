/** The rule of padding: Padmé against the paper's own formulas, and what holds of every padding. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromHex } from '../../src/base/bytes.ts';
import {
  checkPadding,
  PADDING_BYTES_END,
  PADDING_DEFAULT,
  type Padding,
  paddedBytes,
  paddedBytesMax,
  padme,
  type RecordPadding,
  savesEnough,
} from '../../src/unit/padding.ts';
import { layOutByHand, padByHand, sealByHand } from '../../vectors/by-hand.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';
import { NATIVE } from '../support/providers.ts';
import { openAs } from '../support/reader.ts';

const MIB = 2 ** 20;
const UNIT_BYTES_MAX = 16 * MIB;

const lengths = fc.oneof(
  fc.integer({ min: 0, max: 5000 }),
  fc.integer({ min: 0, max: UNIT_BYTES_MAX }),
  // Just below, at and just above a power of two.
  fc
    .tuple(fc.integer({ min: 0, max: 24 }), fc.integer({ min: -3, max: 3 }))
    .map(([exponent, beside]) => Math.min(UNIT_BYTES_MAX, Math.max(0, 2 ** exponent + beside))),
);
const paddings = fc.oneof(
  fc.constantFrom<RecordPadding>('padme', 'none', 'control'),
  fc.integer({ min: 1, max: 16 }).map(log2 => 2 ** log2),
);

describe('Padmé', () => {
  it.each([
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 3],
    [7, 7],
    [8, 8],
    [9, 10],
    [15, 16],
    [16, 16],
    [33, 36],
    [100, 104],
    [257, 272],
    [1000, 1024],
    [4097, 4352],
    [5000, 5120],
    [65_537, 67_584],
    [262_145, 270_336],
    [8 * MIB, 8 * MIB],
    [8 * MIB + 1, 8 * MIB + 262_144],
    [16 * MIB - 262_144, 16 * MIB - 262_144],
    [16 * MIB - 262_143, 16 * MIB],
    [16 * MIB - 1, 16 * MIB],
    [16 * MIB, 16 * MIB],
  ])('of %i is %i', (lengthBytes, wanted) => {
    expect(padme(lengthBytes)).toBe(wanted);
  });

  it('of every power of two is itself', () => {
    for (let exponent = 0; exponent < 32; exponent += 1) expect(padme(2 ** exponent)).toBe(2 ** exponent);
  });

  it('is monotone and idempotent, and adds 12 % at most', () => {
    checkProperty(
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      lengthBytes => {
        const padded = padme(lengthBytes);
        expect(padme(padded)).toBe(padded);
        expect(padded).toBeGreaterThanOrEqual(lengthBytes);
        expect(padded).toBeLessThanOrEqual(Math.floor(1.12 * lengthBytes));
        if (lengthBytes > 0) expect(padme(lengthBytes - 1)).toBeLessThanOrEqual(padded);
      },
      { weight: 5 },
    );
    for (let lengthBytes = 1; lengthBytes <= 70_000; lengthBytes += 1) {
      const padded = padme(lengthBytes);
      const holds =
        padded <= 1.12 * lengthBytes && padme(lengthBytes - 1) <= padded && padme(padded) === padded;
      expect(holds, String(lengthBytes)).toBe(true);
    }
  });
});

describe('every padding', () => {
  it('is what the slow twin says', () => {
    checkProperty(fc.tuple(lengths, paddings), ([payloadBytes, padding]) => {
      const wanted =
        padding === 'control'
          ? Math.max(padByHand(payloadBytes, 256), payloadBytes < 256 ? 0 : padByHand(payloadBytes, 'padme'))
          : padByHand(payloadBytes, padding);
      expect(paddedBytes(payloadBytes, padding)).toBe(wanted);
    });
  });

  it('is monotone and idempotent, stays within the unit, and below its end', () => {
    checkProperty(
      fc.tuple(lengths, lengths, paddings, fc.integer({ min: 16, max: 24 })),
      ([one, other, padding, unitSizeLog2]) => {
        const padded = paddedBytes(one, padding);
        expect(padded).toBeGreaterThanOrEqual(one);
        expect(padded - one).toBeLessThan(PADDING_BYTES_END);
        expect(paddedBytes(padded, padding)).toBe(padded);
        if (other >= one) expect(paddedBytes(other, padding)).toBeGreaterThanOrEqual(padded);
        if (one <= 2 ** unitSizeLog2) expect(padded).toBeLessThanOrEqual(2 ** unitSizeLog2);
        if (one > 0) expect(padded).toBeLessThanOrEqual(paddedBytesMax(one));
      },
      { weight: 5 },
    );
  });

  it('takes compression only for a 32nd, and then for a shorter payload', () => {
    checkProperty(fc.tuple(lengths, lengths, paddings), ([payloadBytes, plainBytes, padding]) => {
      const [payload, plain] = [payloadBytes, plainBytes].map(bytes => paddedBytes(bytes, padding));
      const saved = (plain ?? 0) - (payload ?? 0);
      const pays = savesEnough(payloadBytes, plainBytes, padding);
      expect(pays).toBe(plain === 0 ? payload === 0 : saved / (plain ?? 1) >= 1 / 32);
      if (pays && plainBytes > 0) expect(payloadBytes).toBeLessThan(plainBytes);
    });
  });
});

it('control records take steps of 256 bytes, and Padmé from where its own steps are longer', () => {
  expect([1, 256, 257, 4097, 8192, 8193, 100_000].map(bytes => paddedBytes(bytes, 'control'))).toEqual([
    256, 256, 512, 4352, 8192, 8704, 100_352,
  ]);
});

it('the paddings that users may choose', () => {
  expect(PADDING_DEFAULT).toBe('padme');
  for (const padding of ['padme', 'none', 2, 512, 4096] as const) checkPadding(padding, 4096);
  checkPadding(65_536, 65_536);
  for (const padding of ['', 'Padme', 'control', 0, 1, 3, 1.5, -2, Number.NaN, 131_072, null, {}, '4096']) {
    expect(
      errorCodeOf(() => checkPadding(padding as Padding, 2 ** 24)),
      String(padding),
    ).toBe('EINVAL');
  }
  expect(errorCodeOf(() => checkPadding(8192, 4096))).toBe('EINVAL');
});

it('readers take 262,143 bytes of padding, and no more', () => {
  const place = { index: 0, unitSizeLog2: 24 };
  const ids = { epochKey: '01'.repeat(32), volumeId: '02'.repeat(16), objectId: '03'.repeat(16) };
  const reader = { ...place, ...ids, epoch: 1, kind: 'unit' as const, openBytesMax: UNIT_BYTES_MAX };
  const open = (paddingBytes: number) => {
    const record = sealByHand({
      ...{
        epochKey: fromHex(ids.epochKey),
        volumeId: fromHex(ids.volumeId),
        objectId: fromHex(ids.objectId),
      },
      ...{ ...place, kind: 1, suite: 1, flags: 0, epoch: 1, nonce: Buffer.alloc(24, 4) },
      plaintext: layOutByHand({ codec: 0, plainLength: 1, payload: Buffer.of(7), paddingBytes }),
    });
    return openAs(reader, NATIVE, new Uint8Array(record), new Uint8Array(UNIT_BYTES_MAX)).plainBytes;
  };
  expect(open(262_143)).toBe(1);
  expect(errorCodeOf(() => open(262_144))).toBe('EFORMAT');
});
