/**
 * A server that damages, swaps, replays, drops and brings back objects: each yields a named error for what it touches, and
 * right data for everything else.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { isNetsealError } from '../../src/base/errors.ts';
import { MemoryStore } from '../../src/server/memory-store.ts';
import { type KeyScheme, storedKey } from '../../src/server/sealed/object-keys.ts';
import { memoryState } from '../../src/volume/state/client-state.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { IS_LONG, SEED } from '../support/soak.ts';
import {
  aroundStore,
  bytesOf,
  type ClientOptions,
  codeOf,
  FILE,
  makeFolder as makeEmbeddedFolder,
  makeObjectFolder as makeFolder,
  namesIn,
  packFiles,
  readFile,
  TestVolume,
  writeFile,
} from './support.ts';

const PATHS = [
  '/',
  '/sub/inner',
  '/sub/inner/deep/z',
  '/small',
  '/beside',
  '/third',
  '/noise',
  '/big',
  '/many',
  '/many/n0007',
  '/sub',
  '/sub/x',
  '/sub/link',
  '/hard',
] as const;

/** All objects of a store. */
type Objects = ReadonlyMap<string, Uint8Array>;

async function objectsOf(store: MemoryStore): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>();
  for (const { key } of (await store.list({ limit: 100_000 })).entries) {
    objects.set(key, Uint8Array.from((await store.get(key)).bytes));
  }
  return objects;
}

async function storeOf(objects: Objects): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [key, bytes] of objects) await store.put(key, [bytes]);
  return store;
}

/** What a path leads to, as text; or an error's code. */
async function look(volume: Volume, path: string): Promise<string> {
  try {
    const { inode } = await volume.find(path);
    if (inode.type === 'directory') return (await namesIn(volume, path)).join();
    if (inode.type === 'symlink') return Buffer.from(inode.target).toString();
    return (await readFile(volume, path)).toString('latin1');
  } catch (error) {
    if (isNetsealError(error)) return `error ${error.code}`;
    throw error;
  }
}

/** Each of the schemes in half of all runs. */
const KEYS: KeyScheme = SEED % 2 === 0 ? 'flat' : 'hex2';

let test: TestVolume;
/** Of the volume as it is, and as it was before its last changes. */
let objects: Objects;
let older: Objects;
let expected: Map<string, string>;
/** Which objects each path needs. */
const needs = new Map<string, Set<string>>();

async function clientOf(changed: Objects, options: ClientOptions = {}): Promise<Volume> {
  const store = await storeOf(changed);
  return (await new TestVolume(store, test.header).client(options)).volume;
}

beforeAll(async () => {
  const store = new MemoryStore();
  test = await TestVolume.create({ unitSizeBytes: 4096, keys: KEYS }, store);
  const { volume } = await test.client();
  const [directory, second, bytes] = [volume.root, bytesOf(3, 700), Buffer.from('a small file')];
  await packFiles(volume, [
    { directory, name: 'small', bytes },
    { directory, name: 'beside', bytes: second },
    { directory, name: 'third', bytes: Buffer.from('a third of a pack') },
  ]);
  await writeFile(volume, '/noise', bytesOf(1, 10_000));
  await writeFile(volume, '/big', bytesOf(2, 300 * 4096));
  const many = await makeFolder(volume, '/many');
  await Promise.all(
    Array.from({ length: 3000 }, (_, at) =>
      volume.names.insert(many, `n${String(at).padStart(4, '0')}`, volume.names.newFile(FILE)),
    ),
  );
  const sub = await makeFolder(volume, '/sub');
  await volume.names.insert(sub, 'link', volume.names.newSymlink(FILE, Buffer.from('../small')));
  await writeFile(volume, '/sub/x', Buffer.from('x of sub'));
  await volume.names.link(await volume.place('/sub/x'), volume.root, 'hard');
  // Embedded, with a node of its own.
  const inner = await makeEmbeddedFolder(volume, '/sub/inner');
  const names = Array.from({ length: 80 }, (_, at) => ({
    name: `${at}`,
    inode: volume.names.newFile(FILE),
    segments: [],
  }));
  await volume.namespace.insertMany(inner, names);
  const deep = await makeEmbeddedFolder(volume, '/sub/inner/deep');
  await volume.namespace.insert(deep, 'z', volume.names.newSymlink(FILE, Buffer.from('nowhere')));
  await writeFile(volume, '/gone', Buffer.from('to be removed'));
  older = await objectsOf(store);
  await volume.names.unlink(volume.root, 'gone');
  const writer = await volume.openWriter('/hard');
  await writer.write(Buffer.from('X'));
  await writer.close();
  await volume.names.setDirectoryAttributes(sub, { mode: 0o700 });
  await volume.names.setDirectoryAttributes(many, { mode: 0o700 });
  objects = await objectsOf(store);
  expected = new Map();
  for (const path of PATHS) {
    const keys = new Set<string>();
    const fresh = await clientOf(objects, {
      around: inner =>
        aroundStore(inner, async call => {
          keys.add(call.key);
          return await call.send();
        }),
    });
    expected.set(path, await look(fresh, path));
    needs.set(path, keys);
    await fresh.close();
  }
  expect(expected.get('/hard')).toBe('X of sub');
  expect(expected.get('/big')?.length).toBe(300 * 4096);
});

/** Looks at everything; returns the paths that failed, with their codes. */
async function lookAround(
  changed: Objects,
  key: string,
  options: ClientOptions = {},
): Promise<Map<string, string>> {
  const volume = await clientOf(changed, options);
  const failed = new Map<string, string>();
  for (const path of PATHS) {
    const seen = await look(volume, path);
    if (seen === expected.get(path)) continue;
    expect(seen, `${path}, with ${key} changed`).toMatch(/^error /);
    expect(needs.get(path)?.has(key), `${path} does not need ${key}, and yet: ${seen}`).toBe(true);
    failed.set(path, seen.slice(6));
  }
  // What was changed may be what closing needs.
  await codeOf(volume.close());
  return failed;
}

function changedAt(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << bit);
  return copy;
}

function keysOf(prefix: string): string[] {
  return [...objects.keys()].filter(key => key.startsWith(prefix));
}

/** Needed by some path. */
function neededKeys(prefix: string): string[] {
  return keysOf(prefix).filter(key => [...needs.values()].some(keys => keys.has(key)));
}

const CODES_OF_DAMAGE = ['EAUTH', 'EFORMAT', 'ETRUNCATED', 'EUNSUPPORTED', 'EKEY'];

/** Header, nonce, ciphertext, tag. */
function placesIn({ byteLength }: Uint8Array): number[] {
  const shares = [0.3, 0.5, 0.7, 0.9].map(share => Math.floor(share * byteLength));
  return [0, 4, 5, 6, 7, 8, 12, 16, 30, 41, 60, 100, ...shares, byteLength - 1];
}

describe('an inode', () => {
  it.runIf(IS_LONG)(
    'that was changed in any part is an error for what it leads to, and nothing else',
    async () => {
      for (const key of neededKeys('i/')) {
        const bytes = objects.get(key) ?? new Uint8Array();
        for (const at of placesIn(bytes)) {
          const failed = await lookAround(new Map(objects).set(key, changedAt(bytes, at, at % 8)), key);
          expect(failed.size, `${key} changed at ${at}`).toBeGreaterThan(0);
          const codes = at >= 16 ? ['EAUTH'] : CODES_OF_DAMAGE;
          for (const code of failed.values()) expect(codes).toContain(code);
        }
      }
    },
  );

  it('that was cut, lengthened, emptied or dropped', async () => {
    for (const key of neededKeys('i/')) {
      const bytes = objects.get(key) ?? new Uint8Array();
      const cases: [Uint8Array | undefined, string[]][] = [
        [bytes.subarray(0, bytes.byteLength - 1), ['ETRUNCATED', 'EFORMAT']],
        [bytes.subarray(0, 30), ['ETRUNCATED']],
        [new Uint8Array(), ['ETRUNCATED']],
        [Buffer.concat([bytes, new Uint8Array(1)]), ['EFORMAT']],
        [undefined, ['EMISSING']],
      ];
      for (const [now, codes] of cases) {
        const changed = new Map(objects);
        if (now === undefined) changed.delete(key);
        else changed.set(key, now);
        const failed = await lookAround(changed, key);
        expect(failed.size).toBeGreaterThan(0);
        for (const code of failed.values()) expect(codes).toContain(code);
      }
    }
  });

  it('in the place of another does not pass for it', async () => {
    const keys = neededKeys('i/');
    for (const key of keys) {
      for (const other of [...keys, ...neededKeys('s/').slice(0, 2)]) {
        if (other === key) continue;
        const failed = await lookAround(
          new Map(objects).set(key, objects.get(other) ?? new Uint8Array()),
          key,
        );
        expect(failed.size).toBeGreaterThan(0);
        for (const code of failed.values()) expect(['EAUTH', 'EFORMAT', 'ETRUNCATED']).toContain(code);
      }
    }
  });

  it('of an older version is EROLLBACK for a client that has seen the newer one, each of them', async () => {
    let count = 0;
    for (const key of neededKeys('i/')) {
      const before = older.get(key);
      if (before === undefined || Buffer.from(before).equals(objects.get(key) ?? new Uint8Array())) continue;
      count += 1;
      const state = memoryState();
      const first = await clientOf(objects, { state });
      for (const path of PATHS) expect(await look(first, path)).toBe(expected.get(path));
      await first.close();
      const failed = await lookAround(new Map(objects).set(key, before), key, { state });
      expect(failed.size).toBeGreaterThan(0);
      expect(new Set(failed.values())).toEqual(new Set(['EROLLBACK']));
    }
    // The root, both folders, the file with two names.
    expect(count).toBe(4);
  });

  it('that was brought back leads nowhere: the folder says what exists', async () => {
    const volume = await clientOf(new Map([...older, ...objects]));
    expect(await look(volume, '/gone')).toBe('error ENOENT');
    for (const path of PATHS) expect(await look(volume, path)).toBe(expected.get(path));
    await volume.close();
  });
});

describe('a segment', () => {
  it.runIf(IS_LONG)('that was changed anywhere is an error for the records that were hit', async () => {
    for (const key of neededKeys('s/')) {
      const bytes = objects.get(key) ?? new Uint8Array();
      let hits = 0;
      for (let part = 0; part < 12; part += 1) {
        const at = Math.floor(((part + 0.5) / 12) * bytes.byteLength);
        const failed = await lookAround(new Map(objects).set(key, changedAt(bytes, at, part % 8)), key);
        hits += failed.size;
        for (const code of failed.values()) expect(CODES_OF_DAMAGE).toContain(code);
      }
      expect(hits, key).toBeGreaterThan(0);
    }
  });

  it('that was dropped, emptied or replaced by another one', async () => {
    const keys = neededKeys('s/');
    for (const [at, key] of keys.entries()) {
      const dropped = new Map(objects);
      dropped.delete(key);
      const failed = await lookAround(dropped, key);
      expect(failed.size).toBeGreaterThan(0);
      expect(new Set(failed.values())).toEqual(new Set(['EMISSING']));
      const emptied = await lookAround(new Map(objects).set(key, new Uint8Array()), key);
      expect(new Set(emptied.values())).toEqual(new Set(['ETRUNCATED']));
      const other = keys[(at + 1) % keys.length] ?? '';
      const swapped = await lookAround(
        new Map(objects).set(key, objects.get(other) ?? new Uint8Array()),
        key,
      );
      expect(swapped.size).toBeGreaterThan(0);
      for (const code of swapped.values()) expect(['EAUTH', 'EFORMAT', 'ETRUNCATED']).toContain(code);
    }
  });

  it('whose footer or trailer was changed is read as ever: they are for other uses', async () => {
    for (const key of neededKeys('s/')) {
      const bytes = objects.get(key) ?? new Uint8Array();
      const changed = changedAt(changedAt(bytes, bytes.byteLength - 3, 1), bytes.byteLength - 20, 1);
      expect((await lookAround(new Map(objects).set(key, changed), key)).size).toBe(0);
    }
  });

  it("with records in each other's places is EAUTH for both", async () => {
    const key = neededKeys('s/').find(one => (objects.get(one)?.byteLength ?? 0) > 300 * 4096) ?? '';
    const bytes = Uint8Array.from(objects.get(key) ?? new Uint8Array());
    const size = 4096 + 72;
    const [first, second] = [bytes.slice(0, size), bytes.slice(size, 2 * size)];
    bytes.set(second, 0);
    bytes.set(first, size);
    const volume = await clientOf(new Map(objects).set(key, bytes));
    const reader = await volume.openFile('/big');
    const codes: (string | undefined)[] = [];
    for await (const piece of reader.pieces(0, 5 * 4096)) codes.push(piece.error?.code);
    expect(codes).toEqual(['EAUTH', 'EAUTH', undefined, undefined, undefined]);
    await volume.close();
  });
});

describe('objects of another volume', () => {
  it("do not pass for this one's, nor do its keys open them", async () => {
    const other = await TestVolume.create({ unitSizeBytes: 4096, keys: KEYS, rootId: await rootIdOf() });
    const theirs = await objectsOf(other.store as MemoryStore);
    const key = storedKey(`i/${await rootIdOf()}`, KEYS);
    const failed = await lookAround(new Map(objects).set(key, theirs.get(key) ?? new Uint8Array()), key);
    expect(failed.size).toBe(PATHS.length);
    expect(new Set(failed.values())).toEqual(new Set(['EAUTH']));
    await other.close();
  });

  async function rootIdOf(): Promise<string> {
    const volume = await clientOf(objects);
    const { rootId } = volume.settings;
    await volume.close();
    return rootId;
  }
});
