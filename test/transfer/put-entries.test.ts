/** Entries with values that a volume cannot keep, or whose size is not what it seems: they cost nothing else. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { nativeReport } from '../../src/transfer/local-native.ts';
import { writeAttribute } from '../../src/transfer/local-xattrs.ts';
import { putStream } from '../../src/transfer/put-stream.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { IS_LONG } from '../support/soak.ts';
import { bytesOf, type Client, codeOf, TestVolume } from '../volume/support.ts';
import { failuresOf, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

const IS_ROOT_ON_LINUX = process.getuid?.() === 0 && process.platform === 'linux';
const HAS_ATTRIBUTES = !nativeReport().missing.some(what => what.includes('attributes'));

let folder = '';
let disk = '';
let volume: TestVolume;
let client: Client;

const at = (...names: string[]): string => join(folder, ...names);

beforeEach(async () => {
  folder = makeFolder();
  disk = at('disk');
  fs.mkdirSync(disk);
  if (IS_ROOT_ON_LINUX) execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', disk]);
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  client = await volume.client();
});

afterEach(async () => {
  await volume.close();
  if (IS_ROOT_ON_LINUX) execFileSync('umount', ['-l', disk]);
  removeFolder(folder);
});

async function read(path: string): Promise<Buffer> {
  const reader = await client.volume.openFile(path);
  const bytes = Buffer.alloc(reader.sizeBytes);
  await reader.read(bytes, 0);
  return bytes;
}

const TIME_MAX_NS = 2n ** 63n - 1n;
const TIME_MIN_NS = -(2n ** 63n);

describe('a put of an entry that a volume cannot keep as it is', () => {
  it.runIf(IS_ROOT_ON_LINUX)('clamps times, also of links, folders and the source itself', async () => {
    const tree = join(disk, 'tree');
    fs.mkdirSync(join(tree, 'folder'), { recursive: true });
    for (const name of ['good', 'late', 'early', 'folder/in']) fs.writeFileSync(join(tree, name), name);
    fs.symlinkSync('good', join(tree, 'link'));
    const touch = (date: string, name: string): void => {
      execFileSync('touch', ['-h', '-d', date, join(tree, name)]);
    };
    for (const name of ['late', 'folder', 'link', '.']) touch('2400-01-01', name);
    touch('1600-01-01', 'early');
    const tally = await putTree(client.volume, tree, '/t');
    expect(failuresOf(tally)).toEqual([]);
    expect(tally.notes.map(({ path }) => path.slice(tree.length)).sort()).toEqual([
      '',
      '/early',
      '/folder',
      '/late',
      '/link',
    ]);
    expect(tally.notes[0]?.error.message).toMatch(/its time is kept as 2262-04-11T23:47:16/);
    const times: Record<string, bigint> = {};
    for (const name of ['', 'good', 'late', 'early', 'folder', 'link']) {
      times[name] = (await client.volume.find(`/t/${name}`)).inode.mtimeNs;
    }
    expect(times).toMatchObject({
      '': TIME_MAX_NS,
      late: TIME_MAX_NS,
      folder: TIME_MAX_NS,
      link: TIME_MAX_NS,
    });
    expect(times.early).toBe(TIME_MIN_NS);
    expect(String(await read('/t/late'))).toBe('late');
    // What was clamped is unchanged the next time.
    expect((await putTree(client.volume, tree, '/t')).counts).toMatchObject({ files: 0, symlinks: 0 });
  });

  it.runIf(IS_ROOT_ON_LINUX && HAS_ATTRIBUTES)(
    'keeps content whose attributes cannot be listed',
    async () => {
      const path = join(disk, 'file');
      fs.writeFileSync(path, 'content');
      const fd = fs.openSync(path, 'r');
      for (let key = 0; key < 400; key += 1) {
        expect(writeAttribute(fd, { key: `user.k${key}-${'x'.repeat(200)}`, value: Buffer.from('v') })).toBe(
          true,
        );
      }
      fs.closeSync(fd);
      const tally = await putTree(client.volume, path, '/file');
      expect(failuresOf(tally)).toEqual([]);
      expect(tally.notes.map(({ error }) => error.message)).toEqual([
        expect.stringMatching(/its attributes \(user\.\*\) cannot be listed: argument list too long/),
      ]);
      expect(String(await read('/file'))).toBe('content');
    },
  );

  it.runIf(IS_ROOT_ON_LINUX && HAS_ATTRIBUTES)(
    'leaves out attributes beyond the most that a volume keeps',
    async () => {
      const path = join(disk, 'file');
      fs.writeFileSync(path, 'content');
      const fd = fs.openSync(path, 'r');
      for (let key = 0; key < 24; key += 1) {
        if (
          !writeAttribute(fd, { key: `user.${String(key).padStart(2, '0')}`, value: bytesOf(key, 60 * KIB) })
        )
          break;
      }
      fs.closeSync(fd);
      const tally = await putTree(client.volume, path, '/file');
      expect(failuresOf(tally)).toEqual([]);
      const { inode } = await client.volume.find('/file');
      const keptBytes = inode.xattrs.reduce((sum, { value }) => sum + value.byteLength, 0);
      expect(keptBytes).toBeLessThanOrEqual(MIB);
      expect(inode.xattrs.length + tally.notes.length).toBe(24);
    },
  );
});

describe('a put of a file whose size is not what it seems', () => {
  it.runIf(process.platform === 'linux')('reads what claims to be empty, alone and in a tree', async () => {
    const expected = fs.readFileSync('/proc/version');
    expect(fs.statSync('/proc/version').size).toBe(0);
    await putTree(client.volume, '/proc/version', '/version');
    expect(await read('/version')).toEqual(expected);
    const tally = await putTree(client.volume, '/proc/sys/kernel/random', '/random');
    expect(tally.counts.files).toBeGreaterThan(3);
    expect(String(await read('/random/uuid'))).toMatch(/^[0-9a-f-]{36}\n$/);
  });

  it.runIf(process.platform === 'linux')('reads all of one that is larger than any batch', async () => {
    const size = fs.readFileSync('/proc/kallsyms').byteLength;
    await putTree(client.volume, '/proc/kallsyms', '/symbols');
    expect((await read('/symbols')).byteLength).toBe(size);
  });

  it.runIf(IS_LONG).each([10, 64 * KIB, 64 * KIB + 1, 3 * MIB + 5])(
    'stores again a file of %i bytes that has grown',
    async size => {
      const path = at('file');
      const bytes = Buffer.from(bytesOf(3, size));
      fs.writeFileSync(path, bytes);
      await putTree(client.volume, path, '/file');
      fs.appendFileSync(path, 'more');
      await putTree(client.volume, path, '/file');
      expect(await read('/file')).toEqual(Buffer.concat([bytes, Buffer.from('more')]));
    },
  );
});

describe('a put of a stream', () => {
  async function* chunks(...parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
    yield* parts;
  }

  it.each([0, 1, 64 * KIB, 64 * KIB + 1, ...(IS_LONG ? [5 * MIB + 3] : [])])(
    'stores %i bytes',
    async size => {
      const bytes = Buffer.from(bytesOf(4, size));
      const tally = new Tally();
      const parts = chunks(bytes.subarray(0, 7), bytes.subarray(7, 100_000), bytes.subarray(100_000));
      await putStream(client.volume, parts, '/file', tally);
      expect(await read('/file')).toEqual(bytes);
      expect(tally.counts).toMatchObject({ files: 1, bytes: size });
    },
  );

  it('changes nothing when the stream fails, when it is aborted, and when a folder has the name', async () => {
    await putStream(client.volume, chunks(Buffer.from('before')), '/file', new Tally());
    const failing = (async function* () {
      yield Buffer.from('half');
      throw new NetsealError('EIO', 'broken');
    })();
    expect(await codeOf(putStream(client.volume, failing, '/file', new Tally()))).toBe('EIO');
    const never = (async function* () {
      yield Buffer.from('half');
      await new Promise(() => undefined);
    })();
    const controller = new AbortController();
    const aborted = putStream(client.volume, never, '/file', new Tally(), { signal: controller.signal });
    setTimeout(() => controller.abort(new NetsealError('ECLOSED', 'stop')), 50);
    expect(await codeOf(aborted)).toBe('ECLOSED');
    expect(await codeOf(putStream(client.volume, chunks(), '/', new Tally()))).toBe('EINVAL');
    await putTree(client.volume, disk, '/folder');
    expect(await codeOf(putStream(client.volume, chunks(), '/folder', new Tally()))).toBe('EISDIR');
    expect(String(await read('/file'))).toBe('before');
  });
});
