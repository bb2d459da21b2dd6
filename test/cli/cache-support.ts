/** Caches for `netseal cache` to look at. */
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import { idOf, unitOf } from '../cache/support.ts';
import { mixedBytes } from '../pipeline/support.ts';
import { type Finished, onTerminal, run } from './run.ts';

export const VOLUME: Uint8Array = idOf(1);
export const OTHER_VOLUME: Uint8Array = idOf(2);
export const FILE: Uint8Array = idOf(100);
export const OTHER_FILE: Uint8Array = idOf(101);
/** A name that acts on a terminal: it may only be shown escaped. */
export const HOSTILE_NAME: Buffer = Buffer.from('photos/\x1b]0;x\x07\u202e\n\\.jpg');
export const UNIT_BYTES: number = unitOf(1).byteLength;

/** A new folder with the file `key`. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'netseal-cli-cache-'));
  await writeFile(join(folder, 'key'), mixedBytes(32, 1));
  return folder;
}

/** The same with a cache `c`: 110 units of one volume, 10 of another, one object with a hostile name. */
export async function newFolderWithCache(): Promise<string> {
  const folder = await newFolder();
  await inCache(
    folder,
    async open => {
      await put(open, VOLUME, FILE, 100);
      await put(open, VOLUME, OTHER_FILE, 10);
      await put(open, OTHER_VOLUME, FILE, 10);
      open.volume(VOLUME).setCookie(FILE, { key: HOSTILE_NAME, unitCount: 120 });
    },
    { budgetBytes: 16 * 1024 * 1024 },
  );
  return folder;
}

/** `netseal cache ...` on a terminal on which somebody types `answers`. */
export function cacheOnTerminal(
  folder: string,
  answers: readonly string[],
  ...args: string[]
): Promise<Finished> {
  return onTerminal(answers, ['cache', ...args, '--key-file', 'key'], { cwd: folder });
}

/** Flips a bit of the only zone of that kind in the cache `c`; a negative offset counts from its end. */
export async function damage(folder: string, kind: 'zones' | 'dirty', offsetBytes: number): Promise<void> {
  const [file = ''] = await readdir(join(folder, 'c', kind));
  const path = join(folder, 'c', kind, file);
  const bytes = await readFile(path);
  const at = offsetBytes < 0 ? bytes.length + offsetBytes : offsetBytes;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

/** `netseal cache ...` with the key file `key`, both in `folder`. */
export function netsealCache(folder: string, ...args: string[]): Promise<Finished> {
  return run(['cache', ...args, '--key-file', 'key'], { cwd: folder });
}

/** What the command prints with `--json`. */
export async function jsonOf(folder: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await netsealCache(folder, ...args, '--json');
  return JSON.parse(stdout.toString()) as Record<string, unknown>;
}

/** Opens the cache `c` in `folder` for a moment, in this process. */
export async function inCache<Result>(
  folder: string,
  work: (cache: Cache) => Promise<Result> | Result,
  settings: CacheSettings = {},
): Promise<Result> {
  const contents = await readFile(join(folder, 'key'));
  const secret = { type: 'key-file', contents } as const;
  const key = { secrets: secret, slots: [{ label: 'test', secret }] };
  const cache = await openCache(join(folder, 'c'), { maintenanceMs: 0, ...settings }, { key });
  try {
    return await work(cache);
  } finally {
    await cache.close();
  }
}

export async function put(
  cache: Cache,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  count: number,
): Promise<void> {
  const units = Array.from({ length: count }, (_, index) => ({ objectId, index, bytes: unitOf(index) }));
  await cache.volume(volumeId).put(units);
}

export function putDirty(
  cache: Cache,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  indexes: readonly number[],
): Promise<number> {
  return cache.appendDirty({
    units: indexes.map(index => ({ volumeId, objectId, index, bytes: unitOf(index) })),
  });
}
