/** The options of `netseal get`, and copies that go on where they were interrupted, in processes of their own. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MIB } from '../../src/base/geometry.ts';
import { EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { withVolume } from '../../src/cli/volume/opening.ts';
import { get } from '../../src/transfer/get.ts';
import { put } from '../../src/transfer/put.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { IS_LONG } from '../support/soak.ts';
import { HAS_PYTHON, onTerminal } from './run.ts';
import {
  env,
  failure,
  fill,
  folder,
  KEY,
  makeFile,
  makeFolder,
  netseal,
  useVolume,
} from './volume-support.ts';

const at = (...names: string[]): string => join(folder, ...names);

async function fillVolume(): Promise<void> {
  await fill(async volume => {
    await makeFile(volume, '/a', Buffer.from('one'));
    await makeFile(volume, '/b', Buffer.from('two'));
    await makeFolder(volume, '/d');
    await makeFile(volume, '/d/c', Buffer.from('three'));
  });
}

describe('netseal get', () => {
  useVolume();

  it('writes to standard output for -, one file after the other', async () => {
    await fillVolume();
    const both = await netseal(['get', 'vol:/a', 'vol:/b', '-']);
    expect([both.exitCode, String(both.stdout), both.stderr]).toEqual([EXIT_OK, 'onetwo', '']);
    expect((await netseal(['get', 'vol:/a', './-'])).exitCode).toBe(EXIT_OK);
    expect(fs.readFileSync(at('-'), 'utf8')).toBe('one');
    for (const option of ['-r', '--json', '--dry-run', '--delete']) {
      const [exitCode, [line]] = await failure('get', option, 'vol:/a', '-');
      expect([exitCode, line]).toEqual([EXIT_USAGE, expect.stringContaining('- is standard output')]);
    }
    const missing = await netseal(['get', 'vol:/a', 'vol:/missing', '-']);
    expect([String(missing.stdout), missing.stderr]).toEqual([
      'one',
      expect.stringMatching(/\/missing: .*ENOENT/),
    ]);
  });

  it('tells with --dry-run what it would do, and does nothing', async () => {
    await fillVolume();
    fs.mkdirSync(at('out'));
    fs.writeFileSync(at('out', 'extra'), 'x');
    const { exitCode, stdout, stderr } = await netseal(['get', '-rn', '--delete', 'vol:/', 'out']);
    expect(exitCode).toBe(EXIT_OK);
    expect(String(stdout).split('\n').sort()).toEqual([
      '',
      'would copy /a',
      'would copy /b',
      'would copy /d/c',
      'would make folder /d',
      'would remove out/extra',
    ]);
    expect(stderr).toMatch(/^nothing was changed; would have got 3 files \(11 B\),.* 1 removed in/);
    expect(fs.readdirSync(at('out'))).toEqual(['extra']);
  });

  it('removes with --delete what the volume lacks, only when it may', async () => {
    await fillVolume();
    fs.mkdirSync(at('out', 'gone'), { recursive: true });
    fs.writeFileSync(at('out', 'gone', 'below'), 'x');
    const refused = await failure('get', '-r', '--delete', 'vol:/', 'out');
    expect(refused).toEqual([EXIT_USAGE, [expect.stringMatching(/no terminal to ask on: give --yes/)]]);
    expect(fs.readdirSync(at('out'))).toEqual(['gone']);
    expect((await failure('get', '--delete', '--yes', 'vol:/a', 'out'))[0]).toBe(EXIT_USAGE);
    const removed = await netseal(['get', '-r', '--delete', '--yes', '--json', 'vol:/', 'out']);
    expect(JSON.parse(String(removed.stdout))).toMatchObject({ files: 3, removed: 2 });
    expect(fs.readdirSync(at('out')).sort()).toEqual(['a', 'b', 'd']);
  });

  it.runIf(IS_LONG && HAS_PYTHON)('asks on a terminal before it removes, as put does', async () => {
    await fillVolume();
    fs.mkdirSync(at('out'));
    fs.writeFileSync(at('out', 'extra'), 'x');
    const asked = async (answer: string, ...args: string[]): Promise<string> => {
      const { stdout } = await onTerminal([`${answer}\n`], [...args, ...KEY], { cwd: folder, env: env() });
      return String(stdout).replaceAll('\r\n', '\n');
    };
    const no = await asked('no', 'get', '-r', '--delete', 'vol:/', 'out');
    expect(no).toMatch(
      // The progress is gone before the question.
      /\[2Kout\/extra\s.*Remove 1 path, which the source lacks\? Type "yes" to go on: .*no\s/s,
    );
    expect(no).toMatch(/nothing was done: the answer was not "yes"/);
    expect(fs.readdirSync(at('out')).sort()).toEqual(['a', 'b', 'd', 'extra']);
    await asked('yes', 'get', '-r', '--delete', 'vol:/', 'out');
    expect(fs.readdirSync(at('out')).sort()).toEqual(['a', 'b', 'd']);
    fs.rmSync(at('out', 'd'), { recursive: true });
    const yes = await asked('yes', 'put', '-r', '--delete', 'out/.', 'vol:/');
    expect(yes).toMatch(/vol:\/d\/\s.*Remove 1 path/s);
    expect(String((await netseal(['ls', 'vol:/'])).stdout)).toBe('a\nb\n');
  });
});

describe('a large file', () => {
  useVolume();

  it.runIf(IS_LONG)('goes on where a put and a get of it were interrupted, and says so', async () => {
    const content = randomBytes(66 * MIB);
    fs.writeFileSync(at('large'), content);
    expect((await netseal(['init', 'fast', '--codec', 'stored'])).exitCode).toBe(EXIT_OK);
    await interrupted((access, tally, signal) =>
      put(access.volume, [at('large')], '/large', tally, { state: access.state, signal }),
    );
    const putAgain = await netseal(['put', 'large', 'fast:/large']);
    expect(putAgain.stderr).toMatch(/^netseal: large: going on at \d+ %\nput 1 file \(66 MiB\)/);
    await interrupted((access, tally, signal) =>
      get(access.volume, ['/large'], at('back'), tally, { state: access.state, signal }),
    );
    const getAgain = await netseal(['get', '--json', 'fast:/large', 'back']);
    const { resumed } = JSON.parse(String(getAgain.stdout));
    expect(resumed).toEqual([{ path: expect.stringMatching(/large|back/), bytes: expect.any(Number) }]);
    expect(resumed[0].bytes).toBeGreaterThan(0);
    expect(fs.readFileSync(at('back')).equals(content)).toBe(true);
  });

  /** Runs a copy in this process, and stops it when two thirds are done. */
  async function interrupted(
    copy: (
      access: Parameters<Parameters<typeof withVolume>[3]>[0],
      tally: Tally,
      signal: AbortSignal,
    ) => Promise<void>,
  ): Promise<void> {
    const location = { storeText: at('fast'), path: undefined };
    const options = { keyFile: at('key'), state: at('state'), workers: 0 };
    await withVolume(location, options, new AbortController().signal, async access => {
      const stop = new AbortController();
      const tally = new Tally({
        onProgress: ({ bytes }) => {
          if (bytes > 44 * MIB) stop.abort();
        },
      });
      await expect(copy(access, tally, stop.signal)).rejects.toMatchObject({ name: 'AbortError' });
    });
  }
});
