/** Sealed units to keep, and caches to keep them in. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach } from 'vitest';
import { viewOf } from '../../src/base/bytes.ts';
import type { CacheSettings } from '../../src/cache/base/settings.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { type CacheComponents, openCache } from '../../src/cache/open.ts';
import type { NewSlot } from '../../src/keys/new-slot.ts';
import { encodeHeader, recordTag } from '../../src/unit/record-format.ts';

const KEY = new Uint8Array(32).fill(7);
export const RAW_SLOT: NewSlot = { label: 'test', secret: { type: 'raw-key', key: KEY } };
export const RAW_KEY: CacheComponents['key'] = { slots: [RAW_SLOT] };

export const KIB = 1024;
export const MIB: number = 1024 * KIB;

/** Returns an id, by number. */
export function idOf(number: number): Uint8Array<ArrayBuffer> {
  const id = new Uint8Array(16).fill(0xa0);
  viewOf(id).setUint32(0, number, true);
  viewOf(id).setUint32(8, (number * 2654435761) >>> 0, true);
  return id;
}

/**
 * Makes bytes that look like a sealed unit, of `lengthBytes`, with content by `seed`. A cache opens no units,
 * so they need not be sealed.
 */
export function unitOf(seed: number, lengthBytes = 4168): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  let state = (Math.imul(seed, 2654435761) ^ 0x9e3779b9) | 1;
  for (let at = 0; at < lengthBytes; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  encodeHeader(viewOf(bytes), 'unit', {
    suite: 'xaes-256-gcm',
    flags: 0,
    epoch: 1,
    sealedLengthBytes: lengthBytes,
  });
  return bytes;
}

export function tagOf(bytes: Uint8Array): Uint8Array {
  return recordTag(bytes);
}

const folders: string[] = [];
const caches: Cache[] = [];

export function newFolder(): string {
  const folder = mkdtempSync(`${tmpdir()}/netseal-cache-`);
  folders.push(folder);
  return folder;
}

/** Opens a cache that is closed at the end of the test. It does no maintenance by itself. */
export async function openTestCache(
  folder: string,
  settings: CacheSettings = {},
  components: Partial<CacheComponents> = {},
): Promise<Cache> {
  const cache = await openCache(
    folder,
    { budgetBytes: 4 * MIB, zoneBytes: 128 * KIB, disk: false, maintenanceMs: 0, ...settings },
    { key: RAW_KEY, ...components },
  );
  caches.push(cache);
  return cache;
}

afterEach(async () => {
  for (const cache of caches.splice(0)) await cache.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** Reads a unit: `hit` when the cache has exactly these bytes for its place. */
export async function getUnit(
  cache: Cache,
  volumeId: Uint8Array,
  objectId: Uint8Array,
  index: number,
  expected: Uint8Array,
): Promise<'hit' | 'miss' | 'wrong'> {
  const into = new Uint8Array(expected.byteLength);
  const [lengthBytes] = await cache
    .volume(volumeId)
    .get([{ objectId, index, expectedTag: tagOf(expected), into }]);
  if (lengthBytes === 0) return 'miss';
  return lengthBytes === expected.byteLength && Buffer.compare(into, expected) === 0 ? 'hit' : 'wrong';
}

export async function collect<Value>(values: AsyncIterable<Value>): Promise<Value[]> {
  const list: Value[] = [];
  for await (const value of values) list.push(value);
  return list;
}
