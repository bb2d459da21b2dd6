/** `netseal cache init`, `set`, `stats`, `ls` and `key` in processes of their own. */
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import {
  EXIT_DAMAGED,
  EXIT_EXISTS,
  EXIT_IO,
  EXIT_KEY,
  EXIT_NOT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { getUnit, MIB, unitOf } from '../cache/support.ts';
import { mixedBytes } from '../pipeline/support.ts';
import {
  FILE,
  HOSTILE_NAME,
  inCache,
  jsonOf,
  netsealCache,
  newFolder,
  OTHER_FILE,
  OTHER_VOLUME,
  put,
  putDirty,
  UNIT_BYTES,
  VOLUME,
} from './cache-support.ts';
import { type Finished, run } from './run.ts';

let folder = '';

beforeEach(async () => {
  folder = await newFolder();
  await writeFile(join(folder, 'key2'), mixedBytes(32, 2));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function cache(...args: string[]): Promise<Finished> {
  return netsealCache(folder, ...args);
}

/** Makes the cache `c`. */
async function init(...args: string[]): Promise<void> {
  expect((await cache('init', 'c', ...args)).exitCode).toBe(EXIT_OK);
}

describe('netseal cache init', () => {
  it('makes a cache, says what it is like, and warns about the secret', async () => {
    const { exitCode, stdout, stderr } = await cache(
      'init',
      'c',
      '--budget',
      '64MiB',
      '--run',
      '9%',
      '--label',
      'me',
    );
    expect(exitCode).toBe(EXIT_OK);
    expect(stdout.toString()).toMatch(
      /^made cache [0-9a-f]{32} in c\n {2}budget {2}64 MiB, in zones of 2 MiB\n {2}index {3}room for 2,048 units\n {2}disk {4}below 5% free, units are dropped until 9% are free; below 1% the cache does not grow\n {2}slot {4}[0-9a-f]{32}, key-file, "me"\n$/,
    );
    expect(stderr).toMatch(/^netseal: keep the secret safe: [^\n]*\n$/);
    await inCache(folder, ({ settings }) => {
      expect(settings).toMatchObject({ budgetBytes: 64 * MIB, disk: { runPercent: 9, cullPercent: 5 } });
    });
  });

  it('tells the same as JSON, and knows parts of the disk', async () => {
    const made = await jsonOf(
      folder,
      'init',
      'c',
      '--budget',
      '1.5%',
      '--units-max',
      '1000',
      '--zone-size',
      '64KiB',
    );
    expect(Object.keys(made)).toEqual([
      'cache',
      'cacheId',
      'budgetBytes',
      'unitsMax',
      'zoneBytes',
      'disk',
      'slot',
      'notes',
    ]);
    expect(made).toMatchObject({
      cache: 'c',
      unitsMax: 1000,
      zoneBytes: 65536,
      slot: { type: 'key-file' },
    });
    expect(made.budgetBytes).toBeGreaterThan(MIB);
    expect((await jsonOf(folder, 'stats', 'c')).budgetBytes).toBe(made.budgetBytes);
  });

  it('refuses a cache, a folder that holds anything, a file', async () => {
    await init();
    const header = await readFile(join(folder, 'c', 'header'));
    const again = await cache('init', 'c');
    expect([again.exitCode, again.stderr]).toEqual([
      EXIT_EXISTS,
      'netseal: c already holds a cache: name another folder, or change this one with "netseal cache set" (EEXIST)\n',
    ]);
    expect(await readFile(join(folder, 'c', 'header'))).toEqual(header);

    await mkdir(join(folder, 'full'));
    await writeFile(join(folder, 'full', 'mine'), 'x');
    const full = await cache('init', 'full');
    expect(full.exitCode).toBe(EXIT_EXISTS);
    expect(full.stderr).toBe('netseal: full is not empty: name an empty folder, or a new one (EEXIST)\n');
    expect(await readdir(join(folder, 'full'))).toEqual(['mine']);

    expect((await cache('init', 'key2')).exitCode).toBe(EXIT_EXISTS);
    await mkdir(join(folder, 'empty'));
    expect((await cache('init', 'empty')).exitCode).toBe(EXIT_OK);
  });

  it('refuses settings that make no sense, and makes nothing then', async () => {
    const wrong = [
      ['--budget', '5'],
      ['--budget', '0%'],
      ['--budget', 'much'],
      ['--units-max', '0'],
      ['--zone-size', '1GiB'],
      ['--run', '1%'],
      ['--stop', '200%'],
    ];
    for (const args of wrong) {
      const { exitCode, stderr } = await cache('init', 'c', ...args);
      expect(exitCode, args.join(' ')).toBe(EXIT_USAGE);
      expect(stderr).toMatch(/^netseal: [^\n]*\n$/);
    }
    expect((await run(['cache', 'init', 'c', '--key-file', 'c'], { cwd: folder })).exitCode).toBe(EXIT_IO);
    expect(await readdir(folder)).toEqual(['key', 'key2']);
  });
});

describe('netseal cache set', () => {
  it('changes what is given, and gives up what is too much', async () => {
    await init('--budget', '8MiB', '--zone-size', '64KiB');
    await inCache(folder, open => put(open, VOLUME, FILE, 1000));
    const { stdout, exitCode } = await cache('set', 'c', '--budget', '1MiB', '--cull', '2%');
    expect(exitCode).toBe(EXIT_OK);
    expect(stdout.toString()).toMatch(
      /^ {2}budget {2}1 MiB, in zones of 64 KiB\n(?:.*\n)* {2}freed {3}3\.\d+ MiB\n$/,
    );
    const stats = await jsonOf(folder, 'stats', 'c');
    expect(stats).toMatchObject({
      budgetBytes: MIB,
      disk: { runPercent: 7, cullPercent: 2 },
      zoneBytes: 65536,
    });
    expect(stats.bytes).toBeLessThanOrEqual(MIB);
    const told = await jsonOf(folder, 'set', 'c', '--units-max', '5000');
    expect(told).toMatchObject({ cache: 'c', unitsMax: 5000, budgetBytes: MIB, freedBytes: 0 });
    expect((await jsonOf(folder, 'stats', 'c')).units).toBe(stats.units);
    expect((await cache('set', 'c')).exitCode).toBe(EXIT_USAGE);
    expect((await cache('set', 'c', '--cull', '9')).exitCode).toBe(EXIT_USAGE);
  });
});

describe('netseal cache stats', () => {
  it('says in words whether everything is on the server', async () => {
    await init('--budget', '16MiB');
    const empty = await cache('stats', 'c');
    expect(empty.stdout.toString()).toMatch(/\neverything is on the server\n$/);
    await inCache(folder, async open => {
      await put(open, VOLUME, FILE, 20);
      await putDirty(open, VOLUME, OTHER_FILE, [1, 2]);
      await putDirty(open, VOLUME, OTHER_FILE, [3]);
      await open.releaseDirty([await putDirty(open, VOLUME, FILE, [50])]);
      for (const index of [0, 1, 500]) await getUnit(open, VOLUME, FILE, index, unitOf(index));
    });
    const { stdout, exitCode, stderr } = await cache('stats', 'c');
    expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
    const text = stdout.toString();
    expect(text).toMatch(/^cache [0-9a-f]{32} in c\n/);
    expect(text).toMatch(
      /\n {2}kept {6}23 units, .* of the budget of 16 MiB; not on the server yet: 3 units, 12\.2 KiB\n/,
    );
    expect(text).toMatch(/\n {2}hits {6}2 of 3, 66\.7%; 8\.14 KiB\n/);
    expect(text).toMatch(
      /\n2 batches, 3 units, 12\.2 KiB are not on the server yet; the oldest since (less than a second|\d+ s)\n$/,
    );
  });

  it('tells everything as JSON', async () => {
    await init('--budget', '16MiB');
    await inCache(folder, async open => {
      await put(open, VOLUME, FILE, 20);
      await putDirty(open, VOLUME, OTHER_FILE, [1, 2]);
      open.volume(VOLUME).pin();
      await getUnit(open, VOLUME, FILE, 3, unitOf(3));
    });
    expect(await jsonOf(folder, 'stats', 'c')).toMatchObject({
      cache: 'c',
      cacheId: expect.stringMatching(/^[0-9a-f]{32}$/),
      budgetBytes: 16 * MIB,
      units: 22,
      zones: { small: 1, main: 0, pinned: 0, dirty: 1 },
      pins: 1,
      dirty: { batches: 1, units: 2, bytes: 2 * UNIT_BYTES, oldest: expect.stringMatching(/^20.*Z$/) },
      ledger: [
        {
          volume: toHex(VOLUME),
          dirty: { batches: 1, units: 2, bytes: 2 * UNIT_BYTES },
          queued: { batches: 0, units: 0, bytes: 0, oldest: null },
          durable: { batches: 0, units: 0, bytes: 0, latest: null },
        },
      ],
      lifetime: {
        since: expect.stringMatching(/^20.*Z$/),
        hits: 1,
        misses: 0,
        stored: 20,
        dropped: { queue: 0 },
      },
    });
  });

  it('names what keeps it from opening, in one line', async () => {
    const none = await cache('stats', 'c');
    expect(none.exitCode).toBe(EXIT_NOT_FOUND);
    expect(none.stderr).toBe(
      'netseal: there is no cache in c; make one with "netseal cache init" (ENOENT)\n',
    );
    expect(await readdir(folder)).toEqual(['key', 'key2']);

    await init();
    const wrong = await run(['cache', 'stats', 'c', '--key-file', 'key2'], { cwd: folder });
    expect(wrong.exitCode).toBe(EXIT_KEY);
    expect(wrong.stderr).toMatch(/^netseal: the cache in c: wrong key file \(EKEY\)\n$/);

    const noTerminal = await run(['cache', 'stats', 'c'], { cwd: folder });
    expect(noTerminal.exitCode).toBe(EXIT_USAGE);

    const header = await readFile(join(folder, 'c', 'header'));
    for (const damaged of [
      Buffer.alloc(0),
      header.subarray(0, 60),
      Buffer.from(header).fill(7, header.length - 40),
    ]) {
      await writeFile(join(folder, 'c', 'header'), damaged);
      const { exitCode, stderr } = await cache('stats', 'c');
      expect(exitCode).toBe(EXIT_DAMAGED);
      expect(stderr).toMatch(
        /^netseal: the header of the cache in c is damaged, [^\n]*put back a copy of its file "header"[^\n]*\n$/,
      );
    }
  });

  it('names the owner of a cache that is open elsewhere, before it asks for a secret', async () => {
    await init();
    await inCache(folder, async () => {
      const { exitCode, stderr } = await run(['cache', 'stats', 'c'], { cwd: folder });
      expect(exitCode).toBe(EXIT_IO);
      expect(stderr).toMatch(
        new RegExp(`^netseal: the cache is in use by process ${process.pid} on [^\\n]*\\(EDENIED\\)\\n$`),
      );
    });
    expect((await cache('stats', 'c')).exitCode).toBe(EXIT_OK);
  });
});

describe('netseal cache ls', () => {
  beforeEach(async () => {
    await init('--budget', '16MiB');
    await inCache(folder, async open => {
      await put(open, VOLUME, FILE, 20);
      await put(open, VOLUME, OTHER_FILE, 5);
      await put(open, OTHER_VOLUME, FILE, 1);
      await putDirty(open, VOLUME, OTHER_FILE, [7, 8]);
      open.volume(VOLUME).setCookie(FILE, { key: HOSTILE_NAME, unitCount: 20 });
      open.volume(VOLUME).setCookie(OTHER_FILE, { key: Buffer.from([0xff, 0x41]) });
      open.volume(VOLUME).pin(FILE);
    });
  });

  it('lists volumes, objects, ranges of units, units', async () => {
    const volumes = await cache('ls', 'c');
    expect(volumes.stdout.toString()).toBe(
      `27   110 KiB  -d  ${toHex(VOLUME)}\n 1  4.07 KiB  --  ${toHex(OTHER_VOLUME)}\n`,
    );
    const objects = await cache('ls', 'c', toHex(VOLUME));
    expect(objects.stdout).toEqual(
      Buffer.concat([
        Buffer.from(`20  81.4 KiB  p-  ${toHex(FILE)}  `),
        HOSTILE_NAME,
        Buffer.from(`\n 7  28.5 KiB  -d  ${toHex(OTHER_FILE)}  `),
        Buffer.from([0xff, 0x41, 0x0a]),
      ]),
    );
    const ranges = await cache('ls', 'c', toHex(VOLUME), toHex(OTHER_FILE));
    expect(ranges.stdout.toString()).toBe('5  20.4 KiB  --  small   0-4\n2  8.14 KiB  -d  dirty   7-8\n');
    const units = await cache('ls', '-l', 'c', toHex(OTHER_VOLUME), toHex(FILE));
    expect(units.stdout.toString()).toMatch(/^0 {2}4\.07 KiB {2}-- {2}small {3}[0-9a-f]{32}\n$/);
    for (const { exitCode, stderr } of [volumes, objects, ranges, units])
      expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
  });

  it('tells the same as JSON', async () => {
    const none = { units: 0, bytes: 0 };
    expect(await jsonOf(folder, 'ls', 'c')).toEqual([
      {
        id: toHex(VOLUME),
        units: 27,
        bytes: 27 * UNIT_BYTES,
        dirty: { units: 2, bytes: 2 * UNIT_BYTES },
        pinned: false,
      },
      { id: toHex(OTHER_VOLUME), units: 1, bytes: UNIT_BYTES, dirty: none, pinned: false },
    ]);
    expect(await jsonOf(folder, 'ls', 'c', toHex(VOLUME))).toMatchObject([
      { id: toHex(FILE), units: 20, dirty: none, pinned: true, cookie: HOSTILE_NAME.toString() },
      { id: toHex(OTHER_FILE), units: 7, pinned: false, cookie: '\ufffdA', cookieHex: 'ff41' },
    ]);
    expect(await jsonOf(folder, 'ls', 'c', toHex(VOLUME), toHex(OTHER_FILE))).toEqual([
      { from: 0, to: 5, units: 5, bytes: 5 * UNIT_BYTES, queue: 'small', dirty: false },
      { from: 7, to: 9, units: 2, bytes: 2 * UNIT_BYTES, queue: 'dirty', dirty: true },
    ]);
    const units = await jsonOf(folder, 'ls', '-l', 'c', toHex(VOLUME), toHex(OTHER_FILE));
    expect(units).toHaveLength(7);
    expect(units[5]).toMatchObject({ index: 7, bytes: UNIT_BYTES, queue: 'dirty', dirty: true });
  });

  it('takes the beginnings of ids, and says when they will not do', async () => {
    const [volume, file] = [toHex(VOLUME), toHex(FILE)];
    const unique = await cache('ls', 'c', volume.slice(0, 4).toUpperCase(), file.slice(0, 7));
    expect(unique.stdout.toString()).toBe('20  81.4 KiB  --  small   0-19\n');
    const failing: [args: string[], exitCode: number, text: RegExp][] = [
      [[volume.slice(0, 3)], EXIT_USAGE, /give 4 to 32 hexadecimal digits/],
      [['xyz1'], EXIT_USAGE, /not the id of a volume: "xyz1"/],
      [['abcd'], EXIT_NOT_FOUND, /knows no volume abcd/],
      [[volume, 'abcd'], EXIT_NOT_FOUND, /no object abcd of volume/],
      [[volume, '\x1b[31m'], EXIT_USAGE, /not the id of an object: "\\x1b\[31m"/],
      [['-l', volume], EXIT_USAGE, /-l is for the units of an object/],
    ];
    for (const [args, exitCode, text] of failing) {
      const result = await cache('ls', 'c', ...args);
      expect([result.exitCode, result.stdout.toString()], args.join(' ')).toEqual([exitCode, '']);
      expect(result.stderr).toMatch(text);
      expect(result.stderr).toMatch(/^[^\n]*\n$/);
    }
    // Two ids that begin alike.
    const twin = new Uint8Array(VOLUME);
    twin[15] = 0x77;
    await inCache(folder, open => put(open, twin, FILE, 1));
    const ambiguous = await cache('ls', 'c', volume.slice(0, 8));
    expect(ambiguous.exitCode).toBe(EXIT_USAGE);
    expect(ambiguous.stderr).toMatch(/2 volumes begin with [0-9a-f]{8}: give more of the id/);
  });
});

describe('netseal cache key', () => {
  it('adds, lists, removes and changes', async () => {
    await init();
    await inCache(folder, open => put(open, VOLUME, FILE, 3));
    const added = await cache('key', 'add', 'c', '--new-key-file', 'key2', '--label', 'second');
    expect(added.stdout.toString()).toMatch(
      /^added slot [0-9a-f]{32}, key-file, "second"; the cache has 2 now\n$/,
    );
    const listed = await jsonOf(folder, 'key', 'list', 'c');
    expect(listed).toMatchObject({
      generation: 2,
      slots: [{ label: 'key-file', opened: true }, { label: 'second' }],
    });
    const byOther = await run(['cache', 'stats', 'c', '--key-file', 'key2'], { cwd: folder });
    expect(byOther.exitCode).toBe(EXIT_OK);

    const { id } = (listed.slots as { id: string }[])[1] ?? { id: '' };
    const removed = await cache('key', 'remove', 'c', id.slice(0, 8));
    expect(removed.exitCode).toBe(EXIT_OK);
    expect(removed.stderr).toMatch(/^netseal: this is not revocation\./);
    const gone = await run(['cache', 'stats', 'c', '--key-file', 'key2'], { cwd: folder });
    expect(gone.exitCode).toBe(EXIT_KEY);

    const changed = await cache('key', 'change', 'c', '--new-key-file', 'key2', '--json');
    expect(JSON.parse(changed.stdout.toString())).toEqual({
      changed: { type: 'key-file', label: 'key-file' },
      notes: [{ message: expect.stringMatching(/^Anyone who has an old secret/) }],
    });
    expect((await cache('stats', 'c')).exitCode).toBe(EXIT_KEY);
    const now = await run(['cache', 'stats', 'c', '--key-file', 'key2', '--json'], { cwd: folder });
    expect(JSON.parse(now.stdout.toString())).toMatchObject({ units: 3 });
  });

  it('is refused while another process has the cache', async () => {
    await init();
    await inCache(folder, async () => {
      const header = await readFile(join(folder, 'c', 'header'));
      for (const args of [
        ['list'],
        ['add', '--new-key-file', 'key2'],
        ['change', '--new-key-file', 'key2'],
      ]) {
        const [action = '', ...rest] = args;
        const { exitCode, stderr } = await cache('key', action, 'c', ...rest);
        expect(exitCode, action).toBe(EXIT_IO);
        expect(stderr).toMatch(/^netseal: the cache is in use by process \d+ /);
      }
      expect(await readFile(join(folder, 'c', 'header'))).toEqual(header);
    });
    expect((await cache('key', 'list', 'nothing')).exitCode).toBe(EXIT_NOT_FOUND);
  });
});
