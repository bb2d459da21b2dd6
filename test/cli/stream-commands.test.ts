/** `netseal seal` and `netseal open` in processes of their own: what they write, say, leave behind and exit with. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { lstat, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  EXIT_DAMAGED,
  EXIT_EXISTS,
  EXIT_INTERRUPTED,
  EXIT_IO,
  EXIT_KEY,
  EXIT_OK,
  EXIT_UNSUPPORTED,
  EXIT_USAGE,
} from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes, until } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import {
  CHECKOUT_SCRIPT,
  exitOf,
  type Finished,
  finish,
  HAS_PYTHON,
  launch,
  onTerminal,
  run,
  SCRIPT,
  shell,
} from './run.ts';

const PLAIN = Buffer.from(mixedBytes(700_001, 1));
const KEY = ['--key-file', 'key'];
const PASSPHRASE = 'correct horse battery';

/** Some machines lack what drives a terminal, or let nobody mount; CI has both, and says so if not. */
const CAN_MOUNT = works('unshare', '--mount', '--map-root-user', 'true');

function works(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args).status === 0;
}

it.runIf(process.env.CI)('CI leaves nothing out', () => {
  expect([HAS_PYTHON, CAN_MOUNT]).toEqual([true, true]);
});

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-cli-'));
  await writeFile(join(folder, 'plain'), PLAIN);
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function netseal(
  args: readonly string[],
  options: Partial<Parameters<typeof run>[1]> = {},
): Promise<Finished> {
  return run(args, { cwd: folder, ...options });
}

function bytesOf(name: string): Buffer {
  return readFileSync(join(folder, name));
}

async function sealPlain(): Promise<void> {
  expect(await netseal(['seal', 'plain', '-o', 'sealed', ...KEY])).toMatchObject({ exitCode: EXIT_OK });
}

/** Fails unless the command failed with this code and one line, and left nothing. */
async function expectRefused(
  args: readonly string[],
  exitCode: number,
  message: RegExp,
  options: Partial<Parameters<typeof run>[1]> = {},
): Promise<void> {
  const before = readdirSync(folder);
  const refused = await netseal(args, options);
  expect([refused.exitCode, refused.stderr.split('\n').length - 1]).toEqual([exitCode, 1]);
  expect(refused.stderr).toMatch(/^netseal: /);
  expect(refused.stderr).toMatch(message);
  expect(readdirSync(folder)).toEqual(before);
}

describe('round trips', () => {
  it('by file', async () => {
    await sealPlain();
    expect(bytesOf('sealed').includes(PLAIN.subarray(0, 100))).toBe(false);
    expect(await netseal(['open', 'sealed', '-o', 'opened', ...KEY])).toMatchObject({
      exitCode: 0,
      stderr: '',
    });
    expect(bytesOf('opened').equals(PLAIN)).toBe(true);
  });

  it('by pipe, with every option, the passphrase in the environment or a file', async () => {
    const settings = '--unit-size 64KiB --padding none --codec deflate:1 --cipher xchacha20-poly1305';
    await writeFile(join(folder, 'passphrase'), `${PASSPHRASE}\r\nnot this\n`);
    const line = `cat plain | netseal seal ${settings} | NETSEAL_PASSPHRASE= netseal open - -o - --passphrase-file passphrase`;
    const { stdout, stderr, exitCode } = await shell(line, {
      cwd: folder,
      env: { NETSEAL_PASSPHRASE: PASSPHRASE },
    });
    expect([stderr, exitCode]).toEqual(['', 0]);
    expect(stdout.equals(PLAIN)).toBe(true);
  });

  it('a reader that has seen enough is no error', async () => {
    await sealPlain();
    const line = `netseal open sealed --key-file key | head -c 10; echo " \${PIPESTATUS[0]}"`;
    const { stdout, stderr } = await shell(line, { cwd: folder });
    expect(stdout.subarray(0, 10).equals(PLAIN.subarray(0, 10))).toBe(true);
    expect([stdout.subarray(10).toString(), stderr]).toEqual([' 0\n', '']);
  });
});

describe('refusals', () => {
  const refusals: [string[], number, RegExp][] = [
    [['bogus'], EXIT_USAGE, /unknown command 'bogus'; netseal has seal, open, .*; see "netseal help"/],
    [['seal', '--bogus'], EXIT_USAGE, /unknown option '--bogus'; see "netseal seal --help"/],
    [['ls'], EXIT_USAGE, /argument 'path'; usage: netseal ls .*<path.*; see "netseal ls --help"/],
    [
      ['key', 'delete', 's'],
      EXIT_USAGE,
      /'delete'; netseal key has list, add, remove; see "netseal key --help"/,
    ],
    [['seal', 'plain', 'key'], EXIT_USAGE, /too many arguments/],
    [['seal', '--unit-size', '5000', ...KEY], EXIT_USAGE, /power of two from 4 KiB to 16 MiB/],
    [['seal', '--unit-size', 'big', ...KEY], EXIT_USAGE, /--unit-size: cannot read "big".*256KiB/],
    [['seal', '--padding', '3', ...KEY], EXIT_USAGE, /power of two/],
    [['seal', '--codec', 'lzma', ...KEY], EXIT_USAGE, /stored, zstd:1 to zstd:19/],
    [['seal', '--cipher', 'rot13', ...KEY], EXIT_USAGE, /xaes-256-gcm or xchacha20-poly1305/],
    [['seal', 'plain', '-o', 'x', ...KEY, '--passphrase-file', 'key'], EXIT_USAGE, /not both/],
    [['seal', 'plain', '-o', 'x'], EXIT_USAGE, /--passphrase-file, --key-file, .* or NETSEAL_PASSPHRASE/],
    [['seal', 'plain', '-o', 'x', '--passphrase-file', 'latin1'], EXIT_USAGE, /not UTF-8/],
    [['seal', 'plain', '-o', 'x', '--passphrase-file', '/dev/null'], EXIT_USAGE, /first line is empty/],
    [['seal', 'plain', '-o', 'x', '--key-file', 'latin1'], EXIT_USAGE, /32 bytes/],
    [['seal', 'missing', '-o', 'x', ...KEY], EXIT_IO, /missing: no such file/],
    [['seal', 'plain', '-o', 'x', '--key-file', 'missing'], EXIT_IO, /missing: no such file/],
    [['seal', '.', '-o', 'x', ...KEY], EXIT_IO, /\. is a folder/],
    [
      ['seal', 'plain', '-o', 'no/x', ...KEY],
      EXIT_IO,
      /cannot create no\/x: the folder no does not exist \(EIO\)/,
    ],
    [['seal', 'plain', '-o', 'plain', ...KEY], EXIT_EXISTS, /--force to replace it/],
    [['seal', 'plain', '-o', '.', '-f', ...KEY], EXIT_EXISTS, /is a folder: name a file/],
    [['seal', 'plain', '-o', '/dev/null', '-f', ...KEY], EXIT_EXISTS, /not an ordinary file/],
    [['open', 'plain', '-o', 'x', ...KEY], EXIT_DAMAGED, /\(EFORMAT\)/],
    [['open', '/dev/null', '-o', 'x', ...KEY], EXIT_DAMAGED, /\(ETRUNCATED\)/],
  ];

  it.runIf(IS_LONG)('one line each, its exit code, and nothing left', async () => {
    await writeFile(join(folder, 'latin1'), Buffer.from('motörhead', 'latin1'));
    for (let at = 0; at < refusals.length; at += 4) {
      const results = await Promise.all(refusals.slice(at, at + 4).map(([args]) => netseal(args)));
      for (const [i, { exitCode, stderr }] of results.entries()) {
        const [args, expectedCode, message] = refusals[at + i]!;
        expect([args, exitCode]).toEqual([args, expectedCode]);
        expect(stderr).toMatch(/^netseal: [^\n]*\n$/);
        expect(stderr).toMatch(message);
      }
    }
    expect(readdirSync(folder)).toEqual(['key', 'latin1', 'plain']);
    expect(bytesOf('plain').equals(PLAIN)).toBe(true);
    expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true);
  });

  it('a device that is full, on standard output', async () => {
    const line =
      'netseal seal plain --key-file key > /dev/full; echo $?; netseal --help > /dev/full; echo $?';
    const { stdout, stderr } = await shell(line, { cwd: folder });
    expect(stdout.toString()).toBe(`${EXIT_IO}\n${EXIT_IO}\n`);
    expect(stderr).toBe('netseal: standard output: no space left on device (ENOSPC)\n'.repeat(2));
  });

  it('another key: 4; damage anywhere: 3; no output either way', async () => {
    await sealPlain();
    await writeFile(join(folder, 'other'), mixedBytes(32, 10));
    await expectRefused(['open', 'sealed', '-o', 'x', '--key-file', 'other'], EXIT_KEY, /\(EKEY\)/);
    const sealed = bytesOf('sealed');
    for (const at of [sealed.byteLength - 1, sealed.byteLength >> 1]) {
      const damaged = Buffer.from(sealed);
      damaged[at]! ^= 1;
      await writeFile(join(folder, 'damaged'), damaged);
      await expectRefused(['open', 'damaged', '-o', 'x', ...KEY], EXIT_DAMAGED, /\(EAUTH\)/);
    }
    await writeFile(join(folder, 'damaged'), sealed.subarray(0, -1));
    await expectRefused(['open', 'damaged', '-o', 'x', ...KEY], EXIT_DAMAGED, /\(ETRUNCATED\)/);
  });
});

describe('--force', () => {
  it('replaces a file, also the one that is read, and what a link leads to', async () => {
    await symlink('plain', join(folder, 'link'));
    const sealed = await netseal(['seal', 'plain', '-f', '-o', 'link', ...KEY]);
    expect([sealed.exitCode, sealed.stderr]).toEqual([0, '']);
    expect((await lstat(join(folder, 'link'))).isSymbolicLink()).toBe(true);
    const { stdout } = await netseal(['open', 'plain', ...KEY]);
    expect(stdout.equals(PLAIN)).toBe(true);
    expect((await readdir(folder)).sort()).toEqual(['key', 'link', 'plain']);
  });
});

it('help and version', async () => {
  const cases: [string[], number, 'stdout' | 'stderr', RegExp][] = [
    [[], EXIT_USAGE, 'stderr', /Commands:\n/],
    [['--help'], EXIT_OK, 'stdout', /\n {2}seal .*\n {2}open .*\n {2}init .*\n {2}key .*\n {2}bench /s],
    [['help', 'seal'], EXIT_OK, 'stdout', /--unit-size/],
    [['open', '--help'], EXIT_OK, 'stdout', /--passphrase-file/],
    [['--version'], EXIT_OK, 'stdout', /^\d+\.\d+\.\d+\n$/],
  ];
  await Promise.all(
    cases.map(async ([args, exitCode, where, text]) => {
      const result = await netseal(args);
      expect([args, result.exitCode]).toEqual([args, exitCode]);
      expect(String(result[where])).toMatch(text);
      expect(String(result[where === 'stdout' ? 'stderr' : 'stdout'])).toBe('');
    }),
  );
});

it('no process shows the passphrase', async () => {
  await writeFile(join(folder, 'passphrase'), PASSPHRASE);
  const child = launch(['seal', '-o', 'sealed', '--passphrase-file', 'passphrase'], { cwd: folder });
  const finished = finish(child);
  // The first bytes come after the secret has been read.
  await until(() =>
    readdirSync(folder).some(name => name.endsWith('.partial') && bytesOf(name).byteLength > 0),
  );
  const task = `/proc/${child.pid}`;
  const children = readdirSync(`${task}/task`).flatMap(thread =>
    readFileSync(`${task}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
  );
  expect(children).toEqual([]);
  for (const file of ['cmdline', 'environ']) {
    expect(readFileSync(`${task}/${file}`).includes(PASSPHRASE)).toBe(false);
  }
  child.stdin.end(PLAIN);
  expect((await finished).exitCode).toBe(0);
});

it.runIf(CAN_MOUNT)('a full disk: one line, exit code 6, nothing left', async () => {
  const mount = join(folder, 'disk');
  mkdirSync(mount);
  // A mount of its own in a namespace of its own, which goes away with the shell.
  const line = `mount -t tmpfs -o size=64k none disk && netseal seal plain -o disk/sealed --key-file key; echo $? $(ls disk)`;
  const { stdout, stderr } = await shell(`${unshared(line)}`, { cwd: folder });
  expect(stderr).toBe('netseal: disk/sealed: no space left on device (ENOSPC)\n');
  expect(stdout.toString()).toBe(`${EXIT_IO}\n`);
});

function unshared(line: string): string {
  const script = `netseal() { "${process.execPath}" "${SCRIPT}" "$@"; }; ${line}`;
  return `unshare --mount --map-root-user bash -c '${script}'`;
}

describe.runIf(HAS_PYTHON)('on a terminal', () => {
  function type(answers: readonly string[], args: readonly string[]): Promise<Finished> {
    return onTerminal(answers, args, { cwd: folder });
  }

  it.runIf(IS_LONG)('a passphrase is asked for, twice when sealing, and never shown', async () => {
    const typed = `${PASSPHRASE}\r`;
    const sealed = await type([typed, typed], ['seal', 'plain', '-o', 'sealed']);
    expect([sealed.exitCode, sealed.stdout.toString().includes('horse')]).toEqual([0, false]);
    const opened = await type([typed], ['open', 'sealed', '-o', 'opened']);
    expect([opened.exitCode, opened.stdout.toString().includes('horse')]).toEqual([0, false]);
    expect(bytesOf('opened').equals(PLAIN)).toBe(true);
    const wrong = await type(['wrong\r'], ['open', 'sealed', '-o', 'x']);
    expect(wrong.exitCode).toBe(EXIT_KEY);
  });

  it('two that differ', async () => {
    const { exitCode, stdout } = await type(['one\r', 'two\r'], ['seal', 'plain', '-o', 'x']);
    expect([exitCode, stdout.toString()]).toEqual([
      EXIT_USAGE,
      expect.stringContaining('passphrases differ'),
    ]);
    expect(readdirSync(folder)).toEqual(['key', 'plain']);
  });

  it.each([
    ['Ctrl-C', '\u0003'],
    ['Ctrl-D', '\u0004'],
    ['Ctrl-C after some typing', 'horse\u0003'],
  ])('%s at the prompt', async (_, typed) => {
    const { exitCode, stdout } = await type([typed], ['seal', 'plain', '-o', 'x']);
    expect(exitCode).toBe(EXIT_INTERRUPTED);
    expect(stdout.toString()).toMatch(/Passphrase: .*netseal: interrupted\r\n$/s);
    expect(stdout.includes('horse')).toBe(false);
    expect(readdirSync(folder)).toEqual(['key', 'plain']);
  });

  it('sealed bytes are not written to it', async () => {
    const { exitCode, stdout } = await type([], ['seal', 'plain', ...KEY]);
    expect([exitCode, stdout.toString()]).toEqual([EXIT_USAGE, expect.stringContaining('use -o FILE')]);
  });
});

describe('started by an old Node', () => {
  // The script decides by this alone; what it starts is not told.
  const asOld = 'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.20.2"})';
  const nodeArgs = ['--import', asOld];
  const asked = { nodeArgs, script: CHECKOUT_SCRIPT };

  it.runIf(IS_LONG)('hands over to the Node of the checkout, with exit code, input and signals', async () => {
    expect(String((await netseal(['--version'], asked)).stdout)).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await netseal(['bogus'], asked)).exitCode).toBe(EXIT_USAGE);
    const child = launch(['seal', '-o', 'sealed', ...KEY], { cwd: folder, ...asked });
    const finished = finish(child);
    await until(() => readdirSync(folder).some(name => name.endsWith('.partial')));
    child.kill('SIGTERM');
    expect(exitOf(await finished)).toBe(EXIT_INTERRUPTED);
  });

  it('says which Node it needs when it has none', async () => {
    mkdirSync(join(folder, 'bin'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    copyFileSync(SCRIPT, join(folder, 'bin/netseal.js'));
    const script = join(folder, 'bin/netseal.js');
    await expectRefused(['--version'], EXIT_UNSUPPORTED, /needs Node 22\.18 or later/, { nodeArgs, script });
  });
});
