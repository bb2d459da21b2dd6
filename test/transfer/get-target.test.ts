/** What `get` meets in its target: pipes and devices, lists that folders pass on, file systems with coarse times. */
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { codeOf } from '../../src/base/errors.ts';
import { KIB } from '../../src/base/geometry.ts';
import { get } from '../../src/transfer/get.ts';
import { Tally } from '../../src/transfer/tally.ts';
import { bytesOf, type Client, TestVolume } from '../volume/support.ts';
import { failuresOf, getTree, putTree } from './copy-support.ts';
import { CAN_MOUNT, makeFolder, removeFolder, unmount } from './local-support.ts';

let folder = '';
let mounted: string | undefined;
let volume: TestVolume;
let client: Client;

beforeEach(async () => {
  folder = makeFolder();
  volume = await TestVolume.create({ unitSizeBytes: 64 * KIB });
  client = await volume.client();
});

afterEach(async () => {
  if (mounted !== undefined) unmount(mounted);
  mounted = undefined;
  await volume.close();
  removeFolder(folder);
});

const at = (...names: string[]): string => join(folder, ...names);

/** Puts a tree with a file, a large file, two names of one file, a link, and a folder with a file. */
async function putSome(): Promise<void> {
  fs.mkdirSync(at('from', 'folder'), { recursive: true });
  fs.writeFileSync(at('from', 'file'), 'file');
  fs.writeFileSync(at('from', 'large'), bytesOf(1, 300 * KIB));
  fs.writeFileSync(at('from', 'name 1'), 'linked');
  fs.linkSync(at('from', 'name 1'), at('from', 'name 2'));
  fs.symlinkSync('file', at('from', 'link'));
  fs.writeFileSync(at('from', 'folder', 'inside'), 'inside');
  await putTree(client.volume, at('from'), '/t');
}

describe('what is no file', () => {
  it('is a failure of its path, and stays', async () => {
    await putSome();
    fs.mkdirSync(at('to'));
    for (const name of ['file', 'large', 'name 2', 'link', 'folder'])
      execFileSync('mkfifo', [at('to', name)]);
    const tally = await getTree(client.volume, '/t', at('to'));
    expect(failuresOf(tally)).toEqual([
      '/t/file: EEXIST',
      '/t/folder: ENOTDIR',
      '/t/large: EEXIST',
      '/t/link: EEXIST',
      '/t/name 2: EEXIST',
    ]);
    for (const { error } of tally.failures) expect(error.message).toContain(at('to'));
    for (const name of ['file', 'large', 'name 2', 'link', 'folder'])
      expect([name, fs.lstatSync(at('to', name)).isFIFO()]).toEqual([name, true]);
    expect(fs.readFileSync(at('to', 'name 1'), 'utf8')).toBe('linked');
    expect(fs.readdirSync(at('to')).sort()).toEqual(fs.readdirSync(at('from')).sort());
  });

  it('is refused as the target, also by way of links', async () => {
    await putSome();
    const server = createServer();
    await new Promise<void>(resolve => server.listen(at('socket'), resolve));
    onTestFinished(() => void server.close());
    execFileSync('mkfifo', [at('pipe')]);
    const open = fs.openSync(at('open'), 'w');
    onTestFinished(() => fs.closeSync(open));
    fs.symlinkSync('pipe', at('link'));
    fs.symlinkSync('link', at('link to link'));
    fs.symlinkSync(`/proc/self/fd/${open}`, at('like stdout'));
    const targets = ['pipe', 'socket', 'link', 'link to link', 'like stdout'].map(name => at(name));
    targets.push(`/proc/self/fd/${open}`, `/dev/fd/${open}`);
    for (const target of targets) {
      const before = fs.lstatSync(target, { bigint: true });
      for (const source of ['/t/file', '/t']) {
        const options = { recursive: source === '/t' };
        const code = await get(client.volume, [source], target, new Tally(), options).catch(codeOf);
        expect([target, code]).toEqual([target, 'EEXIST']);
      }
      expect(fs.lstatSync(target, { bigint: true }).ino).toBe(before.ino);
    }
  });
});

describe('an inode that is older than what was seen', () => {
  it('costs what it leads to, and no more', async () => {
    for (const name of ['a', 'b', 'c']) {
      fs.mkdirSync(at('from', name), { recursive: true });
      fs.writeFileSync(at('from', name, 'file'), name);
    }
    fs.writeFileSync(at('from', 'file'), 'file');
    await putTree(client.volume, at('from'), '/t');
    const folder = await client.volume.directory('/t/b');
    await client.volume.moves.promote(folder);
    const key = `i/${folder.key}`;
    const { bytes: old } = await volume.store.get(key);
    fs.writeFileSync(at('from', 'b', 'file'), 'newer');
    await putTree(client.volume, at('from'), '/t');
    await volume.store.put(key, [old]);
    const reader = await volume.client({ state: client.state });
    expect(failuresOf(await getTree(reader.volume, '/t', at('to')))).toEqual(['/t/b: EROLLBACK']);
    expect(fs.readdirSync(at('to')).sort()).toEqual(['a', 'c', 'file']);
    expect(fs.readFileSync(at('to', 'c', 'file'), 'utf8')).toBe('c');
    fs.mkdirSync(at('some'));
    const some = await getTree(reader.volume, ['/t/a', '/t/b/file', '/t/file'], `${at('some')}/`);
    expect(failuresOf(some)).toEqual(['/t/b/file: EROLLBACK']);
    expect(fs.readdirSync(at('some')).sort()).toEqual(['a', 'file']);
    fs.writeFileSync(at('from', 'c', 'file'), 'newer, too');
    fs.writeFileSync(at('from', 'b', 'file'), 'newest');
    const failures = failuresOf(await putTree(reader.volume, at('from'), '/t'));
    expect(failures.map(text => text.replace(/^.*\//, ''))).toEqual(['b: EROLLBACK']);
    expect((await client.volume.openFile('/t/c/file')).sizeBytes).toBe('newer, too'.length);
  });
});

const HAS_LISTS = CAN_MOUNT && spawnSync('setfacl', ['--version']).status === 0;

describe.runIf(HAS_LISTS)('lists that a folder passes on', () => {
  const listOf = (path: string): string => execFileSync('getfacl', ['-cpE', path], { encoding: 'utf8' });

  it.each([true, false])('are removed from files and folders (owner: %s)', async owner => {
    await putSome();
    fs.mkdirSync(at('to'));
    execFileSync('setfacl', ['-d', '-m', 'u:65534:rwx', at('to')]);
    await getTree(client.volume, '/t', at('to', 't'), { owner });
    for (const name of ['', 'file', 'large', 'folder', 'folder/inside']) {
      expect([name, listOf(at('to', 't', name))]).not.toEqual([
        name,
        expect.stringMatching('user:(nobody|65534)'),
      ]);
      expect(fs.statSync(at('to', 't', name)).mode).toBe(fs.statSync(at('from', name)).mode);
    }
  });

  it('stay on a folder that was there, for what is put into it by others', async () => {
    await putSome();
    fs.mkdirSync(at('to'));
    execFileSync('setfacl', ['-d', '-m', 'u:65534:rwx', at('to')]);
    await getTree(client.volume, '/t', at('to'));
    expect(listOf(at('to'))).toMatch('default:user:');
    expect(listOf(at('to', 'file'))).not.toMatch('user:(nobody|65534)');
  });
});

const FILE_SYSTEMS = [
  { make: ['mkfs.ext4', '-q', '-I', '128'], coarse: 'whole seconds' },
  { make: ['mkfs.vfat'], coarse: 'even seconds' },
];

describe.runIf(CAN_MOUNT)('a file system with coarse times', () => {
  it.for(FILE_SYSTEMS)(
    '$coarse: nothing is written again, and it is noted',
    async ({ make: [make = '', ...args] }, { skip }) => {
      if (spawnSync(make, ['-V']).error !== undefined) skip(`there is no ${make}`);
      fs.writeFileSync(at('image'), '');
      fs.truncateSync(at('image'), 64 * KIB * KIB);
      execFileSync(make, [...args, at('image')], { stdio: 'ignore' });
      fs.mkdirSync(at('mount'));
      if (spawnSync('/bin/mount', ['-o', 'loop', at('image'), at('mount')]).status !== 0)
        skip('there are no loop devices');
      mounted = at('mount');
      fs.mkdirSync(at('from'));
      for (const name of ['a', 'b', 'c']) fs.writeFileSync(at('from', name), name);
      fs.utimesSync(at('from', 'a'), 1_700_000_001.75, 1_700_000_001.75);
      await putTree(client.volume, at('from'), '/t');
      const first = await getTree(client.volume, '/t', at('mount', 't'));
      expect(first.counts.files).toBe(3);
      const notes = first.notes.map(({ error }) => error.message);
      expect(notes.filter(text => text.includes('steps'))).toHaveLength(1);
      const second = await getTree(client.volume, '/t', at('mount', 't'));
      expect([second.counts.unchanged, second.counts.files]).toEqual([3, 0]);
      fs.utimesSync(at('mount', 't', 'a'), 1_600_000_000, 1_600_000_000);
      expect((await getTree(client.volume, '/t', at('mount', 't'))).counts).toMatchObject({
        files: 1,
        unchanged: 2,
      });
    },
  );
});
