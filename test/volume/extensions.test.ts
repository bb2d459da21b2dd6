/**
 * A client of today and what a newer netseal has added: extensions of each class in inodes and heads, features that the
 * settings require, and reserved keys.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Id } from '../../src/base/ids.ts';
import type { Extension } from '../../src/server/sealed/extensions.ts';
import { encodeClientHead } from '../../src/server/sealed/head-format.ts';
import { readHeadObject } from '../../src/server/sealed/head-object.ts';
import type { Inode } from '../../src/server/sealed/inode.ts';
import { encodeInodeObject } from '../../src/server/sealed/inode-format.ts';
import { readInodeObject } from '../../src/server/sealed/inode-object.ts';
import { HEAD_PREFIX, inodeKey, SNAPSHOT_PREFIX, segmentKey } from '../../src/server/sealed/object-keys.ts';
import { collectGarbage } from '../../src/volume/care/gc.ts';
import { verifyVolume } from '../../src/volume/care/verify.ts';
import { mergeHeads } from '../../src/volume/history/heads.ts';
import { writeOwnHead } from '../../src/volume/history/own-head.ts';
import { typeOfEntry } from '../../src/volume/names/references.ts';
import type { Volume } from '../../src/volume/volume.ts';
import { deepCheck, GRACE_MS, HOUR_MS, TimedVolume } from './gc-support.ts';
import {
  bytesOf,
  codeOf,
  FILE,
  FOLDER,
  makeFolder as makeEmbeddedFolder,
  makeObjectFolder as makeFolder,
  namesIn,
  readFile,
  TestVolume,
  writeFile,
} from './support.ts';

/** Tags whose lowest two bits are the class. */
const IGNORE = 40;
const READ_ONLY = 41;
const REFUSE = 42;
const IMPOSSIBLE = 43;

let timed: TimedVolume;
let volume: Volume;

beforeEach(async () => {
  timed = await TimedVolume.create();
  ({ volume } = await timed.client());
});

afterEach(async () => {
  await timed.test.close();
});

async function inodeAt(path: string, from: Volume = volume): Promise<Inode> {
  return (await from.find(path)).inode;
}

/** Gives an inode extensions, as a newer netseal does. */
async function extend(
  path: string,
  items: readonly Extension[],
  segments: readonly Id[] = [],
): Promise<void> {
  const { entry, parent, inode } = await volume.find(path);
  const extensions = { items, segments };
  const node = entry?.node;
  if (parent === undefined || node?.kind !== 'embedded') {
    // `InodePatch` has no extensions: no client of today sets any.
    const key = node?.kind === 'object' ? (node.key ?? node.id) : inode.id;
    await volume.inodes.get(key).apply(draft => draft.update({ extensions } as object));
    return;
  }
  await parent.apply(async draft => {
    const found = await draft.find(entry?.name ?? '');
    if (found?.node.kind !== 'embedded') throw new Error('not embedded');
    const changed = { ...found.node.inode, version: found.node.inode.version + 1, extensions };
    draft.replace({ ...found, node: { kind: 'embedded', inode: changed } }, { keepTimes: true });
  });
}

function extension(tag: number, ...ids: Id[]): Extension {
  return { tag, value: new Uint8Array([7, 8, 9, ...Buffer.from(ids.join(''), 'hex')]) };
}

/** Stores a segment that only an extension will name. */
async function donate(name: string): Promise<Id> {
  await writeFile(volume, name, bytesOf(name.length, 3000));
  const inode = await inodeAt(name);
  const segment = inode.type === 'file' ? inode.map.slots[0]?.pointer.segment : undefined;
  if (segment === undefined) throw new Error('no segment');
  return segment;
}

async function hasSegment(id: Id): Promise<boolean> {
  return (await timed.keys('s/')).includes(segmentKey(id));
}

describe('an extension of class 0', () => {
  it('stays, byte for byte, through every change of its file', async () => {
    await makeFolder(volume, '/a');
    await makeFolder(volume, '/b');
    await writeFile(volume, '/a/file', bytesOf(1, 9000));
    const segment = await donate('/donor');
    const items = [extension(IGNORE, segment), extension(IGNORE + 4)];
    const expected = { items, segments: [segment] };
    await extend('/a/file', items, [segment]);
    await volume.names.unlink(volume.root, 'donor');
    const steps: [what: string, path: string, step: () => Promise<unknown>][] = [
      ['as it was written', '/a/file', () => Promise.resolve()],
      [
        'attributes',
        '/a/file',
        async () => {
          const { parent, entry } = await volume.find('/a/file');
          if (parent === undefined || entry === undefined) throw new Error('nothing there');
          await volume.names.setAttributes(parent, entry, { mode: 0o600, atimeNs: 7n });
        },
      ],
      [
        'content',
        '/a/file',
        async () => {
          const writer = await volume.openWriter('/a/file');
          await writer.write(bytesOf(2, 5000), 3000);
          await writer.close();
        },
      ],
      [
        'neighbours, in leaves of their own',
        '/a/file',
        async () => {
          const folder = await volume.directory('/a');
          const inodes = Array.from({ length: 900 }, () =>
            volume.names.newSymlink(FILE, Buffer.alloc(90, 'x')),
          );
          const names = inodes.map((inode, at) => ({ name: `n${at}`, inode, segments: [] }));
          await volume.names.insertMany(folder, names);
          expect((await folder.read()).tree.kind).toBe('inner');
        },
      ],
      [
        'a name in another folder',
        '/b/moved',
        async () => {
          const [from, to] = [await volume.directory('/a'), await volume.directory('/b')];
          const target = { directory: to, name: 'moved' };
          await volume.names.rename({ directory: from, name: 'file' }, target);
        },
      ],
      [
        'a second name, and so an object',
        '/b/second',
        async () => {
          const directory = await volume.directory('/b');
          await volume.names.link({ directory, name: 'moved' }, directory, 'second');
          expect((await volume.find('/b/moved')).entry?.node.kind).toBe('object');
        },
      ],
    ];
    for (const [what, path, step] of steps) {
      await step();
      const { volume: other } = await timed.client();
      expect((await inodeAt(path, other)).extensions, what).toEqual(expected);
      timed.wait(GRACE_MS + HOUR_MS);
      await timed.collect();
      expect(await hasSegment(segment), what).toBe(true);
    }
    const { volume: last } = await timed.client();
    expect((await deepCheck(last)).damages).toEqual([]);
    for (const name of ['moved', 'second']) await volume.names.unlink(await volume.directory('/b'), name);
    await timed.collectAll();
    expect(await hasSegment(segment)).toBe(false);
  });

  it('stays on a folder, and so does what it names', async () => {
    const folder = await makeFolder(volume, '/folder');
    const segment = await donate('/donor');
    const expected = { items: [extension(IGNORE, segment)], segments: [segment] };
    await extend('/folder', expected.items, [segment]);
    await volume.names.unlink(volume.root, 'donor');
    await writeFile(volume, '/folder/file', bytesOf(1, 100));
    await volume.names.setDirectoryAttributes(folder, { mode: 0o700 });
    await makeFolder(volume, '/other');
    const target = { directory: await volume.directory('/other'), name: 'folder' };
    await volume.names.rename({ directory: volume.root, name: 'folder' }, target);
    await timed.collectAll();
    const { volume: other } = await timed.client();
    expect((await inodeAt('/other/folder', other)).extensions).toEqual(expected);
    expect(await hasSegment(segment)).toBe(true);
  });

  it('stays on an embedded folder and on what is in it, through changes in place, moves and promotion', async () => {
    for (const path of ['/a', '/a/b']) await makeEmbeddedFolder(volume, path);
    await makeFolder(volume, '/object');
    await writeFile(volume, '/a/b/file', bytesOf(1, 3000));
    const segment = await donate('/donor');
    const [onFolder, onFile] = [extension(IGNORE, segment), extension(IGNORE + 4)];
    await extend('/a/b', [onFolder], [segment]);
    await extend('/a/b/file', [onFile]);
    await volume.names.unlink(volume.root, 'donor');
    const { namespace } = volume;
    const rename = async (from: string, to: string): Promise<void> =>
      namespace.rename(await volume.place(from), await volume.place(to));
    const steps: [what: string, path: string, step: () => Promise<unknown>][] = [
      ['as it was written', '/a/b', () => Promise.resolve()],
      ['a change in place', '/a/b', async () => makeEmbeddedFolder(volume, '/a/b/c')],
      [
        'attributes',
        '/a/b',
        async () => volume.names.setDirectoryAttributes(await volume.directory('/a/b'), { mode: 0o700 }),
      ],
      ['another name in its host', '/a/z', () => rename('/a/b', '/a/z')],
      ['another host', '/object/y', () => rename('/a/z', '/object/y')],
      [
        'nodes of its own',
        '/object/y',
        async () => {
          const inodes = Array.from({ length: 120 }, () => namespace.newPipe(FILE, 'fifo'));
          const names = inodes.map((inode, at) => ({ name: `n${at}`, inode, segments: [] }));
          await namespace.insertMany(await volume.directory('/object/y'), names);
        },
      ],
      [
        'an object of its own',
        '/object/y',
        async () => {
          await volume.moves.promote(await volume.directory('/object/y'));
          expect((await volume.directory('/object/y')).isEmbedded).toBe(false);
        },
      ],
    ];
    for (const [what, path, step] of steps) {
      await step();
      const { volume: other } = await timed.client();
      const expected = { items: [onFolder], segments: [segment] };
      expect((await inodeAt(path, other)).extensions, what).toEqual(expected);
      expect((await inodeAt(`${path}/file`, other)).extensions?.items, what).toEqual([onFile]);
      expect(await readFile(other, `${path}/file`), what).toEqual(bytesOf(1, 3000));
      timed.wait(GRACE_MS + HOUR_MS);
      await timed.collect();
      expect(await hasSegment(segment), what).toBe(true);
    }
    const { volume: last } = await timed.client();
    expect((await deepCheck(last)).damages).toEqual([]);
  });

  it('keeps compaction away from its file, and verify says when what it names is missing', async () => {
    // Of 20 files in one segment 18 go: less than half is left.
    const batch = await volume.session.units.reserve(20 * 4096);
    const inodes = Array.from({ length: 20 }, () => volume.names.newFile(FILE));
    for (const [at, { id }] of inodes.entries()) {
      batch.bytes.set(bytesOf(at, 4096), at * 4096);
      batch.add(id, 0, 4096, at * 4096, 4096);
    }
    const pointers = await batch.submit();
    const items = inodes.map((inode, at) => {
      const pointer = pointers[at];
      if (pointer === undefined) throw new Error('no unit');
      const map = { depth: 0, slots: [{ slot: 0, pointer }] };
      const whole = { ...inode, sizeBytes: 4096, storedBytes: pointer.lengthBytes, map };
      return { name: `f${at}`, inode: whole, segments: [pointer.segment] };
    });
    await volume.names.insertMany(volume.root, items);
    const segment = await donate('/donor');
    await extend('/f0', [extension(IGNORE, segment)], [segment]);
    await volume.names.unlink(volume.root, 'donor');
    for (let at = 2; at < 20; at += 1) await volume.names.unlink(volume.root, `f${at}`);
    const before = await inodeAt('/f0');
    for (const report of await timed.collectAll()) expect(report.compaction?.movedBytes ?? 0).toBe(0);
    expect(await inodeAt('/f0')).toEqual(before);
    // Without the extension the same segment is emptied.
    await volume.names.unlink(volume.root, 'f0');
    const moved = (await timed.collectAll()).map(({ compaction }) => compaction?.movedBytes ?? 0);
    expect(Math.max(...moved)).toBeGreaterThan(4096);
    expect(await readFile(volume, '/f1')).toEqual(bytesOf(1, 4096));

    const lost = await donate('/lost');
    await extend('/f1', [extension(IGNORE, lost)], [lost]);
    await volume.names.unlink(volume.root, 'lost');
    await timed.store.delete(segmentKey(lost));
    const { damages } = await verifyVolume(volume);
    expect(damages.map(({ key, what, error }) => [key, what, error.code])).toEqual([
      [segmentKey(lost), 'extension', 'EMISSING'],
    ]);
    expect(damages[0]?.affected).toMatchObject([{ paths: ['/f1'] }]);
    expect((await timed.collect()).missingSegments).toEqual([lost]);
  });
});

describe('an extension of class 1', () => {
  it('lets a file be read, renamed and removed, and nothing else', async () => {
    await makeFolder(volume, '/a');
    await writeFile(volume, '/a/small', bytesOf(1, 100));
    await writeFile(volume, '/a/object', bytesOf(2, 100));
    const directory = await volume.directory('/a');
    await volume.names.link({ directory, name: 'object' }, directory, 'link');
    for (const name of ['small', 'object']) {
      await extend(`/a/${name}`, [extension(READ_ONLY)]);
      const before = await inodeAt(`/a/${name}`);
      const { entry } = await volume.find(`/a/${name}`);
      if (entry === undefined) throw new Error('nothing there');
      const changes: (() => Promise<unknown>)[] = [
        () => volume.names.setAttributes(directory, entry, { mode: 0o600 }),
        () => volume.openWriter(`/a/${name}`),
        () => volume.names.link({ directory, name }, directory, 'another'),
      ];
      for (const change of changes) expect(await codeOf(change())).toBe('EUNSUPPORTED');
      const { volume: other } = await timed.client();
      expect(await inodeAt(`/a/${name}`, other)).toEqual(before);
      expect(await readFile(other, `/a/${name}`)).toHaveLength(100);

      await volume.names.rename({ directory, name }, { directory: volume.root, name });
      expect((await inodeAt(`/${name}`)).extensions).toEqual(before.extensions);
      await volume.names.unlink(volume.root, name);
      expect(await codeOf(volume.find(`/${name}`))).toBe('ENOENT');
    }
    expect(await namesIn(volume, '/a')).toEqual(['link']);
    const { volume: other } = await timed.client();
    // A count that is too high is a note.
    expect((await verifyVolume(other)).damages).toEqual([]);
  });

  it('says which extension forbids the change', async () => {
    await writeFile(volume, '/file', bytesOf(1, 100));
    await extend('/file', [extension(IGNORE), extension(READ_ONLY)]);
    await expect(volume.openWriter('/file')).rejects.toThrow(/only a newer netseal, .* extension 41/);
  });

  it('lets a folder be read, and nothing in it be changed', async () => {
    const folder = await makeFolder(volume, '/folder');
    await writeFile(volume, '/folder/file', bytesOf(1, 100));
    await makeFolder(volume, '/other');
    await makeFolder(volume, '/empty');
    await extend('/folder', [extension(READ_ONLY)]);
    const { version } = await inodeAt('/folder');
    const other = await volume.directory('/other');
    const source = { directory: volume.root, name: 'folder' };
    const child = volume.names.newDirectory(FOLDER, folder.id);
    await extend('/empty', [extension(READ_ONLY)]);
    const changes: (() => Promise<unknown>)[] = [
      () => writeFile(volume, '/folder/new', bytesOf(1, 100)),
      () => volume.names.unlink(folder, 'file'),
      () => volume.names.rename({ directory: folder, name: 'file' }, { directory: folder, name: 'renamed' }),
      () => volume.names.insertDirectory(folder, 'below', child),
      () => volume.names.setDirectoryAttributes(folder, { mode: 0o700 }),
      () => volume.names.rename(source, { directory: other, name: 'folder' }),
      () => volume.names.rmdir(volume.root, 'empty'),
    ];
    for (const [at, change] of changes.entries()) {
      expect(await codeOf(change()), `change ${at}`).toBe('EUNSUPPORTED');
    }
    expect(await namesIn(volume, '/')).toEqual(['empty', 'folder', 'other']);
    expect(await namesIn(volume, '/folder')).toEqual(['file']);
    expect((await inodeAt('/folder')).version).toBe(version);
    await volume.names.rename(source, { directory: volume.root, name: 'renamed' });
    expect(await readFile(volume, '/renamed/file')).toHaveLength(100);
  });
});

/** Makes the extension of an inode object one of class 2, as only a newer netseal can. */
async function refuse(path: string): Promise<Id> {
  await extend(path, [extension(READ_ONLY)]);
  const { key } = await volume.directory(path);
  const { control } = volume.session.sealing;
  const { object } = await readInodeObject(volume.session.sealing, key);
  const bytes = encodeInodeObject({
    ...object,
    inode: { ...object.inode, version: object.inode.version + 1 },
  });
  const at = Buffer.from(bytes).indexOf(Buffer.from([1, READ_ONLY, 3, 7, 8, 9]));
  expect(at).toBeGreaterThan(0);
  bytes[at + 1] = REFUSE;
  const sealed = control.seal({ kind: 'inode', objectId: key, index: 0 }, bytes).bytes;
  await timed.store.put(inodeKey(key), [sealed]);
  return key;
}

describe('an extension of class 2', () => {
  it('is refused by name, beside everything else; gc deletes nothing', async () => {
    await makeFolder(volume, '/newer');
    await writeFile(volume, '/file', bytesOf(1, 100));
    await writeFile(volume, '/gone', bytesOf(1, 100));
    await timed.collect();
    await volume.names.unlink(volume.root, 'gone');
    timed.wait(10 * GRACE_MS);
    await timed.collect();
    timed.wait(10 * GRACE_MS);
    const id = await refuse('/newer');
    const { volume: other } = await timed.client();
    await expect(namesIn(other, '/newer')).rejects.toThrow(/extension 42 is not known to this netseal/);
    expect(await codeOf(namesIn(other, '/newer'))).toBe('EUNSUPPORTED');
    expect(await readFile(other, '/file')).toHaveLength(100);
    const { damages } = await verifyVolume(other);
    expect(damages.map(({ key, error }) => [key, error.code])).toEqual([[inodeKey(id), 'EUNSUPPORTED']]);
    const report = await collectGarbage(other);
    expect(report.lost.map(({ error }) => error.code)).toEqual(['EUNSUPPORTED']);
    expect(report.deleted.objects).toBe(0);
  });
});

describe('extensions of a head', () => {
  it('are kept by the client that writes the head again', async () => {
    const { session } = volume;
    await writeOwnHead(session);
    const { clientId } = session.state.heads;
    const before = await readHeadObject(session.sealing, clientId);
    if (!('marks' in before.head)) throw before.head;
    const put = async (version: number, extensions: readonly Extension[]): Promise<void> => {
      if (!('marks' in before.head)) throw before.head;
      const plain = encodeClientHead({ ...before.head, version, extensions });
      const { bytes } = session.sealing.control.seal({ kind: 'head', objectId: clientId, index: 0 }, plain);
      await timed.store.put(HEAD_PREFIX + clientId, [bytes]);
    };
    await put(before.head.version + 1, [extension(IGNORE)]);
    await writeOwnHead(session);
    const after = await readHeadObject(session.sealing, clientId);
    expect(after.head).toMatchObject({ version: before.head.version + 2, extensions: [extension(IGNORE)] });

    await put(before.head.version + 3, [extension(READ_ONLY)]);
    const stored = (await timed.store.get(HEAD_PREFIX + clientId)).bytes;
    expect(await codeOf(writeOwnHead(session))).toBe('EUNSUPPORTED');
    expect((await timed.store.get(HEAD_PREFIX + clientId)).bytes).toEqual(stored);
    // It is said once, and fails nothing.
    await writeFile(volume, '/file', bytesOf(1, 100));
    await volume.close();
  });
});

describe('extensions of the head of another client', () => {
  it('let it count, unless they forbid reading: then that head is reported by name, and the others count', async () => {
    const { control } = volume.session.sealing;
    const marks = [{ id: 'ab'.repeat(16), version: 7, hash: 'cd'.repeat(32) }];
    const head = { isEphemeral: false, version: 1, writtenAtMs: timed.clock.ms, sessions: [], marks };
    const put = async (digits: string, tag: number): Promise<void> => {
      const objectId = digits.repeat(16);
      const plain = encodeClientHead({ ...head, extensions: [extension(IGNORE)] });
      const at = Buffer.from(plain).indexOf(Buffer.from([1, IGNORE, 3, 7, 8, 9]));
      expect(at).toBeGreaterThan(0);
      plain[at + 1] = tag;
      const { bytes } = control.seal({ kind: 'head', objectId, index: 0 }, plain);
      await timed.store.put(HEAD_PREFIX + objectId, [bytes]);
    };
    const tags: [digits: string, tag: number][] = [
      ['00', IGNORE],
      ['11', READ_ONLY],
      ['22', REFUSE],
      ['33', IMPOSSIBLE],
    ];
    for (const [digits, tag] of tags) await put(digits, tag);
    const { volume: other } = await timed.client();
    const merged = await mergeHeads(other.session);
    expect(merged.heads.map(({ client }) => client.slice(0, 2)).sort()).toEqual(['00', '11']);
    expect(merged.problems.map(({ code, message }) => [code, message])).toEqual([
      ['EUNSUPPORTED', expect.stringMatching(/2{32}: .*extension 42 is not known to this netseal/)],
      ['EFORMAT', expect.stringMatching(/3{32}: .*impossible tag 43/)],
    ]);
  });
});

describe('settings that require more', () => {
  it('to write than a client has let it read, and write nothing', async () => {
    const test = await TestVolume.create({ others: { requiresToWrite: ['quota'] } });
    try {
      const keys = async (): Promise<unknown> => {
        const { entries } = await test.store.list({ prefix: '', limit: 100 });
        return entries.map(({ key, version }) => [key, version]);
      };
      const before = await keys();
      const client = await test.client();
      expect(await namesIn(client.volume, '/')).toEqual([]);
      const { names, root } = client.volume;
      const changes: (() => Promise<unknown>)[] = [
        async () => await client.volume.createFile('/file', FILE),
        async () => await makeFolder(client.volume, '/folder'),
        async () => await names.insert(root, 'fifo', names.newPipe(FILE, 'fifo')),
        async () => await names.setDirectoryAttributes(root, { mode: 0o700 }),
        async () => await client.volume.reserveSmall(10),
        async () => await collectGarbage(client.volume),
      ];
      for (const change of changes) {
        expect(await codeOf(Promise.resolve().then(change))).toBe('EUNSUPPORTED');
        await expect(Promise.resolve().then(change)).rejects.toThrow('changing it requires "quota"');
      }
      expect((await collectGarbage(client.volume, { dryRun: true })).deleted.objects).toBe(0);
      expect((await verifyVolume(client.volume)).damages).toEqual([]);
      await client.volume.close();
      expect(await keys()).toEqual(before);
    } finally {
      await test.close();
    }
  });

  it('to read than a client has are refused by name', async () => {
    const test = await TestVolume.create({ others: { requires: ['fold'] } }).catch((error: unknown) => error);
    expect(test).toMatchObject({ code: 'EUNSUPPORTED', message: expect.stringContaining('requires "fold"') });
  });
});

describe('reserved keys', () => {
  it('of a snapshot end gc before it deletes anything; those of locks are left alone', async () => {
    await writeFile(volume, '/gone', bytesOf(1, 100));
    await volume.names.unlink(volume.root, 'gone');
    await timed.store.put('locks/any', [bytesOf(1, 10)]);
    await timed.collect();
    timed.wait(GRACE_MS + HOUR_MS);
    const dry = await timed.collect({ dryRun: true });
    expect(dry.deletable.objects).toBe(1);
    const keys = await timed.keys('');
    await timed.store.put(`${SNAPSHOT_PREFIX}one`, [bytesOf(1, 10)]);
    const { volume: other } = await timed.client();
    for (const options of [{}, { dryRun: true }]) {
      expect(await codeOf(collectGarbage(other, options))).toBe('EUNSUPPORTED');
    }
    await expect(collectGarbage(other)).rejects.toThrow('snapshots (snap/one)');
    expect(await timed.keys('')).toEqual([...keys, `${SNAPSHOT_PREFIX}one`].sort());
    expect((await verifyVolume(other)).damages).toEqual([]);
    await timed.store.delete(`${SNAPSHOT_PREFIX}one`);
    expect((await timed.collect()).deleted.objects).toBe(1);
    expect(await timed.keys('locks/')).toEqual(['locks/any']);
  });

  it('of a snapshot that comes while gc has its order out end it, too', async () => {
    await writeFile(volume, '/gone', bytesOf(1, 100));
    await volume.names.unlink(volume.root, 'gone');
    await timed.collect();
    timed.wait(GRACE_MS + HOUR_MS);
    const segments = await timed.keys('s/');
    const { aroundStore } = await import('./support.ts');
    const { volume: other } = await timed.client({
      around: store =>
        aroundStore(store, async call => {
          const result = await call.send();
          if (call.operation === 'put' && call.key.startsWith('gc/orders/')) {
            await timed.store.put(`${SNAPSHOT_PREFIX}late`, [bytesOf(1, 10)]);
          }
          return result;
        }),
    });
    expect(await codeOf(collectGarbage(other))).toBe('EUNSUPPORTED');
    expect(await timed.keys('s/')).toEqual(segments);
    expect(await timed.keys('gc/orders/')).toEqual([]);
  });
});

describe('all types', () => {
  it('live in folders and as objects, and count where they should', async () => {
    const { names, root } = volume;
    await names.insert(root, 'fifo', names.newPipe(FILE, 'fifo'));
    await names.insert(root, 'socket', names.newPipe(FILE, 'socket'));
    const tty = { type: 'characterDevice', major: 4, minor: 64 } as const;
    const disk = { type: 'blockDevice', major: 2 ** 32 - 1, minor: 0 } as const;
    await names.insert(root, 'tty', names.newDevice(FILE, tty));
    await names.insert(root, 'disk', names.newDevice(FILE, disk));
    for (const name of ['fifo', 'socket', 'tty', 'disk']) {
      await names.link({ directory: root, name }, root, `${name}-2`);
    }
    const { volume: other } = await timed.client();
    const found = await Promise.all(
      ['fifo-2', 'socket', 'tty-2', 'disk'].map(async name => (await other.find(`/${name}`)).inode),
    );
    expect(found).toMatchObject([
      { type: 'fifo', linkCount: 2 },
      { type: 'socket', linkCount: 2 },
      { ...tty, linkCount: 2 },
      { ...disk, linkCount: 2 },
    ]);
    for await (const entries of names.entries(root)) {
      expect(entries.map(entry => entry.node.kind)).toEqual(new Array(8).fill('object'));
      expect(entries.map(typeOfEntry)[0]).toBe('blockDevice');
    }
    await timed.collectAll();
    const report = await verifyVolume(other);
    expect(report).toMatchObject({ damages: [], specials: 4, files: 0, unreferenced: { objects: 0 } });
    await names.unlink(root, 'tty');
    expect(await inodeAt('/tty-2')).toMatchObject({ linkCount: 1 });
  });

  it('keep an access time only where one was set', async () => {
    await writeFile(volume, '/file', bytesOf(1, 100));
    expect((await inodeAt('/file')).atimeNs).toBeUndefined();
    const { parent, entry } = await volume.find('/file');
    if (parent === undefined || entry === undefined) throw new Error('nothing there');
    await volume.names.setAttributes(parent, entry, { atimeNs: 12n });
    await readFile(volume, '/file');
    await volume.names.setAttributes(parent, entry, { mode: 0o600 });
    expect(await inodeAt('/file')).toMatchObject({ atimeNs: 12n, mode: 0o600 });
  });
});
