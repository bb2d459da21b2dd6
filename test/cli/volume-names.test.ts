/** Names between the volume, the terminal and the command line; work that is bounded. */

import { Command } from 'commander';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { CACHE_COMMANDS } from '../../src/cli/cache/commands.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { addCommands } from '../../src/cli/lib/command-table.ts';
import { Branches, mapConcurrent } from '../../src/cli/lib/concurrent.ts';
import { unescapeName } from '../../src/cli/lib/escaped-names.ts';
import { toJson } from '../../src/cli/lib/json-text.ts';
import { printable } from '../../src/cli/lib/printable.ts';
import { formatMinute, formatTime } from '../../src/cli/lib/times.ts';
import { formatMode } from '../../src/cli/volume/inode-display.ts';
import { errorAt, failAt } from '../../src/cli/volume/path-errors.ts';
import { parseVolumePath } from '../../src/cli/volume/paths.ts';
import { showName } from '../../src/transfer/local-names.ts';
import { toBytesName } from '../../src/volume/names/name-checks.ts';
import { errorCodeOf } from '../support/errors.ts';
import { checkProperty } from '../support/property.ts';

const bytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 20 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }).map(text => Buffer.from(text)),
  fc
    .array(fc.constantFrom('\\', 'x', '4', '1', '\x1b', 'é', 'X'), { minLength: 1 })
    .map(parts => Buffer.from(parts.join(''))),
);

/** A character that a terminal acts on, or that shows as something else. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/u;

describe('names on a terminal', () => {
  it('are read back by --escaped', () => {
    checkProperty(bytes, value => {
      const name = toBytesName(value);
      expect(unescapeName(showName(name))).toBe(name);
      const path = parseVolumePath(`vol:/x${showName(name)}`, { escaped: true });
      expect(path).toEqual({ storeText: 'vol', path: `/x${name}` });
    });
  });

  it('are taken as they are without it', () => {
    expect(parseVolumePath('vol:/a\\x41', {}).path).toBe('/a\\x41');
    expect(parseVolumePath('vol', {}).path).toBe('/');
    for (const text of ['\\', 'a\\x4', 'a\\n']) expect(errorCodeOf(() => unescapeName(text))).toBe('EINVAL');
  });

  it('do no harm in JSON and messages', () => {
    checkProperty(fc.string({ unit: 'binary' }), text => {
      expect(printable(text)).not.toMatch(UNSAFE);
      const value = { name: text };
      expect(JSON.parse(toJson(value))).toEqual(value);
      expect(toJson(value)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    });
  });
});

describe('errors at a path', () => {
  it('say the path once, and what to do', () => {
    const path = parseVolumePath('vol:/a\x1b', {});
    const first = errorAt(path, new NetsealError('ENOENT', 'whatever'));
    expect(first).toMatchObject({
      code: 'ENOENT',
      message: 'vol:/a\\x1b: no such file or folder: check the path',
    });
    expect(errorAt(parseVolumePath('vol:/b', {}), first)).toBe(first);
    expect(errorAt(path, failAt(path, 'EISDIR', 'own words'))).toMatchObject({
      message: 'vol:/a\\x1b: own words',
    });
    const bug = new TypeError('x is not a function');
    expect(errorAt(path, bug)).toBe(bug);
  });
});

describe('modes and times', () => {
  it('are shown as ls does', () => {
    expect(formatMode('file', 0o644)).toBe('-rw-r--r--');
    expect(formatMode('directory', 0o1777)).toBe('drwxrwxrwt');
    expect(formatMode('file', 0o7000)).toBe('---S--S--T');
    expect(formatMode('symlink', 0o6755)).toBe('lrwsr-sr-x');
  });

  it('are exact, before 1970 too', () => {
    expect(formatTime(1n)).toBe('1970-01-01T00:00:00.000000001Z');
    expect(formatTime(-1n)).toBe('1969-12-31T23:59:59.999999999Z');
    expect(formatTime(2n ** 63n - 1n)).toBe('2262-04-11T23:47:16.854775807Z');
    expect(formatTime(-(2n ** 63n))).toBe('1677-09-21T00:12:43.145224192Z');
    expect(formatMinute(1_700_000_000_000_000_000n)).toMatch(/^2023-11-1[45] \d\d:\d\d$/);
  });
});

describe('mapConcurrent', () => {
  it('keeps the order and the limit', async () => {
    let running = 0;
    let most = 0;
    const items = Array.from({ length: 100 }, (_, at) => at);
    const results = await mapConcurrent(items, 7, async item => {
      running += 1;
      most = Math.max(most, running);
      await new Promise(resolve => setTimeout(resolve, (item * 7919) % 3));
      running -= 1;
      return item * 2;
    });
    expect(results).toEqual(items.map(item => item * 2));
    expect(most).toBe(7);
  });

  it('begins no more after a failure, and waits for what it has begun', async () => {
    let begun = 0;
    let running = 0;
    const work = mapConcurrent(Array.from({ length: 100 }), 4, async () => {
      begun += 1;
      running += 1;
      const isThird = begun === 3;
      await new Promise(resolve => setTimeout(resolve, isThird ? 0 : 5));
      running -= 1;
      if (isThird) throw new Error('the third');
    });
    await expect(work).rejects.toThrow('the third');
    expect([begun, running]).toEqual([4, 0]);
  });
});

describe('Branches', () => {
  it('walks a tree of any shape within its limit', async () => {
    const branches = new Branches(5);
    let running = 0;
    let most = 0;
    let visited = 0;
    const visit = async (depth: number): Promise<void> => {
      running += 1;
      most = Math.max(most, running);
      await new Promise(resolve => setImmediate(resolve));
      visited += 1;
      running -= 1;
      if (depth > 0) await branches.each(Array(6).fill(depth - 1), visit);
    };
    await visit(4);
    expect(visited).toBe(1 + 6 + 36 + 216 + 1296);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(6);
  });

  it('rejects with the first failure, after all that runs has ended', async () => {
    const branches = new Branches(3);
    let running = 0;
    const walk = branches.each([1, 2, 3, 4, 5, 6], async item => {
      running += 1;
      await new Promise(resolve => setTimeout(resolve, item));
      running -= 1;
      if (item === 2) throw new Error('two');
    });
    await expect(walk).rejects.toThrow('two');
    expect(running).toBe(0);
    await branches.each([1], async () => undefined);
  });
});

describe('the tables of commands', () => {
  it.each([
    { of: 'netseal', table: COMMANDS },
    { of: 'netseal cache', table: CACHE_COMMANDS },
  ])('load all commands of $of, or the one that is named', async ({ table }) => {
    const entries = Object.entries(table);
    const all = await addCommands(new Command('all'), table, 'all');
    expect(all.commands.map(command => [command.name(), command.summary()])).toEqual(
      entries.map(([name, [summary]]) => [name, summary]),
    );
    expect(all.commands.every(command => command.description() !== '')).toBe(true);
    const none = await addCommands(new Command('none'), table, ['toString']);
    expect(none.commands.map(command => command.description())).toEqual(entries.map(() => ''));
  });
});
