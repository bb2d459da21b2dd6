/** `netseal rekey` in processes of its own: who gets in afterwards, and what clients remember. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EXIT_KEY, EXIT_OK, EXIT_USAGE } from '../../src/cli/lib/exit-codes.ts';
import { openStoreAt } from '../../src/cli/volume/location.ts';
import type { ObjectStore } from '../../src/server/store.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run } from './run.ts';

let folder = '';

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'netseal-rekey-'));
  for (const [index, name] of ['key', 'key2', 'key3'].entries()) {
    await writeFile(join(folder, name), mixedBytes(32, index + 1));
  }
  await writeFile(join(folder, 'file'), mixedBytes(300_000, 4));
  await succeed(['init', 'vol', '--key-file', 'key', '--label', 'first']);
  for (const name of ['key2', 'key3']) {
    await succeed(['key', 'add', 'vol', '--key-file', 'key', '--new-key-file', name, '--label', name]);
  }
  await succeed(['put', '--key-file', 'key', 'file', 'vol:/file']);
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

function netseal(args: readonly string[], state = 'state'): Promise<Finished> {
  return run(args, { cwd: folder, env: { NETSEAL_STATE: join(folder, state) } });
}

async function succeed(args: readonly string[], state?: string): Promise<string> {
  const { exitCode, stdout, stderr } = await netseal(args, state);
  expect([args, exitCode, exitCode === EXIT_OK ? '' : stderr]).toEqual([args, EXIT_OK, '']);
  return String(stdout);
}

async function exitOf(args: readonly string[], state?: string): Promise<number | null> {
  return (await netseal(args, state)).exitCode;
}

async function withHeader<Result>(work: (store: ObjectStore) => Promise<Result>): Promise<Result> {
  const store = await openStoreAt(join(folder, 'vol'));
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

describe('netseal rekey', () => {
  it('keeps the slots whose secrets are given, and no old key', async () => {
    // Another client, which has seen only the old header.
    await succeed(['ls', '--key-file', 'key2', 'vol'], 'other state');
    const oldHeader = await withHeader(async store => (await store.get('volume')).bytes);
    expect(await exitOf(['rekey', 'vol', '--key-file', 'key'])).toBe(EXIT_USAGE);
    const done = JSON.parse(
      await succeed(['rekey', 'vol', '--key-file', 'key', '--keep-key-file', 'key2', '--yes', '--json']),
    );
    expect(done).toMatchObject({ epoch: 2, dropped: [1], epochs: [2] });
    expect(done.slots.map(({ label }: { label: string }) => label)).toEqual(['first', 'key2']);
    expect(done.removed.map(({ label }: { label: string }) => label)).toEqual(['key3']);
    expect(done.left).toEqual({ segments: 0, inodes: 0, heads: 0, lists: 0 });
    expect(done.movedBytes).toBeGreaterThan(1000);

    expect(await exitOf(['ls', '--key-file', 'key3', 'vol'], 'third state')).toBe(EXIT_KEY);
    expect(await succeed(['ls', '--key-file', 'key2', 'vol'], 'other state')).toBe('file\n');
    await succeed(['get', '--key-file', 'key', 'vol:/file', 'back']);
    await succeed(['verify', '--deep', '--key-file', 'key', 'vol']);
    // The old header with an old secret opens nothing that is there now.
    await withHeader(async store => store.put('volume', [oldHeader]));
    expect(await exitOf(['ls', '--key-file', 'key3', 'vol'], 'third state')).toBe(EXIT_KEY);
  });

  it('goes on with --resume, without another key', async () => {
    await succeed(['rekey', 'vol', '--key-file', 'key', '--yes', '--no-reseal']);
    expect(JSON.parse(await succeed(['key', 'list', 'vol', '--key-file', 'key', '--json'])).epoch).toBe(2);
    await succeed(['get', '--key-file', 'key', 'vol:/file', 'back']);
    expect(await exitOf(['rekey', 'vol', '--resume', '--no-reseal', '--key-file', 'key'])).toBe(EXIT_USAGE);
    const text = await succeed(['rekey', 'vol', '--key-file', 'key', '--resume']);
    expect(text).toMatch(/^sealed anew: .*\ndropped the keys of epoch 1\n$/);
    const again = JSON.parse(await succeed(['rekey', 'vol', '--key-file', 'key', '--resume', '--json']));
    expect(again).toMatchObject({ movedBytes: 0, dropped: [], epochs: [2] });
  });

  it('changes nothing when a secret to keep opens no slot', async () => {
    await writeFile(join(folder, 'phrase'), 'not one of them\n');
    const args = ['rekey', 'vol', '--key-file', 'key', '--keep-passphrase-file', 'phrase', '--yes'];
    expect(await exitOf(args)).toBe(EXIT_KEY);
    expect(JSON.parse(await succeed(['key', 'list', 'vol', '--key-file', 'key', '--json'])).epoch).toBe(1);
  });
});
