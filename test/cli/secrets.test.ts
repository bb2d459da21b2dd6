/** Where secrets come from: inputs that are read once, pipes without a writer, commands, and the prompt. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_INTERRUPTED, EXIT_KEY, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import { exitOf, finish, HAS_PYTHON, launch, onTerminal, run, SCRIPT, shell } from './run.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-secrets-'));
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
  await writeFile(join(folder, 'plain'), 'plain text');
  spawnSync('mkfifo', [join(folder, 'fifo')]);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function env(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { NETSEAL_STATE: join(folder, 'state'), ...more };
}

describe('an input that would be read twice', () => {
  it.each([
    'printf "pw\\ndata" | netseal seal --passphrase-file /dev/stdin -o out',
    'printf "pw\\ndata" | netseal seal /dev/stdin --passphrase-file /dev/stdin -o out',
    'printf "pw\\ndata" | netseal seal - --passphrase-file /proc/self/fd/0 -o out',
    'printf "pw\\ndata" | netseal seal /dev/fd/0 --passphrase-file /dev/stdin -o out',
    'cat key | netseal seal --key-file /dev/stdin -o out',
    'cat key | NETSEAL_KEY_FILE=/dev/stdin netseal seal -o out',
    'netseal seal --key-file /dev/stdin -o out <key',
    'netseal seal --key-file key -o out <key',
    'netseal seal fifo --passphrase-file fifo -o out',
    'netseal open fifo --key-file ./fifo -o out',
  ])('is refused: %s', async line => {
    const { exitCode, stderr } = await shell(line, { cwd: folder, env: env() });
    expect([exitCode, stderr]).toEqual([
      EXIT_USAGE,
      expect.stringMatching(/^netseal: the data and .* would read the same input, .* \(EINVAL\)\n$/),
    ]);
    expect(readdirSync(folder).sort()).toEqual(['fifo', 'key', 'plain']);
  });

  it('is refused for two secrets', async () => {
    const text =
      'netseal init vol --key-file key 2>/dev/null >&2; cat key | netseal key add vol --key-file /dev/stdin --new-key-file /dev/stdin';
    const { exitCode, stderr } = await shell(text, { cwd: folder, env: env() });
    expect([exitCode, stderr]).toEqual([
      EXIT_USAGE,
      expect.stringMatching(/^netseal: --key-file and --new-key-file would read the same input/),
    ]);
  });

  it('may be a file, or two pipes', async () => {
    const text = 'netseal seal -o sealed --key-file <(cat key) <plain; netseal open --key-file key <sealed';
    const { exitCode, stdout } = await shell(text, { cwd: folder, env: env() });
    expect([exitCode, String(stdout)]).toEqual([EXIT_OK, 'plain text']);
  });
});

it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s ends the wait for a secret', async signal => {
  const child = launch(['seal', 'plain', '-o', 'out', '--passphrase-file', 'fifo'], { cwd: folder });
  const finished = finish(child);
  while (!readdirSync(folder).some(name => name.endsWith('.partial'))) await sleep(20);
  await sleep(200);
  child.kill(signal);
  const ended = await finished;
  expect([exitOf(ended), ended.stderr]).toEqual([EXIT_INTERRUPTED, 'netseal: interrupted\n']);
  expect(readdirSync(folder).sort()).toEqual(['fifo', 'key', 'plain']);
});

it('comes from a command, and from the environment', async () => {
  const make = await run(['init', 'vol', '--passphrase-command', 'echo "horse battery"; echo more'], {
    cwd: folder,
    env: env(),
  });
  expect(make.exitCode).toBe(EXIT_OK);
  const cases: [string[], NodeJS.ProcessEnv, number, RegExp][] = [
    [[], { NETSEAL_PASSPHRASE: 'horse battery' }, EXIT_OK, /^$/],
    [[], { NETSEAL_PASSPHRASE_COMMAND: 'echo horse battery' }, EXIT_OK, /^$/],
    [[], { NETSEAL_KEY_FILE: 'key' }, EXIT_KEY, /wrong key file/],
    [[], { NETSEAL_PASSPHRASE: 'donkey' }, EXIT_KEY, /wrong passphrase/],
    [[], { NETSEAL_PASSPHRASE: 'x', NETSEAL_KEY_FILE: 'key' }, EXIT_USAGE, /NETSEAL_KEY_FILE, not both/],
    // Options come before the environment.
    [['--passphrase-command', 'echo horse battery'], { NETSEAL_KEY_FILE: 'key' }, EXIT_OK, /^$/],
    [['--passphrase-command', 'exit 3'], {}, EXIT_USAGE, /failed with exit code 3/],
    [['--passphrase-command', 'true'], {}, EXIT_USAGE, /first line is empty/],
    [['--passphrase-command', "printf '\\351'"], {}, EXIT_USAGE, /not UTF-8/],
    [['--passphrase-command', 'x', '--key-file', 'key'], {}, EXIT_USAGE, /not both/],
  ];
  for (const [args, more, exitCode, message] of cases) {
    const result = await run(['ls', 'vol:/', ...args], { cwd: folder, env: env(more) });
    expect([args, more, result.exitCode, result.stderr]).toEqual([
      args,
      more,
      exitCode,
      expect.stringMatching(message),
    ]);
  }
});

describe.runIf(HAS_PYTHON)('the prompt', () => {
  it.runIf(IS_LONG).each(['shell', 'alone', 'signal'])(
    'after Ctrl-Z and back (%s) asks again, without echo',
    async how => {
      const sealing = await run(['seal', 'plain', '-o', 'sealed'], {
        cwd: folder,
        env: env({ NETSEAL_PASSPHRASE: 'second' }),
      });
      expect(sealing.exitCode).toBe(EXIT_OK);
      const script = fileURLToPath(new URL('job-control.py', import.meta.url));
      const command = ['python3', script, how, process.execPath, SCRIPT, 'open', 'sealed', '-o', 'out'];
      const { NETSEAL_PASSPHRASE: _, ...inherited } = process.env;
      const { status, stdout, stderr } = spawnSync(command[0] ?? '', command.slice(1), {
        cwd: folder,
        env: { ...inherited, ...env() },
        encoding: 'utf8',
      });
      expect([status, stderr]).toEqual([0, '']);
      const [, shown = '', result = ''] = /^(.*)\n(\{.*\})\n$/s.exec(stdout) ?? [];
      expect(JSON.parse(result)).toEqual({ echoed: [false, false], exitCode: EXIT_OK });
      expect(shown).not.toMatch(/first|second/);
      expect(await readFile(join(folder, 'out'), 'utf8')).toBe('plain text');
    },
  );

  it('refuses bytes that are not UTF-8', async () => {
    const typed = await onTerminal(['p\udce9\r'], ['seal', 'plain', '-o', 'out'], { cwd: folder });
    expect(typed.exitCode).toBe(EXIT_USAGE);
    expect(String(typed.stdout)).toMatch(/the passphrase is not UTF-8/);
  });

  it.runIf(IS_LONG)('knows the keys that edit', async () => {
    const answers = ['wrong\x15hox\x7frse\x1b[D\x1b[3~é\x7f oops\x17\x7f\r', 'horse\r'];
    const typed = await onTerminal(answers, ['seal', 'plain', '-o', 'sealed'], { cwd: folder });
    expect([typed.exitCode, String(typed.stdout)]).toEqual([
      EXIT_OK,
      expect.not.stringMatching(/horse|oops/),
    ]);
    const opened = await run(['open', 'sealed'], { cwd: folder, env: env({ NETSEAL_PASSPHRASE: 'horse' }) });
    expect(String(opened.stdout)).toBe('plain text');
  });
});
