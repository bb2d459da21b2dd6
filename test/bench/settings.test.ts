import { describe, expect, it } from 'vitest';
import {
  expandGrid,
  GRID_DEFAULT,
  seriesLabel,
  settingId,
  settingLabel,
  varyingOf,
} from '../../src/bench/settings.ts';
import { setting } from './fixtures.ts';

const KIB = 1024;
const invalid = expect.objectContaining({ code: 'EINVAL' });

describe('the grid', () => {
  it('combines everything once, ascending by unit size', () => {
    const { settings } = expandGrid({ ...GRID_DEFAULT, unitSizesBytes: [64 * KIB, 4 * KIB, 64 * KIB] });
    expect(settings).toHaveLength(8);
    expect(new Set(settings.map(settingId)).size).toBe(8);
    expect(settings.map(({ unitSizeBytes }) => unitSizeBytes / KIB)).toEqual([4, 4, 4, 4, 64, 64, 64, 64]);
  });

  it('leaves out padding to more than the unit, and says so', () => {
    const { settings, notes } = expandGrid({
      ...GRID_DEFAULT,
      unitSizesBytes: [4 * KIB, 64 * KIB],
      paddings: ['none', 64 * KIB],
      codecs: [{ codec: 'stored', level: 0 }],
    });
    expect(settings.map(({ unitSizeBytes, padding }) => [unitSizeBytes, padding])).toEqual([
      [4 * KIB, 'none'],
      [64 * KIB, 'none'],
      [64 * KIB, 64 * KIB],
    ]);
    expect(notes).toEqual(['skipped 4 KiB units with 64 KiB padding: it is more than the unit']);
  });

  it('says where compression cannot do anything', () => {
    expect(
      expandGrid({ ...GRID_DEFAULT, unitSizesBytes: [4 * KIB], paddings: [4 * KIB] }).notes.join(),
    ).toContain('stored as they are');
  });

  it.each([
    ['a unit that is no power of two', { unitSizesBytes: [5000] }],
    ['a unit below 4 KiB', { unitSizesBytes: [2048] }],
    ['a unit above 16 MiB', { unitSizesBytes: [32 * KIB * KIB] }],
    ['padding to more than 64 KiB', { paddings: [128 * KIB] }],
    ['padding to 3 bytes', { paddings: [3] }],
    ['a level that is not there', { codecs: [{ codec: 'zstd' as const, level: 20 }] }],
    ['nothing', { codecs: [] }],
    ['nothing after skipping', { unitSizesBytes: [4 * KIB], paddings: [64 * KIB] }],
  ])('refuses %s', (_, changes) => {
    expect(() => expandGrid({ ...GRID_DEFAULT, ...changes })).toThrow(invalid);
  });

  it('refuses more than a thousand settings', () => {
    const codecs = Array.from({ length: 19 }, (_, at) => ({ codec: 'zstd' as const, level: at + 1 }));
    const paddings = Array.from({ length: 16 }, (_, at) => 2 ** (at + 1));
    expect(() => expandGrid({ ...GRID_DEFAULT, codecs, paddings })).toThrow(invalid);
  });
});

it('labels say only what varies', () => {
  const one = setting();
  const other = setting({ suite: 'xchacha20-poly1305', padding: 'none' });
  expect(seriesLabel(one, varyingOf([one]))).toBe('zstd:1');
  expect(settingLabel(other, varyingOf([one, other]))).toBe(
    '256 KiB units, zstd:1, no padding, xchacha20-poly1305',
  );
});
