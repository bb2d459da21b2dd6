/** `--json`: one document on standard output or none, and JSON lines on standard error. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { NetsealError } from '../../src/base/errors.ts';
import { EXIT_DAMAGED, EXIT_IO, EXIT_NOT_FOUND, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { reportCopy } from '../../src/cli/volume/copy-report.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { run } from './run.ts';
import { env, fill, folder, KEY, makeDocs, netseal, useVolume } from './volume-support.ts';

/** The lines of standard error, each of which must be JSON. */
function linesOf({ stderr }: { readonly stderr: string }): unknown[] {
  return stderr
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line));
}

const documentOf = ({ stdout }: { readonly stdout: Buffer }): Record<string, unknown> =>
  JSON.parse(String(stdout));

describe('a document', () => {
  useVolume();

  it('has the notes in it that are lines on standard error', async () => {
    const made = await netseal(['init', 'other', '--json']);
    const notes = [{ message: expect.stringMatching(/^keep the secret safe/) }];
    expect(documentOf(made).notes).toEqual(notes);
    expect(linesOf(made)).toEqual(notes.map(note => ({ note })));
    const clock = 'data:text/javascript,const now=Date.now;Date.now=()=>now()+9e6';
    const dry = await run(['gc', 'vol', '--dry-run', '--json', ...KEY], {
      cwd: folder,
      env: env(),
      nodeArgs: ['--import', clock],
    });
    const note = { message: expect.stringMatching(/^this machine's clock is 3 h ahead of the store's/) };
    expect([documentOf(dry).notes, linesOf(dry)]).toEqual([[note], [{ note }]]);
    const refused = await run(['gc', 'vol', '--json', ...KEY], {
      cwd: folder,
      env: env(),
      nodeArgs: ['--import', clock],
    });
    expect([refused.exitCode, String(refused.stdout), linesOf(refused)]).toEqual([
      EXIT_IO,
      '',
      [{ error: { code: 'EUNAVAILABLE', message: expect.stringMatching(/clock/), exitCode: EXIT_IO } }],
    ]);
  });

  it('has an empty list of notes where there is nothing to note', async () => {
    await fill(makeDocs);
    const commands = [
      ['mkdir', 'vol:/new'],
      ['ln', '-s', 'x', 'vol:/link'],
      ['mv', 'vol:/link', 'vol:/moved'],
      ['put', 'key', 'vol:/key'],
      ['rm', 'vol:/moved'],
      ['verify', 'vol'],
      ['key', 'list', 'vol'],
    ];
    for (const args of commands) {
      const ended = await netseal([...args, '--json']);
      expect([args, ended.exitCode, documentOf(ended).notes, ended.stderr]).toEqual([args, EXIT_OK, [], '']);
    }
  });

  it('is left out when a command ends before it has done anything', async () => {
    await writeFile(join(folder, 'file'), 'x');
    const cases: [string[], number, string][] = [
      [['put', 'missing', 'vol:/'], EXIT_IO, 'ENOENT'],
      [['put', 'file', 'vol:/no/such'], EXIT_NOT_FOUND, 'ENOENT'],
      [['put', '-r', 'file', 'nowhere:/'], EXIT_NOT_FOUND, 'ENOENT'],
      [['get', 'vol:/missing', 'out'], EXIT_NOT_FOUND, 'ENOENT'],
      [['get', 'vol:/', 'out'], EXIT_USAGE, 'EINVAL'],
      [['stat', 'vol:/'], EXIT_OK, ''],
    ];
    for (const [args, exitCode, code] of cases) {
      const ended = await netseal([...args, '--json']);
      expect([args, ended.exitCode]).toEqual([args, exitCode]);
      if (exitCode === EXIT_OK) continue;
      const error = { code, message: expect.any(String), exitCode };
      expect([String(ended.stdout), linesOf(ended)]).toEqual(['', [{ error }]]);
    }
  });
});

describe('the document of a copy', () => {
  const exitCode = process.exitCode;

  afterEach(() => {
    vi.restoreAllMocks();
    process.exitCode = exitCode;
  });

  /** What a copy prints that ends with this error. */
  function printed(tally: Tally, error: unknown): string {
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    reportCopy(tally, [], { did: 'put', error, elapsedMs: 1, missing: [] }, { json: true });
    return write.mock.calls.map(([text]) => String(text)).join('');
  }

  it('says what was done before an error, and which', () => {
    const tally = new Tally();
    tally.counts.files = 3;
    const error = new NetsealError('EFULL', 'no room');
    expect(JSON.parse(printed(tally, error))).toMatchObject({
      files: 3,
      error: { code: 'EFULL', message: 'no room', exitCode: EXIT_IO },
      failures: [],
      notes: [],
    });
  });

  it('is nothing when nothing was done, and has no error when there was none', () => {
    expect(printed(new Tally(), new NetsealError('EFULL', 'no room'))).toBe('');
    vi.restoreAllMocks();
    const done = JSON.parse(printed(new Tally(), undefined));
    expect(done).toMatchObject({ files: 0, failures: [], notes: [] });
    expect(done).not.toHaveProperty('error');
  });

  it('lists failures, whose codes are the exit code', () => {
    const tally = new Tally();
    tally.fail('a', new NetsealError('EAUTH', 'damaged'));
    tally.note('b', 'left out');
    expect(JSON.parse(printed(tally, undefined))).toMatchObject({
      failures: [{ path: 'a', code: 'EAUTH', message: 'damaged' }],
      notes: [{ path: 'b', code: 'EUNSUPPORTED', message: 'left out' }],
    });
    expect(process.exitCode).toBe(EXIT_DAMAGED);
  });
});
