import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { SETTINGS_BYTES_MAX } from '../../src/keys/private-part.ts';
import {
  checkVolumeSettings,
  decodeSettings,
  encodeSettings,
} from '../../src/volume/session/volume-settings.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

const ROOT = '00112233445566778899aabbccddeeff';
const MARKS_KEY = '0123456789abcdef'.repeat(4);
const FIELDS = {
  layout: 2,
  rootId: ROOT,
  unitSizeBytes: 262_144,
  padding: 'padme',
  packBytes: 131_072,
  codec: 'zstd:1',
  suite: 'xaes-256-gcm',
  marksKey: MARKS_KEY,
  keys: 'flat',
};

function json(changes: Record<string, unknown>): Uint8Array {
  return utf8(JSON.stringify({ ...FIELDS, ...changes }));
}

describe('volume settings', () => {
  it('have defaults, and a root of their own', () => {
    const settings = checkVolumeSettings();
    expect(settings).toMatchObject({
      unitSizeBytes: 256 * 1024,
      padding: 'padme',
      packBytes: 128 * 1024,
      codec: { codec: 'zstd', level: 1 },
      suite: 'xaes-256-gcm',
    });
    expect(settings.rootId).toMatch(/^[0-9a-f]{32}$/);
    expect(settings.marksKey).toMatch(/^[0-9a-f]{64}$/);
    const other = checkVolumeSettings();
    expect(other.rootId).not.toBe(settings.rootId);
    expect(other.marksKey).not.toBe(settings.marksKey);
  });

  it('come back as they were', () => {
    const settings = checkVolumeSettings({
      rootId: ROOT,
      unitSizeBytes: 16 * 1024 * 1024,
      padding: 'none',
      packBytes: 0,
      codec: { codec: 'stored', level: 0 },
      suite: 'xchacha20-poly1305',
      keys: 'hex2',
    });
    const bytes = encodeSettings(settings);
    expect(decodeSettings(bytes)).toEqual(settings);
    expect(bytes.byteLength).toBeLessThan(SETTINGS_BYTES_MAX);
  });

  it('come back as they were, whatever they are', () => {
    const others = fc
      .dictionary(fc.string(), fc.jsonValue(), { maxKeys: 4 })
      .map(fields => JSON.parse(JSON.stringify(fields)) as Record<string, unknown>)
      .filter(fields => !Object.keys(fields).some(key => key in FIELDS || key.startsWith('requires')));
    const settings = fc
      .record({
        rootId: fc.constant(ROOT),
        unitSizeBytes: fc.integer({ min: 12, max: 24 }).map(log2 => 2 ** log2),
        padding: fc.oneof(
          fc.constantFrom('padme' as const, 'none' as const),
          fc.integer({ min: 1, max: 12 }).map(log2 => 2 ** log2),
        ),
        packBytes: fc.oneof(fc.constant(0), fc.integer({ min: 4096, max: 1_048_576 })),
        codec: fc.oneof(
          fc.record({ codec: fc.constant('zstd' as const), level: fc.integer({ min: 1, max: 19 }) }),
          fc.record({ codec: fc.constant('deflate' as const), level: fc.integer({ min: 1, max: 9 }) }),
          fc.constant({ codec: 'stored' as const, level: 0 }),
        ),
        suite: fc.constantFrom('xaes-256-gcm' as const, 'xchacha20-poly1305' as const),
        keys: fc.constantFrom('flat' as const, 'hex2' as const),
        others,
        requiresToWrite: fc.array(fc.string(), { maxLength: 3 }),
      })
      .map(({ requiresToWrite, ...rest }) => ({
        ...rest,
        others: { ...rest.others, requires: [], requiresToWrite },
      }));
    checkProperty(settings, chosen => {
      const made = checkVolumeSettings(chosen);
      const missing = chosen.others.requiresToWrite;
      const decoded = decodeSettings(encodeSettings(made));
      expect(decoded).toEqual({ ...made, ...(missing.length === 0 ? {} : { missingToWrite: missing }) });
      expect(encodeSettings(decoded)).toEqual(encodeSettings(made));
    });
  });

  it('are these bytes', () => {
    const bytes = encodeSettings(checkVolumeSettings({ rootId: ROOT, marksKey: MARKS_KEY }));
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual(FIELDS);
  });

  it('keep what a newer netseal has added', () => {
    const others = { later: { and: ['more', 1] }, requires: [], requiresToWrite: ['quota'] };
    const settings = decodeSettings(json(others));
    expect(settings).toMatchObject({ rootId: ROOT, others, missingToWrite: ['quota'] });
    expect(JSON.parse(Buffer.from(encodeSettings(settings)).toString())).toEqual({ ...FIELDS, ...others });
    expect(decodeSettings(encodeSettings(settings))).toEqual(settings);
  });

  it('that require what is not known ask for a newer netseal, by name', () => {
    const bytes = json({ requires: ['quota', 'x"y'] });
    expect(errorCodeOf(() => decodeSettings(bytes))).toBe('EUNSUPPORTED');
    expect(() => decodeSettings(bytes)).toThrow('the volume requires "quota", "x\\"y": use a newer netseal');
  });

  it.each([
    [{ rootId: 'abc' }],
    [{ unitSizeBytes: 5000 }],
    [{ unitSizeBytes: 4096, padding: 8192 }],
    [{ packBytes: 4095 }],
    [{ packBytes: 1_048_577 }],
    [{ packBytes: 5000.5 }],
    [{ codec: { codec: 'zstd', level: 20 } as const }],
    [{ codec: { codec: 'lzma', level: 1 } as never }],
    [{ suite: 'rot13' as never }],
    [{ keys: 'hex3' as never }],
    [{ marksKey: 'abc' }],
    [{ marksKey: 5 as never }],
  ])('are checked when they are made: %j', partial => {
    expect(errorCodeOf(() => checkVolumeSettings(partial))).toBe('EINVAL');
  });

  it.each([
    ['nothing', new Uint8Array(0)],
    ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['no JSON', utf8('{')],
    ['no object', utf8('[1]')],
    ['null', utf8('null')],
    ['no layout', json({ layout: undefined })],
    ['layout 0', json({ layout: 0 })],
    ['requirements that are text', json({ requires: 'quota' })],
    ['requirements that are numbers', json({ requiresToWrite: [1] })],
    ['a layout that is text', json({ layout: '1' })],
    ['no root', json({ rootId: undefined })],
    ['a wrong root', json({ rootId: ROOT.toUpperCase() })],
    ['a unit size that is text', json({ unitSizeBytes: '262144' })],
    ['a wrong unit size', json({ unitSizeBytes: 262_145 })],
    ['a wrong padding', json({ padding: 3 })],
    ['an unknown padding', json({ padding: 'padmé' })],
    ['an object as padding', json({ padding: {} })],
    ['no size of packs', json({ packBytes: undefined })],
    ['a wrong size of packs', json({ packBytes: 1 })],
    ['a wrong codec', json({ codec: 'zstd:99' })],
    ['a number as codec', json({ codec: 1 })],
    ['a wrong suite', json({ suite: 'none' })],
    ['a suite of a prototype', json({ suite: 'toString' })],
    ['a number as suite', json({ suite: 1 })],
    ['no keys', json({ keys: undefined })],
    ['unknown keys', json({ keys: 'hex4' })],
    ['no key for marks', json({ marksKey: undefined })],
    ['a short key for marks', json({ marksKey: MARKS_KEY.slice(1) })],
  ])('are checked when they are read: %s', (_, bytes) => {
    expect(errorCodeOf(() => decodeSettings(bytes))).toBe('EFORMAT');
  });

  it('of a newer layout ask for a newer netseal', () => {
    expect(errorCodeOf(() => decodeSettings(json({ layout: 3, codec: 7 })))).toBe('EUNSUPPORTED');
    expect(() => decodeSettings(json({ layout: 3 }))).toThrow(/layout 3: this netseal knows 2/);
  });

  it('of the drafts of the layout are refused, and say what to do', () => {
    expect(errorCodeOf(() => decodeSettings(json({ layout: 1 })))).toBe('EUNSUPPORTED');
    expect(() => decodeSettings(json({ layout: 1 }))).toThrow(/Get the files with the netseal that put them/);
  });
});
