/** Where a volume is: how it is written down, and what is opened or made there. */
import { mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { canonicalStoreName, openStoreAt, parseLocation } from '../../src/cli/volume/location.ts';
import { codeOf } from '../keys/helpers.ts';
import { errorCodeOf } from '../support/errors.ts';

describe('a location', () => {
  it.each([
    ['backup', 'backup', undefined],
    ['backup:', 'backup', undefined],
    ['backup:/', 'backup', '/'],
    ['backup:/docs/a', 'backup', '/docs/a'],
    ['/mnt/x:/a:/b', '/mnt/x', '/a:/b'],
    ['/mnt/x://a', '/mnt/x', '//a'],
    ['./a:b', './a:b', undefined],
    ['a:b:/c', 'a:b', '/c'],
    ['with space:/p q', 'with space', '/p q'],
    ['file:///a/b', 'file:///a/b', undefined],
    ['file:///a/b:', 'file:///a/b', undefined],
    ['file:///a/b:/x', 'file:///a/b', '/x'],
    ['file:///a%3A/b:/x', 'file:///a%3A/b', '/x'],
    ['FILE:///a:/x', 'FILE:///a', '/x'],
    ['s3://bucket/volume:/x', 's3://bucket/volume', '/x'],
    ['s3://b/v?endpoint=http://h:7480', 's3://b/v?endpoint=http://h:7480', undefined],
    ['s3://b/v?endpoint=http://h:7480:', 's3://b/v?endpoint=http://h:7480', undefined],
    ['s3://b/v?endpoint=http://h:7480:/', 's3://b/v?endpoint=http://h:7480', '/'],
    ['S3://b?endpoint=https://h:/a:/b', 'S3://b?endpoint=https://h', '/a:/b'],
  ])('%s', (text, storeText, path) => {
    expect(parseLocation(text)).toEqual({ storeText, path });
  });

  it.each([
    [':', undefined],
    [':/', '/'],
    [':/docs/a', '/docs/a'],
    [':/a:/b', '/a:/b'],
  ])('is that of NETSEAL_STORE: %s', (text, path) => {
    for (const [value, storeText] of [
      ['backup', 'backup'],
      ['backup:', 'backup'],
      ['file:///a/b', 'file:///a/b'],
    ] as const) {
      vi.stubEnv('NETSEAL_STORE', value);
      expect(parseLocation(text)).toEqual({ storeText, path });
    }
    for (const value of ['', 'backup:/docs']) {
      vi.stubEnv('NETSEAL_STORE', value);
      expect(errorCodeOf(() => parseLocation(text))).toBe('EINVAL');
    }
    vi.unstubAllEnvs();
  });

  it.each([[''], [':'], [':/x'], ['file://'], ['file://:/x']])('needs a store: %j', text => {
    expect(errorCodeOf(() => parseLocation(text))).toBe('EINVAL');
  });
});

describe('a store', () => {
  let folder = '';

  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'netseal-location-')));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function make(storeText: string): Promise<void> {
    const store = await openStoreAt(storeText, { create: true });
    await store.put('x', [Uint8Array.of(1)]);
    await store.close();
  }

  it('is made in an empty folder, or in one that is a store, and opened again', async () => {
    await mkdir(join(folder, 'empty'));
    for (const name of ['empty', 'new']) {
      await make(join(folder, name));
      await make(join(folder, name));
      const store = await openStoreAt(join(folder, name));
      expect((await store.get('x')).bytes).toEqual(Uint8Array.of(1));
      await store.close();
    }
  });

  it('may have a colon in its name', async () => {
    await make(join(folder, 's3:bucket'));
    expect(await readdir(join(folder, 's3:bucket'))).toContain('objects');
  });

  it('is reached by a URL as well', async () => {
    const path = join(folder, 'a:', 'b #%');
    await mkdir(join(folder, 'a:'));
    const url = `file://${pathToFileURL(folder).pathname}/a%3A/b%20%23%25`;
    const { storeText, path: inside } = parseLocation(`${url}:/x`);
    expect([storeText, inside]).toEqual([url, '/x']);
    await make(storeText);
    expect(await readdir(path)).toContain('objects');
    expect(await canonicalStoreName(storeText)).toBe(`file://${path}`);
  });

  it('elsewhere has one name as well, and is asked nothing when it is opened', async () => {
    const texts = ['s3://b/v/?endpoint=http://127.0.0.1:1/', 's3://b/v?region=x&endpoint=http://127.0.0.1:1'];
    const names = await Promise.all(texts.map(canonicalStoreName));
    expect(names).toEqual(Array(2).fill('s3://b/v?endpoint=http%3A%2F%2F127.0.0.1%3A1'));
    const store = await openStoreAt(texts[0]!, { create: true });
    expect(store.name).toBe('s3://b/v at http://127.0.0.1:1');
    expect(store.localFolder).toBeUndefined();
    await store.close();
    await expect(openStoreAt('s3://b?bucket=c')).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('has one name, however it is reached', async () => {
    await make(join(folder, 'store'));
    await symlink('store', join(folder, 'link'));
    const names = ['store', 'link', 'store/', './store/../store'].map(name =>
      canonicalStoreName(`${folder}/${name}`),
    );
    const url = pathToFileURL(join(folder, 'link')).href;
    expect(new Set(await Promise.all([...names, canonicalStoreName(url)]))).toEqual(
      new Set([`file://${folder}/store`]),
    );
  });

  it('is not made where anything else is', async () => {
    await mkdir(join(folder, 'used'));
    await writeFile(join(folder, 'used', 'photo.jpg'), '');
    // Git has a folder "objects", too.
    await mkdir(join(folder, 'git', 'objects'), { recursive: true });
    await writeFile(join(folder, 'git', 'HEAD'), '');
    await writeFile(join(folder, 'file'), '');
    await symlink('nowhere', join(folder, 'dangling'));
    for (const [name, code] of [
      ['used', 'EEXIST'],
      ['git', 'EEXIST'],
      ['file', 'EEXIST'],
      ['dangling', 'EEXIST'],
      ['no/such', 'ENOENT'],
    ]) {
      const before = await readdir(folder, { recursive: true });
      expect([name, await codeOf(() => openStoreAt(join(folder, name ?? ''), { create: true }))]).toEqual([
        name,
        code,
      ]);
      expect(await readdir(folder, { recursive: true })).toEqual(before);
    }
  });

  it('is not there: ENOENT, and nothing is made', async () => {
    await mkdir(join(folder, 'empty'));
    await writeFile(join(folder, 'file'), '');
    for (const name of ['missing', 'empty', 'file']) {
      expect([name, await codeOf(() => openStoreAt(join(folder, name)))]).toEqual([name, 'ENOENT']);
    }
    expect(await readdir(folder, { recursive: true })).toEqual(['empty', 'file']);
  });

  it.each([
    ['s3:bucket'],
    ['b2:bucket/folder'],
    ['host:folder'],
    ['me@host:folder'],
    ['file:relative'],
    ['sftp://host/x'],
    ['file://another-host/x'],
    ['file:///a?b'],
    ['file:///a#b'],
    ['file:///a%2Fb'],
    ['file:///%zz'],
  ])('of another kind says what there is: %s', async text => {
    for (const create of [false, true]) {
      await expect(openStoreAt(text, { create })).rejects.toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining('a folder, a file:// URL'),
      });
    }
  });
});
