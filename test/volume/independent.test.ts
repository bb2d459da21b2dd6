/**
 * A reader that was written from the documents alone reads the golden volumes, and what netseal writes today. So the
 * documents say enough, and say what is so.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { listAll } from '../../src/server/list-all.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { createVolume, openVolume } from '../../src/volume/open.ts';
import {
  type ExpectedVolume,
  FIXTURES,
  type Golden,
  readGolden,
  STORE_FOLDERS,
} from '../fixtures/golden-expected.ts';
import { IndependentReader } from '../fixtures/independent-reader.ts';
import { readObjects } from '../fixtures/independent-store.ts';
import { checkAll, type Seen, seenIndependently } from './golden-support.ts';
import { bytesOf, makeFolder, makeObjectFolder, packFiles, testPipeline, writeFile } from './support.ts';

const golden: Golden = readGolden();
const { keyFile, rawKey } = golden.secrets;

function seenBy(reader: IndependentReader): Map<string, Seen> {
  return new Map(Array.from(reader.walk(), found => [found.path, seenIndependently(reader, found)]));
}

/** The epochs that the records of inode objects and segments say. */
function epochsOf(reader: IndependentReader, objects: ReadonlyMap<string, Buffer>): number[] {
  const epochs = new Set<number>();
  for (const [key, bytes] of objects) {
    if (key.startsWith('i/')) epochs.add(bytes.readUInt32LE(8));
    if (!key.startsWith('s/')) continue;
    let offset = 0;
    for (const { lengthBytes } of reader.footer(key.slice(key.lastIndexOf('/') + 1))) {
      epochs.add(bytes.readUInt32LE(offset + 8));
      offset += lengthBytes;
    }
  }
  return [...epochs].sort();
}

describe('the independent reader', () => {
  it('imports nothing of netseal', () => {
    const files = readdirSync(FIXTURES).filter(name => name.startsWith('independent-'));
    expect(files.length).toBeGreaterThan(2);
    for (const name of files) {
      const source = readFileSync(join(FIXTURES, name), 'utf8');
      for (const [, from = ''] of source.matchAll(/from '([^']+)'/g)) {
        expect(from, name).toMatch(/^(node:(crypto|zlib|fs|path)|\.\/independent-[a-z]+\.ts)$/);
      }
      expect(source).not.toMatch(/import\(/);
    }
  });

  it.each(['flat', 'hex2'] as const)('reads the golden volume %s', async name => {
    const expected: ExpectedVolume = golden.volumes[name];
    const objects = readObjects(join(FIXTURES, STORE_FOLDERS[name]));
    const reader = new IndependentReader(key => objects.get(key), {
      type: 'key-file',
      contents: Buffer.from(keyFile, 'hex'),
    });
    expect(reader.keys.newestEpoch).toBe(expected.newestEpoch);
    expect(reader.keys.labels).toEqual(expected.labels);
    const { keys, suite, others } = expected;
    expect(reader.keys.settings).toMatchObject({ ...others, keys, suite });
    await checkAll(expected, seenBy(reader));
    expect(epochsOf(reader, objects)).toEqual(expected.epochs);
    for (const { id, isEphemeral, extensions } of expected.heads) {
      const head = reader.head(id);
      expect(head.isEphemeral).toBe(isEphemeral);
      expect(head.markCount).toBeGreaterThan(0);
      const found = [...head.extensions].map(([tag, value]) => [String(tag), value.toString('hex')]);
      expect(Object.fromEntries(found)).toEqual(extensions);
    }
    for (const key of expected.lists) {
      const { segments, inodes } = reader.candidates(key);
      expect(segments.length + inodes.length).toBeGreaterThan(0);
    }
    const another = new IndependentReader(key => objects.get(key), {
      type: 'raw-key',
      key: Buffer.from(rawKey, 'hex'),
    });
    expect(another.keys).toEqual(reader.keys);
  });

  it('refuses another key, and any byte that was changed', () => {
    const objects = readObjects(join(FIXTURES, STORE_FOLDERS.hex2));
    const secret = { type: 'raw-key', key: Buffer.from(rawKey, 'hex') } as const;
    expect(
      () => new IndependentReader(key => objects.get(key), { type: 'raw-key', key: randomBytes(32) }),
    ).toThrow('no slot opens');
    const read = (changedKey: string): void => {
      const reader = new IndependentReader(key => {
        const bytes = objects.get(key);
        if (key !== changedKey || bytes === undefined) return bytes;
        const copy = Buffer.from(bytes);
        copy[50] = ~(copy[50] ?? 0);
        return copy;
      }, secret);
      for (const { inode } of reader.walk()) if (inode.file !== undefined) reader.read(inode);
    };
    expect(() => read('')).not.toThrow();
    const changed = [...objects.keys()].filter(key => key === 'volume' || key.startsWith('i/'));
    expect(changed.length).toBeGreaterThan(2);
    for (const key of changed) expect(() => read(key), key).toThrow();
  });

  it('reads what netseal writes today', async () => {
    const store = new MemoryStore();
    const secret = { type: 'raw-key', key: new Uint8Array(randomBytes(32)) } as const;
    await createVolume({ store, slots: [{ label: 'key', secret }], settings: { unitSizeBytes: 4096 } });
    const volume = await openVolume({ store, secrets: secret, pipeline: await testPipeline() });
    await makeObjectFolder(volume, '/object');
    const folder = await makeFolder(volume, '/object/embedded');
    await writeFile(volume, '/large', bytesOf(1, 300 * 4096 + 7));
    await packFiles(volume, [
      { directory: folder, name: 'a', bytes: Buffer.from('a'.repeat(700)) },
      { directory: folder, name: 'b', bytes: bytesOf(2, 800) },
    ]);
    await volume.close();
    const objects = new Map<string, Buffer>();
    for await (const { key } of listAll(store, '')) {
      objects.set(key, Buffer.from((await store.get(key)).bytes));
    }
    const reader = new IndependentReader(key => objects.get(key), secret);
    const contents = new Map(
      Array.from(reader.walk(), ({ path, inode }) => [path, inode.file && reader.read(inode)]),
    );
    expect([...contents.keys()]).toEqual([
      '/',
      '/large',
      '/object',
      '/object/embedded',
      '/object/embedded/a',
      '/object/embedded/b',
    ]);
    expect(contents.get('/large')?.equals(bytesOf(1, 300 * 4096 + 7))).toBe(true);
    expect(contents.get('/object/embedded/a')?.toString()).toBe('a'.repeat(700));
    expect(contents.get('/object/embedded/b')?.equals(bytesOf(2, 800))).toBe(true);
  });
});
