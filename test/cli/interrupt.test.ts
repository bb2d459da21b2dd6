/** `netseal seal` and `netseal open`, stopped at every moment. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededChance } from '../../src/base/chance.ts';
import { EXIT_INTERRUPTED, EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import { mixedBytes, until } from '../pipeline/support.ts';
import { IS_LONG, SEED, soakSize } from '../support/soak.ts';
import { exitOf, finish, launch, run } from './run.ts';

const PLAIN = Buffer.from(mixedBytes(700_001, 1));
const KEY = ['--key-file', 'key'];
let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-interrupt-'));
  await writeFile(join(folder, 'plain'), PLAIN);
  await writeFile(join(folder, 'key'), mixedBytes(32, 9));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function bytesOf(name: string): Buffer {
  return readFileSync(join(folder, name));
}

const KILLS = soakSize(12, 120);

describe('interruption', () => {
  async function untilPartial(): Promise<void> {
    await until(() => readdirSync(folder).some(name => name.endsWith('.partial')));
  }

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s while standard input is silent', async signal => {
    const child = launch(['seal', '-o', 'sealed', ...KEY], { cwd: folder });
    const finished = finish(child);
    await untilPartial();
    child.kill(signal);
    const ended = await finished;
    expect([exitOf(ended), ended.stderr]).toEqual([EXIT_INTERRUPTED, 'netseal: interrupted\n']);
    expect(readdirSync(folder)).toEqual(['key', 'plain']);
  });

  it('in the middle of a long seal', async () => {
    const child = launch(['seal', '/dev/zero', '-o', 'sealed', ...KEY], { cwd: folder });
    const finished = finish(child);
    await until(() =>
      readdirSync(folder).some(name => name.endsWith('.partial') && bytesOf(name).byteLength > 20_000),
    );
    child.kill('SIGINT');
    const ended = await finished;
    expect([exitOf(ended), ended.stderr]).toEqual([EXIT_INTERRUPTED, 'netseal: interrupted\n']);
    expect(readdirSync(folder)).toEqual(['key', 'plain']);
  });

  it('while a named pipe has no writer', async () => {
    spawnSync('mkfifo', [join(folder, 'fifo')]);
    // From then on the signal means an interruption.
    const watch =
      'data:text/javascript,process.on("newListener",n=>n==="SIGTERM"%26%26process.stderr.write("ready\\n"))';
    const child = launch(['seal', 'fifo', '-o', 'sealed', ...KEY], {
      cwd: folder,
      nodeArgs: ['--import', watch],
    });
    const finished = finish(child);
    await once(child.stderr, 'data');
    child.kill('SIGTERM');
    const { exitCode, signal, stderr } = await finished;
    // Death by SIGINT is 130 to a shell.
    expect([exitCode, signal]).toEqual([null, 'SIGINT']);
    expect(stderr).toBe('ready\nnetseal: interrupted\n');
    expect(readdirSync(folder)).toEqual(['fifo', 'key', 'plain']);
  });

  it.runIf(IS_LONG)('kill -9 at any moment: the file is whole or not there', async () => {
    const chance = seededChance(SEED);
    const sealing = await run(['seal', 'plain', '-o', 'sealed', ...KEY], { cwd: folder });
    expect(sealing.exitCode).toBe(EXIT_OK);
    let absentCount = 0;
    for (let round = 0; round < KILLS; round += 4) {
      const names = [0, 1, 2, 3].map(at => `round${round + at}`);
      await Promise.all(
        names.map(async name => {
          const child = launch(['open', 'sealed', '-o', name, ...KEY], { cwd: folder });
          const finished = finish(child);
          const timer = setTimeout(() => child.kill('SIGKILL'), chance() * 1200);
          await finished;
          clearTimeout(timer);
          const isThere = readdirSync(folder).includes(name);
          if (isThere) expect(bytesOf(name).equals(PLAIN), `seed ${SEED}, ${name}`).toBe(true);
          absentCount += isThere ? 0 : 1;
        }),
      );
    }
    // Or the moments were never before the end.
    expect(absentCount).toBeGreaterThan(0);
  });
});
