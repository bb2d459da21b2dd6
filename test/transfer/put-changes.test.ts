/** What a put takes for unchanged, what it removes, and what one bad value costs others. */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/geometry.ts';
import { CopyFilter } from '../../src/transfer/filter.ts';
import { openStateFolder } from '../../src/volume/state/state-folder.ts';
import { IS_LONG } from '../support/soak.ts';
import { bytesOf, type Client, codeOf, DyingStore, FILE, TestVolume } from '../volume/support.ts';
import { failuresOf, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;

const at = (...names: string[]): string => join(folder, 'from', ...names);

beforeEach(async () => {
  folder = makeFolder();
  fs.mkdirSync(at());
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  client = await volume.client();
});

afterEach(async () => {
  await volume.close();
  removeFolder(folder);
});

async function read(path: string): Promise<string> {
  const reader = await client.volume.openFile(path);
  const bytes = Buffer.alloc(reader.sizeBytes);
  await reader.read(bytes, 0);
  return bytes.toString('latin1');
}

/** Writes a file, with a modification time that is always the same. */
function write(name: string, content: string | Uint8Array): void {
  fs.writeFileSync(at(name), content);
  fs.utimesSync(at(name), 1000, 1000);
}

const large = (fill: number): Uint8Array => bytesOf(fill, MIB + 5);

describe('a file of the same size and modification time', () => {
  it('is stored again when its content has changed, small, large, and with several names', async () => {
    const names = ['small', 'large', 'linked'];
    for (const name of names) write(name, name === 'large' ? large(1) : 'AAAA');
    fs.linkSync(at('linked'), at('other name'));
    await putTree(client.volume, at(), '/t');
    for (const name of names) write(name, name === 'large' ? large(2) : 'BBBB');
    expect((await putTree(client.volume, at(), '/t')).counts.files).toBe(3);
    for (const name of ['small', 'linked', 'other name']) expect(await read(`/t/${name}`)).toBe('BBBB');
    expect(await read('/t/large')).toBe(Buffer.from(large(2)).toString('latin1'));
  });

  it('is stored again also when the change came right after the copy', async () => {
    for (let round = 0; round < 20; round += 1) {
      write('file', 'AAAA');
      await putTree(client.volume, at(), '/t');
      write('file', 'BBBB');
      await putTree(client.volume, at(), '/t');
      expect(await read('/t/file')).toBe('BBBB');
    }
  });

  it('gets no new version of its content when only its status changed, and is compared once', async () => {
    write('file', large(1));
    await putTree(client.volume, at(), '/t');
    const before = (await client.volume.find('/t/file')).inode;
    await new Promise(resolve => setTimeout(resolve, 100));
    fs.chmodSync(at('file'), 0o600);
    await new Promise(resolve => setTimeout(resolve, 100));
    expect((await putTree(client.volume, at(), '/t')).counts).toMatchObject({ files: 0, unchanged: 1 });
    const after = (await client.volume.find('/t/file')).inode;
    expect(after).toMatchObject({ id: before.id, dataVersion: before.dataVersion, mode: 0o600 });
    expect(after.ctimeNs).toBe(fs.statSync(at('file'), { bigint: true }).ctimeNs);
    // From then on its content is not asked for.
    const received = (): number => client.meter.snapshot().get.receivedBytes;
    const start = received();
    expect((await putTree(client.volume, at(), '/t')).counts).toMatchObject({ files: 0, unchanged: 1 });
    expect(received() - start).toBeLessThan(MIB / 2);
  });

  it('is compared again as long as its status is so young that a change could have the same time', async () => {
    write('file', 'AAAA');
    await putTree(client.volume, at(), '/t');
    await new Promise(resolve => setTimeout(resolve, 100));
    for (let round = 0; round < 10; round += 1) {
      fs.chmodSync(at('file'), 0o600 + round);
      await putTree(client.volume, at(), '/t');
      write('file', round % 2 === 0 ? 'BBBB' : 'CCCC');
      await putTree(client.volume, at(), '/t');
      expect(await read('/t/file')).toBe(round % 2 === 0 ? 'BBBB' : 'CCCC');
    }
  });

  it('is compared with checksum, whatever its modification time says', async () => {
    write('file', 'AAAA');
    await putTree(client.volume, at(), '/t');
    const before = (await client.volume.find('/t/file')).inode;
    fs.utimesSync(at('file'), 2000, 2000);
    const { counts } = await putTree(client.volume, at(), '/t', { checksum: true });
    expect(counts).toMatchObject({ files: 0, unchanged: 1 });
    expect((await client.volume.find('/t/file')).inode).toMatchObject({
      id: before.id,
      mtimeNs: 2000n * 10n ** 9n,
    });
  });
});

describe('a tree that was copied, so that every ctime is new', () => {
  /** Gives the files of the volume an age, so that their times do not lie too close to the copy. */
  const pause = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 100));

  function copyAll(): void {
    const copy = join(folder, 'copy');
    fs.cpSync(at(), copy, { recursive: true, preserveTimestamps: true });
    fs.rmSync(at(), { recursive: true });
    fs.renameSync(copy, at());
  }

  it('is taken for unchanged without reading with ignoreCtime, and from then on without it', async () => {
    for (const name of ['one', 'two']) write(name, 'AAAA');
    await putTree(client.volume, at(), '/t');
    await pause();
    // A change that only the content tells: it is what ignoring the ctime cannot see.
    copyAll();
    write('one', 'BBBB');
    fs.chmodSync(at('two'), 0o600);
    await pause();
    const { counts } = await putTree(client.volume, at(), '/t', { ignoreCtime: true });
    expect(counts).toMatchObject({ files: 0, unchanged: 2 });
    expect(await read('/t/one')).toBe('AAAA');
    const { inode } = await client.volume.find('/t/two');
    expect(inode).toMatchObject({
      mode: 0o600,
      ctimeNs: fs.statSync(at('two'), { bigint: true }).ctimeNs,
    });
    await putTree(client.volume, at(), '/t');
    expect(await read('/t/one')).toBe('AAAA');
  });

  it('has files stored that have another size or time', async () => {
    for (const name of ['one', 'two']) write(name, 'AAAA');
    await putTree(client.volume, at(), '/t');
    await pause();
    copyAll();
    write('one', 'BBBBB');
    fs.writeFileSync(at('two'), 'BBBB');
    expect((await putTree(client.volume, at(), '/t', { ignoreCtime: true })).counts.files).toBe(2);
    expect([await read('/t/one'), await read('/t/two')]).toEqual(['BBBBB', 'BBBB']);
  });

  it('is compared when a modification time is as young as the copy', async () => {
    fs.writeFileSync(at('young'), 'AAAA');
    await putTree(client.volume, at(), '/t');
    const { atime, mtime } = fs.statSync(at('young'));
    fs.writeFileSync(at('young'), 'BBBB');
    fs.utimesSync(at('young'), atime, mtime);
    await putTree(client.volume, at(), '/t', { ignoreCtime: true });
    expect(await read('/t/young')).toBe('BBBB');
  });
});

describe('a put that removes what the source lacks', () => {
  const mayRemove = async (): Promise<boolean> => true;

  beforeEach(async () => {
    for (const name of ['keep', 'gone', 'gone.log']) write(name, name);
    fs.mkdirSync(at('folder', 'below'), { recursive: true });
    fs.writeFileSync(at('folder', 'below', 'in'), 'in');
    await putTree(client.volume, at(), '/t');
    for (const name of ['gone', 'gone.log', 'folder']) fs.rmSync(at(name), { recursive: true });
  });

  const names = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const entries of client.volume.names.entries(await client.volume.directory('/t'))) {
      found.push(...entries.map(({ name }) => name));
    }
    return found;
  };

  it('removes files and folders, and keeps the times of the folder', async () => {
    fs.utimesSync(at(), 5, 5);
    expect((await putTree(client.volume, at(), '/t', { mayRemove })).counts.removed).toBe(5);
    expect(await names()).toEqual(['keep']);
    expect((await client.volume.find('/t')).inode.mtimeNs).toBe(5n * 10n ** 9n);
  });

  it('removes nothing unless it may, in a dry run, and what is filtered out', async () => {
    await putTree(client.volume, at(), '/t');
    await putTree(client.volume, at(), '/t', { mayRemove: async () => false });
    const dry = await putTree(client.volume, at(), '/t', { mayRemove, dryRun: true });
    expect(dry.counts.removed).toBe(3);
    expect(await names()).toEqual(['folder', 'gone', 'gone.log', 'keep']);
    const filter = new CopyFilter({ exclude: ['*.log'] });
    await putTree(client.volume, at(), '/t', { mayRemove, filter });
    expect(await names()).toEqual(['gone.log', 'keep']);
  });

  it('removes nothing when something could not be copied', async () => {
    fs.mkdirSync(at('gone.log'));
    const tally = await putTree(client.volume, at(), '/t', { mayRemove });
    expect(failuresOf(tally)).toHaveLength(1);
    expect(await names()).toEqual(['folder', 'gone', 'gone.log', 'keep']);
    expect(tally.notes.map(({ error }) => error.message)).toEqual([
      expect.stringMatching(/nothing was removed/),
    ]);
  });
});

describe('a dry run', () => {
  it('changes nothing and tells of everything', async () => {
    write('file', 'content');
    fs.linkSync(at('file'), at('second'));
    fs.symlinkSync('file', at('link'));
    await client.volume.sync();
    const before = client.meter.snapshot().put.requestCount;
    const { counts } = await putTree(client.volume, at(), '/t', { dryRun: true });
    await client.volume.sync();
    expect(counts).toMatchObject({ files: 1, links: 1, symlinks: 1, folders: 1, bytes: 7 });
    expect(client.meter.snapshot().put.requestCount).toBe(before);
    expect(await codeOf(client.volume.find('/t'))).toBe('ENOENT');
  });
});

describe('a value that cannot be stored', () => {
  it('fails by itself in a group of names, and in a commit that others share', async () => {
    const { namespace, root } = client.volume;
    const bad = { ...namespace.newFile(FILE), mtimeNs: 2n ** 63n };
    const items = [namespace.newFile(FILE), bad, namespace.newFile(FILE)].map((inode, index) => ({
      name: `${index}`,
      inode,
      segments: [],
    }));
    const failures = await namespace.insertMany(root, items);
    expect(failures.map(failure => failure?.code)).toEqual([undefined, 'EINVAL', undefined]);
    const entry = await namespace.find(root, '0');
    if (entry === undefined) throw new Error('not there');
    const outcomes = await Promise.allSettled([
      namespace.insert(root, 'one', namespace.newFile(FILE)),
      namespace.setAttributes(root, entry, { mtimeNs: -(2n ** 63n) - 1n }),
      namespace.setAttributes(root, entry, { uid: -1 }),
      namespace.setDirectoryAttributes(root, { mode: 0o10000 }),
      namespace.insert(root, 'two', namespace.newFile(FILE)),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
    expect((await client.volume.find('/two')).inode.type).toBe('file');
  });
});

describe('a put of a new folder that was interrupted', () => {
  it.runIf(IS_LONG)('goes on with its large file where it was', async () => {
    fs.mkdirSync(at('deep', 'er'), { recursive: true });
    fs.writeFileSync(at('deep', 'er', 'large'), bytesOf(6, 96 * MIB));
    const state = await openStateFolder(join(folder, 'state'), 'test');
    let dying: DyingStore | undefined;
    const first = await volume.client({
      state,
      around: store => {
        dying = new DyingStore(store);
        return dying.store;
      },
    });
    await first.volume.root.read();
    dying?.dieAfter(16);
    expect(await codeOf(putTree(first.volume, at(), '/t', { state }))).toBe('EDENIED');
    const second = await volume.client({ state });
    const before = second.meter.snapshot().put.sentBytes;
    expect(failuresOf(await putTree(second.volume, at(), '/t', { state }))).toEqual([]);
    await second.volume.sync();
    expect(second.meter.snapshot().put.sentBytes - before).toBeLessThan(64 * MIB);
    expect((await second.volume.find('/t/deep/er/large')).inode).toMatchObject({ sizeBytes: 96 * MIB });
    await state.close();
  });
});
