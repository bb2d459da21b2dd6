/** `netseal completion`: the scripts, in the shells that they are for. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { allCommands, describeCommands } from '../../src/cli/describe/command-tree.ts';
import { VALUE_KINDS } from '../../src/cli/describe/value-kinds.ts';
import { IS_LONG } from '../support/soak.ts';
import { HAS_PYTHON, run } from './run.ts';

const SHELL_LINES = fileURLToPath(new URL('shell-lines.py', import.meta.url));
const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

function has(shell: Shell): boolean {
  return spawnSync(shell, ['-c', 'exit 0']).status === 0;
}

/** A folder with a store, a folder with a space in its name, and two files. */
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-completion-'));
  await mkdir(join(folder, 'store', 'objects'), { recursive: true });
  await mkdir(join(folder, 'with space'));
  for (const name of ['keyfile', 'photo.jpg']) await writeFile(join(folder, name), '');
  for (const shell of SHELLS) {
    const { exitCode, stdout, stderr } = await run(['completion', shell], { cwd: folder });
    expect([exitCode, stderr]).toEqual([0, '']);
    await writeFile(join(folder, `script.${shell}`), stdout);
  }
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Types lines with tabs into an interactive shell. Returns the words that the shell makes of each. */
async function typed(shell: 'bash' | 'zsh', lines: readonly string[]): Promise<string[][]> {
  const setups = {
    bash: 'source ./script.bash',
    zsh: 'bindkey -e; autoload -Uz compinit; compinit -u -D; source ./script.zsh',
  };
  const words = { bash: ['bash', '--norc', '-i'], zsh: ['zsh', '-f', '-i'] };
  const setup = `argv() { printf '%s|' "$@" >> words; echo >> words; printf 'fin%s' ished; }; ${setups[shell]}`;
  const args = [SHELL_LINES, setup, JSON.stringify(lines), ...words[shell]];
  await rm(join(folder, 'words'), { force: true });
  await promisify(execFile)('python3', args, { cwd: folder });
  const made = (await readFile(join(folder, 'words'), 'utf8')).trimEnd().split('\n');
  return made.map(line => line.split('|').slice(0, -1));
}

/** Returns what fish offers for a line, without the descriptions. */
async function offered(line: string): Promise<string[]> {
  const query = `source ./script.fish; complete -C ${JSON.stringify(line)}`;
  const { stdout } = await promisify(execFile)('fish', ['--no-config', '-c', query], { cwd: folder });
  return stdout
    .split('\n')
    .map(text => text.split('\t')[0] ?? '')
    .filter(text => text !== '');
}

const LINES: readonly (readonly [what: string, typed: string, becomes: readonly string[]])[] = [
  ['a command', 'netseal pu\t', ['put']],
  ['a command of a group', 'netseal cache wi\t', ['cache', 'wipe']],
  ['a command of a group in a group', 'netseal cache key cha\t', ['cache', 'key', 'change']],
  ['an option', 'netseal put --rec\t', ['put', '--recursive']],
  ['an option of another command: nothing', 'netseal put --dereferenc\t', ['put', '--dereferenc']],
  ['the file that an option takes', 'netseal ls --key-file key\t', ['ls', '--key-file', 'keyfile']],
  ['the same behind "="', 'netseal ls --key-file=key\t', ['ls', '--key-file=keyfile']],
  ['a word from a few', 'netseal completion z\t', ['completion', 'zsh']],
  ['a command to have help for', 'netseal help cac\t', ['help', 'cache']],
  ['a local file', 'netseal put pho\t', ['put', 'photo.jpg']],
  ['a file that comes second', 'netseal put -r a pho\t', ['put', '-r', 'a', 'photo.jpg']],
  ['no file where a store belongs', 'netseal verify pho\t', ['verify', 'pho']],
  ['no file where an id belongs', 'netseal key remove store pho\t', ['key', 'remove', 'store', 'pho']],
  ['no local file for a path in a volume', 'netseal cat store:/pho\t', ['cat', 'store:/pho']],
  ['no option behind --', 'netseal put -- --rec\t', ['put', '--', '--rec']],
];

describe.runIf(HAS_PYTHON)('on a terminal', () => {
  for (const shell of ['bash', 'zsh'] as const) {
    it.runIf(IS_LONG && has(shell))(`${shell} completes`, async () => {
      const made = await typed(
        shell,
        LINES.map(([, line]) => line),
      );
      expect(LINES.map(([what], index) => [what, made[index]])).toEqual(
        LINES.map(([what, , becomes]) => [what, ['netseal', ...becomes]]),
      );
    });

    it.runIf(IS_LONG && has(shell))(`${shell} quotes the name of a folder`, async () => {
      const [words] = await typed(shell, ['netseal init wit\t']);
      expect(words?.at(-1)).toMatch(/^with space\/?$/);
    });
  }
});

describe.runIf(has('fish'))('fish', () => {
  it.each([
    ['a command', 'netseal pu', ['put']],
    ['commands of a group', 'netseal cache key ', ['add', 'change', 'help', 'list', 'remove']],
    ['an option', 'netseal put --rec', ['--recursive']],
    ['the file that an option takes', 'netseal ls --key-file key', ['keyfile']],
    ['a word from a few', 'netseal completion z', ['zsh']],
    ['a local file', 'netseal put -r a pho', ['photo.jpg']],
    ['folders where a store belongs', 'netseal verify ', ['store/', 'with space/']],
    ['nothing where an id belongs', 'netseal key remove store ', []],
    ['no local file for a path in a volume', 'netseal cat store:/pho', []],
    ['no option behind --', 'netseal put -- --rec', []],
  ])('%s', async (_, line, expected) => {
    expect((await offered(line)).sort()).toEqual(expected);
  });
});

it.runIf(process.env.CI)('CI has python3 and bash', () => {
  expect([HAS_PYTHON, has('bash')]).toEqual([true, true]);
});

it('the kind of each value is known', async () => {
  const names = allCommands(await describeCommands(COMMANDS)).flatMap(command => [
    ...command.arguments.map(({ name }) => name),
    ...command.options.map(({ value }) => value?.name).filter(name => name !== undefined),
  ]);
  const unknown = names.filter(name => !Object.hasOwn(VALUE_KINDS, name));
  // Add it to value-kinds.ts: it decides whether the shell offers files, folders or nothing for it.
  expect([...new Set(unknown)]).toEqual([]);
});

it('another shell is refused, in one line', async () => {
  const { exitCode, stderr } = await run(['completion', 'tcsh'], { cwd: folder });
  expect([exitCode, stderr.split('\n').length]).toEqual([2, 2]);
  expect(stderr).toMatch(/bash, zsh, fish/);
});
