import { createRequire } from 'node:module';
import { afterEach, expect, it, vi } from 'vitest';
import { isNetsealError } from '../../src/base/errors.ts';
import { chooseProviders, type ProviderChoice } from '../../src/unit/providers.ts';

afterEach(() => {
  vi.doUnmock('node:zlib');
  vi.resetModules();
});

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => expect.fail('nothing was thrown'),
    (reason: unknown) => reason,
  );
  if (!isNetsealError(error)) throw error;
  return error.code;
}

const NATIVE_REPORT = {
  codecs: { zstd: 'native', deflate: 'native' },
  ciphers: { 'xaes-256-gcm': 'node', 'xchacha20-poly1305': 'node' },
};
const PORTABLE_REPORT = {
  codecs: { zstd: 'portable', deflate: 'portable' },
  ciphers: { 'xaes-256-gcm': 'noble', 'xchacha20-poly1305': 'noble' },
};

it('native where it is there, and every choice is reported', async () => {
  expect((await chooseProviders()).report).toEqual(NATIVE_REPORT);
  expect((await chooseProviders({ codecs: 'native', ciphers: 'native' })).report).toEqual(NATIVE_REPORT);
  const portable = await chooseProviders({ codecs: 'portable', ciphers: 'portable' });
  expect(portable.report).toEqual(PORTABLE_REPORT);
  expect((await chooseProviders({ codecs: 'portable' })).report).toEqual({
    codecs: PORTABLE_REPORT.codecs,
    ciphers: NATIVE_REPORT.ciphers,
  });
  expect(portable.codec('zstd').provider).toBe('portable');
  expect(portable.suite('xaes-256-gcm').provider).toBe('noble');
});

it('no other word', async () => {
  expect(await codeOf(chooseProviders({ codecs: 'wasm' as ProviderChoice }))).toBe('EINVAL');
  expect(await codeOf(chooseProviders({ ciphers: '' as ProviderChoice }))).toBe('EINVAL');
});

it('portable zstd where node:zlib has none', async () => {
  vi.resetModules();
  const zlib: typeof import('node:zlib') = createRequire(import.meta.url)('node:zlib');
  vi.doMock('node:zlib', () => ({ ...zlib, zstdCompressSync: undefined }));
  const { chooseProviders: choose } = await import('../../src/unit/providers.ts');
  expect((await choose()).report.codecs).toEqual({ zstd: 'portable', deflate: 'native' });
  expect(await codeOf(choose({ codecs: 'native' }))).toBe('EUNSUPPORTED');
});
