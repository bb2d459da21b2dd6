/** Caches for `netseal cache` to look at. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cache } from '../../src/cache/cache.ts';
import { openCache } from '../../src/cache/open.ts';
import type { CacheSettings } from '../../src/cache/settings.ts';
import { idOf, unitOf } from '../cache/support.ts';
import { type Finished, run } from './run.ts';

export const VOLUME: Uint8Array = idOf(1);
export const OTHER_VOLUME: Uint8Array = idOf(2);
export const FILE: Uint8Array = idOf(100);
export const OTHER_FILE: Uint8Array = idOf(101);
/** Nothing in it may reach a terminal. */
export const HOSTILE_NAME: Buffer = Buffer.from('photos/\x1b]0;x\x07\u202e\n\\.jpg');
export const UNIT_BYTES: number = unitOf(1).byteLength;

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
