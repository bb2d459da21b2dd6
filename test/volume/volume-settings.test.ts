import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { SETTINGS_BYTES_MAX } from '../../src/keys/private-part.ts';
import {
  checkVolumeSettings,
  decodeSettings,
  encodeSettings,
} from '../../src/volume/session/volume-settings.ts';
import { errorCodeOf } from '../support/errors.ts';

const ROOT = '00112233445566778899aabbccddeeff';
const FIELDS = {
  layout: 1,
  rootId: ROOT,
  unitSizeBytes: 262_144,
  blockSizeBytes: 4096,
  packBytes: 131_072,
  codec: 'zstd:1',
  suite: 'xaes-256-gcm',
};

function json(changes: Record<string, unknown>): Uint8Array {
  return utf8(JSON.stringify({ ...FIELDS, ...changes }));
}

describe('volume settings', () => {
  it('have defaults, and a root of their own', () => {
    const settings = checkVolumeSettings();
    expect(settings).toMatchObject({
      unitSizeBytes: 256 * 1024,
      blockSizeBytes: 4096,
      packBytes: 128 * 1024,
      codec: { codec: 'zstd', level: 1 },
      suite: 'xaes-256-gcm',
    });
    expect(settings.rootId).toMatch(/^[0-9a-f]{32}$/);
    expect(checkVolumeSettings().rootId).not.toBe(settings.rootId);
  });

  it('come back as they were', () => {
    const settings = checkVolumeSettings({
      rootId: ROOT,
      unitSizeBytes: 16 * 1024 * 1024,
      blockSizeBytes: 1,
      packBytes: 0,
      codec: { codec: 'stored', level: 0 },
      suite: 'xchacha20-poly1305',
    });
    const bytes = encodeSettings(settings);
    expect(decodeSettings(bytes)).toEqual(settings);
    expect(bytes.byteLength).toBeLessThan(SETTINGS_BYTES_MAX);
  });

  it('are these bytes', () => {
    const bytes = encodeSettings(checkVolumeSettings({ rootId: ROOT }));
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual(FIELDS);
    expect(decodeSettings(json({ later: true }))).toEqual(checkVolumeSettings({ rootId: ROOT }));
  });

  it.each([
    [{ rootId: 'abc' }],
    [{ unitSizeBytes: 5000 }],
    [{ unitSizeBytes: 4096, blockSizeBytes: 8192 }],
    [{ packBytes: 4095 }],
    [{ packBytes: 1_048_577 }],
    [{ packBytes: 5000.5 }],
    [{ codec: { codec: 'zstd', level: 20 } as const }],
    [{ codec: { codec: 'lzma', level: 1 } as never }],
    [{ suite: 'rot13' as never }],
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
    ['a layout that is text', json({ layout: '1' })],
    ['no root', json({ rootId: undefined })],
    ['a wrong root', json({ rootId: ROOT.toUpperCase() })],
    ['a unit size that is text', json({ unitSizeBytes: '262144' })],
    ['a wrong unit size', json({ unitSizeBytes: 262_145 })],
    ['a wrong block size', json({ blockSizeBytes: 3 })],
    ['an object as block size', json({ blockSizeBytes: {} })],
    ['no size of packs', json({ packBytes: undefined })],
    ['a wrong size of packs', json({ packBytes: 1 })],
    ['a wrong codec', json({ codec: 'zstd:99' })],
    ['a number as codec', json({ codec: 1 })],
    ['a wrong suite', json({ suite: 'none' })],
    ['a suite of a prototype', json({ suite: 'toString' })],
    ['a number as suite', json({ suite: 1 })],
  ])('are checked when they are read: %s', (_, bytes) => {
    expect(errorCodeOf(() => decodeSettings(bytes))).toBe('EFORMAT');
  });

  it('of a newer layout ask for a newer netseal', () => {
    expect(errorCodeOf(() => decodeSettings(json({ layout: 2, codec: 7 })))).toBe('EUNSUPPORTED');
  });
});
