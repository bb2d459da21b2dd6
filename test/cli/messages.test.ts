/** What every command says of its failures: printable, in one line, as JSON on request; and text that is not UTF-8. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_EXISTS, EXIT_IO, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run, shell } from './run.ts';

const COLOUR = '\x1b[31m';
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-messages-'));
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { NETSEAL_STATE: join(folder, 'state'), ...more };
}

function netseal(...args: string[]): Promise<Finished> {
  return run(args, { cwd: folder, env: env() });
}

/** A shell line, which can write bytes as `$'\xe9'`. */
function line(text: string, more: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return shell(text, { cwd: folder, env: env(more) });
}

describe('a message', () => {
  it.each([
    [[`x${COLOUR}`]],
    [['ls', `--x${COLOUR}`]],
    [['help', `x${COLOUR}`]],
    [['cache', `x${COLOUR}`]],
    [['ls', `vol${COLOUR}:/`]],
    [['ls', 'vol:/', '--workers', `${COLOUR}\n2`]],
    [['init', 'vol', '--unit-size', COLOUR]],
    [['key', 'remove', 'vol', COLOUR]],
    [['seal', `none${COLOUR}`]],
    [['seal', 'key', '--key-file', `none${COLOUR}`, '-o', 'out']],
    [['open', 'key', '-o', `no${COLOUR}/x`]],
    [['cache', 'stats', `none${COLOUR}`]],
    [['bench', `none${COLOUR}`]],
  ])('prints nothing that acts on a terminal: %j', async args => {
    const { exitCode, stdout, stderr } = await netseal(...args);
    expect(exitCode).not.toBe(EXIT_OK);
    expect(stderr + String(stdout)).not.toContain('\x1b');
    expect(stderr).not.toBe('');
  });

  it('is a line of JSON with --json', async () => {
    const cases: [string[], string, number, RegExp][] = [
      [['ls', 'none:/', '--json'], 'ENOENT', EXIT_NOT_FOUND, /^no volume in none/],
      [['ls', '--json', '--no-such'], 'EINVAL', EXIT_USAGE, /unknown option '--no-such'/],
      [['init', 'key', '--json'], 'EEXIST', EXIT_EXISTS, /key is not a folder/],
      [['init', 'new', '--json', '--key-file', 'none'], 'ENOENT', EXIT_IO, /^none: no such file/],
    ];
    for (const [args, code, exitCode, message] of cases) {
      const result = await netseal(...args);
      expect(result.exitCode).toBe(exitCode);
      expect(JSON.parse(result.stderr)).toEqual({
        error: { code, message: expect.stringMatching(message), exitCode },
      });
    }
  });

  it('says which commands there are, or which is spelt much alike', async () => {
    const { exitCode, stderr } = await netseal('bogus');
    expect([exitCode, stderr]).toEqual([
      EXIT_USAGE,
      expect.stringMatching(
        /^netseal: unknown command 'bogus'; netseal has seal, open, .*, completion; see "netseal help"\n$/,
      ),
    ]);
    expect((await netseal('verfy')).stderr).toBe(
      `netseal: unknown command 'verfy' (Did you mean verify?); see "netseal help"\n`,
    );
    expect((await netseal('cache', 'bogus')).stderr).toMatch(
      /unknown command 'bogus'; netseal cache has init, set, /,
    );
  });

  it('names what could not be written to', async () => {
    const { stderr, exitCode } = await line('netseal help >/dev/full');
    expect([exitCode, stderr]).toEqual([
      EXIT_IO,
      'netseal: standard output: no space left on device (ENOSPC)\n',
    ]);
  });
});

it('a folder as standard input is no empty file', async () => {
  const { exitCode, stderr } = await line('netseal seal --key-file key -o out <.');
  expect([exitCode, stderr]).toEqual([
    EXIT_IO,
    'netseal: the standard input is a folder: pipe it in with tar (EIO)\n',
  ]);
});

describe('text that is not UTF-8', () => {
  it('is no argument', async () => {
    const { exitCode, stderr } = await line("netseal ls vol:/$'n\\xe9'");
    expect(exitCode).toBe(EXIT_USAGE);
    expect(stderr).toMatch(/^netseal: argument 2 is not UTF-8: vol:\/n\\xe9; .*--escaped \(EINVAL\)\n$/);
    // The character itself may be typed.
    expect((await line('netseal ls "vol:/\ufffd"')).exitCode).toBe(EXIT_NOT_FOUND);
  });

  it.each(['NETSEAL_PASSPHRASE', 'NETSEAL_STATE', 'NETSEAL_KEY_FILE', 'NETSEAL_STORE'])(
    'is no value for %s',
    async name => {
      const { exitCode, stderr } = await line(
        `export ${name}=$'p\\xe9'; netseal init ${name === 'NETSEAL_STORE' ? ':' : 'vol'}`,
      );
      expect([exitCode, stderr]).toEqual([EXIT_USAGE, `netseal: ${name} is not UTF-8 (EINVAL)\n`]);
    },
  );

  it('is a name here and in a volume with --escaped', async () => {
    const text = [
      'export NETSEAL_KEY_FILE=key NETSEAL_STORE=vol; netseal init : >/dev/null 2>&1',
      "printf one >$'n\\xe9'; printf two >$'n\\xe8'",
      "netseal put --escaped 'n\\xe9' 'n\\xe8' :/ 2>/dev/null",
      "netseal get --escaped ':/n\\xe9' 'back\\xe8' 2>/dev/null; cat $'back\\xe8'; netseal ls :",
    ];
    const { stdout, stderr } = await line(text.join('; '));
    expect([stdout.toString('latin1'), stderr]).toEqual(['onen\xe8\nn\xe9\n', '']);
  });

  it('may be U+FFFD, which is', async () => {
    const { exitCode } = await line('netseal init vol', { NETSEAL_PASSPHRASE: '\ufffd' });
    expect(exitCode).toBe(EXIT_OK);
    expect((await line("NETSEAL_PASSPHRASE=$'\\xe9' netseal ls vol:")).exitCode).toBe(EXIT_USAGE);
  });
});

it('without a home folder, says how to name another', async () => {
  const more = { NETSEAL_STATE: '', XDG_STATE_HOME: '', HOME: '' };
  const { exitCode, stderr } = await line('netseal init vol --key-file key', more);
  expect([exitCode, stderr]).toEqual([
    EXIT_USAGE,
    'netseal: this user has no home folder to remember stores in: name a folder with --state or NETSEAL_STATE (EINVAL)\n',
  ]);
});
