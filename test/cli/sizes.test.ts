import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatBitRate,
  formatDuration,
  formatLink,
  formatNumber,
  formatSize,
  formatThroughput,
  parseCount,
  parseDuration,
  parseLink,
  parseList,
  parseRate,
  parseSize,
} from '../../src/cli/lib/sizes.ts';

const invalid = expect.objectContaining({ code: 'EINVAL' });

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['4096B', 4096],
    ['4KiB', 4096],
    ['256 KiB', 262_144],
    ['1.5MiB', 1_572_864],
    ['1mib', 1_048_576],
    ['1GB', 1e9],
    ['2TiB', 2 * 1024 ** 4],
    ['.5kB', 500],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    '',
    'KiB',
    '4K',
    '-1',
    '1e6',
    '4,096',
    '0.3',
    '1.0001KiB',
    '1 KiB/s',
    '99999999TiB',
    'NaN',
    '0x10',
  ])('refuses "%s"', text => {
    expect(() => parseSize(text, '--sample')).toThrow(invalid);
    expect(() => parseSize(text, '--sample')).toThrow('--sample');
  });

  it('whole sizes up to a thousand of a unit survive formatting', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1023 }), fc.integer({ min: 0, max: 4 }), (count, power) => {
        const bytes = count * 1024 ** power;
        expect(parseSize(formatSize(bytes))).toBe(bytes);
      }),
    );
  });

  it('sizes that are not whole are rounded', () => {
    expect(formatSize(1536)).toBe('1.5 KiB');
    expect(formatSize(123_456_789)).toBe('118 MiB');
  });
});

describe('rates', () => {
  it.each([
    ['1Gbit/s', 125e6],
    ['100Mbps', 12.5e6],
    ['8bit/s', 1],
    ['125MB/s', 125e6],
    ['125mB/s', 125e6],
    ['1KiB/s', 1024],
    ['40 MiB/s', 40 * 1024 ** 2],
    ['2.5gbit/s', 312.5e6],
  ])('%s is %d bytes a second', (text, rate) => {
    expect(parseRate(text)).toBe(rate);
  });

  // A small b is a bit to some and a byte to others.
  it.each(['', '100', '0Gbit/s', '1Gb/s', '1Gbit', '-1Gbit/s', '1Gibit/s', 'Gbit/s'])(
    'refuses "%s"',
    text => {
      expect(() => parseRate(text)).toThrow(invalid);
    },
  );

  it('survive formatting', () => {
    for (const rate of [125e6, 12.5e6, 312.5e6, 1.25e9, 1, 125])
      expect(parseRate(formatBitRate(rate))).toBe(rate);
    expect(formatThroughput(412_345_678)).toBe('412 MB/s');
    expect([432, 43_210, 0].map(formatThroughput)).toEqual(['432 B/s', '43.2 kB/s', '0 MB/s']);
  });
});

describe('durations', () => {
  it.each([
    ['20ms', 20],
    ['0', 0],
    ['0ms', 0],
    ['1.5 s', 1500],
    ['500us', 0.5],
    ['500µs', 0.5],
    ['2min', 120_000],
    ['24h', 86_400_000],
    ['1d', 86_400_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '20', 'ms', '-1ms', '1 m', '1e3ms'])('refuses "%s"', text => {
    expect(() => parseDuration(text)).toThrow(invalid);
  });

  it('are written in the unit that suits them', () => {
    expect([0, 0.0123, 0.85, 22.14, 3500, 150_000].map(formatDuration)).toEqual([
      '0 ms',
      '12.3 µs',
      '850 µs',
      '22.1 ms',
      '3.5 s',
      '2.5 min',
    ]);
  });
});

describe('links', () => {
  it('are a rate and a round trip, and survive formatting', () => {
    const link = parseLink('1Gbit/s, 20ms');
    expect(link).toEqual({ bytesPerSecond: 125e6, roundTripMs: 20 });
    expect(parseLink(formatLink(link))).toEqual(link);
  });

  it.each(['', '1Gbit/s', '20ms', '20ms,1Gbit/s', '1Gbit/s,20ms,3', '1Gbit/s,'])('refuses "%s"', text => {
    expect(() => parseLink(text, '--link')).toThrow(invalid);
    expect(() => parseLink(text, '--link')).toThrow('--link');
  });
});

describe('counts and lists', () => {
  it('counts are whole and in range', () => {
    expect(parseCount('0', 'n', 0, 8)).toBe(0);
    for (const text of ['', '-1', '9', '1.5', '1e1', 'x', ' 1']) {
      expect(() => parseCount(text, 'n', 0, 8)).toThrow(invalid);
    }
  });

  it('lists have no holes', () => {
    expect(parseList('4KiB, 1MiB', 'n', text => parseSize(text))).toEqual([4096, 1_048_576]);
    for (const text of ['', ',', '1,', '1,,2']) expect(() => parseList(text, 'n', Number)).toThrow(invalid);
  });

  it('numbers keep three digits', () => {
    expect([0, 1234.5, 12.345, 0.054_321, 100].map(formatNumber)).toEqual([
      '0',
      '1,235',
      '12.3',
      '0.0543',
      '100',
    ]);
  });
});
