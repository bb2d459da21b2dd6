/** `netseal init` in processes of its own: what it makes, refuses, says and exits with. */
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_EXISTS, EXIT_IO, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { openStoreAt } from '../../src/cli/volume/location.ts';
import { unlockHeaderObject } from '../../src/volume/header-object.ts';
import { decodeSettings } from '../../src/volume/session/volume-settings.ts';
import { stateFolderName } from '../../src/volume/state/state-folder.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run } from './run.ts';

const CONTENTS = mixedBytes(32, 9);
const KEY = ['--key-file', 'key'];

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-init-'));
  await writeFile(join(folder, 'key'), CONTENTS);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function netseal(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return run(args, { cwd: folder, env: { NETSEAL_STATE: join(folder, 'state'), ...env } });
}

describe('netseal init', () => {
  it('makes a volume with the defaults, and says so', async () => {
    const { exitCode, stdout, stderr } = await netseal(['init', 'vol', ...KEY]);
    expect(exitCode).toBe(EXIT_OK);
    expect(String(stdout)).toMatch(
      /^made volume [0-9a-f]{32} in vol\n +units +256 KiB, padme padding, zstd:1, xaes-256-gcm\n +packs +of small files, up to 128 KiB\n +slot +[0-9a-f]{32}, key-file, "key-file"\n$/,
    );
    expect(stderr).toMatch(/^netseal: keep the secret safe: without it nobody can read this volume.*\n$/);
    expect((await readdir(join(folder, 'vol'))).sort()).toEqual(['lock', 'objects', 'partial']);
  });

  it('fixes what it is told, as JSON', async () => {
    const options = ['--unit-size', '64KiB', '--padding', 'none', '--pack', '0', '--keys', 'hex2'];
    const cipher = ['--codec', 'deflate:6', '--cipher', 'xchacha20-poly1305', '--label', 'küche'];
    const { stdout, exitCode } = await netseal(['init', 'vol:/', ...KEY, ...options, ...cipher, '--json']);
    expect(exitCode).toBe(EXIT_OK);
    const result = JSON.parse(String(stdout));
    expect(result).toEqual({
      store: 'vol',
      volumeId: expect.stringMatching(/^[0-9a-f]{32}$/),
      unitSizeBytes: 65_536,
      padding: 'none',
      packBytes: 0,
      codec: 'deflate:6',
      cipher: 'xchacha20-poly1305',
      keys: 'hex2',
      slot: { id: expect.stringMatching(/^[0-9a-f]{32}$/), type: 'key-file', label: 'küche' },
      notes: [{ message: expect.stringMatching(/^keep the secret safe/) }],
    });
    const store = await openStoreAt(join(folder, 'vol'));
    const header = await unlockHeaderObject(store, { type: 'key-file', contents: CONTENTS });
    expect(header.volumeId).toBe(result.volumeId);
    expect(decodeSettings(header.settings)).toEqual({
      rootId: expect.stringMatching(/^[0-9a-f]{32}$/),
      unitSizeBytes: 65_536,
      padding: 'none',
      packBytes: 0,
      keys: 'hex2',
      marksKey: expect.stringMatching(/^[0-9a-f]{64}$/),
      codec: { codec: 'deflate', level: 6 },
      suite: 'xchacha20-poly1305',
    });
    header.keyring.destroy();
    await store.close();
  });

  it('makes one volume only, also when two try at once', async () => {
    const both = await Promise.all([1, 2].map(() => netseal(['init', 'vol', ...KEY, '--json'])));
    expect(both.map(({ exitCode }) => exitCode).sort()).toEqual([EXIT_OK, EXIT_EXISTS]);
    const made = JSON.parse(String(both.find(({ exitCode }) => exitCode === EXIT_OK)?.stdout));
    const again = await netseal(['init', 'vol']);
    // Said before a secret is asked for.
    expect([again.exitCode, again.stderr, again.stdout.byteLength]).toEqual([
      EXIT_EXISTS,
      'netseal: vol already holds a volume: name another store to make a new one (EEXIST)\n',
      0,
    ]);
    const listed = await netseal(['key', 'list', 'vol', ...KEY, '--json']);
    expect(JSON.parse(String(listed.stdout))).toMatchObject({ volumeId: made.volumeId, generation: 1 });
  });

  it('remembers what it made, where it is told to', async () => {
    const places: [string, string[], NodeJS.ProcessEnv][] = [
      ['a', ['--state', 'a'], { NETSEAL_STATE: 'b' }],
      ['b', [], { NETSEAL_STATE: 'b' }],
      ['c/netseal', [], { NETSEAL_STATE: '', XDG_STATE_HOME: join(folder, 'c') }],
      [
        'd/.local/state/netseal',
        [],
        { NETSEAL_STATE: '', XDG_STATE_HOME: 'relative', HOME: join(folder, 'd') },
      ],
    ];
    for (const [place, options, env] of places) {
      const { stdout } = await netseal(['init', `vol-${place[0]}`, ...KEY, '--json', ...options], env);
      const [store = '', ...others] = await readdir(join(folder, place));
      expect(others).toEqual([]);
      const pin = JSON.parse(await readFile(join(folder, place, store, 'pin.json'), 'utf8'));
      expect(pin).toMatchObject({ volumeId: JSON.parse(String(stdout)).volumeId, generation: 1 });
    }
  });

  it('may make a volume where one was, as that is what the user asked for', async () => {
    await netseal(['init', 'vol', ...KEY]);
    await rm(join(folder, 'vol'), { recursive: true });
    expect((await netseal(['init', 'vol', ...KEY])).exitCode).toBe(EXIT_OK);
    expect((await netseal(['key', 'list', 'vol', ...KEY])).exitCode).toBe(EXIT_OK);
  });

  it('refuses what it cannot do, and leaves everything as it is', async () => {
    await mkdir(join(folder, 'used'));
    await writeFile(join(folder, 'used', 'x'), '');
    const before = await readdir(folder, { recursive: true });
    const cases: [string[], number, RegExp][] = [
      [['used', ...KEY], EXIT_EXISTS, /used holds other files.* \(EEXIST\)/],
      [['key', ...KEY], EXIT_EXISTS, /key is not a folder.* \(EEXIST\)/],
      [['no/such', ...KEY], EXIT_NOT_FOUND, /cannot make no\/such: the folder no does not exist \(ENOENT\)/],
      [['vol:/docs', ...KEY], EXIT_USAGE, /name only the store, not vol:\/docs/],
      [['sftp://bucket', ...KEY], EXIT_USAGE, /a folder, a file:\/\/ URL/],
      [['', ...KEY], EXIT_USAGE, /no store in ""/],
      [['vol', '--unit-size', '5000', ...KEY], EXIT_USAGE, /power of two/],
      [['vol', '--codec', 'lzma', ...KEY], EXIT_USAGE, /unknown codec/],
      [['vol', '--workers', '-1', ...KEY], EXIT_USAGE, /--workers/],
      [[], EXIT_USAGE, /missing required argument 'store'/],
    ];
    for (const [args, exitCode, message] of cases) {
      const result = await netseal(['init', ...args]);
      expect([args, result.exitCode]).toEqual([args, exitCode]);
      expect(result.stderr).toMatch(message);
      expect(result.stderr.trim().split('\n')).toHaveLength(1);
      expect(result.stdout.byteLength).toBe(0);
    }
    expect(await readdir(folder, { recursive: true })).toEqual(before);
  });

  it('leaves nothing behind when it fails, in the store and in the state', async () => {
    const before = await readdir(folder, { recursive: true });
    const cases: [string[], number, RegExp][] = [
      [['vol'], EXIT_USAGE, /no terminal/],
      [['vol', '--key-file', 'none'], EXIT_IO, /^netseal: none: no such file/],
      [
        ['vol', ...KEY, '--state', 'key/x'],
        EXIT_IO,
        /^netseal: cannot remember this store in key\/x.*: not a directory; name another folder with --state/,
      ],
    ];
    for (const [args, exitCode, message] of cases) {
      const failed = await netseal(['init', ...args]);
      expect([args, failed.exitCode, failed.stderr]).toEqual([
        args,
        exitCode,
        expect.stringMatching(message),
      ]);
      expect(await readdir(folder, { recursive: true })).toEqual(before);
    }
  });

  it('leaves no volume that it cannot remember', async () => {
    const name = stateFolderName(`file://${await realpath(folder)}/vol`);
    // In the way of the pin.
    await mkdir(join(folder, 'state', name, 'pin.json.new'), { recursive: true });
    const before = (await readdir(folder, { recursive: true })).sort();
    const { exitCode, stderr, stdout } = await netseal(['init', 'vol', ...KEY]);
    expect([exitCode, String(stdout)]).toEqual([EXIT_IO, '']);
    expect(stderr).toMatch(/^netseal: .*state\/.*: .*directory \(EISDIR\)\n$/);
    const after = (await readdir(folder, { recursive: true })).sort();
    expect(after.filter(path => !path.endsWith('/lock'))).toEqual(before);
  });

  it('can be repeated after it failed', async () => {
    const noSecret = await netseal(['init', 'vol']);
    expect([noSecret.exitCode, noSecret.stderr]).toEqual([EXIT_USAGE, expect.stringMatching(/no terminal/)]);
    const badLabel = await netseal(['init', 'vol', ...KEY, '--label', 'x'.repeat(100)]);
    expect([badLabel.exitCode, badLabel.stderr]).toEqual([EXIT_USAGE, expect.stringMatching(/label/)]);
    expect((await netseal(['init', 'vol', ...KEY])).exitCode).toBe(EXIT_OK);
  });
});
