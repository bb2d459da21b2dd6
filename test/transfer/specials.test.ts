/** What has no content: FIFOs, devices and sockets, in and out of a volume; and access times. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { get } from '../../src/transfer/get.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { type Client, FILE, TestVolume } from '../volume/support.ts';
import { failuresOf, getTree, putTree } from './copy-support.ts';
import { makeFolder, removeFolder } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create();
  client = await volume.client();
  fs.mkdirSync(at('from', 'below'), { recursive: true });
});

afterEach(async () => {
  await volume.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);

function makeFifo(...names: string[]): void {
  execFileSync('mkfifo', [at(...names)]);
}

/** What a copy should keep of an entry. */
function lookOf(path: string): object {
  const { mode, uid, gid, mtimeNs, rdev } = fs.lstatSync(path, { bigint: true });
  return { mode, uid, gid, mtimeNs, rdev };
}

function notesOf({ notes }: Tally): string[] {
  return notes.map(({ path, error }) => `${path.replace(`${folder}/`, '')}: ${error.message}`);
}

/** Only root can make devices, and not in every container. */
function canMakeDevices(): boolean {
  const path = join(makeFolder(), 'device');
  try {
    execFileSync('mknod', [path, 'c', '1', '3'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  } finally {
    removeFolder(join(path, '..'));
  }
}

describe('a FIFO', () => {
  it('goes through a volume as it is, and is unchanged the next time', async () => {
    makeFifo('from', 'below', 'fifo');
    fs.chmodSync(at('from', 'below', 'fifo'), 0o624);
    fs.utimesSync(at('from', 'below', 'fifo'), 1, 1_234_567.25);
    const done = await putTree(client.volume, at('from'), '/t');
    expect([done.counts, done.notes, done.failures]).toMatchObject([{ specials: 1, files: 0 }, [], []]);
    const { inode } = await client.volume.find('/t/below/fifo');
    expect(inode).toMatchObject({ type: 'fifo', mode: 0o624, mtimeNs: 1_234_567_250_000_000n, linkCount: 1 });
    const again = await putTree(client.volume, at('from'), '/t');
    expect(again.counts).toMatchObject({ specials: 0, unchanged: 1 });

    const dry = new Tally();
    await get(client.volume, ['/t'], at('to'), dry, { recursive: true, dryRun: true });
    expect([dry.counts.specials, fs.existsSync(at('to'))]).toEqual([1, false]);
    const got = await getTree(client.volume, '/t', at('to'));
    expect([got.counts, got.notes, got.failures]).toMatchObject([{ specials: 1 }, [], []]);
    expect(fs.lstatSync(at('to', 'below', 'fifo')).isFIFO()).toBe(true);
    expect(lookOf(at('to', 'below', 'fifo'))).toEqual(lookOf(at('from', 'below', 'fifo')));
    expect((await getTree(client.volume, '/t', at('to'))).counts).toMatchObject({
      specials: 0,
      unchanged: 1,
    });
    expect(fs.readdirSync(at('to', 'below'))).toEqual(['fifo']);
  });

  it('that is there already gets its attributes, and is not replaced; a file or link is', async () => {
    for (const name of ['there', 'file', 'link']) makeFifo('from', name);
    await putTree(client.volume, at('from'), '/t');
    fs.mkdirSync(at('to'));
    makeFifo('to', 'there');
    fs.chmodSync(at('to', 'there'), 0o600);
    fs.writeFileSync(at('to', 'file'), 'x');
    fs.symlinkSync('file', at('to', 'link'));
    const before = fs.lstatSync(at('to', 'there')).ino;
    const { counts, failures } = await getTree(client.volume, '/t', at('to'));
    expect([counts, failures]).toMatchObject([{ specials: 2, unchanged: 1 }, []]);
    expect(fs.lstatSync(at('to', 'there')).ino).toBe(before);
    for (const name of ['there', 'file', 'link']) {
      expect(lookOf(at('to', name))).toEqual(lookOf(at('from', name)));
    }
  });

  it('in the place of a folder is a failure, and the other way round', async () => {
    makeFifo('from', 'one');
    fs.mkdirSync(at('from', 'two'));
    await putTree(client.volume, at('from'), '/t');
    fs.mkdirSync(at('to', 'one'), { recursive: true });
    makeFifo('to', 'two');
    expect(failuresOf(await getTree(client.volume, '/t', at('to')))).toEqual([
      '/t/one: EISDIR',
      '/t/two: ENOTDIR',
    ]);
  });

  it('replaces a file of the volume, and a file replaces it', async () => {
    fs.writeFileSync(at('from', 'a'), 'file');
    makeFifo('from', 'b');
    await putTree(client.volume, at('from'), '/t');
    for (const name of ['a', 'b']) fs.rmSync(at('from', name));
    makeFifo('from', 'a');
    fs.writeFileSync(at('from', 'b'), 'file');
    expect((await putTree(client.volume, at('from'), '/t')).failures).toEqual([]);
    const types = ['a', 'b'].map(async name => (await client.volume.find(`/t/${name}`)).inode.type);
    expect(await Promise.all(types)).toEqual(['fifo', 'file']);
  });
});

describe('a device', () => {
  it.runIf(canMakeDevices())('goes both ways with `devices`, and is noted without', async () => {
    execFileSync('mknod', ['-m', '640', at('from', 'tty'), 'c', '4', '64']);
    execFileSync('mknod', ['-m', '604', at('from', 'disk'), 'b', '259', '70000']);
    const noted = await putTree(client.volume, at('from'), '/t');
    expect(notesOf(noted)).toEqual([
      'from/disk: not copied: a device; --devices copies it',
      'from/tty: not copied: a device; --devices copies it',
    ]);
    const done = await putTree(client.volume, at('from'), '/t', { devices: true });
    expect([done.counts.specials, done.notes]).toEqual([2, []]);
    expect((await client.volume.find('/t/tty')).inode).toMatchObject({
      ...{ type: 'characterDevice', major: 4, minor: 64, mode: 0o640 },
    });
    expect((await client.volume.find('/t/disk')).inode).toMatchObject({
      ...{ type: 'blockDevice', major: 259, minor: 70_000, mode: 0o604 },
    });
    expect((await putTree(client.volume, at('from'), '/t', { devices: true })).counts).toMatchObject({
      ...{ specials: 0, unchanged: 2 },
    });

    expect(notesOf(await getTree(client.volume, '/t', at('to')))).toEqual([
      '/t/disk: not written: a device; --devices makes it',
      '/t/tty: not written: a device; --devices makes it',
    ]);
    expect(fs.readdirSync(at('to'))).toEqual(['below']);
    const got = await getTree(client.volume, '/t', at('to'), { devices: true, owner: true });
    expect([got.counts.specials, got.failures]).toEqual([2, []]);
    for (const name of ['tty', 'disk']) expect(lookOf(at('to', name))).toEqual(lookOf(at('from', name)));
    // Another number is another device: what is there is not replaced.
    await client.volume.names.unlink(await client.volume.directory('/t'), 'tty');
    const other = client.volume.names.newDevice(FILE, { type: 'characterDevice', major: 4, minor: 65 });
    await client.volume.names.insert(await client.volume.directory('/t'), 'tty', other);
    const refused = await getTree(client.volume, '/t', at('to'), { devices: true });
    expect(failuresOf(refused)).toEqual(['/t/tty: EEXIST']);
  });

  it('that no machine has is a failure of its path', async () => {
    const { names } = client.volume;
    const device = { type: 'blockDevice', major: 2 ** 32 - 1, minor: 2 ** 32 - 1 } as const;
    await names.insert(client.volume.root, 'odd', names.newDevice(FILE, device));
    const tally = await getTree(client.volume, '/', at('to'), { devices: true });
    expect(failuresOf(tally)).toEqual(['/odd: EUNSUPPORTED']);
    expect(fs.readdirSync(at('to'))).toEqual([]);
  });
});

describe('a socket', () => {
  it('is noted both ways', async () => {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(at('from', 'socket'), resolve));
    onTestFinished(() => void server.close());
    const done = await putTree(client.volume, at('from'), '/t', { devices: true });
    expect(notesOf(done)).toEqual(['from/socket: not copied: a socket']);
    const { names } = client.volume;
    await names.insert(await client.volume.directory('/t'), 'socket', names.newPipe(FILE, 'socket'));
    const got = await getTree(client.volume, '/t', at('to'), { devices: true });
    expect([notesOf(got), got.failures]).toEqual([['/t/socket: not written: a socket'], []]);
    expect(fs.readdirSync(at('to'))).toEqual(['below']);
  });
});

describe('an access time', () => {
  it('is kept with `atime`, and given back where there is one', async () => {
    for (const name of ['file', 'below/file']) fs.writeFileSync(at('from', name), name);
    makeFifo('from', 'fifo');
    const paths = ['file', 'below/file', 'below', 'fifo'];
    for (const path of paths) fs.utimesSync(at('from', path), 1_000_000.5, 2_000_000);
    await putTree(client.volume, at('from'), '/with', { atime: true });
    for (const path of paths) fs.utimesSync(at('from', path), 1_000_000.5, 2_000_000);
    await putTree(client.volume, at('from'), '/without');
    for (const path of paths) {
      const found = async (top: string) => (await client.volume.find(`/${top}/${path}`)).inode.atimeNs;
      expect([path, await found('with'), await found('without')]).toEqual([
        path,
        1_000_000_500_000_000n,
        undefined,
      ]);
    }
    await getTree(client.volume, ['/with', '/without'], `${folder}/`);
    for (const path of paths) {
      const times = ['with', 'without'].map(top => {
        const { atimeNs, mtimeNs } = fs.lstatSync(at(top, path), { bigint: true });
        return [atimeNs / 1_000_000n, mtimeNs / 1_000_000n];
      });
      expect([path, times]).toEqual([
        path,
        [
          [1_000_000_500n, 2_000_000_000n],
          [2_000_000_000n, 2_000_000_000n],
        ],
      ]);
    }
  });

  it('that differs alone is no change', async () => {
    fs.writeFileSync(at('from', 'file'), 'file');
    fs.utimesSync(at('from', 'file'), 3, 2_000_000);
    await putTree(client.volume, at('from'), '/t', { atime: true });
    fs.utimesSync(at('from', 'file'), 5, 2_000_000);
    const { counts } = await putTree(client.volume, at('from', 'file'), '/t/file', { atime: true });
    expect(counts).toMatchObject({ files: 0, unchanged: 1 });
  });
});
