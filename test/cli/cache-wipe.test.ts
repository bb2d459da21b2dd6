/** `netseal cache wipe` in processes of its own; two processes at one cache. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  EXIT_EXISTS,
  EXIT_INTERRUPTED,
  EXIT_IO,
  EXIT_NOT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { collect } from '../cache/support.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  cacheOnTerminal,
  inCache,
  jsonOf,
  netsealCache,
  newFolderWithCache,
  OTHER_FILE,
  putDirty,
  VOLUME,
} from './cache-support.ts';
import { type Finished, HAS_PYTHON } from './run.ts';

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

describe('netseal cache wipe', () => {
  it('needs --yes where there is nobody to ask, and leaves room for a new cache', async () => {
    const refused = await cache('wipe', 'c');
    expect(refused.exitCode).toBe(EXIT_USAGE);
    expect(refused.stderr).toBe(
      'netseal: there is no terminal to ask on: give --yes if you are sure (EINVAL)\n',
    );
    expect((await jsonOf(folder, 'stats', 'c')).units).toBe(120);

    const wiped = await cache('wipe', 'c', '--yes');
    expect(wiped.exitCode).toBe(EXIT_OK);
    expect(wiped.stdout.toString()).toMatch(/^wiped 120 units, [^\n]*; the key is gone\n$/);
    expect(wiped.stderr).toMatch(
      /^netseal: This gives no protection from anyone who has a copy of the header [^\n]*\n$/,
    );
    expect(await readdir(folder)).not.toContain('c');
    expect((await cache('stats', 'c')).exitCode).toBe(EXIT_NOT_FOUND);
    expect((await cache('init', 'c')).exitCode).toBe(EXIT_OK);
    expect((await jsonOf(folder, 'stats', 'c')).units).toBe(0);
  });

  it('refuses while anything is not on the server, unless that may be lost', async () => {
    await inCache(folder, open => putDirty(open, VOLUME, OTHER_FILE, [50, 51]));
    const refused = await cache('wipe', 'c', '--yes');
    expect(refused.exitCode).toBe(EXIT_USAGE);
    expect(refused.stderr).toMatch(
      /^netseal: 1 batch, 2 units, 8\.14 KiB is not on the server yet[^\n]*: nothing was wiped; /,
    );
    expect((await jsonOf(folder, 'stats', 'c')).units).toBe(122);
    const wiped = await jsonOf(folder, 'wipe', 'c', '--yes', '--dirty-too');
    expect(wiped).toMatchObject({ wiped: { units: 122 }, lost: { batches: 1, units: 2 } });
    expect(await readdir(folder)).not.toContain('c');
  });

  it("leaves and names what is not the cache's", async () => {
    await writeFile(join(folder, 'c', 'notes.txt'), 'mine');
    const wiped = await cache('wipe', 'c', '--yes');
    expect(wiped.exitCode).toBe(EXIT_OK);
    expect(wiped.stderr).toMatch(/\nnetseal: these are not the cache's, and stay in c: notes\.txt\n$/);
    expect(await readdir(join(folder, 'c'))).toEqual(['notes.txt']);
  });

  it.runIf(IS_LONG && HAS_PYTHON)('asks on a terminal', async () => {
    const no = await cacheOnTerminal(folder, ['no\n'], 'wipe', 'c');
    expect(no.exitCode).toBe(EXIT_USAGE);
    expect(no.stdout.toString()).toMatch(
      /Destroy 120 units, .*, in c\? Type "yes" to go on: [\s\S]*nothing was done/,
    );
    const interrupted = await cacheOnTerminal(folder, ['\x03'], 'wipe', 'c');
    expect(interrupted.exitCode).toBe(EXIT_INTERRUPTED);
    expect((await jsonOf(folder, 'stats', 'c')).units).toBe(120);
    const yes = await cacheOnTerminal(folder, ['yes\n'], 'wipe', 'c');
    expect(yes.exitCode).toBe(EXIT_OK);
    expect((await cache('stats', 'c')).exitCode).toBe(EXIT_NOT_FOUND);
  });
});

describe('two processes', () => {
  it('one waits for nobody: every command names the owner, and works when that one was killed', async () => {
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', OPEN_AND_STAY, join(folder, 'c'), join(folder, 'key')],
      { cwd: fileURLToPath(new URL('../..', import.meta.url)), stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [ready] = (await once(child.stdout, 'data')) as [Buffer];
    expect(ready.toString()).toBe('open\n');
    const commands = [
      ['stats'],
      ['ls'],
      ['verify'],
      ['flush'],
      ['pin'],
      ['set', '--budget', '8MiB'],
      ['wipe', '--yes'],
    ];
    const results = await Promise.all(commands.map(([name = '', ...rest]) => cache(name, 'c', ...rest)));
    for (const { exitCode, stderr, stdout } of results) {
      expect([exitCode, stdout.toString()]).toEqual([EXIT_IO, '']);
      expect(stderr).toMatch(
        new RegExp(`^netseal: the cache is in use by process ${child.pid} on [^\\n]*: [^\\n]*\\n$`),
      );
    }
    expect((await cache('init', 'c')).exitCode).toBe(EXIT_EXISTS);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const { exitCode, stdout } = await cache('stats', 'c');
    expect(exitCode).toBe(EXIT_OK);
    expect(stdout.toString()).toMatch(/\n1 batch, 1 unit, 4\.07 KiB is not on the server yet/);
    expect(await inCache(folder, open => collect(open.listDirty()))).toHaveLength(1);
  });
});

/** Opens a cache, keeps a dirty unit there, and stays. */
const OPEN_AND_STAY = `
  import { readFileSync } from 'node:fs';
  import { openCache } from './src/cache/open.ts';
  import { encodeHeader } from './src/unit/record-format.ts';
  const [folder, key] = process.argv.slice(1);
  const cache = await openCache(folder, {}, { key: { secrets: { type: 'key-file', contents: readFileSync(key) } } });
  const bytes = new Uint8Array(4168);
  encodeHeader(new DataView(bytes.buffer), 'unit', { suite: 'xaes-256-gcm', flags: 0, epoch: 1, sealedLengthBytes: 4168 });
  const id = new Uint8Array(16).fill(5);
  await cache.appendDirty({ units: [{ volumeId: id, objectId: id, index: 0, bytes }] });
  process.stdout.write('open\\n');
  setInterval(() => {}, 1000);
`;
