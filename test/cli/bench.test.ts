/** `netseal bench` in this process, with its output caught. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BenchIo, benchCommand } from '../../src/cli/bench.ts';
import { describePace, startProgress } from '../../src/cli/lib/progress.ts';

let folder = '';
let file = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-cli-bench-'));
  file = join(folder, 'notes.txt');
  await writeFile(file, 'all work and no play, '.repeat(1500));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

afterEach(() => {
  process.exitCode = undefined;
});

interface Output {
  readonly out: string;
  readonly err: string;
}

async function run(args: readonly string[], env: BenchIo['env'] = {}, isTTY = false): Promise<Output> {
  const out: string[] = [];
  const err: string[] = [];
  const stderr = { isTTY: false, write: (text: string) => err.push(text) };
  const io: BenchIo = {
    stdout: { isTTY, write: text => out.push(text) },
    stderr: stderr as unknown as NodeJS.WriteStream,
    env,
  };
  const quick = [
    '--unit-sizes',
    '4KiB,16KiB',
    '--codecs',
    'stored,zstd:1',
    '--workers',
    '0',
    '--time',
    '1ms',
  ];
  await benchCommand(io)
    .exitOverride()
    .parseAsync([...quick, ...args], { from: 'user' });
  return { out: out.join(''), err: err.join('') };
}

describe('output', () => {
  it('a table and a recommendation; nothing on standard error', async () => {
    const { out, err } = await run([file, '--workload', 'random']);
    expect(out).toContain('For a random workload:');
    expect(err).toBe('');
  });

  it('--json is one document and nothing else', async () => {
    const { out } = await run([file, '--json', '--link', '100Mbit/s,5ms']);
    expect(JSON.parse(out)).toMatchObject({
      format: 'netseal-bench',
      link: { bytesPerSecond: 12_500_000, roundTripMs: 5 },
    });
  });

  it('colours on a terminal only, and not under NO_COLOR', async () => {
    expect((await run([file], {}, true)).out).toContain('\u001b[1m');
    expect((await run([file], { NO_COLOR: '1' }, true)).out).not.toContain('\u001b');
    expect((await run([file], { NO_COLOR: '' }, true)).out).toContain('\u001b[1m');
    expect((await run([file], {}, false)).out).not.toContain('\u001b');
  });

  it('--html writes a page once, and again with --force only', async () => {
    const page = join(folder, 'out.html');
    expect((await run([file, '--html', page])).err).toBe(`wrote ${page}\n`);
    expect(await readFile(page, 'utf8')).toMatch(/^<!doctype html>/);
    await expect(run([file, '--html', page])).rejects.toMatchObject({ code: 'EEXIST' });
    await run([file, '--html', page, '--force', '--json']);
  });
});

describe('wrong arguments are refused before anything is measured', () => {
  it.each([
    [['--unit-sizes', '5KiB'], 'power of two from 4 KiB to 16 MiB'],
    [['--unit-sizes', 'large'], '--unit-sizes'],
    [['--unit-sizes', ''], '--unit-sizes'],
    [['--paddings', '128KiB'], 'power of two from 2 bytes to 64 KiB'],
    [['--paddings', '64KiB'], 'it is more than the unit'],
    [['--codecs', 'lz4'], 'zstd:1 to zstd:19'],
    [['--codecs', 'zstd:20'], 'levels 1 to 19'],
    [['--ciphers', 'rot13'], 'xaes-256-gcm, xchacha20-poly1305'],
    [['--providers', 'fast'], 'auto, native, portable'],
    [['--workers', '-1'], 'from 0 to 256'],
    [['--workers', 'many'], 'from 0 to 256'],
    [['--link', '1Gbit'], '1Gbit/s,20ms'],
    [['--link', '0Gbit/s,20ms'], 'above 0'],
    [['--workload', 'odd'], 'sequential, random, mixed'],
    [['--sample', '1KiB'], 'at least 4KiB'],
    [['--time', '0'], 'from 1ms to 10min'],
    [['--html', '/no/such/folder/out.html'], 'no such folder'],
    [['/no/such/file'], 'no such file or folder: /no/such/file'],
  ])('%j', async (args, message) => {
    const error = { code: 'EINVAL', message: expect.stringContaining(message) };
    await expect(run(args)).rejects.toMatchObject(error);
  });
});

describe('Ctrl-C', () => {
  it('before anything was measured: rejects as aborted, and listens no longer', async () => {
    const listenersBefore = process.listenerCount('SIGINT');
    const running = run([]);
    while (process.listenerCount('SIGINT') === listenersBefore) await new Promise(setImmediate);
    process.emit('SIGINT', 'SIGINT');
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expect(process.listenerCount('SIGINT')).toBe(listenersBefore);
  });
});

describe('progress', () => {
  it('is silent where nobody watches', () => {
    const written: string[] = [];
    const stream = { isTTY: false, write: (text: string) => written.push(text) };
    const progress = startProgress({
      label: 'x',
      noun: 'file',
      stream: stream as unknown as NodeJS.WriteStream,
    });
    progress.update(1, 2);
    progress.stop();
    expect(written).toEqual([]);
  });

  it('says pace and remaining time', () => {
    expect(describePace('file', 0, 40, 10_000)).toBe('0 of 40 files');
    expect(describePace('file', 10, 40, 100)).toBe('10 of 40 files');
    expect(describePace('file', 10, 40, 5000)).toBe('10 of 40 files, 2.0/s, 15 s left');
    expect(describePace('bytes', 100e6, 400e6, 1000)).toBe('100 MB/s, 3 s left');
    expect(describePace('bytes', 400e6, 400e6, 1000)).toBe('400 MB/s, 0 ms left');
  });
});
