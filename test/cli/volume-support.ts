/** What the tests of the commands for paths in a volume share. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { EXIT_OK } from '../../src/cli/lib/exit-codes.ts';
import { withVolume } from '../../src/cli/volume/opening.ts';
import type { Attributes } from '../../src/server/sealed/inode.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, run } from './run.ts';

export const KEY: readonly string[] = ['--key-file', 'key'];
export const MTIME_NS = 1_700_000_000_123_456_789n;
export const UNIT_BYTES = 4096;
/** Names that colour a terminal and end a line, and that are not UTF-8. */
export const HOSTILE = '\x1b[31mred\n';
export const NOT_UTF8: Buffer = Buffer.from([0xff, 0x5c, 0x78]);
export const CONTENT: Buffer = Buffer.from(mixedBytes(10 * UNIT_BYTES, 3));

/** The folder of the test: the volume `vol`, its key file `key`, and what this client remembers, `state`. */
export let folder = '';

/** Makes the folder and an empty volume before each test of a file, and removes them afterwards. */
export function useVolume(): void {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'netseal-volume-'));
    await writeFile(join(folder, 'key'), mixedBytes(32, 9));
    const { exitCode } = await netseal(['init', 'vol', '--unit-size', '4KiB', '--padding', 'none']);
    expect(exitCode).toBe(EXIT_OK);
  });

  afterEach(async () => {
    await rm(folder, { recursive: true });
  });
}

export function env(): NodeJS.ProcessEnv {
  return { NETSEAL_STATE: join(folder, 'state'), TZ: 'UTC' };
}

export function netseal(args: readonly string[], more: readonly string[] = KEY): Promise<Finished> {
  return run([...args, ...more], { cwd: folder, env: env() });
}

/** Runs a command that must succeed, and returns its output. */
export async function output(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await netseal(args);
  expect([exitCode, stderr]).toEqual([EXIT_OK, '']);
  return stdout.toString('latin1');
}

export type Row = Readonly<Record<string, unknown>> & { readonly path: string; readonly object: string };

export async function json(...args: string[]): Promise<Row[]> {
  return JSON.parse(Buffer.from(await output(...args, '--json'), 'latin1').toString()) as Row[];
}

/** Returns what `stat` says of one path. */
export async function statOf(path: string): Promise<Row> {
  const [row] = await json('stat', path);
  return row ?? expect.fail('no result');
}

/** Returns exit code and messages of a command. */
export async function failure(...args: string[]): Promise<[number | null, string[]]> {
  const { exitCode, stderr } = await netseal(args);
  return [exitCode, stderr.trimEnd().split('\n')];
}

/** Opens the volume in this process, to put things into it that no command makes. */
export async function fill(work: (volume: Volume) => Promise<void>): Promise<void> {
  const location = { storeText: join(folder, 'vol'), path: undefined };
  const options = { keyFile: join(folder, 'key'), state: join(folder, 'state'), workers: 0 };
  await withVolume(location, options, new AbortController().signal, ({ volume }) => work(volume));
}

export const FILE: Attributes = { mode: 0o640, uid: 1000, gid: 100, mtimeNs: MTIME_NS, xattrs: [] };

export async function makeFolder(volume: Volume, path: string): Promise<void> {
  const { directory, name } = await volume.place(path);
  const child = volume.names.newDirectory({ ...FILE, mode: 0o750 }, directory.id);
  await volume.names.insertDirectory(directory, name, child);
}

export async function makeFile(
  volume: Volume,
  path: string | Uint8Array,
  bytes: Uint8Array,
  at = 0,
): Promise<void> {
  const writer = await volume.createFile(path, FILE);
  await writer.write(bytes, at);
  await writer.close();
  const { parent, entry } = await volume.find(path);
  if (parent === undefined || entry === undefined) expect.fail('this is the root');
  await volume.names.setAttributes(parent, entry, { mtimeNs: MTIME_NS });
}

/** Makes /docs with a file, an empty folder, and files with hostile names. */
export async function makeDocs(volume: Volume): Promise<void> {
  await makeFolder(volume, '/docs');
  await makeFolder(volume, '/docs/sub');
  await makeFile(volume, '/docs/a.txt', CONTENT);
  await makeFile(volume, `/docs/${HOSTILE}`, Buffer.from('red'));
  await makeFile(volume, Buffer.concat([Buffer.from('/docs/'), NOT_UTF8]), Buffer.from('bad'));
}

/** Damages the large objects of the volume: the segments with the content of files. */
export async function damageObjects(): Promise<void> {
  const objects = join(folder, 'vol', 'objects');
  for (const entry of await readdir(objects, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const bytes = entry.isFile() ? await readFile(path) : Buffer.alloc(0);
    if (bytes.byteLength < CONTENT.byteLength / 4) continue;
    // The file's units come first in its segment: the fourth of them, about.
    bytes.fill(0x55, Math.floor(bytes.byteLength * 0.4), Math.floor(bytes.byteLength * 0.4) + 8);
    await writeFile(path, bytes);
  }
}
