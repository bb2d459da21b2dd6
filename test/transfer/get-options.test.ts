/** What may be asked of `get`: comparing content, filters, removing what the volume has not, and doing nothing but tell. */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { KIB } from '../../src/base/geometry.ts';
import type { Name } from '../../src/base/name.ts';
import { CopyFilter } from '../../src/transfer/filter.ts';
import { get } from '../../src/transfer/get.ts';
import { type Deed, Tally } from '../../src/transfer/tally.ts';
import { bytesOf, type Client, TestVolume } from '../volume/support.ts';
import { failuresOf, type GetOptions, getTree, lookAtTree, putTree } from './copy-support.ts';
import { CAN_MOUNT, makeFolder, removeFolder, unmount } from './local-support.ts';

let folder = '';
let volume: TestVolume;
let client: Client;
let mounted: string | undefined;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  client = await volume.client();
  fs.mkdirSync(at('from', 'folder', 'deep'), { recursive: true });
  fs.writeFileSync(at('from', 'small'), 'small');
  fs.writeFileSync(at('from', 'large'), bytesOf(1, 300 * KIB));
  fs.writeFileSync(at('from', 'folder', 'inside.txt'), 'inside');
  fs.writeFileSync(at('from', 'folder', 'deep', 'other.c'), 'other');
  fs.symlinkSync('small', at('from', 'link'));
  await putTree(client.volume, at('from'), '/t');
});

afterEach(async () => {
  if (mounted !== undefined) unmount(mounted);
  mounted = undefined;
  await volume.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);
const below = (name: string): Name[] => [...lookAtTree(at(name)).keys()].filter(path => path !== '').sort();

/** What a get does with which paths. */
async function deedsOf(options: GetOptions, target = 'to'): Promise<{ deeds: string[]; tally: Tally }> {
  const deeds: string[] = [];
  const tally = new Tally({ onDeed: (path: Name, deed: Deed) => void deeds.push(`${deed} ${path}`) });
  await get(client.volume, ['/t'], at(target), tally, { recursive: true, ...options });
  return { deeds: deeds.map(text => text.replace(`${folder}/`, '')).sort(), tally };
}

/** Changes the content of a file in place, and nothing that `stat` shows but the time of the change. */
function damage(path: string, offset: number): void {
  const { atime, mtime } = fs.statSync(path);
  const fd = fs.openSync(path, 'r+');
  fs.writeSync(fd, '#', offset);
  fs.closeSync(fd);
  fs.utimesSync(path, atime, mtime);
}

describe('comparing content', () => {
  it('finds files that changed and kept size and time, and writes no others', async () => {
    await getTree(client.volume, '/t', at('to'));
    // Times to the microsecond, as damage() sets them.
    for (const name of ['small', 'large']) fs.utimesSync(at('from', name), 1_600_000_000, 1_600_000_000);
    await putTree(client.volume, at('from'), '/t');
    await getTree(client.volume, '/t', at('to'));
    damage(at('to', 'small'), 2);
    damage(at('to', 'large'), 299 * KIB);
    expect((await deedsOf({})).deeds).toEqual([]);
    const { deeds, tally } = await deedsOf({ checksum: true });
    expect(deeds).toEqual(['file /t/large', 'file /t/small']);
    expect([tally.counts.files, tally.counts.unchanged]).toEqual([2, 3]);
    expect(fs.readFileSync(at('to', 'large'))).toEqual(fs.readFileSync(at('from', 'large')));
    expect((await deedsOf({ checksum: true })).deeds).toEqual([]);
  });

  it('gives a file of the same content its time, and writes nothing', async () => {
    await getTree(client.volume, '/t', at('to'));
    const { ino } = fs.statSync(at('to', 'small'));
    fs.utimesSync(at('to', 'small'), 5, 5);
    expect((await deedsOf({ checksum: true })).deeds).toEqual(['attributes /t/small']);
    expect(fs.statSync(at('to', 'small')).ino).toBe(ino);
    expect(fs.statSync(at('to', 'small')).mtimeMs).toBeCloseTo(fs.statSync(at('from', 'small')).mtimeMs, 2);
  });

  it('happens by itself when the volume was changed after the file was written', async () => {
    fs.utimesSync(at('from', 'small'), 1_600_000_000, 1_600_000_000);
    await putTree(client.volume, at('from'), '/t');
    await getTree(client.volume, '/t', at('to'));
    fs.writeFileSync(at('from', 'small'), 'other');
    fs.utimesSync(at('from', 'small'), 1_600_000_000, 1_600_000_000);
    await putTree(client.volume, at('from'), '/t', { checksum: true });
    expect((await deedsOf({})).deeds).toEqual(['file /t/small']);
    expect(fs.readFileSync(at('to', 'small'), 'utf8')).toBe('other');
  });
});

describe('filters', () => {
  it.each([
    { rules: { exclude: ['deep', '*.txt', 'l*'] }, there: ['folder', 'small'] },
    { rules: { include: ['*.c'] }, there: ['folder', 'folder/deep', 'folder/deep/other.c'] },
    { rules: { include: ['/small', 'none'] }, there: ['small'] },
  ])('$rules', async ({ rules, there }) => {
    const { tally } = await deedsOf({ filter: new CopyFilter(rules) });
    expect(failuresOf(tally)).toEqual([]);
    expect(below('to')).toEqual(there);
  });
});

describe('removing what the volume has not', () => {
  const yes: GetOptions = { mayRemove: () => Promise.resolve(true) };

  function addExtras(): void {
    fs.mkdirSync(at('outside'));
    fs.writeFileSync(at('outside', 'kept'), 'kept');
    fs.mkdirSync(at('to', 'extra', 'below'), { recursive: true });
    fs.writeFileSync(at('to', 'extra', 'below', 'file'), 'x');
    fs.symlinkSync(at('outside'), at('to', 'extra', 'out'));
    fs.writeFileSync(at('to', 'folder', 'deep', 'extra.c'), 'x');
  }

  it('removes that, in copied folders only, and follows no link', async () => {
    await getTree(client.volume, '/t', at('to'));
    const times = fs.statSync(at('to', 'folder', 'deep')).mtimeMs;
    addExtras();
    fs.writeFileSync(at('beside'), 'x');
    const asked: string[] = [];
    const mayRemove: NonNullable<GetOptions>['mayRemove'] = extras => {
      asked.push(...extras.map(({ path }) => path.replace(`${folder}/`, '')));
      return Promise.resolve(false);
    };
    const before = below('to');
    await deedsOf({ mayRemove });
    expect(asked.sort()).toEqual(['to/extra', 'to/folder/deep/extra.c']);
    expect(below('to')).toEqual(before);
    const { tally } = await deedsOf(yes);
    expect(tally.counts.removed).toBe(5);
    expect(below('to')).toEqual(below('from'));
    expect(fs.readdirSync(at('outside'))).toEqual(['kept']);
    expect(fs.existsSync(at('beside'))).toBe(true);
    expect(fs.statSync(at('to', 'folder', 'deep')).mtimeMs).toBe(times);
  });

  it('removes nothing after a failure, and nothing that is filtered out', async () => {
    await getTree(client.volume, '/t', at('to'));
    addExtras();
    const before = below('to');
    fs.rmSync(at('to', 'small'));
    execFileSync('mkfifo', [at('to', 'small')]);
    expect((await deedsOf(yes)).tally.counts.removed).toBe(0);
    expect(below('to')).toEqual(before);
    fs.rmSync(at('to', 'small'));
    await deedsOf({ ...yes, filter: new CopyFilter({ exclude: ['extra*'] }) });
    expect(below('to')).toEqual(before);
  });

  it.runIf(CAN_MOUNT)('leaves other file systems, sockets, and the folders that hold them', async () => {
    await getTree(client.volume, '/t', at('to'));
    fs.mkdirSync(at('to', 'extra', 'mount'), { recursive: true });
    fs.mkdirSync(at('other'));
    execFileSync('/bin/mount', ['-t', 'tmpfs', 'tmpfs', at('to', 'extra', 'mount')]);
    mounted = at('to', 'extra', 'mount');
    fs.writeFileSync(at('to', 'extra', 'mount', 'kept'), 'x');
    fs.writeFileSync(at('to', 'extra', 'gone'), 'x');
    execFileSync('mkfifo', [at('to', 'pipe')]);
    const server = createServer();
    await new Promise<void>(resolve => server.listen(at('to', 'socket'), resolve));
    onTestFinished(() => void server.close());
    const { tally } = await deedsOf(yes);
    expect(tally.notes.map(({ error }) => error.message).sort()).toEqual([
      'not removed: a device or socket',
      'not removed: another file system',
    ]);
    expect(below('to').filter(path => !below('from').includes(path))).toEqual([
      'extra',
      'extra/mount',
      'extra/mount/kept',
      'socket',
    ]);
  });
});

describe('a dry run', () => {
  it('tells what a run does, and does nothing', async () => {
    const options: GetOptions = { mayRemove: () => Promise.resolve(true) };
    const first = await deedsOf({ ...options, dryRun: true });
    expect(fs.existsSync(at('to'))).toBe(false);
    expect((await deedsOf(options)).deeds).toEqual(first.deeds);
    fs.writeFileSync(at('to', 'extra'), 'x');
    fs.writeFileSync(at('to', 'small'), 'changed');
    fs.rmSync(at('to', 'link'));
    fs.rmSync(at('to', 'folder', 'deep'), { recursive: true });
    const before = lookAtTree(at('to'));
    const told = await deedsOf({ ...options, dryRun: true });
    expect(lookAtTree(at('to'))).toEqual(before);
    const done = await deedsOf(options);
    expect(told.deeds).toEqual(done.deeds);
    expect(told.tally.counts).toEqual(done.tally.counts);
  });
});
