/** Drivers of unstorage as stores: those that come with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fsDriver from 'unstorage/drivers/fs';
import memoryDriver from 'unstorage/drivers/memory';
import { describe, expect, it } from 'vitest';
import { unstorageStore } from '../../../src/server/adapters/unstorage-store.ts';
import { codeOf } from '../../keys/helpers.ts';
import { errorCodeOf } from '../../support/errors.ts';
import { describeStore } from '../describe-store.ts';

const NO_CONDITIONS = { createIfAbsent: 'none', replaceIfMatch: 'none', atomicPut: false } as const;

describeStore(
  'the memory driver of unstorage',
  async () => ({ store: unstorageStore(memoryDriver()) }),
  NO_CONDITIONS,
);

describeStore(
  'the fs driver of unstorage',
  async () => {
    const base = await mkdtemp(join(tmpdir(), 'netseal-unstorage-'));
    return { store: unstorageStore(fsDriver({ base })), remove: () => rm(base, { recursive: true }) };
  },
  NO_CONDITIONS,
);

describe('a driver of unstorage as a store', () => {
  it('passes on what drivers resolve with in place of rejecting', async () => {
    const denied = Object.assign(new Error('no'), { code: 'EACCES' });
    const store = unstorageStore({
      ...memoryDriver(),
      getItemRaw: () => denied,
      removeItem: async () => denied as never,
    });
    expect(await codeOf(() => store.get('a'))).toBe('EDENIED');
    expect(await codeOf(() => store.delete('a'))).toBe('EDENIED');
  });

  it('keeps its own copy, whatever the driver keeps', async () => {
    const store = unstorageStore(memoryDriver());
    await store.put('a', [Uint8Array.of(1)]);
    (await store.get('a')).bytes.fill(9);
    expect((await store.get('a')).bytes).toEqual(Uint8Array.of(1));
  });

  it('needs a driver that writes raw items', () => {
    const { setItemRaw, ...readOnly } = memoryDriver();
    expect(errorCodeOf(() => unstorageStore(readOnly))).toBe('EUNSUPPORTED');
  });
});
