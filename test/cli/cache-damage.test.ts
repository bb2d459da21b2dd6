import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { EXIT_DAMAGED, EXIT_NOT_FOUND, EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import {
  damage,
  FILE,
  HOSTILE_NAME,
  inCache,
  jsonOf,
  netsealCache,
  newFolderWithCache,
  OTHER_FILE,
  OTHER_VOLUME,
  putDirty,
  UNIT_BYTES,
  VOLUME,
} from './cache-support.ts';
import type { Finished } from './run.ts';

const VOLUME_TEXT = toHex(VOLUME);
const FILE_TEXT = toHex(FILE);

let folder = '';

beforeEach(async () => {
  folder = await newFolderWithCache();
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function cache(...args: string[]): Promise<Finished> {
  return netsealCache(folder, ...args);
}

async function diskBytes(): Promise<number> {
  const names = await readdir(join(folder, 'c', 'zones'));
  const sizes = await Promise.all(names.map(name => stat(join(folder, 'c', 'zones', name))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}

describe('netseal cache verify', () => {
  it('says that all is whole', async () => {
    const { exitCode, stdout, stderr } = await cache('verify', 'c');
    expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
    expect(stdout.toString()).toMatch(/^checked: 120 units, [^\n]* KiB\nno damage found\n$/);
  });

  it('names a damaged unit, exits with 3, and drops it with --repair', async () => {
    await damage(folder, 'zones', 2000);
    const found = await cache('verify', 'c');
    expect(found.exitCode).toBe(EXIT_DAMAGED);
    expect(found.stdout.toString()).toMatch(
      new RegExp(
        `^damaged unit 0 of object ${FILE_TEXT} \\(photos/\\\\x1b\\]0;x\\\\x07\\\\xe2\\\\x80\\\\xae\\\\x0a\\\\\\\\\\.jpg\\) of volume ${VOLUME_TEXT}: 4.07 KiB, small\nchecked: .*\ndamaged: 1 unit; --repair drops the copies of what is on the server\n$`,
      ),
    );
    const json = await jsonOf(folder, 'verify', 'c', '--repair');
    expect(json).toMatchObject({
      checked: { units: 120 },
      repaired: true,
      counts: { units: 1, zones: 0, dirtyBatches: 0 },
      damages: [
        { what: 'unit', volume: VOLUME_TEXT, object: FILE_TEXT, cookie: HOSTILE_NAME.toString(), index: 0 },
      ],
    });
    const after = await cache('verify', 'c');
    expect(after.exitCode).toBe(EXIT_OK);
    expect(after.stdout.toString()).toMatch(/^checked: 119 units/);
  });

  it('names a zone whose list is lost by its file', async () => {
    const [name = ''] = await readdir(join(folder, 'c', 'zones'));
    await damage(folder, 'zones', -100);
    const { exitCode, stdout } = await cache('verify', 'c');
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(stdout.toString()).toMatch(new RegExp(`^damaged zone zones/${name}: \\d+ KiB, small; `));
    const repaired = await cache('verify', 'c', '--repair');
    expect(repaired.stdout.toString()).toMatch(
      /\ndamaged: 1 zone; the damaged copies were dropped, and will be fetched again\n$/,
    );
    expect(await readdir(join(folder, 'c', 'zones'))).toEqual([]);
    expect((await cache('verify', 'c')).exitCode).toBe(EXIT_OK);
  });

  it('only reports what is not on the server yet', async () => {
    await inCache(folder, async open => {
      await putDirty(open, VOLUME, OTHER_FILE, [50]);
      await putDirty(open, VOLUME, OTHER_FILE, [51]);
    });
    await damage(folder, 'dirty', 2000);
    for (const args of [[], ['--repair']]) {
      const { exitCode, stdout } = await cache('verify', 'c', ...args);
      expect(exitCode).toBe(EXIT_DAMAGED);
      expect(stdout.toString()).toMatch(/damaged/);
    }
    expect(await readdir(join(folder, 'c', 'dirty'))).toHaveLength(1);
    expect((await jsonOf(folder, 'stats', 'c')).dirty).toMatchObject({ batches: 2, units: 2 });
  });

  it('tells what was wrong when it was opened', async () => {
    const path = join(folder, 'c', 'cache.db');
    await writeFile(path, Buffer.alloc(8192, 0x55));
    const { exitCode, stdout } = await cache('verify', 'c');
    expect(exitCode).toBe(EXIT_DAMAGED);
    expect(stdout.toString()).toMatch(/^found while opening: [^\n]*\n(.*\n)*no other damage found\n$/);
    expect((await cache('verify', 'c')).exitCode).toBe(EXIT_OK);
  });
});

describe('netseal cache flush', () => {
  it('drops everything but what is pinned or not on the server, and says what it freed', async () => {
    await inCache(folder, async open => {
      await putDirty(open, VOLUME, OTHER_FILE, [50]);
      open.volume(OTHER_VOLUME).pin();
    });
    const before = await diskBytes();
    const { exitCode, stdout } = await cache('flush', 'c');
    expect(exitCode).toBe(EXIT_OK);
    expect(stdout.toString()).toMatch(
      /^dropped 110 units \(448 KiB\); \d+ KiB of the disk given back\nkept: 10 units \(40\.7 KiB\) pinned\nkept: 1 unit \(4\.07 KiB\) not on the server yet\n$/,
    );
    expect(before - (await diskBytes())).toBeGreaterThan(110 * UNIT_BYTES);
    expect(await jsonOf(folder, 'flush', 'c', '--pinned-too')).toMatchObject({
      dropped: { units: 10, bytes: 10 * UNIT_BYTES },
      kept: { pinned: { units: 0, bytes: 0 }, dirty: { units: 1, bytes: UNIT_BYTES } },
    });
    expect(await jsonOf(folder, 'stats', 'c')).toMatchObject({ units: 1, pins: 1, dirty: { units: 1 } });
  });

  it('drops a volume, or an object, and nothing else', async () => {
    expect(await jsonOf(folder, 'flush', 'c', VOLUME_TEXT, FILE_TEXT)).toMatchObject({
      dropped: { units: 100 },
    });
    expect(await jsonOf(folder, 'ls', 'c')).toMatchObject([{ units: 10 }, { units: 10 }]);
    expect(await jsonOf(folder, 'flush', 'c', VOLUME_TEXT)).toMatchObject({ dropped: { units: 10 } });
    expect(await jsonOf(folder, 'ls', 'c')).toMatchObject([{ id: toHex(OTHER_VOLUME), units: 10 }]);
    const again = await cache('flush', 'c', VOLUME_TEXT);
    expect(again.stdout.toString()).toBe('nothing to drop; 0 B of the disk given back\n');
    expect((await cache('flush', 'c', 'ffff')).exitCode).toBe(EXIT_NOT_FOUND);
    expect((await cache('flush', 'nowhere')).exitCode).toBe(EXIT_NOT_FOUND);
  });
});
