/**
 * A cache's folder at rest: nothing in it can be read without the key, and every byte of it is accounted for.
 */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { roundUp } from '../../src/base/geometry.ts';
import { openDatabase } from '../../src/cache/base/sqlite.ts';
import type { Cache } from '../../src/cache/cache.ts';
import { PlainCache } from '../../src/cache/plain.ts';
import { deriveCommittedKey } from '../../src/keys/tree.ts';
import { openPipeline } from '../../src/pipeline/pipeline.ts';
import { peekHeader, RECORD_KINDS } from '../../src/unit/record-format.ts';
import { collect, idOf, KIB, MIB, newFolder, openTestCache, unitOf } from './support.ts';

const VOLUME = idOf(1);
const FILE = idOf(100);
const SETTINGS = { budgetBytes: MIB, zoneBytes: 16 * KIB };
const COHERENCY = Buffer.from('ETag of a secret file name');
const PAYLOAD = Buffer.from('journal: rename secret to hidden');

/** Makes a cache with some of everything in it, and closes it. */
async function makeFull(): Promise<string> {
  const folder = newFolder();
  const cache = await openTestCache(folder, SETTINGS);
  const volume = cache.volume(VOLUME);
  volume.pin(idOf(5), { unitCount: 20 });
  for (let index = 0; index < 60; index += 1) {
    await volume.put([{ objectId: FILE, index, bytes: unitOf(index) }]);
    if (index < 10) await volume.put([{ objectId: idOf(5), index, bytes: unitOf(1000 + index) }]);
  }
  volume.setCoherency(FILE, COHERENCY);
  volume.invalidate(idOf(6));
  for (let at = 0; at < 5; at += 1) {
    const units = [{ volumeId: VOLUME, objectId: idOf(7), index: at, bytes: unitOf(2000 + at) }];
    const id = await cache.appendDirty({ units, payload: PAYLOAD });
    if (at === 0) await cache.releaseDirty([id]);
  }
  await cache.close();
  return folder;
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => `${folder}/${name}`)
    .filter(path => statSync(path).isFile());
}

const PLAIN = utf8('a line that must not be readable in any file\n'.repeat(3000));
const SECOND_SLOT = {
  label: 'second',
  secret: { type: 'raw-key', key: new Uint8Array(32).fill(9) } as const,
};

/**
 * Secrets that must not be found in a cache's folder: ids, names, content, keys; as bytes, in hexadecimal, in
 * base64.
 */
class Secrets {
  readonly #needles: Buffer[] = [];

  add(...secrets: readonly Uint8Array[]): void {
    for (const secret of secrets) {
      const bytes = Buffer.from(secret);
      const texts = [
        bytes.toString('hex'),
        bytes.toString('hex').toUpperCase(),
        bytes.toString('base64').slice(0, -2),
      ];
      this.#needles.push(bytes, ...texts.map(text => Buffer.from(text)));
    }
  }

  addKeysOf({ keys, id }: Cache): void {
    const { keyring } = keys;
    for (const epoch of keyring.epochs) this.add(new Uint8Array(keyring.epochKey(epoch)));
    for (const purpose of ['cache/fingerprints', 'cache/plain-ids'] as const)
      this.add(deriveCommittedKey(keyring.epochKey(1), id, purpose).key);
  }

  search(folder: string): void {
    for (const path of filesIn(folder)) {
      const content = readFileSync(path);
      for (const needle of this.#needles) {
        expect(content.includes(needle), `${needle} in ${path}`).toBe(false);
        expect(path.includes(needle.toString('latin1'))).toBe(false);
      }
    }
  }
}

/**
 * Returns the kinds of the records in a file, each at a multiple of `granuleBytes`. Fails when there is
 * anything between them.
 */
function recordKinds(content: Buffer, granuleBytes: number): number[] {
  const kinds: number[] = [];
  for (let at = 0; at < content.byteLength; ) {
    const { kind, sealedLengthBytes } = peekHeader(content.subarray(at));
    kinds.push(kind);
    const endBytes = at + sealedLengthBytes;
    const nextBytes = Math.min(content.byteLength, roundUp(endBytes, granuleBytes));
    expect(content.subarray(endBytes, nextBytes)).toEqual(Buffer.alloc(nextBytes - endBytes));
    at = nextBytes;
  }
  return kinds;
}

describe('at rest', () => {
  it('no id, key, name or plaintext can be found, in content or in names, while it is open and after', async () => {
    const folder = newFolder();
    const secrets = new Secrets();
    const pipeline = await openPipeline({ workers: 0 });
    const plainObject = {
      server: utf8('https://plain.example'),
      name: utf8('secret report.txt'),
      version: utf8('"etag-1"'),
    };
    const cookie = utf8('/home/somebody/a secret path');
    const prefix = utf8('/home/somebody/');
    secrets.add(
      VOLUME,
      FILE,
      idOf(5),
      idOf(6),
      idOf(7),
      COHERENCY,
      PAYLOAD,
      cookie,
      prefix,
      PLAIN.subarray(0, 45),
    );
    secrets.add(...Object.values(plainObject), new Uint8Array(32).fill(7), SECOND_SLOT.secret.key);
    const cache = await openTestCache(folder, SETTINGS);
    secrets.addKeysOf(cache);
    const volume = cache.volume(VOLUME);
    let plain = new PlainCache(cache, pipeline, 64 * KIB);
    await volume.pinPrefix(prefix);
    const now: Record<number, (round: number) => unknown> = {
      10: index => plain.put(plainObject, [{ index, bytes: PLAIN.subarray(0, 64 * KIB) }]),
      20: () => volume.setCookie(FILE, { key: cookie }),
      30: () => volume.setCoherency(FILE, COHERENCY),
      40: () => volume.invalidate(idOf(6)),
    };
    for (let round = 0; round < 200; round += 1) {
      await volume.put([{ objectId: FILE, index: round, bytes: unitOf(round) }]);
      volume.offer([{ objectId: idOf(5), index: round % 30, bytes: unitOf(1000 + round) }]);
      await now[round % 50]?.(round);
      if (round % 20 === 0) {
        const units = [{ volumeId: VOLUME, objectId: idOf(7), index: round, bytes: unitOf(2000 + round) }];
        const id = await cache.appendDirty({ units, payload: PAYLOAD });
        if (round % 40 === 0) await cache.releaseDirty([id]);
        secrets.search(folder);
      }
      if (round === 100) {
        await cache.flush();
        await cache.changeKey([SECOND_SLOT]);
        secrets.addKeysOf(cache);
        plain.close();
        plain = new PlainCache(cache, pipeline, 64 * KIB);
      }
    }
    expect(statSync(`${folder}/cache.db-wal`).size).toBeGreaterThan(0);
    secrets.search(folder);
    plain.close();
    await pipeline.close();
    await cache.close();
    expect(filesIn(folder).length).toBeGreaterThan(20);
    secrets.search(folder);
    expect(() => {
      // The search does find bytes that are there.
      secrets.add(unitOf(199).subarray(16, 48));
      secrets.search(folder);
    }).toThrow();
  });

  it('every byte is of a kind that docs/CACHE.md names', async () => {
    const folder = await makeFull();
    expect(readdirSync(folder).sort()).toEqual([
      'cache.db',
      'dirty',
      'header',
      'index',
      'lock',
      'owner',
      'zones',
    ]);
    for (const name of readdirSync(`${folder}/zones`)) {
      const content = readFileSync(`${folder}/zones/${name}`);
      const kinds = recordKinds(content.subarray(0, -16), 64);
      expect(kinds.pop()).toBe(RECORD_KINDS.cacheIndex);
      expect(new Set(kinds)).toEqual(new Set([RECORD_KINDS.unit]));
      const footerAt = 64 * content.readUInt32LE(content.byteLength - 16);
      expect(footerAt + content.readUInt32LE(content.byteLength - 12) + 16).toBe(content.byteLength);
      expect(content.subarray(-8)).toEqual(Buffer.alloc(8));
    }
    for (const name of readdirSync(`${folder}/dirty`)) {
      const kinds = recordKinds(readFileSync(`${folder}/dirty/${name}`), 64);
      expect(new Set(kinds)).toEqual(new Set([RECORD_KINDS.journalRecord, RECORD_KINDS.unit]));
    }
    const pieces = recordKinds(readFileSync(`${folder}/index`).subarray(16), 1);
    expect(new Set(pieces)).toEqual(new Set([RECORD_KINDS.cacheIndex]));
    expect(readFileSync(`${folder}/header`).toString('latin1', 0, 4)).toBe('nShd');
    expect(statSync(`${folder}/lock`).size).toBe(0);
    const owner = JSON.parse(readFileSync(`${folder}/owner`, 'utf8')) as object;
    expect(Object.keys(owner).sort()).toEqual(['host', 'pid', 'startedAt']);
    const database = openDatabase(`${folder}/cache.db`);
    const tables = database.prepare('SELECT sql FROM sqlite_schema').all();
    expect(tables).toHaveLength(1);
    for (const { name, value } of database.prepare('SELECT name, value FROM rows').all()) {
      expect(name).toHaveLength(16);
      expect(recordKinds(Buffer.from(value as Uint8Array), 1)).toEqual([RECORD_KINDS.cacheIndex]);
    }
    database.close();
  });

  it('files are for their owner alone', async () => {
    for (const path of filesIn(await makeFull())) {
      expect(statSync(path).mode & 0o077, path).toBe(0);
    }
  });
});

describe('damage', () => {
  it('is found by verify, and dropped by repair', async () => {
    const folder = await makeFull();
    const paths = readdirSync(`${folder}/zones`).map(name => `${folder}/zones/${name}`);
    const [first = '', second = ''] = paths;
    const content = readFileSync(first);
    content[2000] = (content[2000] ?? 0) ^ 1;
    writeFileSync(first, content);
    const torn = readFileSync(second);
    writeFileSync(second, torn.subarray(0, torn.byteLength - 100));
    const cache = await openTestCache(folder, SETTINGS);
    const found = await collect(cache.verify());
    expect(found.map(({ what }) => what).sort()).toEqual(['unit', 'zone']);
    expect(await collect(cache.verify({ repair: true }))).toHaveLength(2);
    expect(await collect(cache.verify())).toEqual([]);
  });
});
