/** `netseal key` in processes of its own: the ways into a volume, and what a client remembers of them. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_DAMAGED, EXIT_KEY, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { openStoreAt } from '../../src/cli/volume/location.ts';
import { changeHeaderObject } from '../../src/volume/header-object.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { IS_LONG } from '../support/soak.ts';
import { type Finished, HAS_PYTHON, onTerminal, run } from './run.ts';

const KEY = ['--key-file', 'key'];

interface Slot {
  readonly id: string;
  readonly type: string;
  readonly label: string;
  readonly opened: boolean;
}

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-key-'));
  for (const [index, name] of ['key', 'key2', 'key3', 'key4'].entries()) {
    await writeFile(join(folder, name), mixedBytes(32, index + 1));
  }
  expect((await netseal(['init', 'vol', ...KEY, '--label', 'first'])).exitCode).toBe(EXIT_OK);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function netseal(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return run(args, { cwd: folder, env: { NETSEAL_STATE: join(folder, 'state'), ...env } });
}

async function succeed(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { exitCode, stdout, stderr } = await netseal(args, env);
  expect([exitCode, stderr.replace(/.*this is not revocation.*\n/, '')]).toEqual([EXIT_OK, '']);
  return String(stdout);
}

async function fail(
  args: readonly string[],
  code: number,
  message: RegExp,
  env?: NodeJS.ProcessEnv,
): Promise<void> {
  const { exitCode, stdout, stderr } = await netseal(args, env);
  expect([args, exitCode, String(stdout)]).toEqual([args, code, '']);
  expect(stderr).toMatch(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
}

async function slots(secret: readonly string[] = KEY): Promise<Slot[]> {
  return JSON.parse(await succeed(['key', 'list', 'vol', ...secret, '--json'])).slots;
}

/** Adds slots until there is no more room; their ids. */
async function fillUp(): Promise<string[]> {
  const store = await openStoreAt(join(folder, 'vol'));
  const secret = { type: 'key-file', contents: mixedBytes(32, 1) } as const;
  let generation = 1;
  while (generation < 16) {
    const header = await changeHeaderObject(store, secret, undefined, each =>
      each.addSlot({ label: 'key-file', secret: { type: 'key-file', contents: mixedBytes(32, 2) } }),
    );
    generation = header.generation;
    header.keyring.destroy();
  }
  await store.close();
  return (await slots()).map(({ id }) => id);
}

describe('netseal key list', () => {
  it('says what opens the volume, and what did', async () => {
    await writeFile(join(folder, 'passphrase'), 'correct horse\n');
    await succeed(['key', 'add', 'vol', ...KEY, '--new-passphrase-file', 'passphrase', '--label', 'phrase']);
    const listed = JSON.parse(
      await succeed(['key', 'list', 'vol', '--json'], { NETSEAL_PASSPHRASE: 'correct horse' }),
    );
    const id = expect.stringMatching(/^[0-9a-f]{32}$/);
    const createdAt = expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    expect(listed).toEqual({
      volumeId: id,
      generation: 2,
      epoch: 1,
      slots: [
        { id, type: 'key-file', label: 'first', createdAt, opened: false },
        {
          ...{ id, type: 'passphrase', label: 'phrase', createdAt, opened: true },
          argon2: { memoryKiB: 65_536, passes: 3, lanes: 4 },
        },
      ],
      notes: [],
    });
    const lines = (await succeed(['key', 'list', 'vol', ...KEY])).trimEnd().split('\n');
    expect(lines).toEqual([
      expect.stringMatching(/^ +slot +type +created \(UTC\) +argon2id +label$/),
      expect.stringMatching(/^\* +[0-9a-f]{32} +key-file +\d{4}-\d\d-\d\d \d\d:\d\d +- +first$/),
      expect.stringMatching(/^ +[0-9a-f]{32} +passphrase +[-\d: ]{16} +64 MiB, 3 passes, 4 lanes +phrase$/),
    ]);
    await fail(['key', 'list', 'vol'], EXIT_KEY, /\(EKEY\)/, { NETSEAL_PASSPHRASE: 'wrong horse' });
  });

  it('fails without a volume before it asks for a secret', async () => {
    await mkdir(join(folder, 'empty'));
    for (const store of ['missing', 'empty', 'key']) {
      await fail(
        ['key', 'list', store],
        EXIT_NOT_FOUND,
        /^netseal: no volume in .*netseal init.*\(ENOENT\)\n$/,
      );
    }
    await rm(join(folder, 'vol', 'objects', 'volume'));
    await fail(['key', 'list', 'vol'], EXIT_NOT_FOUND, /no volume in vol; make one with "netseal init"/);
    await writeFile(join(folder, 'vol', 'objects', 'volume'), 'x');
    await fail(['key', 'list', 'vol', ...KEY], EXIT_DAMAGED, /\(EFORMAT\)/);
  });

  it('needs a command and a store', async () => {
    expect((await netseal(['key'])).exitCode).toBe(EXIT_USAGE);
    await fail(['key', 'bogus'], EXIT_USAGE, /unknown command 'bogus'/);
    await fail(['key', 'list'], EXIT_USAGE, /missing required argument 'store'/);
    await fail(['key', 'list', 'vol', ...KEY, '--passphrase-file', 'key'], EXIT_USAGE, /not both/);
  });
});

describe('netseal key add', () => {
  it('adds a way in, and leaves the others', async () => {
    const added = JSON.parse(
      await succeed(['key', 'add', 'vol', ...KEY, '--new-key-file', 'key2', '--label', 'second', '--json']),
    );
    expect(added).toEqual({
      added: { id: expect.any(String), type: 'key-file', label: 'second' },
      generation: 2,
      notes: [],
    });
    const through = await slots(['--key-file', 'key2']);
    expect(through.map(({ label, opened }) => [label, opened])).toEqual([
      ['first', false],
      ['second', true],
    ]);
    expect(through[1]?.id).toBe(added.added.id);
    expect(await slots()).toHaveLength(2);
    expect(await succeed(['key', 'add', 'vol', '--key-file', 'key2', '--new-key-file', 'key3'])).toMatch(
      /^added slot [0-9a-f]{32}, key-file, "key-file"; the volume has 3 now\n$/,
    );
  });

  it('works for processes that do it at once', async () => {
    await Promise.all(
      ['key2', 'key3', 'key4'].map(name =>
        succeed(['key', 'add', 'vol', ...KEY, '--new-key-file', name, '--label', name]),
      ),
    );
    expect((await slots()).map(({ label }) => label).sort()).toEqual(['first', 'key2', 'key3', 'key4']);
    for (const name of ['key2', 'key3', 'key4']) expect(await slots(['--key-file', name])).toHaveLength(4);
  });

  it('changes nothing when a secret will not do', async () => {
    await fail(['key', 'add', 'vol', '--key-file', 'key2', '--new-key-file', 'key3'], EXIT_KEY, /\(EKEY\)/);
    await writeFile(join(folder, 'short'), 'short');
    const cases: [string[], RegExp][] = [
      [['--new-key-file', 'short'], /32 bytes/],
      [
        ['--new-key-file', 'key2', '--new-passphrase-file', 'key3'],
        /--new-key-file or --new-passphrase-file, not both/,
      ],
      [['--new-passphrase-file', '/dev/null'], /first line is empty/],
      [['--new-key-file', 'key2', '--label', ''], /label/],
      // The environment's passphrase opens the volume; it is never the new one.
      [[], /no terminal to ask on; use --new-passphrase-file or --new-key-file/],
    ];
    for (const [args, message] of cases) {
      await fail(['key', 'add', 'vol', ...KEY, ...args], EXIT_USAGE, message, { NETSEAL_PASSPHRASE: 'x' });
    }
    expect(await slots()).toHaveLength(1);
  });

  it.runIf(IS_LONG && HAS_PYTHON)('asks for both passphrases on a terminal', async () => {
    const type = (answers: string[], ...args: string[]): Promise<Finished> =>
      onTerminal(answers, ['key', ...args], { cwd: folder, env: { NETSEAL_STATE: join(folder, 'state') } });
    const first = await type(['a new one\n', 'a new one\n'], 'add', 'vol', ...KEY, '--label', 'one');
    expect([first.exitCode, String(first.stdout)]).toEqual([0, expect.stringMatching(/New passphrase: /)]);
    const second = await type(['a new one\n', 'another\n', 'another\n'], 'add', 'vol', '--label', 'two');
    expect([second.exitCode, String(second.stdout)]).toEqual([
      0,
      expect.stringMatching(/Passphrase: .*New passphrase: .*The same again: .*added slot .*"two"/s),
    ]);
    expect(String(second.stdout)).not.toContain('another');
    const wrong = await type(['wrong\n'], 'add', 'vol');
    expect([wrong.exitCode, String(wrong.stdout)]).toEqual([EXIT_KEY, expect.not.stringMatching(/New pass/)]);
    expect(await slots()).toHaveLength(3);
  });
});

describe('netseal key remove', () => {
  it('takes a way away, and says what that is not', async () => {
    await succeed(['key', 'add', 'vol', ...KEY, '--new-key-file', 'key2', '--label', 'second']);
    const [, second] = await slots();
    const idStart = second?.id.slice(0, 12).toUpperCase() ?? '';
    const { exitCode, stdout, stderr } = await netseal(['key', 'remove', 'vol', idStart, ...KEY]);
    expect([exitCode, String(stdout)]).toEqual([
      EXIT_OK,
      `removed slot ${second?.id}, key-file, "second"; the volume has 1 now\n`,
    ]);
    expect(stderr).toMatch(
      /^netseal: this is not revocation\. Anyone who knows the secret of a removed slot/,
    );
    await fail(['key', 'list', 'vol', '--key-file', 'key2'], EXIT_KEY, /\(EKEY\)/);
    expect(await slots()).toHaveLength(1);
  });

  it('keeps the last, and what is not named exactly', async () => {
    const [only] = await slots();
    await fail(['key', 'remove', 'vol', only?.id ?? '', ...KEY], EXIT_USAGE, /last slot cannot be removed/);
    await fail(['key', 'remove', 'vol', 'first', ...KEY], EXIT_USAGE, /not a slot's id: "first"/);
    await fail(['key', 'remove', 'vol', '', ...KEY], EXIT_USAGE, /not a slot's id/);
    const absent = only?.id.startsWith('0') ? '1' : '0';
    await fail(['key', 'remove', 'vol', absent, ...KEY], EXIT_USAGE, /has no slot [01]/);
    const ids = await fillUp();
    // Of sixteen ids, two begin with the same digit, except once in a million runs.
    const shared = ids.map(id => id[0]).find((digit, index, all) => all.indexOf(digit) !== index);
    await fail(
      ['key', 'remove', 'vol', shared ?? expect.fail('all ids differ: run it again'), ...KEY],
      EXIT_USAGE,
      /slots begin with .: give more of the id/,
    );
    expect(await slots()).toHaveLength(16);
    await fail(['key', 'add', 'vol', ...KEY, '--new-key-file', 'key2'], EXIT_USAGE, /16 slots already/);
    expect(JSON.parse(await succeed(['key', 'remove', 'vol', ids[2] ?? '', ...KEY, '--json']))).toEqual({
      removed: { id: ids[2], type: 'key-file', label: 'key-file' },
      generation: 17,
      notes: [{ message: expect.stringMatching(/^this is not revocation\. /) }],
    });
  });
});

describe('a store that was put back', () => {
  it('is refused by who has seen more, and by nobody else', async () => {
    await cp(join(folder, 'vol'), join(folder, 'copy'), { recursive: true });
    await succeed(['key', 'add', 'vol', ...KEY, '--new-key-file', 'key2']);
    await cp(join(folder, 'copy', 'objects'), join(folder, 'vol', 'objects'), {
      recursive: true,
      force: true,
    });
    const before = await readFile(join(folder, 'vol', 'objects', 'volume'));
    const rollback =
      /generation 1 is older than 2, which was seen before; .*"netseal state forget --help" \(EROLLBACK\)/;
    await fail(['key', 'list', 'vol', ...KEY], EXIT_DAMAGED, rollback);
    await fail(['key', 'add', 'vol', ...KEY, '--new-key-file', 'key3'], EXIT_DAMAGED, rollback);
    expect((await readFile(join(folder, 'vol', 'objects', 'volume'))).equals(before)).toBe(true);
    await succeed(['key', 'list', 'vol', ...KEY, '--state', 'fresh']);
    // Its pin is of this place; the copy is another.
    await succeed(['key', 'list', 'copy', ...KEY]);
    expect(await readdir(join(folder, 'state'))).toHaveLength(2);
  });
});
