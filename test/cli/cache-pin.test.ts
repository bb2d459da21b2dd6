/** `netseal cache pin` and `unpin` in processes of their own; hostile names on a terminal. */
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { EXIT_DAMAGED, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { idOf } from '../cache/support.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  cacheOnTerminal,
  damage,
  FILE,
  inCache,
  jsonOf,
  netsealCache,
  newFolderWithCache,
  OTHER_FILE,
  VOLUME,
} from './cache-support.ts';
import { type Finished, HAS_PYTHON } from './run.ts';

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

describe('netseal cache pin and unpin', () => {
  it('pin objects, volumes and prefixes, list them with what is missing, and let go', async () => {
    expect((await cache('pin', 'c')).stdout.toString()).toBe('nothing is pinned\n');
    const pinned = await cache('pin', 'c', VOLUME_TEXT, toHex(OTHER_FILE), '--units', '15');
    expect(pinned.stdout.toString()).toBe(
      `pinned object ${toHex(OTHER_FILE)} of volume ${VOLUME_TEXT}, 15 units\n`,
    );
    expect(await jsonOf(folder, 'pin', 'c', VOLUME_TEXT, '--prefix', 'photos/\\x1b', '--escaped')).toEqual({
      pinned: { volume: VOLUME_TEXT, prefix: 'photos/\u001b' },
      notes: [],
    });
    // Of a volume of which nothing is there yet.
    expect((await cache('pin', 'c', toHex(idOf(7)))).exitCode).toBe(EXIT_OK);
    expect((await cache('pin', 'c', '12345678')).exitCode).toBe(EXIT_NOT_FOUND);

    const listed = await cache('pin', 'c');
    expect(listed.stdout.toString().split('\n').sort()).toEqual(
      [
        '',
        `all objects of volume ${VOLUME_TEXT} whose names begin with "photos/\\x1b"`,
        `  object ${FILE_TEXT} (photos/\\x1b]0;x\\x07\\xe2\\x80\\xae\\x0a\\\\.jpg) of volume ${VOLUME_TEXT}: lacks 20 units: 100-119`,
        `all of volume ${toHex(idOf(7))}`,
        `object ${toHex(OTHER_FILE)} of volume ${VOLUME_TEXT}: lacks 5 of 15 units: 10-14`,
      ].sort(),
    );
    expect(await jsonOf(folder, 'pin', 'c')).toMatchObject({
      pins: expect.arrayContaining([
        {
          volume: VOLUME_TEXT,
          object: toHex(OTHER_FILE),
          units: 15,
          missing: { units: 5, ranges: [{ from: 10, to: 15 }], rangeCount: 1 },
        },
      ]),
      byPrefix: [{ object: FILE_TEXT, missing: { units: 20, ranges: [{ from: 100, to: 120 }] } }],
    });

    const gone = await jsonOf(folder, 'unpin', 'c', VOLUME_TEXT, '--prefix', 'photos/\\x1b', '--escaped');
    expect(gone).toEqual({
      unpinned: { volume: VOLUME_TEXT, prefix: 'photos/\u001b' },
      notes: [],
    });
    expect((await cache('unpin', 'c', VOLUME_TEXT, toHex(OTHER_FILE).slice(0, 6))).exitCode).toBe(EXIT_OK);
    expect((await cache('unpin', 'c', VOLUME_TEXT)).exitCode).toBe(EXIT_NOT_FOUND);
    expect(await inCache(folder, open => open.pins())).toHaveLength(1);
  });

  it('refuses what makes no sense', async () => {
    const wrong = [
      ['pin', 'c', '--prefix', 'x'],
      ['pin', 'c', VOLUME_TEXT, FILE_TEXT, '--prefix', 'x'],
      ['pin', 'c', VOLUME_TEXT, '--prefix', ''],
      ['pin', 'c', VOLUME_TEXT, '--units', '3'],
      ['pin', 'c', VOLUME_TEXT, '--prefix', 'a\\', '--escaped'],
      ['pin', 'c', VOLUME_TEXT, FILE_TEXT, '--units', '-1'],
      ['unpin', 'c'],
    ];
    for (const args of wrong) {
      const { exitCode, stderr } = await cache(...args);
      expect(exitCode, args.join(' ')).toBe(EXIT_USAGE);
      expect(stderr).toMatch(/^netseal: [^\n]*\n$/);
    }
    expect(await inCache(folder, open => open.pins())).toEqual([]);
  });
});

describe('on a terminal', () => {
  it.runIf(IS_LONG && HAS_PYTHON)(
    'no name acts on it, and damage is shown after the progress is gone',
    async () => {
      const listed = await cacheOnTerminal(folder, [], 'ls', 'c', VOLUME_TEXT);
      expect(listed.stdout.toString()).toContain('photos/\\x1b]0;x\\x07\\xe2\\x80\\xae\\x0a\\\\.jpg');
      expect(listed.stdout.includes(0x1b)).toBe(false);
      expect(
        (await cacheOnTerminal(folder, [], 'ls', 'c', VOLUME_TEXT, '--json')).stdout.includes(0x1b),
      ).toBe(false);
      await cache('pin', 'c', VOLUME_TEXT, FILE_TEXT);
      expect((await cacheOnTerminal(folder, [], 'pin', 'c')).stdout.includes(0x1b)).toBe(false);
      await damage(folder, 'zones', 2000);
      const verified = await cacheOnTerminal(folder, [], 'verify', 'c');
      expect(verified.exitCode).toBe(EXIT_DAMAGED);
      const [, after = ''] = verified.stdout.toString().split('damaged unit 0');
      expect(after).toContain('damaged: 1 unit');
      expect(after).not.toContain('\x1b');
    },
  );
});
